//! Files with typed columns: Parquet, and arrays of NumPy and safetensors.

mod arrays;
mod meaning;
mod parquet;
mod thrift;
mod unpack;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

pub(crate) use self::arrays::is_arrays;
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

    fn len(&self) -> u64 {
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
    fn of(file: u64) -> Self {
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

/// The columns of a file, some rows at a time.
pub(crate) struct Batches {
    names: Vec<String>,
    /// None of arrays, which are one group.
    parquet: Option<Parquet>,
    budget: Budget,
    /// Cells that are decoded, and how many rows of them have been read.
    group: Vec<Cells>,
    read: usize,
}

impl Batches {
    /// Reads the description of a Parquet file.
    pub(crate) fn of_parquet(place: Place) -> Result<Self, TableError> {
        let mut budget = Budget::of(place.len());
        let parquet = Parquet::begin(place, &mut budget)?;
        let (names, group) = (parquet.names(), Vec::new());
        Ok(Self { names, parquet: Some(parquet), budget, group, read: 0 })
    }

    /// Reads a file of arrays.
    pub(crate) fn of_arrays(place: Place) -> Result<Self, TableError> {
        let mut budget = Budget::of(place.len());
        let (names, group) = arrays::read(&place, &mut budget)?.into_iter().unzip();
        Ok(Self { names, parquet: None, budget, group, read: 0 })
    }

    /// The names of the columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The cells of the next rows, column by column; without cells after the last.
    pub(crate) fn next_columns(&mut self, most: usize) -> Result<Vec<Cells>, TableError> {
        let mut columns: Vec<Cells> = Vec::new();
        let mut missing = most;
        while missing > 0 {
            let left = self.group.first().map_or(0, Cells::len) - self.read;
            if left == 0 {
                self.read = 0;
                self.group = match &mut self.parquet {
                    Some(parquet) => parquet.next_group(&mut self.budget)?,
                    None => None,
                }
                .unwrap_or_default();
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
