//! Vectors of words, plain or compressed.
#![no_main]

use fireclay_readers::WordVectors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut vectors) = WordVectors::begin(bytes) else { return };
    let (width, mut vector) = (vectors.width(), Vec::new());
    while let Ok(Some(word)) = vectors.next_into(&mut vector).map(|word| word.map(str::len)) {
        assert!(word > 0 && vector.len() == width);
        assert!(vector.iter().all(|number| number.is_finite()));
    }
});
