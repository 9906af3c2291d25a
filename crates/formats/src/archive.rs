//! The contents of a file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::Problem;
use crate::error::shown;
use crate::numbers::Numbers;
use fireclay_terminal::counted;

/// The contents of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Archive {
    /// The kind of file.
    pub kind: Kind,
    /// Its tensors, in the order of the file.
    pub tensors: Vec<Tensor>,
    /// The network, if the file describes one.
    pub network: Option<Network>,
    /// The layout of the weights of dense layers, if the file or its kind shows it.
    pub layout: Option<Layout>,
    /// The names of the classes or outputs, if the file has them: two classes for a single output,
    /// else as many as there are outputs.
    pub labels: Option<Vec<String>>,
    /// Names of classes that stand beside the weights, each list by what the file calls it: they may
    /// not belong to this network.
    pub class_names: Vec<(String, Vec<String>)>,
    /// Other files that hold numbers of the tensors.
    pub files: Vec<PathBuf>,
    /// The meaning of the outputs, if the file shows it by more than its last activation: by the
    /// loss it was trained with, or by the kind of estimator that it is of.
    pub task: Option<OutputKind>,
    /// Notes for a person: what was found and left out, and why.
    pub notes: Vec<String>,
    /// How to save the file so that it describes its network, if it nearly does.
    pub advice: Option<String>,
}

impl Archive {
    /// Of tensors of which nothing is known but their kind of file.
    pub(crate) fn new(kind: Kind, tensors: Vec<Tensor>) -> Self {
        let layout = kind.layout();
        Self {
            kind,
            tensors,
            network: None,
            layout,
            labels: None,
            class_names: Vec::new(),
            files: Vec::new(),
            task: None,
            notes: Vec::new(),
            advice: None,
        }
    }
}

/// The meaning of a network's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// Exactly one of the labels.
    Classification,
    /// Any number of the labels.
    MultiLabel,
    /// A number for each output.
    Regression,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `torch.save`, in a zip archive or as a legacy pickle.
    PyTorch,
    /// A safetensors file.
    Safetensors,
    /// A Keras 3 model, `.keras`.
    Keras,
    /// Keras weights or a legacy Keras model in HDF5.
    KerasHdf5,
    /// Arrays of NumPy, `.npz` or `.npy`, such as those of a scikit-learn network.
    NumPy,
    /// An ONNX graph.
    Onnx,
    /// A Burn record, `.bpk`.
    Burn,
}

impl Kind {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::PyTorch => "PyTorch",
            Self::Safetensors => "safetensors",
            Self::Keras => "Keras",
            Self::KerasHdf5 => "Keras HDF5",
            Self::NumPy => "NumPy",
            Self::Onnx => "ONNX",
            Self::Burn => "Burn",
        }
    }

    /// Returns the layout of dense weights in such files, if one program alone writes them.
    fn layout(self) -> Option<Layout> {
        match self {
            Self::PyTorch | Self::Onnx => Some(Layout::OutIn),
            Self::Keras | Self::KerasHdf5 => Some(Layout::InOut),
            // Burn has both, by the `LinearLayout` of a layer.
            Self::Safetensors | Self::NumPy | Self::Burn => None,
        }
    }
}

/// The order of the weights of a dense layer: `[outputs, inputs]` or `[inputs, outputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[outputs, inputs]`, PyTorch's.
    OutIn,
    /// `[inputs, outputs]`, that of Keras, scikit-learn and Burn.
    InOut,
}

/// The type of a tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// IEEE 754, 64 bits.
    F64,
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 16 bits.
    F16,
    /// The upper half of an `F32`.
    Bf16,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 64 bits.
    U64,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 8 bits.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl ElementType {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Returns true if the numbers are of floating point.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }

    /// The name in messages, such as `f32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }
}

/// A tensor of a file: what it is called, and its numbers row by row.
#[derive(Clone)]
pub struct Tensor {
    /// Its name, as the file has it.
    pub name: String,
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// The type of its numbers.
    pub dtype: ElementType,
    /// As many as shape and type say.
    numbers: Numbers,
}

