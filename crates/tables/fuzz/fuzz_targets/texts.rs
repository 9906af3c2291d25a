//! Texts: a text a line, cut into terms, fitted and encoded.
#![no_main]

use std::io::Cursor;

use fireclay_model::{Field, InputSpec, TextEncoding, TextFit, TextWeighting, Value};
use fireclay_tables::Blocks;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let [choice, bytes @ ..] = bytes else { return Corpus::Reject };
    let Some(texts) = texts(bytes, usize::MAX) else { return Corpus::Keep };
    assert_eq!(texts, texts_in_blocks(bytes));
    let encoding = TextEncoding {
        word_ngrams: ["1", "1-2", "2-3", "0"][usize::from(choice & 3)].parse().unwrap(),
        char_ngrams: ["0", "3-5", "1", "1-10"][usize::from(choice >> 2 & 3)].parse().unwrap(),
        buckets: (choice & 16 > 0).then_some(64),
        weighting: TextWeighting::ALL[usize::from(choice >> 5) % 3],
        sublinear_tf: choice & 128 > 0,
        ..TextEncoding::default()
    };
    if encoding.validate().is_err() {
        return Corpus::Reject;
    }
    let mut fit = TextFit::new(&encoding);
    texts.iter().for_each(|text| fit.add(Some(text)));
    let text = fit.finish(1000);
    let count = text.terms();
    let Ok(input) = InputSpec::new(vec![Field::new("x", text)]) else {
        assert_eq!(count, 0);
        return Corpus::Keep;
    };
    let encoder = input.encoder(&["x"]).unwrap();
    for row in &texts {
        let encoded = encoder.encode(0, &[Value::Text(row)]).unwrap();
        let (places, values) = encoded.sparse[0].row(0);
        assert!(
            places.is_sorted_by(|a, b| a < b) && places.iter().all(|&at| (at as usize) < count)
        );
        assert!(values.iter().all(|value| value.is_finite() && *value >= 0.0));
    }
    Corpus::Keep
});

/// The texts of a stream, read so many at a time; none if one is refused.
fn texts(bytes: &[u8], most: usize) -> Option<Vec<String>> {
    let mut blocks = Blocks::of_texts(Cursor::new(bytes.to_vec()), "x");
    let mut all = Vec::new();
    while let Some(block) = blocks.next_block(most).ok()? {
        all.extend(block.columns[0].iter().map(|cell| cell.text().into_owned()));
    }
    Some(all)
}

fn texts_in_blocks(bytes: &[u8]) -> Vec<String> {
    texts(bytes, 3).expect("what is read as a whole is read in blocks")
}
