//! JSON Lines: an object a line.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use fireclay_readers::decompress;
use serde_json::{Map, Value};

use crate::TableError;
use crate::csv_rows::MOST_COLUMNS;
use crate::table::{Cells, Column, Table, Texts};

/// The most bytes of a line.
const MOST_OF_A_LINE: u64 = 2 << 20;

/// Objects, one a line, of a stream that may be compressed.
pub struct JsonLines {
    lines: Box<dyn BufRead>,
    line: u64,
    buffer: Vec<u8>,
}

impl JsonLines {
    /// Of a stream.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub fn begin(stream: impl BufRead + 'static) -> Result<Self, TableError> {
        let (_, contents) = decompress(stream)?;
        let lines = Box::new(BufReader::with_capacity(1 << 16, contents));
        Ok(Self { lines, line: 0, buffer: Vec::new() })
    }

    /// The next object; none behind the last. Empty lines are left out.
    ///
    /// # Errors
    ///
    /// A [`TableError`] that names the line.
    pub fn next_object(&mut self) -> Result<Option<Map<String, Value>>, TableError> {
        loop {
            self.buffer.clear();
            let mut limited = self.lines.by_ref().take(MOST_OF_A_LINE);
            if limited.read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            let line = self.line;
            if self.buffer.len() as u64 == MOST_OF_A_LINE {
                return Err(TableError::LongRow { line, most: MOST_OF_A_LINE });
            }
            let text = std::str::from_utf8(&self.buffer);
            let text = text.map_err(|_| TableError::NotUtf8 { line })?;
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
    pub fn line(&self) -> u64 {
        self.line
    }
}

/// Reads a table; its columns are the keys of all objects, in the order in which they first occur, and
/// an object without one of them has no value there.
pub(crate) fn read(stream: impl BufRead + 'static) -> Result<Table, TableError> {
    let mut lines = JsonLines::begin(stream)?;
    let (mut names, mut columns) = (Vec::<String>::new(), Vec::<Texts>::new());
    let mut places = HashMap::<String, usize>::new();
    let mut rows = 0;
    while let Some(object) = lines.next_object()? {
        for (key, value) in object {
            let place = match places.get(&key) {
                Some(&place) => place,
                None => {
                    if names.len() == MOST_COLUMNS {
                        let (found, most) = (names.len() + 1, MOST_COLUMNS);
                        return Err(TableError::TooManyColumns { found, most });
                    }
                    names.push(key.clone());
                    columns.push(Texts::default());
                    places.insert(key.clone(), names.len() - 1);
                    names.len() - 1
                }
            };
            let text = cell(&value);
            let text = text.map_err(|found| {
                let line = lines.line();
                TableError::JsonValue { line, key, found }
            })?;
            let column = &mut columns[place];
            (column.len()..rows).for_each(|_| column.push(""));
            column.push(&text);
        }
        rows += 1;
        columns.iter_mut().filter(|column| column.len() < rows).for_each(|column| column.push(""));
    }
    if rows == 0 {
        return Err(TableError::NoRows);
    }
    let columns = names.into_iter().zip(columns);
    Table::new(columns.map(|(name, texts)| Column { name, cells: Cells::Texts(texts) }).collect())
}

/// The value of a key as the cell of a table.
///
/// # Errors
///
/// The kind of a value that is no cell.
pub fn cell(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(is_true) => Ok(is_true.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) => Err("a list"),
        Value::Object(_) => Err("an object"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use fireclay_terminal::message;

    use super::*;

    fn table(text: &str) -> Result<Table, TableError> {
        read(Cursor::new(text.as_bytes().to_vec()))
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
    fn lines_that_are_no_rows_are_named() {
        for (text, expected) in [
            ("{\"a\": 1}\n[1]\n", "line 2 is not a JSON object"),
            ("{\"a\": 1\n", "line 1 is not a JSON object"),
            ("{\"a\": [1]}\n", "line 1, key a: the value is a list"),
            ("\n\n", "no rows"),
        ] {
            let error = message(&table(text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
