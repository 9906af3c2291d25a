//! One class a row: accuracy, precision and recall, confusions, calibration.

use fireclay::{Task, first_largest};

use crate::bootstrap;
use crate::calibration::{Bins, Calibration};
use crate::counts::{Averages, Count, averages};
use crate::estimate::{Estimate, Weight};
use crate::evaluation::{Classification, Evaluation, Scores, TopK, WorstRow, worst};
use crate::options::Options;
use crate::ranking;

/// What is known of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) truth: u32,
    pub(crate) predicted: u32,
    /// Classes that are more probable than the true one.
    rank: u32,
    /// Of the predicted class.
    pub(crate) probability: f64,
    pub(crate) loss: f64,
    weight: f64,
}

impl Row {
    /// Of logits: the softmax and its cross-entropy, shifted so that nothing overflows.
    fn new(task: &Task, logits: &[f32], truth: u32, weight: f64) -> Self {
        let largest = first_largest(logits);
        let most = f64::from(logits[largest]);
        let predicted = decided(task, logits).unwrap_or(largest);
        let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum();
        let (before, after) = logits.split_at(truth as usize);
        let own = after[0];
        let rank = before.iter().filter(|&&logit| logit >= own).count()
            + after.iter().filter(|&&logit| logit > own).count();
        Self {
            truth,
            predicted: predicted as u32,
            rank: rank as u32,
            probability: (f64::from(logits[predicted]) - most).exp() / sum,
            loss: sum.ln() + (most - f64::from(own)),
            weight,
        }
    }

    pub(crate) fn is_right(self) -> bool {
        self.truth == self.predicted
    }
}

/// The class that the threshold of a task decides for, by the probabilities that prediction computes;
/// none without a threshold.
fn decided(task: &Task, logits: &[f32]) -> Option<usize> {
    let decision = task.decision().filter(|decision| !decision.thresholds.is_empty())?;
    let mut probabilities = logits.to_vec();
    task.finish(&mut probabilities);
    Some(decision.class(&probabilities))
}

/// The share of rows whose class is among the `k` most probable.
fn top_k(rows: &[Row], k: usize) -> TopK {
    let hits = rows.iter().filter(|row| (row.rank as usize) < k);
    TopK { k, accuracy: Estimate::weighted_share(weight(hits), weight(rows.iter())) }
}

/// The weight of some rows.
fn weight<'a>(rows: impl Iterator<Item = &'a Row>) -> Weight {
    let mut sum = Weight::default();
    rows.for_each(|row| sum.add(row.weight));
    sum
}

/// What is known of all rows; `logits` are `[rows, classes]`.
fn rows(task: &Task, logits: &[f32], ids: &[u32], weights: &[f64]) -> Vec<Row> {
    let rows = logits.chunks_exact(task.outputs()).zip(ids).zip(weights);
    rows.map(|((logits, &truth), &weight)| Row::new(task, logits, truth, weight)).collect()
}

/// Everything that is measured of a classifier.
pub(crate) fn evaluation(
    task: &Task,
    logits: &[f32],
    ids: &[u32],
    weights: &[f64],
    options: &Options,
) -> Evaluation {
    let labels = task.names();
    let rows = rows(task, logits, ids, weights);
    let numbers = bootstrap::estimates(rows.len(), options.draws(), |drawn| {
        let sums = Sums::new(drawn.iter().map(|&row| rows[row as usize]), labels.len());
        sums.numbers()
    });
    let sums = Sums::new(rows.iter().copied(), labels.len());
    let right = weight(rows.iter().filter(|row| row.is_right()));
    let top = options.top.iter().filter(|&&k| k > 1 && k < labels.len());
    let classes = labels.iter().zip(&sums.counts).zip(&numbers[FIXED..]);
    let ranked = match labels.len() {
        2..=MOST_PAIRED => ranking::of_classes(logits, ids, labels.len()),
        _ => Vec::new(),
    };
    let scores = Classification {
        accuracy: Estimate::weighted_share(right, sums.weight),
        top: top.map(|&k| top_k(&rows, k)).collect(),
        classes: classes.map(|((label, count), &f1)| count.of_class(label, f1)).collect(),
        macro_average: Averages::from_slice(&numbers[2..5], sums.weight.rows()),
        weighted_average: Averages::from_slice(&numbers[5..8], sums.weight.rows()),
        confusion: confusion(&rows, labels.len()),
        calibration: Calibration { error: numbers[1].spread(), bins: sums.bins.bins() },
        ranking: ranking::ranking(&ranked, weights, options.draws()),
    };
    let losses: Vec<f64> = rows.iter().map(|row| row.loss).collect();
    Evaluation {
        rows: rows.len(),
        loss: numbers[0],
        scores: Scores::Classification(scores),
        worst: worst(&losses, options.worst)
            .into_iter()
            .map(|row| worst_row(row, rows[row], labels))
            .collect(),
    }
}

