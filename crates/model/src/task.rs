//! What the outputs of a network mean.

use serde::{Deserialize, Serialize};

/// What is predicted; fixes the number of outputs and names each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Task {
    /// Exactly one of the labels per sample: outputs are logits of a softmax.
    Classification {
        /// Name of each class, by its index.
        labels: Vec<String>,
    },
    /// Any number of the labels per sample: outputs are logits of independent sigmoids.
    MultiLabel {
        /// Name of each label, by its index.
        labels: Vec<String>,
    },
    /// One real number per target.
    Regression {
        /// Name of each target, by its index.
        targets: Vec<String>,
    },
}

impl Task {
    /// Classification into `classes` classes named "0", "1", …
    pub fn numbered_classes(classes: usize) -> Self {
        Self::Classification { labels: (0..classes).map(|class| class.to_string()).collect() }
    }

    /// Names of the outputs, by index.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Classification { labels } | Self::MultiLabel { labels } => labels,
            Self::Regression { targets } => targets,
        }
    }

    /// Number of outputs of the network.
    pub fn outputs(&self) -> usize {
        self.names().len()
    }

    /// The word for this kind of task in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Classification { .. } => "classification",
            Self::MultiLabel { .. } => "multi-label",
            Self::Regression { .. } => "regression",
        }
    }
}
