//! The right answers of a batch, and the unit that they are in.

use burn::tensor::{Int, Tensor};

use crate::Task;
use crate::preprocessing::row;

/// The right answers for a batch, on a device.
#[derive(Clone, Debug)]
pub enum Targets {
    /// The class of each sample, `[batch]`.
    Classes(Tensor<1, Int>),
    /// A number for each output of each sample, `[batch, outputs]`: 0 or 1 for labels, else values.
    Values(Tensor<2>),
}

impl Targets {
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
    (values - mean) / deviation
}

/// Outputs of the network of a task, `[batch, outputs]`, as logits or values in the unit of their
/// target.
pub fn restored(task: &Task, outputs: Tensor<2>) -> Tensor<2> {
    let Some(scaling) = task.scaling() else { return outputs };
    let (mean, deviation) =
        (row(scaling.mean.clone(), &outputs), row(scaling.deviation.clone(), &outputs));
    outputs * deviation + mean
}
