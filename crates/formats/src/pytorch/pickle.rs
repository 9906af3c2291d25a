//! Pickles, as data.
//!
//! A pickle is a program that a machine with a stack runs to build an object
//! ([`pickletools`](https://github.com/python/cpython/blob/3.13/Lib/pickletools.py) explains each
//! instruction). Python's machine lets it call any function there is. This one knows only the
//! instructions that build plain data, has a short list of names that may occur, and calls nothing:
//! a call becomes a [`Value::Call`], which says what was to be called with what.
//!
//! Values refer to each other by number, so that one that is used a thousand times is there once,
//! one that contains itself is harmless, and nesting costs no stack, however deep.

use crate::Dtype;

/// A number of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) u32);

/// What a pickle builds.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// `None`.
    None,
    /// An integer of 64 bits.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dictionary, in the order it was filled.
    Dict(Vec<(Id, Id)>),
    /// A name of the list.
    Global(Global),
    /// What a call of this name with this tuple would give.
    Call(Global, Id),
    /// What the program that wrote the pickle keeps outside it under this tuple: a storage.
    Outside(Id),
    /// Data that no tensor needs, in words.
    Other(&'static str),
}

impl Value<'_> {
    /// In words, for messages.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Value::None => "nothing",
            Value::Int(_) => "a number",
            Value::Text(_) => "text",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Global(_) => "a name",
            Value::Call(Global::Tensor | Global::TypedTensor | Global::Parameter, _) => "a tensor",
            Value::Call(..) => "an object",
            Value::Outside(_) => "a storage",
            Value::Other(what) => what,
        }
    }
}

/// A name that may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// An ordered dictionary.
    OrderedDict,
    /// A dictionary of counts, such as the milestones of a learning rate.
    Counter,
    /// A device.
    Device,
    /// A shape.
    Size,
    /// Makes a tensor of a storage of its own type.
    Tensor,
    /// Makes a tensor of this type of a storage of bytes.
    TypedTensor,
    /// Makes a parameter of a tensor.
    Parameter,
    /// A storage of numbers of a type.
    Storage(Dtype),
    /// A storage of bytes.
    UntypedStorage,
    /// A type of numbers.
    Dtype(Dtype),
}

impl Global {
    /// The name in this module, if it is on the list.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("collections", "Counter") => Self::Counter,
            ("torch", "device") => Self::Device,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::TypedTensor,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("torch", "UntypedStorage") | ("torch.storage", "UntypedStorage") => {
                Self::UntypedStorage
            }
            ("torch", name) => return Self::of_type(name),
            _ => return None,
        })
    }

    /// A type, or the storage of one, by its name in the module `torch`.
    fn of_type(name: &str) -> Option<Self> {
        const TYPES: [(&str, &str, Dtype); 13] = [
            ("float64", "DoubleStorage", Dtype::F64),
            ("float32", "FloatStorage", Dtype::F32),
            ("float16", "HalfStorage", Dtype::F16),
            ("bfloat16", "BFloat16Storage", Dtype::Bf16),
            ("int64", "LongStorage", Dtype::I64),
            ("int32", "IntStorage", Dtype::I32),
            ("int16", "ShortStorage", Dtype::I16),
            ("int8", "CharStorage", Dtype::I8),
            ("uint8", "ByteStorage", Dtype::U8),
            ("bool", "BoolStorage", Dtype::Bool),
            // These have no storage of their own.
            ("uint64", "", Dtype::U64),
            ("uint32", "", Dtype::U32),
            ("uint16", "", Dtype::U16),
        ];
        TYPES.iter().find_map(|&(dtype, storage, of)| match name {
            "" => None,
            _ if name == dtype => Some(Self::Dtype(of)),
            _ if name == storage => Some(Self::Storage(of)),
            _ => None,
        })
    }
}

/// What a pickle has built.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    /// All values.
    pub(super) values: Vec<Value<'a>>,
    /// That of the whole pickle.
    pub(super) root: Id,
}

impl<'a> Pickle<'a> {
    /// The value of the whole pickle.
    pub(super) fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    /// A value.
    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// The items of a tuple.
    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Text.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An integer that counts something.
    pub(super) fn count(&self, id: Id) -> Option<u64> {
        match self.get(id) {
            &Value::Int(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }
}

/// What to do with a file that is refused.
pub(super) const ADVICE: &str = "only dictionaries of tensors and plain data are read, and nothing \
    is executed. If you trust the file, load it in Python and save its tensors alone: \
    torch.save(model.state_dict(), path)";
