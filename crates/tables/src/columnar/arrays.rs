//! Arrays of NumPy and safetensors as tables: a matrix is a column for each of its columns, and a list is
//! one. So features, such as embeddings, lie beside their labels in one file.

use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;
use serde_json::{Map, Value};

use super::meaning::Meaning;
use super::{Budget, Place};
use crate::TableError;
use crate::csv_rows::MOST_COLUMNS;
use crate::table::{Cells, Texts};

/// The arrays of a file, which have as many rows.
#[derive(Debug)]
pub(crate) struct Arrays {
    arrays: Vec<Array>,
    rows: usize,
}

const NPY: &[u8] = b"\x93NUMPY";
const ZIP: &[u8] = b"PK\x03\x04";
/// The most bytes at the end of a zip archive in which its directory is announced: a comment, and the
/// announcement.
const MOST_OF_AN_END: u64 = (1 << 16) + 22;

/// An array of one or two axes, row by row.
#[derive(Debug)]
struct Array {
    name: String,
    stored: Stored,
    shape: Vec<usize>,
    data: Data,
}

/// Where the numbers of an array are.
#[derive(Debug)]
enum Data {
    /// In the file, from this byte on.
    At(u64),
    /// Unpacked in memory.
    Unpacked(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
enum Stored {
    Booleans,
    Numbers(Meaning),
}

/// Returns true if a file that begins so may hold arrays.
pub(super) fn is_arrays(start: &[u8]) -> bool {
    let is_npz = start.starts_with(ZIP) && start.windows(4).any(|word| word == b".npy");
    start.starts_with(NPY) || is_npz || is_safetensors(start)
}

/// A length below 2^32, and the beginning of an object.
fn is_safetensors(start: &[u8]) -> bool {
    matches!(start, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

fn damaged(problem: impl std::fmt::Display) -> TableError {
    TableError::Columnar { format: "array", problem: problem.to_string() }
}

impl Arrays {
    /// Reads the descriptions of the arrays.
    pub(super) fn begin(place: &Place, budget: &mut Budget) -> Result<Self, TableError> {
        let start = place.bytes(0, place.len().min(8))?;
        let arrays = if start.starts_with(NPY) {
            npy(place, 0..place.len(), String::new()).map(|array| vec![array])
        } else if start.starts_with(ZIP) {
            npz(place, budget)
        } else {
            safetensors(place)
        };
        let arrays =
            arrays.ok_or_else(|| damaged("it is damaged, or has numbers of another type"))?;
        let mut columns = 0_usize;
        for Array { name, shape, .. } in &arrays {
            if !(1..=2).contains(&shape.len()) {
                let (name, found) = (name.clone(), format!("an array of {} axes", shape.len()));
                return Err(TableError::ColumnType { name, found });
            }
            columns = columns.saturating_add(shape.get(1).copied().unwrap_or(1));
            if columns > MOST_COLUMNS {
                return Err(TableError::TooManyColumns { found: columns, most: MOST_COLUMNS });
            }
        }
        // Rows without a column take no bytes, however many they are.
        if columns == 0 {
            return Err(TableError::NoColumns);
        }
        let rows = arrays.first().map_or(0, |array| array.shape[0]);
        match arrays.iter().find(|array| array.shape[0] != rows) {
            Some(Array { name, shape, .. }) => {
                Err(TableError::Lengths { name: name.clone(), found: shape[0], expected: rows })
            }
            None => Ok(Self { arrays, rows }),
        }
    }

    /// The names of the columns: a matrix is a column for each of its columns.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.arrays.iter().flat_map(|Array { name, shape, .. }| {
            let width = shape.get(1).copied();
            (0..width.unwrap_or(1)).map(move |column| match (width, name.is_empty()) {
                (None, true) => "0".to_owned(),
                (None, false) => name.clone(),
                (Some(_), true) => column.to_string(),
                (Some(_), false) => format!("{name}.{column}"),
            })
        });
        names.collect()
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns true if all numbers lie in the file as they are.
    pub(super) fn is_by_offset(&self) -> bool {
        self.arrays.iter().all(|array| matches!(array.data, Data::At(_)))
    }

    /// The cells of some rows, column by column.
    pub(super) fn cells(
        &self,
        place: &Place,
        rows: Range<usize>,
    ) -> Result<Vec<Cells>, TableError> {
        let mut columns = Vec::new();
        for Array { stored, shape, data, .. } in &self.arrays {
            let (size, width) = (stored.size(), shape.get(1).copied().unwrap_or(1));
            let row = size * width;
            let read;
            let bytes = match data {
                Data::Unpacked(bytes) => &bytes[rows.start * row..rows.end * row],
                Data::At(start) => {
                    let start = start + (rows.start * row) as u64;
                    read = place.bytes(start, (rows.len() * row) as u64)?;
                    &read[..]
                }
            };
            for column in 0..width {
                let cells = bytes.chunks_exact(row).map(|row| &row[column * size..][..size]);
                columns.push(stored.cells(&cells.collect::<Vec<_>>().concat()));
            }
        }
        Ok(columns)
    }
}

impl Stored {
    fn size(&self) -> usize {
        match self {
            Self::Booleans => 1,
            Self::Numbers(meaning) => meaning.bytes(),
        }
    }

    fn cells(&self, values: &[u8]) -> Cells {
        match self {
            Self::Booleans => {
                let mut texts = Texts::default();
                values
                    .iter()
                    .for_each(|&value| texts.push(if value == 0 { "false" } else { "true" }));
                Cells::Texts(texts)
            }
            Self::Numbers(meaning) => meaning.cells(values),
        }
    }
}

/// An array whose bytes, of which there are `length`, are as many as its shape says.
fn array(
    name: String,
    stored: Stored,
    shape: Vec<usize>,
    data: Data,
    length: u64,
) -> Option<Array> {
    let count = shape.iter().try_fold(stored.size(), |all, &size| all.checked_mul(size))?;
    (count as u64 == length).then_some(Array { name, stored, shape, data })
}

/// Source: `numpy.lib.format`, versions 1 to 3.
fn npy(place: &Place, range: Range<u64>, name: String) -> Option<Array> {
    let start = place.bytes(range.start, (range.end - range.start).min(12)).ok()?;
    let rest = start.strip_prefix(NPY)?;
    let ([version, _], rest) = rest.split_first_chunk::<2>()?;
    let (length, before) = if *version == 1 {
        (u64::from(u16::from_le_bytes(*rest.first_chunk()?)), 10)
    } else {
        (u64::from(u32::from_le_bytes(*rest.first_chunk()?)), 12)
    };
    let data = range.start.checked_add(before)?.checked_add(length)?;
    let length_of_data = range.end.checked_sub(data)?;
    let header = &place.bytes(range.start + before, length).ok()?;
    let header = std::str::from_utf8(header).ok()?;
    let kind = after(header, "'descr':")?.strip_prefix('\'')?.split('\'').next()?;
    let is_in_rows = after(header, "'fortran_order':")?.starts_with("False");
    let sizes = after(header, "'shape':")?.strip_prefix('(')?.split(')').next()?;
    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
    let (order, kind) = kind.split_at_checked(1)?;
    let bytes =
        kind.get(1..)?.parse::<usize>().ok().filter(|bytes| [1, 2, 4, 8].contains(bytes))?;
    let stored = match kind.chars().next()? {
        'b' if bytes == 1 => Stored::Booleans,
        'i' => Stored::Numbers(Meaning::Integer { bytes, is_signed: true }),
        'u' => Stored::Numbers(Meaning::Integer { bytes, is_signed: false }),
        'f' if bytes > 1 => Stored::Numbers(Meaning::Float { bytes }),
        _ => return None,
    };
    // A column-major matrix of one axis lies in rows too.
    if order == ">" || !is_in_rows && shape.len() > 1 {
        return None;
    }
    array(name, stored, shape, Data::At(data), length_of_data)
}

/// What follows a key in the header of an array.
fn after<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    header.split_once(key).map(|(_, rest)| rest.trim_start())
}

/// The arrays of a zip archive, in the order of its directory, whose packed members are of deflate.
///
/// Source: PKWARE, "APPNOTE.TXT", 4.3.7, 4.3.12 and 4.3.16.
fn npz(place: &Place, budget: &mut Budget) -> Option<Vec<Array>> {
    let tail = place.len().min(MOST_OF_AN_END);
    let tail = place.bytes(place.len() - tail, tail).ok()?;
    let end = tail.windows(4).rposition(|word| word == b"PK\x05\x06")?;
    let (count, length) = (short(&tail, end + 10)?, long(&tail, end + 12)?);
    let directory = place.bytes(long(&tail, end + 16)? as u64, length as u64).ok()?;
    let (mut at, mut arrays) = (0, Vec::new());
    for _ in 0..count {
        if directory.get(at..at + 4)? != b"PK\x01\x02" {
            return None;
        }
        let (method, packed, unpacked) =
            (short(&directory, at + 10)?, long(&directory, at + 20)?, long(&directory, at + 24)?);
        let (name, extra, comment) =
            (short(&directory, at + 28)?, short(&directory, at + 30)?, short(&directory, at + 32)?);
        let start = long(&directory, at + 42)? as u64;
        let title = directory.get(at + 46..at + 46 + name)?;
        let title = String::from_utf8_lossy(title).trim_end_matches(".npy").to_owned();
        at += 46 + name + extra + comment;
        let local = place.bytes(start, 30).ok()?;
        let data = start + 30 + short(&local, 26)? as u64 + short(&local, 28)? as u64;
        budget.take(unpacked as u64)?;
        arrays.push(match method {
            0 if packed == unpacked => npy(place, data..data + packed as u64, title)?,
            8 => unpacked_npy(&place.bytes(data, packed as u64).ok()?, unpacked as u64, title)?,
            _ => return None,
        });
    }
    Some(arrays)
}

/// An array that is packed with deflate.
fn unpacked_npy(packed: &[u8], size: u64, name: String) -> Option<Array> {
    let mut contents = Vec::new();
    DeflateDecoder::new(packed).take(size + 1).read_to_end(&mut contents).ok()?;
    let length = contents.len() as u64;
    let place = Place::Memory(contents);
    let array = npy(&place, 0..length, name)?;
    let (Place::Memory(mut contents), Data::At(start)) = (place, &array.data) else { return None };
    contents.drain(..usize::try_from(*start).ok()?);
    Some(Array { data: Data::Unpacked(contents), ..array })
}

fn short(bytes: &[u8], place: usize) -> Option<usize> {
    let bytes = bytes.get(place..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*bytes).into())
}

