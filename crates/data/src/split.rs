//! Holding out rows for validation.

use chacha20::ChaCha8Rng;

use crate::order::{generator, shuffled};
use crate::{DataError, Dataset, Targets};

/// Row numbers of the two parts of a data set: disjoint, complete, each in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows to train on, at least one.
    pub train: Vec<usize>,
    /// Rows held out for validation.
    pub validation: Vec<usize>,
}

/// The amount to hold out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Holdout {
    /// A fraction of the rows in `0.0..1.0`, rounded to whole rows; above 0 it is at least one row.
    Fraction(f64),
    /// A number of rows.
    Count(usize),
}

/// Streams of [`crate::permutation`] count epochs from 0, so the splits take the last ones.
pub(crate) const VALIDATION: u64 = u64::MAX;
pub(crate) const TEST: u64 = u64::MAX - 1;

/// Holds out random rows, the same for the same seed.
///
/// `stratified` takes rows of each class in proportion, rounded by largest remainder so that the
/// total is exact.
///
/// # Errors
///
/// [`DataError::BadFraction`], [`DataError::HoldoutTooLarge`] if no row is left to train on, and
/// [`DataError::NotClasses`] if `stratified` is asked of other targets than classes.
///
/// # Panics
///
/// If the data set has more than `u32::MAX` rows.
pub fn split(
    dataset: &Dataset,
    holdout: Holdout,
    stratified: bool,
    seed: u64,
) -> Result<Split, DataError> {
    let strata = match (stratified, dataset.targets()) {
        (false, _) => None,
        (true, Targets::Classes { ids, labels }) => Some((&ids[..], labels.len())),
        (true, _) => return Err(DataError::NotClasses),
    };
    let held_out = held_out(dataset.len(), holdout, strata, &mut generator(seed, VALIDATION))?;
    Ok(Split::of(dataset.len(), held_out))
}

/// Random rows out of `0..rows`; with strata, the class of each row and the number of classes, as many
/// of each class in proportion.
pub(crate) fn held_out(
    rows: usize,
    holdout: Holdout,
    strata: Option<(&[u32], usize)>,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<usize>, DataError> {
    let count = holdout.rows(rows)?;
    let order = shuffled(rows, rng).into_iter().map(|row| row as usize);
    Ok(match strata {
        None => order.take(count).collect(),
        Some((ids, classes)) => take_strata(order, ids, quotas(&class_counts(ids, classes), count)),
    })
}

impl Holdout {
    /// The usual validation share of so many rows: 5,000, or a tenth where these would be more than a
    /// fifth.
    pub fn usual(rows: usize) -> Self {
        const USUAL: usize = 5000;
        if USUAL <= rows / 5 { Self::Count(USUAL) } else { Self::Fraction(0.1) }
    }

    pub(crate) fn rows(self, rows: usize) -> Result<usize, DataError> {
        let holdout = match self {
            Self::Count(count) => count,
            // Before the others, which hold out one row at least.
            Self::Fraction(0.0) => 0,
            Self::Fraction(found) if !(0.0..1.0).contains(&found) => {
                return Err(DataError::BadFraction { found });
            }
            Self::Fraction(fraction) => ((rows as f64 * fraction).round() as usize).max(1),
        };
        if holdout < rows { Ok(holdout) } else { Err(DataError::HoldoutTooLarge { holdout, rows }) }
    }
}

impl Split {
    pub(crate) fn of(rows: usize, mut validation: Vec<usize>) -> Self {
        validation.sort_unstable();
        let train = (0..rows).filter(|row| validation.binary_search(row).is_err()).collect();
        Self { train, validation }
    }
}

/// The first `quotas[class]` rows of each class, in the given order.
fn take_strata(
    order: impl Iterator<Item = usize>,
    ids: &[u32],
    mut quotas: Vec<usize>,
) -> Vec<usize> {
    let mut taken = Vec::new();
    for row in order {
        let quota = &mut quotas[ids[row] as usize];
        if *quota > 0 {
            *quota -= 1;
            taken.push(row);
        }
    }
    taken
}

fn class_counts(ids: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for &id in ids {
        counts[id as usize] += 1;
    }
    counts
}

/// Shares of `total` in proportion to `counts`, by largest remainder; the lower class wins a tie.
fn quotas(counts: &[usize], total: usize) -> Vec<usize> {
    let rows = counts.iter().sum::<usize>() as u128;
    // In 128 bits, for a count times the total may not fit into 64.
    let shares: Vec<u128> = counts.iter().map(|&count| count as u128 * total as u128).collect();
    let mut quotas: Vec<usize> = shares.iter().map(|share| (share / rows) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(shares[class] % rows));
    let left = total - quotas.iter().sum::<usize>();
    for &class in by_remainder.iter().take(left) {
        quotas[class] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_follow_the_largest_remainders() {
        assert_eq!(quotas(&[50, 30, 20], 10), [5, 3, 2]);
        assert_eq!(quotas(&[1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(quotas(&[7, 0, 3], 5), [4, 0, 1]);
    }

    #[test]
    fn a_holdout_is_a_number_of_rows() {
        let check = |holdout: Holdout, expected: usize| {
            assert_eq!(holdout.rows(10).unwrap(), expected, "{holdout:?}");
        };
        check(Holdout::Fraction(0.0), 0);
        check(Holdout::Fraction(0.001), 1);
        check(Holdout::Fraction(0.25), 3);
        check(Holdout::Count(9), 9);
    }

    #[test]
    fn impossible_holdouts_are_refused() {
        for fraction in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            let found = Holdout::Fraction(fraction).rows(10);
            assert!(matches!(found, Err(DataError::BadFraction { .. })), "{fraction}");
        }
        for holdout in [Holdout::Count(10), Holdout::Fraction(0.99)] {
            let found = holdout.rows(10);
            assert!(matches!(found, Err(DataError::HoldoutTooLarge { holdout: 10, rows: 10 })));
        }
    }
}
