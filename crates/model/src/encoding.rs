//! Weight matrices in fewer bits than `f32`.

use serde::{Deserialize, Serialize};

/// The encoding of a stored weight matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Encoding {
    /// IEEE 754 half precision.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    F16,
    /// The upper half of an `f32`.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    Bf16,
    /// Integers from -128 to 127, with a scale for each group of inputs of each output.
    Int8 {
        /// Inputs that share a scale; at least 1, and a row's last group may be shorter.
        group: usize,
    },
    /// Integers from -8 to 7, with a scale for each group of inputs of each output.
    Int4 {
        /// Inputs that share a scale; at least 1, and a row's last group may be shorter.
        group: usize,
    },
    /// Codes that stand for the numbers of a table, which the whole matrix shares.
    Codebook {
        /// Bits of a code, from 1 to 8; the table has as many numbers as there are codes.
        bits: u8,
    },
    /// The weights that are not zero, and which those are.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    Sparse,
}

/// A weight matrix in an encoding: `outputs` rows of `inputs` numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedMatrix {
    /// Its rows.
    pub outputs: usize,
    /// Its columns.
    pub inputs: usize,
    /// Its numbers.
    pub numbers: Numbers,
}

/// The numbers of a matrix, row by row, each row beginning with a byte of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// [`Encoding::F16`]: the bits of each number.
    F16(Vec<u16>),
    /// [`Encoding::Bf16`]: the bits of each number.
    Bf16(Vec<u16>),
    /// [`Encoding::Int8`]: `code · scale`.
    Int8 {
        /// A code for each weight.
        codes: Vec<i8>,
        /// Scales.
        scales: Scales,
    },
    /// [`Encoding::Int4`]: `code · scale`.
    Int4 {
        /// Two codes a byte in two's complement, the first in its lower half.
        codes: Vec<u8>,
        /// Scales.
        scales: Scales,
    },
    /// [`Encoding::Codebook`]: `book[code]`.
    Codebook {
        /// Bits of a code.
        bits: u8,
        /// Codes one after the other, each from the lowest free bit of a byte on.
        codes: Vec<u8>,
        /// The numbers that the codes stand for, `2^bits` of them.
        book: Vec<f32>,
    },
    /// [`Encoding::Sparse`].
    Sparse {
        /// A bit for each weight, from the lowest of a byte on: whether it is kept.
        kept: Vec<u8>,
        /// The weights that are kept, in order.
        values: Vec<f32>,
    },
}

/// Scales of integer codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Inputs that share a scale.
    pub group: usize,
    /// A scale for each group of each output, `[outputs, groups]`.
    pub values: Vec<f32>,
}

impl Encoding {
    /// Bytes of a row of `inputs` numbers in the matrix' own tensor.
    pub(crate) fn row_bytes(self, inputs: usize) -> Option<usize> {
        let bits = match self {
            Self::F16 | Self::Bf16 => 16,
            Self::Int8 { .. } => 8,
            Self::Int4 { .. } => 4,
            Self::Codebook { bits } => usize::from(bits),
            Self::Sparse => 1,
        };
        Some(inputs.checked_mul(bits)?.div_ceil(8))
    }

    /// Groups of a row of `inputs` numbers, if they have scales.
    pub(crate) fn groups(self, inputs: usize) -> Option<usize> {
        match self {
            Self::Int8 { group } | Self::Int4 { group } => Some(inputs.div_ceil(group.max(1))),
            _ => None,
        }
    }
}

impl EncodedMatrix {
    /// Returns its encoding.
    pub fn encoding(&self) -> Encoding {
        match &self.numbers {
            Numbers::F16(_) => Encoding::F16,
            Numbers::Bf16(_) => Encoding::Bf16,
            Numbers::Int8 { scales, .. } => Encoding::Int8 { group: scales.group },
            Numbers::Int4 { scales, .. } => Encoding::Int4 { group: scales.group },
            Numbers::Codebook { bits, .. } => Encoding::Codebook { bits: *bits },
            Numbers::Sparse { .. } => Encoding::Sparse,
        }
    }

