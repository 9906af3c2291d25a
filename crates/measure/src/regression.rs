//! Real numbers: how far off they are.

use fireclay::{Intervals, Task};

use crate::bootstrap;
use crate::estimate::{Estimate, Weight};
use crate::evaluation::{
    Evaluation, IntervalScores, Regression, Scores, TargetScores, WorstRow, worst,
};
use crate::options::Options;

/// Predictions and truth, and what follows for each row.
struct Rows<'a> {
    /// `[rows, targets]`.
    predicted: Vec<f32>,
    /// `[rows, targets]`.
    truth: &'a [f32],
    width: usize,
    /// The loss of each row.
    losses: Vec<f64>,
    /// The weight of each row.
    weights: &'a [f64],
    /// Lower and upper end of the interval of each value, `[rows, targets]`; empty without intervals.
    bounds: Vec<[f32; 2]>,
}

/// Everything that is measured of a regression model, whose targets may be standardized: then so is
/// the loss.
pub(crate) fn evaluation(
    task: &Task,
    outputs: &[f32],
    truth: &[f32],
    weights: &[f64],
    options: &Options,
) -> Evaluation {
    let names = task.names();
    let rows = Rows {
        predicted: task.values(outputs.to_vec()),
        truth,
        width: names.len(),
        losses: losses(task, outputs, truth),
        weights,
        bounds: bounds(task, outputs),
    };
    let numbers =
        bootstrap::estimates(rows.losses.len(), options.draws(), |drawn| rows.numbers(drawn));
    let targets = names.iter().zip(numbers[FIXED..].chunks_exact(4));
    let scores = Regression {
        mae: numbers[1],
        rmse: numbers[2],
        r2: numbers[3],
        median_error: numbers[4],
        targets: targets
            .map(|(name, of)| TargetScores {
                name: name.clone(),
                mae: of[0],
                rmse: of[1],
                r2: of[2],
                median_error: of[3],
            })
            .collect(),
        intervals: rows.intervals(task.intervals().and_then(Intervals::level), &numbers),
    };
    Evaluation {
        rows: rows.losses.len(),
        loss: numbers[0],
        scores: Scores::Regression(scores),
        worst: worst(&rows.losses, options.worst).into_iter().map(|row| rows.worst(row)).collect(),
    }
}

/// The loss of each row in the unit of the network's outputs: the mean squared error, or with quantiles
/// the mean pinball loss `max(q r, (q - 1) r)` of the residual `r` (Koenker and Bassett 1978).
fn losses(task: &Task, outputs: &[f32], truth: &[f32]) -> Vec<f64> {
    let (targets, of_each) = (task.names().len(), outputs.len() / truth.len().max(1));
    let rows = outputs.chunks_exact(targets * of_each).zip(truth.chunks_exact(targets));
    rows.map(|(outputs, truth)| {
        let pairs = outputs.chunks_exact(of_each).zip(truth).enumerate();
        let losses = pairs.map(|(target, (outputs, &truth))| loss(task, target, outputs, truth));
        losses.sum::<f64>() / targets as f64
    })
    .collect()
}

/// The loss of the outputs of one target.
fn loss(task: &Task, target: usize, outputs: &[f32], truth: f32) -> f64 {
    let unit = task.scaling().map_or(1.0, |scaling| f64::from(scaling.deviation[target]));
    let residuals = outputs.iter().map(|&z| (task.learned(truth) - task.learned(z)) / unit);
    match task.intervals() {
        Some(Intervals { quantiles, .. }) if !quantiles.is_empty() => {
            let pinball = residuals.zip(quantiles).map(|(r, q)| (q * r).max((q - 1.0) * r));
            pinball.sum::<f64>() / quantiles.len() as f64
        }
        _ => residuals.map(|r| r * r).sum(),
    }
}

/// Lower and upper end of the interval of each value, `[rows, targets]`.
fn bounds(task: &Task, outputs: &[f32]) -> Vec<[f32; 2]> {
    let Some(intervals) = task.intervals() else { return Vec::new() };
    let (targets, is_logarithmic) = (task.names().len(), task.is_logarithmic());
    let cells = outputs.chunks_exact(intervals.width()).enumerate();
    let bounds = cells.map(|(at, of)| intervals.bounds(at % targets, of, is_logarithmic));
    bounds.flatten().collect()
}

