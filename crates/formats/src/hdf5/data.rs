//! The numbers of a dataset, however they are stored.

use std::collections::BTreeSet;
use std::io::Read;

use fireclay_terminal::counted;
use flate2::read::ZlibDecoder;

use crate::archive::size_in_bytes;
use crate::bytes::Cursor;
use crate::error::shown;
use crate::numbers::Stored;
use crate::store::Part;
use crate::{ElementType, Problem};

use super::group::{TreeKind, leaves};
use super::header::{DATASPACE, DATATYPE, EXTERNAL_FILES, FILTERS, LAYOUT};
use super::types::{Type, shape};
use super::{Array, FUZZING, KIND, Object, Source, UNDEFINED, attribute};

/// Bytes that are decompressed at once.
const PART: usize = 16 << 10;

/// The numbers of a dataset, the lowest byte of each first.
pub(super) fn read(source: &Source<'_>, object: &Object<'_>, path: &str) -> Result<Array, Problem> {
    let dataset = Dataset::of(source, object, path)?;
    let part = dataset.bytes(object)?;
    let bytes = Stored { part, is_reversed: dataset.big_endian, strides: None }.into();
    Ok(Array { shape: dataset.shape, dtype: dataset.dtype, bytes })
}

/// The type of a dataset's numbers, and its shape.
pub(super) fn described(
    source: &Source<'_>,
    object: &Object<'_>,
    path: &str,
) -> Result<(ElementType, Vec<usize>), Problem> {
    let dataset = Dataset::of(source, object, path)?;
    Ok((dataset.dtype, dataset.shape))
}

/// The properties of a dataset that are known before its numbers are read.
struct Dataset<'s, 'a> {
    source: &'s Source<'a>,
    path: &'s str,
    shape: Vec<usize>,
    dtype: ElementType,
    big_endian: bool,
    /// Bytes of all its numbers.
    size: usize,
}

impl<'s, 'a> Dataset<'s, 'a> {
    fn of(source: &'s Source<'a>, object: &Object<'a>, path: &'s str) -> Result<Self, Problem> {
        if object.message(EXTERNAL_FILES).is_some() {
            let why = "no other file is opened; store the numbers in the file itself";
            let what = format!("dataset {}, whose numbers are in another file", shown(path));
            return Err(Problem::refused(what, why));
        }
        let datatype = Type::read(object.required(DATATYPE, "datatype", path)?)?;
        let (dtype, big_endian) = match datatype {
            Type::Number { dtype, big_endian } => (dtype, big_endian),
            Type::Pair if is_bfloat16(source, object, path)? => (ElementType::Bf16, false),
            other => {
                let what = format!("dataset {} of {}", shown(path), other.name());
                let why = "only whole numbers and those of IEEE 754 are read; convert it";
                return Err(Problem::refused(what, why));
            }
        };
        let shape = shape(object.required(DATASPACE, "dataspace", path)?)?.ok_or_else(|| {
            Problem::malformed(KIND, format!("dataset {} has no shape", shown(path)))
        })?;
        let size = size_in_bytes(&shape, dtype).ok_or_else(|| {
            Problem::malformed(KIND, format!("dataset {} has shape {shape:?}", shown(path)))
        })?;
        Ok(Self { source, path, shape, dtype, big_endian, size })
    }

    /// Its bytes as they are stored. IV.A.2.i, "The Data Layout Message".
    fn bytes(&self, object: &Object<'a>) -> Result<Part, Problem> {
        let mut layout = object.required(LAYOUT, "layout", self.path)?;
        let (version, class) = (layout.u8()?, layout.u8()?);
        let filters = match object.message(FILTERS) {
            Some(message) => Filter::pipeline(message.data("filters")?, self.path)?,
            None => Vec::new(),
        };
        match (version, class) {
            (3 | 4, 0) => {
                let size = layout.u16()?;
                self.whole(layout.part(size.into())?)
            }
            (3 | 4, 1) => {
                let (address, size) = (layout.u64()?, layout.u64()?);
                // Nothing is stored of an array without numbers.
                if self.size == 0 {
                    return Ok(Part::from(Vec::new()));
                }
                if address == UNDEFINED {
                    return Err(self.malformed("was never written"));
                }
                self.whole(self.source.at(address)?.part(size)?)
            }
            (3, 2) => Ok(self.chunks(layout, &filters)?.into()),
            (4, 2) => Err(self.refused("is chunked in the way of HDF5 1.10")),
            (4, 3) => Err(self.refused("is virtual: its numbers are in other datasets")),
            _ => Err(self.refused(&format!("is stored in way {class} of version {version}"))),
        }
    }

