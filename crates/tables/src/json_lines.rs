//! JSON Lines: an object a line.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use fireclay_readers::decompress;
use serde_json::{Map, Value};

use crate::TableError;
use crate::csv_rows::MOST_COLUMNS;
use crate::table::{Cells, Texts};

/// The most bytes of a line.
const MOST_OF_A_LINE: u64 = 2 << 20;

/// Objects, one a line, of a stream that may be compressed.
pub(crate) struct JsonLines {
    lines: Box<dyn BufRead>,
    line: u64,
    /// Bytes of the lines so far.
    bytes: u64,
    buffer: Vec<u8>,
}

impl JsonLines {
    /// Of a stream.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub(crate) fn begin(stream: impl BufRead + 'static) -> Result<Self, TableError> {
        let (_, contents) = decompress(stream)?;
        let lines = Box::new(BufReader::with_capacity(1 << 16, contents));
        Ok(Self { lines, line: 0, bytes: 0, buffer: Vec::new() })
    }

    /// The next object; none behind the last. Empty lines are left out.
    ///
    /// # Errors
    ///
    /// A [`TableError`] that names the line.
    pub(crate) fn next_object(&mut self) -> Result<Option<Map<String, Value>>, TableError> {
        loop {
            self.buffer.clear();
            let mut limited = self.lines.by_ref().take(MOST_OF_A_LINE);
            if limited.read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.bytes += self.buffer.len() as u64;
            let line = self.line;
            if self.buffer.len() as u64 == MOST_OF_A_LINE {
                return Err(TableError::LongRow { line, most: MOST_OF_A_LINE });
            }
            let text = std::str::from_utf8(&self.buffer);
            let text = text.map_err(|error| {
                let byte = error.valid_up_to() + 1;
                TableError::LineNotUtf8 { line, byte }
            })?;
            let text = text.trim_start_matches('\u{feff}').trim();
            if !text.is_empty() {
                let object = serde_json::from_str(text);
                return object
                    .map(Some)
                    .map_err(|error| TableError::Json { line, problem: error.to_string() });
            }
        }
    }

    /// The line of the last object, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }
}

/// Rows of JSON Lines, some at a time. The columns are the keys of the first [`FIRST`] objects, those of an
/// earlier object first, and those of one object in alphabetical order; an object without one of them has no
/// value there, and later keys are left out.
///
/// A list of numbers is a column for each of them, `key.0`, `key.1` and so on, and as long in every row. A
/// list of texts is a cell, which holds the list as JSON has it.
pub(crate) struct JsonBlocks {
    lines: JsonLines,
    names: Vec<String>,
    places: HashMap<String, KeyPlace>,
    /// The objects that the columns were found in.
    first: std::vec::IntoIter<(u64, Map<String, Value>)>,
    /// Rows that have been read.
    rows: u64,
}

/// The columns of a key.
#[derive(Clone, Copy, Debug)]
struct KeyPlace {
    first: usize,
    /// Numbers of a list; none of single values.
    list: Option<usize>,
}

/// Cells of any table, and the most of them for each byte of a larger one: objects that have few keys in
/// common make columns that are nearly empty.
const ALWAYS: u64 = 1 << 20;
const MOST_PER_BYTE: u64 = 16;

/// Objects in which columns are found.
const FIRST: usize = 10_000;

impl JsonBlocks {
    /// Finds the columns.
    ///
    /// # Errors
    ///
    /// A [`TableError`] that names the line.
    pub(crate) fn begin(mut lines: JsonLines) -> Result<Self, TableError> {
        let (mut keys, mut lists): (Vec<String>, HashMap<String, Option<usize>>) =
            Default::default();
        let (mut first, mut columns) = (Vec::new(), 0);
        while first.len() < FIRST {
            let Some(object) = lines.next_object()? else { break };
            for (key, value) in &object {
                let width = numbers_of(value).map(<[Value]>::len);
                match lists.get_mut(key) {
                    Some(None) if width.is_some() => {
                        columns += width.unwrap_or(1) - 1;
                        lists.insert(key.clone(), width);
                    }
                    Some(_) => {}
                    None => {
                        columns += width.unwrap_or(1);
                        keys.push(key.clone());
                        lists.insert(key.clone(), width);
                    }
                }
                if columns > MOST_COLUMNS {
                    return Err(TableError::TooManyColumns { found: columns, most: MOST_COLUMNS });
                }
            }
            first.push((lines.line(), object));
        }
        let (mut names, mut places) = (Vec::with_capacity(columns), HashMap::new());
        for key in keys {
            let list = lists.get(&key).copied().flatten();
            let place = KeyPlace { first: names.len(), list };
            match list {
                Some(width) => names.extend((0..width).map(|at| format!("{key}.{at}"))),
                None => names.push(key.clone()),
            }
            places.insert(key, place);
        }
        Ok(Self { lines, names, places, first: first.into_iter(), rows: 0 })
    }

