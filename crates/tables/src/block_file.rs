//! A table that stays in its file: rows are read block by block, from any block on.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Position, ReaderBuilder, StringRecord};
use fireclay_model::{EncodedRows, InputSpec};
use sha2::{Digest, Sha256};

use crate::TableError;
use crate::blocks::START;
use crate::columnar::{Budget, Layout, Place, is_typed};
use crate::csv_rows::{CsvRows, MOST_OF_A_ROW, checked, separator_of};
use crate::encode::{as_taken, encode_row};
use crate::table::{Cell, Cells, check_names};

/// A file with an index of where each block of rows begins: CSV or TSV, Parquet, or arrays.
///
/// Memory grows with the number of blocks alone.
#[derive(Debug)]
pub struct BlockFile {
    path: PathBuf,
    form: Form,
    header: Vec<String>,
    /// The first row of each block, and the number of rows.
    starts: Vec<usize>,
    digest: String,
}

/// How the rows of a block are found.
#[derive(Debug)]
enum Form {
    /// Lines of text: the first byte of each block, and the end of the last.
    Lines { separator: u8, offsets: Vec<u64> },
    /// Columns with types, in a file of so many bytes.
    Typed { layout: Layout, length: u64 },
}

/// A row of a block.
#[derive(Clone, Copy, Debug)]
pub enum BlockRow<'a> {
    /// Texts of a line.
    Texts(&'a StringRecord),
    /// A row of columns with types.
    Typed {
        /// The cells of all rows of the block, column by column.
        columns: &'a [Cells],
        /// The row in the block.
        row: usize,
    },
}

impl<'a> BlockRow<'a> {
    /// The cell of a column by its place; there is one for each column.
    pub fn cell(self, place: usize) -> Cell<'a> {
        match self {
            Self::Texts(record) => Cell::Text(record.get(place).unwrap_or_default()),
            Self::Typed { columns, row } => columns[place].get(row),
        }
    }
}

/// The room that a reader of a block file uses again.
#[derive(Default)]
struct Room {
    bytes: ByteRecord,
}

