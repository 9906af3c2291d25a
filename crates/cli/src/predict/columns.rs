//! Tables whose columns have names, for models that take named columns.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, Reader, ReaderBuilder, StringRecord};
use fireclay::{Category, FieldKind, InputError, InputSpec, Value, ValuesError};
use fireclay_data::decompressed;

use crate::output::printable;

/// What separates the cells of a line.
const SEPARATORS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// The most bytes of a row, and the most columns: each cell takes a few times its bytes.
const MOST_OF_A_ROW: u64 = 2 << 20;
const MOST_COLUMNS: usize = 1 << 16;
/// How the absence of a number is written, besides an empty cell.
const MISSING: [&str; 5] = ["NA", "N/A", "NaN", "nan", "null"];
/// The most names of columns that are listed.
const MOST_NAMES: usize = 5;

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

/// Reads the heading of a table; `-` is standard input, and the bytes may be compressed.
pub(crate) fn read<'a>(name: &Path, input: &'a InputSpec) -> Result<Columns<'a>> {
    if name.as_os_str() == "-" {
        let stdin = Box::new(BufReader::new(io::stdin()));
        return Columns::begin(stdin, input).context("standard input");
    }
    let named = || printable(&name.display().to_string(), 200);
    let file = File::open(name).with_context(named)?;
    if file.metadata().with_context(named)?.is_dir() {
        bail!("{}: this is a folder; name the files in it", named());
    }
    Columns::begin(Box::new(BufReader::new(file)), input).with_context(named)
}

/// An error that counts the rows of all batches, not those of one.
pub(crate) fn counted(error: ValuesError, before: usize) -> ValuesError {
    match error {
        ValuesError::Input(InputError::Value { row, column, problem }) => {
            InputError::Value { row: row + before, column, problem }.into()
        }
        error => error,
    }
}

impl<'a> Columns<'a> {
    fn begin(stream: Box<dyn BufRead>, input: &'a InputSpec) -> Result<Self> {
        let (_, contents) = decompressed(stream)?;
        let mut contents = BufReader::new(contents);
        let mut heading = Vec::new();
        contents.by_ref().take(MOST_OF_A_ROW).read_until(b'\n', &mut heading)?;
        let names = in_words(&names_of(input));
        if heading.trim_ascii().is_empty() {
            bail!("the table has no heading; its first line must name the columns {names}");
        }
        if heading.len() as u64 == MOST_OF_A_ROW {
            bail!(
                "the first line has more than {MOST_OF_A_ROW} bytes; it must name the columns {names}"
            );
        }
        let separator = separator(&heading);
        let count = 1 + heading.iter().filter(|&&byte| byte == separator).count();
        if count > MOST_COLUMNS {
            bail!("the first line has {count} columns; at most {MOST_COLUMNS} are read");
        }
        let whole = Box::new(Cursor::new(heading).chain(contents)) as Box<dyn Read>;
        let whole = Limited { from: whole, left: MOST_OF_A_ROW };
        let mut rows = ReaderBuilder::new().delimiter(separator).from_reader(whole);
        let header = rows.headers().map_err(|error| problem(&error))?;
        let header: Vec<String> = header.iter().map(|name| name_of(name, input)).collect();
        let encoder = input.encoder(&header).with_context(|| {
            format!("the first line of the table must name the columns {names}")
        })?;
        let mut done = Vec::new();
        if !encoder.ignored().is_empty() {
            done.push(format!("columns left out: {}", in_words(encoder.ignored())));
        }
        Ok(Self { header, done, input, rows, warned: BTreeSet::new() })
    }

    /// The cells of the next rows, `most` at the most; none after the last.
    pub(crate) fn next_rows(&mut self, most: usize) -> Result<Vec<StringRecord>> {
        let mut found = Vec::new();
        while found.len() < most {
            self.rows.get_mut().left = MOST_OF_A_ROW;
            let mut record = ByteRecord::new();
            if !self.rows.read_byte_record(&mut record).map_err(|error| problem(&error))? {
                break;
            }
            let line = record.position().map_or(0, csv::Position::line);
            let text = StringRecord::from_byte_record(record);
            found.push(text.map_err(|_| {
                anyhow::anyhow!("line {line} is not UTF-8; save the file as UTF-8")
            })?);
        }
        Ok(found)
    }

    /// Texts that the model does not know, the first of each column that had none before.
    pub(crate) fn unknown(&mut self, rows: &[Vec<Value<'_>>]) -> Vec<String> {
        let Self { header, input, warned, .. } = self;
        let mut found = Vec::new();
        for (place, name) in header.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let field = input.fields().iter().find(|field| field.name == *name);
            let Some(FieldKind::Category(category)) = field.map(|field| &field.kind) else {
                continue;
            };
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
        let field = |name: &String| self.input.fields().iter().find(|field| field.name == *name);
        let kinds: Vec<Option<&FieldKind>> =
            self.header.iter().map(|name| field(name).map(|field| &field.kind)).collect();
        let row = |row: &'b StringRecord| {
            row.iter().zip(&kinds).map(|(cell, kind)| value(cell, *kind)).collect()
        };
        rows.iter().map(row).collect()
    }
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
    let count = |separator: u8| heading.iter().filter(|&&byte| byte == separator).count();
    // Of equally frequent ones the first.
    SEPARATORS.into_iter().rev().max_by_key(|&separator| count(separator)).unwrap_or(b',')
}

fn names_of(input: &InputSpec) -> Vec<String> {
    input.fields().iter().map(|field| field.name.clone()).collect()
}

fn in_words(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES).map(|name| printable(name, 40));
    let more = names.len().saturating_sub(MOST_NAMES);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    shown.collect::<Vec<_>>().join(", ") + &rest
}

/// What is wrong with a table, without the words of the library.
fn problem(error: &csv::Error) -> anyhow::Error {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            anyhow::anyhow!("line {line} has {len} cells; the heading has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => {
            anyhow::anyhow!("the heading is not UTF-8; save the file as UTF-8")
        }
        csv::ErrorKind::Io(error) => anyhow::anyhow!("{error}"),
        _ => anyhow::anyhow!("{error}"),
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
    use fireclay::{Category, Field, Number};

    use super::*;

    fn input() -> InputSpec {
        let size = Number { mean: 0.0, deviation: 1.0, missing: true };
        let values = vec![" pad ".into(), "NA".into(), "red".into()];
        let colour = Category { values, missing: true };
        InputSpec::new(vec![Field::new("size", size), Field::new("colour", colour)]).unwrap()
    }

    fn rows(text: &str) -> Result<Vec<Vec<String>>> {
        let input = input();
        let bytes = Box::new(Cursor::new(text.as_bytes().to_vec()));
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
            let error = format!("{:#}", rows(text).unwrap_err());
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let open = format!("size,colour\n1,\"{}", "x".repeat(MOST_OF_A_ROW as usize + (1 << 20)));
        let error = format!("{:#}", rows(&open).unwrap_err());
        assert!(error.contains("a quote may not be closed"), "{error}");
    }
}
