//! The names that may occur in a pickle.
//!
//! They are those that `torch.load(weights_only=True)` allows
//! ([`torch/_weights_only_unpickler.py`](https://github.com/pytorch/pytorch/blob/v2.9.0/torch/_weights_only_unpickler.py)),
//! and classes of plain data that people put beside weights: those of NumPy's scalars and arrays, of
//! dates, paths and settings. None of them is ever called.

use crate::ElementType;

/// A set, in words.
pub(super) const SET: &str = "a set";

/// A queue, in words.
pub(super) const DEQUE: &str = "a queue";

/// A dictionary of counts, in words.
pub(super) const COUNTER: &str = "a dictionary of counts";

/// An array of NumPy, in words.
pub(super) const ARRAY: &str = "an array of NumPy";

/// A name that may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// A dictionary in the order it was filled.
    Dictionary,
    /// A dictionary that makes missing items.
    DefaultDictionary,
    /// Makes plain data that no tensor needs: what it is in words.
    Plain(&'static str),
    /// The class of tensors.
    TensorClass,
    /// The class of parameters.
    ParameterClass,
    /// Makes a tensor of a storage of its own type.
    Tensor,
    /// Makes a tensor of this type of a storage of bytes.
    TypedTensor,
    /// Makes a parameter of a tensor.
    Parameter,
    /// Makes a tensor with attributes by calling one of the others.
    WithAttributes,
    /// Makes a tensor whose numbers are not read.
    Unread(Unread),
    /// A storage of numbers of a type.
    Storage(ElementType),
    /// A storage of numbers of a type that is not read, each of this many bytes.
    OtherStorage(u64),
    /// A storage of bytes.
    UntypedStorage,
    /// A type of numbers.
    ElementType(ElementType),
    /// A type of numbers that are not read.
    OtherDtype,
    /// A name that is only named, such as that of a type of Python.
    Name,
}

/// A kind of tensor whose numbers are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Quantised,
    Sparse,
    Meta,
    Nested,
    Foreign,
}

impl Unread {
    /// In words, and how to make one of it that is read.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Quantised => ("is quantised", "save it as numbers, with tensor.dequantize()"),
            Self::Sparse => ("is sparse", "save it whole, with tensor.to_dense()"),
            Self::Meta => {
                ("is of the device meta and has no numbers", "save it after its numbers are loaded")
            }
            Self::Nested => {
                ("is made of several tensors", "save each under a name of its own, with unbind()")
            }
            Self::Foreign => (
                "is of a device or class with a way of its own to be saved",
                "save it as a plain tensor, with tensor.detach().cpu()",
            ),
        }
    }
}

