//! Arrays of NumPy, alone and in a zip archive, and of safetensors.
#![no_main]

use fireclay_tables_fuzz::is_read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    is_read(bytes);
    // The header of an array, or of safetensors, behind a mark and a length that are right.
    if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
        let length = (end as u64).to_le_bytes();
        is_read(&[&length[..], &bytes[..end], &bytes[end + 1..]].concat());
        is_read(&[b"\x93NUMPY\x01\0", &length[..2], &bytes[..end], &bytes[end + 1..]].concat());
    }
});