    /// Bytes that must be all.
    fn whole(&self, bytes: Part) -> Result<Part, Problem> {
        let (found, expected) = (bytes.size(), self.size as u64);
        if found != expected {
            let shape = &self.shape;
            return Err(self.malformed(&format!(
                "has {}, and its shape {shape:?} asks for {expected}",
                counted(found, "byte")
            )));
        }
        self.source.budget.read(found)?;
        Ok(bytes)
    }

    /// The array made of its chunks. III.A.1, "Version 1 B-trees", of node type 1.
    fn chunks(&self, mut layout: Cursor<'a>, filters: &[Filter]) -> Result<Vec<u8>, Problem> {
        let rank = self.shape.len();
        let dimensions = layout.u8()?;
        let tree = layout.u64()?;
        if usize::from(dimensions) != rank + 1 || rank == 0 {
            let shape = &self.shape;
            let dimensions = counted(dimensions.into(), "dimension");
            let what = format!("has chunks of {dimensions}, and shape {shape:?}");
            return Err(self.malformed(&what));
        }
        let mut chunk = Vec::new();
        for _ in 0..dimensions {
            chunk.push(layout.u32()? as usize);
        }
        let element = chunk.pop();
        let size = size_in_bytes(&chunk, self.dtype).filter(|&size| size > 0);
        let (Some(size), true) = (size, element == Some(self.dtype.size())) else {
            let dtype = self.dtype.name();
            let element = counted(element.unwrap_or_default() as u64, "byte");
            let what = format!("has chunks of shape {chunk:?}, of {element} for {dtype}");
            return Err(self.malformed(&what));
        };
        if self.size == 0 {
            return Ok(Vec::new());
        }
        if tree == UNDEFINED {
            return Err(self.malformed("was never written"));
        }
        self.source.budget.make(self.size as u64)?;
        let grid = Grid { shape: &self.shape, chunk: &chunk, element: self.dtype.size() };
        let mut bytes = vec![0; self.size];
        let mut seen = BTreeSet::new();
        leaves(self.source, tree, TreeKind::Chunks(dimensions.into()), &mut |mut key, address| {
            let (stored, skipped) = (key.u32()?, key.u32()?);
            let place = grid.place(&mut key)?.ok_or_else(|| {
                self.malformed(&format!("has a chunk outside of its shape {:?}", self.shape))
            })?;
            self.source.budget.read(stored.into())?;
            let stored = self.source.at(address)?.part(stored.into())?.read()?;
            let unpacked = self.unpack(&stored, filters, skipped, size)?;
            grid.copy(&place, unpacked.as_deref().unwrap_or(&stored), &mut bytes);
            if seen.insert(place) {
                Ok(())
            } else {
                Err(self.malformed("has two chunks at one place"))
            }
        })?;
        match grid.count() {
            Some(count) if count == seen.len() => Ok(bytes),
            _ => Err(self.malformed("lacks some of its chunks, which were never written")),
        }
    }

    /// A chunk of this size without its filters, or nothing if there are none.
    fn unpack(
        &self,
        stored: &[u8],
        filters: &[Filter],
        skipped: u32,
        size: usize,
    ) -> Result<Option<Vec<u8>>, Problem> {
        let mut unpacked: Option<Vec<u8>> = None;
        for (at, filter) in filters.iter().enumerate().rev() {
            if skipped >> at & 1 != 0 {
                continue;
            }
            let bytes = unpacked.as_deref().unwrap_or(stored);
            self.source.budget.make(bytes.len() as u64)?;
            let undone = match filter {
                // A checksum may follow what was compressed.
                Filter::Deflate => self.inflate(bytes, size.saturating_add(4))?,
                Filter::Shuffle { element } => unshuffle(bytes, *element),
                Filter::Fletcher32 => self.checked(bytes)?.to_vec(),
            };
            unpacked = Some(undone);
        }
        let found = unpacked.as_deref().unwrap_or(stored).len();
        if found != size {
            let found = counted(found as u64, "byte");
            return Err(self.malformed(&format!("has a chunk of {found} instead of {size}")));
        }
        Ok(unpacked)
    }

