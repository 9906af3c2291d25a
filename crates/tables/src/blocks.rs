//! Rows of a table, some at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use csv::StringRecord;
use fireclay_readers::decompress;

use crate::TableError;
use crate::columnar::{Batches, Place, is_typed};
use crate::csv_rows::CsvRows;
use crate::json_lines::{JsonBlocks, JsonLines};
use crate::table::{Cells, Texts};
use crate::texts::TextLines;

/// Rows of a table in any format, read some at a time: CSV with any of the usual separators or JSON
/// Lines, plain or compressed, or Parquet, or arrays of NumPy and safetensors.
pub struct Blocks {
    names: Vec<String>,
    source: Source,
}

enum Source {
    Csv(CsvRows),
    Json(JsonBlocks),
    Typed(Batches),
    Lines(TextLines),
}

/// Some rows, column by column.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Number of rows, at least 1.
    pub rows: usize,
    /// The cells of each column, in the order of [`Blocks::names`].
    pub columns: Vec<Cells>,
}

/// Bytes that show the format of a stream.
pub(crate) const START: u64 = 512;

/// The mark of Arrow IPC files, also called Feather.
const ARROW: &[u8] = b"ARROW1";

/// Files of other kinds, by their first bytes.
const OTHERS: [(&[u8], &str); 6] = [
    (b"\0\0\x08", "an IDX file, whose folder is read: give its folder"),
    (b"PK\x03\x04", "a ZIP archive, such as a spreadsheet"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "a SQLite database"),
];

impl Blocks {
    /// Begins to read a file. One with typed columns is read where it lies, any other from front to back.
    ///
    /// # Errors
    ///
    /// A [`TableError`] about the file or its heading.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(TableError::NotAFile);
        }
        let mut file = File::open(path)?;
        let mut start = Vec::new();
        file.by_ref().take(START).read_to_end(&mut start)?;
        file.rewind()?;
        if is_typed(&start) {
            return Self::typed(Place::of(file)?);
        }
        Self::begin(BufReader::with_capacity(1 << 16, file))
    }

    /// Begins to read a stream. One with typed columns is held in memory.
    ///
    /// # Errors
    ///
    /// A [`TableError`] about the stream or its heading.
    pub fn begin(stream: impl BufRead + 'static) -> Result<Self, TableError> {
        let (_, mut contents) = decompress(stream)?;
        let mut start = Vec::new();
        contents.by_ref().take(START).read_to_end(&mut start)?;
        let is_typed = is_typed(&start);
        if let Some((_, found)) =
            OTHERS.iter().find(|(mark, _)| !is_typed && start.starts_with(mark))
        {
            return Err(TableError::OtherFormat { found });
        }
        if start.starts_with(ARROW) {
            return Err(TableError::Arrow);
        }
        let is_json = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
        let is_json = is_json.first() == Some(&b'{');
        if is_typed {
            return Self::typed_in_memory(start, contents);
        }
        let whole = BufReader::with_capacity(1 << 16, Cursor::new(start).chain(contents));
        if is_json {
            let json = JsonBlocks::begin(JsonLines::begin(whole)?)?;
            return Ok(Self { names: json.names().to_vec(), source: Source::Json(json) });
        }
        let csv = CsvRows::begin(whole)?;
        Ok(Self { names: csv.header().to_vec(), source: Source::Csv(csv) })
    }

    /// As [`open`](Self::open); a file that is no table with this column has a text a line.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_texts(path: &Path, column: &str) -> Result<Self, TableError> {
        let (is_table, contents) = peeked(BufReader::new(File::open(path)?), column)?;
        if is_table { Self::open(path) } else { Ok(Self::of_texts(contents, column)) }
    }

    /// As [`begin`](Self::begin); a stream that is no table with this column has a text a line.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub fn begin_texts(stream: impl BufRead + 'static, column: &str) -> Result<Self, TableError> {
        let (is_table, contents) = peeked(stream, column)?;
        if is_table { Self::begin(contents) } else { Ok(Self::of_texts(contents, column)) }
    }

    /// A text a line, as cells of a column of this name.
    pub fn of_texts(lines: impl BufRead + 'static, column: &str) -> Self {
        Self { names: vec![column.to_owned()], source: Source::Lines(TextLines::new(lines)) }
    }

    /// The names of the columns, as the file has them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns true if the rows are JSON objects.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.source, Source::Json(_))
    }

    /// Refuses a heading of numbers alone, which is a row.
    ///
    /// # Errors
    ///
    /// [`TableError::NumbersAsHeading`].
    pub fn check_names(&self) -> Result<(), TableError> {
        match &self.source {
            Source::Csv(csv) => csv.check_names(),
            _ => Ok(()),
        }
    }

    /// Reads the next rows, `most` at the most; none after the last.
    ///
    /// # Errors
    ///
    /// A [`TableError`] that names the line, if the format has lines.
    pub fn next_block(&mut self, most: usize) -> Result<Option<Block>, TableError> {
        let columns = match &mut self.source {
            Source::Csv(csv) => csv_columns(csv, self.names.len(), most)?,
            Source::Json(json) => json.next_columns(most)?,
            Source::Typed(batches) => batches.next_columns(most)?,
            Source::Lines(lines) => vec![Cells::Texts(lines.next_texts(most)?)],
        };
        let rows = columns.first().map_or(0, Cells::len);
        Ok((rows > 0).then_some(Block { rows, columns }))
    }
}

