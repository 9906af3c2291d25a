//! Object headers: the messages that say what an object is.

use fireclay_terminal::counted;

use crate::Problem;
use crate::bytes::Cursor;

use super::{FUZZING, KIND, Source};

pub(super) const DATASPACE: u16 = 0x01;
pub(super) const LINK_INFO: u16 = 0x02;
pub(super) const DATATYPE: u16 = 0x03;
pub(super) const LINK: u16 = 0x06;
pub(super) const EXTERNAL_FILES: u16 = 0x07;
pub(super) const LAYOUT: u16 = 0x08;
pub(super) const FILTERS: u16 = 0x0b;
pub(super) const ATTRIBUTE: u16 = 0x0c;
pub(super) const CONTINUATION: u16 = 0x10;
pub(super) const SYMBOL_TABLE: u16 = 0x11;
pub(super) const ATTRIBUTE_INFO: u16 = 0x15;

/// Messages that are looked at; all others are of no use here.
const USEFUL: [u16; 10] = [
    DATASPACE,
    LINK_INFO,
    DATATYPE,
    LINK,
    EXTERNAL_FILES,
    LAYOUT,
    FILTERS,
    ATTRIBUTE,
    SYMBOL_TABLE,
    ATTRIBUTE_INFO,
];

/// One message.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    flags: u8,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Its data, if it is not somewhere else.
    pub(super) fn data(&self, what: &str) -> Result<Cursor<'a>, Problem> {
        if self.flags & 2 != 0 {
            let why = "Keras and h5py's defaults do not share them; save the file again";
            return Err(Problem::refused(format!("an HDF5 object with a shared {what}"), why));
        }
        Ok(Cursor::new(KIND, self.bytes))
    }
}

/// The useful messages of the header at an address. IV.A.1, "Data Object Header Prefix".
pub(super) fn messages<'a>(source: &Source<'a>, address: u64) -> Result<Vec<Message<'a>>, Problem> {
    let mut cursor = source.at(address)?;
    let mut messages = Vec::new();
    let mut more = Vec::new();
    let form = if cursor.clone().take(4)? == b"OHDR" {
        let (form, block) = second(source, address)?;
        form.messages(source, block, &mut messages, &mut more)?;
        form
    } else {
        match cursor.u8()? {
            1 => cursor.take(7)?,
            version => {
                let what =
                    format!("the object at byte {address} has a header of version {version}");
                return Err(cursor.malformed(what));
            }
        };
        let size = cursor.u32()?;
        // To a multiple of 8.
        cursor.take(4)?;
        Form::First.messages(source, cursor.take(size.into())?, &mut messages, &mut more)?;
        Form::First
    };
    // Each block costs a step, so that blocks that continue each other come to an end.
    while let Some((address, size)) = more.pop() {
        source.budget.step()?;
        let block = form.continued(source, address, size)?;
        form.messages(source, block, &mut messages, &mut more)?;
    }
    Ok(messages)
}

/// The form of the fields before a message's data.
#[derive(Clone, Copy)]
enum Form {
    /// Of version 1.
    First,
    /// Of version 2, with or without the order of creation.
    Second { ordered: bool },
}

/// The block of messages of a header of version 2.
fn second<'a>(source: &Source<'a>, address: u64) -> Result<(Form, &'a [u8]), Problem> {
    let mut cursor = source.signed(address, b"OHDR", "header")?;
    let version = cursor.u8()?;
    if version != 2 {
        let what = format!("the header at byte {address} has version {version}, not 2");
        return Err(cursor.malformed(what));
    }
    let flags = cursor.u8()?;
    if flags & 0x20 != 0 {
        cursor.take(16)?;
    }
    if flags & 0x10 != 0 {
        cursor.take(4)?;
    }
    let size = match flags & 3 {
        0 => cursor.u8()?.into(),
        1 => cursor.u16()?.into(),
        2 => cursor.u32()?.into(),
        _ => cursor.u64()?,
    };
    let block = cursor.take(size)?;
    check(source, address, cursor.position() as u64 - address)?;
    Ok((Form::Second { ordered: flags & 4 != 0 }, block))
}

