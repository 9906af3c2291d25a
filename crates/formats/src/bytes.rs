//! Bytes taken one after the other, each checked to be there.

use crate::Problem;

/// A place in the bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    kind: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of the bytes of a file of kind `kind`.
    pub(crate) fn new(kind: &'static str, bytes: &'a [u8]) -> Self {
        Self { kind, bytes, at: 0 }
    }

    /// Bytes before this place.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Bytes from this place on.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Moves to another place.
    pub(crate) fn seek(&mut self, at: u64) -> Result<(), Problem> {
        match usize::try_from(at) {
            Ok(at) if at <= self.bytes.len() => {
                self.at = at;
                Ok(())
            }
            _ => Err(self.malformed(format!("it points to byte {at} of {}", self.bytes.len()))),
        }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8], Problem> {
        let taken = usize::try_from(count).ok().and_then(|count| {
            let end = self.at.checked_add(count)?;
            self.bytes.get(self.at..end)
        });
        match taken {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(self.malformed(format!(
                "{count} bytes are expected at byte {}, and {} are left",
                self.at,
                self.left()
            ))),
        }
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