impl BlockFile {
    /// Goes through a file once, and gives each row to `each` with its number from 0. Blocks have
    /// `rows_per_block` rows; those of Parquet are its groups of rows.
    ///
    /// # Errors
    ///
    /// A [`TableError`] about the file, and those of `each`; a compressed file, which cannot be read
    /// from its middle.
    pub fn index(
        path: &Path,
        rows_per_block: usize,
        each: impl FnMut(usize, BlockRow<'_>) -> Result<(), TableError>,
    ) -> Result<Self, TableError> {
        let file = match typed(path)? {
            Some((place, layout)) => Self::index_typed(path, &place, layout, rows_per_block, each)?,
            None => Self::index_lines(path, rows_per_block, each)?,
        };
        if file.rows() == 0 { Err(TableError::NoRows) } else { Ok(file) }
    }

    fn index_lines(
        path: &Path,
        rows_per_block: usize,
        mut each: impl FnMut(usize, BlockRow<'_>) -> Result<(), TableError>,
    ) -> Result<Self, TableError> {
        let (separator, header) = heading(path)?;
        let mut hashing = Hashing { from: File::open(path)?, hash: Sha256::new() };
        let mut rows = ReaderBuilder::new()
            .delimiter(separator)
            .flexible(true)
            .buffer_capacity(1 << 18)
            .from_reader(&mut hashing);
        rows.byte_headers()?;
        let (mut offsets, mut starts, mut count) = (Vec::new(), Vec::new(), 0);
        let (mut record, mut room) = (StringRecord::new(), Room::default());
        while room.read(&mut rows, &header, &mut record)? {
            if count % rows_per_block == 0 {
                offsets.push(record.position().map_or(0, Position::byte));
                starts.push(count);
            }
            each(count, BlockRow::Texts(&record))?;
            count += 1;
        }
        offsets.push(rows.position().byte());
        starts.push(count);
        drop(rows);
        let digest = hex(&hashing.hash.finalize());
        let form = Form::Lines { separator, offsets };
        Ok(Self { path: path.to_owned(), form, header, starts, digest })
    }

    fn index_typed(
        path: &Path,
        place: &Place,
        layout: Layout,
        rows_per_block: usize,
        mut each: impl FnMut(usize, BlockRow<'_>) -> Result<(), TableError>,
    ) -> Result<Self, TableError> {
        if !layout.is_by_offset() {
            return Err(TableError::PackedBlocks);
        }
        let header: Vec<String> =
            layout.names().iter().map(|name| name.trim().to_owned()).collect();
        check_names(header.iter().map(String::as_str).filter(|name| !name.is_empty()))?;
        let mut hashing = Hashing { from: File::open(path)?, hash: Sha256::new() };
        io::copy(&mut hashing, &mut io::sink())?;
        let (starts, length) = (layout.starts(rows_per_block), place.len());
        for (block, rows) in starts.windows(2).enumerate() {
            let rows = rows[0]..rows[1];
            let columns = layout.block(place, block, rows.clone(), &mut Budget::of(length))?;
            for (row, number) in rows.enumerate() {
                each(number, BlockRow::Typed { columns: &columns, row })?;
            }
        }
        let digest = hex(&hashing.hash.finalize());
        let form = Form::Typed { layout, length };
        Ok(Self { path: path.to_owned(), form, header, starts, digest })
    }

    /// Bytes that the largest block of a file takes in memory at least, whatever its rows: those of the
    /// largest group of rows of Parquet, and nothing of other files.
    ///
    /// # Errors
    ///
    /// A [`TableError`] about the description of a file with typed columns.
    pub fn least_bytes(path: &Path) -> Result<u64, TableError> {
        let Some((_, layout)) = typed(path)? else { return Ok(0) };
        let rows = layout.starts(1 << 8).windows(2).map(|rows| rows[1] - rows[0]).max();
        Ok((8 * rows.unwrap_or(0) * layout.names().len()) as u64)
    }

    /// The names of the columns of a file.
    ///
    /// # Errors
    ///
    /// A [`TableError`] about the heading.
    pub fn header_of(path: &Path) -> Result<Vec<String>, TableError> {
        match typed(path)? {
            Some((_, layout)) => {
                Ok(layout.names().iter().map(|name| name.trim().to_owned()).collect())
            }
            None => Ok(heading(path)?.1),
        }
    }

    /// The names of the columns; an empty one is of no column.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or_default()
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.starts.len() - 1
    }

    /// The first row of each block, and the number of rows.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Rows of the largest block.
    pub fn largest_block(&self) -> usize {
        self.starts.windows(2).map(|rows| rows[1] - rows[0]).max().unwrap_or_default()
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
        mut each: impl FnMut(usize, BlockRow<'_>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let (separator, offsets) = match &self.form {
            Form::Lines { separator, offsets } => (*separator, offsets),
            Form::Typed { .. } => {
                let columns = self.typed_block(block)?;
                let mut rows = (self.starts[block]..self.starts[block + 1]).enumerate();
                return rows.try_for_each(|(row, number)| {
                    each(number, BlockRow::Typed { columns: &columns, row })
                });
            }
        };
        let (start, end) = (offsets[block], offsets[block + 1]);
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(start))?;
        // A block is small: one read fetches it.
        let mut rows = ReaderBuilder::new()
            .delimiter(separator)
            .flexible(true)
            .has_headers(false)
            .buffer_capacity((end - start).clamp(1 << 10, 1 << 18) as usize)
            .from_reader(file.take(end - start));
        let (mut record, mut room) = (StringRecord::new(), Room::default());
        for row in self.starts[block]..self.starts[block + 1] {
            if !room.read(&mut rows, &self.header, &mut record)? {
                return Err(TableError::Changed { path: self.path.clone() });
            }
            each(row, BlockRow::Texts(&record))?;
        }
        Ok(())
    }

    /// The cells of a block of a file with typed columns.
    fn typed_block(&self, block: usize) -> Result<Vec<Cells>, TableError> {
        let Form::Typed { layout, length } = &self.form else { return Ok(Vec::new()) };
        let place = Place::of(File::open(&self.path)?)?;
        if place.len() != *length {
            return Err(TableError::Changed { path: self.path.clone() });
        }
        let rows = self.starts[block]..self.starts[block + 1];
        layout.block(&place, block, rows, &mut Budget::of(*length))
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
        if let Form::Typed { .. } = &self.form {
            let columns = self.typed_block(block)?;
            let fields = places.iter().zip(input.fields());
            let cells: Vec<_> =
                fields.map(|(&place, field)| as_taken(&columns[place], &field.kind)).collect();
            let mut values = Vec::with_capacity(places.len());
            for (at, row) in (self.starts[block]..self.starts[block + 1]).enumerate() {
                if is_wanted(row) {
                    let cells = cells.iter().map(|cells| cells.get(at));
                    encode_row(&encoder, input, row, cells, &mut values, &mut encoded)?;
                }
            }
            return Ok(encoded);
        }
        self.read_block(block, |row, record| {
            if is_wanted(row) {
                let cells = places.iter().map(|&place| record.cell(place));
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

/// The layout of a file with typed columns; none of any other.
fn typed(path: &Path) -> Result<Option<(Place, Layout)>, TableError> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    file.by_ref().take(START).read_to_end(&mut start)?;
    if !is_typed(&start) {
        return Ok(None);
    }
    let place = Place::of(file)?;
    let layout = Layout::of(&place, &mut Budget::of(place.len()))?;
    Ok(Some((place, layout)))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
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

    fn texts(row: BlockRow<'_>) -> Vec<String> {
        (0..2).map(|place| row.cell(place).text().into_owned()).collect()
    }

    fn block(file: &BlockFile, block: usize) -> Vec<(usize, Vec<String>)> {
        let mut rows = Vec::new();
        file.read_block(block, |row, record| {
            rows.push((row, texts(record)));
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
                seen.push((row, texts(record)));
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

    /// The rows of an NPY file of so many rows `[row, row / 2]`.
    fn npy(rows: usize) -> Vec<u8> {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 2), }}");
        let header = format!("{header:<117}\n");
        let values = (0..rows).flat_map(|row| [row as f32, row as f32 / 2.0]);
        let values: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        [b"\x93NUMPY\x01\0v\0", header.as_bytes(), &values].concat()
    }

    #[test]
    fn arrays_and_groups_of_parquet_are_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.npy");
        std::fs::write(&path, npy(7)).unwrap();
        let index = BlockFile::index(&path, 3, |_, _| Ok(())).unwrap();
        assert_eq!((index.rows(), index.starts()), (7, &[0, 3, 6, 7][..]));
        assert_eq!(index.header(), ["0", "1"]);
        let row = |row: usize| (row, vec![row.to_string(), (row as f64 / 2.0).to_string()]);
        assert_eq!(block(&index, 1), [row(3), row(4), row(5)]);
        assert_eq!(block(&index, 2), [row(6)]);
        std::fs::write(&path, npy(6)).unwrap();
        let error = index.read_block(0, |_, _| Ok(())).unwrap_err();
        assert!(matches!(error, TableError::Changed { .. }), "{error}");

        // Every group of rows is a block, whatever size is asked for.
        let path = folder.path().join("rows.parquet");
        let names = ["a", "b"].map(str::to_owned).to_vec();
        let mut writer = crate::ParquetWriter::begin(File::create(&path).unwrap(), names).unwrap();
        let rows = 1 << 17;
        for group in 0..2 {
            let numbers = (0..rows).map(|row| (group * rows + row) as f32).collect();
            let texts = (0..rows).map(|row| format!("t{row}")).collect();
            writer
                .write(vec![crate::Values::Numbers(numbers), crate::Values::Texts(texts)])
                .unwrap();
        }
        writer.finish().unwrap();
        let index = BlockFile::index(&path, 3, |_, _| Ok(())).unwrap();
        assert_eq!(index.starts(), [0, rows, 2 * rows]);
        assert_eq!(BlockFile::least_bytes(&path).unwrap(), 8 * 2 * rows as u64);
        let second = block(&index, 1);
        assert_eq!(second[1], (rows + 1, vec![(rows + 1).to_string(), "t1".to_owned()]));
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
