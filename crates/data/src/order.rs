//! In which order rows are visited: pure functions of a seed and an epoch.

use std::ops::Range;

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// The numbers `0..n` in the random order of one epoch.
///
/// Nothing but the arguments enters: a resumed run visits rows as if it had never stopped.
///
/// # Panics
///
/// If `n` is more than `u32::MAX`.
pub fn permutation(n: usize, seed: u64, epoch: u64) -> Vec<u32> {
    shuffled(n, &mut generator(seed, epoch))
}

/// As many rows as there are weights, drawn with replacement for one epoch, each row with a probability
/// in proportion to its weight.
///
/// Nothing but the arguments enters, as for [`permutation`]. Without a weight above 0 there is no row.
///
/// # Panics
///
/// If there are more than `u32::MAX` weights.
pub fn drawn(weights: &[f64], seed: u64, epoch: u64) -> Vec<u32> {
    let count = u32::try_from(weights.len()).unwrap_or_else(|_| too_many(weights.len()));
    let mut sum = 0.0;
    let sums: Vec<f64> = weights
        .iter()
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect();
    if sum == 0.0 {
        return Vec::new();
    }
    let mut rng = generator(seed, epoch);
    let draw = |_| {
        // In [0, sum), from the upper 53 bits: as many as a double has.
        let place = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * sum;
        let row = sums.partition_point(|&end| end <= place);
        // Rounding may put a place at the end of all.
        row.min(weights.len() - 1) as u32
    };
    (0..count).map(draw).collect()
}

/// The ranges `0..batch_size`, `batch_size..2 * batch_size`, .. that cover `0..n`.
///
/// The last range is short if `batch_size` does not divide `n`; `drop_last` leaves it out.
///
/// # Panics
///
/// If `batch_size` is 0, like [`slice::chunks`].
pub fn batches(n: usize, batch_size: usize, drop_last: bool) -> impl Iterator<Item = Range<usize>> {
    assert!(batch_size > 0, "batch_size must be at least 1");
    let end = if drop_last { n - n % batch_size } else { n };
    (0..end).step_by(batch_size).map(move |start| start..n.min(start.saturating_add(batch_size)))
}

/// The stream of draws number `stream` of a seed; streams do not overlap.
pub(crate) fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Fisher-Yates (Durstenfeld, 1964).
///
/// Written out here, as is [`below`], because the exact resume of a run needs the same order from
/// every version of this crate, and shuffles of random-number crates change between theirs.
pub(crate) fn shuffled(n: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let count = u32::try_from(n).unwrap_or_else(|_| too_many(n));
    let mut order: Vec<u32> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last as usize, below(last + 1, rng) as usize);
    }
    order
}

/// An unbiased draw from `0..bound` (Lemire, arXiv 1805.10941, algorithm 5).
fn below(bound: u32, rng: &mut ChaCha8Rng) -> u32 {
    // `2^32 mod bound`: so many low words are one too many for some values.
    let rejected = bound.wrapping_neg() % bound;
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(bound);
        if product as u32 >= rejected {
            return (product >> 32) as u32;
        }
    }
}

#[expect(clippy::panic, reason = "documented: row numbers are 32 bits wide")]
fn too_many(n: usize) -> u32 {
    panic!("cannot permute {n} rows, row numbers are 32 bits wide")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_values_of_a_seed_never_change() {
        // From a second implementation in Python: PCG32 key, ChaCha with 8 rounds, Lemire, Durstenfeld.
        assert_eq!(permutation(10, 42, 0), [0, 5, 3, 7, 9, 4, 8, 1, 6, 2]);
        assert_eq!(permutation(10, 42, 1), [3, 7, 4, 8, 2, 0, 1, 9, 6, 5]);
        let order = permutation(60_000, 7, 3);
        assert_eq!(order[..8], [37779, 43784, 17435, 42647, 19275, 495, 46866, 10985]);
    }

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..6_000 {
            *counts.entry(permutation(3, 1, epoch)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Mean 1000, standard deviation 29: five of them either side.
        assert!(counts.values().all(|count| (855..1145).contains(count)), "{counts:?}");
    }

    #[test]
    fn rows_are_drawn_as_often_as_they_weigh() {
        let weights = [0.0, 1.0, 3.0, 0.0, 4.0, 0.0];
        let mut counts = [0; 6];
        for epoch in 0..4_000 {
            drawn(&weights, 5, epoch).into_iter().for_each(|row| counts[row as usize] += 1);
        }
        assert_eq!((counts[0], counts[3], counts[5]), (0, 0, 0));
        // Of 24,000 draws: five standard deviations either side.
        for (count, expected) in [(counts[1], 3_000), (counts[2], 9_000), (counts[4], 12_000)] {
            assert!(i32::abs(count - expected) < 390, "{counts:?}");
        }
        assert!(drawn(&[0.0; 3], 5, 0).is_empty());
    }

    #[test]
    fn first_draws_of_a_seed_never_change() {
        assert_eq!(drawn(&[1.0; 10], 42, 1), drawn(&[1.0; 10], 42, 1));
        assert_ne!(drawn(&[1.0; 10], 42, 1), drawn(&[1.0; 10], 42, 2));
    }

    #[test]
    fn the_short_last_batch_can_be_dropped() {
        assert_eq!(batches(5, 2, false).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
        assert_eq!(batches(5, 2, true).collect::<Vec<_>>(), [0..2, 2..4]);
        assert_eq!(batches(1, 2, true).count(), 0);
        assert_eq!(batches(0, 2, false).count(), 0);
        assert!(batches(3, usize::MAX, false).eq(std::iter::once(0..3)));
    }
}
