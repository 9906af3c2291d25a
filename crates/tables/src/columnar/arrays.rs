//! Arrays of NumPy and safetensors as tables: a matrix is a column for each of its columns, and a list is
//! one. So features, such as embeddings, lie beside their labels in one file.

use std::io::Read;

use flate2::read::DeflateDecoder;
use serde_json::{Map, Value};

use super::meaning::Meaning;
use super::{Budget, Place};
use crate::TableError;
use crate::csv_rows::MOST_COLUMNS;
use crate::table::{Cells, Texts};

/// Named columns.
pub(super) type Columns = Vec<(String, Cells)>;

const NPY: &[u8] = b"\x93NUMPY";
const ZIP: &[u8] = b"PK\x03\x04";

/// An array of one or two axes, row by row.
struct Array {
    name: String,
    stored: Stored,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

enum Stored {
    Booleans,
    Numbers(Meaning),
}

/// Returns true if a file that begins so may hold arrays.
pub(crate) fn is_arrays(start: &[u8]) -> bool {
    let is_npz = start.starts_with(ZIP) && start.windows(4).any(|word| word == b".npy");
    start.starts_with(NPY) || is_npz || is_safetensors(start)
}

/// A length below 2^32, and the beginning of an object.
fn is_safetensors(start: &[u8]) -> bool {
    matches!(start, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

/// The columns of a file.
pub(super) fn read(place: &Place, budget: &mut Budget) -> Result<Columns, TableError> {
    let bytes = place.bytes(0, place.len())?;
    let arrays = if bytes.starts_with(NPY) {
        npy(&bytes, String::new()).map(|array| vec![array])
    } else if bytes.starts_with(ZIP) {
        npz(&bytes, budget)
    } else {
        safetensors(&bytes)
    };
    columns(arrays.ok_or_else(|| damaged("it is damaged, or has numbers of another type"))?)
}

fn damaged(problem: impl std::fmt::Display) -> TableError {
    TableError::Columnar { format: "array", problem: problem.to_string() }
}

/// The columns of arrays that have as many rows.
fn columns(arrays: Vec<Array>) -> Result<Columns, TableError> {
    let mut columns = Columns::new();
    for Array { name, stored, shape, bytes } in arrays {
        let (rows, width) = match shape[..] {
            [rows] => (rows, 1),
            [rows, width] => (rows, width),
            _ => {
                let found = format!("an array of {} axes", shape.len());
                return Err(TableError::ColumnType { name, found });
            }
        };
        if columns.len().saturating_add(width) > MOST_COLUMNS {
            let found = columns.len().saturating_add(width);
            return Err(TableError::TooManyColumns { found, most: MOST_COLUMNS });
        }
        let size = bytes.len() / (rows * width).max(1);
        for column in 0..width {
            let places = (0..rows).map(|row| (row * width + column) * size);
            let values: Vec<u8> =
                places.flat_map(|place| bytes[place..place + size].to_vec()).collect();
            let name = match (shape.len(), name.is_empty()) {
                (1, true) => "0".to_owned(),
                (1, false) => name.clone(),
                (_, true) => column.to_string(),
                (_, false) => format!("{name}.{column}"),
            };
            columns.push((name, stored.cells(&values)));
        }
    }
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    match columns.iter().find(|(_, cells)| cells.len() != rows) {
        Some((name, cells)) => {
            Err(TableError::Lengths { name: name.clone(), found: cells.len(), expected: rows })
        }
        None => Ok(columns),
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

/// An array whose bytes are as many as its shape says.
fn array(name: String, stored: Stored, shape: Vec<usize>, bytes: &[u8]) -> Option<Array> {
    let count = shape.iter().try_fold(stored.size(), |all, &size| all.checked_mul(size))?;
    (count == bytes.len()).then(|| Array { name, stored, shape, bytes: bytes.to_vec() })
}

/// Source: `numpy.lib.format`, versions 1 to 3.
fn npy(bytes: &[u8], name: String) -> Option<Array> {
    let rest = bytes.strip_prefix(NPY)?;
    let ([version, _], rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = if *version == 1 {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (header, data) = rest.split_at_checked(length)?;
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
    array(name, stored, shape, data)
}

/// What follows a key in the header of an array.
fn after<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    header.split_once(key).map(|(_, rest)| rest.trim_start())
}

/// The arrays of a zip archive, in the order of its directory, whose packed members are of deflate.
///
/// Source: PKWARE, "APPNOTE.TXT", 4.3.7, 4.3.12 and 4.3.16.
fn npz(bytes: &[u8], budget: &mut Budget) -> Option<Vec<Array>> {
    let end = bytes.windows(4).rposition(|word| word == b"PK\x05\x06")?;
    let count = short(bytes, end + 10)?;
    let mut place = long(bytes, end + 16)?;
    let mut arrays = Vec::new();
    for _ in 0..count {
        if bytes.get(place..place + 4)? != b"PK\x01\x02" {
            return None;
        }
        let (method, packed, unpacked) =
            (short(bytes, place + 10)?, long(bytes, place + 20)?, long(bytes, place + 24)?);
        let (name, extra, comment) =
            (short(bytes, place + 28)?, short(bytes, place + 30)?, short(bytes, place + 32)?);
        let start = long(bytes, place + 42)?;
        let title = bytes.get(place + 46..place + 46 + name)?;
        let title = String::from_utf8_lossy(title);
        place += 46 + name + extra + comment;
        let data = start + 30 + short(bytes, start + 26)? + short(bytes, start + 28)?;
        let data = bytes.get(data..data.checked_add(packed)?)?;
        budget.take(unpacked as u64)?;
        let contents = match method {
            0 => data.to_vec(),
            8 => {
                let mut contents = Vec::new();
                let mut limited = DeflateDecoder::new(data).take(unpacked as u64 + 1);
                limited.read_to_end(&mut contents).ok()?;
                contents
            }
            _ => return None,
        };
        arrays.push(npy(&contents, title.trim_end_matches(".npy").to_owned())?);
    }
    Some(arrays)
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
fn safetensors(bytes: &[u8]) -> Option<Vec<Array>> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (header, data) =
        rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Map<String, Value> = serde_json::from_slice(header).ok()?;
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
        let place = entry.get("data_offsets")?.as_array()?;
        let data = data.get(size(place.first()?)?..size(place.get(1)?)?)?;
        array(name, stored, shape, data)
    });
    arrays.collect()
}

fn size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}
