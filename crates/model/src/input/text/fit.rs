//! A text fitted to the training rows: which terms there are, and in how many rows each is.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Analyzer, MOST_TERMS, NgramRange, TermPlaces, Text, TextWeighting, Weighting};

/// Terms that are counted at most: about 100 MB. Beyond them, rare ones are forgotten.
const MOST_COUNTED: usize = 1 << 20;
/// Buckets that each have a frequency at most: a model file has room for them.
const MOST_FREQUENCIES: u32 = 1 << 21;
/// Bytes of all terms that are kept: a model file has room for them.
const MOST_BYTES: usize = 12 << 20;

/// The encoding of texts, before it is fitted; names and meanings are those of scikit-learn's
/// vectorizers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextEncoding {
    /// Lengths of n-grams of words.
    pub word_ngrams: NgramRange,
    /// Lengths of n-grams of characters.
    pub char_ngrams: NgramRange,
    /// True if capital letters are as good as small ones.
    pub lowercase: bool,
    /// Buckets that terms are hashed into; a vocabulary is fitted if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<u32>,
    /// The most terms of a vocabulary: those that occur most often.
    pub max_features: usize,
    /// The fewest training rows with a term of the vocabulary.
    pub min_df: usize,
    /// The largest share of the training rows with a term of the vocabulary, above 0 and at most 1.
    pub max_df: f64,
    /// The value of a term.
    pub weighting: TextWeighting,
    /// True if a term that occurs `n` times in a text counts as `1 + ln(n)` for tf-idf.
    pub sublinear_tf: bool,
}

impl Default for TextEncoding {
    /// Words and pairs of words, which are pairs of characters in scripts without spaces.
    fn default() -> Self {
        Self {
            word_ngrams: NgramRange::SINGLE_AND_PAIRS,
            char_ngrams: NgramRange::NONE,
            lowercase: true,
            buckets: None,
            max_features: 50_000,
            min_df: 1,
            max_df: 1.0,
            weighting: TextWeighting::TfIdf,
            sublinear_tf: false,
        }
    }
}

/// An encoding of texts that cannot be fitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TextEncodingError {
    /// Nothing is a term.
    #[error("texts have no terms: --word-ngrams and --char-ngrams are both 0; give one of them")]
    NoTerms,
    /// A number of buckets that is not possible.
    #[error("--buckets is {found}; give 1 to {most}")]
    Buckets {
        /// The number.
        found: u32,
        /// The most buckets, with this weighting.
        most: u32,
    },
    /// A vocabulary without terms.
    #[error("--max-features is 0; give at least 1")]
    NoFeatures,
    /// A share that is none.
    #[error("--max-df is {found:?}; give a share above 0 and at most 1")]
    MaxDf {
        /// The share.
        found: f64,
    },
}

impl TextEncoding {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// A [`TextEncodingError`] that names the first field at fault.
    pub fn validate(&self) -> Result<(), TextEncodingError> {
        if self.word_ngrams.is_none() && self.char_ngrams.is_none() {
            return Err(TextEncodingError::NoTerms);
        }
        let is_tf_idf = self.weighting == TextWeighting::TfIdf;
        let most = if is_tf_idf { MOST_FREQUENCIES } else { MOST_TERMS as u32 };
        if let Some(found) = self.buckets.filter(|buckets| !(1..=most).contains(buckets)) {
            return Err(TextEncodingError::Buckets { found, most });
        }
        if self.max_features == 0 {
            return Err(TextEncodingError::NoFeatures);
        }
        if self.max_df > 0.0 && self.max_df <= 1.0 {
            Ok(())
        } else {
            Err(TextEncodingError::MaxDf { found: self.max_df })
        }
    }
}

/// A text that is being fitted, row by row.
///
/// Memory does not grow with the rows: at most a million terms are counted. When there are more, those
/// in the fewest rows are forgotten, as fastText does.
#[derive(Clone, Debug)]
pub struct TextFit {
    encoding: TextEncoding,
    analyzer: Analyzer,
    rows: u32,
    counts: Counts,
    most_counted: usize,
    /// Terms in at most so many rows have been forgotten.
    forgotten: u32,
}

#[derive(Clone, Debug)]
enum Counts {
    Terms(HashMap<String, Count>),
    Buckets(Vec<Count>),
}

/// The occurrences of a term.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Rows with it.
    rows: u32,
    /// Times in all rows.
    times: u64,
    /// The number of the last row with it, from 1.
    last: u32,
}

