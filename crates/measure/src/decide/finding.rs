//! Results of a choice, in words.

use std::fmt;

use super::ThresholdGoal;
use crate::evaluation::{Evaluation, Scores};

/// A choice on validation rows, or the lack of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// A temperature; loss and calibration error before and after.
    Temperature {
        /// The temperature.
        temperature: f32,
        /// The mean loss before and after.
        loss: [f64; 2],
        /// The expected calibration error before and after.
        error: [f64; 2],
    },
    /// No temperature has the lowest loss.
    NoTemperature,
    /// A threshold, and what it comes to.
    Threshold {
        /// The label.
        label: String,
        /// The goal.
        goal: ThresholdGoal,
        /// The threshold.
        threshold: f32,
        /// The number that the goal is about.
        score: f64,
    },
    /// No threshold meets the goal.
    NoThreshold {
        /// The label.
        label: String,
        /// The goal.
        goal: ThresholdGoal,
    },
    /// Margins of intervals.
    Interval {
        /// Their coverage.
        level: f64,
        /// Rows that they were chosen on.
        rows: usize,
    },
}

/// The finding of a temperature, from an evaluation without it and one with it.
pub(super) fn of_temperature(
    temperature: Option<f32>,
    before: &Evaluation,
    after: &Evaluation,
) -> Finding {
    let Some(temperature) = temperature else { return Finding::NoTemperature };
    let loss = [before.loss.value, after.loss.value];
    Finding::Temperature { temperature, loss, error: [error(before), error(after)] }
}

/// The expected calibration error of classes or labels.
fn error(evaluation: &Evaluation) -> f64 {
    match &evaluation.scores {
        Scores::Classification(scores) => scores.calibration.error.value,
        Scores::MultiLabel(scores) => scores.calibration.error.value,
        Scores::Regression(_) => 0.0,
    }
}

impl Finding {
    /// The numbers of the validation rows that a model keeps, by name.
    pub fn numbers(&self) -> Vec<(String, f64)> {
        let Self::Temperature { loss, error, .. } = self else { return Vec::new() };
        let numbers = [("loss", loss), ("calibration-error", error)];
        let numbers = numbers.into_iter().flat_map(|(name, values)| {
            ["before", "after"]
                .into_iter()
                .zip(values)
                .map(move |(when, &value)| (format!("validation {name} {when} calibration"), value))
        });
        numbers.collect()
    }

    /// Returns true if there was nothing to choose.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::NoTemperature | Self::NoThreshold { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temperature { temperature, loss, error } => {
                let [loss, calibrated] = loss;
                let [error, after] = error.map(|error| 100.0 * error);
                write!(
                    f,
                    "temperature {temperature:.4}: validation loss {loss:.4} to {calibrated:.4}, \
                     calibration error {error:.2} % to {after:.2} %"
                )
            }
            Self::NoTemperature => f.write_str(
                "the validation samples give no temperature, as they are all right, or no better \
                 than chance; the model is not calibrated",
            ),
            Self::Threshold { label, goal, threshold, score } => {
                write!(f, "threshold of {label:?} {threshold:.4}: {}", goal.said(*score))
            }
            Self::NoThreshold { label, goal } => write!(
                f,
                "no threshold of {label:?} meets {goal} on the validation samples; it stays 0.5"
            ),
            Self::Interval { level, rows } => {
                write!(
                    f,
                    "intervals of {} %, from the errors of {rows} validation samples",
                    100.0 * level
                )
            }
        }
    }
}

impl ThresholdGoal {
    /// The number that the goal is about, on the validation samples.
    fn said(self, score: f64) -> String {
        let name = match self {
            Self::F1 => "F1",
            Self::Balanced => "balanced accuracy",
            Self::Precision(_) => "precision",
            Self::Recall(_) => "recall",
            Self::Cost(_) => return format!("validation cost {score:.4} per sample"),
        };
        format!("validation {name} {:.2} %", 100.0 * score)
    }
}
