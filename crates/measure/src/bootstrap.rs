//! Intervals of numbers that have no formula for one: the bootstrap (Efron 1979).
//!
//! As many rows as there are, are drawn with replacement, again and again, and the number is
//! computed of each draw; the interval is the middle 95 % of what comes out.

use crate::estimate::{Estimate, Interval};

/// Draws of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    /// How often all rows are drawn.
    pub(crate) resamples: usize,
    /// Fixes which rows are drawn.
    pub(crate) seed: u64,
}

/// The estimates of all numbers that `measure` computes of some rows.
///
/// `measure` is given rows, each as often as it was drawn, and always returns as many numbers.
pub(crate) fn estimates(
    rows: usize,
    draws: Draws,
    mut measure: impl FnMut(&[u32]) -> Vec<f64>,
) -> Vec<Estimate> {
    let mut drawn: Vec<u32> = (0..rows as u32).collect();
    let values = measure(&drawn);
    let mut samples = vec![Vec::new(); values.len()];
    let mut generator = SplitMix64(draws.seed);
    for _ in 0..draws.resamples {
        drawn.iter_mut().for_each(|row| *row = generator.below(rows as u32));
        for (sample, value) in samples.iter_mut().zip(measure(&drawn)) {
            sample.push(value);
        }
    }
    values.into_iter().zip(samples).map(|(value, sample)| estimate(value, sample)).collect()
}

/// A number with the interval of those of its draws; without a draw that is the number alone. Draws of
/// which the number cannot be computed, which is NaN then, are left out.
fn estimate(value: f64, mut sample: Vec<f64>) -> Estimate {
    sample.retain(|number| !number.is_nan());
    if sample.is_empty() {
        sample.push(value);
    }
    sample.sort_by(f64::total_cmp);
    let (low, high) = (quantile(&sample, 0.025), quantile(&sample, 0.975));
    Estimate { value, low, high, interval: Interval::Bootstrap }
}

/// The quantile of sorted numbers, between two of them on the line that joins them, as NumPy's.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let low = sorted[below as usize];
    let high = sorted[(below as usize + 1).min(sorted.len() - 1)];
    low + (high - low) * (place - below)
}

/// A generator whose sequence is fixed by its seed (Steele, Lea and Flood 2014).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; each is as probable as the others, but for 2^-32 of it.
    fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs of Vigna's splitmix64.c for the seed 1234567.
        let mut generator = SplitMix64(1_234_567);
        assert_eq!(generator.next(), 6_457_827_717_110_365_317);
        assert_eq!(generator.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([1, 2, 4, 8], share)
        for (share, expected) in [(0.0, 1.0), (0.025, 1.075), (0.5, 3.0), (1.0, 8.0)] {
            let found = quantile(&[1.0, 2.0, 4.0, 8.0], share);
            assert!((found - expected).abs() < 1e-12, "{share}: {found}");
        }
    }

    #[test]
    fn an_interval_covers_a_mean_as_often_as_it_says() {
        // Means of 60 numbers that are uniform in [0, 1): about 95 of 100 intervals hold 1/2.
        let mut generator = SplitMix64(5);
        let covered = (0..400)
            .filter(|&seed| {
                let values: Vec<f64> =
                    (0..60).map(|_| generator.next() as f64 / 2f64.powi(64)).collect();
                let mean = |rows: &[u32]| {
                    vec![rows.iter().map(|&row| values[row as usize]).sum::<f64>() / 60.0]
                };
                let found = estimates(values.len(), Draws { seed, resamples: 200 }, mean)[0];
                found.low <= 0.5 && 0.5 <= found.high
            })
            .count();
        assert!((360..=392).contains(&covered), "{covered} of 400");
    }
}
