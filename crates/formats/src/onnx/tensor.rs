//! `TensorProto`, which may hold its numbers in many ways.

use fireclay_terminal::counted;

use super::KIND;
use super::external::{Beside, Place};
use super::wire::{Field, Message};
use crate::archive::size_in_bytes;
use crate::error::shown;
use crate::numbers::Numbers;
use crate::store::Part;
use crate::{ElementType, Problem, Tensor};

/// The most dimensions of a tensor.
pub(super) const MOST_DIMENSIONS: usize = 8;

/// Of lists and tensors up to this length the numbers are kept: shapes, axes and scalars.
pub(super) const FEW: usize = 16;

/// `TensorProto`: a tensor whose numbers, unless they are few, stay where they are.
#[derive(Debug)]
pub(super) struct TensorProto<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The size of each dimension.
    pub(super) shape: Vec<usize>,
    /// The type of its numbers, if it is one that is read.
    pub(super) dtype: Option<ElementType>,
    /// Its numbers, if they are at most [`FEW`] and of a known type.
    pub(super) few: Option<Vec<f64>>,
    /// True if it holds texts.
    pub(super) is_text: bool,
    message: Message<'a>,
    /// Where its numbers are, if they are in another file.
    place: Option<Place<'a>>,
}

impl<'a> TensorProto<'a> {
    pub(super) fn read(message: Message<'a>, beside: &'a Beside) -> Result<Self, Problem> {
        let mut tensor = Self {
            name: "",
            shape: vec![],
            dtype: None,
            few: None,
            is_text: false,
            message,
            place: None,
        };
        let (mut number, mut entries, mut external) = (0, Vec::new(), false);
        let mut stored = StoredCount::default();
        let mut fields = message.fields()?;
        while let Some(field) = fields.read()? {
            match field.number {
                1 => field.ints(|size| match usize::try_from(size) {
                    Ok(size) => push_dimension(&mut tensor.shape, size),
                    Err(_) => {
                        let what = format!("a tensor has a dimension of size {size}");
                        Err(Problem::malformed(KIND, what))
                    }
                })?,
                2 => number = field.int()?,
                3 => {
                    let what = "a tensor is only a segment of one";
                    let why = "its numbers must be whole; save the model again with onnx.save";
                    return Err(Problem::refused(what, why));
                }
                8 => tensor.name = field.text()?,
                13 if entries.len() < MOST_ENTRIES => {
                    entries.push(field.message("StringStringEntryProto")?);
                }
                14 => external = field.int()? != 0,
                _ => stored.count(field)?,
            }
        }
        tensor.dtype = dtype(number);
        tensor.is_text = number == TEXT;
        if external {
            tensor.place = Some(Place::read(&entries, beside, tensor.name)?);
        }
        let count = tensor.check(stored)?;
        if tensor.dtype.is_some() && count <= FEW {
            tensor.few = Some(tensor.to_tensor(tensor.name)?.to_f64()?);
        }
        Ok(tensor)
    }

    /// Returns the count of numbers by its shape, if the file has as many or their type is not
    /// read.
    fn check(&self, stored: StoredCount) -> Result<usize, Problem> {
        let expected = self.shape.iter().try_fold(1, |count: usize, &size| count.checked_mul(size));
        let Some(dtype) = self.dtype else {
            return expected.ok_or_else(|| {
                let what = format!("tensor {} has shape {:?}", shown(self.name), self.shape);
                Problem::malformed(KIND, what)
            });
        };
        if self.place.is_some() {
            // How much is there is seen when it is read.
            let size = expected.and_then(|count| count.checked_mul(dtype.size()));
            return match (expected, size, stored.field) {
                (Some(count), Some(_), None) => Ok(count),
                _ => {
                    let what = format!("tensor {} is in this file and another", shown(self.name));
                    Err(Problem::malformed(KIND, what))
                }
            };
        }
        let found = match stored.field {
            None => Some(0),
            Some(RAW) => {
                let whole = stored.numbers.is_multiple_of(dtype.size());
                whole.then_some(stored.numbers / dtype.size())
            }
            Some(field) => (field == field_of(dtype)).then_some(stored.numbers),
        };
        match expected {
            Some(expected) if found == Some(expected) => Ok(expected),
            _ => {
                let what = format!(
                    "tensor {} of shape {:?} and type {} has {stored}",
                    shown(self.name),
                    self.shape,
                    dtype.name()
                );
                Err(Problem::malformed(KIND, what))
            }
        }
    }

    /// The tensor with its numbers, by another name.
    pub(super) fn to_tensor(&self, name: &str) -> Result<Tensor, Problem> {
        let Some(dtype) = self.dtype else {
            let what = format!("the tensor {} has numbers of an unusual type", shown(self.name));
            let why = "only those of 8 bits and more are read, and no text; convert it to float32";
            return Err(Problem::refused(what, why));
        };
        if let Some(place) = &self.place {
            let size = size_in_bytes(&self.shape, dtype).unwrap_or(usize::MAX);
            let numbers = place.part(size as u64, self.name)?;
            return Tensor::new(KIND, name, self.shape.clone(), dtype, numbers);
        }
        // One list of numbers stays where it is, several are joined.
        let (mut bytes, mut whole) = (Vec::new(), None);
        let mut fields = self.message.fields()?;
        while let Some(field) = fields.read()? {
            match field.number {
                RAW => join(&mut whole, &mut bytes, field.part()?)?,
                FLOATS => join(&mut whole, &mut bytes, field.fixed(4)?)?,
                DOUBLES => join(&mut whole, &mut bytes, field.fixed(8)?)?,
                SHORT_INTS | INTS | UNSIGNED => field.ints(|number| {
                    let whole = number.to_le_bytes();
                    let (kept, lost) = whole.split_at(dtype.size());
                    // What is lost of a number that fits is its sign at most.
                    let fits = [0, 0xff].iter().any(|sign| lost.iter().all(|byte| byte == sign));
                    if !fits {
                        let what = format!(
                            "tensor {} of type {} has the number {number}",
                            shown(self.name),
                            dtype.name()
                        );
                        return Err(Problem::malformed(KIND, what));
                    }
                    bytes.extend_from_slice(kept);
                    Ok(())
                })?,
                _ => {}
            }
        }
        let numbers = match whole {
            Some(whole) => Numbers::from(whole),
            None => Numbers::from(bytes),
        };
        Tensor::new(KIND, name, self.shape.clone(), dtype, numbers)
    }

