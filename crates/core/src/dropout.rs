//! Dropout whose masks are a function of the run's seed and the step.

use burn::tensor::{Tensor, TensorData};
use chacha20::ChaCha8Rng;
use chacha20::rand_core::Rng;

use fireclay_model::rng::{Purpose, generator};

/// Names the dropout masks of one training step.
///
/// The same key gives the same masks on every device, in every process and at any thread count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutKey {
    /// The run's seed.
    pub seed: u64,
    /// The forward pass, counted from the start of the run.
    pub step: u64,
}

/// Draws the masks of one forward pass, layer after layer.
pub(crate) struct Dropout {
    rng: ChaCha8Rng,
    /// What rates are multiplied by.
    factor: f64,
}

impl Dropout {
    pub(crate) fn new(key: DropoutKey, factor: f64) -> Self {
        Self { rng: generator(key.seed, Purpose::Dropout, key.step), factor }
    }

    /// Sets each element to zero with probability `rate`, and scales the others by `1 / (1 - rate)`
    /// so that the expected value stays (Srivastava et al. 2014, "inverted").
    pub(crate) fn apply(&mut self, x: Tensor<2>, rate: f64) -> Tensor<2> {
        let rate = rate * self.factor;
        if rate == 0.0 {
            return x;
        }
        let [batch, width] = x.dims();
        let mask = TensorData::new(self.mask(batch * width, rate), [batch, width]);
        let mask = Tensor::from_data(mask, (&x.device(), x.dtype()));
        x * mask
    }

    fn mask(&mut self, count: usize, rate: f64) -> Vec<f32> {
        let drop_below = (rate * 2f64.powi(32)) as u32;
        let keep = (1.0 / (1.0 - rate)) as f32;
        let mut draws = vec![0; count * 4];
        self.rng.fill_bytes(&mut draws);
        let (words, _) = draws.as_chunks::<4>();
        words.iter().map(|&word| keep * f32::from(u32::from_le_bytes(word) >= drop_below)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_drops_its_share_and_keeps_the_mean() {
        for rate in [0.1, 0.5, 0.9] {
            let mask = Dropout::new(DropoutKey { seed: 3, step: 5 }, 1.0).mask(100_000, rate);
            let dropped = mask.iter().filter(|&&m| m == 0.0).count() as f64 / 1e5;
            assert!((dropped - rate).abs() < 5.0 * (rate * (1.0 - rate) / 1e5).sqrt());
            assert!(mask.iter().all(|&m| m == 0.0 || m == (1.0 / (1.0 - rate)) as f32));
        }
    }

    #[test]
    fn a_key_names_its_masks() {
        let mask = |seed, step| Dropout::new(DropoutKey { seed, step }, 1.0).mask(64, 0.5);
        assert_eq!(mask(1, 2), mask(1, 2));
        assert_ne!(mask(1, 2), mask(1, 3));
        assert_ne!(mask(1, 2), mask(2, 2));
    }
}
