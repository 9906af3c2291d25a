//! No bytes make the reader of Burn's records panic: as a file, and as a header whose length is
//! right, with data behind it. A file that is read has each byte at most once.
#![no_main]

use fireclay_formats::from_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = from_bytes(bytes);
    let mut file = b"NRUB\x01\0".to_vec();
    file.extend((bytes.len() as u32).to_le_bytes());
    file.extend(bytes);
    file.resize(file.len().next_multiple_of(256) + 512, 1);
    let Ok(archive) = from_bytes(&file) else { return };
    let size: usize = archive.tensors.iter().map(|tensor| tensor.bytes().unwrap().len()).sum();
    assert!(size <= 512);
});
