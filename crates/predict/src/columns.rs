//! Tables whose columns have names, for models that take named columns.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use csv::{ByteRecord, Reader, ReaderBuilder, StringRecord};
use fireclay_model::{Category, FieldKind, InputError, InputSpec, Value};
use fireclay_readers::decompress;
use fireclay_terminal::{names, printable};

/// What separates the cells of a line.
const SEPARATORS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// The most bytes of a row, and the most columns: each cell takes a few times its bytes.
const MOST_OF_A_ROW: u64 = 2 << 20;
const MOST_COLUMNS: usize = 1 << 16;
/// How the absence of a number is written, besides an empty cell.
const MISSING: [&str; 5] = ["NA", "N/A", "NaN", "nan", "null"];
/// The most names of columns that are listed.
const MOST_NAMES: usize = 5;

/// What is wrong with a table of named columns.
#[derive(Debug, thiserror::Error)]
pub enum ColumnsError {
    /// The stream fails.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// The table is empty.
    #[error("the table has no heading; its first line must name the columns {names}")]
    NoHeading {
        /// The first columns that the model takes.
        names: String,
    },
    /// The first line does not end.
    #[error("the first line has more than {MOST_OF_A_ROW} bytes; it must name the columns {names}")]
    LongHeading {
        /// The first columns that the model takes.
        names: String,
    },
    /// There are more columns than are read.
    #[error("the first line has {found} columns; at most {MOST_COLUMNS} are read")]
    TooManyColumns {
        /// Columns of the heading.
        found: usize,
    },
    /// The heading does not fit the model.
    #[error("the first line of the table must name the columns {names}")]
    Heading {
        /// The first columns that the model takes.
        names: String,
        /// What does not fit.
        source: InputError,
    },
    /// The heading is not UTF-8.
    #[error("the heading is not UTF-8; save the file as UTF-8")]
    HeadingNotUtf8,
    /// A line is not UTF-8.
    #[error("line {line} is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The line, from 1.
        line: u64,
    },
    /// A line has more or fewer cells than the heading.
    #[error("line {line} has {found} cells; the heading has {expected}")]
    Cells {
        /// The line, from 1.
        line: u64,
        /// Its cells.
        found: u64,
        /// Those of the heading.
        expected: u64,
    },
    /// Anything else that the reader of CSV finds.
    #[error("{0}")]
    Csv(String),
}

/// The rows of a table, read as they are asked for.
pub(crate) struct Columns<'a> {
    /// The name of each column.
    pub(crate) header: Vec<String>,
    /// What was done to make rows of the table.
    pub(crate) done: Vec<String>,
    input: &'a InputSpec,
    rows: Reader<Limited<Box<dyn Read>>>,
    /// Columns in which a text was met that the model does not know.
    warned: BTreeSet<usize>,
}

impl<'a> Columns<'a> {
    /// Reads the heading of a table, which may be compressed.
    pub(crate) fn begin(
        stream: impl BufRead + 'static,
        input: &'a InputSpec,
    ) -> Result<Self, ColumnsError> {
        let (_, contents) = decompress(stream)?;
        let mut contents = BufReader::new(contents);
        let mut heading = Vec::new();
        contents.by_ref().take(MOST_OF_A_ROW).read_until(b'\n', &mut heading)?;
        let taken: Vec<String> = input.fields().iter().map(|field| field.name.clone()).collect();
        let taken = names(&taken, MOST_NAMES);
        if heading.trim_ascii().is_empty() {
            return Err(ColumnsError::NoHeading { names: taken });
        }
        if heading.len() as u64 == MOST_OF_A_ROW {
            return Err(ColumnsError::LongHeading { names: taken });
        }
        let separator = separator(&heading);
        let found = 1 + count(&heading, separator);
        if found > MOST_COLUMNS {
            return Err(ColumnsError::TooManyColumns { found });
        }
        let whole = Box::new(Cursor::new(heading).chain(contents)) as Box<dyn Read>;
        let whole = Limited { from: whole, left: MOST_OF_A_ROW };
        let mut rows = ReaderBuilder::new().delimiter(separator).from_reader(whole);
        let header = rows.headers()?;
        let header: Vec<String> = header.iter().map(|name| name_of(name, input)).collect();
        let encoder = input.encoder(&header);
        let encoder = encoder.map_err(|source| ColumnsError::Heading { names: taken, source })?;
        let mut done = Vec::new();
        if !encoder.ignored().is_empty() {
            done.push(format!("columns left out: {}", names(encoder.ignored(), MOST_NAMES)));
        }
        Ok(Self { header, done, input, rows, warned: BTreeSet::new() })
    }

