//! The tensors of an encoded matrix in a file.

use std::borrow::Cow;

use fireclay_files::Dtype;

use super::codec::{LazyTensor, RawTensor, give_values};
use crate::{EncodedMatrix, Encoding, NamedTensor, Numbers, ParameterPath, Scales};

/// Suffixes of a matrix' path in the names of the tensors that belong to it.
pub(super) const SCALES: &str = ".scales";
pub(super) const CODEBOOK: &str = ".codebook";
pub(super) const VALUES: &str = ".values";

/// The type that the tensor of a matrix has in this encoding.
pub(super) fn dtype(encoding: Encoding) -> Dtype {
    match encoding {
        Encoding::F16 => Dtype::F16,
        Encoding::Bf16 => Dtype::BF16,
        Encoding::Int8 { .. } => Dtype::I8,
        Encoding::Int4 { .. } | Encoding::Codebook { .. } | Encoding::Sparse => Dtype::U8,
    }
}

/// The shape that it has: a number a weight, or the bytes of each row.
pub(super) fn shape(encoding: Encoding, outputs: usize, inputs: usize) -> Option<Vec<usize>> {
    let columns = match encoding {
        Encoding::F16 | Encoding::Bf16 | Encoding::Int8 { .. } => inputs,
        _ => encoding.row_bytes(inputs)?,
    };
    Some(vec![outputs, columns])
}

/// Returns the suffix and the shape of the tensor of `F32` beside it. Of a sparse matrix only the
/// matrix says how many values it keeps.
pub(super) fn beside(
    encoding: Encoding,
    outputs: usize,
    inputs: usize,
    kept: usize,
) -> Option<(&'static str, Vec<usize>)> {
    match encoding {
        Encoding::F16 | Encoding::Bf16 => None,
        Encoding::Int8 { .. } | Encoding::Int4 { .. } => {
            Some((SCALES, vec![outputs, encoding.groups(inputs)?]))
        }
        Encoding::Codebook { bits } => Some((CODEBOOK, vec![1 << bits.min(8)])),
        Encoding::Sparse => Some((VALUES, vec![kept])),
    }
}

/// The tensors of a matrix, to be written.
pub(super) fn tensors<'a>(path: ParameterPath, matrix: &'a EncodedMatrix) -> Vec<LazyTensor<'a>> {
    let EncodedMatrix { outputs, inputs, numbers } = matrix;
    let encoding = matrix.encoding();
    let name = path.to_string();
    let (kept, values): (usize, &[f32]) = match numbers {
        Numbers::F16(_) | Numbers::Bf16(_) => (0, &[]),
        Numbers::Int8 { scales, .. } | Numbers::Int4 { scales, .. } => (0, &scales.values),
        Numbers::Codebook { book, .. } => (0, book),
        Numbers::Sparse { values, .. } => (values.len(), values),
    };
    let mut all = Vec::new();
    if let Some((suffix, shape)) = beside(encoding, *outputs, *inputs, kept) {
        let name = Cow::Owned(format!("{name}{suffix}"));
        let bytes = Box::new(move |each: &mut super::Piece<'_>| give_values(values, each));
        all.push(LazyTensor { name, dtype: Dtype::F32, shape, bytes });
    }
    all.insert(
        0,
        LazyTensor {
            name: Cow::Owned(name),
            dtype: dtype(encoding),
            shape: shape(encoding, *outputs, *inputs).unwrap_or_default(),
            bytes: Box::new(|each| each(&bytes_of(numbers))),
        },
    );
    all
}

/// A matrix' own tensor, and the one beside it.
pub(super) fn parts(
    path: ParameterPath,
    matrix: EncodedMatrix,
) -> (RawTensor, Option<NamedTensor>) {
    let (encoding, name) = (matrix.encoding(), path.to_string());
    let EncodedMatrix { outputs, inputs, numbers } = matrix;
    let bytes = bytes_of(&numbers).into_owned();
    let values = match numbers {
        Numbers::F16(_) | Numbers::Bf16(_) => Vec::new(),
        Numbers::Int8 { scales, .. } | Numbers::Int4 { scales, .. } => scales.values,
        Numbers::Codebook { book: values, .. } | Numbers::Sparse { values, .. } => values,
    };
    let beside = beside(encoding, outputs, inputs, values.len());
    let beside = beside.map(|(suffix, shape)| NamedTensor {
        name: format!("{name}{suffix}"),
        shape,
        values,
    });
    let shape = shape(encoding, outputs, inputs).unwrap_or_default();
    (RawTensor { name, shape, bytes }, beside)
}

/// The bytes of a matrix' own tensor.
fn bytes_of(numbers: &Numbers) -> Cow<'_, [u8]> {
    match numbers {
        Numbers::F16(bits) | Numbers::Bf16(bits) => {
            Cow::Owned(bits.iter().flat_map(|bits| bits.to_le_bytes()).collect())
        }
        Numbers::Int8 { codes, .. } => {
            Cow::Owned(codes.iter().map(|code| code.cast_unsigned()).collect())
        }
        Numbers::Int4 { codes, .. }
        | Numbers::Codebook { codes, .. }
        | Numbers::Sparse { kept: codes, .. } => Cow::Borrowed(codes),
    }
}

/// The numbers of 16 bits in these bytes.
fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks::<2>().0.iter().map(|word| u16::from_le_bytes(*word)).collect()
}

/// The matrix of its own tensor and of the numbers beside it.
pub(super) fn matrix(
    encoding: Encoding,
    outputs: usize,
    inputs: usize,
    tensor: RawTensor,
    beside: Vec<f32>,
) -> EncodedMatrix {
    let RawTensor { bytes, .. } = tensor;
    let numbers = match encoding {
        Encoding::F16 => Numbers::F16(words(&bytes)),
        Encoding::Bf16 => Numbers::Bf16(words(&bytes)),
        Encoding::Int8 { group } => Numbers::Int8 {
            codes: bytes.into_iter().map(u8::cast_signed).collect(),
            scales: Scales { group, values: beside },
        },
        Encoding::Int4 { group } => {
            Numbers::Int4 { codes: bytes, scales: Scales { group, values: beside } }
        }
        Encoding::Codebook { bits } => Numbers::Codebook { bits, codes: bytes, book: beside },
        Encoding::Sparse => Numbers::Sparse { kept: bytes, values: beside },
    };
    EncodedMatrix { outputs, inputs, numbers }
}
