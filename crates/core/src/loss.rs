//! Losses, which training minimises.

use burn::tensor::activation::softplus_with_threshold;
use burn::tensor::{Tensor, TensorData};
use fireclay_kernels::{Smoothing, cross_entropy};
use serde::{Deserialize, Serialize};

use crate::{IntervalsError, TargetTensor, Task, check_quantiles};

/// A loss: one number per sample, of which training minimises the mean.
///
/// Several outputs of one sample are averaged. In regression, outputs and targets are in one unit: that
/// of the network's outputs, which is a deviation where the targets are standardised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Loss {
    /// Softmax cross-entropy of logits against a class: `-log softmax(z)[class]`.
    CrossEntropy(CrossEntropy),
    /// Binary cross-entropy of logits against 0/1 labels: `-t log σ(z) - (1 - t) log(1 - σ(z))`.
    BinaryCrossEntropy,
    /// Squared error: `(z - t)²`.
    Mse,
    /// Absolute error: `|z - t|`.
    Mae,
    /// Squared error for small residuals, absolute for large ones (Huber 1964).
    Huber(Huber),
    /// Pinball loss of quantiles, `max(q r, (q - 1) r)` of the residual `r = t - z` (Koenker and Bassett
    /// 1978, Econometrica 46); each target has as many outputs as there are quantiles.
    Quantile(Quantile),
}

/// Settings of the softmax cross-entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {
    /// Share of the target given evenly to all classes, in `[0, 1)` (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// Weight of each class, by index; none means 1 each. As in PyTorch, the mean over a batch is
    /// divided by the summed weights of its samples' classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<Vec<f64>>,
}

/// Settings of the Huber loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Huber {
    /// Residual at which the loss turns from `r² / 2` to `delta (|r| - delta / 2)`; positive. Of
    /// standardised targets it is counted in deviations.
    pub delta: f64,
}

/// Settings of the pinball loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantile {
    /// The quantiles that are learned, rising, each above 0 and below 1.
    pub quantiles: Vec<f64>,
}

impl Default for Quantile {
    /// The median, and an interval of 90 %.
    fn default() -> Self {
        Self { quantiles: vec![0.05, 0.5, 0.95] }
    }
}

impl Default for Huber {
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

impl Loss {
    /// The usual loss for a task: cross-entropy, binary cross-entropy or squared error, or the pinball
    /// loss of its quantiles.
    pub fn default_for(task: &Task) -> Self {
        match task {
            Task::Classification { .. } => Self::CrossEntropy(CrossEntropy::default()),
            Task::MultiLabel { .. } => Self::BinaryCrossEntropy,
            Task::Regression { intervals, .. } if intervals.quantiles.is_empty() => Self::Mse,
            Task::Regression { intervals, .. } => {
                Self::Quantile(Quantile { quantiles: intervals.quantiles.clone() })
            }
        }
    }