    /// Decompresses to no more than this size.
    fn inflate(&self, bytes: &[u8], most: usize) -> Result<Vec<u8>, Problem> {
        let mut inflated = Vec::new();
        let mut decoder = ZlibDecoder::new(bytes).take(most as u64);
        let mut part = [0; PART];
        // To begin takes longer than most chunks.
        self.source.budget.make(PART as u64)?;
        loop {
            let count = match decoder.read(&mut part) {
                Ok(0) => return Ok(inflated),
                Ok(count) => count,
                Err(error) => {
                    return Err(self.malformed(&format!("cannot be decompressed ({error})")));
                }
            };
            self.source.budget.make(count as u64)?;
            inflated.extend_from_slice(&part[..count]);
        }
    }

    /// Bytes without the checksum that follows them.
    fn checked<'b>(&self, bytes: &'b [u8]) -> Result<&'b [u8], Problem> {
        match bytes.split_last_chunk::<4>() {
            Some((bytes, sum)) if u32::from_le_bytes(*sum) == fletcher32(bytes) || FUZZING => {
                Ok(bytes)
            }
            _ => Err(self.malformed("has a chunk with a wrong checksum")),
        }
    }

    fn malformed(&self, what: &str) -> Problem {
        Problem::malformed(KIND, format!("dataset {} {what}", shown(self.path)))
    }

    fn refused(&self, what: &str) -> Problem {
        let why = "it is not read; write the file with h5py's default libver, without options";
        Problem::refused(format!("dataset {} {what}", shown(self.path)), why)
    }
}

/// Returns true if Keras says that these pairs of bytes are numbers.
fn is_bfloat16(source: &Source<'_>, object: &Object<'_>, path: &str) -> Result<bool, Problem> {
    if source.pairs_are_bfloat16.get() {
        return Ok(true);
    }
    let dtype = attribute::texts(source, object, path, "dtype")?;
    Ok(dtype.is_some_and(|dtype| dtype == ["bfloat16"]))
}

/// A transformation of a chunk before it was stored.
enum Filter {
    Deflate,
    Shuffle { element: usize },
    Fletcher32,
}

impl Filter {
    /// Filters of one dataset; HDF5 itself has no more.
    const MOST: u8 = 32;

    /// The filters of a message, in the order of writing. IV.A.2.l, "The Filter Pipeline Message".
    fn pipeline(mut cursor: Cursor<'_>, path: &str) -> Result<Vec<Self>, Problem> {
        let (version, count) = (cursor.u8()?, cursor.u8()?);
        match version {
            1 => {
                cursor.take(6)?;
            }
            2 => {}
            _ => return Err(cursor.malformed(format!("a list of filters has version {version}"))),
        }
        if count > Self::MOST {
            let (found, most) = (count.into(), Self::MOST.into());
            return Err(Problem::Limit { what: "the number of filters of a dataset", found, most });
        }
        let mut filters = Vec::new();
        for _ in 0..count {
            let id = cursor.u16()?;
            let name = if version == 1 || id >= 256 { cursor.u16()? } else { 0 };
            let (_, values) = (cursor.u16()?, cursor.u16()?);
            cursor.take(u64::from(name).next_multiple_of(if version == 1 { 8 } else { 1 }))?;
            let mut values = Cursor::new(KIND, cursor.take(4 * u64::from(values))?);
            // Version 1 fills an odd number of values.
            if version == 1 && !values.left().is_multiple_of(8) {
                cursor.take(4)?;
            }
            filters.push(match id {
                1 => Self::Deflate,
                2 => Self::Shuffle { element: values.u32()? as usize },
                3 => Self::Fletcher32,
                _ => {
                    let what = format!("filter {id} of dataset {} in the HDF5 file", shown(path));
                    let why = "only deflate (gzip), shuffle and fletcher32 are undone; \
                               write it without others";
                    return Err(Problem::refused(what, why));
                }
            });
        }
        Ok(filters)
    }
}

