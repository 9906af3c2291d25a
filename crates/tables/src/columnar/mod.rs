//! Files with typed columns: Parquet, and arrays of NumPy and safetensors.

mod arrays;
mod meaning;
mod parquet;
mod thrift;
mod unpack;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use self::arrays::Arrays;
use self::parquet::Parquet;
pub use self::parquet::{ParquetWriter, Values};
use crate::TableError;
use crate::table::Cells;

/// Bytes that the content of any file may take when it is unpacked.
const ALWAYS: u64 = 16 << 20;
/// The most bytes of the unpacked content for each byte of a file: a column that repeats its values takes
/// next to none.
const MOST_RATIO: u64 = 500;

/// Where the bytes of a file are.
pub(crate) enum Place {
    Disk(File, u64),
    Memory(Vec<u8>),
}

impl Place {
    /// A file on disk.
    pub(crate) fn of(file: File) -> Result<Self, TableError> {
        let length = file.metadata()?.len();
        Ok(Self::Disk(file, length))
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Disk(_, length) => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// So many bytes from a place on; no more than there are is asked of memory.
    fn bytes(&self, start: u64, length: u64) -> Result<Vec<u8>, TableError> {
        let end = start.checked_add(length).filter(|&end| end <= self.len());
        let Some(end) = end else {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        };
        match self {
            Self::Disk(file, _) => {
                let (mut file, mut bytes) = (file, Vec::new());
                file.seek(SeekFrom::Start(start))?;
                file.take(length).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            Self::Memory(bytes) => Ok(bytes[start as usize..end as usize].to_vec()),
        }
    }
}

/// Bytes that the content of a file may still take.
pub(crate) struct Budget {
    left: u64,
}

impl Budget {
    /// That of a file of this size.
    pub(crate) fn of(file: u64) -> Self {
        Self { left: file.saturating_mul(MOST_RATIO).max(ALWAYS) }
    }

    /// Takes bytes from it; none if there are too few.
    fn take(&mut self, bytes: u64) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }

    /// Returns none if so many bytes are more than all of it.
    fn claim(&self, bytes: u64) -> Option<()> {
        (bytes <= self.left).then_some(())
    }
}

/// Where the columns of a file lie: in groups of rows, or in arrays.
#[derive(Debug)]
pub(crate) enum Layout {
    Parquet(Parquet),
    Arrays(Arrays),
}

/// The mark of Parquet, which is read at any place.
const PARQUET: &[u8] = b"PAR1";

/// Returns true if a file that begins so has typed columns.
pub(crate) fn is_typed(start: &[u8]) -> bool {
    start.starts_with(PARQUET) || arrays::is_arrays(start)
}

impl Layout {
    /// Reads the description of a file with typed columns.
    pub(crate) fn of(place: &Place, budget: &mut Budget) -> Result<Self, TableError> {
        let mark = place.bytes(0, place.len().min(PARQUET.len() as u64))?;
        Ok(if mark == PARQUET {
            Self::Parquet(Parquet::begin(place, budget)?)
        } else {
            Self::Arrays(Arrays::begin(place, budget)?)
        })
    }

    /// The names of the columns.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Parquet(parquet) => parquet.names(),
            Self::Arrays(arrays) => arrays.names(),
        }
    }

    /// The first row of each block, and the number of rows: a block has `rows` rows of arrays, or a
    /// group of Parquet.
    pub(crate) fn starts(&self, rows: usize) -> Vec<usize> {
        match self {
            Self::Parquet(parquet) => parquet.starts(),
            Self::Arrays(arrays) => {
                (0..arrays.rows()).step_by(rows).chain([arrays.rows()]).collect()
            }
        }
    }

    /// The cells of a block, which has these rows.
    pub(crate) fn block(
        &self,
        place: &Place,
        block: usize,
        rows: Range<usize>,
        budget: &mut Budget,
    ) -> Result<Vec<Cells>, TableError> {
        match self {
            Self::Parquet(parquet) => parquet.group(place, block, budget),
            Self::Arrays(arrays) => arrays.cells(place, rows),
        }
    }

    /// Returns true if rows can be read without reading those before.
    pub(crate) fn is_by_offset(&self) -> bool {
        match self {
            Self::Parquet(_) => true,
            Self::Arrays(arrays) => arrays.is_by_offset(),
        }
    }
}

/// The columns of a file, some rows at a time.
pub(crate) struct Batches {
    place: Place,
    layout: Layout,
    budget: Budget,
    /// The first row of each block that is read at once, and the number of rows.
    starts: Vec<usize>,
    /// The next block.
    next: usize,
    /// Cells that are decoded, and how many rows of them have been read.
    group: Vec<Cells>,
    read: usize,
}

/// Rows of arrays that are read at once.
const ROWS: usize = 1 << 16;

impl Batches {
    /// Reads the description of a file with typed columns.
    pub(crate) fn of(place: Place) -> Result<Self, TableError> {
        let mut budget = Budget::of(place.len());
        let layout = Layout::of(&place, &mut budget)?;
        let starts = layout.starts(ROWS);
        Ok(Self { place, layout, budget, starts, next: 0, group: Vec::new(), read: 0 })
    }

    /// The names of the columns.
    pub(crate) fn names(&self) -> Vec<String> {
        self.layout.names()
    }

    /// Decodes the next block; none behind the last.
    fn next_group(&mut self) -> Result<Option<Vec<Cells>>, TableError> {
        let Some(&[start, end]) = self.starts.get(self.next..).and_then(|rest| rest.get(..2))
        else {
            return Ok(None);
        };
        self.next += 1;
        self.layout.block(&self.place, self.next - 1, start..end, &mut self.budget).map(Some)
    }

    /// The cells of the next rows, column by column; without cells after the last.
    pub(crate) fn next_columns(&mut self, most: usize) -> Result<Vec<Cells>, TableError> {
        let mut columns: Vec<Cells> = Vec::new();
        let mut missing = most;
        while missing > 0 {
            let left = self.group.first().map_or(0, Cells::len) - self.read;
            if left == 0 {
                self.read = 0;
                self.group = self.next_group()?.unwrap_or_default();
                if self.group.is_empty() {
                    break;
                }
                continue;
            }
            let rows = left.min(missing);
            missing -= rows;
            let range = self.read..self.read + rows;
            let more = if rows == self.group.first().map_or(0, Cells::len) {
                // All of it, without a copy.
                self.read = 0;
                std::mem::take(&mut self.group)
            } else {
                self.read += rows;
                self.group.iter().map(|cells| cells.part(range.clone())).collect()
            };
            if columns.is_empty() {
                columns = more;
            } else {
                columns.iter_mut().zip(&more).for_each(|(column, more)| column.append(more));
            }
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests;
