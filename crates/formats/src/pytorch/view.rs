//! Tensors, which are views of storages.

use fireclay_terminal::counted;

use super::KIND;
use super::names::Global;
use super::pickle::{Id, Pickle, Value};
use crate::archive::size_in_bytes;
use crate::error::shown;
use crate::numbers::Stored;
use crate::store::Part;
use crate::{ElementType, Problem, Tensor};

/// The most dimensions of a tensor.
const MOST_DIMENSIONS: u64 = 8;

/// A tensor: which numbers of a storage it has.
#[derive(Debug)]
pub(super) struct View<'a> {
    name: String,
    /// The name of the storage.
    key: &'a str,
    dtype: ElementType,
    /// Bytes of the storage.
    storage: u64,
    /// Where in the storage the first number is, counted in numbers.
    offset: usize,
    shape: Vec<usize>,
    /// The distance in the storage of neighbours along each dimension, counted in numbers.
    strides: Vec<usize>,
}

/// A storage, as a tensor refers to it.
pub(super) struct Storage<'a> {
    /// Its name.
    pub(super) key: &'a str,
    /// The type of its numbers, if it has one that is read.
    pub(super) dtype: Option<ElementType>,
    /// Bytes of a number; 1 if it has no type.
    pub(super) width: u64,
    /// Bytes.
    pub(super) size: u64,
}

/// The arguments that a call makes a tensor of.
struct Call<'p> {
    /// True if it is given the type of its numbers.
    is_typed: bool,
    /// Storage, offset, shape and strides.
    place: [Id; 4],
    /// The other arguments.
    rest: &'p [Id],
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
        let (dtype, width) = match *pickle.get(class) {
            Value::Global(Global::Storage(dtype)) => (Some(dtype), dtype.size() as u64),
            Value::Global(Global::OtherStorage(width)) => (None, width),
            Value::Global(Global::UntypedStorage) => (None, 1),
            _ => return None,
        };
        let (key, size) = (pickle.text(key)?, pickle.count(count)?.checked_mul(width)?);
        (pickle.text(word)? == "storage").then_some(Self { key, dtype, width, size })
    }
}

/// Returns true if a value is a tensor.
pub(super) fn is_tensor(value: &Value<'_>) -> bool {
    matches!(value, Value::Call(..))
}

impl<'a> View<'a> {
    /// The tensor that a call in a pickle would make.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if it is not within its storage, or is no tensor at all;
    /// [`Problem::Refused`] if it is of a kind or type that is not read.
    pub(super) fn of(
        pickle: &Pickle<'a>,
        name: String,
        value: &Value<'a>,
    ) -> Result<Self, Problem> {
        if let Some((what, why)) = unread(pickle, value) {
            let what = format!("the tensor {} {what}", shown(&name));
            return Err(Problem::refused(what, why));
        }
        let call = call(pickle, value).ok_or_else(|| malformed(&name, NOT_MADE_OF))?;
        let dimensions = pickle.tuple(call.place[2]).map_or(0, <[Id]>::len) as u64;
        if dimensions > MOST_DIMENSIONS {
            let what = "the number of dimensions of a tensor";
            return Err(Problem::Limit { what, found: dimensions, most: MOST_DIMENSIONS });
        }
        let view = Self::read(pickle, &name, &call).ok_or_else(|| malformed(&name, NOT_MADE_OF))?;
        match (view.size(), view.end()) {
            (Some(0), _) => Ok(view),
            (Some(_), Some(end)) if end <= view.storage => Ok(view),
            _ => {
                let what = format!(
                    "of shape {:?}, strides {:?} and offset {} reaches beyond the {} of its storage",
                    view.shape,
                    view.strides,
                    view.offset,
                    counted(view.storage, "byte")
                );
                Err(malformed(&name, &what))
            }
        }
    }

    fn read(pickle: &Pickle<'a>, name: &str, call: &Call<'_>) -> Option<Self> {
        let [storage, offset, shape, strides] = call.place;
        let Value::Outside(storage) = pickle.get(storage) else { return None };
        let storage = Storage::of(pickle, *storage)?;
        // Then: whether it wants gradients, hooks, perhaps a type, and perhaps marks such as that
        // its numbers are to be negated.
        let (dtype, marks) = match (call.is_typed, call.rest) {
            (false, [] | [_, _]) => (storage.dtype?, None),
            (false, [_, _, marks]) => (storage.dtype?, Some(marks)),
            (true, [_, _, dtype, marks @ ..]) if marks.len() < 2 => match pickle.get(*dtype) {
                Value::Global(Global::ElementType(dtype)) => (*dtype, marks.first()),
                _ => return None,
            },
            _ => return None,
        };
        let unmarked = marks.is_none_or(|&marks| match pickle.get(marks) {
            Value::None => true,
            Value::Dict(marks) => marks.is_empty(),
            _ => false,
        });
        let offset = usize::try_from(pickle.count(offset)?).ok()?;
        let (shape, strides) = (pickle.counts(shape)?, pickle.counts(strides)?);
        (unmarked && shape.len() == strides.len()).then(|| Self {
            name: name.to_owned(),
            key: storage.key,
            dtype,
            storage: storage.size,
            offset,
            shape,
            strides,
        })
    }