/// The contents of a stream, which may be compressed, and whether they are a table with this column.
fn peeked(
    stream: impl BufRead + 'static,
    column: &str,
) -> Result<(bool, impl BufRead + 'static), TableError> {
    let (_, mut contents) = decompress(stream)?;
    let mut start = Vec::new();
    contents.by_ref().take(START).read_to_end(&mut start)?;
    let is_table = is_table(&start, column);
    let whole = BufReader::with_capacity(1 << 16, Cursor::new(start).chain(contents));
    Ok((is_table, whole))
}

/// Returns true if a stream that begins so is a table: with typed columns, of JSON, or with a heading that
/// has this column.
fn is_table(start: &[u8], column: &str) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let heading = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut cells = heading.split(|byte| b",;|\t".contains(byte));
    is_typed(start) || text.starts_with(b"{\"") || cells.any(|cell| bare(cell) == column.as_bytes())
}

/// A cell without spaces and quotes around it.
fn bare(cell: &[u8]) -> &[u8] {
    let cell = cell.trim_ascii();
    cell.strip_prefix(b"\"").and_then(|cell| cell.strip_suffix(b"\"")).unwrap_or(cell)
}

/// The texts of the next rows of CSV.
fn csv_columns(csv: &mut CsvRows, width: usize, most: usize) -> Result<Vec<Cells>, TableError> {
    let mut columns = vec![Texts::default(); width];
    let mut record = StringRecord::new();
    let mut rows = 0;
    while rows < most && csv.next_row(&mut record)? {
        columns.iter_mut().zip(record.iter()).for_each(|(column, cell)| column.push(cell));
        rows += 1;
    }
    Ok(columns.into_iter().map(Cells::Texts).collect())
}

/// The most bytes of a stream with typed columns.
const MOST_IN_MEMORY: u64 = 1 << 30;

impl Blocks {
    fn typed(place: Place) -> Result<Self, TableError> {
        let batches = Batches::of(place)?;
        Ok(Self { names: batches.names(), source: Source::Typed(batches) })
    }

    fn typed_in_memory(start: Vec<u8>, stream: impl Read) -> Result<Self, TableError> {
        let mut bytes = start;
        stream.take(MOST_IN_MEMORY + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST_IN_MEMORY {
            return Err(TableError::LargeStream { most: MOST_IN_MEMORY });
        }
        Self::typed(Place::Memory(bytes))
    }
}
