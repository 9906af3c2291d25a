//! The meaning of stored values, common to the formats with typed columns.

use fireclay_model::DateFormat;

use crate::table::{Cells, Texts};

/// The meaning of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    /// Whole numbers of so many bytes.
    Integer { bytes: usize, is_signed: bool },
    /// Numbers in half, single or double precision, of so many bytes.
    Float { bytes: usize },
    /// Whole numbers of so many bytes, divided by a power of ten.
    Decimal { bytes: usize, scale: i32, is_big_endian: bool },
    /// Days since 1970-01-01, of 4 bytes.
    Days,
    /// So many units of a second since 1970-01-01, of 8 bytes.
    Time { units: i64 },
    /// Nanoseconds of a day and the Julian day, of 12 bytes.
    JulianTime,
}

/// The largest whole number up to which double precision has all of them.
const EXACT: u128 = 1 << 53;
/// The Julian day of 1970-01-01.
const JULIAN_1970: i64 = 2_440_588;
const SECONDS_OF_DAY: i64 = 86_400;

impl Meaning {
    /// Bytes of a value.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Integer { bytes, .. } | Self::Float { bytes } | Self::Decimal { bytes, .. } => {
                bytes
            }
            Self::Days => 4,
            Self::Time { .. } => 8,
            Self::JulianTime => 12,
        }
    }

    /// The cells of values that lie behind each other; bytes that are left over are left out.
    ///
    /// Whole numbers beyond 2^53 become texts, so that they stay distinct; dates and times become texts
    /// in ISO 8601.
    pub(super) fn cells(self, values: &[u8]) -> Cells {
        let values = values.chunks_exact(self.bytes().max(1));
        match self {
            Self::Integer { is_signed, .. } => {
                let integers: Vec<i128> =
                    values.map(|value| integer(value, is_signed, false)).collect();
                if integers.iter().all(|integer| integer.unsigned_abs() <= EXACT) {
                    return Cells::Numbers(
                        integers.iter().map(|&integer| integer as f64).collect(),
                    );
                }
                texts(integers.iter().map(i128::to_string))
            }
            Self::Float { .. } => Cells::Numbers(values.map(float).collect()),
            Self::Decimal { scale, is_big_endian, .. } => {
                let decimals =
                    values.map(|value| decimal(integer(value, true, is_big_endian), scale));
                Cells::Numbers(decimals.collect())
            }
            Self::Days => {
                texts(values.map(|value| DateFormat::iso(integer(value, true, false) as i64, 0)))
            }
            Self::Time { units } => {
                texts(values.map(|value| time(integer(value, true, false) as i64, units)))
            }
            Self::JulianTime => texts(values.map(|value| {
                let (nanoseconds, day) = value.split_at(8);
                let day = integer(day, true, false) as i64 - JULIAN_1970;
                let nanoseconds = integer(nanoseconds, true, false) as i64;
                let seconds = nanoseconds.div_euclid(1_000_000_000);
                let day = day + seconds.div_euclid(SECONDS_OF_DAY);
                let rest = nanoseconds.rem_euclid(SECONDS_OF_DAY * 1_000_000_000);
                DateFormat::iso(day, rest as u64)
            })),
        }
    }
}

/// Texts of every value.
fn texts(values: impl Iterator<Item = String>) -> Cells {
    let mut texts = Texts::default();
    values.for_each(|text| texts.push(&text));
    Cells::Texts(texts)
}

/// A whole number of at most 16 bytes; of more, the least of them.
fn integer(bytes: &[u8], is_signed: bool, is_big_endian: bool) -> i128 {
    let mut little: Vec<u8> = bytes.to_vec();
    if is_big_endian {
        little.reverse();
    }
    let is_negative = is_signed && little.last().is_some_and(|byte| *byte >= 128);
    little.resize(16, if is_negative { 0xff } else { 0 });
    let whole = little.first_chunk::<16>().copied().unwrap_or_default();
    i128::from_le_bytes(whole)
}

fn float(bytes: &[u8]) -> f64 {
    match *bytes {
        [a, b] => half(u16::from_le_bytes([a, b])),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).into(),
        _ => bytes.first_chunk::<8>().map_or(f64::NAN, |bytes| f64::from_le_bytes(*bytes)),
    }
}

/// The number of IEEE 754 half precision with these bits.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

/// The number nearest to a decimal: that of its digits.
fn decimal(unscaled: i128, scale: i32) -> f64 {
    format!("{unscaled}e{}", -i64::from(scale)).parse().unwrap_or(f64::NAN)
}

/// So many units of a second since 1970-01-01, as text.
fn time(count: i64, units: i64) -> String {
    let seconds = count.div_euclid(units);
    let nanoseconds = count.rem_euclid(units) * (1_000_000_000 / units);
    let (day, second) = (seconds.div_euclid(SECONDS_OF_DAY), seconds.rem_euclid(SECONDS_OF_DAY));
    DateFormat::iso(day, (second * 1_000_000_000 + nanoseconds) as u64)
}
