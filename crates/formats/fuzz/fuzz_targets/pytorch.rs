//! No bytes make the reader of PyTorch's files panic, or take more than a file pays for: as a file,
//! and as the last two pickles and the storages of a legacy file, where no length stands in the way.
#![no_main]

use fireclay_formats::from_bytes;
use libfuzzer_sys::fuzz_target;

const BEGINNING: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";

fuzz_target!(|bytes: &[u8]| {
    let _ = from_bytes(bytes);
    let found = from_bytes(&[BEGINNING, bytes].concat());
    let Ok(archive) = found else { return };
    let size: usize = archive.tensors.iter().map(|tensor| tensor.bytes().unwrap().len()).sum();
    assert!(size <= 16 << 20 || size <= 16 * (BEGINNING.len() + bytes.len()));
});
