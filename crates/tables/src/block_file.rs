//! A table that stays in its file: rows are read block by block, from any block on.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Position, ReaderBuilder, StringRecord};
use fireclay_model::{EncodedRows, InputSpec};
use sha2::{Digest, Sha256};

use crate::TableError;
use crate::csv_rows::{CsvRows, MOST_OF_A_ROW, checked, separator_of};
use crate::encode::encode_row;
use crate::table::{Cell, check_names};

/// A CSV or TSV file with an index of where each block of rows begins.
///
/// Memory grows with the number of blocks alone.
#[derive(Clone, Debug)]
pub struct BlockFile {
    path: PathBuf,
    separator: u8,
    header: Vec<String>,
    /// The first byte of each block, and the end of the last.
    offsets: Vec<u64>,
    rows: usize,
    rows_per_block: usize,
    digest: String,
}

/// The room that a reader of a block file uses again.
#[derive(Default)]
struct Room {
    bytes: ByteRecord,
}

impl BlockFile {
    /// Goes through a file once, and gives each row to `each` with its number from 0.
    ///
    /// # Errors
    ///
    /// A [`TableError`] about the file, with its line, and those of `each`; a compressed file, which
    /// cannot be read from its middle.
    pub fn index(
        path: &Path,
        rows_per_block: usize,
        mut each: impl FnMut(usize, &StringRecord) -> Result<(), TableError>,
    ) -> Result<Self, TableError> {
        let (separator, header) = heading(path)?;
        let mut hashing = Hashing { from: File::open(path)?, hash: Sha256::new() };
        let mut rows = ReaderBuilder::new()
            .delimiter(separator)
            .flexible(true)
            .buffer_capacity(1 << 18)
            .from_reader(&mut hashing);
        rows.byte_headers()?;
        let (mut offsets, mut count) = (Vec::new(), 0);
        let (mut record, mut room) = (StringRecord::new(), Room::default());
        while room.read(&mut rows, &header, &mut record)? {
            if count % rows_per_block == 0 {
                let start = record.position().map_or(0, Position::byte);
                offsets.push(start);
            }
            each(count, &record)?;
            count += 1;
        }
        offsets.push(rows.position().byte());
        drop(rows);
        if count == 0 {
            return Err(TableError::NoRows);
        }
        let digest = hashing.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let path = path.to_owned();
        Ok(Self { path, separator, header, offsets, rows: count, rows_per_block, digest })
    }

    /// The names of the columns of a file.
    ///
    /// # Errors
    ///
    /// A [`TableError`] about the heading.
    pub fn header_of(path: &Path) -> Result<Vec<String>, TableError> {
        Ok(heading(path)?.1)
    }

    /// The names of the columns; an empty one is of no column.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Rows of each block but the last.
    pub fn rows_per_block(&self) -> usize {
        self.rows_per_block
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Gives each row of a block to `each` with its number in the file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or has changed since it was indexed; those of `each`.
    pub fn read_block(
        &self,
        block: usize,
        mut each: impl FnMut(usize, &StringRecord) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let (start, end) = (self.offsets[block], self.offsets[block + 1]);
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(start))?;
        // A block is small: one read fetches it.
        let mut rows = ReaderBuilder::new()
            .delimiter(self.separator)
            .flexible(true)
            .has_headers(false)
            .buffer_capacity((end - start).clamp(1 << 10, 1 << 18) as usize)
            .from_reader(file.take(end - start));
        let first = block * self.rows_per_block;
        let expected = self.rows_per_block.min(self.rows - first);
        let (mut record, mut room, mut found) = (StringRecord::new(), Room::default(), 0);
        while found < expected && room.read(&mut rows, &self.header, &mut record)? {
            each(first + found, &record)?;
            found += 1;
        }
        if found == expected {
            return Ok(());
        }
        Err(TableError::Changed { path: self.path.clone() })
    }

    /// Encodes the rows of a block for which `is_wanted` is true.
    ///
    /// # Errors
    ///
    /// As [`read_block`](Self::read_block); a value that is not one of its column.
    pub fn encode_block(
        &self,
        block: usize,
        input: &InputSpec,
        mut is_wanted: impl FnMut(usize) -> bool,
    ) -> Result<EncodedRows, TableError> {
        let places = self.places(input)?;
        let encoder = input.encoder_of_fields();
        let mut encoded = EncodedRows::new(input);
        self.read_block(block, |row, record| {
            if is_wanted(row) {
                let cells = places.iter().map(|&place| cell(record, place));
                let mut values = Vec::with_capacity(places.len());
                encode_row(&encoder, input, row, cells, &mut values, &mut encoded)?;
            }
            Ok(())
        })?;
        Ok(encoded)
    }

