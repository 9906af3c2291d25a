//! From a text to its terms: words, characters, and n-grams of both.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// Bytes of a text that count; those behind them are left out.
const MOST_OF_A_TEXT: usize = 1 << 20;
/// Bytes of the longest word; longer ones are no words.
const LONGEST_WORD: usize = 256;
/// The mark of an n-gram of characters, which no word contains.
const OF_CHARACTERS: char = '#';

/// How a text is cut into terms.
///
/// Words are those of Unicode's word boundaries (UAX #29) that have a letter, a digit or an emoji;
/// in scripts without spaces, such as Chinese, Japanese and Thai, each character is a word, so that
/// n-grams of two words are pairs of characters. A term of several words has a space between them.
///
/// N-grams of characters lie within a word, or within characters that follow each other without a
/// space, with a space for either edge (scikit-learn's `char_wb`). They begin with `#`.
///
/// Of a text the first MiB counts, and of words those of up to 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analyzer {
    /// Lengths of n-grams of words.
    pub words: NgramRange,
    /// Lengths of n-grams of characters.
    pub characters: NgramRange,
    /// True if capital letters are as good as small ones.
    pub lowercase: bool,
}

/// The lengths of n-grams, from the shortest to the longest; written as `1-2`, and `0` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NgramRange {
    /// The shortest.
    shortest: usize,
    /// The longest; 0 if there are none.
    longest: usize,
}

impl NgramRange {
    /// The longest n-grams that texts can be cut into.
    pub const MOST: usize = 10;

    /// One and two.
    pub(super) const SINGLE_AND_PAIRS: Self = Self { shortest: 1, longest: 2 };

    /// No n-grams.
    pub const NONE: Self = Self { shortest: 0, longest: 0 };

    /// N-grams of these lengths, if they are from 1 to [`MOST`](Self::MOST).
    pub fn new(shortest: usize, longest: usize) -> Option<Self> {
        let is_range = (1..=longest).contains(&shortest) && longest <= Self::MOST;
        is_range.then_some(Self { shortest, longest })
    }

    /// Returns true if there are no n-grams.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl TryFrom<String> for NgramRange {
    type Error = BadNgramRange;

    fn try_from(text: String) -> Result<Self, BadNgramRange> {
        text.parse()
    }
}

impl From<NgramRange> for String {
    fn from(range: NgramRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for NgramRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shortest == self.longest {
            write!(f, "{}", self.longest)
        } else {
            write!(f, "{}-{}", self.shortest, self.longest)
        }
    }
}

/// A text that names no lengths of n-grams.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no range of n-grams; give one such as 1-2, at most {}, or 0 for none",
    NgramRange::MOST
)]
pub struct BadNgramRange {
    /// The text.
    pub found: String,
}

impl FromStr for NgramRange {
    type Err = BadNgramRange;

    /// Reads `1-2`, `2` for a single length, or `0`.
    fn from_str(text: &str) -> Result<Self, BadNgramRange> {
        if text == "0" {
            return Ok(Self::NONE);
        }
        let (shortest, longest) = text.split_once('-').unwrap_or((text, text));
        let range = shortest.parse().ok().zip(longest.parse().ok());
        let range = range.and_then(|(shortest, longest)| Self::new(shortest, longest));
        range.ok_or_else(|| BadNgramRange { found: text.to_owned() })
    }
}

impl Analyzer {
    /// Gives each term of a text to `each`: n-grams of words, then those of characters.
    pub fn each_term(&self, text: &str, mut each: impl FnMut(&str)) {
        let text = folded(text, self.lowercase);
        let words = words(&text);
        let mut term = String::new();
        if !self.words.is_none() {
            for first in 0..words.len() {
                word_ngrams(&text, &words[first..], self.words, &mut term, &mut each);
            }
        }
        if !self.characters.is_none() {
            for run in words.chunk_by(|word, next| word.end == next.start) {
                let run = run[0].start..run[run.len() - 1].end;
                character_ngrams(&text[run], self.characters, &mut term, &mut each);
            }
        }
    }
}

/// The part of a text that counts, in small letters if that is wanted, with straight apostrophes.
fn folded(text: &str, lowercase: bool) -> String {
    let text = &text[..text.floor_char_boundary(MOST_OF_A_TEXT)];
    let text = if lowercase { text.to_lowercase() } else { text.to_owned() };
    if text.is_ascii() { text } else { text.replace('’', "'") }
}

