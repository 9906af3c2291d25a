//! Tensors, which are views of storages.

use super::KIND;
use super::pickle::{Global, Id, Pickle, Value};
use crate::archive::size_in_bytes;
use crate::error::shown;
use crate::{Dtype, Problem, Tensor};

/// The most dimensions of a tensor.
const MOST_DIMENSIONS: u64 = 8;

/// A tensor: which numbers of a storage it has.
#[derive(Debug)]
pub(super) struct View<'a> {
    name: &'a str,
    /// What the storage is called.
    key: &'a str,
    dtype: Dtype,
    /// Bytes of the storage.
    storage: u64,
    /// Where in the storage the first number is, counted in numbers.
    offset: usize,
    shape: Vec<usize>,
    /// How far apart in the storage neighbours of each dimension are, counted in numbers.
    strides: Vec<usize>,
}

/// A storage, as a tensor refers to it.
pub(super) struct Storage<'a> {
    /// Its name.
    pub(super) key: &'a str,
    /// The type of its numbers, if it has one.
    pub(super) dtype: Option<Dtype>,
    /// Bytes.
    pub(super) size: u64,
}

impl<'a> Storage<'a> {
    /// A storage by the tuple that stands for it: `("storage", type, key, device, numbers)`, and
    /// in a legacy file `None` at the end.
    pub(super) fn of(pickle: &Pickle<'a>, id: Id) -> Option<Self> {
        let (word, class, key, count) = match *pickle.tuple(id)? {
            [word, class, key, _, count] => (word, class, key, count),
            [word, class, key, _, count, view] if matches!(pickle.get(view), Value::None) => {
                (word, class, key, count)
            }
            _ => return None,
        };
        let dtype = match pickle.get(class) {
            Value::Global(Global::Storage(dtype)) => Some(*dtype),
            Value::Global(Global::UntypedStorage) => None,
            _ => return None,
        };
        let size = pickle.count(count)?.checked_mul(dtype.map_or(1, Dtype::size) as u64)?;
        (pickle.text(word)? == "storage").then_some(Self { key: pickle.text(key)?, dtype, size })
    }
}

/// Whether a value is a tensor.
pub(super) fn is_tensor(value: &Value<'_>) -> bool {
    matches!(value, Value::Call(Global::Tensor | Global::TypedTensor | Global::Parameter, _))
}

impl<'a> View<'a> {
    /// The tensor that a call in a pickle would make.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if it is not within its storage, or is no tensor at all.
    pub(super) fn of(
        pickle: &Pickle<'a>,
        name: &'a str,
        value: &Value<'a>,
    ) -> Result<Self, Problem> {
        let malformed =
            |what: &str| Problem::malformed(KIND, format!("the tensor {} {what}", shown(name)));
        let view = Self::read(pickle, name, value)
            .ok_or_else(|| malformed("is not made of a storage, an offset, a shape and as many strides, all counted from 0"))?;
        let found = view.shape.len() as u64;
        if found > MOST_DIMENSIONS {
            let what = "the number of dimensions of a tensor";
            return Err(Problem::Limit { what, found, most: MOST_DIMENSIONS });
        }
        match (view.size(), view.end()) {
            (Some(0), _) => Ok(view),
            (Some(_), Some(end)) if end <= view.storage => Ok(view),
            _ => Err(malformed(&format!(
                "of shape {:?}, strides {:?} and offset {} reaches beyond the {} bytes of its \
                 storage",
                view.shape, view.strides, view.offset, view.storage
            ))),
        }
    }

