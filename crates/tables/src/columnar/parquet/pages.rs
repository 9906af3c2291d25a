//! The pages of a column chunk, from bytes to cells.

use std::borrow::Cow;

use super::super::thrift::{Kind, Thrift};
use super::super::{Budget, unpack};
use super::footer::Stored;
use super::hybrid::{deltas, hybrid};
use super::values;
use crate::table::Cells;

/// Why a chunk is not read.
#[derive(Debug)]
pub(super) enum PageProblem {
    Damaged,
    Inflated,
    /// An encoding of values that is not read, by its number in the format.
    Encoding(i64),
    /// A compression that is not read, by its number in the format.
    Codec(i64),
}

type Result<T> = std::result::Result<T, PageProblem>;

/// The header of a page.
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    kind: i64,
    unpacked: u64,
    packed: u64,
    values: u64,
    encoding: i64,
    /// Bytes of the levels before the values, of pages of the second version.
    levels: Option<[u64; 2]>,
    is_packed: bool,
}

/// Kinds of pages.
const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_2: i64 = 3;

/// How a column chunk is read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) stored: Stored,
    pub(super) is_optional: bool,
    pub(super) codec: i64,
    pub(super) rows: usize,
}

/// The cells of a column chunk.
pub(super) fn cells(bytes: &[u8], reading: Reading, budget: &mut Budget) -> Result<Cells> {
    let mut thrift = Thrift::new(bytes);
    let (mut dictionary, mut column) = (None, values::none(reading.stored));
    while column.len() < reading.rows {
        let header = header(&mut thrift).ok_or(PageProblem::Damaged)?;
        let packed = usize::try_from(header.packed).ok().and_then(|size| thrift.take(size));
        let packed = packed.ok_or(PageProblem::Damaged)?;
        match header.kind {
            DICTIONARY => {
                let page = unpacked(packed, header, reading.codec, 0, budget)?;
                let count = bounded(header.values, page.len() * 8)?;
                dictionary = Some(values::plain(&page, reading.stored, count, budget)?);
            }
            DATA | DATA_2 => {
                let missing = reading.rows - column.len();
                let rows = bounded(header.values, missing)?;
                let page = of_page(packed, header, reading, rows, dictionary.as_ref(), budget)?;
                values::append(&mut column, &page, budget)?;
            }
            // An index, or a page of a later version.
            _ => {}
        }
    }
    Ok(column)
}

/// A number of things that is at most `most`.
fn bounded(count: u64, most: usize) -> Result<usize> {
    let count = usize::try_from(count).ok().filter(|&count| count <= most);
    count.ok_or(PageProblem::Damaged)
}

/// The values of a data page, and for each of its rows the place of its value.
pub(super) struct Page<'a> {
    pub(super) values: Cow<'a, Cells>,
    /// None for a missing value.
    pub(super) places: Vec<Option<u32>>,
}

fn of_page<'a>(
    packed: &[u8],
    header: Header,
    reading: Reading,
    rows: usize,
    dictionary: Option<&'a Cells>,
    budget: &mut Budget,
) -> Result<Page<'a>> {
    let before = header.levels.map_or(0, |[a, b]| a.saturating_add(b));
    let before = bounded(before, packed.len())?;
    let page = unpacked(packed, header, reading.codec, before, budget)?;
    let mut rest = &page[..];
    let is_present = if let Some([repetition, definition]) = header.levels {
        let levels = bounded(repetition, rest.len()).and_then(|start| {
            rest.get(start..start + definition as usize).ok_or(PageProblem::Damaged)
        })?;
        rest = &rest[before..];
        reading.is_optional.then(|| hybrid(levels, 1, rows))
    } else if reading.is_optional {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or(PageProblem::Damaged)?;
        let levels = behind.split_at_checked(u32::from_le_bytes(*length) as usize);
        let (levels, behind) = levels.ok_or(PageProblem::Damaged)?;
        rest = behind;
        Some(hybrid(levels, 1, rows))
    } else {
        None
    };
    let is_present = match is_present {
        Some(levels) => levels.ok_or(PageProblem::Damaged)?,
        None => vec![1; rows],
    };
    let present = is_present.iter().filter(|&&level| level == 1).count();
    let (values, places) =
        decoded(rest, header.encoding, reading.stored, present, dictionary, budget)?;
    let mut places = places.into_iter();
    let places = is_present.iter().map(|&level| if level == 1 { places.next() } else { None });
    Ok(Page { values, places: places.collect() })
}

