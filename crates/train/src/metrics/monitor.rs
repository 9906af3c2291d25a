//! What tells a good epoch from a bad one.

use std::fmt;
use std::str::FromStr;

use fireclay::Task;
use serde::{Deserialize, Serialize};

use super::errors::NAMES;
use super::{MetricChoice, MetricError, average_precision};

/// What tells a good epoch from a bad one: a metric on the validation split, by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Monitor {
    /// `loss`: the lowest is the best.
    #[default]
    Loss,
    /// `accuracy`: the highest is the best; not of a regression.
    Accuracy,
    /// `mae`, `rmse`, `r2` or `median-error`, of a regression.
    Error(ErrorName),
    /// One of those that are measured if they are asked for; the highest is the best.
    Choice(MetricChoice),
}

/// The name of one of the errors of a regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorName {
    name: &'static str,
    more_is_better: bool,
}

impl Monitor {
    /// Whether the highest number is the best, and not the lowest.
    pub fn more_is_better(self) -> bool {
        match self {
            Self::Loss => false,
            Self::Accuracy | Self::Choice(_) => true,
            Self::Error(error) => error.more_is_better,
        }
    }

    /// The metric that has to be asked for, if it is one.
    pub fn choice(self) -> Option<MetricChoice> {
        match self {
            Self::Choice(choice) => Some(choice),
            Self::Loss | Self::Accuracy | Self::Error(_) => None,
        }
    }

    /// Checks that the metric is measured of the validation rows of a task.
    ///
    /// # Errors
    ///
    /// [`MetricError::Monitor`] with the names that fit the task, or why the metric does not.
    pub fn validate(self, task: &Task) -> Result<(), MetricError> {
        let is_regression = matches!(task, Task::Regression { .. });
        let fits = match self {
            Self::Loss => true,
            Self::Accuracy => !is_regression,
            Self::Error(_) => is_regression,
            Self::Choice(MetricChoice::LearningRate | MetricChoice::Speed) => false,
            Self::Choice(MetricChoice::TopK(_)) if matches!(task, Task::MultiLabel { .. }) => false,
            Self::Choice(_) if is_regression => false,
            Self::Choice(choice) => return choice.validate(task),
        };
        if fits {
            return Ok(());
        }
        Err(MetricError::Monitor { monitor: self, task: task.kind(), choices: choices(task) })
    }
}

/// What can be monitored of a task.
fn choices(task: &Task) -> Vec<&'static str> {
    let mut names = vec!["loss"];
    if matches!(task, Task::Regression { .. }) {
        names.extend(NAMES.map(|(name, _)| name));
        return names;
    }
    names.push("accuracy");
    if matches!(task, Task::Classification { .. }) {
        names.push("top-5");
    }
    names.extend(["macro-precision", "macro-recall", "macro-f1", "auroc", average_precision::NAME]);
    names
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss => f.write_str("loss"),
            Self::Accuracy => f.write_str("accuracy"),
            Self::Error(error) => f.write_str(error.name),
            Self::Choice(choice) => choice.fmt(f),
        }
    }
}

impl FromStr for Monitor {
    type Err = MetricError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "loss" => return Ok(Self::Loss),
            "accuracy" => return Ok(Self::Accuracy),
            _ => {}
        }
        if let Some((name, more_is_better)) = NAMES.into_iter().find(|(name, _)| *name == text) {
            return Ok(Self::Error(ErrorName { name, more_is_better }));
        }
        text.parse()
            .map(Self::Choice)
            .map_err(|_| MetricError::UnknownMonitor { found: text.to_owned() })
    }
}

impl TryFrom<String> for Monitor {
    type Error = MetricError;

    fn try_from(text: String) -> Result<Self, MetricError> {
        text.parse()
    }
}

impl From<Monitor> for String {
    fn from(monitor: Monitor) -> Self {
        monitor.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> [Task; 3] {
        let labels = || ["a", "b", "c", "d", "e", "f"].map(String::from).to_vec();
        [Task::classification(labels()), Task::multi_label(labels()), Task::regression(labels())]
    }

    #[test]
    fn every_choice_of_a_task_fits_it_and_is_read_back() {
        for task in tasks() {
            for name in choices(&task) {
                let monitor: Monitor = name.parse().unwrap();
                assert_eq!(monitor.to_string(), name);
                monitor.validate(&task).unwrap();
            }
        }
    }

    #[test]
    fn names_of_older_runs_are_read() {
        for (old, name) in [
            ("precision", "macro-precision"),
            ("recall", "macro-recall"),
            ("f-1", "macro-f1"),
            ("f-0.5", "macro-f0.5"),
        ] {
            assert_eq!(old.parse::<Monitor>().unwrap().to_string(), name);
            assert_eq!(old.parse::<Monitor>(), name.parse());
        }
    }

    #[test]
    fn directions_are_those_of_the_metrics() {
        for (name, more) in [("loss", false), ("rmse", false), ("r2", true), ("macro-f2", true)] {
            assert_eq!(name.parse::<Monitor>().unwrap().more_is_better(), more, "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_answered_with_what_does() {
        let [classes, labels, values] = tasks();
        for (name, task, word) in [
            ("rmse", &classes, "loss, accuracy, top-5"),
            ("accuracy", &values, "loss, mae, rmse, r2, median-error"),
            ("macro-f1", &values, "loss, mae, rmse, r2, median-error"),
            ("top-2", &labels, "loss, accuracy, macro-precision"),
            ("speed", &classes, "loss, accuracy, top-5"),
            ("top-9", &classes, "more classes than the 6"),
        ] {
            let error = name.parse::<Monitor>().unwrap().validate(task).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(name), "{name}: {error}");
        }
        let error = "rsme".parse::<Monitor>().unwrap_err().to_string();
        assert!(error.contains("`rsme`") && error.contains("rmse"), "{error}");
    }
}
