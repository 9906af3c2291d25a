//! The right answers of a batch, and the unit that they are in.

use burn::tensor::{Int, Tensor};

use crate::preprocessing::row;
use crate::{Intervals, TargetScaling, Task};

/// The right answers for a batch, on a device.
#[derive(Clone, Debug)]
pub enum TargetTensor {
    /// The class of each sample, `[batch]`.
    Classes(Tensor<1, Int>),
    /// A number for each output of each sample, `[batch, outputs]`: 0 or 1 for labels, else values.
    Values(Tensor<2>),
}

impl TargetTensor {
    /// The right answers for each member of an ensemble, one after the other: `[batch · members]`.
    pub(crate) fn repeated(&self, members: usize) -> Self {
        match self {
            Self::Classes(classes) => {
                let [batch] = classes.dims();
                let classes = classes.clone().reshape([batch, 1]).repeat_dim(1, members);
                Self::Classes(classes.reshape([batch * members]))
            }
            Self::Values(values) => {
                let [batch, outputs] = values.dims();
                let values = values.clone().reshape([batch, 1, outputs]).repeat_dim(1, members);
                Self::Values(values.reshape([batch * members, outputs]))
            }
        }
    }

    /// The right answers in the unit in which the network of a task gives its outputs: values are
    /// standardised where the task has a [scaling](Task::scaling).
    pub fn standardized(self, task: &Task) -> Self {
        match (self, task.scaling()) {
            (Self::Values(values), Some(_)) => Self::Values(standardized(task, values)),
            (targets, _) => targets,
        }
    }
}

/// Values in the unit of their target, `[batch, targets]`, in that of the network's outputs.
pub fn standardized(task: &Task, values: Tensor<2>) -> Tensor<2> {
    let Some(scaling) = task.scaling() else { return values };
    let (mean, deviation) =
        (row(scaling.mean.clone(), &values), row(scaling.deviation.clone(), &values));
    let values = if scaling.logarithm { values.log() } else { values };
    (values - mean) / deviation
}

/// Outputs of the network of a task, `[batch, outputs]`, as calibrated logits, or as rising values in
/// the unit of their target.
pub fn restored(task: &Task, outputs: Tensor<2>) -> Tensor<2> {
    if let Some(temperature) = task.decision().and_then(|decision| decision.temperature) {
        return outputs.div_scalar(temperature);
    }
    let of_each = task.intervals().map_or(1, Intervals::width);
    let outputs = match task.scaling() {
        Some(scaling) => unscaled(scaling, outputs, of_each),
        None => outputs,
    };
    if of_each == 1 {
        return outputs;
    }
    let [batch, width] = outputs.dims();
    outputs.reshape([batch, width / of_each, of_each]).sort(2).reshape([batch, width])
}

/// Turns standardized outputs, `of_each` for each target, into the unit of the target.
fn unscaled(scaling: &TargetScaling, outputs: Tensor<2>, of_each: usize) -> Tensor<2> {
    let repeated = |numbers: &[f32]| -> Vec<f32> {
        numbers.iter().flat_map(|&number| std::iter::repeat_n(number, of_each)).collect()
    };
    let mean = row(repeated(&scaling.mean), &outputs);
    let deviation = row(repeated(&scaling.deviation), &outputs);
    let values = outputs * deviation + mean;
    if scaling.logarithm { values.exp() } else { values }
}