impl Tensor {
    /// A tensor of these numbers: bytes, the lowest of each number first, or a part of a file that
    /// holds them so.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if there are not as many bytes as shape and type say.
    pub(crate) fn new(
        kind: &'static str,
        name: impl Into<String>,
        shape: Vec<usize>,
        dtype: ElementType,
        numbers: impl Into<Numbers>,
    ) -> Result<Self, Problem> {
        let name = name.into();
        let numbers = numbers.into();
        let expected = size_in_bytes(&shape, dtype).map(|size| size as u64);
        let found = numbers.size().or(expected);
        if expected.is_none() || found != expected {
            let what = format!(
                "tensor {} of shape {shape:?} and type {} has {}",
                shown(&name),
                dtype.name(),
                counted(found.unwrap_or_default(), "byte")
            );
            return Err(Problem::malformed(kind, what));
        }
        Ok(Self { name, shape, dtype, numbers })
    }

    /// A tensor of zeros of type `f32`.
    pub fn zeros(name: impl Into<String>, shape: Vec<usize>) -> Self {
        let bytes = vec![0; shape.iter().product::<usize>() * ElementType::F32.size()];
        Self { name: name.into(), shape, dtype: ElementType::F32, numbers: bytes.into() }
    }

    /// A tensor of these numbers, of type `f32`.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if there are not as many numbers as the shape says.
    pub fn from_f32(
        name: impl Into<String>,
        shape: Vec<usize>,
        values: &[f32],
    ) -> Result<Self, Problem> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new("made", name, shape, ElementType::F32, bytes)
    }

    /// Returns the number of its values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its bytes, the lowest byte of each number first.
    ///
    /// # Errors
    ///
    /// [`Problem::Io`] if they are in a file that can no longer be read.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, Problem> {
        Ok(self.numbers.bytes(self.dtype.size())?)
    }

    /// Gives `each` its numbers in pieces, in order, so that not all have to be in memory. They are
    /// `f64`, which holds every type here exactly but for the largest integers.
    ///
    /// # Errors
    ///
    /// As [`Self::bytes`].
    pub fn pieces(&self, mut each: impl FnMut(&[f64])) -> Result<(), Problem> {
        const MOST: usize = 8192;
        let width = self.dtype.size();
        let mut numbers = Vec::with_capacity(MOST);
        self.numbers.pieces(width, &mut |bytes| {
            for bytes in bytes.chunks(MOST * width) {
                numbers.clear();
                decode(self.dtype, bytes, &mut numbers);
                each(&numbers);
            }
        })?;
        Ok(())
    }

    /// Its numbers as `f64`, which holds every type here exactly but for the largest integers.
    ///
    /// # Errors
    ///
    /// As [`Self::bytes`].
    pub fn to_f64(&self) -> Result<Vec<f64>, Problem> {
        let mut numbers = Vec::with_capacity(self.count());
        self.pieces(|piece| numbers.extend_from_slice(piece))?;
        Ok(numbers)
    }

    /// Its numbers as `f32`, each rounded to the nearest.
    ///
    /// # Errors
    ///
    /// As [`Self::bytes`].
    pub fn to_f32(&self) -> Result<Vec<f32>, Problem> {
        let mut numbers = Vec::with_capacity(self.count());
        self.pieces(|piece| numbers.extend(piece.iter().map(|&value| value as f32)))?;
        Ok(numbers)
    }
}

/// Two whose numbers cannot be read are not the same.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        let is_alike =
            (&self.name, &self.shape, self.dtype) == (&other.name, &other.shape, other.dtype);
        is_alike && matches!((self.bytes(), other.bytes()), (Ok(a), Ok(b)) if a == b)
    }
}

/// Appends the numbers of these bytes, the lowest byte of each first.
fn decode(dtype: ElementType, bytes: &[u8], to: &mut Vec<f64>) {
    fn each<const N: usize>(bytes: &[u8], to: &mut Vec<f64>, number: impl Fn([u8; N]) -> f64) {
        to.extend(bytes.as_chunks::<N>().0.iter().map(|&bytes| number(bytes)));
    }
    match dtype {
        ElementType::F64 => each(bytes, to, f64::from_le_bytes),
        ElementType::F32 => each(bytes, to, |b| f64::from(f32::from_le_bytes(b))),
        ElementType::F16 => each(bytes, to, |b| half(u16::from_le_bytes(b))),
        ElementType::Bf16 => {
            each(bytes, to, |b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)));
        }
        ElementType::I64 => each(bytes, to, |b| i64::from_le_bytes(b) as f64),
        ElementType::I32 => each(bytes, to, |b| f64::from(i32::from_le_bytes(b))),
        ElementType::I16 => each(bytes, to, |b| f64::from(i16::from_le_bytes(b))),
        ElementType::I8 => each(bytes, to, |b| f64::from(i8::from_le_bytes(b))),
        ElementType::U64 => each(bytes, to, |b| u64::from_le_bytes(b) as f64),
        ElementType::U32 => each(bytes, to, |b| f64::from(u32::from_le_bytes(b))),
        ElementType::U16 => each(bytes, to, |b| f64::from(u16::from_le_bytes(b))),
        ElementType::U8 | ElementType::Bool => each(bytes, to, |b: [u8; 1]| f64::from(b[0])),
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}{:?}", self.name, self.dtype.name(), self.shape)
    }
}

