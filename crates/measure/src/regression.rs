//! Real numbers: how far off they are.

use fireclay::TargetScaling;

use crate::bootstrap;
use crate::evaluation::{Evaluation, Regression, Scores, TargetScores, WorstRow, worst};
use crate::options::Options;

/// Predictions and truth, both `[rows, targets]`.
struct Rows<'a> {
    predicted: &'a [f32],
    truth: &'a [f32],
    width: usize,
    /// What the error of each target is divided by for the loss.
    units: Vec<f64>,
}

/// Everything that is measured of a regression model, whose targets may be standardized: then so is
/// the loss.
pub(crate) fn evaluation(
    names: &[String],
    scaling: Option<&TargetScaling>,
    predicted: &[f32],
    truth: &[f32],
    options: &Options,
) -> Evaluation {
    let units = match scaling {
        Some(scaling) => scaling.deviation.iter().map(|&d| f64::from(d)).collect(),
        None => vec![1.0; names.len()],
    };
    let rows = Rows { predicted, truth, width: names.len(), units };
    let count = truth.len() / names.len();
    let numbers = bootstrap::estimates(count, options.draws(), |drawn| rows.numbers(drawn));
    let targets = names.iter().zip(numbers[5..].chunks_exact(4));
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
    };
    let losses: Vec<f64> = (0..count).map(|row| rows.loss(row)).collect();
    Evaluation {
        rows: count,
        loss: numbers[0],
        scores: Scores::Regression(scores),
        worst: worst(&losses, options.worst)
            .into_iter()
            .map(|row| WorstRow {
                row,
                loss: losses[row],
                truth: text(rows.of(truth, row)),
                predicted: text(rows.of(predicted, row)),
                probability: None,
                is_right: losses[row] == 0.0,
            })
            .collect(),
    }
}

fn text(values: &[f32]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Rows<'_> {
    fn of<'a>(&self, values: &'a [f32], row: usize) -> &'a [f32] {
        &values[row * self.width..][..self.width]
    }

    /// Mean squared error of a row, in the unit of the loss.
    fn loss(&self, row: usize) -> f64 {
        let pairs = self.of(self.predicted, row).iter().zip(self.of(self.truth, row));
        let pairs = pairs.zip(&self.units);
        let squares = pairs.map(|((&p, &t), unit)| ((f64::from(p) - f64::from(t)) / unit).powi(2));
        squares.sum::<f64>() / self.width as f64
    }

    /// Loss, then MAE, RMSE, R2 and median error averaged over the targets, then those of each target.
    fn numbers(&self, drawn: &[u32]) -> Vec<f64> {
        let mut numbers = vec![0.0; 5];
        for target in 0..self.width {
            let [mse, mae, r2, median] = self.scores(drawn, target);
            let all = [mse / self.units[target].powi(2), mae, mse.sqrt(), r2, median];
            for (sum, value) in numbers.iter_mut().zip(all) {
                *sum += value / self.width as f64;
            }
            numbers.extend(&all[1..]);
        }
        numbers
    }

    /// Mean squared error, mean absolute error, coefficient of determination and median absolute error
    /// of a target.
    fn scores(&self, drawn: &[u32], target: usize) -> [f64; 4] {
        let n = drawn.len() as f64;
        let places: Vec<usize> =
            drawn.iter().map(|&row| row as usize * self.width + target).collect();
        let mean = places.iter().map(|&at| f64::from(self.truth[at])).sum::<f64>() / n;
        let (mut squares, mut absolutes, mut spread) = (0.0, 0.0, 0.0);
        let mut distances = Vec::with_capacity(drawn.len());
        for &at in &places {
            let truth = f64::from(self.truth[at]);
            let off = f64::from(self.predicted[at]) - truth;
            squares += off * off;
            absolutes += off.abs();
            distances.push(off.abs());
            spread += (truth - mean).powi(2);
        }
        [squares / n, absolutes / n, r2(squares, spread), median(&mut distances)]
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