fn long(bytes: &[u8], place: usize) -> Option<usize> {
    let bytes = bytes.get(place..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

/// Source: the format of `safetensors`.
fn safetensors(place: &Place) -> Option<Vec<Array>> {
    let length = u64::from_le_bytes(*place.bytes(0, 8).ok()?.first_chunk()?);
    let header: Map<String, Value> = serde_json::from_slice(&place.bytes(8, length).ok()?).ok()?;
    let start = length + 8;
    let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__");
    let arrays = tensors.map(|(name, entry)| {
        let stored = match entry.get("dtype")?.as_str()? {
            "BOOL" => Stored::Booleans,
            "F16" => Stored::Numbers(Meaning::Float { bytes: 2 }),
            "F32" => Stored::Numbers(Meaning::Float { bytes: 4 }),
            "F64" => Stored::Numbers(Meaning::Float { bytes: 8 }),
            other => {
                let (kind, bits) = other.split_at_checked(1)?;
                let bytes = bits.parse::<usize>().ok()? / 8;
                let is_whole = matches!(kind, "I" | "U") && [1, 2, 4, 8].contains(&bytes);
                let meaning = Meaning::Integer { bytes, is_signed: kind == "I" };
                is_whole.then_some(Stored::Numbers(meaning))?
            }
        };
        let shape = entry.get("shape")?.as_array()?.iter().map(size).collect::<Option<_>>()?;
        let offsets = entry.get("data_offsets")?.as_array()?;
        let [from, to] = [size(offsets.first()?)? as u64, size(offsets.get(1)?)? as u64];
        let (from, to) = (start.checked_add(from)?, start.checked_add(to)?);
        if to > place.len() {
            return None;
        }
        array(name, stored, shape, Data::At(from), to.checked_sub(from)?)
    });
    arrays.collect()
}

fn size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}
