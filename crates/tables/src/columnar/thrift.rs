//! Thrift's compact protocol, in which Parquet describes its contents.
//!
//! Source: "Thrift compact protocol encoding" of Apache Thrift.

/// Bytes in the protocol. Everything is none where they end too early, or cannot be what is read.
pub(super) struct Thrift<'a> {
    pub(super) bytes: &'a [u8],
    depth: u8,
}

/// The kind of a value, as the protocol numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A truth value, which has no further bytes in a struct.
    Boolean(bool),
    Byte,
    /// Of 16, 32 or 64 bits.
    Integer,
    Double,
    Bytes,
    List,
    Struct,
}

/// The deepest nesting of what is left out.
const DEEPEST: u8 = 16;

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, depth: 0 }
    }

    /// Reads a struct: `read` is given the number and the kind of each field, and reads its value or
    /// leaves it out with [`skip`](Self::skip).
    pub(super) fn fields(
        &mut self,
        mut read: impl FnMut(&mut Self, i64, Kind) -> Option<()>,
    ) -> Option<()> {
        let mut field = 0;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Some(());
            }
            field = if byte >> 4 == 0 { self.integer()? } else { field + i64::from(byte >> 4) };
            read(self, field, kind(byte & 15)?)?;
        }
    }

    /// Reads a list by its elements.
    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (_, count) = self.list_head()?;
        // Memory grows with the elements that are read, not with the count that the file claims.
        (0..count).map(|_| read(self)).collect()
    }

    fn list_head(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Some((head & 15, count))
    }

    /// Leaves out the value of a field.
    pub(super) fn skip(&mut self, kind: Kind) -> Option<()> {
        match kind {
            Kind::Boolean(_) => Some(()),
            Kind::Byte => self.take(1).map(drop),
            Kind::Integer => self.varint().map(drop),
            Kind::Double => self.take(8).map(drop),
            Kind::Bytes => self.binary().map(drop),
            Kind::List => {
                let (element, count) = self.list_head()?;
                (0..count).try_for_each(|_| self.skip_element(element))
            }
            Kind::Struct => {
                self.depth = self.depth.checked_add(1).filter(|&depth| depth <= DEEPEST)?;
                self.fields(|thrift, _, kind| thrift.skip(kind))?;
                self.depth -= 1;
                Some(())
            }
        }
    }

    /// Leaves out an element of a list, where a truth value takes a byte. Lists of lists do not occur.
    fn skip_element(&mut self, element: u8) -> Option<()> {
        match kind(element)? {
            Kind::Boolean(_) => self.take(1).map(drop),
            Kind::List => None,
            kind => self.skip(kind),
        }
    }

    pub(super) fn binary(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(self.binary()?).into_owned())
    }

    pub(super) fn integer(&mut self) -> Option<i64> {
        let zigzag = self.varint()?;
        Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// An integer that is a number of something.
    pub(super) fn count(&mut self) -> Option<u64> {
        self.integer().and_then(|number| u64::try_from(number).ok())
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }
}

fn kind(number: u8) -> Option<Kind> {
    match number {
        1 => Some(Kind::Boolean(true)),
        2 => Some(Kind::Boolean(false)),
        3 => Some(Kind::Byte),
        4..=6 => Some(Kind::Integer),
        7 => Some(Kind::Double),
        8 => Some(Kind::Bytes),
        9 | 10 => Some(Kind::List),
        12 => Some(Kind::Struct),
        _ => None,
    }
}
