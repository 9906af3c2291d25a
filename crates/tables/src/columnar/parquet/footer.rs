//! The footer of a Parquet file: its columns, and where their pages lie.
//!
//! Source: `parquet.thrift` of Apache Parquet.

use super::super::meaning::Meaning;
use super::super::thrift::{Kind, Thrift};

/// What a file says of itself.
#[derive(Debug, Default)]
pub(super) struct Footer {
    pub(super) schema: Vec<Element>,
    pub(super) rows: u64,
    pub(super) groups: Vec<Group>,
}

/// A part of the schema: the root, or a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Element {
    pub(super) name: String,
    physical: Option<i64>,
    length: usize,
    /// 0 for required, 1 for optional and 2 for repeated.
    pub(super) repetition: i64,
    pub(super) children: u64,
    converted: Option<i64>,
    scale: i32,
    logical: Option<Logical>,
}

/// The logical type of a column, as far as it has one that matters.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Logical {
    Text,
    Decimal,
    Date,
    /// Units of a second.
    Time(i64),
    Integer {
        bits: i64,
        is_signed: bool,
    },
    Half,
    Null,
    /// Of no cells.
    Other,
}

/// Some rows.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) rows: u64,
    pub(super) chunks: Vec<Chunk>,
}

/// The pages of a column in a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    pub(super) codec: i64,
    pub(super) start: u64,
    pub(super) length: u64,
    is_elsewhere: bool,
}

/// How the values of a column are stored, and what they mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stored {
    /// Truth values, one a bit.
    Booleans,
    /// Values of a fixed number of bytes.
    Fixed(Meaning),
    /// Texts, each behind its length.
    Texts,
    /// Nothing but missing values.
    Nothing,
}

impl Footer {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut footer = Self::default();
        Thrift::new(bytes).fields(|thrift, field, kind| {
            match (field, kind) {
                (2, Kind::List) => footer.schema = thrift.list(element)?,
                (3, Kind::Integer) => footer.rows = thrift.count()?,
                (4, Kind::List) => footer.groups = thrift.list(group)?,
                _ => thrift.skip(kind)?,
            }
            Some(())
        })?;
        let chunks = footer.groups.iter().flat_map(|group| &group.chunks);
        let is_whole = chunks.clone().all(|chunk| !chunk.is_elsewhere);
        is_whole.then_some(footer)
    }
}

fn element(thrift: &mut Thrift<'_>) -> Option<Element> {
    let mut element = Element::default();
    thrift.fields(|thrift, field, kind| {
        match (field, kind) {
            (1, Kind::Integer) => element.physical = Some(thrift.integer()?),
            (2, Kind::Integer) => element.length = usize::try_from(thrift.count()?).ok()?,
            (3, Kind::Integer) => element.repetition = thrift.integer()?,
            (4, Kind::Bytes) => element.name = thrift.text()?,
            (5, Kind::Integer) => element.children = thrift.count()?,
            (6, Kind::Integer) => element.converted = Some(thrift.integer()?),
            (7, Kind::Integer) => element.scale = i32::try_from(thrift.integer()?).ok()?,
            (10, Kind::Struct) => element.logical = Some(logical(thrift)?),
            _ => thrift.skip(kind)?,
        }
        Some(())
    })?;
    Some(element)
}

fn logical(thrift: &mut Thrift<'_>) -> Option<Logical> {
    let mut found = Logical::Other;
    thrift.fields(|thrift, field, kind| {
        found = match field {
            1 | 4 | 12 => Logical::Text,
            5 => Logical::Decimal,
            6 => Logical::Date,
            8 => {
                found = Logical::Time(time_units(thrift)?);
                return Some(());
            }
            10 => {
                found = integer_type(thrift)?;
                return Some(());
            }
            11 => Logical::Null,
            15 => Logical::Half,
            _ => Logical::Other,
        };
        thrift.skip(kind)
    })?;
    Some(found)
}

/// The units of a second of a time.
fn time_units(thrift: &mut Thrift<'_>) -> Option<i64> {
    let mut units = 1000;
    thrift.fields(|thrift, field, kind| {
        if (field, kind) != (2, Kind::Struct) {
            return thrift.skip(kind);
        }
        thrift.fields(|thrift, field, kind| {
            units = [1000, 1_000_000, 1_000_000_000][usize::try_from(field - 1).ok()?.min(2)];
            thrift.skip(kind)
        })
    })?;
    Some(units)
}

fn integer_type(thrift: &mut Thrift<'_>) -> Option<Logical> {
    let (mut bits, mut is_signed) = (64, true);
    thrift.fields(|thrift, field, kind| {
        match (field, kind) {
            (1, Kind::Byte) => bits = i64::from(thrift.take(1)?[0]),
            (2, Kind::Boolean(signed)) => is_signed = signed,
            _ => thrift.skip(kind)?,
        }
        Some(())
    })?;
    Some(Logical::Integer { bits, is_signed })
}

