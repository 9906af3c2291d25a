//! CSV with any of the separators.
#![no_main]

use fireclay_tables_fuzz::is_read;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if bytes.starts_with(b"{") || bytes.starts_with(b"PAR1") {
        return Corpus::Reject;
    }
    is_read(bytes);
    Corpus::Keep
});
