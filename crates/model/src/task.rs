//! The meaning of a network's outputs.

use serde::{Deserialize, Serialize};

use crate::{
    Decision, DecisionError, Intervals, IntervalsError, TargetScaling, TargetScalingError,
};

/// The kind of prediction; fixes the number of outputs and names each of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Task {
    /// Exactly one of the labels per sample: outputs are logits of a softmax.
    Classification {
        /// Name of each class, by its index.
        labels: Vec<String>,
        /// Calibration, and of two classes the threshold.
        #[serde(default, skip_serializing_if = "Decision::is_default")]
        decision: Decision,
    },
    /// Any number of the labels per sample: outputs are logits of independent sigmoids.
    MultiLabel {
        /// Name of each label, by its index.
        labels: Vec<String>,
        /// Calibration, and the threshold of each label.
        #[serde(default, skip_serializing_if = "Decision::is_default")]
        decision: Decision,
    },
    /// Real numbers, one of each target.
    Regression {
        /// Name of each target, by its index.
        targets: Vec<String>,
        /// The standardisation of the targets for training; none if the network gives values in
        /// their unit by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scaling: Option<TargetScaling>,
        /// The quantiles that the network gives, and the margins of intervals.
        #[serde(default, skip_serializing_if = "Intervals::is_default")]
        intervals: Intervals,
    },
}

impl Task {
    /// Classification into classes of these names.
    pub fn classification(labels: Vec<String>) -> Self {
        Self::Classification { labels, decision: Decision::default() }
    }

    /// Classification into `classes` classes named "0", "1", …
    pub fn numbered_classes(classes: usize) -> Self {
        Self::classification((0..classes).map(|class| class.to_string()).collect())
    }

    /// Any number of these labels.
    pub fn multi_label(labels: Vec<String>) -> Self {
        Self::MultiLabel { labels, decision: Decision::default() }
    }

    /// Regression of these targets, in whose unit the network gives its outputs, one of each.
    pub fn regression(targets: Vec<String>) -> Self {
        Self::Regression { targets, scaling: None, intervals: Intervals::default() }
    }

    /// The same regression with this standardisation of its targets; other tasks have none.
    #[must_use]
    pub fn with_scaling(mut self, found: Option<TargetScaling>) -> Self {
        if let Self::Regression { scaling, .. } = &mut self {
            *scaling = found;
        }
        self
    }

    /// The same regression with these quantiles of each target; other tasks have none.
    #[must_use]
    pub fn with_quantiles(mut self, quantiles: Vec<f64>) -> Self {
        if let Self::Regression { intervals, .. } = &mut self {
            intervals.quantiles = quantiles;
        }
        self
    }

    /// The same task with other names of its targets or labels, by index; as many as there are.
    #[must_use]
    pub fn with_names(mut self, names: Vec<String>) -> Self {
        match &mut self {
            Self::Classification { labels, .. } | Self::MultiLabel { labels, .. } => {
                *labels = names;
            }
            Self::Regression { targets, .. } => *targets = names,
        }
        self
    }

    /// The same task without what was chosen on validation rows: calibration, thresholds and margins.
    #[must_use]
    pub fn undecided(mut self) -> Self {
        match &mut self {
            Self::Classification { decision, .. } | Self::MultiLabel { decision, .. } => {
                *decision = Decision::default();
            }
            Self::Regression { intervals, .. } => intervals.conformal = None,
        }
        self
    }

    /// Names of the classes, labels or targets, by index.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Classification { labels, .. } | Self::MultiLabel { labels, .. } => labels,
            Self::Regression { targets, .. } => targets,
        }
    }

    /// Number of outputs of the network: one for each name, or with quantiles as many for each target
    /// as there are quantiles.
    pub fn outputs(&self) -> usize {
        self.names().len() * self.intervals().map_or(1, Intervals::width)
    }

    /// Returns the standardisation of the targets for training, of a regression that has one.
    pub fn scaling(&self) -> Option<&TargetScaling> {
        match self {
            Self::Regression { scaling, .. } => scaling.as_ref(),
            Self::Classification { .. } | Self::MultiLabel { .. } => None,
        }
    }

    /// Returns the intervals of a regression.
    pub fn intervals(&self) -> Option<&Intervals> {
        match self {
            Self::Regression { intervals, .. } => Some(intervals),
            Self::Classification { .. } | Self::MultiLabel { .. } => None,
        }
    }

    /// Returns the calibration and the thresholds of classes or labels.
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Classification { decision, .. } | Self::MultiLabel { decision, .. } => {
                Some(decision)
            }
            Self::Regression { .. } => None,
        }
    }

    /// Returns true if targets are learned as their natural logarithm.
    pub fn is_logarithmic(&self) -> bool {
        self.scaling().is_some_and(|scaling| scaling.logarithm)
    }

    /// The number that is learned of a value in the unit of its target, before it is standardised.
    pub fn learned(&self, value: f32) -> f64 {
        let value = f64::from(value);
        if self.is_logarithmic() { value.ln() } else { value }
    }

    /// Turns outputs of the network, `[rows, outputs]` row by row, into calibrated logits, or rising
    /// values in the unit of each target, in place.
    #[inline]
    pub fn restore(&self, outputs: &mut [f32]) {
        match self {
            Self::Classification { decision, .. } | Self::MultiLabel { decision, .. } => {
                decision.calibrate(outputs);
            }
            Self::Regression { scaling, intervals, .. } => {
                if let Some(scaling) = scaling {
                    scaling.restore(outputs, intervals.width());
                }
                intervals.uncross(outputs);
            }
        }
    }

    /// The values, `[rows, names]`, in outputs in the unit of each target, `[rows, outputs]`: with
    /// quantiles the middle one of each target.
    pub fn values(&self, outputs: Vec<f32>) -> Vec<f32> {
        match self.intervals() {
            Some(intervals) if intervals.width() > 1 => {
                outputs.into_iter().skip(intervals.middle()).step_by(intervals.width()).collect()
            }
            _ => outputs,
        }
    }

    /// Checks every number of the task.
    ///
    /// # Errors
    ///
    /// A [`TaskError`].
    pub fn validate(&self) -> Result<(), TaskError> {
        match self {
            Self::Classification { labels, decision } => {
                let thresholds = if labels.len() == 2 { 1 } else { 0 };
                Ok(decision.validate(thresholds)?)
            }
            Self::MultiLabel { labels, decision } => Ok(decision.validate(labels.len())?),
            Self::Regression { targets, scaling, intervals } => {
                if let Some(scaling) = scaling {
                    scaling.validate(targets.len())?;
                }
                Ok(intervals.validate(targets.len())?)
            }
        }
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

/// A number that cannot be part of a task.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TaskError {
    /// The scaling of its targets.
    #[error(transparent)]
    Scaling(#[from] TargetScalingError),
    /// Its calibration or thresholds.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// Its quantiles or margins.
    #[error(transparent)]
    Intervals(#[from] IntervalsError),
}