    /// Returns true if it has two dimensions and numbers of floating point, as the weights of a
    /// dense layer.
    pub(super) fn is_matrix(&self) -> bool {
        self.shape.len() == 2 && self.dtype.is_float()
    }

    /// The size of each dimension.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The same tensor by another name.
    pub(super) fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// The name of the storage.
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

    /// Returns true if its numbers lie row by row already.
    fn is_in_order(&self) -> bool {
        let mut expected = 1_usize;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let in_order = size == 1 || stride == expected;
            expected = expected.saturating_mul(size);
            in_order
        })
    }

    /// The tensor, its numbers left in the storage; `reversed` if those have the
    /// highest byte first.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if there are fewer bytes than the storage should have.
    pub(super) fn tensor(&self, storage: &Part, is_reversed: bool) -> Result<Tensor, Problem> {
        if storage.size() < self.storage {
            let what = format!(
                "the storage of the tensor {} has {}, not {}",
                shown(&self.name),
                counted(storage.size(), "byte"),
                self.storage
            );
            return Err(Problem::malformed(KIND, what));
        }
        let (size, width) = (self.size().unwrap_or(0), self.dtype.size());
        let is_in_order = size == 0 || self.is_in_order();
        let strides = (!is_in_order).then(|| {
            let axes = self.shape.iter().zip(&self.strides);
            // One number has no neighbour; how far away it would be may be any number.
            axes.map(|(&n, &stride)| (n, if n > 1 { stride * width } else { 0 })).collect()
        });
        let start = if size == 0 { 0 } else { (self.offset * width) as u64 };
        let end = if is_in_order { start + size as u64 } else { self.end().unwrap_or(start) };
        let part = storage.part(start..end);
        let part = part.ok_or_else(|| malformed(&self.name, "is not within its storage"))?;
        let numbers = Stored { part, is_reversed, strides };
        Tensor::new(KIND, self.name.as_str(), self.shape.clone(), self.dtype, numbers)
    }
}

/// The parts of every tensor.
const NOT_MADE_OF: &str =
    "is not made of a storage, an offset, a shape and as many strides, all counted from 0";

fn malformed(name: &str, what: &str) -> Problem {
    Problem::malformed(KIND, format!("the tensor {} {what}", shown(name)))
}

/// Returns the call that makes a tensor, within its wrappers: a parameter, attributes.
fn call<'p>(pickle: &'p Pickle<'_>, value: &'p Value<'_>) -> Option<Call<'p>> {
    let value = match value {
        Value::Call(Global::Parameter, arguments) => {
            pickle.get(*pickle.tuple(*arguments)?.first()?)
        }
        value => value,
    };
    let (function, arguments) = match value {
        Value::Call(Global::WithAttributes, arguments) => match *pickle.tuple(*arguments)? {
            [function, class, arguments, _] => match (pickle.get(function), pickle.get(class)) {
                (
                    Value::Global(function),
                    Value::Global(Global::TensorClass | Global::ParameterClass),
                ) => (*function, arguments),
                _ => return None,
            },
            _ => return None,
        },
        Value::Call(function, arguments) => (*function, *arguments),
        _ => return None,
    };
    let is_typed = match function {
        Global::Tensor => false,
        Global::TypedTensor => true,
        _ => return None,
    };
    let (&place, rest) = pickle.tuple(arguments)?.split_first_chunk()?;
    Some(Call { is_typed, place, rest })
}

/// Describes a tensor whose numbers are not read, with the remedy.
fn unread(pickle: &Pickle<'_>, value: &Value<'_>) -> Option<(&'static str, &'static str)> {
    const OTHER_TYPE: (&str, &str) = (
        "has complex numbers, or of a type of fewer than 16 bits",
        "only real numbers of 8 bits and more, and floats of 16 bits and more, are read; convert it \
         with tensor.float()",
    );
    let mut value = value;
    if let Value::Call(Global::Parameter, arguments) = value {
        value = pickle.get(*pickle.tuple(*arguments)?.first()?);
    }
    if let Value::Call(Global::Unread(kind), _) = value {
        return Some(kind.words());
    }
    let call = call(pickle, value)?;
    let of_type = if call.is_typed { call.rest.get(2).copied() } else { None };
    let of_storage = match pickle.get(call.place[0]) {
        Value::Outside(storage) => pickle.tuple(*storage)?.get(1).copied(),
        _ => None,
    };
    // Behind whether it wants gradients, hooks and, if it has one, its type.
    let marks = call.rest.get(if call.is_typed { 3 } else { 2 });
    if marks
        .is_some_and(|&marks| matches!(pickle.get(marks), Value::Dict(marks) if !marks.is_empty()))
    {
        return Some((
            "is a view that negates or conjugates its numbers",
            "save its numbers as they are, with tensor.resolve_conj().resolve_neg()",
        ));
    }
    let is_other = of_type.into_iter().chain(of_storage).any(|id| {
        matches!(pickle.get(id), Value::Global(Global::OtherDtype | Global::OtherStorage(_)))
    });
    is_other.then_some(OTHER_TYPE)
}
