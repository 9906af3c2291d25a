//! The right answers of a batch.

use burn::tensor::{Int, Tensor};

/// The right answers for a batch, on a device.
#[derive(Clone, Debug)]
pub enum Targets {
    /// The class of each sample, `[batch]`.
    Classes(Tensor<1, Int>),
    /// A number for each output of each sample, `[batch, outputs]`: 0 or 1 for labels, else values.
    Values(Tensor<2>),
}