    /// Its texts.
    pub(super) fn texts(&self) -> Result<Vec<String>, Problem> {
        let count: usize = self.shape.iter().product();
        let mut texts = Vec::new();
        let mut fields = self.message.fields()?;
        while let Some(field) = fields.read()? {
            if field.number == TEXTS && texts.len() <= count {
                texts.push(field.text()?.to_owned());
            }
        }
        if texts.len() == count && self.is_text && self.place.is_none() {
            return Ok(texts);
        }
        let what = format!("tensor {} of {count} texts has {}", shown(self.name), texts.len());
        Err(Problem::malformed(KIND, what))
    }
}

/// The most entries that say where numbers lie; the standard knows five.
const MOST_ENTRIES: usize = 16;

/// The `TensorProto.DataType` of texts, and the field of `TensorProto` that holds them.
const TEXT: i64 = 8;
const TEXTS: u64 = 6;

/// Adds numbers to those before, if there are any.
fn join(whole: &mut Option<Part>, bytes: &mut Vec<u8>, more: Part) -> Result<(), Problem> {
    if more.size() == 0 {
        return Ok(());
    }
    if whole.is_none() && bytes.is_empty() {
        *whole = Some(more);
        return Ok(());
    }
    if let Some(first) = whole.take() {
        *bytes = first.read()?;
    }
    bytes.extend(more.read()?);
    Ok(())
}

/// Fields of `TensorProto` that hold numbers.
const FLOATS: u64 = 4;
const SHORT_INTS: u64 = 5;
const INTS: u64 = 7;
const RAW: u64 = 9;
const DOUBLES: u64 = 10;
const UNSIGNED: u64 = 11;

/// The field that holds numbers of a type, if they are not raw bytes.
fn field_of(dtype: ElementType) -> u64 {
    match dtype {
        ElementType::F32 => FLOATS,
        ElementType::F64 => DOUBLES,
        ElementType::I64 => INTS,
        ElementType::U64 | ElementType::U32 => UNSIGNED,
        _ => SHORT_INTS,
    }
}

/// `TensorProto.DataType`.
pub(super) fn dtype(number: i64) -> Option<ElementType> {
    Some(match number {
        1 => ElementType::F32,
        2 => ElementType::U8,
        3 => ElementType::I8,
        4 => ElementType::U16,
        5 => ElementType::I16,
        6 => ElementType::I32,
        7 => ElementType::I64,
        9 => ElementType::Bool,
        10 => ElementType::F16,
        11 => ElementType::F64,
        12 => ElementType::U32,
        13 => ElementType::U64,
        16 => ElementType::Bf16,
        _ => return None,
    })
}

/// The count of a tensor's numbers, and their field; of raw ones the count of bytes.
#[derive(Clone, Copy, Default)]
struct StoredCount {
    field: Option<u64>,
    numbers: usize,
}

impl StoredCount {
    fn count(&mut self, field: Field<'_>) -> Result<(), Problem> {
        let numbers = match field.number {
            RAW => field.part()?.size() as usize,
            FLOATS => field.fixed(4)?.size() as usize / 4,
            DOUBLES => field.fixed(8)?.size() as usize / 8,
            SHORT_INTS | INTS | UNSIGNED => field.count_ints()?,
            _ => return Ok(()),
        };
        // An empty list beside the numbers is no second place for them.
        if numbers == 0 {
            return Ok(());
        }
        if self.field.is_some_and(|before| before != field.number || before == RAW) {
            return Err(Problem::malformed(KIND, "a tensor has its numbers in two places"));
        }
        self.field = Some(field.number);
        self.numbers += numbers;
        Ok(())
    }
}

impl std::fmt::Display for StoredCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = match self.field {
            None => return f.write_str("no numbers"),
            Some(RAW) => return f.write_str(&counted(self.numbers as u64, "byte")),
            Some(FLOATS) => "float_data",
            Some(DOUBLES) => "double_data",
            Some(SHORT_INTS) => "int32_data",
            Some(INTS) => "int64_data",
            Some(_) => "uint64_data",
        };
        write!(f, "{} in {place}", counted(self.numbers as u64, "number"))
    }
}

/// Appends a dimension, up to the limit.
pub(super) fn push_dimension<T>(shape: &mut Vec<T>, size: T) -> Result<(), Problem> {
    if shape.len() == MOST_DIMENSIONS {
        let (what, most) = ("the number of dimensions of a tensor", MOST_DIMENSIONS as u64);
        return Err(Problem::Limit { what, found: most + 1, most });
    }
    shape.push(size);
    Ok(())
}
