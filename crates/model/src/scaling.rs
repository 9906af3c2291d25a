//! From the numbers of a network to the unit of a target, and back.

use fireclay_terminal::counted;
use serde::{Deserialize, Serialize};

/// The standardisation of a regression's targets for training: `(target - mean) / deviation`, of the
/// target or of its natural logarithm.
///
/// A network that was trained so gives standardised numbers, and `number · deviation + mean` is a
/// value in the unit of the target, or the logarithm of one.
/// [`Predictor`](crate::Predictor) turns its outputs back by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetScaling {
    /// The mean of each target, by index; finite.
    pub mean: Vec<f32>,
    /// The standard deviation of each target, by index; finite and above 0.
    pub deviation: Vec<f32>,
    /// True if mean and deviation are those of natural logarithms, so that targets are above 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub logarithm: bool,
}

impl TargetScaling {
    /// The scaling of some rows of `values`, which are `[rows, targets]` row by row: mean and
    /// population standard deviation of each target, computed in double precision. A target that is
    /// constant has the deviation 1.
    ///
    /// # Errors
    ///
    /// A [`TargetScalingError`]: numbers too large for a mean or a deviation in single precision.
    ///
    /// # Panics
    ///
    /// If there is no such row: a mistake of the caller, as in slice indexing.
    pub fn fit(values: &[f32], targets: usize, rows: &[usize]) -> Result<Self, TargetScalingError> {
        Self::fitted(values, targets, rows, false)
    }

    /// As [`fit`](Self::fit), of the natural logarithms of the values.
    ///
    /// # Errors
    ///
    /// A [`TargetScalingError`]: a value that is not above 0, in any row.
    ///
    /// # Panics
    ///
    /// As [`fit`](Self::fit).
    pub fn fit_logarithm(
        values: &[f32],
        targets: usize,
        rows: &[usize],
    ) -> Result<Self, TargetScalingError> {
        check_positive(values, targets)?;
        Self::fitted(values, targets, rows, true)
    }

    /// Natural logarithms as they are, of so many targets.
    pub fn of_logarithm(targets: usize) -> Self {
        Self { mean: vec![0.0; targets], deviation: vec![1.0; targets], logarithm: true }
    }

    fn fitted(
        values: &[f32],
        targets: usize,
        rows: &[usize],
        logarithm: bool,
    ) -> Result<Self, TargetScalingError> {
        let (mut mean, mut squares) = (vec![0.0; targets], vec![0.0; targets]);
        for (before, row) in rows.iter().enumerate() {
            let row = &values[row * targets..][..targets];
            // Welford's update (Technometrics 4, 1962), which keeps small variances far from zero.
            let weight = 1.0 / (before + 1) as f64;
            for ((&value, mean), squares) in row.iter().zip(&mut mean).zip(&mut squares) {
                let value = f64::from(value);
                let value = if logarithm { value.ln() } else { value };
                let from_old_mean = value - *mean;
                *mean += from_old_mean * weight;
                *squares += from_old_mean * (value - *mean);
            }
        }
        let count = rows.len().max(1) as f64;
        let deviation = squares.into_iter().map(|sum| match (sum / count).sqrt() as f32 {
            0.0 => 1.0,
            deviation => deviation,
        });
        let (mean, deviation) = (mean.into_iter().map(|m| m as f32).collect(), deviation.collect());
        let scaling = Self { mean, deviation, logarithm };
        scaling.validate(targets)?;
        Ok(scaling)
    }

    /// Checks every number, and that there are as many as targets.
    ///
    /// # Errors
    ///
    /// A [`TargetScalingError`] that names the first number at fault.
    pub fn validate(&self, targets: usize) -> Result<(), TargetScalingError> {
        let (means, deviations) = (self.mean.len(), self.deviation.len());
        if means != targets || deviations != targets {
            return Err(TargetScalingError::Count { means, deviations, targets });
        }
        if let Some(target) = self.mean.iter().position(|mean| !mean.is_finite()) {
            return Err(TargetScalingError::Mean { target, found: self.mean[target] });
        }
        let mut deviations = self.deviation.iter();
        match deviations.position(|deviation| !(deviation.is_finite() && *deviation > 0.0)) {
            Some(target) => {
                Err(TargetScalingError::Deviation { target, found: self.deviation[target] })
            }
            None => Ok(()),
        }
    }