    fn read(pickle: &Pickle<'a>, name: &'a str, value: &Value<'a>) -> Option<Self> {
        let value = match value {
            Value::Call(Global::Parameter, arguments) => {
                pickle.get(*pickle.tuple(*arguments)?.first()?)
            }
            value => value,
        };
        let (typed, arguments) = match value {
            Value::Call(Global::Tensor, arguments) => (false, arguments),
            Value::Call(Global::TypedTensor, arguments) => (true, arguments),
            _ => return None,
        };
        let (&[storage, offset, shape, strides], rest) =
            pickle.tuple(*arguments)?.split_first_chunk()?;
        let Value::Outside(storage) = pickle.get(storage) else { return None };
        let storage = Storage::of(pickle, *storage)?;
        // Then: whether it wants gradients, hooks, perhaps a type, and perhaps marks such as that
        // its numbers are to be negated.
        let (dtype, marks) = match (typed, rest) {
            (false, [] | [_, _]) => (storage.dtype?, None),
            (false, [_, _, marks]) => (storage.dtype?, Some(marks)),
            (true, [_, _, dtype, marks @ ..]) if marks.len() < 2 => match pickle.get(*dtype) {
                Value::Global(Global::Dtype(dtype)) => (*dtype, marks.first()),
                _ => return None,
            },
            _ => return None,
        };
        let unmarked = marks.is_none_or(|&marks| match pickle.get(marks) {
            Value::None => true,
            Value::Dict(marks) => marks.is_empty(),
            _ => false,
        });
        let counts = |id: Id| -> Option<Vec<usize>> {
            let count = |&id: &Id| usize::try_from(pickle.count(id)?).ok();
            pickle.tuple(id)?.iter().map(count).collect()
        };
        let offset = usize::try_from(pickle.count(offset)?).ok()?;
        let (shape, strides) = (counts(shape)?, counts(strides)?);
        (unmarked && shape.len() == strides.len()).then_some(Self {
            name,
            key: storage.key,
            dtype,
            storage: storage.size,
            offset,
            shape,
            strides,
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// The name without its first bytes.
    pub(super) fn shorten(&mut self, bytes: usize) {
        self.name = &self.name[bytes..];
    }

    /// What the storage is called.
    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    /// Bytes of all its numbers, row by row.
    pub(super) fn size(&self) -> Option<usize> {
        size_in_bytes(&self.shape, self.dtype)
    }

    /// The byte of the storage after its furthest number, if it has any.
    fn end(&self) -> Option<u64> {
        let mut furthest = self.offset;
        for (size, stride) in self.shape.iter().zip(&self.strides) {
            furthest = furthest.checked_add(size.checked_sub(1)?.checked_mul(*stride)?)?;
        }
        (furthest as u64).checked_add(1)?.checked_mul(self.dtype.size() as u64)
    }

    /// Whether its numbers lie row by row already.
    fn is_in_order(&self) -> bool {
        let mut expected = 1_usize;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let in_order = size == 1 || stride == expected;
            expected = expected.saturating_mul(size);
            in_order
        })
    }

    /// The tensor, its numbers copied from the bytes of the storage; `reversed` if those have the
    /// highest byte first.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if there are fewer bytes than the storage should have.
    pub(super) fn tensor(&self, storage: &[u8], reversed: bool) -> Result<Tensor, Problem> {
        if (storage.len() as u64) < self.storage {
            let what = format!(
                "the storage of the tensor {} has {} bytes, not {}",
                shown(self.name),
                storage.len(),
                self.storage
            );
            return Err(Problem::malformed(KIND, what));
        }
        let (size, width) = (self.size().unwrap_or(0), self.dtype.size());
        let mut bytes = Vec::with_capacity(size);
        if size > 0 && self.is_in_order() {
            bytes.extend_from_slice(&storage[self.offset * width..][..size]);
        } else if size > 0 {
            // One number has no neighbour; how far away it would be may be any number.
            let apart = |(&n, &stride)| (n, if n > 1 { stride * width } else { 0 });
            let dimensions: Vec<_> = self.shape.iter().zip(&self.strides).map(apart).collect();
            gather(&mut bytes, &storage[self.offset * width..], width, &dimensions);
        }
        if reversed {
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        Tensor::new(KIND, self.name, self.shape.clone(), self.dtype, bytes)
    }
}

/// Copies numbers of `width` bytes, of which there are as many, as far apart, as the pairs say.
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
