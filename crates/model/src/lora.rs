//! Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685).

use serde::{Deserialize, Serialize};

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
    /// Factor of the adapter's output: `alpha / rank`, or `alpha / sqrt(rank)`.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// Numbers in the adapters of a network with these layers, `[inputs, outputs]` each.
    pub fn parameters(&self, sizes: &[[usize; 2]]) -> usize {
        let sizes = self.layers.iter().filter_map(|&layer| sizes.get(layer));
        sizes.map(|[inputs, outputs]| (inputs + outputs) * self.rank).sum()
    }
}
