//! The numbers of a tensor: in memory, or where they are in the file.

use std::borrow::Cow;
use std::io;

use crate::ElementType;
use crate::store::Part;

/// The numbers of a tensor.
#[derive(Clone)]
pub(crate) enum Numbers {
    /// Row by row, the lowest byte of each number first.
    Held(Vec<u8>),
    /// In a file, to be read when they are asked for.
    Stored(Box<Stored>),
}

/// Numbers in a file.
#[derive(Clone)]
pub(crate) struct Stored {
    /// The bytes that hold them.
    pub(crate) part: Part,
    /// True if the highest byte of each comes first.
    pub(crate) is_reversed: bool,
    /// For each dimension its size, and how many bytes neighbours are apart; none if they lie row by
    /// row.
    pub(crate) strides: Option<Vec<(usize, usize)>>,
}

impl From<Vec<u8>> for Numbers {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Held(bytes)
    }
}

impl From<Part> for Numbers {
    fn from(part: Part) -> Self {
        Self::Stored(Box::new(Stored { part, is_reversed: false, strides: None }))
    }
}

impl From<Stored> for Numbers {
    fn from(stored: Stored) -> Self {
        Self::Stored(Box::new(stored))
    }
}

impl Numbers {
    /// Returns the number of their bytes; of those with strides it was counted before.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Held(bytes) => Some(bytes.len() as u64),
            Self::Stored(stored) if stored.strides.is_some() => None,
            Self::Stored(stored) => Some(stored.part.size()),
        }
    }

    /// All bytes, row by row, the lowest byte of each number first.
    pub(crate) fn bytes(&self, width: usize) -> io::Result<Cow<'_, [u8]>> {
        let stored = match self {
            Self::Held(bytes) => return Ok(Cow::Borrowed(bytes)),
            Self::Stored(stored) => stored,
        };
        let mut bytes = stored.part.read()?;
        if let Some(strides) = &stored.strides {
            bytes = gathered(&bytes, width, strides);
        }
        if stored.is_reversed {
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        Ok(Cow::Owned(bytes))
    }

    /// Gives `each` all bytes in pieces of whole numbers, in the order of [`Self::bytes`].
    pub(crate) fn pieces(&self, width: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Stored(stored) if stored.strides.is_none() && !stored.is_reversed => {
                stored.part.pieces(each)
            }
            Self::Stored(stored) if stored.strides.is_none() => {
                let mut turned = Vec::new();
                stored.part.pieces(&mut |piece| {
                    turned.clear();
                    turned.extend_from_slice(piece);
                    turned.chunks_exact_mut(width).for_each(<[u8]>::reverse);
                    each(&turned);
                })
            }
            _ => {
                each(&self.bytes(width)?);
                Ok(())
            }
        }
    }
}

/// The numbers of `width` bytes, row by row, of which there are as many, as far apart, as the pairs
/// say. None may be outside of the bytes.
fn gathered(from: &[u8], width: usize, dimensions: &[(usize, usize)]) -> Vec<u8> {
    let count = dimensions.iter().map(|&(count, _)| count).product::<usize>();
    let mut to = Vec::with_capacity(count * width);
    if count > 0 {
        gather(&mut to, from, width, dimensions);
    }
    to
}

fn gather(to: &mut Vec<u8>, from: &[u8], width: usize, dimensions: &[(usize, usize)]) {
    match *dimensions {
        [] => to.extend_from_slice(&from[..width]),
        [(count, stride), ref rest @ ..] => {
            for at in 0..count {
                gather(to, &from[at * stride..], width, rest);
            }
        }
    }
}

/// The strides of numbers that lie with the first index fastest.
pub(crate) fn columns(shape: &[usize], dtype: ElementType) -> Vec<(usize, usize)> {
    let mut stride = dtype.size();
    let mut strides = Vec::new();
    for &size in shape {
        // One number has no neighbour.
        strides.push((size, if size > 1 { stride } else { 0 }));
        stride = stride.saturating_mul(size);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows() {
        // 2 x 3 x 2 with the first index fastest.
        let bytes: Vec<u8> = (0..12).collect();
        let of = |shape: &[usize]| gathered(&bytes, 1, &columns(shape, ElementType::U8));
        assert_eq!(of(&[2, 3, 2]), [0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11]);
        assert_eq!(of(&[0, 3]), [0_u8; 0]);
        assert_eq!(of(&[3, 1]), [0, 1, 2]);
    }

    #[test]
    fn stored_numbers_are_those_in_memory() {
        let part = Part::from(vec![1, 2, 3, 4, 5, 6, 7, 8]);
        let reversed = Stored { part: part.clone(), is_reversed: true, strides: None };
        let strides = Some(vec![(2, 2), (2, 4)]);
        let turned = Stored { part: part.clone(), is_reversed: false, strides };
        for (numbers, expected) in [
            (Numbers::from(part), [1, 2, 3, 4, 5, 6, 7, 8]),
            (Numbers::from(reversed), [2, 1, 4, 3, 6, 5, 8, 7]),
            (Numbers::from(turned), [1, 2, 5, 6, 3, 4, 7, 8]),
        ] {
            assert_eq!(*numbers.bytes(2).unwrap(), expected);
            let mut pieces = Vec::new();
            numbers.pieces(2, &mut |piece| pieces.extend_from_slice(piece)).unwrap();
            assert_eq!(pieces, expected);
        }
    }
}
