//! The margins of split conformal intervals.
//!
//! The absolute residuals of rows that the network did not learn from, or with quantiles how far the
//! truth lies outside of them (Romano, Patterson and Candès 2019, arXiv 1905.03222, equation 5). Of `n`
//! rows the `⌈(n + 1) level⌉`-th smallest covers a new row with a probability of at least `level`, if
//! that row is exchangeable with them (Vovk, Gammerman and Shafer 2005). With weights it is the smallest
//! up to which the rows have as much weight as so many rows of mean weight (Tibshirani et al. 2019, arXiv
//! 1904.06019, equation 7, of a new row of mean weight).

use fireclay::Task;

use super::GoalError;

/// Checks that a level of coverage has a margin among so many rows.
pub(super) fn check(level: f64, rows: usize) -> Result<(), GoalError> {
    if !(level > 0.0 && level < 1.0) {
        return Err(GoalError::Level { found: level });
    }
    if rank(level, rows) <= rows {
        return Ok(());
    }
    let least = (level / (1.0 - level) - ROUNDING).ceil() as usize;
    Err(GoalError::Rows { level, least, rows })
}

/// The rounding error of a product of a decimal number.
const ROUNDING: f64 = 1e-9;

/// The place of the margin among sorted scores, from 1.
fn rank(level: f64, rows: usize) -> usize {
    (((rows + 1) as f64 * level - ROUNDING).ceil() as usize).max(1)
}

/// The margin of each target, from outputs in its unit, `[rows, outputs]`, and truths,
/// `[rows, targets]`; in the natural logarithm of the unit if the task learns that. The level has been
/// checked.
pub(super) fn margins(
    task: &Task,
    outputs: &[f32],
    truth: &[f32],
    weights: &[f64],
    level: f64,
) -> Vec<f32> {
    let (targets, rows) = (task.names().len(), truth.len() / task.names().len());
    let of_each = outputs.len() / truth.len();
    let all: Vec<f64> = truth
        .iter()
        .zip(outputs.chunks_exact(of_each))
        .map(|(&truth, outputs)| score(task, outputs, truth))
        .collect();
    let mean = weights.iter().sum::<f64>() / rows as f64;
    let needed = (rank(level, rows) as f64 - ROUNDING) * mean;
    (0..targets)
        .map(|target| {
            let scores = all.iter().copied().skip(target).step_by(targets);
            let mut scores: Vec<(f64, f64)> = scores.zip(weights.iter().copied()).collect();
            scores.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            let mut sum = 0.0;
            let margin = scores.iter().find(|(_, weight)| {
                sum += weight;
                sum >= needed
            });
            let margin = margin.or(scores.last()).map_or(0.0, |(score, _)| *score);
            // Never less than the number in double precision.
            let rounded = margin as f32;
            if f64::from(rounded) < margin { rounded.next_up() } else { rounded }
        })
        .collect()
}

/// The distance of a truth from the range of its outputs: negative inside of it.
fn score(task: &Task, outputs: &[f32], truth: f32) -> f64 {
    let (low, high) = (task.learned(outputs[0]), task.learned(outputs[outputs.len() - 1]));
    let truth = task.learned(truth);
    (low - truth).max(truth - high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_needs_rows() {
        assert_eq!(check(0.9, 9), Ok(()));
        assert_eq!(check(0.9, 8), Err(GoalError::Rows { level: 0.9, least: 9, rows: 8 }));
        assert_eq!(check(0.95, 18), Err(GoalError::Rows { level: 0.95, least: 19, rows: 18 }));
        assert_eq!(check(0.5, 1), Ok(()));
        for found in [0.0, 1.0, f64::NAN] {
            assert!(matches!(check(found, 100), Err(GoalError::Level { .. })), "{found}");
        }
    }

    #[test]
    fn margins_are_the_residuals_of_their_rank() {
        let task = Task::regression(vec!["y".to_owned(), "z".to_owned()]);
        let truth: Vec<f32> = (1..=9).flat_map(|row| [row as f32, -10.0 * row as f32]).collect();
        let zeros = vec![0.0; truth.len()];
        assert_eq!(margins(&task, &zeros, &truth, &[1.0; 9], 0.9), [9.0, 90.0]);
        assert_eq!(margins(&task, &zeros, &truth, &[1.0; 9], 0.5), [5.0, 50.0]);
        // The last two rows have more than half of the weight.
        let mut weights = [1.0; 9];
        weights[7..].fill(5.0);
        assert_eq!(margins(&task, &zeros, &truth, &weights, 0.5), [8.0, 80.0]);
        let quantiles = Task::regression(vec!["y".to_owned()]).with_quantiles(vec![0.1, 0.9]);
        let outputs: Vec<f32> = [-3.0, 3.0].repeat(9);
        let truth: Vec<f32> = (1..=9).map(|row| row as f32).collect();
        assert_eq!(margins(&quantiles, &outputs, &truth, &[1.0; 9], 0.9), [6.0]);
        assert_eq!(margins(&quantiles, &outputs, &truth, &[1.0; 9], 0.2), [-1.0]);
    }
}
