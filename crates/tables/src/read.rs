//! From a file to a table.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use csv::StringRecord;
use fireclay_readers::decompress;

use crate::csv_rows::CsvRows;
use crate::table::{Cells, Column, Table, Texts, check_names};
use crate::{TableError, json_lines};

/// Endings of files of tables, without one of compression.
const ENDINGS: [&str; 6] = ["csv", "tsv", "tab", "jsonl", "ndjson", "txt"];

/// Returns true if a path ends like a table: `.csv`, `.tsv`, `.jsonl` and others, also behind `.gz` or
/// `.zst`.
pub fn is_called_table(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

/// The stem of a file's name, without the endings of compression and table.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    if stem.is_empty() { "table".to_owned() } else { stem.to_owned() }
}

/// A table and what was left out of it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The table.
    pub table: Table,
    /// Places, from 1, of columns without a name, which are left out.
    pub unnamed: Vec<usize>,
}

/// Reads a table of a file: CSV with any of the usual separators, or JSON Lines, plain or compressed;
/// the contents tell which.
///
/// # Errors
///
/// A [`TableError`] in the file.
pub fn read(path: &Path) -> Result<Reading, TableError> {
    let read = open(path).and_then(|file| read_stream(BufReader::with_capacity(1 << 16, file)));
    read.map_err(|source| TableError::InFile { path: path.to_owned(), source: Box::new(source) })
}

/// The first rows of a table.
#[derive(Clone, Debug)]
pub struct Head {
    /// The rows.
    pub reading: Reading,
    /// Bytes that they take in the file.
    pub bytes: usize,
}

/// Reads at most so many of the first rows of a CSV or TSV file.
///
/// # Errors
///
/// As [`read`].
pub fn head(path: &Path, most: usize) -> Result<Head, TableError> {
    let rows = CsvRows::begin(BufReader::with_capacity(1 << 16, open(path)?))?;
    let (reading, bytes) = read_csv(rows, most)?;
    Ok(Head { reading, bytes })
}

fn open(path: &Path) -> Result<File, TableError> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(TableError::NotAFile);
    }
    Ok(File::open(path)?)
}

/// Bytes that show the format of a stream.
const START: u64 = 512;

/// Reads a table that is in memory.
#[cfg(test)]
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Reading, TableError> {
    read_stream(Cursor::new(bytes.to_vec()))
}

fn read_stream(stream: impl BufRead + 'static) -> Result<Reading, TableError> {
    let (_, mut contents) = decompress(stream)?;
    let mut start = Vec::new();
    contents.by_ref().take(START).read_to_end(&mut start)?;
    check_format(&start)?;
    let is_json = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    let is_json = is_json.first() == Some(&b'{');
    let whole = BufReader::with_capacity(1 << 16, Cursor::new(start).chain(contents));
    if is_json {
        return Ok(Reading { table: json_lines::read(whole)?, unnamed: Vec::new() });
    }
    Ok(read_csv(CsvRows::begin(whole)?, usize::MAX)?.0)
}

/// Files of other kinds, by their first bytes.
const OTHERS: [(&[u8], &str); 8] = [
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a ZIP archive, such as a spreadsheet"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "a SQLite database"),
];

fn check_format(start: &[u8]) -> Result<(), TableError> {
    match OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, found)) => Err(TableError::OtherFormat { found }),
        None => Ok(()),
    }
}

/// The first rows, `most` at the most, and the bytes of their cells and separators.
fn read_csv(mut rows: CsvRows, most: usize) -> Result<(Reading, usize), TableError> {
    rows.check_names()?;
    let names: Vec<String> = rows.header().iter().map(|name| name.trim().to_owned()).collect();
    check_names(names.iter().map(String::as_str).filter(|name| !name.is_empty()))?;
    let mut columns = vec![Texts::default(); names.len()];
    let mut record = StringRecord::new();
    let (mut count, mut bytes) = (0, 0);
    while count < most && rows.next_row(&mut record)? {
        count += 1;
        bytes += record.as_slice().len() + record.len();
        columns.iter_mut().zip(record.iter()).for_each(|(column, cell)| column.push(cell));
    }
    let is_unnamed = |(place, name): (usize, &String)| name.is_empty().then_some(place + 1);
    let unnamed = names.iter().enumerate().filter_map(is_unnamed).collect();
    let named = names.into_iter().zip(columns).filter(|(name, _)| !name.is_empty());
    let columns = named.map(|(name, texts)| Column { name, cells: Cells::Texts(texts) }).collect();
    Ok((Reading { table: Table::new(columns)?, unnamed }, bytes))
}

#[cfg(test)]
mod tests {
    use fireclay_terminal::message;

    use super::from_bytes as reading;
    use super::*;

    #[test]
    fn contents_tell_the_format() {
        for bytes in [&b"a, b \n1,x\n"[..], b"\xef\xbb\xbf{\"a\": 1, \"b\": \"x\"}\n"] {
            let found = reading(bytes).unwrap().table;
            assert_eq!((found.names(), found.rows()), (vec!["a".to_owned(), "b".to_owned()], 1));
        }
        let spreadsheet = reading(b"PK\x03\x04....").unwrap_err();
        assert!(message(&spreadsheet).contains("a ZIP archive"), "{spreadsheet}");
    }

    #[test]
    fn columns_without_a_name_are_left_out() {
        let found = reading(b",a,b\n0,1,2\n1,3,4\n").unwrap();
        assert_eq!((found.table.names().len(), found.unnamed), (2, vec![1]));
    }

    #[test]
    fn names_that_are_alike_are_refused() {
        let error = message(&reading(b"a,b, a\n1,2,3\n").unwrap_err());
        assert!(error.contains("columns 1 and 3 are both named \"a\""), "{error}");
    }

    #[test]
    fn paths_tell_tables() {
        for path in ["a.csv", "b/c.TSV", "d.csv.gz", "e.jsonl.zst"] {
            assert!(is_called_table(Path::new(path)), "{path}");
        }
        for path in ["mnist", "a.gz", "a.npy", "csv"] {
            assert!(!is_called_table(Path::new(path)), "{path}");
        }
        assert_eq!(stem(Path::new("x/diamonds.csv.zst")), "diamonds");
    }
}
