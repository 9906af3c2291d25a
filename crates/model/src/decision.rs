//! From probabilities to an answer: calibration and thresholds.

use serde::{Deserialize, Serialize};

/// The calibration of a network's logits and the thresholds of its labels, both chosen on validation
/// rows after training; by default nothing of either.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decision {
    /// The temperature, by which logits are divided (Guo et al. 2017, arXiv 1706.04599); finite and
    /// above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// The least probability of a positive answer, each in `[0, 1]`: of every label by index, or of the
    /// second of two classes. Empty means one half, and the most probable of the classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<f32>,
}

impl Decision {
    /// Returns true if nothing was chosen.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Divides logits by the temperature, in place.
    #[inline]
    pub fn calibrate(&self, logits: &mut [f32]) {
        if let Some(temperature) = self.temperature {
            logits.iter_mut().for_each(|logit| *logit /= temperature);
        }
    }

    /// The least probability of a label, by index.
    pub fn threshold(&self, label: usize) -> f32 {
        self.thresholds.get(label).copied().unwrap_or(0.5)
    }

    /// The class that is answered: with a threshold the second of two if its probability reaches it,
    /// else the first of the most probable.
    pub fn class(&self, probabilities: &[f32]) -> usize {
        match (&self.thresholds[..], probabilities) {
            ([threshold], [_, second]) => usize::from(second >= threshold),
            _ => first_largest(probabilities),
        }
    }

    /// Checks every number, and that there are as many thresholds as `expected`, or none.
    ///
    /// # Errors
    ///
    /// A [`DecisionError`] that names the number at fault.
    pub fn validate(&self, expected: usize) -> Result<(), DecisionError> {
        if let Some(found) = self.temperature.filter(|t| !(t.is_finite() && *t > 0.0)) {
            return Err(DecisionError::Temperature { found });
        }
        let found = self.thresholds.len();
        if found != 0 && found != expected {
            return Err(DecisionError::Count { found, expected });
        }
        match self.thresholds.iter().position(|threshold| !(0.0..=1.0).contains(threshold)) {
            Some(at) => Err(DecisionError::Threshold { at, found: self.thresholds[at] }),
            None => Ok(()),
        }
    }
}

/// Index of the largest number, of equal ones the first.
pub fn first_largest(numbers: &[f32]) -> usize {
    (1..numbers.len()).fold(0, |best, i| if numbers[i] > numbers[best] { i } else { best })
}

/// A number that cannot be part of the decision of a model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecisionError {
    /// The temperature is 0 or below, or no finite number.
    #[error("the temperature of the task is {found}; it must be finite and above 0")]
    Temperature {
        /// The temperature.
        found: f32,
    },
    /// There are more or fewer thresholds than labels that need one.
    #[error("the task has {found} thresholds; it needs {expected}")]
    Count {
        /// Thresholds.
        found: usize,
        /// One for each label, or one for two classes.
        expected: usize,
    },
    /// A threshold is no probability.
    #[error("threshold {at} of the task is {found}; it must be from 0 to 1")]
    Threshold {
        /// Its index.
        at: usize,
        /// The threshold.
        found: f32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_decides_between_two_classes_only() {
        let strict = Decision { thresholds: vec![0.8], ..Decision::default() };
        assert_eq!(strict.class(&[0.3, 0.7]), 0);
        assert_eq!(strict.class(&[0.2, 0.8]), 1);
        assert_eq!(strict.class(&[0.1, 0.2, 0.7]), 2);
        assert_eq!(Decision::default().class(&[0.5, 0.5]), 0);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for found in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let bad = Decision { temperature: Some(found), ..Decision::default() };
            assert!(matches!(bad.validate(1), Err(DecisionError::Temperature { .. })), "{found}");
        }
        for found in [-0.1, 1.1, f32::NAN] {
            let bad = Decision { thresholds: vec![0.5, found], ..Decision::default() };
            assert!(matches!(bad.validate(2), Err(DecisionError::Threshold { at: 1, .. })));
        }
        let bad = Decision { thresholds: vec![0.5; 2], ..Decision::default() };
        assert!(matches!(bad.validate(1), Err(DecisionError::Count { found: 2, expected: 1 })));
    }
}