    /// The name in files and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CrossEntropy(_) => "cross-entropy",
            Self::BinaryCrossEntropy => "binary-cross-entropy",
            Self::Mse => "mse",
            Self::Mae => "mae",
            Self::Huber(_) => "huber",
            Self::Quantile(_) => "quantile",
        }
    }

    /// Checks the settings, and that the loss fits the task.
    ///
    /// # Errors
    ///
    /// A [`LossError`] that says what is wrong.
    pub fn validate(&self, task: &Task) -> Result<(), LossError> {
        let fits = match self {
            Self::CrossEntropy(_) => matches!(task, Task::Classification { .. }),
            Self::BinaryCrossEntropy => matches!(task, Task::MultiLabel { .. }),
            Self::Mse | Self::Mae | Self::Huber(_) | Self::Quantile(_) => {
                matches!(task, Task::Regression { .. })
            }
        };
        if !fits {
            let usual = Self::default_for(task).name();
            return Err(LossError::WrongTask { loss: self.name(), task: task.kind(), usual });
        }
        let learned = match self {
            Self::Quantile(loss) => &loss.quantiles[..],
            _ => &[],
        };
        check_quantiles(learned)?;
        let of_model = task.intervals().map_or(&[][..], |intervals| &intervals.quantiles);
        if learned != of_model {
            let (found, expected) = (learned.to_vec(), of_model.to_vec());
            return Err(LossError::OtherQuantiles { loss: self.name(), found, expected });
        }
        match self {
            Self::CrossEntropy(settings) => settings.validate(task.outputs()),
            Self::Huber(Huber { delta }) if !(delta.is_finite() && *delta > 0.0) => {
                Err(LossError::BadSetting { setting: "delta", found: *delta, expected: "positive" })
            }
            _ => Ok(()),
        }
    }

    /// Loss of each sample, `[batch]`, weighted by its class where there are class weights.
    ///
    /// `outputs` is `[batch, outputs]`: logits, or values in regression.
    ///
    /// # Panics
    ///
    /// If the kind of targets is not the loss's, which [`validate`](Self::validate) rules out.
    pub fn rows(&self, outputs: Tensor<2>, targets: &TargetTensor) -> Tensor<1> {
        match (self, targets) {
            (Self::CrossEntropy(settings), TargetTensor::Classes(classes)) => {
                cross_entropy(outputs, classes.clone(), &settings.smoothing())
            }
            (Self::BinaryCrossEntropy, TargetTensor::Values(labels)) => {
                average(binary_cross_entropy(outputs, labels.clone()))
            }
            (Self::Mse, TargetTensor::Values(values)) => {
                average((outputs - values.clone()).square())
            }
            (Self::Mae, TargetTensor::Values(values)) => average((outputs - values.clone()).abs()),
            (Self::Huber(Huber { delta }), TargetTensor::Values(values)) => {
                let residual = (outputs - values.clone()).abs();
                let capped = residual.clone().clamp_max(*delta);
                average(capped.clone() * (residual - capped.mul_scalar(0.5)))
            }
            (Self::Quantile(Quantile { quantiles }), TargetTensor::Values(values)) => {
                average(pinball(outputs, values.clone(), quantiles))
            }
            _ => unreachable!("loss {} was given targets of another kind", self.name()),
        }
    }

    /// As [`rows`](Self::rows), of the outputs of all members of an ensemble, `[batch · members,
    /// outputs]`: the mean of the members' losses.
    pub fn rows_of_members(
        &self,
        outputs: Tensor<2>,
        targets: &TargetTensor,
        members: usize,
    ) -> Tensor<1> {
        if members == 1 {
            return self.rows(outputs, targets);
        }
        let [rows, _] = outputs.dims();
        let losses = self.rows(outputs, &targets.repeated(members));
        losses.reshape([rows / members, members]).mean_dim(1).squeeze_dim(1)
    }

    /// Mean loss of a batch, `[1]`; with class weights, the weighted mean.
    pub fn mean(&self, outputs: Tensor<2>, targets: &TargetTensor) -> Tensor<1> {
        let rows = self.rows(outputs, targets);
        match self.row_weights(&rows, targets) {
            // As PyTorch has it: a batch of rare classes does not count for more than another.
            Some(weights) => rows.sum() / weights.sum(),
            None => rows.mean(),
        }
    }

    /// Weight of each sample in the mean, `[batch]`, if there are class weights; a tensor like `like`.
    pub fn row_weights(&self, like: &Tensor<1>, targets: &TargetTensor) -> Option<Tensor<1>> {
        match (self, targets) {
            (Self::CrossEntropy(settings), TargetTensor::Classes(classes)) => {
                Some(settings.weights(like)?.select(0, classes.clone()))
            }
            _ => None,
        }
    }

    /// Weight of a sample of this class in the mean: 1 without class weights.
    pub fn class_weight(&self, class: usize) -> f64 {
        match self {
            Self::CrossEntropy(CrossEntropy { class_weights: Some(weights), .. }) => weights[class],
            _ => 1.0,
        }
    }
}