impl Form {
    /// The messages of a block that continues a header.
    fn continued<'a>(
        self,
        source: &Source<'a>,
        address: u64,
        size: u64,
    ) -> Result<&'a [u8], Problem> {
        if matches!(self, Self::First) {
            return source.block(address, size);
        }
        let mut cursor = source.signed(address, b"OCHK", "continued header")?;
        // Within are the signature before the messages and the checksum behind them.
        match size.checked_sub(8) {
            Some(inner) => {
                let block = cursor.take(inner)?;
                check(source, address, size - 4)?;
                Ok(block)
            }
            None => {
                Err(cursor.malformed(format!("a continued header has {}", counted(size, "byte"))))
            }
        }
    }

    fn messages<'a>(
        self,
        source: &Source<'a>,
        block: &'a [u8],
        messages: &mut Vec<Message<'a>>,
        more: &mut Vec<(u64, u64)>,
    ) -> Result<(), Problem> {
        let mut cursor = Cursor::new(KIND, block);
        let before = match self {
            Self::First => 8,
            Self::Second { ordered: false } => 4,
            Self::Second { ordered: true } => 6,
        };
        // A gap too small for a message may be at the end.
        while cursor.left() >= before {
            source.budget.step()?;
            let kind = match self {
                Self::First => cursor.u16()?,
                Self::Second { .. } => cursor.u8()?.into(),
            };
            let size = cursor.u16()?;
            let flags = cursor.u8()?;
            match self {
                Self::First => cursor.take(3)?,
                Self::Second { ordered: false } => &[],
                Self::Second { ordered: true } => cursor.take(2)?,
            };
            let bytes = cursor.take(size.into())?;
            if kind == CONTINUATION {
                let mut place = Cursor::new(KIND, bytes);
                more.push((place.u64()?, place.u64()?));
            } else if USEFUL.contains(&kind) {
                messages.push(Message { kind, flags, bytes });
            }
        }
        Ok(())
    }
}

/// Compares the checksum that follows `size` bytes at `address`.
pub(super) fn check(source: &Source<'_>, address: u64, size: u64) -> Result<(), Problem> {
    let mut cursor = source.at(address)?;
    // Each byte is summed once for each header that it is in.
    source.budget.read(size)?;
    let found = lookup3(cursor.take(size)?);
    if cursor.u32()? == found || FUZZING {
        return Ok(());
    }
    let size = counted(size, "byte");
    Err(cursor.malformed(format!("the checksum of the {size} from {address} on is another")))
}

/// Bob Jenkins' lookup3 (public domain), the checksum of HDF5's newer structures.
fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let mut state = [start; 3];
    let mut blocks = bytes.chunks(12).peekable();
    let mut sum = start;
    while let Some(block) = blocks.next() {
        let mut padded = [0; 12];
        padded[..block.len()].copy_from_slice(block);
        let (words, _) = padded.as_chunks();
        let words = [0, 1, 2].map(|at| u32::from_le_bytes(words[at]));
        state = mixed(state, words, blocks.peek().is_none());
        // Where the last turn left c.
        sum = state[1];
    }
    sum
}

/// The state of [`lookup3`] after three more words.
fn mixed([a, b, c]: [u32; 3], words: [u32; 3], is_last: bool) -> [u32; 3] {
    let mut a = a.wrapping_add(words[0]);
    let mut b = b.wrapping_add(words[1]);
    let mut c = c.wrapping_add(words[2]);
    if is_last {
        for rotation in [14, 11, 25, 16, 4, 14, 24] {
            c = (c ^ b).wrapping_sub(b.rotate_left(rotation));
            // The three take turns: c from b, a from c, b from a.
            (a, b, c) = (b, c, a);
        }
    } else {
        for rotation in [4, 6, 8, 16, 19, 4] {
            a = a.wrapping_sub(c) ^ c.rotate_left(rotation);
            c = c.wrapping_add(b);
            (a, b, c) = (b, c, a);
        }
    }
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::lookup3;

    #[test]
    fn the_checksum_is_that_of_its_author() {
        // The values of `driver5` in lookup3.c.
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }
}
