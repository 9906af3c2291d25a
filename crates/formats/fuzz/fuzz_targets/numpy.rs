//! Arrays of NumPy, alone and in a zip archive.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !bytes.starts_with(b"\x93NUMPY") && !bytes.starts_with(b"PK") {
        return Corpus::Reject;
    }
    let _ = fireclay_formats::from_bytes(bytes);
    Corpus::Keep
});
