//! Rows that stand in two data sets.

use std::collections::HashMap;

use crate::{Dataset, Features};

impl Dataset {
    /// The number of rows of `other` whose features and terms are those of one of these `rows`.
    ///
    /// # Panics
    ///
    /// If one of `rows` is out of range.
    pub fn repeated_in(&self, rows: &[usize], other: &Self) -> usize {
        let mut left: HashMap<u64, usize> = HashMap::new();
        for row in 0..other.len() {
            *left.entry(fingerprint(other, row)).or_default() += 1;
        }
        rows.iter().filter_map(|&row| left.remove(&fingerprint(self, row))).sum()
    }
}

/// A number that rows with the same features share, and hardly any others.
///
/// Every row of a run is read for it, so it takes a word a step: the hash of rustc (`FxHasher`,
/// after Firefox). SipHash took a tenth of the default run.
fn fingerprint(data: &Dataset, row: usize) -> u64 {
    let place = row * data.width()..(row + 1) * data.width();
    let features = match data.features() {
        Features::Bytes(bytes) => {
            let (words, rest) = bytes[place].as_chunks::<8>();
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            hash(0, words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word)))
        }
        Features::Floats(floats) => hash(0, floats[place].iter().map(|x| u64::from(x.to_bits()))),
        Features::Blocks(_) => {
            hash(0, data.numbers(row..row + 1).iter().map(|x| u64::from(x.to_bits())))
        }
    };
    data.terms().iter().fold(features, |before, all| {
        let (places, values) = all.row(row);
        let terms = places.iter().zip(values);
        let words = terms.map(|(&place, x)| u64::from(place) << 32 | u64::from(x.to_bits()));
        hash(before, words.chain([places.len() as u64]))
    })
}

fn hash(before: u64, words: impl Iterator<Item = u64>) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    words.fold(before, |hash: u64, word| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::Targets;

    fn set(features: Features, width: usize) -> Dataset {
        let rows = match &features {
            Features::Bytes(bytes) => bytes.len() / width,
            Features::Floats(floats) => floats.len() / width,
            Features::Blocks(blocks) => blocks.rows(),
        };
        let targets = Targets::Values { values: vec![0.0; rows], names: vec!["y".into()] };
        Dataset::new(vec![width], features, targets).unwrap()
    }

    /// Twenty pixels a row: two words and a half.
    #[test]
    fn rows_of_the_other_set_are_counted_with_their_copies() {
        let row = |last: u8| (0..19).chain([last]);
        let ours = set(Features::Bytes(row(1).chain(row(2)).chain(row(3)).collect()), 20);
        let theirs = row(3).chain(row(9)).chain(row(1)).chain(row(1));
        let theirs = set(Features::Bytes(theirs.collect()), 20);
        assert_eq!(ours.repeated_in(&[0, 1, 2], &theirs), 3);
        assert_eq!(ours.repeated_in(&[0, 1, 0], &theirs), 2);
        assert_eq!(ours.repeated_in(&[1], &theirs), 0);
    }

    #[test]
    fn a_last_digit_and_the_order_of_values_tell_floats_apart() {
        let ours =
            set(Features::Floats(vec![0.1, 0.2, 1.0, f32::from_bits(0.2_f32.to_bits() + 1)]), 2);
        let theirs = set(Features::Floats(vec![0.2, 0.1, 1.0, 0.2, 0.1, 0.2]), 2);
        assert_eq!(ours.repeated_in(&[0, 1], &theirs), 1);
    }
}