/// The different values of a page, and the places of those that are present.
fn decoded<'a>(
    bytes: &[u8],
    encoding: i64,
    stored: Stored,
    present: usize,
    dictionary: Option<&'a Cells>,
    budget: &mut Budget,
) -> Result<(Cow<'a, Cells>, Vec<u32>)> {
    let one_by_one = 0..u32::try_from(present).map_err(|_| PageProblem::Damaged)?;
    let values = match (encoding, stored) {
        (0, _) => values::plain(bytes, stored, present, budget)?,
        (2 | 8, _) => {
            let dictionary = dictionary.ok_or(PageProblem::Damaged)?;
            if present == 0 {
                return Ok((Cow::Borrowed(dictionary), Vec::new()));
            }
            let (&width, bytes) = bytes.split_first().ok_or(PageProblem::Damaged)?;
            let places = hybrid(bytes, width.into(), present).ok_or(PageProblem::Damaged)?;
            if places.iter().any(|&place| place as usize >= dictionary.len()) {
                return Err(PageProblem::Damaged);
            }
            return Ok((Cow::Borrowed(dictionary), places));
        }
        (3, Stored::Booleans) => {
            let bits = bytes.get(4..).unwrap_or_default();
            let bits = hybrid(bits, 1, present).ok_or(PageProblem::Damaged)?;
            values::booleans(bits.into_iter().map(|bit| bit == 1))
        }
        (5, Stored::Fixed(meaning)) => {
            let (integers, _) = deltas(bytes, present).ok_or(PageProblem::Damaged)?;
            let width = meaning.bytes().min(8);
            let bytes: Vec<u8> = integers
                .iter()
                .flat_map(|integer| integer.to_le_bytes()[..width].to_vec())
                .collect();
            meaning.cells(&bytes)
        }
        (6, Stored::Texts) => values::behind_lengths(bytes, present, budget)?,
        (7, Stored::Texts) => values::behind_prefixes(bytes, present, budget)?,
        (9, Stored::Fixed(meaning)) => meaning.cells(&values::joined(bytes, meaning.bytes())),
        _ => return Err(PageProblem::Encoding(encoding)),
    };
    if values.len() < present {
        return Err(PageProblem::Damaged);
    }
    Ok((Cow::Owned(values), one_by_one.collect()))
}

/// The bytes of a page, of which the first `before` are not compressed.
fn unpacked(
    packed: &[u8],
    header: Header,
    codec: i64,
    before: usize,
    budget: &mut Budget,
) -> Result<Vec<u8>> {
    if codec == 0 || !header.is_packed {
        return Ok(packed.to_vec());
    }
    budget.take(header.unpacked).ok_or(PageProblem::Inflated)?;
    let size = usize::try_from(header.unpacked).map_err(|_| PageProblem::Damaged)?;
    let size = size.checked_sub(before).ok_or(PageProblem::Damaged)?;
    let (levels, packed) = packed.split_at_checked(before).ok_or(PageProblem::Damaged)?;
    let unpacked = if size == 0 {
        Some(Vec::new())
    } else {
        match codec {
            1 => unpack::snappy(packed, size),
            2 => unpack::gzip(packed, size),
            6 => unpack::zstd(packed, size),
            7 => unpack::lz4_block(packed, size),
            _ => return Err(PageProblem::Codec(codec)),
        }
    };
    let unpacked = unpacked.filter(|unpacked| unpacked.len() == size);
    Ok([levels, &unpacked.ok_or(PageProblem::Damaged)?].concat())
}

fn header(thrift: &mut Thrift<'_>) -> Option<Header> {
    let mut header = Header { is_packed: true, ..Header::default() };
    thrift.fields(|thrift, field, kind| {
        match (field, kind) {
            (1, Kind::Integer) => header.kind = thrift.integer()?,
            (2, Kind::Integer) => header.unpacked = thrift.count()?,
            (3, Kind::Integer) => header.packed = thrift.count()?,
            (5 | 7, Kind::Struct) => thrift.fields(|thrift, field, kind| {
                match (field, kind) {
                    (1, Kind::Integer) => header.values = thrift.count()?,
                    (2, Kind::Integer) => header.encoding = thrift.integer()?,
                    _ => thrift.skip(kind)?,
                }
                Some(())
            })?,
            (8, Kind::Struct) => second_version(thrift, &mut header)?,
            _ => thrift.skip(kind)?,
        }
        Some(())
    })?;
    Some(header)
}

fn second_version(thrift: &mut Thrift<'_>, header: &mut Header) -> Option<()> {
    let mut levels = [0; 2];
    thrift.fields(|thrift, field, kind| {
        match (field, kind) {
            (1, Kind::Integer) => header.values = thrift.count()?,
            (4, Kind::Integer) => header.encoding = thrift.integer()?,
            (5, Kind::Integer) => levels[1] = thrift.count()?,
            (6, Kind::Integer) => levels[0] = thrift.count()?,
            (7, Kind::Boolean(is_packed)) => header.is_packed = is_packed,
            _ => thrift.skip(kind)?,
        }
        Some(())
    })?;
    header.levels = Some(levels);
    Some(())
}
