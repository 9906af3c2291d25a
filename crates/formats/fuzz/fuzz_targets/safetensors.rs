//! No bytes make the reader of safetensors panic: as a file, and as a header up to the last brace,
//! whose length is then right, with data behind it. A file that is read has each byte once.
#![no_main]

use fireclay_formats::from_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = from_bytes(bytes);
    let Some(end) = bytes.iter().rposition(|&byte| byte == b'}') else { return };
    let file = [&(end as u64 + 1).to_le_bytes(), bytes].concat();
    let Ok(archive) = from_bytes(&file) else { return };
    if bytes.starts_with(b"{") {
        let size: usize = archive.tensors.iter().map(|tensor| tensor.bytes().unwrap().len()).sum();
        assert_eq!(size, bytes.len() - end - 1);
    }
});
