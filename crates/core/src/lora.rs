//! Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685).

use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// The adapter of a layer.
#[derive(Module, Debug)]
pub struct LowRank {
    /// `[inputs, rank]`.
    pub a: Param<Tensor<2>>,
    /// `[rank, outputs]`.
    pub b: Param<Tensor<2>>,
}

impl LowRank {
    /// `(x A) B`: the dense `A B` is never formed.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.a.val()).matmul(self.b.val())
    }
}