impl Global {
    /// The name in this module, if it is on the list.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        match module {
            "torch" => Self::of_torch(name),
            "torch._utils" | "torch._tensor" => Self::of_rebuilding(name),
            "torch.storage" => (name == "UntypedStorage").then_some(Self::UntypedStorage),
            "torch.nn.parameter" => (name == "Parameter").then_some(Self::ParameterClass),
            "torch.serialization" => (name == "_get_layout").then_some(Self::Plain("an object")),
            // Python 2 has another name for it.
            "builtins" | "__builtin__" => Self::of_python(name),
            "numpy"
            | "numpy.core.multiarray"
            | "numpy.core.numeric"
            | "numpy._core.multiarray"
            | "numpy._core.numeric" => Self::of_numpy(name),
            _ => Self::of_library(module, name),
        }
    }

    /// Returns true if to call it makes a tensor.
    pub(super) fn makes_tensors(self) -> bool {
        matches!(
            self,
            Self::Tensor
                | Self::TypedTensor
                | Self::Parameter
                | Self::WithAttributes
                | Self::Unread(_)
        )
    }

    fn of_rebuilding(name: &str) -> Option<Self> {
        Some(match name {
            "_rebuild_tensor" | "_rebuild_tensor_v2" => Self::Tensor,
            "_rebuild_tensor_v3" => Self::TypedTensor,
            "_rebuild_parameter" | "_rebuild_parameter_with_state" => Self::Parameter,
            "_rebuild_from_type_v2" => Self::WithAttributes,
            "_rebuild_qtensor" => Self::Unread(Unread::Quantised),
            "_rebuild_sparse_tensor" => Self::Unread(Unread::Sparse),
            "_rebuild_meta_tensor_no_storage" => Self::Unread(Unread::Meta),
            "_rebuild_nested_tensor" => Self::Unread(Unread::Nested),
            "_rebuild_wrapper_subclass"
            | "_rebuild_device_tensor_from_numpy"
            | "_rebuild_device_tensor_from_cpu_tensor"
            | "_rebuild_xla_tensor" => Self::Unread(Unread::Foreign),
            _ => return None,
        })
    }

    /// A type, the storage of one, or another name in the module `torch`.
    fn of_torch(name: &str) -> Option<Self> {
        const TYPES: [(&str, &str, ElementType); 13] = [
            ("float64", "DoubleStorage", ElementType::F64),
            ("float32", "FloatStorage", ElementType::F32),
            ("float16", "HalfStorage", ElementType::F16),
            ("bfloat16", "BFloat16Storage", ElementType::Bf16),
            ("int64", "LongStorage", ElementType::I64),
            ("int32", "IntStorage", ElementType::I32),
            ("int16", "ShortStorage", ElementType::I16),
            ("int8", "CharStorage", ElementType::I8),
            ("uint8", "ByteStorage", ElementType::U8),
            ("bool", "BoolStorage", ElementType::Bool),
            // These have no storage of their own.
            ("uint64", "", ElementType::U64),
            ("uint32", "", ElementType::U32),
            ("uint16", "", ElementType::U16),
        ];
        let found = TYPES.iter().find_map(|&(dtype, storage, of)| match name {
            "" => None,
            _ if name == dtype => Some(Self::ElementType(of)),
            _ if name == storage => Some(Self::Storage(of)),
            _ => None,
        });
        found.or_else(|| Self::of_torch_besides(name))
    }

    fn of_torch_besides(name: &str) -> Option<Self> {
        Some(match name {
            "Size" | "device" => Self::Plain("an object"),
            "Tensor" => Self::TensorClass,
            "UntypedStorage" => Self::UntypedStorage,
            "per_tensor_affine"
            | "per_tensor_symmetric"
            | "per_channel_affine"
            | "per_channel_symmetric"
            | "per_channel_affine_float_qparams" => Self::Name,
            "complex32" | "complex64" | "complex128" | "quint8" | "qint8" | "qint32"
            | "quint4x2" | "quint2x4" => Self::OtherDtype,
            _ if ["float8_", "float4_", "bits"].iter().any(|start| name.starts_with(start)) => {
                Self::OtherDtype
            }
            _ if is_small_integer(name) => Self::OtherDtype,
            "ComplexDoubleStorage" => Self::OtherStorage(16),
            "ComplexFloatStorage" => Self::OtherStorage(8),
            "QInt32Storage" => Self::OtherStorage(4),
            "QUInt8Storage" | "QInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => {
                Self::OtherStorage(1)
            }
            _ => return None,
        })
    }

    fn of_python(name: &str) -> Option<Self> {
        Some(match name {
            "set" | "frozenset" => Self::Plain(SET),
            "bytes" | "bytearray" => Self::Plain("bytes"),
            "complex" => Self::Plain("a number"),
            "slice" | "range" | "xrange" => Self::Plain("an object"),
            "int" | "long" | "float" | "bool" | "str" | "unicode" | "list" | "tuple" | "dict"
            | "object" | "type" | "Ellipsis" | "NotImplemented" => Self::Name,
            _ => return None,
        })
    }

    fn of_numpy(name: &str) -> Option<Self> {
        Some(match name {
            "dtype" => Self::Plain("an object"),
            "scalar" => Self::Plain("a number"),
            "_reconstruct" | "_frombuffer" => Self::Plain(ARRAY),
            "ndarray" => Self::Name,
            _ => return None,
        })
    }

    /// Classes of plain data in Python's library.
    fn of_library(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::Dictionary,
            ("collections", "defaultdict") => Self::DefaultDictionary,
            ("collections", "Counter") => Self::Plain(COUNTER),
            ("collections", "deque") => Self::Plain(DEQUE),
            // The bytes of an older protocol.
            ("_codecs", "encode") => Self::Plain("bytes"),
            ("argparse", "Namespace")
            | ("types", "SimpleNamespace")
            | ("datetime", "datetime" | "date" | "time" | "timedelta" | "timezone")
            | ("decimal", "Decimal")
            | ("fractions", "Fraction")
            | ("uuid", "UUID") => Self::Plain("an object"),
            (
                // Python 3.13 has them in a module of their own.
                "pathlib" | "pathlib._local",
                "Path" | "PosixPath" | "WindowsPath" | "PurePath" | "PurePosixPath"
                | "PureWindowsPath",
            ) => Self::Plain("a path"),
            _ => return None,
        })
    }
}

/// `int1` to `int7` and `uint1` to `uint7`.
fn is_small_integer(name: &str) -> bool {
    let bits = name.strip_prefix('u').unwrap_or(name).strip_prefix("int");
    bits.is_some_and(|bits| matches!(bits.as_bytes(), [b'1'..=b'7']))
}