/// The bytes of a tensor, if they can be counted.
pub(crate) fn size_in_bytes(shape: &[usize], dtype: ElementType) -> Option<usize> {
    shape.iter().try_fold(dtype.size(), |bytes, &size| bytes.checked_mul(size))
}

/// A number of IEEE 754's 16 bits.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

/// A network that is one layer after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The shape of one sample, if the file says it.
    pub input_shape: Option<Vec<usize>>,
    /// The layers that a sample passes, in order. Tensors are named as in [`Archive::tensors`].
    pub layers: Vec<Layer>,
}

/// A step of a [`Network`].
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// To one row of numbers.
    Flatten,
    /// `scale x + offset`, the same for every feature.
    Rescale {
        /// The factor.
        scale: f64,
        /// The offset.
        offset: f64,
    },
    /// `scale x + offset`, each feature by its own numbers.
    Affine {
        /// Tensor of the factors: one for each feature, or one for all. None is 1.
        scale: Option<String>,
        /// Tensor of what is added, likewise. None is 0.
        offset: Option<String>,
    },
    /// `x W + b`.
    Dense {
        /// Tensor of the weights.
        weight: String,
        /// Tensor of the biases.
        bias: Option<String>,
        /// The layout of the weights.
        layout: Layout,
    },
    /// Normalisation over the batch or over the features.
    Norm {
        /// Which kind.
        kind: Norm,
        /// Tensor of the factors.
        scale: Option<String>,
        /// Tensor of what is added.
        shift: Option<String>,
        /// Tensor of the running means; of batch norms only.
        mean: Option<String>,
        /// Tensor of the running variances; of batch norms only.
        variance: Option<String>,
        /// The number added to the variance.
        epsilon: f64,
    },
    /// A function of each number, or softmax over them.
    Activation(Activation),
    /// `x` where positive, else `slope x`, each feature by its own slope.
    Prelu {
        /// Tensor of the slopes: one for each feature, or one for all.
        slope: String,
    },
    /// `x + f(x)`.
    Residual(
        /// `f`, in order; as many numbers come out as go in.
        Vec<Layer>,
    ),
    /// Sets this share of the numbers to zero in training.
    Dropout(f64),
}

/// A kind of normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Per feature, over the batch.
    Batch,
    /// Per sample, over the features.
    Layer,
    /// Per sample, by the root of the mean square of the features; neither their mean is taken off nor
    /// anything added.
    Rms,
}

/// A function by its usual name: `identity`, `relu`, `leaky-relu`, `relu6`, `elu`, `selu`, `gelu`,
/// `gelu-tanh`, `silu`, `mish`, `sigmoid`, `tanh`, `softplus`, `softsign`, `hard-sigmoid`,
/// `hard-swish`, `hard-tanh`, `softmax`, `log-softmax`; a function without such a name by that of
/// the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// The name.
    pub name: String,
    /// Its constants, where they are not those of PyTorch's function of this name: `slope` of
    /// `leaky-relu`, `alpha` of `elu`, and so on.
    pub constants: BTreeMap<String, f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_16_bits() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x3555, 0.333_251_953_125),
            (0x7c00, f64::INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn bytes_must_be_as_many_as_the_shape_says() {
        let tensor = |shape: &[usize], bytes| {
            Tensor::new("test", "w", shape.to_vec(), ElementType::F32, vec![0; bytes])
        };
        assert!(tensor(&[2, 3], 24).is_ok());
        assert!(tensor(&[2, 3], 23).is_err());
        assert!(tensor(&[usize::MAX, 2], 8).is_err());
        let hostile = "\u{1b}[2J\n".repeat(100_000);
        let error = Tensor::new("test", hostile, vec![1], ElementType::F32, vec![]).unwrap_err();
        let message = error.to_string();
        assert!(message.len() < 1000 && !message.contains(['\u{1b}', '\n']), "{message}");
        assert_eq!(tensor(&[0, 3], 0).unwrap().to_f32().unwrap(), [0.0_f32; 0]);
    }
}