/// Puts the bytes of each element together again: all first bytes come first, then all second ones.
fn unshuffle(bytes: &[u8], element: usize) -> Vec<u8> {
    let count = bytes.len().checked_div(element).unwrap_or(0);
    if count == 0 {
        return bytes.to_vec();
    }
    let mut whole = vec![0; bytes.len()];
    let (elements, rest) = whole.split_at_mut(count * element);
    for (nth, part) in bytes.chunks_exact(count).take(element).enumerate() {
        for (element, &byte) in elements.chunks_exact_mut(element).zip(part) {
            element[nth] = byte;
        }
    }
    // Bytes that fill no element stay where they are.
    rest.copy_from_slice(&bytes[count * element..]);
    whole
}

/// Fletcher's checksum over pairs of bytes, the higher first, as `H5_checksum_fletcher32` takes it.
fn fletcher32(bytes: &[u8]) -> u32 {
    let (pairs, rest) = bytes.as_chunks();
    let (mut low, mut high) = (0_u32, 0_u32);
    let last = rest.first().map(|&byte| [byte, 0]);
    // As many as can be added before the sums must be folded.
    for pairs in pairs.chunks(360).chain(last.as_slice().chunks(1)) {
        for &pair in pairs {
            low += u32::from(u16::from_be_bytes(pair));
            high += low;
        }
        (low, high) = (fold(low), fold(high));
    }
    fold(high) << 16 | fold(low)
}

/// The carries added back: the sum modulo 65,535.
fn fold(sum: u32) -> u32 {
    (sum & 0xffff) + (sum >> 16)
}

/// An array cut into chunks.
struct Grid<'a> {
    shape: &'a [usize],
    chunk: &'a [usize],
    element: usize,
}

impl Grid<'_> {
    /// Returns the number of chunks.
    fn count(&self) -> Option<usize> {
        let mut sizes = self.shape.iter().zip(self.chunk);
        sizes.try_fold(1_usize, |count, (size, chunk)| count.checked_mul(size.div_ceil(*chunk)))
    }

    /// Where a chunk begins, if that is a place for one.
    fn place(&self, key: &mut Cursor<'_>) -> Result<Option<Vec<usize>>, Problem> {
        let mut place = Vec::new();
        for (&size, &chunk) in self.shape.iter().zip(self.chunk) {
            match usize::try_from(key.u64()?) {
                Ok(start) if start < size && start % chunk == 0 => place.push(start),
                _ => return Ok(None),
            }
        }
        Ok(Some(place))
    }

    /// Copies a chunk to its place; what is over at the edges is left out.
    fn copy(&self, place: &[usize], chunk: &[u8], array: &mut [u8]) {
        self.copy_from(0, place, chunk, array);
    }

    /// As [`Self::copy`], from dimension `at` on: `chunk` and `array` hold the dimensions that follow.
    fn copy_from(&self, at: usize, place: &[usize], chunk: &[u8], array: &mut [u8]) {
        let [step, array_step] = [self.chunk, self.shape]
            .map(|sizes| sizes[at + 1..].iter().product::<usize>() * self.element);
        let count = self.chunk[at].min(self.shape[at] - place[at]);
        let array = &mut array[place[at] * array_step..];
        // Rows of the same width follow each other in both.
        if step == array_step {
            array[..count * step].copy_from_slice(&chunk[..count * step]);
            return;
        }
        let rows = chunk.chunks_exact(step).zip(array.chunks_exact_mut(array_step));
        for (from, to) in rows.take(count) {
            self.copy_from(at + 1, place, from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_bytes_find_back() {
        assert_eq!(unshuffle(&[1, 4, 2, 5, 3, 6, 7], 3), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(unshuffle(&[1, 2], 0), [1, 2]);
        assert_eq!(unshuffle(&[1, 2], 3), [1, 2]);
    }
}