    /// Checks that there are as many numbers as the matrix has, and that scales and tables are finite.
    ///
    /// # Errors
    ///
    /// An [`EncodingError`] that says what is wrong.
    pub fn validate(&self) -> Result<(), EncodingError> {
        let count = self.outputs.checked_mul(self.inputs).ok_or(EncodingError::TooLarge)?;
        let row = self.encoding().row_bytes(self.inputs).ok_or(EncodingError::TooLarge)?;
        let bytes = self.outputs.checked_mul(row).ok_or(EncodingError::TooLarge)?;
        match &self.numbers {
            Numbers::F16(bits) | Numbers::Bf16(bits) => has("numbers", bits.len(), count),
            Numbers::Int8 { codes, scales } => {
                has("codes", codes.len(), count)?;
                self.check_scales(scales)
            }
            Numbers::Int4 { codes, scales } => {
                has("codes", codes.len(), bytes)?;
                self.check_unused_bits(codes, 4)?;
                self.check_scales(scales)
            }
            Numbers::Codebook { bits, codes, book } => {
                if !(1..=8).contains(bits) {
                    return Err(EncodingError::Bits { found: *bits });
                }
                has("codes", codes.len(), bytes)?;
                self.check_unused_bits(codes, usize::from(*bits))?;
                has("numbers of the codebook", book.len(), 1 << bits)?;
                are_finite("codebook", book)
            }
            Numbers::Sparse { kept, values } => {
                has("bytes of kept positions", kept.len(), bytes)?;
                self.check_unused_bits(kept, 1)?;
                let kept = kept.iter().map(|byte| byte.count_ones() as usize).sum();
                has("kept weights", values.len(), kept)
            }
        }
    }

    fn check_scales(&self, scales: &Scales) -> Result<(), EncodingError> {
        if scales.group == 0 {
            return Err(EncodingError::Group);
        }
        has("scales", scales.values.len(), self.outputs * self.inputs.div_ceil(scales.group))?;
        are_finite("scales", &scales.values)
    }

    /// Bits behind the last weight of a row must be zero, so that a matrix has one file.
    fn check_unused_bits(&self, bytes: &[u8], bits: usize) -> Result<(), EncodingError> {
        let used = self.inputs * bits % 8;
        let is_clean = |row: &[u8]| row.last().is_none_or(|last| used == 0 || last >> used == 0);
        let row = (self.inputs * bits).div_ceil(8).max(1);
        if bytes.chunks(row).all(is_clean) { Ok(()) } else { Err(EncodingError::UnusedBits) }
    }

    /// Its numbers, row by row; the matrix has been [validated](Self::validate).
    pub fn decode(&self) -> Vec<f32> {
        let count = self.outputs * self.inputs;
        let mut decoded = Vec::with_capacity(count);
        match &self.numbers {
            Numbers::F16(bits) => decoded.extend(bits.iter().map(|&bits| f16_to_f32(bits))),
            Numbers::Bf16(bits) => {
                decoded.extend(bits.iter().map(|&bits| f32::from_bits(u32::from(bits) << 16)));
            }
            Numbers::Sparse { kept, values } => self.decode_sparse(kept, values, &mut decoded),
            _ => {
                for output in 0..self.outputs {
                    decoded.extend((0..self.inputs).map(|input| self.number(output, input)));
                }
            }
        }
        decoded
    }

    /// The integer code of a weight; 0 in an encoding without.
    pub(crate) fn code_of(&self, output: usize, input: usize) -> i8 {
        match &self.numbers {
            Numbers::Int8 { codes, .. } => codes[output * self.inputs + input],
            Numbers::Int4 { codes, .. } => {
                int4(codes[output * self.inputs.div_ceil(2) + input / 2], input % 2)
            }
            _ => 0,
        }
    }

    /// The scale of an integer code; 1 in an encoding without.
    pub(crate) fn scale_of(&self, output: usize, input: usize) -> f32 {
        match &self.numbers {
            Numbers::Int8 { scales, .. } | Numbers::Int4 { scales, .. } => {
                self.scale(scales, output, input)
            }
            _ => 1.0,
        }
    }

    /// One number of codes.
    fn number(&self, output: usize, input: usize) -> f32 {
        match &self.numbers {
            Numbers::Int8 { .. } | Numbers::Int4 { .. } => {
                f32::from(self.code_of(output, input)) * self.scale_of(output, input)
            }
            Numbers::Codebook { bits, codes, book } => {
                let width = usize::from(*bits);
                let row = (self.inputs * width).div_ceil(8);
                book[code(&codes[output * row..][..row], input * width, width)]
            }
            Numbers::F16(_) | Numbers::Bf16(_) | Numbers::Sparse { .. } => 0.0,
        }
    }

