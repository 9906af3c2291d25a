//! HDF5 files of Keras. Checksums are not compared while fuzzing.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !bytes.starts_with(b"\x89HDF") {
        return Corpus::Reject;
    }
    let _ = fireclay_formats::from_bytes(bytes);
    Corpus::Keep
});
