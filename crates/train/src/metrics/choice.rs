//! The metrics that can be asked for, by name.

use std::fmt;
use std::str::FromStr;

use fireclay::Task;
use serde::{Deserialize, Serialize};

use super::errors::NAMES;
use super::{Monitor, average_precision};

/// A metric beside those of every run: the loss, the accuracy, and the errors of a regression.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MetricChoice {
    /// `top-K`: the right class is among the K most probable.
    TopK(usize),
    /// `macro-precision`: of what was called a class, the share that is; mean over classes.
    Precision,
    /// `macro-recall`: of what is a class, the share called so; mean over classes.
    Recall,
    /// `macro-fBETA`, such as `macro-f1`: weighted harmonic mean of precision and recall; mean over
    /// classes.
    FBeta(f64),
    /// `auroc`: area under the receiver operating characteristic, one class against the rest.
    Auroc,
    /// `average-precision`: the precision at each score of a row of a class, averaged; of two classes
    /// that of the second, else mean over classes.
    AveragePrecision,
    /// `learning-rate`: that of the last step.
    LearningRate,
    /// `speed`: optimizer steps per second.
    Speed,
}

impl fmt::Display for MetricChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopK(k) => write!(f, "top-{k}"),
            Self::Precision => f.write_str("macro-precision"),
            Self::Recall => f.write_str("macro-recall"),
            Self::FBeta(beta) => write!(f, "macro-f{beta}"),
            Self::Auroc => f.write_str("auroc"),
            Self::AveragePrecision => f.write_str(average_precision::NAME),
            Self::LearningRate => f.write_str("learning-rate"),
            Self::Speed => f.write_str("speed"),
        }
    }
}

impl FromStr for MetricChoice {
    type Err = MetricError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if ["loss", "accuracy"].into_iter().chain(NAMES.map(|(name, _)| name)).any(|n| n == text) {
            return Err(MetricError::Always { found: text.to_owned() });
        }
        match text {
            // The second name is that of older runs.
            "macro-precision" | "precision" => Ok(Self::Precision),
            "macro-recall" | "recall" => Ok(Self::Recall),
            "auroc" => Ok(Self::Auroc),
            average_precision::NAME => Ok(Self::AveragePrecision),
            "learning-rate" => Ok(Self::LearningRate),
            "speed" => Ok(Self::Speed),
            _ => Self::with_number(text)
                .ok_or_else(|| MetricError::Unknown { found: text.to_owned() }),
        }
    }
}

impl MetricChoice {
    /// `top-K`, or `macro-fBETA`, which older runs call `f-BETA`.
    fn with_number(text: &str) -> Option<Self> {
        if let Some(k) = text.strip_prefix("top-") {
            return k.parse().ok().filter(|&k| k > 0).map(Self::TopK);
        }
        let beta = text.strip_prefix("macro-f").or_else(|| text.strip_prefix("f-"))?;
        let beta = beta.parse().ok().filter(|beta: &f64| beta.is_finite() && *beta > 0.0);
        beta.map(Self::FBeta)
    }
}

impl TryFrom<String> for MetricChoice {
    type Error = MetricError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MetricChoice> for String {
    fn from(choice: MetricChoice) -> Self {
        choice.to_string()
    }
}

/// Why a metric cannot be measured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// No metric is called so.
    #[error(
        "unknown metric `{found}`; metrics: top-K (such as top-5), macro-precision, macro-recall, macro-fBETA (such as macro-f1), auroc, average-precision, learning-rate, speed"
    )]
    Unknown {
        /// The name given.
        found: String,
    },
    /// A metric of every run that it fits.
    #[error("`{found}` is measured in every run that it fits; leave it out")]
    Always {
        /// The name given.
        found: String,
    },
    /// No metric that can be monitored is called so.
    #[error(
        "unknown metric `{found}`; what can be monitored: loss; accuracy, top-K (such as top-5), macro-precision, macro-recall, macro-fBETA (such as macro-f1), auroc and average-precision of classes or labels; {} of a regression",
        NAMES.map(|(name, _)| name).join(", ")
    )]
    UnknownMonitor {
        /// The name given.
        found: String,
    },
    /// A metric that is not measured of the validation rows of such a task.
    #[error("the monitor {monitor} does not fit a {task} task; choose one of {}", choices.join(", "))]
    Monitor {
        /// The metric.
        monitor: Monitor,
        /// The kind of task.
        task: &'static str,
        /// The metrics that fit it.
        choices: Vec<&'static str>,
    },
    /// The metric belongs to another kind of task.
    #[error("metric {metric} does not fit a {task} task")]
    WrongTask {
        /// The metric.
        metric: MetricChoice,
        /// The kind of task.
        task: &'static str,
    },
    /// Fewer than two classes.
    #[error("metric {metric} needs at least 2 classes and there is 1")]
    OneClass {
        /// The metric.
        metric: MetricChoice,
    },
    /// More guesses than classes.
    #[error("metric {metric} asks for more classes than the {classes} there are")]
    TooManyClasses {
        /// The metric.
        metric: MetricChoice,
        /// Classes of the task.
        classes: usize,
    },
}

impl MetricChoice {
    /// Checks that the metric fits the task.
    ///
    /// # Errors
    ///
    /// A [`MetricError`] that says why it does not.
    pub fn validate(self, task: &Task) -> Result<(), MetricError> {
        let fits = match self {
            Self::LearningRate | Self::Speed => true,
            Self::TopK(_) => matches!(task, Task::Classification { .. }),
            _ => !matches!(task, Task::Regression { .. }),
        };
        match self {
            _ if !fits => Err(MetricError::WrongTask { metric: self, task: task.kind() }),
            Self::Precision
            | Self::Recall
            | Self::FBeta(_)
            | Self::Auroc
            | Self::AveragePrecision
                if task.outputs() < 2 =>
            {
                Err(MetricError::OneClass { metric: self })
            }
            Self::TopK(k) if k > task.outputs() => {
                Err(MetricError::TooManyClasses { metric: self, classes: task.outputs() })
            }
            _ => Ok(()),
        }
    }
}