    fn scale(&self, scales: &Scales, output: usize, input: usize) -> f32 {
        scales.values[output * self.inputs.div_ceil(scales.group) + input / scales.group]
    }

    fn decode_sparse(&self, kept: &[u8], values: &[f32], decoded: &mut Vec<f32>) {
        let mut values = values.iter();
        let row = self.inputs.div_ceil(8).max(1);
        for kept in kept.chunks_exact(row) {
            decoded.extend((0..self.inputs).map(|input| {
                let is_kept = kept[input / 8] >> (input % 8) & 1 == 1;
                if is_kept { values.next().copied().unwrap_or_default() } else { 0.0 }
            }));
        }
    }
}

/// The code in the lower (0) or upper (1) half of a byte.
pub(crate) fn int4(byte: u8, half: usize) -> i8 {
    let upper = if half == 0 { byte << 4 } else { byte & 0xF0 };
    upper.cast_signed() >> 4
}

/// The code that begins at a bit of a row; it lies in at most two bytes.
fn code(row: &[u8], bit: usize, width: usize) -> usize {
    let low = u16::from(row[bit / 8]);
    let high = row.get(bit / 8 + 1).copied().map_or(0, u16::from);
    let both = low | high << 8;
    usize::from(both >> (bit % 8)) & ((1 << width) - 1)
}

/// Half precision to single precision, exactly.
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let exponent = u32::from(half >> 10 & 0x1F);
    let mantissa = u32::from(half & 0x3FF);
    match (exponent, mantissa) {
        // Zero and subnormal numbers: multiples of 2^-24.
        (0, _) => {
            let size = mantissa as f32 / (1u32 << 24) as f32;
            if sign == 0 { size } else { -size }
        }
        // Infinite or no number.
        (0x1F, _) => f32::from_bits(sign | 0x7F80_0000 | mantissa << 13),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | mantissa << 13),
    }
}

fn has(what: &'static str, found: usize, expected: usize) -> Result<(), EncodingError> {
    if found == expected { Ok(()) } else { Err(EncodingError::Count { what, found, expected }) }
}

fn are_finite(what: &'static str, values: &[f32]) -> Result<(), EncodingError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(EncodingError::NotFinite { what, index, found: values[index] }),
        None => Ok(()),
    }
}