impl Count {
    fn add(&mut self, row: u32) {
        self.times += 1;
        self.rows += u32::from(self.last != row);
        self.last = row;
    }
}

impl TextFit {
    /// A fit without rows.
    pub fn new(encoding: &TextEncoding) -> Self {
        let encoding = encoding.clone();
        let analyzer = Analyzer {
            words: encoding.word_ngrams,
            characters: encoding.char_ngrams,
            lowercase: encoding.lowercase,
        };
        let counts = match (encoding.buckets, encoding.weighting) {
            (None, _) => Counts::Terms(HashMap::new()),
            (Some(buckets), TextWeighting::TfIdf) => {
                Counts::Buckets(vec![Count::default(); buckets as usize])
            }
            (Some(_), _) => Counts::Buckets(Vec::new()),
        };
        Self { encoding, analyzer, rows: 0, counts, most_counted: MOST_COUNTED, forgotten: 0 }
    }

    /// Adds the text of a training row; one that is missing is empty.
    pub fn add(&mut self, text: Option<&str>) {
        self.rows = self.rows.saturating_add(1);
        let (row, text) = (self.rows, text.unwrap_or_default());
        match &mut self.counts {
            Counts::Terms(counts) => {
                let first = Count { rows: 1, times: 1, last: row };
                self.analyzer.each_term(text, |term| match counts.get_mut(term) {
                    Some(count) => count.add(row),
                    None => drop(counts.insert(term.to_owned(), first)),
                });
            }
            Counts::Buckets(counts) if counts.is_empty() => {}
            Counts::Buckets(counts) => {
                let places = hashed(counts.len() as u32);
                self.analyzer.each_term(text, |term| {
                    let count = places.of(term).and_then(|place| counts.get_mut(place as usize));
                    count.into_iter().for_each(|count| count.add(row));
                });
            }
        }
        self.forget();
    }

    /// Forgets rare terms while there are too many.
    fn forget(&mut self) {
        let Counts::Terms(counts) = &mut self.counts else { return };
        while counts.len() > self.most_counted {
            self.forgotten += 1;
            let forgotten = self.forgotten;
            counts.retain(|_, count| count.rows > forgotten);
        }
    }

    /// Returns the fitted text, with a vocabulary of at most `most` terms; it may have none.
    pub fn finish(self, most: usize) -> Text {
        let Self { encoding, analyzer, rows, counts, .. } = self;
        let (places, with_term) = match (counts, encoding.buckets) {
            (Counts::Terms(counts), _) => vocabulary(counts, &encoding, rows, most),
            (Counts::Buckets(counts), buckets) => {
                let with_term = counts.iter().map(|count| count.rows).collect();
                (hashed(buckets.unwrap_or_default()), with_term)
            }
        };
        let weighting = match encoding.weighting {
            TextWeighting::Counts => Weighting::Counts,
            TextWeighting::Mean => Weighting::Mean,
            TextWeighting::TfIdf => {
                let idf = with_term.iter().map(|&with_term| smooth_idf(rows, with_term));
                let idf = idf.collect::<Vec<f32>>().into();
                Weighting::TfIdf { sublinear: encoding.sublinear_tf, idf }
            }
        };
        Text { analyzer, places, weighting }
    }
}

/// Buckets with the seed of all new models.
fn hashed(buckets: u32) -> TermPlaces {
    TermPlaces::Hash { buckets, seed: 0 }
}

/// `ln((1 + rows) / (1 + rows with the term)) + 1`, scikit-learn's smooth idf.
fn smooth_idf(rows: u32, with_term: u32) -> f32 {
    let ratio = (1.0 + f64::from(rows)) / (1.0 + f64::from(with_term));
    (libm::log(ratio) + 1.0) as f32
}

