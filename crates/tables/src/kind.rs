//! The kind of each column, inferred from its cells.

use std::collections::HashSet;
use std::fmt;

use fireclay_model::DateFormat;
use serde::{Deserialize, Serialize};

use crate::table::{Cell, Cells, Column, number};

/// The kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Numbers.
    Number,
    /// One of two opposites: true and false, yes and no, 0 and 1.
    Boolean,
    /// One of some texts.
    Category,
    /// A date, or a date and a time.
    Date,
    /// Sentences.
    Text,
    /// A name or number of its own for each row, which says nothing of other rows.
    Identifier,
    /// The same in every row.
    Constant,
    /// Nothing in any row.
    Empty,
}

impl Kind {
    /// Returns true if a column of this kind can be a feature.
    pub fn is_feature(self) -> bool {
        matches!(self, Self::Number | Self::Boolean | Self::Category | Self::Date | Self::Text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Category => "category",
            Self::Date => "date",
            Self::Text => "text",
            Self::Identifier => "identifier",
            Self::Constant => "constant",
            Self::Empty => "empty",
        })
    }
}

/// The date formats that are inferred from text; `compact` is not, since eight digits may be any number.
pub(crate) const FORMATS: [DateFormat; 3] =
    [DateFormat::YearMonthDay, DateFormat::DayMonthYear, DateFormat::MonthDayYear];

/// What the cells of a column have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The name of the column.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Number of rows.
    pub rows: usize,
    /// Rows without a value.
    pub missing: usize,
    /// Number of different values.
    pub distinct: usize,
    /// Values that are finite numbers.
    pub numbers: usize,
    /// Values that are whole numbers.
    pub integers: usize,
    /// Values that are infinite.
    pub infinite: usize,
    /// Values that are dates in any of the formats.
    pub dates: usize,
    /// Values that each format can read: year, day or month first.
    pub dates_of: [usize; FORMATS.len()],
    /// Values that are numbers with commas, spaces or signs of a unit.
    pub formatted: usize,
    /// The least and the greatest number, if there are numbers.
    pub range: Option<[f64; 2]>,
    /// The first different values.
    pub examples: Vec<String>,
    /// The first value that is no number, with its row from 0.
    pub first_word: Option<(usize, String)>,
    /// Characters of all values that are no numbers; one of a script without spaces counts as
    /// [`OF_A_WORD`].
    characters: usize,
    /// Values of at least three words.
    sentences: usize,
    /// Numbers that begin with a 0 before another digit, as codes do.
    padded: usize,
}

/// Examples of a column that are kept.
const EXAMPLES: usize = 3;
/// Rows from which on a column without repetition is an identifier.
const MANY_ROWS: usize = 20;
/// Mean length from which on different texts are sentences.
const LONG: usize = 24;
/// Letters of a syllable, which a character of a script without spaces stands for.
const OF_A_WORD: usize = 3;
/// Different texts up to which a column is a category whatever its rows.
const FEW: usize = 100;

/// Pairs of opposites, in lower case.
const OPPOSITES: [[&str; 2]; 6] =
    [["false", "true"], ["no", "yes"], ["n", "y"], ["f", "t"], ["off", "on"], ["0", "1"]];

impl Profile {
    /// Goes through the cells of a column.
    pub fn of(column: &Column) -> Self {
        let mut profile = Self {
            name: column.name.clone(),
            kind: Kind::Empty,
            rows: column.cells.len(),
            missing: 0,
            distinct: 0,
            numbers: 0,
            integers: 0,
            infinite: 0,
            dates: 0,
            dates_of: [0; FORMATS.len()],
            formatted: 0,
            range: None,
            examples: Vec::new(),
            first_word: None,
            characters: 0,
            sentences: 0,
            padded: 0,
        };
        profile.count(&column.cells);
        profile.kind = profile.inferred(&column.cells);
        profile
    }

    fn count(&mut self, cells: &Cells) {
        let mut seen = Distinct::default();
        for (row, cell) in cells.iter().enumerate() {
            if cell.is_missing() {
                self.missing += 1;
                continue;
            }
            if seen.is_new(cell) && self.examples.len() < EXAMPLES {
                self.examples.push(cell.text().into_owned());
            }
            match cell.number() {
                Some(number) => self.add_number(number, cell),
                None => self.add_word(row, cell),
            }
        }
        self.distinct = seen.count();
    }