/// Why a matrix cannot be one in its encoding.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EncodingError {
    /// There are more or fewer numbers of something than the matrix needs.
    #[error("it has {found} {what}, where its shape needs {expected}")]
    Count {
        /// The quantity that is counted.
        what: &'static str,
        /// The number found.
        found: usize,
        /// The number that the shape needs.
        expected: usize,
    },
    /// A scale or a number of the codebook is not finite.
    #[error("number {index} of its {what} is {found}; it must be finite")]
    NotFinite {
        /// Which numbers.
        what: &'static str,
        /// Position, from 0.
        index: usize,
        /// The number.
        found: f32,
    },
    /// Codes of no bits, or of more than a byte.
    #[error("its codes have {found} bits; they can have 1 to 8")]
    Bits {
        /// Bits of a code.
        found: u8,
    },
    /// Scales for groups of no inputs.
    #[error("its groups have 0 inputs; a group has at least 1")]
    Group,
    /// Bits that stand for no weight are set.
    #[error("bits behind the last weight of a row are set; they must be zero")]
    UnusedBits,
    /// More numbers than the address space has.
    #[error("it is too large for this machine's address space")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matrix(outputs: usize, inputs: usize, numbers: Numbers) -> EncodedMatrix {
        let matrix = EncodedMatrix { outputs, inputs, numbers };
        matrix.validate().unwrap();
        matrix
    }

    #[test]
    fn codes_are_the_numbers_they_stand_for() {
        let scales = Scales { group: 2, values: vec![0.5, 10.0, 2.0, 1.0] };
        let int8 = Numbers::Int8 { codes: vec![1, -2, 3, 127, -128, 5], scales: scales.clone() };
        assert_eq!(matrix(2, 3, int8).decode(), [0.5, -1.0, 30.0, 254.0, -256.0, 5.0]);
        // 7, -8, 1 and 0, -1, 2: two a byte, the first below.
        let int4 = Numbers::Int4 { codes: vec![0x87, 0x01, 0xF0, 0x02], scales };
        assert_eq!(matrix(2, 3, int4).decode(), [3.5, -4.0, 10.0, 0.0, -2.0, 2.0]);
        // Codes of three bits: 1, 7, 4 and 0, 2, 5.
        let book = vec![0.0, 1.5, -2.0, 3.0, 4.0, 5.0, 6.0, -7.0];
        let codes = vec![0b0011_1001, 0b1, 0b0101_0000, 0b1];
        let numbers = Numbers::Codebook { bits: 3, codes, book };
        assert_eq!(matrix(2, 3, numbers).decode(), [1.5, -7.0, 4.0, 0.0, -2.0, 5.0]);
        let numbers = Numbers::Sparse { kept: vec![0b101, 0b010], values: vec![9.0, 8.0, 7.0] };
        assert_eq!(matrix(2, 3, numbers).decode(), [9.0, 0.0, 8.0, 0.0, 7.0, 0.0]);
        let numbers = Numbers::Bf16(vec![0x3F80, 0xC000]);
        assert_eq!(matrix(1, 2, numbers).decode(), [1.0, -2.0]);
    }

    #[test]
    fn every_half_is_read_as_it_should() {
        // The values of a few halves are fixed by the standard.
        let cases = [
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x7BFF, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03FF, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
        ];
        for (bits, value) in cases {
            assert_eq!(f16_to_f32(bits), value);
        }
        assert_eq!(f16_to_f32(0x8000).to_bits(), (-0.0f32).to_bits());
        assert_eq!(f16_to_f32(0x7C00), f32::INFINITY);
        assert!(f16_to_f32(0x7E01).is_nan());
        // They rise with their bits.
        let positive: Vec<f32> = (0..=0x7C00).map(f16_to_f32).collect();
        assert!(positive.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let scales = |group, count| Scales { group, values: vec![1.0; count] };
        let cases = [
            (Numbers::F16(vec![0; 5]), "it has 5 numbers, where its shape needs 6"),
            (Numbers::Int8 { codes: vec![0; 6], scales: scales(0, 2) }, "groups have 0 inputs"),
            (
                Numbers::Int8 { codes: vec![0; 6], scales: scales(2, 3) },
                "it has 3 scales, where its shape needs 4",
            ),
            (
                Numbers::Int4 { codes: vec![0; 3], scales: scales(3, 2) },
                "it has 3 codes, where its shape needs 4",
            ),
            (Numbers::Codebook { bits: 9, codes: vec![], book: vec![] }, "codes have 9 bits"),
            (
                Numbers::Codebook { bits: 1, codes: vec![0; 2], book: vec![0.0, f32::NAN] },
                "codebook is NaN",
            ),
            (
                Numbers::Sparse { kept: vec![1, 1], values: vec![0.0] },
                "1 kept weights, where its shape needs 2",
            ),
            (
                Numbers::Sparse { kept: vec![0x80, 0], values: vec![0.0] },
                "bits behind the last weight",
            ),
        ];
        for (numbers, expected) in cases {
            let error = EncodedMatrix { outputs: 2, inputs: 3, numbers }.validate().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let numbers = Numbers::F16(vec![]);
        let huge = EncodedMatrix { outputs: usize::MAX, inputs: 2, numbers };
        assert_eq!(huge.validate(), Err(EncodingError::TooLarge));
    }

    proptest! {
        #[test]
        fn a_code_is_where_it_was_put(width in 1usize..=8, codes in proptest::collection::vec(any::<u8>(), 1..50)) {
            let codes: Vec<usize> = codes.iter().map(|&c| usize::from(c) & ((1 << width) - 1)).collect();
            let mut row = vec![0u8; (codes.len() * width).div_ceil(8)];
            for (i, &code) in codes.iter().enumerate() {
                for bit in 0..width {
                    let at = i * width + bit;
                    row[at / 8] |= ((code >> bit & 1) as u8) << (at % 8);
                }
            }
            for (i, &expected) in codes.iter().enumerate() {
                prop_assert_eq!(code(&row, i * width, width), expected);
            }
        }
    }
}