/// Where the words of a text are.
fn words(text: &str) -> Vec<Range<usize>> {
    let place = |(start, word): (usize, &str)| start..start + word.len();
    let words: Vec<Range<usize>> = if text.is_ascii() {
        text.unicode_word_indices().map(place).collect()
    } else {
        let parts = text.split_word_bound_indices();
        parts.filter(|(_, part)| part.chars().any(is_of_a_word)).map(place).collect()
    };
    words.into_iter().filter(|word| word.len() <= LONGEST_WORD).collect()
}

/// Returns true for letters, digits and emoji.
fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}')
}

/// The n-grams that begin with the first of some words.
fn word_ngrams(
    text: &str,
    words: &[Range<usize>],
    range: NgramRange,
    term: &mut String,
    each: &mut impl FnMut(&str),
) {
    term.clear();
    for (before, word) in words.iter().take(range.longest).enumerate() {
        if before > 0 {
            term.push(' ');
        }
        term.push_str(&text[word.clone()]);
        if before + 1 >= range.shortest {
            each(term);
        }
    }
}

/// The n-grams of the characters of a word; one that is shorter than they are is a term as a whole,
/// once.
fn character_ngrams(word: &str, range: NgramRange, term: &mut String, each: &mut impl FnMut(&str)) {
    let padded = format!(" {word} ");
    let starts: Vec<usize> =
        padded.char_indices().map(|(at, _)| at).chain([padded.len()]).collect();
    let count = starts.len() - 1;
    for length in range.shortest..=range.longest {
        let length = length.min(count);
        for ends in starts.windows(length + 1) {
            term.clear();
            term.push(OF_CHARACTERS);
            term.push_str(&padded[ends[0]..ends[length]]);
            each(term);
        }
        if length == count {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(words: &str, characters: &str, text: &str) -> Vec<String> {
        let (words, characters) = (words.parse().unwrap(), characters.parse().unwrap());
        let mut found = Vec::new();
        let analyzer = Analyzer { words, characters, lowercase: true };
        analyzer.each_term(text, |term| found.push(term.to_owned()));
        found
    }

    #[test]
    fn words_are_those_of_unicode_in_small_letters() {
        let found = terms("1", "0", "I don't like STRASSE, naïve Ärzte; 3.5 stars!");
        assert_eq!(found, ["i", "don't", "like", "strasse", "naïve", "ärzte", "3.5", "stars"]);
        assert_eq!(terms("1", "0", "I don’t ❤️ it 👍🏽"), ["i", "don't", "❤️", "it", "👍🏽"]);
        assert_eq!(terms("1", "0", "Очень вкусно"), ["очень", "вкусно"]);
        assert_eq!(terms("1", "0", "नमस्ते दुनिया"), ["नमस्ते", "दुनिया"]);
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_characters_and_pairs() {
        assert_eq!(terms("1-2", "0", "好茶。Tea"), ["好", "好 茶", "茶", "茶 tea", "tea"]);
        assert_eq!(terms("1", "0", "これは茶"), ["こ", "れ", "は", "茶"]);
        assert!(terms("1", "0", "ชาดีมาก").len() > 3);
        assert_eq!(terms("0", "2", "好茶。"), ["# 好", "#好茶", "#茶 "]);
    }

    #[test]
    fn ngrams_have_all_lengths_of_their_range() {
        assert_eq!(terms("2-3", "0", "a b c"), ["a b", "a b c", "b c"]);
        let found = terms("0", "3-5", "tea a");
        assert_eq!(found, ["# te", "#tea", "#ea ", "# tea", "#tea ", "# tea ", "# a "]);
        assert!(terms("1-2", "3-5", "").is_empty());
        assert!(terms("1-2", "3-5", "... \u{0} !").is_empty());
    }

    #[test]
    fn long_texts_and_words_are_bounded() {
        let long = "a".repeat(10 << 20);
        assert!(terms("1-2", "3-5", &long).is_empty());
        let many = "ab ".repeat(4 << 20);
        assert_eq!(terms("1", "0", &many).len(), MOST_OF_A_TEXT.div_ceil(3));
        let wide = "茶".repeat(1 << 20);
        assert_eq!(terms("1", "0", &wide).len(), MOST_OF_A_TEXT / 3);
    }

    #[test]
    fn ranges_read_back_and_others_are_refused() {
        for text in ["1-2", "3-5", "10", "0"] {
            assert_eq!(text.parse::<NgramRange>().unwrap().to_string(), text);
        }
        assert_eq!("2".parse(), Ok(NgramRange::new(2, 2).unwrap()));
        for text in ["", "0-0", "0-2", "3-2", "1-11", "a-b", "1-2-3", "-1"] {
            assert!(text.parse::<NgramRange>().is_err(), "{text}");
        }
    }
}
