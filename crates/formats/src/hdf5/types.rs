//! Shapes, and the types of numbers and texts.

use fireclay_terminal::counted;

use crate::archive::size_in_bytes;
use crate::bytes::Cursor;
use crate::{ElementType, Problem};

use super::KIND;

/// Dimensions of an array; HDF5 itself has no more.
const MOST_DIMENSIONS: u8 = 32;

/// The shape of an array, `None` if there is none. IV.A.2.b, "The Dataspace Message".
pub(super) fn shape(mut cursor: Cursor<'_>) -> Result<Option<Vec<usize>>, Problem> {
    let (version, rank, _) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
    let null = match version {
        1 => {
            cursor.take(5)?;
            false
        }
        2 => cursor.u8()? == 2,
        _ => return Err(cursor.malformed(format!("a dataspace has version {version}"))),
    };
    if rank > MOST_DIMENSIONS {
        let (found, most) = (rank.into(), MOST_DIMENSIONS.into());
        return Err(Problem::Limit { what: "the number of dimensions of an array", found, most });
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        let size = cursor.u64()?;
        let size = usize::try_from(size)
            .map_err(|_| cursor.malformed(format!("an array has a dimension of {size}")))?;
        shape.push(size);
    }
    Ok((!null).then_some(shape))
}

/// The numbers of a shape, if they can be counted.
pub(super) fn count(shape: &[usize]) -> Result<usize, Problem> {
    size_in_bytes(shape, ElementType::U8)
        .ok_or_else(|| Problem::malformed(KIND, format!("an array has shape {shape:?}")))
}

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Type {
    /// A number.
    Number { dtype: ElementType, big_endian: bool },
    /// A text of this many bytes, cut or filled.
    Text { size: usize },
    /// A text in the global heap.
    FarText,
    /// Two bytes without a meaning; Keras writes bfloat16 so.
    Pair,
    /// Anything else: its class and size.
    Other { class: u8, size: u32 },
}

impl Type {
    /// The type of a message. IV.A.2.d, "The Datatype Message".
    pub(super) fn read(mut cursor: Cursor<'_>) -> Result<Self, Problem> {
        let class = cursor.u8()? & 0xf;
        let bits = cursor.array::<3>()?;
        let size = cursor.u32()?;
        let other = Self::Other { class, size };
        Ok(match class {
            0 => {
                let whole = (cursor.u16()?, u32::from(cursor.u16()?)) == (0, size.wrapping_mul(8));
                match (whole, size, bits[0] & 8 != 0) {
                    (true, 1, false) => Self::number(ElementType::U8, bits),
                    (true, 2, false) => Self::number(ElementType::U16, bits),
                    (true, 4, false) => Self::number(ElementType::U32, bits),
                    (true, 8, false) => Self::number(ElementType::U64, bits),
                    (true, 1, true) => Self::number(ElementType::I8, bits),
                    (true, 2, true) => Self::number(ElementType::I16, bits),
                    (true, 4, true) => Self::number(ElementType::I32, bits),
                    (true, 8, true) => Self::number(ElementType::I64, bits),
                    _ => other,
                }
            }
            1 => {
                let (offset, precision) = (cursor.u16()?, cursor.u16()?);
                // Place and size of the exponent, then of the mantissa.
                let parts = cursor.array::<4>()?;
                let bias = cursor.u32()?;
                // An implied leading one, and not the order of the VAX.
                let usual = offset == 0 && bits[0] & 0x70 == 0x20;
                match (usual, size, precision, bits[1], parts, bias) {
                    (true, 2, 16, 15, [10, 5, 0, 10], 15) => Self::number(ElementType::F16, bits),
                    (true, 2, 16, 15, [7, 8, 0, 7], 127) => Self::number(ElementType::Bf16, bits),
                    (true, 4, 32, 31, [23, 8, 0, 23], 127) => Self::number(ElementType::F32, bits),
                    (true, 8, 64, 63, [52, 11, 0, 52], 1023) => {
                        Self::number(ElementType::F64, bits)
                    }
                    _ => other,
                }
            }
            3 => usize::try_from(size).map_or(other, |size| Self::Text { size }),
            5 if size == 2 => Self::Pair,
            9 if bits[0] & 0xf == 1 && size == 16 => Self::FarText,
            _ => other,
        })
    }

    fn number(dtype: ElementType, bits: [u8; 3]) -> Self {
        Self::Number { dtype, big_endian: bits[0] & 1 != 0 }
    }

    /// Describes it in words.
    pub(super) fn name(self) -> String {
        match self {
            Self::Number { dtype, .. } => dtype.name().to_owned(),
            Self::Text { .. } | Self::FarText => "text".to_owned(),
            Self::Pair => "two bytes of unknown meaning".to_owned(),
            Self::Other { class, size } => {
                let names = [
                    "integer",
                    "floating-point",
                    "time",
                    "text",
                    "bit field",
                    "opaque",
                    "compound",
                    "reference",
                    "enumerated",
                    "variable-length",
                    "array",
                    "complex",
                ];
                let class = names.get(usize::from(class)).unwrap_or(&"unknown");
                format!("an unusual {class} type of {}", counted(size.into(), "byte"))
            }
        }
    }
}