/// The terms that are kept, sorted, and the rows with each of them.
fn vocabulary(
    counts: HashMap<String, Count>,
    encoding: &TextEncoding,
    rows: u32,
    most: usize,
) -> (TermPlaces, Vec<u32>) {
    let TextEncoding { min_df, max_df, max_features, .. } = *encoding;
    let largest = max_df * f64::from(rows);
    let mut kept: Vec<(String, Count)> = counts
        .into_iter()
        .filter(|(_, count)| count.rows as usize >= min_df && f64::from(count.rows) <= largest)
        .collect();
    kept.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.times.cmp(&of_a.times).then(a.cmp(b)));
    kept.truncate(max_features.min(most));
    let mut bytes = 0;
    let fits = kept.iter().take_while(|(term, _)| {
        bytes += term.len();
        bytes <= MOST_BYTES
    });
    let fits = fits.count();
    kept.truncate(fits);
    kept.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let (terms, counts): (Vec<String>, Vec<Count>) = kept.into_iter().unzip();
    let with_term = counts.into_iter().map(|count| count.rows).collect();
    (TermPlaces::Vocabulary { terms: terms.into() }, with_term)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(encoding: &TextEncoding, texts: &[&str]) -> Text {
        let mut fit = TextFit::new(encoding);
        texts.iter().for_each(|text| fit.add(Some(text)));
        fit.finish(usize::MAX)
    }

    fn terms(text: &Text) -> Vec<&str> {
        match &text.places {
            TermPlaces::Vocabulary { terms } => terms.terms().iter().map(String::as_str).collect(),
            TermPlaces::Hash { .. } => Vec::new(),
        }
    }

    #[test]
    fn encodings_without_terms_are_refused() {
        assert!(TextEncoding::default().validate().is_ok());
        let with = |change: fn(&mut TextEncoding)| {
            let mut encoding = TextEncoding::default();
            change(&mut encoding);
            encoding.validate()
        };
        assert_eq!(with(|bad| bad.word_ngrams = NgramRange::NONE), Err(TextEncodingError::NoTerms));
        assert!(with(|bad| bad.buckets = Some(0)).is_err());
        assert!(with(|bad| bad.buckets = Some(MOST_FREQUENCIES + 1)).is_err());
        assert_eq!(with(|bad| bad.max_features = 0), Err(TextEncodingError::NoFeatures));
        for max_df in [0.0, 1.5, f64::NAN] {
            assert!(TextEncoding { max_df, ..TextEncoding::default() }.validate().is_err());
        }
    }

    const TEXTS: [&str; 4] = ["a b", "b c c c", "b d", "b"];

    fn words() -> TextEncoding {
        TextEncoding { word_ngrams: "1".parse().unwrap(), ..TextEncoding::default() }
    }

    #[test]
    fn rare_frequent_and_surplus_terms_are_left_out() {
        assert_eq!(terms(&fitted(&words(), &TEXTS)), ["a", "b", "c", "d"]);
        let encoding = TextEncoding { min_df: 2, ..words() };
        assert_eq!(terms(&fitted(&encoding, &TEXTS)), ["b"]);
        let encoding = TextEncoding { max_df: 0.5, ..words() };
        assert_eq!(terms(&fitted(&encoding, &TEXTS)), ["a", "c", "d"]);
        // The most frequent by all occurrences, and of equals the first.
        let encoding = TextEncoding { max_features: 3, ..words() };
        assert_eq!(terms(&fitted(&encoding, &TEXTS)), ["a", "b", "c"]);
    }

    #[test]
    fn terms_that_are_counted_are_bounded() {
        let mut fit = TextFit { most_counted: 3, ..TextFit::new(&words()) };
        for text in ["a b", "a b", "a c", "d", "e", "a"] {
            fit.add(Some(text));
        }
        // `a` and `b` were in two rows when there were too many.
        assert_eq!(terms(&fit.finish(9)), ["a", "b", "e"]);
    }

    #[test]
    fn rows_without_a_text_count_as_empty_ones() {
        let mut fit = TextFit::new(&words());
        [Some("tea"), None, Some(""), None].into_iter().for_each(|text| fit.add(text));
        let Weighting::TfIdf { idf, .. } = fit.finish(9).weighting else { panic!() };
        let expected = (5.0f64 / 2.0).ln() + 1.0;
        assert!((f64::from(idf.numbers()[0]) - expected).abs() < 1e-6);
    }

    #[test]
    fn buckets_have_the_frequencies_of_their_terms() {
        let encoding = TextEncoding { buckets: Some(64), ..words() };
        let text = fitted(&encoding, &TEXTS);
        assert_eq!(text.terms(), 64);
        let Weighting::TfIdf { idf, .. } = &text.weighting else { panic!() };
        let of = |term| idf.numbers()[text.places.of(term).unwrap() as usize];
        assert_eq!((of("b"), of("a")), (smooth_idf(4, 4), smooth_idf(4, 1)));
        let encoding = TextEncoding { weighting: TextWeighting::Mean, ..encoding };
        assert_eq!(fitted(&encoding, &TEXTS).weighting, Weighting::Mean);
    }
}