impl CrossEntropy {
    fn validate(&self, classes: usize) -> Result<(), LossError> {
        let smoothing = self.label_smoothing;
        if !(0.0..1.0).contains(&smoothing) {
            let expected = "at least 0 and below 1";
            return Err(LossError::BadSetting {
                setting: "label_smoothing",
                found: smoothing,
                expected,
            });
        }
        let Some(weights) = &self.class_weights else { return Ok(()) };
        if weights.len() != classes {
            return Err(LossError::ClassWeights { found: weights.len(), expected: classes });
        }
        match weights.iter().find(|weight| !(weight.is_finite() && **weight > 0.0)) {
            Some(&found) => {
                Err(LossError::BadSetting { setting: "class_weights", found, expected: "positive" })
            }
            None => Ok(()),
        }
    }

    /// The same settings for the operation.
    pub fn smoothing(&self) -> Smoothing {
        Smoothing { share: self.label_smoothing, class_weights: self.class_weights.clone() }
    }

    /// The class weights as a tensor like `like`, `[classes]`.
    fn weights(&self, like: &Tensor<1>) -> Option<Tensor<1>> {
        let weights = self.class_weights.clone()?;
        let count = weights.len();
        let data = TensorData::new(weights, [count]);
        Some(Tensor::from_data(data, (&like.device(), like.dtype())))
    }
}

/// `t softplus(-z) + (1 - t) softplus(z)`: two terms that are never negative, so nothing cancels
/// and nothing overflows, whatever the logit.
fn binary_cross_entropy(logits: Tensor<2>, labels: Tensor<2>) -> Tensor<2> {
    // Beyond 40, log(1 + exp(z)) is z in f64 too.
    let [of_positive, of_negative] =
        [logits.clone().neg(), logits].map(|z| softplus_with_threshold(z, 1.0, 40.0));
    of_positive * labels.clone() + of_negative * labels.neg().add_scalar(1.0)
}

/// The pinball loss of each output, `[batch, targets · quantiles]`, of which those of a target are next
/// to each other; `values` is `[batch, targets]`.
fn pinball(outputs: Tensor<2>, values: Tensor<2>, quantiles: &[f64]) -> Tensor<2> {
    let [batch, targets] = values.dims();
    let count = quantiles.len();
    let repeated = values.reshape([batch, targets, 1]).expand([batch, targets, count]);
    let residual = repeated.reshape([batch, targets * count]) - outputs;
    let shares = TensorData::new(quantiles.repeat(targets), [1, targets * count]);
    let shares = Tensor::from_data(shares, (&residual.device(), residual.dtype()));
    // `max(q r, (q - 1) r)` is `q r + max(-r, 0)`.
    residual.clone() * shares + residual.neg().clamp_min(0.0)
}

/// Mean over the outputs of each sample: `[batch, outputs] → [batch]`.
fn average(losses: Tensor<2>) -> Tensor<1> {
    losses.mean_dim(1).squeeze_dim(1)
}

/// Why a loss cannot be used as described.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LossError {
    /// The loss belongs to another kind of task.
    #[error("loss {loss} does not fit a {task} task; its usual loss is {usual}")]
    WrongTask {
        /// The loss given.
        loss: &'static str,
        /// The kind of task.
        task: &'static str,
        /// The task's default loss.
        usual: &'static str,
    },
    /// A setting is out of range.
    #[error("loss: {setting} is {found:?}; it must be {expected}")]
    BadSetting {
        /// The setting at fault.
        setting: &'static str,
        /// The value given.
        found: f64,
        /// The values allowed.
        expected: &'static str,
    },
    /// Quantiles that cannot be learned.
    #[error("loss: {0}")]
    Quantiles(#[from] IntervalsError),
    /// The quantiles of the loss are not those of the model.
    #[error(
        "loss {loss} learns the quantiles {found:?}, and the outputs of the model are the quantiles {expected:?}; give those, or leave the loss out"
    )]
    OtherQuantiles {
        /// The loss.
        loss: &'static str,
        /// Its quantiles.
        found: Vec<f64>,
        /// Those of the model.
        expected: Vec<f64>,
    },
    /// The number of class weights is not the number of classes.
    #[error(
        "loss: the number of class weights is {found}; there must be one for each class, {expected}"
    )]
    ClassWeights {
        /// Weights given.
        found: usize,
        /// Classes of the task.
        expected: usize,
    },
}