fn text(values: &[f32]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Numbers of [`Rows::numbers`] before those of the targets.
const FIXED: usize = 7;

impl Rows<'_> {
    fn of<'a>(&self, values: &'a [f32], row: usize) -> &'a [f32] {
        &values[row * self.width..][..self.width]
    }

    fn worst(&self, row: usize) -> WorstRow {
        WorstRow {
            row,
            loss: self.losses[row],
            truth: text(self.of(self.truth, row)),
            predicted: text(self.of(&self.predicted, row)),
            probability: None,
            is_right: self.losses[row] == 0.0,
        }
    }

    /// The scores of intervals of a level, from the numbers of all rows.
    fn intervals(&self, level: Option<f64>, numbers: &[Estimate]) -> Option<IntervalScores> {
        let level = level?;
        let coverage = match self.width {
            // The share of rows, which has an interval of its own.
            1 => Estimate::weighted_share(
                self.weight((0..self.losses.len()).filter(|&row| self.is_within(row))),
                self.weight(0..self.losses.len()),
            ),
            _ => numbers[5].or_share(self.weight(0..self.losses.len()).rows()),
        };
        Some(IntervalScores { level, coverage, width: numbers[6] })
    }

    /// Returns true if the truth at a place is within its interval.
    fn is_within(&self, at: usize) -> bool {
        let ([low, high], truth) = (self.bounds[at], self.truth[at]);
        low <= truth && truth <= high
    }

    /// The weight of some rows.
    fn weight(&self, rows: impl Iterator<Item = usize>) -> Weight {
        let mut sum = Weight::default();
        rows.for_each(|row| sum.add(self.weights[row]));
        sum
    }

    /// The share of truths within their interval, and the mean width of intervals.
    fn coverage(&self, drawn: &[u32]) -> [f64; 2] {
        let (mut all, mut within, mut widths) = (0.0, 0.0, 0.0);
        for &row in drawn {
            let weight = self.weights[row as usize];
            for at in row as usize * self.width..(row as usize + 1) * self.width {
                let [low, high] = self.bounds[at].map(f64::from);
                all += weight;
                within += if self.is_within(at) { weight } else { 0.0 };
                widths += weight * (high - low);
            }
        }
        [within / all, widths / all]
    }

    /// Loss, then MAE, RMSE, R2 and median error averaged over the targets, then coverage and width of
    /// intervals, which are 0 without any, then the errors of each target.
    fn numbers(&self, drawn: &[u32]) -> Vec<f64> {
        let mut numbers = vec![0.0; FIXED];
        let weighted =
            drawn.iter().map(|&row| self.weights[row as usize] * self.losses[row as usize]);
        numbers[0] = weighted.sum::<f64>() / self.weight(drawn.iter().map(|&row| row as usize)).sum;
        if !self.bounds.is_empty() {
            numbers[5..7].copy_from_slice(&self.coverage(drawn));
        }
        for target in 0..self.width {
            let [mse, mae, r2, median] = self.scores(drawn, target);
            let all = [mae, mse.sqrt(), r2, median];
            for (sum, value) in numbers[1..].iter_mut().zip(all) {
                *sum += value / self.width as f64;
            }
            numbers.extend(all);
        }
        numbers
    }

    /// Mean squared error, mean absolute error, coefficient of determination and median absolute error
    /// of a target.
    fn scores(&self, drawn: &[u32], target: usize) -> [f64; 4] {
        let truth = |row: usize| f64::from(self.truth[row * self.width + target]);
        let rows = drawn.iter().map(|&row| (row as usize, self.weights[row as usize]));
        let n = rows.clone().map(|(_, weight)| weight).sum::<f64>();
        let mean = rows.clone().map(|(row, weight)| weight * truth(row)).sum::<f64>() / n;
        let (mut squares, mut absolutes, mut spread) = (0.0, 0.0, 0.0);
        let mut distances = Vec::with_capacity(drawn.len());
        for (row, weight) in rows {
            let off = f64::from(self.predicted[row * self.width + target]) - truth(row);
            squares += weight * off * off;
            absolutes += weight * off.abs();
            distances.push((off.abs(), weight));
            spread += weight * (truth(row) - mean).powi(2);
        }
        [squares / n, absolutes / n, r2(squares, spread), weighted_median(&mut distances)]
    }
}

/// Coefficient of determination, from the summed squares of the errors and those of the differences
/// from the mean; of a target that is constant, 1 if it is met and else 0, as scikit-learn has it.
pub fn r2(squared_errors: f64, spread: f64) -> f64 {
    match (squared_errors == 0.0, spread == 0.0) {
        (true, _) => 1.0,
        (false, true) => 0.0,
        (false, false) => 1.0 - squared_errors / spread,
    }
}

/// The median of numbers with weights, which are put in another order: the first below which, and with
/// which, lies half of the weight; if it is exactly half, the mean of it and the next that weighs
/// anything, as in scikit-learn. NaN without weight.
fn weighted_median(numbers: &mut [(f64, f64)]) -> f64 {
    if numbers.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        let weight = numbers.first().map_or(0.0, |(_, weight)| *weight);
        let mut plain: Vec<f64> = numbers.iter().map(|(number, _)| *number).collect();
        return if weight > 0.0 { median(&mut plain) } else { f64::NAN };
    }
    numbers.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let half = numbers.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    let mut heavy = numbers.iter().filter(|(_, weight)| *weight > 0.0).peekable();
    while let Some((number, weight)) = heavy.next() {
        below += weight;
        if below >= half {
            let next = heavy.peek().filter(|_| below == half).map_or(*number, |(next, _)| *next);
            return number.midpoint(next);
        }
    }
    f64::NAN
}

/// The median of some numbers, which are put in another order: of an even count the mean of the two in
/// the middle; NaN of none.
pub fn median(numbers: &mut [f64]) -> f64 {
    let middle = numbers.len() / 2;
    if numbers.is_empty() {
        return f64::NAN;
    }
    let (below, &mut upper, _) = numbers.select_nth_unstable_by(middle, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if numbers.len().is_multiple_of(2) => lower + (upper - lower) / 2.0,
        _ => upper,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_middle_two() {
        for (mut numbers, expected) in [
            (vec![3.0], 3.0),
            (vec![3.0, 1.0], 2.0),
            (vec![9.0, 1.0, 5.0], 5.0),
            (vec![4.0, 1.0, 2.0, 100.0], 3.0),
            (vec![2.0, 2.0, 1.0, 2.0], 2.0),
        ] {
            assert_eq!(median(&mut numbers), expected, "{numbers:?}");
        }
        assert!(median(&mut []).is_nan());
    }
}
