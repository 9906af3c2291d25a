//! Random numbers that are a function of what they are for, never of what was drawn before.
//!
//! A generator is keyed by `(seed, purpose, index)`, so a run can be continued anywhere from a few
//! integers, and drawing more for one purpose changes nothing for another.
//! ChaCha8 is used because its output is fixed by a published algorithm: a random library may
//! change how it shuffles or scales, and then no run could ever be repeated.

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// The purpose that random numbers are drawn for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Initial weights; the index is the layer.
    Weights = 1,
    /// Dropout masks; the index is the training step.
    Dropout = 2,
    /// Initial weights of adapters; the index is the layer.
    Adapters = 3,
    /// Initial values of the front stage; the index is the part and its parameter.
    Front = 4,
    /// Initial scales of the members of an ensemble.
    Members = 5,
    /// Initial biases; the index is the layer.
    Biases = 6,
    /// Changes of a training row; the index is the epoch and the row.
    Augmentation = 7,
}

/// The generator for one purpose and index of a seeded run.
pub fn generator(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = purpose as u8;
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(index);
    rng
}

/// A number drawn uniformly from `[0, 1)`, with all 53 bits of an `f64`.
pub fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A number drawn from the standard normal distribution (Box and Muller 1958).
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_of_a_seed_are_fixed_for_good() {
        let first = |seed, purpose, index| generator(seed, purpose, index).next_u64();
        let drawn = [
            first(1, Purpose::Weights, 0),
            first(1, Purpose::Weights, 1),
            first(1, Purpose::Dropout, 0),
            first(2, Purpose::Weights, 0),
        ];
        assert_eq!(drawn, PINNED, "changing these breaks the repetition of every existing run");
    }

    const PINNED: [u64; 4] = [
        4_344_717_217_939_160_907,
        14_148_798_342_438_016_972,
        6_082_804_599_785_255_738,
        8_842_614_476_716_683_897,
    ];

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut rng = generator(7, Purpose::Weights, 0);
        let n = 100_000;
        let (mut u, mut z, mut z2) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            u += uniform(&mut rng);
            let x = normal(&mut rng);
            z += x;
            z2 += x * x;
        }
        let n = f64::from(n);
        // Five standard errors of each mean.
        assert!((u / n - 0.5).abs() < 5.0 * (1.0 / 12.0 / n).sqrt());
        assert!((z / n).abs() < 5.0 / n.sqrt());
        assert!((z2 / n - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
    }
}
