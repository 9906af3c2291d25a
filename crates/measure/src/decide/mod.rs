//! Decisions of a finished model, chosen on rows that it did not learn from: temperature, thresholds and
//! the margins of intervals.

mod finding;
mod goal;
mod margins;
mod temperature;
mod threshold;

use fireclay::{Conformal, Task};
use fireclay_data::Targets;
use serde::{Deserialize, Serialize};

use crate::error::EvaluateError;
use crate::evaluate::evaluate_weighted;
use crate::options::Options;

pub use finding::Finding;
pub use goal::{GoalError, ThresholdGoal};

/// The choices on validation rows after training; by default none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Goals {
    /// Divides logits by the temperature with the lowest loss.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub calibrate: bool,
    /// The goal of the threshold of the second of two classes, or of every label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<ThresholdGoal>,
    /// The coverage of the intervals of a regression, above 0 and below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<f64>,
}

/// A task with what was chosen for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The task.
    pub task: Task,
    /// The choices, and the lack of some.
    pub findings: Vec<Finding>,
}

impl Goals {
    /// Returns true if nothing is chosen.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that the goals fit the task, and so many validation rows.
    ///
    /// # Errors
    ///
    /// A [`GoalError`] that names the goal.
    pub fn validate(&self, task: &Task, rows: usize) -> Result<(), GoalError> {
        if self.is_default() {
            return Ok(());
        }
        let kind = task.kind();
        let is_regression = matches!(task, Task::Regression { .. });
        if self.calibrate && is_regression {
            return Err(GoalError::WrongTask { goal: "calibrate", task: kind });
        }
        if self.threshold.is_some() && is_regression {
            return Err(GoalError::WrongTask { goal: "threshold", task: kind });
        }
        if self.interval.is_some() && !is_regression {
            return Err(GoalError::WrongTask { goal: "interval", task: kind });
        }
        let is_several = matches!(task, Task::Classification { labels, .. } if labels.len() != 2);
        if self.threshold.is_some() && is_several {
            return Err(GoalError::Classes { found: task.outputs() });
        }
        if rows == 0 {
            return Err(GoalError::NoRows);
        }
        self.interval.map_or(Ok(()), |level| margins::check(level, rows))
    }

    /// Chooses on rows what the goals ask for: from logits, or values in the unit of their target,
    /// `[rows, outputs]`, of a task for which nothing was chosen yet.
    ///
    /// First the temperature, then thresholds of the calibrated probabilities. Rows count as much as
    /// their weights say, `[rows]`, or 1 each. What cannot be chosen is left as it is, and is among the
    /// findings.
    ///
    /// # Errors
    ///
    /// An [`EvaluateError`]: targets of another kind or number, an output that is not finite.
    pub fn decide(
        &self,
        task: &Task,
        outputs: &[f32],
        targets: &Targets,
        weights: Option<&[f32]>,
    ) -> Result<Decided, EvaluateError> {
        let mut decided = Decided { task: task.clone(), findings: Vec::new() };
        // That the outputs are those of the targets.
        let numbers = Options::of_numbers();
        let before = evaluate_weighted(task, outputs, targets, weights, &numbers)?;
        let weights_of_rows = match weights {
            Some(weights) => weights.iter().map(|&weight| f64::from(weight)).collect(),
            None => vec![1.0; before.rows],
        };
        match (&mut decided.task, targets) {
            (Task::Classification { decision, .. }, Targets::Classes { ids, .. })
                if self.calibrate =>
            {
                decision.temperature = temperature::of_classes(outputs, ids, &weights_of_rows);
            }
            (Task::MultiLabel { decision, .. }, Targets::MultiLabel { values, .. })
                if self.calibrate =>
            {
                decision.temperature = temperature::of_labels(outputs, values, &weights_of_rows);
            }
            (Task::Regression { intervals, .. }, Targets::Values { values, .. }) => {
                if let Some(level) = self.interval {
                    let margins = margins::margins(task, outputs, values, &weights_of_rows, level);
                    let rows = before.rows;
                    decided.findings.push(Finding::Interval { level, rows });
                    intervals.conformal = Some(Conformal { level, margins });
                }
            }
            _ => {}
        }
        let mut outputs = outputs.to_vec();
        if self.interval.is_none() {
            decided.task.restore(&mut outputs);
        }
        if self.calibrate {
            let after = evaluate_weighted(&decided.task, &outputs, targets, weights, &numbers)?;
            let temperature = decided.task.decision().and_then(|decision| decision.temperature);
            decided.findings.push(finding::of_temperature(temperature, &before, &after));
        }
        if let Some(goal) = self.threshold {
            threshold::choose(goal, &outputs, targets, &weights_of_rows, &mut decided);
        }
        Ok(decided)
    }
}
