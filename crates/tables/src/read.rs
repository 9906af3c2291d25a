//! From a file to a table.

use std::path::Path;

use crate::table::{Column, Table, check_names};
use crate::{Blocks, TableError, place};

/// Endings of files of tables, without one of compression.
const ENDINGS: [&str; 11] =
    ["csv", "tsv", "tab", "jsonl", "ndjson", "txt", "parquet", "npy", "npz", "arrow", "feather"];

/// Returns true if a path ends like a table: `.csv`, `.jsonl`, `.parquet` and others, also behind `.gz` or
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

/// The name of the column of targets from another file.
pub const TARGET: &str = "target";

impl Reading {
    /// The same rows with targets from another file of one column, as the column [`TARGET`].
    ///
    /// # Errors
    ///
    /// As [`read`] of the other file; [`TableError::TargetColumns`] for one of several columns, and those
    /// of [`Table::new`] for another number of rows or a second column of this name.
    pub fn with_targets(self, path: &Path) -> Result<Self, TableError> {
        let targets = read(path)?.table;
        let found = targets.columns().len();
        let cells = targets.columns()[0].cells.clone();
        if found > 1 {
            return Err(TableError::TargetColumns { path: path.to_owned(), found });
        }
        let mut columns = self.table.columns().to_vec();
        columns.push(Column { name: TARGET.to_owned(), cells });
        Ok(Self { table: Table::new(columns)?, ..self })
    }
}

/// Reads a table of a file: CSV with any of the usual separators or JSON Lines, plain or compressed, or
/// Parquet, or arrays of NumPy and safetensors; the contents tell which.
///
/// # Errors
///
/// A [`TableError`] in the file.
pub fn read(path: &Path) -> Result<Reading, TableError> {
    let read = Blocks::open(path).and_then(|blocks| first_rows(blocks, usize::MAX));
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

/// Reads the first rows of a file that can be read in blocks, at most `most`.
///
/// # Errors
///
/// As [`read`]; [`TableError::JsonBlocks`] for JSON Lines.
pub fn head(path: &Path, most: usize) -> Result<Head, TableError> {
    let blocks = Blocks::open(path)?;
    if blocks.is_json() {
        return Err(TableError::JsonBlocks);
    }
    let reading = first_rows(blocks, most)?;
    let bytes = reading.table.columns().iter().map(|column| column.cells.bytes());
    Ok(Head { bytes: bytes.sum(), reading })
}

/// The texts of some columns in some rows of a file, which are counted from 0: `[rows][columns]`, in the
/// order in which they are given. Nothing else is kept of the file.
///
/// # Errors
///
/// As [`read`]; [`TableError::NoColumn`], and [`TableError::Changed`] for a row that does not exist.
pub fn raw_rows(
    path: &Path,
    rows: &[usize],
    columns: &[String],
) -> Result<Vec<Vec<String>>, TableError> {
    let mut blocks = Blocks::open(path)?;
    let names: Vec<String> = blocks.names().iter().map(|name| name.trim().to_owned()).collect();
    let places = columns.iter().map(|name| place(&names, name));
    let places = places.collect::<Result<Vec<_>, _>>()?;
    let mut found = vec![Vec::new(); rows.len()];
    let (mut first, end) = (0, rows.iter().max().map_or(0, |&last| last + 1));
    while first < end {
        let block = blocks.next_block(ROWS)?;
        let block = block.ok_or_else(|| TableError::Changed { path: path.to_owned() })?;
        for (found, &row) in found.iter_mut().zip(rows) {
            if let Some(row) = row.checked_sub(first).filter(|&row| row < block.rows) {
                let cells = places.iter().map(|&place| block.columns[place].get(row).text());
                *found = cells.map(std::borrow::Cow::into_owned).collect();
            }
        }
        first += block.rows;
    }
    Ok(found)
}

/// Rows that are read at once to find some among them.
const ROWS: usize = 4096;

/// Reads a table that is in memory.
#[cfg(test)]
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Reading, TableError> {
    first_rows(Blocks::begin(std::io::Cursor::new(bytes.to_vec()))?, usize::MAX)
}

fn first_rows(mut blocks: Blocks, most: usize) -> Result<Reading, TableError> {
    blocks.check_names()?;
    let names: Vec<String> = blocks.names().iter().map(|name| name.trim().to_owned()).collect();
    check_names(names.iter().map(String::as_str).filter(|name| !name.is_empty()))?;
    let block = blocks.next_block(most)?.ok_or(TableError::NoRows)?;
    let unnamed = names.iter().enumerate().filter(|(_, name)| name.is_empty());
    let unnamed = unnamed.map(|(place, _)| place + 1).collect();
    let named = names.iter().zip(block.columns).filter(|(name, _)| !name.is_empty());
    let columns = named.map(|(name, cells)| Column { name: name.clone(), cells }).collect();
    Ok(Reading { table: Table::new(columns)?, unnamed })
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
        let arrow = reading(b"ARROW1\0\0....").unwrap_err();
        assert!(message(&arrow).contains("pyarrow.parquet"), "{arrow}");
    }

    #[test]
    fn targets_come_from_another_file_of_as_many_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("labels.csv"), "y\ncat\ndog\n").unwrap();
        std::fs::write(path("two.csv"), "a,b\n1,2\n3,4\n").unwrap();
        let rows = || reading(b"a\n1\n2\n").unwrap();
        let found = rows().with_targets(&path("labels.csv")).unwrap().table;
        assert_eq!(found.names(), ["a", "target"]);
        assert_eq!(found.column("target").unwrap().cells.get(1).text(), "dog");
        let two = rows().with_targets(&path("two.csv")).unwrap_err();
        assert!(matches!(two, TableError::TargetColumns { found: 2, .. }), "{two}");
        let short = reading(b"a\n1\n").unwrap().with_targets(&path("labels.csv")).unwrap_err();
        assert!(matches!(short, TableError::Lengths { found: 2, expected: 1, .. }), "{short}");
    }

    #[test]
    fn raw_rows_are_found_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let rows = (0..10_000).map(|row| format!("{row},t{row}\n"));
        std::fs::write(&path, format!("a, b\n{}", rows.collect::<String>())).unwrap();
        let columns = ["b", "a"].map(str::to_owned);
        let found = raw_rows(&path, &[9_000, 3, 4_096], &columns).unwrap();
        assert_eq!(found, [["t9000", "9000"], ["t3", "3"], ["t4096", "4096"]]);
        let gone = raw_rows(&path, &[10_000], &columns).unwrap_err();
        assert!(matches!(gone, TableError::Changed { .. }), "{gone}");
        let other = raw_rows(&path, &[0], &["c".to_owned()]).unwrap_err();
        assert!(matches!(other, TableError::NoColumn { .. }), "{other}");
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
        for path in ["mnist", "a.gz", "a.safetensors", "csv"] {
            assert!(!is_called_table(Path::new(path)), "{path}");
        }
        assert_eq!(stem(Path::new("x/diamonds.csv.zst")), "diamonds");
    }
}
