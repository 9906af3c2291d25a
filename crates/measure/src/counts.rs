//! How often each class was meant, said, and both; and the scores that follow.

use serde::{Deserialize, Serialize};

use crate::estimate::{Estimate, Weight};

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
    pub(crate) fn from_slice(numbers: &[Estimate], rows: f64) -> Self {
        let [precision, recall, f1] = [0, 1, 2].map(|i| numbers[i].or_share(rows));
        Self { precision, recall, f1 }
    }
}

/// The rows that are of one class, are called so, and both, with their weights.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    rows: [u32; 3],
    support: Weight,
    predicted: Weight,
    hits: Weight,
}

/// The share of `of`; 0 of nothing, as scikit-learn has it.
fn share(hits: f64, of: f64) -> f64 {
    if of > 0.0 { hits / of } else { 0.0 }
}

impl Count {
    /// Takes note of a row that is of the class, or called so, or both.
    pub(crate) fn add(&mut self, is_of: bool, is_called: bool, weight: f64) {
        let all = [&mut self.support, &mut self.predicted, &mut self.hits];
        let counts = self.rows.iter_mut().zip(all);
        for ((rows, sum), holds) in counts.zip([is_of, is_called, is_of && is_called]) {
            if holds {
                *rows += 1;
                sum.add(weight);
            }
        }
    }

    /// Precision, recall and F1.
    pub(crate) fn scores(self) -> [f64; 3] {
        let Self { support, predicted, hits, .. } = self;
        let all = support.sum + predicted.sum;
        [hits.share_of(predicted), hits.share_of(support), share(2.0 * hits.sum, all)]
    }

    /// The weight of the rows that are of the class.
    pub(crate) fn support(self) -> f64 {
        self.support.sum
    }

    pub(crate) fn is_seen(self) -> bool {
        self.rows[0] + self.rows[1] > 0
    }

    /// All of a class but the interval of F1, which no formula gives.
    pub(crate) fn of_class(self, label: &str, f1: Estimate) -> ClassScores {
        let [support, predicted, hits] = self.rows.map(|count| count as usize);
        ClassScores {
            label: label.to_owned(),
            precision: Estimate::weighted_share(self.hits, self.predicted),
            recall: Estimate::weighted_share(self.hits, self.support),
            f1: f1.or_share(self.support.plus(self.predicted).rows()),
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
        rows: [0, 1, 2].map(|i| sum.rows[i] + count.rows[i]),
        support: sum.support.plus(count.support),
        predicted: sum.predicted.plus(count.predicted),
        hits: sum.hits.plus(count.hits),
    })
}