    /// The cells of the next rows, `most` at the most; none after the last.
    pub(crate) fn next_rows(&mut self, most: usize) -> Result<Vec<StringRecord>, ColumnsError> {
        let mut found = Vec::new();
        while found.len() < most {
            self.rows.get_mut().left = MOST_OF_A_ROW;
            let mut record = ByteRecord::new();
            if !self.rows.read_byte_record(&mut record)? {
                break;
            }
            let line = record.position().map_or(0, csv::Position::line);
            let text = StringRecord::from_byte_record(record);
            found.push(text.map_err(|_| ColumnsError::NotUtf8 { line })?);
        }
        Ok(found)
    }

    /// Texts that the model does not know, the first of each column that had none before, in words.
    pub(crate) fn unknown(&mut self, rows: &[Vec<Value<'_>>]) -> Vec<String> {
        let Self { header, input, warned, .. } = self;
        let mut found = Vec::new();
        for (place, name) in header.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let Some(FieldKind::Category(category)) = kind(input, name) else { continue };
            let mut texts = rows.iter().filter_map(|row| match row.get(place) {
                Some(Value::Text(text)) if !knows(category, text) => Some(*text),
                _ => None,
            });
            if let Some(text) = texts.next().filter(|_| warned.insert(place)) {
                let (name, text) = (printable(name, 40), printable(text, 40));
                found.push(format!("column {name}: the model does not know {text:?}"));
            }
        }
        found
    }

    /// What the cells of rows mean.
    pub(crate) fn values<'b>(&self, rows: &'b [StringRecord]) -> Vec<Vec<Value<'b>>> {
        let kinds: Vec<Option<&FieldKind>> =
            self.header.iter().map(|name| kind(self.input, name)).collect();
        let rows = rows.iter().map(|row| {
            let cells = row.iter().zip(&kinds);
            cells.map(|(cell, kind)| value(cell, *kind)).collect()
        });
        rows.collect()
    }
}

/// The kind of the field of this name, if the model has one.
fn kind<'a>(input: &'a InputSpec, name: &str) -> Option<&'a FieldKind> {
    input.fields().iter().find(|field| field.name == name).map(|field| &field.kind)
}

/// What a cell means in a column of this kind. Spaces around a text belong to it where the model knows
/// it so, and else to the table.
fn value<'b>(cell: &'b str, kind: Option<&FieldKind>) -> Value<'b> {
    let bare = cell.trim();
    match kind {
        Some(FieldKind::Category(category)) if knows(category, cell) => Value::Text(cell),
        Some(FieldKind::Number(_)) if MISSING.contains(&bare) => Value::Missing,
        _ if bare.is_empty() => Value::Missing,
        Some(FieldKind::Number(_)) => bare.parse().map_or(Value::Text(bare), Value::Number),
        _ => Value::Text(bare),
    }
}

fn knows(category: &Category, text: &str) -> bool {
    category.values.binary_search_by(|known| known.as_str().cmp(text)).is_ok()
}

/// The name of a column, without spaces around it unless the model takes it with them.
fn name_of(name: &str, input: &InputSpec) -> String {
    let is_taken = input.fields().iter().any(|field| field.name == name);
    if is_taken { name } else { name.trim() }.to_owned()
}

