//! What metrics are computed from.

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Bool, Int, Tensor, TensorData, TensorReadError};
use burn::train::metric::ConfusionStatsInput;
use fireclay::{TargetTensor, Task, restored};

/// What some rows came to.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Loss of each row, `[rows]`.
    pub losses: Tensor<1>,
    /// Logits, or values in the unit of their target, `[rows, names]`.
    pub outputs: Tensor<2>,
    /// The right answers.
    pub targets: TargetTensor,
    /// The weight of each row in the mean of the losses, `[rows]`; none means 1.
    pub weights: Option<Tensor<1>>,
    /// The difference of logits to those that are above 0 where an answer is positive, `[1, names]`, of a
    /// task with thresholds.
    pub shift: Option<Tensor<2>>,
}

impl Observed {
    /// Losses and outputs of some rows, each of which counts the same.
    pub fn new(losses: Tensor<1>, outputs: Tensor<2>, targets: TargetTensor) -> Self {
        Self { losses, outputs, targets, weights: None, shift: None }
    }

    /// The losses whose mean is the weighted mean of the losses, `[rows]`.
    pub(super) fn weighted_losses(&self) -> Tensor<1> {
        match &self.weights {
            Some(weights) => {
                let share = weights.clone() / weights.clone().mean().clamp_min(f64::MIN_POSITIVE);
                self.losses.clone() * share
            }
            None => self.losses.clone(),
        }
    }

    /// The sum of the weights; none without weights.
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub(super) fn weight(&self) -> Result<Option<f64>, TensorReadError> {
        let Some(weights) = &self.weights else { return Ok(None) };
        let weights = weights.clone().try_into_vec_as::<f32>()?;
        Ok(Some(weights.into_iter().map(f64::from).sum()))
    }

    /// Logits of which the largest, or those above 0, are the answers.
    pub(super) fn decided(&self) -> Tensor<2> {
        match &self.shift {
            Some(shift) => self.outputs.clone() + shift.clone(),
            None => self.outputs.clone(),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.losses.dims()[0]
    }

    /// Off the autodiff graph, so that keeping it keeps nothing else alive.
    pub fn detached(self) -> Self {
        Self {
            losses: self.losses.without_autodiff(),
            outputs: self.outputs.without_autodiff(),
            targets: match self.targets {
                TargetTensor::Classes(classes) => TargetTensor::Classes(classes.without_autodiff()),
                TargetTensor::Values(values) => TargetTensor::Values(values.without_autodiff()),
            },
            ..self
        }
    }

    /// With the outputs of the network of a task as calibrated logits, or as values in the unit of their
    /// target, in which the right answers are.
    pub fn restored(self, task: &Task) -> Self {
        let outputs = values(task, restored(task, self.outputs));
        Self { shift: shift(task, &outputs), outputs, ..self }
    }

    /// The rows of several observations, in order; none of none.
    pub fn joined(parts: Vec<Self>) -> Option<Self> {
        let mut parts = parts.into_iter();
        Some(parts.next()?.followed_by(parts.collect()))
    }

    /// These rows, and then those of other observations.
    pub fn followed_by(self, others: Vec<Self>) -> Self {
        if others.is_empty() {
            return self;
        }
        let (mut losses, mut outputs) = (vec![self.losses], vec![self.outputs]);
        let mut targets = vec![self.targets];
        let mut weights: Vec<_> = self.weights.into_iter().collect();
        for part in others {
            losses.push(part.losses);
            outputs.push(part.outputs);
            targets.push(part.targets);
            weights.extend(part.weights);
        }
        let classes: Vec<_> = targets.iter().filter_map(as_classes).collect();
        let values: Vec<_> = targets.iter().filter_map(as_values).collect();
        Self {
            losses: Tensor::cat(losses, 0),
            outputs: Tensor::cat(outputs, 0),
            targets: if values.is_empty() {
                TargetTensor::Classes(Tensor::cat(classes, 0))
            } else {
                TargetTensor::Values(Tensor::cat(values, 0))
            },
            weights: (!weights.is_empty()).then(|| Tensor::cat(weights, 0)),
            shift: self.shift,
        }
    }

    pub(super) fn classes(&self) -> Tensor<1, Int> {
        as_classes(&self.targets)
            .unwrap_or_else(|| unreachable!("a metric of classes was given values"))
    }

    /// Probability and truth of every class or label: `[rows, outputs]` each.
    pub(super) fn confusion(&self) -> ConfusionStatsInput {
        self.confusion_of(self.outputs.clone())
    }

    /// As [`confusion`](Self::confusion), with probabilities of which the largest, or those above one
    /// half, are the answers.
    pub(super) fn decided_confusion(&self) -> ConfusionStatsInput {
        self.confusion_of(self.decided())
    }

    fn confusion_of(&self, outputs: Tensor<2>) -> ConfusionStatsInput {
        let [_, count] = outputs.dims();
        match &self.targets {
            TargetTensor::Classes(classes) => {
                let truth: Tensor<2, Bool> = classes.clone().one_hot::<2>(count).bool();
                ConfusionStatsInput::new(softmax(outputs, 1), truth)
            }
            TargetTensor::Values(labels) => {
                ConfusionStatsInput::new(sigmoid(outputs), labels.clone().greater_elem(0.5))
            }
        }
    }
}

/// The values of a regression, `[rows, targets]`, among its outputs, `[rows, outputs]`: with quantiles
/// the middle one of each target. The outputs of other tasks are left as they are.
fn values(task: &Task, outputs: Tensor<2>) -> Tensor<2> {
    let Some(intervals) = task.intervals().filter(|intervals| intervals.width() > 1) else {
        return outputs;
    };
    let ([rows, _], targets) = (outputs.dims(), task.names().len());
    let of_each = outputs.reshape([rows, targets, intervals.width()]);
    of_each.narrow(2, intervals.middle(), 1).reshape([rows, targets])
}

/// The difference of logits to those that are above 0, or above that of the first of two classes, where their probability
/// reaches its threshold; none without thresholds.
fn shift(task: &Task, like: &Tensor<2>) -> Option<Tensor<2>> {
    let thresholds = &task.decision()?.thresholds;
    let odds = thresholds.iter().map(|&t| f64::from(t)).map(|t| (t / (1.0 - t)).ln() as f32);
    // Beyond this, no logit of a network is.
    let odds: Vec<f32> = odds.map(|odds| -odds.clamp(-1e30, 1e30)).collect();
    let shift = match (task, &odds[..]) {
        (_, []) => return None,
        (Task::Classification { .. }, [second]) => vec![0.0, *second],
        _ => odds,
    };
    let shape = [1, shift.len()];
    Some(Tensor::from_data(TensorData::new(shift, shape), (&like.device(), like.dtype())))
}

fn as_classes(targets: &TargetTensor) -> Option<Tensor<1, Int>> {
    match targets {
        TargetTensor::Classes(classes) => Some(classes.clone()),
        TargetTensor::Values(_) => None,
    }
}

fn as_values(targets: &TargetTensor) -> Option<Tensor<2>> {
    match targets {
        TargetTensor::Classes(_) => None,
        TargetTensor::Values(values) => Some(values.clone()),
    }
}