fn worst_row(at: usize, row: Row, labels: &[String]) -> WorstRow {
    WorstRow {
        row: at,
        loss: row.loss,
        truth: labels[row.truth as usize].clone(),
        predicted: labels[row.predicted as usize].clone(),
        probability: Some(row.probability),
        is_right: row.is_right(),
    }
}

/// Classes up to which all pairs of them are counted, and rows are ordered by each.
const MOST_PAIRED: usize = 1000;

fn confusion(rows: &[Row], classes: usize) -> Vec<Vec<usize>> {
    if classes > MOST_PAIRED {
        return Vec::new();
    }
    let mut confusion = vec![vec![0; classes]; classes];
    rows.iter().for_each(|row| confusion[row.truth as usize][row.predicted as usize] += 1);
    confusion
}

/// What is summed over rows to compute the numbers that have no formula for their interval.
struct Sums {
    weight: Weight,
    loss: f64,
    counts: Vec<Count>,
    bins: Bins,
}

/// Numbers of [`Sums::numbers`] before those of the classes.
const FIXED: usize = 8;

impl Sums {
    fn new(rows: impl Iterator<Item = Row>, classes: usize) -> Self {
        let counts = vec![Count::default(); classes];
        let (weight, bins) = (Weight::default(), Bins::default());
        let mut sums = Self { weight, loss: 0.0, counts, bins };
        for Row { truth, predicted, loss, probability, weight, .. } in rows {
            sums.weight.add(weight);
            sums.loss += weight * loss;
            let is_right = truth == predicted;
            sums.counts[truth as usize].add(true, is_right, weight);
            if !is_right {
                sums.counts[predicted as usize].add(false, true, weight);
            }
            sums.bins.add(probability, is_right, weight);
        }
        sums
    }

    /// Loss, calibration error, macro and weighted averages, and the F1 of each class.
    fn numbers(&self) -> Vec<f64> {
        let mut numbers = vec![self.loss / self.weight.sum, self.bins.error()];
        numbers.extend(averages(&self.counts, |count| f64::from(u8::from(count.is_seen()))));
        numbers.extend(averages(&self.counts, Count::support));
        numbers.extend(self.counts.iter().map(|count| count.scores()[2]));
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_logits_do_not_overflow() {
        let row = Row::new(&Task::numbered_classes(3), &[1e30, -1e30, 0.0], 1, 1.0);
        assert_eq!((row.predicted, row.rank, row.probability), (0, 2, 1.0));
        let expected = f64::from(1e30f32) - f64::from(-1e30f32);
        assert!((row.loss / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn of_many_classes_no_pairs_are_counted() {
        let row = |classes: usize| {
            [Row::new(&Task::numbered_classes(classes), &vec![0.0; classes], 0, 1.0)]
        };
        assert_eq!(confusion(&row(1000), 1000).len(), 1000);
        assert!(confusion(&row(1001), 1001).is_empty());
    }

    #[test]
    fn of_equal_logits_the_first_is_the_most_probable() {
        let row = Row::new(&Task::numbered_classes(3), &[1.0, 2.0, 2.0], 2, 1.0);
        assert_eq!((row.predicted, row.rank), (1, 1));
    }
}
