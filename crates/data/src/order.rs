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
    fn the_short_last_batch_can_be_dropped() {
        assert_eq!(batches(5, 2, false).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
        assert_eq!(batches(5, 2, true).collect::<Vec<_>>(), [0..2, 2..4]);
        assert_eq!(batches(1, 2, true).count(), 0);
        assert_eq!(batches(0, 2, false).count(), 0);
        assert!(batches(3, usize::MAX, false).eq(std::iter::once(0..3)));
    }
}
