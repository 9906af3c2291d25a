//! Any number of labels a row.

use fireclay::Task;

use crate::bootstrap;
use crate::calibration::{Bins, Calibration};
use crate::counts::{Averages, Count, averages, total};
use crate::estimate::{Estimate, Weight};
use crate::evaluation::{Evaluation, MultiLabel, Scores, WorstRow, worst};
use crate::options::Options;
use crate::ranking;

/// One label of one row.
#[derive(Clone, Copy)]
struct Cell {
    is_true: bool,
    is_predicted: bool,
    probability: f64,
    /// Binary cross-entropy, as two terms that are never negative so that nothing cancels.
    loss: f64,
}

impl Cell {
    fn new(logit: f32, value: u8, threshold: Option<f32>) -> Self {
        let (z, is_true) = (f64::from(logit), value == 1);
        // Of the side that is small, so that nothing overflows.
        let small = (-z.abs()).exp();
        let probability = if z >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
        let wrong_by = if is_true { -z } else { z };
        let is_predicted = match threshold {
            // By the probability that prediction computes.
            Some(threshold) => 1.0 / (1.0 + (-logit).exp()) >= threshold,
            None => z >= 0.0,
        };
        Self { is_true, is_predicted, probability, loss: wrong_by.max(0.0) + small.ln_1p() }
    }
}

/// Everything that is measured of a multi-label model; logits and 0 or 1, `[rows, labels]`.
pub(crate) fn evaluation(
    task: &Task,
    logits: &[f32],
    values: &[u8],
    weights: &[f64],
    options: &Options,
) -> Evaluation {
    let labels = task.names();
    let width = labels.len();
    let cells = cells(task, logits, values);
    let rows: Vec<&[Cell]> = cells.chunks_exact(width).collect();
    let numbers = bootstrap::estimates(rows.len(), options.draws(), |drawn| {
        let drawn = drawn.iter().map(|&at| (rows[at as usize], weights[at as usize]));
        Sums::new(drawn, width).numbers()
    });
    let weighted = rows.iter().copied().zip(weights.iter().copied());
    let sums = Sums::new(weighted.clone(), width);
    let mut whole = Weight::default();
    weighted.filter(|(row, _)| is_right(row)).for_each(|(_, weight)| whole.add(weight));
    let scored = labels.iter().zip(&sums.counts).zip(&numbers[FIXED..]);
    let ranked = ranking::of_labels(logits, values, width);
    let scores = MultiLabel {
        subset_accuracy: Estimate::weighted_share(whole, sums.weight),
        label_accuracy: numbers[2].or_share(sums.weight.rows()),
        labels: scored.map(|((label, count), &f1)| count.of_class(label, f1)).collect(),
        micro_average: Averages::from_slice(&numbers[3..6], sums.weight.rows()),
        macro_average: Averages::from_slice(&numbers[6..9], sums.weight.rows()),
        weighted_average: Averages::from_slice(&numbers[9..12], sums.weight.rows()),
        calibration: Calibration { error: numbers[1].spread(), bins: sums.bins.bins() },
        ranking: ranking::ranking(&ranked, weights, options.draws()),
    };
    let losses: Vec<f64> = rows.iter().map(|row| loss(row)).collect();
    Evaluation {
        rows: rows.len(),
        loss: numbers[0],
        scores: Scores::MultiLabel(scores),
        worst: worst(&losses, options.worst)
            .into_iter()
            .map(|at| WorstRow {
                row: at,
                loss: losses[at],
                truth: names(labels, rows[at], |cell| cell.is_true),
                predicted: names(labels, rows[at], |cell| cell.is_predicted),
                probability: None,
                is_right: is_right(rows[at]),
            })
            .collect(),
    }
}

fn cells(task: &Task, logits: &[f32], values: &[u8]) -> Vec<Cell> {
    let width = task.outputs();
    let thresholds = task.decision().map_or(&[][..], |decision| &decision.thresholds);
    let cells = logits.iter().zip(values).enumerate();
    cells
        .map(|(at, (&z, &value))| Cell::new(z, value, thresholds.get(at % width).copied()))
        .collect()
}

fn is_right(row: &[Cell]) -> bool {
    row.iter().all(|cell| cell.is_true == cell.is_predicted)
}

fn loss(row: &[Cell]) -> f64 {
    row.iter().map(|cell| cell.loss).sum::<f64>() / row.len() as f64
}

fn names(labels: &[String], row: &[Cell], is_meant: impl Fn(&Cell) -> bool) -> String {
    let meant = labels.iter().zip(row).filter(|(_, cell)| is_meant(cell));
    meant.map(|(label, _)| label.as_str()).collect::<Vec<_>>().join(", ")
}

/// What is summed over rows.
struct Sums {
    weight: Weight,
    loss: f64,
    right: f64,
    counts: Vec<Count>,
    bins: Bins,
}

/// Numbers of [`Sums::numbers`] before those of the labels.
const FIXED: usize = 12;

impl Sums {
    fn new<'a>(rows: impl Iterator<Item = (&'a [Cell], f64)>, width: usize) -> Self {
        let (weight, counts) = (Weight::default(), vec![Count::default(); width]);
        let mut sums = Self { weight, loss: 0.0, right: 0.0, counts, bins: Bins::default() };
        for (row, weight) in rows {
            sums.weight.add(weight);
            sums.loss += weight * loss(row);
            for (count, cell) in sums.counts.iter_mut().zip(row) {
                count.add(cell.is_true, cell.is_predicted, weight);
                sums.right += if cell.is_true == cell.is_predicted { weight } else { 0.0 };
                sums.bins.add(cell.probability, cell.is_true, weight);
            }
        }
        sums
    }

    /// Loss, calibration error, share of right labels, micro, macro and weighted averages, and the
    /// F1 of each label.
    fn numbers(&self) -> Vec<f64> {
        let (weight, labels) = (self.weight.sum, self.counts.len() as f64);
        let mut numbers =
            vec![self.loss / weight, self.bins.error(), self.right / (weight * labels)];
        numbers.extend(total(&self.counts).scores());
        numbers.extend(averages(&self.counts, |_| 1.0));
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
        let sure = Cell::new(1e30, 1, None);
        assert_eq!((sure.loss, sure.probability), (0.0, 1.0));
        let wrong = Cell::new(-1e30, 1, Some(0.5));
        assert_eq!((wrong.loss, wrong.probability), (f64::from(1e30f32), 0.0));
    }
}
