//! Helpers of the kernels' tests.

use std::ops::Range;

use burn::tensor::DType;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// No file of failures: the seed is fixed, and nothing is written beside the sources.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(22),
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014). Only its seed is drawn by proptest: of thousands of
/// numbers, smaller ones tell no more.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `[0, 1)`.
    pub(crate) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.bits() % count as u64) as usize
    }

    /// Spread evenly.
    pub(crate) fn numbers(&mut self, count: usize, range: Range<f64>, dtype: DType) -> Vec<f64> {
        let number = |_| range.start + (range.end - range.start) * self.share();
        rounded((0..count).map(number).collect(), dtype)
    }

    /// Of either sign, with sizes whose logarithms are spread evenly.
    pub(crate) fn of_all_sizes(
        &mut self,
        count: usize,
        sizes: Range<f64>,
        dtype: DType,
    ) -> Vec<f64> {
        let [low, high] = [sizes.start.ln(), sizes.end.ln()];
        let number = |_| {
            let size = (low + (high - low) * self.share()).exp();
            if self.below(2) == 0 { size } else { -size }
        };
        rounded((0..count).map(number).collect(), dtype)
    }

    /// Puts NaN and infinities in some places, about one in `rarity`.
    pub(crate) fn spoil(&mut self, numbers: &mut [f64], rarity: usize) {
        for number in numbers {
            if self.below(rarity) == 0 {
                *number = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][self.below(3)];
            }
        }
    }
}

pub(crate) fn rounded(numbers: Vec<f64>, dtype: DType) -> Vec<f64> {
    match dtype {
        DType::F32 => numbers.into_iter().map(|x| f64::from(x as f32)).collect(),
        _ => numbers,
    }
}
