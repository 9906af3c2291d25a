//! Fused operations of multilayer perceptrons, on tensors of any Burn backend.
//!
//! [`dense`] is a layer, [`bag`] one of sparse rows, [`cross_entropy`] a loss, [`adam`] and [`sgd`]
//! are optimizer steps, and [`Chain::step`] is all of them at once. Each has a body of plain tensor
//! operations, which defines it and serves every backend, and a fast one for the CPU backend `flex`,
//! which makes one pass where the plain body makes a dozen.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use fireclay_kernels::{Epilogue, dense};
//!
//! let device = Device::flex();
//! let x = Tensor::from_floats([[1.0, -1.0]], &device);
//! let weight = Tensor::from_floats([[1.0, 0.5], [2.0, 0.25]], &device);
//! let bias = Tensor::from_floats([0.5, 0.5], &device);
//! let y = dense(x, weight, bias, Epilogue::Relu);
//! assert_eq!(y.into_data().to_vec::<f32>()?, [0.0, 0.75]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Which body runs is decided by where the tensors are: the fast one takes `f32` and `f64` on `flex`,
//! on Burn's autodiff graph or off it. Its results do not depend on the number of threads: work is
//! cut by shape alone, and every number is summed by one thread in one order.
//!
//! Why the fast bodies reach below Burn's operations: a step of a small network is a hundred of
//! them, each with its dispatch, its memory and its node in the graph, and together they cost
//! several times the arithmetic.
//!
//! This crate knows no network, no file and no clock.

mod bag;
mod chain;
mod cross_entropy;
mod dense;
mod finite;
mod optimizer;
mod rows;

#[cfg(feature = "flex")]
mod flex;
// The same functions, which serve nothing: no other file asks for the feature.
#[cfg(not(feature = "flex"))]
#[path = "no_flex.rs"]
mod flex;

pub use bag::{SparseBatch, SparseMatrix, bag};
pub use chain::{
    Chain, Outcome, Part, Rule, StepBatch, TrainedBag, TrainedLayer, TrainedParameter,
};
pub use cross_entropy::{Smoothing, cross_entropy};
pub use dense::{Epilogue, dense};
pub use finite::has_finite_sum;
pub use optimizer::{AdamStep, SgdStep, adam, sgd};
pub use rows::{ChosenRows, RawFeatures, Scaling};

/// The bodies that define the operations, for comparison with the fast ones.
pub mod plain {
    pub use crate::bag::plain as bag;
    pub use crate::chain::plain as chain_step;
    pub use crate::cross_entropy::plain as cross_entropy;
    pub use crate::dense::plain as dense;
    pub use crate::optimizer::{plain_adam as adam, plain_sgd as sgd};
}
