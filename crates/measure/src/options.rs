//! How a model is measured.

use serde::{Deserialize, Serialize};

use crate::bootstrap::Draws;

/// How a model is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Rows that are computed at a time; 1024. It changes nothing but time and memory.
    pub batch_size: usize,
    /// Classes that count as one answer, for the top-k accuracies; 3 and 5. Those that are as many
    /// as the classes, or more, are left out.
    pub top: Vec<usize>,
    /// Rows with the greatest loss that are listed; 20.
    pub worst: usize,
    /// Draws of the bootstrap; 1000. Without any, its intervals are the number alone.
    pub resamples: usize,
    /// Fixes the draws of the bootstrap.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch_size: 1024, top: vec![3, 5], worst: 20, resamples: 1000, seed: 0 }
    }
}

impl Options {
    /// The numbers alone: no interval of the bootstrap, no rows, no top-k accuracy.
    pub fn of_numbers() -> Self {
        Self { top: Vec::new(), worst: 0, resamples: 0, ..Self::default() }
    }

    pub(crate) fn draws(&self) -> Draws {
        Draws { resamples: self.resamples, seed: self.seed }
    }
}