    /// Turns outputs of the network, `[rows, targets, of_each]` row by row, into values in the unit of
    /// each target, in place.
    pub fn restore(&self, outputs: &mut [f32], of_each: usize) {
        for row in outputs.chunks_exact_mut((self.mean.len() * of_each).max(1)) {
            let targets = row.chunks_exact_mut(of_each).zip(&self.mean).zip(&self.deviation);
            for ((outputs, mean), deviation) in targets {
                for output in outputs {
                    let value = *output * deviation + mean;
                    *output = if self.logarithm { value.exp() } else { value };
                }
            }
        }
    }

    /// Standardises values in the unit of each target, `[rows, targets]` row by row, in place.
    pub fn standardize(&self, values: &mut [f32]) {
        for row in values.chunks_exact_mut(self.mean.len().max(1)) {
            for ((value, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
                let given = if self.logarithm { value.ln() } else { *value };
                *value = (given - mean) / deviation;
            }
        }
    }
}

/// Checks that values, `[rows, targets]` row by row, have a logarithm.
///
/// # Errors
///
/// [`TargetScalingError::NotPositive`] of the first that has none.
pub fn check_positive(values: &[f32], targets: usize) -> Result<(), TargetScalingError> {
    match values.iter().position(|value| *value <= 0.0) {
        Some(at) => Err(TargetScalingError::NotPositive {
            row: at / targets,
            target: at % targets,
            found: values[at],
        }),
        None => Ok(()),
    }
}

/// Why numbers cannot be the scaling of targets.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TargetScalingError {
    /// There are more or fewer numbers than targets.
    #[error(
        "the target scaling has {} and {}; the task has {}",
        counted(*means as u64, "mean"),
        counted(*deviations as u64, "deviation"),
        counted(*targets as u64, "target")
    )]
    Count {
        /// Means.
        means: usize,
        /// Deviations.
        deviations: usize,
        /// Targets of the task.
        targets: usize,
    },
    /// A mean is no finite number.
    #[error("the mean of target {target} is {found}; a target scaling needs finite numbers")]
    Mean {
        /// The target, from 0.
        target: usize,
        /// The mean.
        found: f32,
    },
    /// A target without a logarithm.
    #[error("row {row}: target {target} is {found}; a logarithm needs numbers above 0")]
    NotPositive {
        /// The row, from 0.
        row: usize,
        /// The target, from 0.
        target: usize,
        /// Its value.
        found: f32,
    },
    /// A deviation is 0 or below, or no finite number.
    #[error("the deviation of target {target} is {found}; it must be finite and above 0")]
    Deviation {
        /// The target, from 0.
        target: usize,
        /// The deviation.
        found: f32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy`: `a = [[1, 10], [3, 10], [5, 40]]; a.mean(0), a.std(0)`.
    #[test]
    fn means_and_deviations_are_numpys() {
        let values = [1.0, 10.0, 7e8, 7e8, 3.0, 10.0, 5.0, 40.0];
        let found = TargetScaling::fit(&values, 2, &[0, 2, 3]).unwrap();
        assert_eq!(found.mean, [3.0, 20.0]);
        assert_eq!(found.deviation, [1.632_993_2, 14.142_136]);
    }

    #[test]
    fn a_constant_target_has_the_deviation_one() {
        let found = TargetScaling::fit(&[0.1, 2.0, 0.1, 3.0, 0.1, 4.0], 2, &[0, 1, 2]).unwrap();
        assert_eq!((found.mean[0], found.deviation[0]), (0.1, 1.0));
        assert!(found.deviation[1] < 1.0);
    }

    #[test]
    fn numbers_too_large_are_refused() {
        let found = TargetScaling::fit(&[f32::MAX, f32::MIN, f32::MAX, f32::MAX], 1, &[0, 1]);
        assert!(found.is_ok(), "{found:?}");
        let scaling = |mean, deviation| TargetScaling { mean, deviation, logarithm: false };
        let bad = scaling(vec![f32::INFINITY], vec![1.0]);
        assert!(matches!(bad.validate(1), Err(TargetScalingError::Mean { target: 0, .. })));
        for deviation in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let bad = scaling(vec![0.0; 2], vec![1.0, deviation]);
            let found = bad.validate(2);
            assert!(matches!(found, Err(TargetScalingError::Deviation { target: 1, .. })));
            let found = bad.validate(3);
            assert!(matches!(found, Err(TargetScalingError::Count { targets: 3, .. })));
        }
    }

    #[test]
    fn what_is_standardised_is_turned_back() {
        let mut rng = crate::rng::generator(3, crate::rng::Purpose::Weights, 0);
        for (centre, spread) in [(0.0, 1.0), (5000.0, 1000.0), (-1e6, 10.0), (1e-6, 1e-7)] {
            let value = |_| (centre + spread * crate::rng::normal(&mut rng)) as f32;
            let values: Vec<f32> = (0..600).map(value).collect();
            let rows: Vec<usize> = (0..300).collect();
            let scaling = TargetScaling::fit(&values, 2, &rows).unwrap();
            let mut back = values.clone();
            scaling.standardize(&mut back);
            let mean = back.iter().map(|&x| f64::from(x)).sum::<f64>() / 600.0;
            let square = back.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 600.0;
            // The mean itself is rounded.
            assert!(mean.abs() < 0.01 && (square - 1.0).abs() < 0.01, "{mean} {square}");
            scaling.restore(&mut back, 1);
            for (back, value) in back.iter().zip(&values) {
                // Near zero nothing is more exact than the numbers that it is a difference of.
                let size = value.abs().max(centre.abs() as f32).max(spread as f32);
                assert!((back - value).abs() <= 1e-6 * size, "{back} {value}");
            }
        }
    }

    /// `numpy`: `a = numpy.log([1, 10, 100]); a.mean(), a.std()`.
    #[test]
    fn logarithms_are_standardised_and_turned_back() {
        let values = [1.0, 10.0, 5.0, 100.0];
        let found = TargetScaling::fit_logarithm(&values, 1, &[0, 1, 3]).unwrap();
        assert_eq!((found.mean[0], found.deviation[0]), (std::f32::consts::LN_10, 1.880_052_8));
        let mut back = values;
        found.standardize(&mut back);
        assert!(back[1].abs() < 1e-6 && (back[3] - 1.224_744_9).abs() < 1e-6, "{back:?}");
        found.restore(&mut back, 1);
        for (back, value) in back.iter().zip(&values) {
            assert!((back / value - 1.0).abs() < 1e-6, "{back} {value}");
        }
    }

    #[test]
    fn a_value_without_a_logarithm_is_named_in_any_row() {
        for bad in [0.0, -3.0] {
            let found = TargetScaling::fit_logarithm(&[1.0, 2.0, 3.0, bad], 2, &[0]).unwrap_err();
            let expected = TargetScalingError::NotPositive { row: 1, target: 1, found: bad };
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn every_output_of_a_target_is_turned_back() {
        let scaling =
            TargetScaling { mean: vec![10.0, 0.0], deviation: vec![2.0, 1.0], logarithm: false };
        let mut outputs = [0.0, 1.0, 5.0, 6.0, -1.0, 1.0, 7.0, 8.0];
        scaling.restore(&mut outputs, 2);
        assert_eq!(outputs, [10.0, 12.0, 5.0, 6.0, 8.0, 12.0, 7.0, 8.0]);
    }
}