    fn add_number(&mut self, number: f64, cell: Cell<'_>) {
        self.numbers += 1;
        self.integers += usize::from(number.fract() == 0.0);
        let [least, greatest] = self.range.unwrap_or([number; 2]);
        self.range = Some([least.min(number), greatest.max(number)]);
        if let Cell::Text(text) = cell {
            let digits = text.trim().trim_start_matches(['-', '+']).as_bytes();
            self.padded += usize::from(matches!(digits, [b'0', b'0'..=b'9', ..]));
        }
    }

    fn add_word(&mut self, row: usize, cell: Cell<'_>) {
        let text = cell.text();
        let is_infinite = match cell {
            Cell::Number(_) => true,
            Cell::Text(_) => text.parse::<f64>().is_ok_and(f64::is_infinite),
        };
        self.infinite += usize::from(is_infinite);
        let reads = FORMATS.map(|format| format.reads(&text));
        self.dates += usize::from(reads.contains(&true));
        self.dates_of.iter_mut().zip(reads).for_each(|(count, reads)| *count += usize::from(reads));
        self.formatted += usize::from(is_formatted(&text));
        let without_spaces = text.chars().filter(|&c| is_without_spaces(c)).count();
        self.characters += text.chars().count() + (OF_A_WORD - 1) * without_spaces;
        let words = text.split_whitespace().count() + without_spaces / OF_A_WORD;
        self.sentences += usize::from(words > 2);
        if self.first_word.is_none() && !is_infinite {
            self.first_word = Some((row, text.into_owned()));
        }
    }

    /// The formats of dates in which every value can be read.
    pub fn formats(&self) -> Vec<DateFormat> {
        let counted = FORMATS.iter().zip(self.dates_of);
        counted.filter(|(_, count)| *count == self.present()).map(|(format, _)| *format).collect()
    }

    /// Rows with a value.
    pub fn present(&self) -> usize {
        self.rows - self.missing
    }

    /// The kind that the counts speak for.
    fn inferred(&self, cells: &Cells) -> Kind {
        let present = self.present();
        if present == 0 {
            return Kind::Empty;
        }
        if self.distinct == 1 && self.missing == 0 {
            return Kind::Constant;
        }
        if self.distinct == 2 && is_boolean(cells) {
            return Kind::Boolean;
        }
        let is_unique = self.distinct == present && present >= MANY_ROWS;
        if self.numbers + self.infinite == present {
            return self.of_numbers(is_unique);
        }
        if self.dates == present && !self.formats().is_empty() {
            return Kind::Date;
        }
        let mean = self.characters / present;
        if self.sentences * 2 > present && mean >= LONG && self.distinct > FEW {
            return Kind::Text;
        }
        if is_unique {
            return Kind::Identifier;
        }
        // More different texts than half of the rows say as little as identifiers do.
        if self.distinct > FEW && self.distinct * 2 > present {
            return if mean >= LONG { Kind::Text } else { Kind::Identifier };
        }
        Kind::Category
    }

    /// The kind of a column whose values are all numbers.
    fn of_numbers(&self, is_unique: bool) -> Kind {
        let is_whole = self.integers == self.present() && self.infinite == 0;
        let [least, greatest] = self.range.unwrap_or_default();
        // Each whole number of a stretch once: the number of the row.
        let is_counted = greatest - least + 1.0 == self.present() as f64;
        if is_whole && is_unique && (is_counted || is_called_identifier(&self.name)) {
            return Kind::Identifier;
        }
        // Codes such as 01234, whose zeros would be lost.
        if self.padded > 0 && is_whole { Kind::Category } else { Kind::Number }
    }
}

/// Returns true if the two values of a column are opposites.
fn is_boolean(cells: &Cells) -> bool {
    let mut values: Vec<String> = Vec::new();
    for cell in cells.iter().filter(|cell| !cell.is_missing()) {
        let value = cell.text().to_lowercase();
        if !values.contains(&value) {
            values.push(value);
        }
        if values.len() == 2 {
            break;
        }
    }
    values.sort_unstable();
    OPPOSITES.iter().any(|pair| pair[..] == values[..])
}

