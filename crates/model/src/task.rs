//! The meaning of a network's outputs.

use serde::{Deserialize, Serialize};

use crate::{TargetScaling, TargetScalingError};

/// The kind of prediction; fixes the number of outputs and names each of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
        /// The standardisation of the targets for training; none if the network gives values in
        /// their unit by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scaling: Option<TargetScaling>,
    },
}

impl Task {
    /// Classification into `classes` classes named "0", "1", …
    pub fn numbered_classes(classes: usize) -> Self {
        Self::Classification { labels: (0..classes).map(|class| class.to_string()).collect() }
    }

    /// Regression of these targets, in whose unit the network gives its outputs.
    pub fn regression(targets: Vec<String>) -> Self {
        Self::Regression { targets, scaling: None }
    }

    /// The same task with other names of its outputs, by index; as many as there are.
    #[must_use]
    pub fn with_names(self, names: Vec<String>) -> Self {
        match self {
            Self::Classification { .. } => Self::Classification { labels: names },
            Self::MultiLabel { .. } => Self::MultiLabel { labels: names },
            Self::Regression { scaling, .. } => Self::Regression { targets: names, scaling },
        }
    }

    /// Names of the outputs, by index.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Classification { labels } | Self::MultiLabel { labels } => labels,
            Self::Regression { targets, .. } => targets,
        }
    }

    /// Number of outputs of the network.
    pub fn outputs(&self) -> usize {
        self.names().len()
    }

    /// Returns the standardisation of the targets for training, of a regression that has one.
    pub fn scaling(&self) -> Option<&TargetScaling> {
        match self {
            Self::Regression { scaling, .. } => scaling.as_ref(),
            Self::Classification { .. } | Self::MultiLabel { .. } => None,
        }
    }

    /// Turns outputs of the network, `[rows, outputs]` row by row, into logits, or values in the unit
    /// of each target, in place.
    #[inline]
    pub fn restore(&self, outputs: &mut [f32]) {
        if let Some(scaling) = self.scaling() {
            scaling.restore(outputs);
        }
    }

    /// Checks the scaling of the targets, if there is one.
    ///
    /// # Errors
    ///
    /// A [`TargetScalingError`].
    pub fn validate(&self) -> Result<(), TargetScalingError> {
        self.scaling().map_or(Ok(()), |scaling| scaling.validate(self.outputs()))
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
