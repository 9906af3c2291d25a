//! Parquet, as a file and as pages and a footer inside the marks of one.
#![no_main]

use fireclay_tables_fuzz::is_read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"PAR1") {
        is_read(bytes);
    }
    // The last two bytes say where the footer begins.
    if let Some((pages, length)) = bytes.split_last_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)) % (pages.len() + 1);
        let length = (length as u32).to_le_bytes();
        is_read(&[b"PAR1", pages, &length[..], b"PAR1"].concat());
    }
});