    /// The names of the columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The texts of the next rows.
    ///
    /// # Errors
    ///
    /// A [`TableError`] that names the line.
    pub(crate) fn next_columns(&mut self, most: usize) -> Result<Vec<Cells>, TableError> {
        let mut columns = vec![Texts::default(); self.names.len()];
        for row in 0..most {
            let next = match self.first.next() {
                Some(first) => Some(first),
                None => self.lines.next_object()?.map(|object| (self.lines.line(), object)),
            };
            let Some((line, object)) = next else { break };
            self.rows += 1;
            let width = self.names.len() as u64;
            if self.rows * width > self.lines.bytes.saturating_mul(MOST_PER_BYTE).max(ALWAYS) {
                return Err(TableError::Sparse { line, columns: width });
            }
            for (key, value) in object {
                let Some(&place) = self.places.get(&key) else { continue };
                push(&mut columns, place, &value).map_err(|found| TableError::JsonValue {
                    line,
                    key,
                    found,
                })?;
            }
            columns
                .iter_mut()
                .filter(|column| column.len() == row)
                .for_each(|column| column.push(""));
        }
        Ok(columns.into_iter().map(Cells::Texts).collect())
    }
}

/// The numbers of a list that has nothing else.
fn numbers_of(value: &Value) -> Option<&[Value]> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    list.iter().all(|value| value.is_number() || value.is_null()).then_some(list)
}

/// Adds the value of a key to its columns, or says what it is instead.
fn push(columns: &mut [Texts], place: KeyPlace, value: &Value) -> Result<(), String> {
    let Some(width) = place.list else {
        columns[place.first].push(&cell(value)?);
        return Ok(());
    };
    let numbers = match (numbers_of(value), value) {
        (Some(numbers), _) if numbers.len() == width => numbers,
        (Some(numbers), _) => {
            return Err(format!("a list of {} numbers, and others have {width}", numbers.len()));
        }
        (None, Value::Null) => return Ok(()),
        (None, _) => return Err(format!("no list of {width} numbers, as others are")),
    };
    for (column, number) in columns[place.first..].iter_mut().zip(numbers) {
        column.push(&cell(number)?);
    }
    Ok(())
}

/// The value of a key as the cell of a table.
///
/// # Errors
///
/// The kind of a value that is no cell.
fn cell(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(is_true) => Ok(is_true.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(texts) if texts.iter().all(Value::is_string) => Ok(value.to_string()),
        Value::Array(_) => Err("a list of several kinds".to_owned()),
        Value::Object(_) => Err("an object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use fireclay_terminal::message;

    use super::*;
    use crate::Table;

    fn table(text: &str) -> Result<Table, TableError> {
        Ok(crate::read::from_bytes(text.as_bytes())?.table)
    }

    #[test]
    fn keys_are_columns_wherever_they_occur() {
        let text = "{\"a\": 1.50, \"b\": \"x\"}\n\n{\"b\": null, \"c\": true}\n{\"a\": -2}\n";
        let found = table(text).unwrap();
        assert_eq!(found.names(), ["a", "b", "c"]);
        let cells = |name: &str| -> Vec<String> {
            found.column(name).unwrap().cells.iter().map(|cell| cell.text().into_owned()).collect()
        };
        assert_eq!(cells("a"), ["1.5", "", "-2"]);
        assert_eq!(cells("b"), ["x", "", ""]);
        assert_eq!(cells("c"), ["", "true", ""]);
    }

    #[test]
    fn lists_are_columns_of_numbers_or_cells_of_texts() {
        let text =
            "{\"v\": null, \"t\": [\"x\", \"y, z\"]}\n{\"v\": [1, 2.5], \"t\": []}\n{\"n\": 1}\n";
        let found = table(text).unwrap();
        assert_eq!(found.names(), ["t", "v.0", "v.1", "n"]);
        let cells = |name: &str| -> Vec<String> {
            found.column(name).unwrap().cells.iter().map(|cell| cell.text().into_owned()).collect()
        };
        assert_eq!((cells("v.0"), cells("v.1")), (each(&["", "1", ""]), each(&["", "2.5", ""])));
        assert_eq!(cells("t"), each(&["[\"x\",\"y, z\"]", "[]", ""]));
    }

    fn each(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|&cell| cell.to_owned()).collect()
    }

    #[test]
    fn lines_that_are_no_rows_are_named() {
        for (text, expected) in [
            ("{\"a\": 1}\n[1]\n", "line 2 is not a JSON object"),
            ("{\"a\": 1\n", "line 1 is not a JSON object"),
            ("{\"a\": {}}\n", "line 1, key a: the value is an object"),
            ("{\"a\": [1, \"x\"]}\n", "line 1, key a: the value is a list of several kinds"),
            ("{\"a\": [1, 2]}\n{\"a\": [3]}\n", "line 2, key a: the value is a list of 1 numbers"),
            ("{\"a\": [1, 2]}\n{\"a\": 3}\n", "line 2, key a: the value is no list of 2 numbers"),
        ] {
            let error = message(&table(text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