/// What occurs most in the heading; a comma if nothing does.
fn separator(heading: &[u8]) -> u8 {
    // Of equally frequent ones the first.
    let most = SEPARATORS.into_iter().rev().max_by_key(|&separator| count(heading, separator));
    most.unwrap_or(b',')
}

/// How often a byte occurs.
fn count(bytes: &[u8], byte: u8) -> usize {
    bytes.iter().filter(|&&other| other == byte).count()
}

impl From<csv::Error> for ColumnsError {
    fn from(error: csv::Error) -> Self {
        let words = error.to_string();
        match error.into_kind() {
            csv::ErrorKind::UnequalLengths { pos, expected_len: expected, len: found } => {
                let line = pos.as_ref().map_or(0, csv::Position::line);
                Self::Cells { line, found, expected }
            }
            csv::ErrorKind::Utf8 { .. } => Self::HeadingNotUtf8,
            csv::ErrorKind::Io(error) => Self::Stream(error),
            _ => Self::Csv(words),
        }
    }
}

/// Bytes of which a row has so many at the most: a quote that is never closed is not read to the end.
struct Limited<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "more than {MOST_OF_A_ROW} bytes without the end of a row; a quote may not be closed"
            )));
        }
        let read = self.from.read(into)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use fireclay_model::{Category, Field, Number};
    use fireclay_terminal::message;

    use super::*;

    fn input() -> InputSpec {
        let size = Number { mean: 0.0, deviation: 1.0, missing: true };
        let values = vec![" pad ".into(), "NA".into(), "red".into()];
        let colour = Category { values, missing: true };
        InputSpec::new(vec![Field::new("size", size), Field::new("colour", colour)]).unwrap()
    }

    fn rows(text: &str) -> Result<Vec<Vec<String>>, ColumnsError> {
        let input = input();
        let bytes = Cursor::new(text.as_bytes().to_vec());
        let mut table = Columns::begin(bytes, &input)?;
        let rows = table.next_rows(100)?;
        let said = |value: &Value<'_>| format!("{value:?}");
        Ok(table.values(&rows).iter().map(|row| row.iter().map(said).collect()).collect())
    }

    #[test]
    fn cells_mean_what_their_column_takes() {
        let expected = [["Text(\"NA\")", "Number(1.5)"], ["Missing", "Missing"]];
        for text in [
            "colour,size\nNA,1.5\n,NA\n",
            "\u{feff}colour;size\r\nNA;1.5\r\n;\r\n",
            "colour\tsize\nNA\t1.5\n\tnull",
            "colour | size\nNA | 1.5\n | NaN ",
        ] {
            assert_eq!(rows(text).unwrap(), expected, "{text:?}");
        }
        let padded = "size,colour\n 2 ,\" pad \"\n3, red \n";
        assert_eq!(
            rows(padded).unwrap(),
            [["Number(2.0)", "Text(\" pad \")"], ["Number(3.0)", "Text(\"red\")"]]
        );
        let quoted = "size,colour,\"a, b\"\n2,red,\"x\ny\"\n";
        assert_eq!(rows(quoted).unwrap(), [["Number(2.0)", "Text(\"red\")", "Text(\"x\\ny\")"]]);
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        for (text, expected) in [
            ("", "no heading"),
            ("\n\n", "no heading"),
            ("1,red\n2,blue\n", "\"size\", \"colour\""),
            ("size,colour\n1\n", "line 2 has 1 cells; the heading has 2"),
            ("size,size,colour\n", "two columns are named \"size\""),
            (&",".repeat(1 << 17), "131073 columns; at most 65536"),
            (&"x".repeat(3 << 20), "the first line has more than 2097152 bytes"),
        ] {
            let error = message(&rows(text).unwrap_err());
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let open = format!("size,colour\n1,\"{}", "x".repeat(MOST_OF_A_ROW as usize + (1 << 20)));
        let error = message(&rows(&open).unwrap_err());
        assert!(error.contains("a quote may not be closed"), "{error}");
    }
}
