//! Bytes taken one after the other, each checked to be there.

use std::ops::Range;

use fireclay_terminal::counted;

use crate::Problem;
use crate::store::Part;

/// A place in the bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    kind: &'static str,
    /// The file that the bytes are of, if they are not all in memory.
    part: Option<&'a Part>,
    /// Bytes that are in memory, from this place on.
    window: &'a [u8],
    window_at: usize,
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of these bytes of a file of kind `kind`.
    pub(crate) fn new(kind: &'static str, bytes: &'a [u8]) -> Self {
        Self { kind, part: None, window: bytes, window_at: 0, at: 0, end: bytes.len() }
    }

    /// At the beginning of a part of a file, of which is read what is taken.
    pub(crate) fn over(kind: &'static str, part: &'a Part) -> Self {
        let end = usize::try_from(part.size()).unwrap_or(usize::MAX);
        Self { kind, part: Some(part), window: &[], window_at: 0, at: 0, end }
    }

    /// The same place, with nothing from `end` on.
    pub(crate) fn until(self, end: usize) -> Self {
        Self { end: self.end.min(end), ..self }
    }

    /// Bytes before this place.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Bytes from this place on.
    pub(crate) fn left(&self) -> usize {
        self.end - self.at
    }

    /// Moves to another place.
    pub(crate) fn seek(&mut self, at: u64) -> Result<(), Problem> {
        match usize::try_from(at) {
            Ok(at) if at <= self.end => {
                self.at = at;
                Ok(())
            }
            _ => Err(self.malformed(format!("it points to byte {at} of {}", self.end))),
        }
    }

    /// Passes over the next `count` bytes.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), Problem> {
        match usize::try_from(count).ok().filter(|&count| count <= self.left()) {
            Some(count) => {
                self.at += count;
                Ok(())
            }
            None => Err(self.malformed(format!(
                "{} {} expected at byte {}, with {} left",
                counted(count, "byte"),
                if count == 1 { "is" } else { "are" },
                self.at,
                self.left()
            ))),
        }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8], Problem> {
        let start = self.at;
        self.skip(count)?;
        if let Some(taken) = within(self.window, self.window_at, start..self.at) {
            return Ok(taken);
        }
        let Some(part) = self.part else {
            return Err(self.malformed("it ends too early"));
        };
        let (window, window_at) = part.window(start as u64..self.at as u64)?;
        (self.window, self.window_at) = (window, window_at as usize);
        let taken = within(window, window_at as usize, start..self.at);
        taken.ok_or_else(|| self.malformed("it ends too early"))
    }

    /// The next `count` bytes as a part of the file, which are not read.
    pub(crate) fn part(&mut self, count: u64) -> Result<Part, Problem> {
        let start = self.at as u64;
        let Some(part) = self.part else { return Ok(self.take(count)?.to_vec().into()) };
        self.skip(count)?;
        part.part(start..self.at as u64).ok_or_else(|| self.malformed("it ends too early"))
    }

    /// The next bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    /// A byte.
    pub(crate) fn u8(&mut self) -> Result<u8, Problem> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// A number of two bytes, the lowest first.
    pub(crate) fn u16(&mut self) -> Result<u16, Problem> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// A number of four bytes, the lowest first.
    pub(crate) fn u32(&mut self) -> Result<u32, Problem> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A number of eight bytes, the lowest first.
    pub(crate) fn u64(&mut self) -> Result<u64, Problem> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The error of a file that is not what it should be, here.
    pub(crate) fn malformed(&self, what: impl Into<String>) -> Problem {
        Problem::malformed(self.kind, what)
    }
}

/// A range of the file in a window that begins at `window_at`.
fn within(window: &[u8], window_at: usize, range: Range<usize>) -> Option<&[u8]> {
    window.get(range.start.checked_sub(window_at)?..range.end.checked_sub(window_at)?)
}
