//! What metrics are computed from.

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Bool, Int, Tensor};
use burn::train::metric::ConfusionStatsInput;
use fireclay::{Targets, Task, restored};

/// What some rows came to.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Loss of each row, `[rows]`.
    pub losses: Tensor<1>,
    /// Logits, or values in the unit of their target, `[rows, outputs]`.
    pub outputs: Tensor<2>,
    /// The right answers.
    pub targets: Targets,
}

impl Observed {
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
                Targets::Classes(classes) => Targets::Classes(classes.without_autodiff()),
                Targets::Values(values) => Targets::Values(values.without_autodiff()),
            },
        }
    }

    /// With the outputs of the network of a task as values in the unit of their target, in which the
    /// right answers are.
    pub fn restored(self, task: &Task) -> Self {
        Self { outputs: restored(task, self.outputs), ..self }
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
        for part in others {
            losses.push(part.losses);
            outputs.push(part.outputs);
            targets.push(part.targets);
        }
        let classes: Vec<_> = targets.iter().filter_map(as_classes).collect();
        let values: Vec<_> = targets.iter().filter_map(as_values).collect();
        Self {
            losses: Tensor::cat(losses, 0),
            outputs: Tensor::cat(outputs, 0),
            targets: if values.is_empty() {
                Targets::Classes(Tensor::cat(classes, 0))
            } else {
                Targets::Values(Tensor::cat(values, 0))
            },
        }
    }

    pub(super) fn classes(&self) -> Tensor<1, Int> {
        as_classes(&self.targets)
            .unwrap_or_else(|| unreachable!("a metric of classes was given values"))
    }

    /// Probability and truth of every class or label: `[rows, outputs]` each.
    pub(super) fn confusion(&self) -> ConfusionStatsInput {
        let outputs = self.outputs.clone();
        let [_, count] = outputs.dims();
        match &self.targets {
            Targets::Classes(classes) => {
                let truth: Tensor<2, Bool> = classes.clone().one_hot::<2>(count).bool();
                ConfusionStatsInput::new(softmax(outputs, 1), truth)
            }
            Targets::Values(labels) => {
                ConfusionStatsInput::new(sigmoid(outputs), labels.clone().greater_elem(0.5))
            }
        }
    }
}

fn as_classes(targets: &Targets) -> Option<Tensor<1, Int>> {
    match targets {
        Targets::Classes(classes) => Some(classes.clone()),
        Targets::Values(_) => None,
    }
}

fn as_values(targets: &Targets) -> Option<Tensor<2>> {
    match targets {
        Targets::Classes(_) => None,
        Targets::Values(values) => Some(values.clone()),
    }
}
