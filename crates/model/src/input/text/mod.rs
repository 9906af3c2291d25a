//! Sentences, as bags of terms.

mod analyzer;
mod fit;
mod hash;
mod vocabulary;
mod weighting;

use serde::{Deserialize, Serialize};

use self::hash::murmur3;
use super::{InputError, Value, ValueProblem};
use crate::SparseRows;

pub use analyzer::{Analyzer, BadNgramRange, NgramRange};
pub use fit::{TextEncoding, TextEncodingError, TextFit};
pub use vocabulary::Vocabulary;
pub use weighting::{Idf, TextWeighting, Weighting};

/// The most places of terms: 2²⁴, so that a vector of 64 numbers for each is 4 GiB.
const MOST_TERMS: usize = 1 << 24;

/// A text: a bag of its terms, which has a sparse row of their places and weights in place of dense
/// columns. A missing text is an empty one, and has no terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// How it is cut into terms.
    pub analyzer: Analyzer,
    /// The place of each term.
    pub places: TermPlaces,
    /// The value of each place.
    pub weighting: Weighting,
}

/// The place of each term among the numbers that a network sees of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TermPlaces {
    /// Known terms, each with a place of its own; others have none.
    Vocabulary {
        /// The terms.
        terms: Vocabulary,
    },
    /// `MurmurHash3(term) mod buckets`: terms share places, and all have one.
    Hash {
        /// Number of places.
        buckets: u32,
        /// The seed of the hash.
        seed: u32,
    },
}

impl TermPlaces {
    /// Number of places.
    fn count(&self) -> usize {
        match self {
            Self::Vocabulary { terms } => terms.terms().len(),
            Self::Hash { buckets, .. } => *buckets as usize,
        }
    }

    /// The place of a term, if it has one.
    fn of(&self, term: &str) -> Option<u32> {
        match self {
            Self::Vocabulary { terms } => terms.place(term),
            Self::Hash { buckets, seed } => murmur3(term.as_bytes(), *seed).checked_rem(*buckets),
        }
    }
}

impl Text {
    /// Places of terms: rows of the weights of its [`Bag`](crate::FrontPart::Bag).
    pub fn terms(&self) -> usize {
        self.places.count()
    }

    /// The terms of a text that have a place, in their order in the text, with repetitions.
    pub fn terms_of(&self, text: &str) -> Vec<(String, u32)> {
        let mut terms = Vec::new();
        self.analyzer.each_term(text, |term| {
            terms.extend(self.places.of(term).map(|place| (term.to_owned(), place)));
        });
        terms
    }

    /// Appends the row of a value: its places in ascending order.
    pub(super) fn encode(
        &self,
        value: Value<'_>,
        rows: &mut SparseRows,
    ) -> Result<(), ValueProblem> {
        let text = match value {
            Value::Text(text) => text,
            Value::Missing => "",
            other => return Err(ValueProblem::of(other, "a text")),
        };
        let mut places = Vec::new();
        self.analyzer.each_term(text, |term| places.extend(self.places.of(term)));
        places.sort_unstable();
        rows.push(self.weighting.values(&places));
        Ok(())
    }

    pub(super) fn validate(&self, field: &str) -> Result<(), InputError> {
        let field = || field.to_owned();
        let Analyzer { words, characters, .. } = self.analyzer;
        if words.is_none() && characters.is_none() {
            return Err(InputError::Ngrams { field: field() });
        }
        let found = self.terms();
        if !(1..=MOST_TERMS).contains(&found) {
            return Err(InputError::TermCount { field: field(), found, most: MOST_TERMS });
        }
        if let TermPlaces::Vocabulary { terms } = &self.places
            && let Some(term) = terms.out_of_order()
        {
            return Err(InputError::Terms { field: field(), term: term.clone() });
        }
        if self.weighting.fits(found) {
            Ok(())
        } else {
            Err(InputError::Idf { field: field(), terms: found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(places: TermPlaces, weighting: Weighting) -> Text {
        let words = NgramRange::new(1, 1).unwrap();
        let analyzer = Analyzer { words, characters: NgramRange::NONE, lowercase: true };
        Text { analyzer, places, weighting }
    }

    fn vocabulary(terms: &[&str]) -> TermPlaces {
        let terms: Vec<String> = terms.iter().map(|&term| term.to_owned()).collect();
        TermPlaces::Vocabulary { terms: terms.into() }
    }

    fn row(text: &Text, value: Value<'_>) -> Vec<(u32, f32)> {
        let mut rows = SparseRows::default();
        text.encode(value, &mut rows).unwrap();
        let (places, values) = rows.row(0);
        places.iter().copied().zip(values.iter().copied()).collect()
    }

    #[test]
    fn values_are_counts_their_share_or_their_tf_idf() {
        let said = Value::Text("Tea, good tea: a good day for tea");
        let counts = text(vocabulary(&["day", "good", "tea"]), Weighting::Counts);
        assert_eq!(row(&counts, said), [(0, 1.0), (1, 2.0), (2, 3.0)]);
        let mean = text(vocabulary(&["day", "good", "tea"]), Weighting::Mean);
        assert_eq!(row(&mean, said), [(0, 1.0 / 6.0), (1, 2.0 / 6.0), (2, 0.5)]);
        let idf = Idf::from(vec![1.0, 2.0, 1.0]);
        let tf_idf =
            text(vocabulary(&["day", "good", "tea"]), Weighting::TfIdf { idf, sublinear: false });
        let norm = 26f32.sqrt();
        for ((_, found), expected) in row(&tf_idf, said).iter().zip([1.0, 4.0, 3.0]) {
            assert!((found - expected / norm).abs() < 1e-6);
        }
        for empty in [Value::Missing, Value::Text(""), Value::Text("unknown words")] {
            assert!(row(&tf_idf, empty).is_empty() && row(&mean, empty).is_empty());
        }
    }

    #[test]
    fn every_term_has_a_bucket() {
        let hashed = text(TermPlaces::Hash { buckets: 1000, seed: 0 }, Weighting::Counts);
        let expected = [("good", murmur3(b"good", 0) % 1000), ("tea", murmur3(b"tea", 0) % 1000)];
        let expected = expected.map(|(term, place)| (term.to_owned(), place));
        assert_eq!(hashed.terms_of("Good tea"), expected);
        assert_eq!(row(&hashed, Value::Text("Good tea")).len(), 2);
    }

    #[test]
    fn impossible_texts_are_refused() {
        let hash = |buckets| TermPlaces::Hash { buckets, seed: 0 };
        let tf_idf = |idf: &[f32]| Weighting::TfIdf { idf: idf.to_vec().into(), sublinear: false };
        let good = text(hash(4), Weighting::Counts);
        assert!(good.validate("x").is_ok());
        let analyzer = Analyzer { words: NgramRange::NONE, ..good.analyzer };
        for bad in [
            text(vocabulary(&[]), Weighting::Counts),
            text(vocabulary(&["b", "a"]), Weighting::Counts),
            text(vocabulary(&["a", "a"]), Weighting::Counts),
            text(hash(0), Weighting::Counts),
            text(hash(u32::MAX), Weighting::Counts),
            text(hash(2), tf_idf(&[1.0])),
            text(hash(1), tf_idf(&[f32::NAN])),
            text(hash(1), tf_idf(&[-1.0])),
            Text { analyzer, ..good },
        ] {
            assert!(bad.validate("x").is_err(), "{bad:?}");
        }
    }
}
