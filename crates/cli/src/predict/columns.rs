//! Tables whose columns have names, for models that take named columns.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, Reader, ReaderBuilder, StringRecord, Trim};
use fireclay::{FieldKind, InputError, InputSpec, Value, ValuesError};
use fireclay_data::decompressed;

use crate::output::printable;

/// What separates the cells of a line.
const SEPARATORS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// The most bytes of a row.
const MOST_OF_A_ROW: u64 = 16 << 20;
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
        let separator = separator(&heading);
        let whole = Box::new(Cursor::new(heading).chain(contents)) as Box<dyn Read>;
        let whole = Limited { from: whole, left: MOST_OF_A_ROW };
        let mut rows = ReaderBuilder::new().delimiter(separator).trim(Trim::All).from_reader(whole);
        let header = rows.headers().map_err(|error| problem(&error))?;
        let header: Vec<String> = header.iter().map(str::to_owned).collect();
        let encoder = input.encoder(&header).with_context(|| {
            format!("the first line of the table must name the columns {names}")
        })?;
        let mut done = Vec::new();
        if !encoder.ignored().is_empty() {
            done.push(format!("columns left out: {}", in_words(encoder.ignored())));
        }
        Ok(Self { header, done, input, rows })
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

/// What a cell means in a column of this kind.
fn value<'b>(cell: &'b str, kind: Option<&FieldKind>) -> Value<'b> {
    let is_number = matches!(kind, Some(FieldKind::Number(_)));
    if cell.is_empty() || (is_number && MISSING.contains(&cell)) {
        return Value::Missing;
    }
    match cell.parse() {
        Ok(number) if is_number => Value::Number(number),
        _ => Value::Text(cell),
    }
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
                "a row has more than {MOST_OF_A_ROW} bytes; a quote may not be closed"
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
        let colour = Category { values: vec!["NA".into(), "red".into()], missing: true };
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
            "colour | size\nNA | 1.5\n | NaN",
        ] {
            assert_eq!(rows(text).unwrap(), expected, "{text:?}");
        }
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
        ] {
            let error = format!("{:#}", rows(text).unwrap_err());
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let open = format!("size,colour\n1,\"{}", "x".repeat(MOST_OF_A_ROW as usize + (1 << 20)));
        let error = format!("{:#}", rows(&open).unwrap_err());
        assert!(error.contains("a quote may not be closed"), "{error}");
    }
}
