//! Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::mlp::parameter;
use fireclay_model::rng::{Purpose, generator, uniform};

/// The adapter of a layer.
#[derive(Module, Debug)]
pub struct LowRank {
    /// `[inputs, rank]`.
    pub a: Param<Tensor<2>>,
    /// `[rank, outputs]`.
    pub b: Param<Tensor<2>>,
}

impl LowRank {
    /// `A` uniform in `±1 / sqrt(inputs)`, as PEFT has it, and `B` zero.
    pub(crate) fn random(
        layer: usize,
        [inputs, outputs]: [usize; 2],
        rank: usize,
        seed: u64,
        device: &Device,
    ) -> Self {
        let mut rng = generator(seed, Purpose::Adapters, layer as u64);
        let limit = 1.0 / (inputs as f64).sqrt();
        let a = (0..inputs * rank).map(|_| (limit * (2.0 * uniform(&mut rng) - 1.0)) as f32);
        Self {
            a: parameter(TensorData::new(a.collect(), [inputs, rank]), device),
            b: parameter(TensorData::zeros::<f32, _>([rank, outputs]), device),
        }
    }

    /// `(x A) B`: the dense `A B` is never formed.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.a.val()).matmul(self.b.val())
    }
}
