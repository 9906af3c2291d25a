//! Small whole numbers in runs and in bits.
//!
//! Source: "Encodings" of Apache Parquet, the run-length and bit-packing hybrid, and delta encoding.

use super::super::thrift::Thrift;

/// The first `count` numbers of `width` bits each; none if there are fewer.
pub(super) fn hybrid(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    if width > 32 {
        return None;
    }
    let mut thrift = Thrift::new(bytes);
    let mut found = Vec::new();
    while found.len() < count {
        let head = thrift.varint()?;
        let missing = count - found.len();
        if head & 1 == 0 {
            let bytes = thrift.take(width.div_ceil(8) as usize)?;
            let value = bytes.iter().rev().fold(0u32, |value, &byte| value << 8 | u32::from(byte));
            // At least one: a run of nothing would never end.
            let run = usize::try_from(head >> 1).ok().filter(|&run| run > 0)?;
            found.resize(found.len() + run.min(missing), value);
        } else {
            let groups = usize::try_from(head >> 1).ok().filter(|&groups| groups > 0)?;
            let packed = groups.checked_mul(width as usize)?;
            // The last group may be cut off behind the last number.
            let present = packed.min(thrift.bytes.len());
            let packed = thrift.take(present)?;
            let numbers = groups.checked_mul(8)?.min(missing);
            found.extend(unpacked(packed, width, numbers)?.into_iter().map(|number| number as u32));
        }
    }
    Some(found)
}

/// `count` numbers of `width` bits, from the lowest bit of each byte.
fn unpacked(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u64>> {
    if count.checked_mul(width as usize)?.div_ceil(8) > bytes.len() {
        return None;
    }
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    let numbers = (0..count).map(|at| {
        let bit = at * width as usize;
        let mut room = [0; 16];
        let rest = &bytes[(bit / 8).min(bytes.len())..];
        let length = rest.len().min(16);
        room[..length].copy_from_slice(&rest[..length]);
        (u128::from_le_bytes(room) >> (bit % 8)) as u64 & mask
    });
    Some(numbers.collect())
}

/// Whole numbers as differences in blocks, and the bytes behind them. At most `most` are believed.
pub(super) fn deltas(bytes: &[u8], most: usize) -> Option<(Vec<i64>, &[u8])> {
    let mut thrift = Thrift::new(bytes);
    let block = usize::try_from(thrift.varint()?).ok()?;
    let parts = usize::try_from(thrift.varint()?).ok().filter(|&parts| parts > 0)?;
    let count = usize::try_from(thrift.varint()?).ok().filter(|&count| count <= most)?;
    let mut value = thrift.integer()?;
    let part = block / parts;
    if count == 0 {
        return Some((Vec::new(), thrift.bytes));
    }
    if part == 0 || part % 8 != 0 {
        return None;
    }
    let mut found = vec![value];
    while found.len() < count {
        let least = thrift.integer()?;
        for &width in thrift.take(parts)? {
            if found.len() == count {
                break;
            }
            let width = u32::from(width);
            let numbers = part.min(count - found.len());
            let packed = if width > 64 { None } else { part.checked_mul(width as usize) }? / 8;
            let packed = thrift.take(packed)?;
            for delta in unpacked(packed, width, numbers)? {
                value = value.wrapping_add(least).wrapping_add(delta as i64);
                found.push(value);
            }
        }
    }
    Some((found, thrift.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_bits_mix() {
        // Four times 5, then the numbers 0 to 7 in three bits each, as in the specification.
        let bytes = [4 << 1, 5, 1 << 1 | 1, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let found = hybrid(&bytes, 3, 10).unwrap();
        assert_eq!(found, [5, 5, 5, 5, 0, 1, 2, 3, 4, 5]);
        assert_eq!(hybrid(&bytes, 3, 13), None);
        assert_eq!(hybrid(&[0, 0], 3, 1), None, "a run of nothing");
        assert_eq!(hybrid(&[4 << 1], 0, 4), Some(vec![0; 4]), "numbers without bits");
    }

    #[test]
    fn deltas_add_up() {
        // 7 and 5, 3, 1, 2, 3, 4, 5, as in the specification: differences -2 and 1, least -2.
        let bytes = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        let (found, rest) = deltas(&bytes, 100).unwrap();
        assert_eq!((found, rest.len()), (vec![7, 5, 3, 1, 2, 3, 4, 5], 0));
        assert_eq!(deltas(&bytes, 7), None);
        assert_eq!(deltas(&bytes[..9], 100), None);
    }
}