    /// The place in a row of each field of an input.
    ///
    /// # Errors
    ///
    /// [`TableError::NoColumn`].
    pub fn places(&self, input: &InputSpec) -> Result<Vec<usize>, TableError> {
        let fields = input.fields().iter();
        fields.map(|field| place(&self.header, &field.name)).collect()
    }
}

/// The place of a column by its name.
///
/// # Errors
///
/// [`TableError::NoColumn`].
pub fn place(header: &[String], name: &str) -> Result<usize, TableError> {
    let found = header.iter().position(|column| column == name);
    found.ok_or_else(|| TableError::no_column(name, header))
}

/// A cell of a row; a row has as many cells as the heading.
pub fn cell(record: &StringRecord, place: usize) -> Cell<'_> {
    Cell::Text(record.get(place).unwrap_or_default())
}

/// The separator and the names of the columns of a file that is not compressed.
fn heading(path: &Path) -> Result<(u8, Vec<String>), TableError> {
    let mut start = [0; 4];
    let read = File::open(path)?.read(&mut start)?;
    let start = &start[..read];
    if start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(TableError::CompressedBlocks);
    }
    if start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start().starts_with(b"{") {
        return Err(TableError::JsonBlocks);
    }
    let rows = CsvRows::begin(BufReader::new(File::open(path)?))?;
    rows.check_names()?;
    let names: Vec<String> = rows.header().iter().map(|name| name.trim().to_owned()).collect();
    check_names(names.iter().map(String::as_str).filter(|name| !name.is_empty()))?;
    Ok((separator_of(path)?, names))
}

impl Room {
    /// Reads the next row into `record`; false after the last.
    fn read(
        &mut self,
        rows: &mut csv::Reader<impl Read>,
        header: &[String],
        record: &mut StringRecord,
    ) -> Result<bool, TableError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        if !rows.read_byte_record(&mut bytes)? {
            return Ok(false);
        }
        if bytes.as_slice().len() as u64 > MOST_OF_A_ROW {
            let line = bytes.position().map_or(0, Position::line);
            return Err(TableError::LongRow { line, most: MOST_OF_A_ROW });
        }
        let text = checked(bytes, header)?;
        // Its room serves the next row.
        self.bytes = std::mem::replace(record, text).into_byte_record();
        Ok(true)
    }
}

/// Bytes that are hashed as they are read.
struct Hashing<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(into)?;
        self.hash.update(&into[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn block(file: &BlockFile, block: usize) -> Vec<(usize, Vec<String>)> {
        let mut rows = Vec::new();
        file.read_block(block, |row, record| {
            rows.push((row, record.iter().map(str::to_owned).collect()));
            Ok(())
        })
        .unwrap();
        rows
    }

    #[test]
    fn blocks_are_read_from_anywhere() {
        for text in [
            "a,b\n0,x\n1,\"y\n,y\"\n2,z\n3,é\n4,w\n".to_owned(),
            "\u{feff}a,b\r\n0,x\r\n1,\"y\n,y\"\r\n\r\n2,z\r\n3,é\r\n4,w".to_owned(),
            "a;b\n0;x\n1;\"y\n,y\"\n2;z\n3;é\n4;w\n\n".to_owned(),
        ] {
            let (_folder, path) = file(&text);
            let mut seen = Vec::new();
            let index = BlockFile::index(&path, 2, |row, record| {
                seen.push((row, record.iter().map(str::to_owned).collect::<Vec<_>>()));
                Ok(())
            })
            .unwrap();
            assert_eq!((index.rows(), index.blocks()), (5, 3), "{text:?}");
            assert_eq!(seen[1].1, ["1", "y\n,y"]);
            assert_eq!(block(&index, 2), seen[4..]);
            assert_eq!(block(&index, 0), seen[..2]);
            assert_eq!(block(&index, 1), seen[2..4]);
        }
    }

    #[test]
    fn a_file_that_changes_is_refused() {
        let (_folder, path) = file("a,b\n0,x\n1,y\n2,z\n");
        let index = BlockFile::index(&path, 2, |_, _| Ok(())).unwrap();
        std::fs::write(&path, "a,b\n0,x\n").unwrap();
        let error = index.read_block(1, |_, _| Ok(())).unwrap_err();
        assert!(matches!(error, TableError::Changed { .. }), "{error}");
        let (_folder, path) = file("a,b\n0,x\n1\n");
        let error = BlockFile::index(&path, 2, |_, _| Ok(())).unwrap_err();
        assert!(matches!(error, TableError::FewCells { line: 3, .. }), "{error}");
    }
}
