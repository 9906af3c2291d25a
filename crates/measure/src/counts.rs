//! How often each class was meant, said, and both; and the scores that follow.

use serde::{Deserialize, Serialize};

use crate::estimate::Estimate;

/// Scores of one class or one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Its name.
    pub label: String,
    /// Of the rows called so, the share that are; 0 if none was.
    pub precision: Estimate,
    /// Of the rows that are, the share called so; 0 if there are none.
    pub recall: Estimate,
    /// Harmonic mean of the two.
    pub f1: Estimate,
    /// Rows that are of the class.
    pub support: usize,
    /// Rows called so.
    pub predicted: usize,
    /// Rows that are both.
    pub hits: usize,
}

/// Scores averaged over classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    /// Average precision of the classes.
    pub precision: Estimate,
    /// Average recall of the classes.
    pub recall: Estimate,
    /// Average F1 of the classes.
    pub f1: Estimate,
}

impl Averages {
    /// From three numbers in a row, of so many rows.
    pub(crate) fn from_slice(numbers: &[Estimate], rows: usize) -> Self {
        let [precision, recall, f1] = [0, 1, 2].map(|i| numbers[i].or_share(rows));
        Self { precision, recall, f1 }
    }
}

/// How often one class was meant, said, and both.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) support: u32,
    pub(crate) predicted: u32,
    pub(crate) hits: u32,
}

/// The share of `of`; 0 of nothing, as scikit-learn has it.
fn share(hits: f64, of: f64) -> f64 {
    if of > 0.0 { hits / of } else { 0.0 }
}

impl Count {
    /// Precision, recall and F1.
    pub(crate) fn scores(self) -> [f64; 3] {
        let [support, predicted, hits] = [self.support, self.predicted, self.hits].map(f64::from);
        [share(hits, predicted), share(hits, support), share(2.0 * hits, support + predicted)]
    }

    pub(crate) fn is_seen(self) -> bool {
        self.support + self.predicted > 0
    }

    /// All of a class but the interval of F1, which no formula gives.
    pub(crate) fn of_class(self, label: &str, f1: Estimate) -> ClassScores {
        let [support, predicted, hits] =
            [self.support, self.predicted, self.hits].map(|count| count as usize);
        ClassScores {
            label: label.to_owned(),
            precision: Estimate::share(hits, predicted),
            recall: Estimate::share(hits, support),
            f1: f1.or_share(support + predicted),
            support,
            predicted,
            hits,
        }
    }
}

/// Precision, recall and F1 averaged over classes, each weighing as much as `weight` says.
pub(crate) fn averages(counts: &[Count], weight: impl Fn(Count) -> f64) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let mut total = 0.0;
    for &count in counts {
        let weight = weight(count);
        total += weight;
        for (sum, score) in sums.iter_mut().zip(count.scores()) {
            *sum += weight * score;
        }
    }
    sums.map(|sum| share(sum, total))
}

/// The counts of all classes together.
pub(crate) fn total(counts: &[Count]) -> Count {
    counts.iter().fold(Count::default(), |sum, count| Count {
        support: sum.support + count.support,
        predicted: sum.predicted + count.predicted,
        hits: sum.hits + count.hits,
    })
}
