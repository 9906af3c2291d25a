//! When a run ends before its last epoch, and which weights it keeps.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is done when something stops being a finite number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OnDivergence {
    /// The run ends with an error.
    #[default]
    Stop,
    /// It goes back to its last checkpoint with half the learning rate, at most so many times.
    Rollback(u32),
}

impl OnDivergence {
    /// How often a run goes back at most.
    pub fn rollbacks(self) -> u32 {
        match self {
            Self::Stop => 0,
            Self::Rollback(most) => most,
        }
    }
}

impl std::fmt::Display for OnDivergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stop => f.write_str("stop"),
            Self::Rollback(most) => write!(f, "rollback:{most}"),
        }
    }
}

impl std::str::FromStr for OnDivergence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let most = match text {
            "stop" => return Ok(Self::Stop),
            "rollback" => Some(3),
            _ => text.strip_prefix("rollback:").and_then(|most| most.parse().ok()),
        };
        // Half of a rate, a thousand times, is zero.
        let most = most.filter(|most| (1..=1000).contains(most));
        most.map(Self::Rollback).ok_or_else(|| {
            format!("`{text}` is neither stop nor rollback nor, such as, rollback:5")
        })
    }
}

impl TryFrom<String> for OnDivergence {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<OnDivergence> for String {
    fn from(choice: OnDivergence) -> Self {
        choice.to_string()
    }
}

/// A setting that can fall to 0 in the second half of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Annealed {
    /// The rates of dropout.
    Dropout,
    /// Weight decay.
    WeightDecay,
}

/// When to end early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without improvement after which the run ends.
    pub patience: u64,
    /// How much better than the best an epoch must be to count as an improvement, in the unit of what
    /// is monitored.
    pub min_improvement: f64,
}

/// Which weights become the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Weights of the best epoch with early stopping, else of the last.
    #[default]
    Auto,
    /// Weights of the last epoch.
    Last,
    /// Weights of the best epoch.
    Best,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: 5, min_improvement: 0.0 }
    }
}
