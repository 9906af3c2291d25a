//! JSON Lines.
#![no_main]

use fireclay_tables_fuzz::is_read;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !bytes.starts_with(b"{") {
        return Corpus::Reject;
    }
    is_read(bytes);
    Corpus::Keep
});
