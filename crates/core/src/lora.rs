//! Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::mlp::parameter;
use crate::rng::{Purpose, generator, uniform};

/// Which layers have a low-rank adapter, and of what size.
///
/// A layer with an adapter computes `x W + b + s (x A) B`, where `A` is `[inputs, rank]`, `B` is
/// `[rank, outputs]`, and `s` is [`scale`](Self::scale). `B` starts at zero, so that the network at
/// first computes what it did without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// The linear layers, from 0 at the input, in rising order.
    pub layers: Vec<usize>,
    /// Width of the bottleneck; at least 1.
    pub rank: usize,
    /// Numerator of the scale; above 0.
    pub alpha: f64,
    /// Share of the adapter's inputs set to zero in training, in `[0, 1)`.
    #[serde(default)]
    pub dropout: f64,
    /// Divides by the root of the rank instead of the rank (rsLoRA, Kalajdzievski 2023,
    /// arXiv 2312.03732).
    #[serde(default)]
    pub rank_stabilized: bool,
}

impl Lora {
    /// What the adapter's output is multiplied by: `alpha / rank`, or `alpha / sqrt(rank)`.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// Numbers in the adapters of a network with these layers, `[inputs, outputs]` each.
    pub fn parameters(&self, sizes: &[[usize; 2]]) -> usize {
        let of_layer = |[inputs, outputs]: &[usize; 2]| (inputs + outputs) * self.rank;
        self.layers.iter().filter_map(|&layer| sizes.get(layer)).map(of_layer).sum()
    }
}

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