fn group(thrift: &mut Thrift<'_>) -> Option<Group> {
    let mut group = Group::default();
    thrift.fields(|thrift, field, kind| {
        match (field, kind) {
            (1, Kind::List) => group.chunks = thrift.list(chunk)?,
            (3, Kind::Integer) => group.rows = thrift.count()?,
            _ => thrift.skip(kind)?,
        }
        Some(())
    })?;
    Some(group)
}

fn chunk(thrift: &mut Thrift<'_>) -> Option<Chunk> {
    let mut found = None;
    let mut is_elsewhere = false;
    thrift.fields(|thrift, field, kind| {
        match (field, kind) {
            (1, Kind::Bytes) => is_elsewhere = !thrift.binary()?.is_empty(),
            (3, Kind::Struct) => found = Some(column(thrift)?),
            _ => thrift.skip(kind)?,
        }
        Some(())
    })?;
    found.map(|chunk| Chunk { is_elsewhere, ..chunk })
}

fn column(thrift: &mut Thrift<'_>) -> Option<Chunk> {
    let (mut chunk, mut dictionary) = (Chunk::default(), None);
    thrift.fields(|thrift, field, kind| {
        match (field, kind) {
            (4, Kind::Integer) => chunk.codec = thrift.integer()?,
            (7, Kind::Integer) => chunk.length = thrift.count()?,
            (9, Kind::Integer) => chunk.start = thrift.count()?,
            (11, Kind::Integer) => dictionary = Some(thrift.count()?),
            _ => thrift.skip(kind)?,
        }
        Some(())
    })?;
    // The dictionary page precedes the data; older programs write 0 for a column without one.
    if let Some(dictionary) = dictionary.filter(|&place| place > 0 && place < chunk.start) {
        chunk.start = dictionary;
    }
    Some(chunk)
}

impl Element {
    /// How the values of a column are stored; none if cells do not have its type.
    pub(super) fn stored(&self) -> Option<Stored> {
        if self.children > 0 || self.repetition > 1 {
            return None;
        }
        if self.logical == Some(Logical::Null) {
            return Some(Stored::Nothing);
        }
        let meaning = match self.physical? {
            0 => return Some(Stored::Booleans),
            1 => self.whole(4)?,
            2 => self.whole(8)?,
            3 => Meaning::JulianTime,
            4 => Meaning::Float { bytes: 4 },
            5 => Meaning::Float { bytes: 8 },
            6 => return self.is_text().then_some(Stored::Texts),
            7 => match self.logical {
                Some(Logical::Half) if self.length == 2 => Meaning::Float { bytes: 2 },
                _ if self.is_decimal() && (1..=16).contains(&self.length) => {
                    Meaning::Decimal { bytes: self.length, scale: self.scale, is_big_endian: true }
                }
                _ => return None,
            },
            _ => return None,
        };
        Some(Stored::Fixed(meaning))
    }

    /// The meaning of whole numbers of so many bytes.
    fn whole(&self, bytes: usize) -> Option<Meaning> {
        if self.is_decimal() {
            return Some(Meaning::Decimal { bytes, scale: self.scale, is_big_endian: false });
        }
        match (self.logical, self.converted) {
            (Some(Logical::Date), _) | (None, Some(6)) => Some(Meaning::Days),
            (Some(Logical::Time(units)), _) => Some(Meaning::Time { units }),
            (None, Some(9)) => Some(Meaning::Time { units: 1000 }),
            (None, Some(10)) => Some(Meaning::Time { units: 1_000_000 }),
            (Some(Logical::Integer { bits: 1..=64, is_signed }), _) => {
                Some(Meaning::Integer { bytes, is_signed })
            }
            (None, Some(11..=14)) => Some(Meaning::Integer { bytes, is_signed: false }),
            (None, None | Some(15..=18)) => Some(Meaning::Integer { bytes, is_signed: true }),
            _ => None,
        }
    }

    fn is_decimal(&self) -> bool {
        self.logical == Some(Logical::Decimal)
            || self.logical.is_none() && self.converted == Some(5)
    }

    fn is_text(&self) -> bool {
        match self.logical {
            Some(logical) => logical == Logical::Text,
            // Old programs mark no text.
            None => matches!(self.converted, None | Some(0 | 4 | 19)),
        }
    }

    /// The type in words.
    pub(super) fn in_words(&self) -> String {
        const PHYSICAL: [&str; 8] = [
            "boolean",
            "int32",
            "int64",
            "int96",
            "float",
            "double",
            "bytes",
            "bytes of fixed length",
        ];
        if self.repetition > 1 || self.children > 0 {
            return "a list or a structure".to_owned();
        }
        let physical = self.physical.and_then(|number| usize::try_from(number).ok());
        let name = physical.and_then(|number| PHYSICAL.get(number)).unwrap_or(&"unknown");
        format!("{name} of another meaning")
    }
}