/// Returns true for characters of Thai, Japanese and Chinese.
fn is_without_spaces(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// Returns true if a text is a number once commas, spaces and signs of a unit are taken away.
fn is_formatted(text: &str) -> bool {
    let is_sign = |c: char| matches!(c, '$' | '€' | '£' | '¥' | '%' | ' ' | '\u{a0}' | '\'');
    let bare: String =
        text.chars().filter(|&c| !is_sign(c)).map(|c| if c == ',' { '.' } else { c }).collect();
    // Of several points all but the last separate thousands.
    let places = bare.matches('.').count();
    let bare = if places > 1 { bare.replacen('.', "", places - 1) } else { bare };
    number(&bare).is_some()
}

/// Returns true if a name says that each row has a value of its own.
fn is_called_identifier(name: &str) -> bool {
    let name = name.to_lowercase();
    matches!(name.as_str(), "id" | "index" | "key" | "uuid" | "guid" | "row")
        || name.ends_with("_id")
        || name.ends_with(" id")
        || name.ends_with("-id")
}

/// The different values of a column.
#[derive(Default)]
struct Distinct<'a> {
    texts: HashSet<&'a str>,
    numbers: HashSet<u64>,
}

impl<'a> Distinct<'a> {
    fn is_new(&mut self, cell: Cell<'a>) -> bool {
        match cell {
            Cell::Text(text) => self.texts.insert(text.trim()),
            Cell::Number(number) => self.numbers.insert(number.to_bits()),
        }
    }

    fn count(&self) -> usize {
        self.texts.len() + self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Texts;

    fn profile(name: &str, cells: impl IntoIterator<Item = String>) -> Profile {
        let mut texts = Texts::default();
        cells.into_iter().for_each(|cell| texts.push(&cell));
        Profile::of(&Column { name: name.to_owned(), cells: Cells::Texts(texts) })
    }

    fn kind(name: &str, cells: impl IntoIterator<Item = String>) -> Kind {
        profile(name, cells).kind
    }

    fn each(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|&cell| cell.to_owned()).collect()
    }

    #[test]
    fn kinds_are_those_that_a_reader_would_name() {
        assert_eq!(kind("x", each(&["1", "2.5", "", "NA"])), Kind::Number);
        assert_eq!(kind("x", each(&["", "NA", "null"])), Kind::Empty);
        assert_eq!(kind("x", each(&["a", "a"])), Kind::Constant);
        assert_eq!(kind("x", each(&["Yes", "No", "Yes", ""])), Kind::Boolean);
        assert_eq!(kind("x", each(&["0", "1", "1"])), Kind::Boolean);
        assert_eq!(kind("x", each(&["Yes", "Maybe"])), Kind::Category);
        assert_eq!(kind("zip", each(&["01234", "98765", "00001"])), Kind::Category);
        assert_eq!(kind("x", each(&["2024-01-31", "2023-12-01T10:30:00Z"])), Kind::Date);
        assert_eq!(kind("x", (0..50).map(|i| (i * 3).to_string())), Kind::Number);
        assert_eq!(kind("customer_id", (0..50).map(|i| (i * 3).to_string())), Kind::Identifier);
        assert_eq!(kind("x", (0..50).map(|i| (7 + i).to_string())), Kind::Identifier);
        assert_eq!(kind("x", (0..50).map(|i| format!("u-{i}"))), Kind::Identifier);
        let review = |i: usize| format!("this tea number {i} is the best that I ever had");
        assert_eq!(kind("x", (0..200).map(review)), Kind::Text);
        assert_eq!(kind("x", (0..200).map(|i| format!("这是第{i}杯很好喝的绿茶"))), Kind::Text);
        assert_eq!(kind("x", (0..300).map(|i| format!("city {}", i % 120))), Kind::Category);
    }

    #[test]
    fn counts_are_of_values() {
        let found = profile("x", each(&["1", "", "-3.5", "inf", "one", "1"]));
        assert_eq!((found.missing, found.numbers, found.integers), (1, 3, 2));
        assert_eq!((found.infinite, found.distinct), (1, 4));
        assert_eq!(found.range, Some([-3.5, 1.0]));
        assert_eq!(found.first_word, Some((4, "one".to_owned())));
        assert_eq!(found.examples, ["1", "-3.5", "inf"]);
    }
}
