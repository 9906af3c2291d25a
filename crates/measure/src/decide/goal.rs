//! Goals of a threshold.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The goal of a threshold, which is chosen on rows that a model did not learn from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ThresholdGoal {
    /// `f1`: the highest harmonic mean of precision and recall.
    F1,
    /// `balanced`: the highest mean of the recall of either side (the index of Youden 1950).
    Balanced,
    /// `precision=P`: the highest recall among thresholds of at least this precision.
    Precision(f64),
    /// `recall=R`: the highest precision among thresholds of at least this recall.
    Recall(f64),
    /// `cost=C`: the lowest cost, if a missed positive costs C times as much as a false alarm.
    Cost(f64),
}

impl fmt::Display for ThresholdGoal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F1 => f.write_str("f1"),
            Self::Balanced => f.write_str("balanced"),
            Self::Precision(least) => write!(f, "precision={least}"),
            Self::Recall(least) => write!(f, "recall={least}"),
            Self::Cost(ratio) => write!(f, "cost={ratio}"),
        }
    }
}

impl FromStr for ThresholdGoal {
    type Err = GoalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let goal = match text {
            "f1" => Some(Self::F1),
            "balanced" => Some(Self::Balanced),
            _ => text.split_once('=').and_then(|(name, number)| Self::with_number(name, number)),
        };
        goal.ok_or_else(|| GoalError::Threshold { found: text.to_owned() })
    }
}

impl ThresholdGoal {
    fn with_number(name: &str, number: &str) -> Option<Self> {
        let number: f64 = number.parse().ok()?;
        let is_share = number > 0.0 && number <= 1.0;
        match name {
            "precision" if is_share => Some(Self::Precision(number)),
            "recall" if is_share => Some(Self::Recall(number)),
            "cost" if number > 0.0 && number.is_finite() => Some(Self::Cost(number)),
            _ => None,
        }
    }
}

impl TryFrom<String> for ThresholdGoal {
    type Error = GoalError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ThresholdGoal> for String {
    fn from(goal: ThresholdGoal) -> Self {
        goal.to_string()
    }
}

/// A goal that no model can meet.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GoalError {
    /// No goal of a threshold is called so.
    #[error(
        "`{found}` is no goal of a threshold; goals: f1, balanced, precision=P and recall=R with a share above 0, cost=C with a number above 0"
    )]
    Threshold {
        /// The goal given.
        found: String,
    },
    /// The goal belongs to another kind of task.
    #[error("decision.{goal} (--{goal}) does not fit a {task} task; leave it out")]
    WrongTask {
        /// The setting.
        goal: &'static str,
        /// The kind of task.
        task: &'static str,
    },
    /// A threshold of other than two classes.
    #[error(
        "a threshold (--threshold) decides between two classes or for labels, and the number of classes is {found}; leave it out"
    )]
    Classes {
        /// The number of classes.
        found: usize,
    },
    /// There are no rows to choose on.
    #[error(
        "calibration, thresholds and intervals are chosen on validation samples; give --validation"
    )]
    NoRows,
    /// The coverage is none.
    #[error("decision.interval (--interval) is {found}; it must be above 0 and below 1")]
    Level {
        /// The level given.
        found: f64,
    },
    /// There are too few rows for the coverage.
    #[error(
        "an interval of {level} needs at least {least} validation samples, and there are {rows}; give more with --validation, or a lower --interval"
    )]
    Rows {
        /// The level given.
        level: f64,
        /// The fewest rows.
        least: usize,
        /// The rows.
        rows: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_as_they_are_written() {
        for text in ["f1", "balanced", "precision=0.95", "recall=1", "cost=5"] {
            assert_eq!(text.parse::<ThresholdGoal>().unwrap().to_string(), text);
        }
        for text in ["F1", "precision", "precision=0", "recall=1.5", "cost=-1", "cost=inf", "f1=1"]
        {
            let error = text.parse::<ThresholdGoal>().unwrap_err();
            assert!(error.to_string().contains("balanced"), "{text}: {error}");
        }
    }
}
