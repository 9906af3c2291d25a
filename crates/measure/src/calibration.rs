//! Whether predictions of 90 % confidence are right in 90 % of the cases.

use serde::{Deserialize, Serialize};

use crate::estimate::Estimate;

/// The expected calibration error (Naeini et al. 2015, Guo et al. 2017).
///
/// Predictions are sorted into 15 bins of equal width by their confidence, `(0, 1/15]`, `(1/15,
/// 2/15]`, …; the error is the average distance between confidence and accuracy of a bin, weighted
/// by its predictions.
/// Of a classifier the confidence is the probability of the class that it predicts.
/// Of a multi-label model every label of every row is a prediction, its confidence the probability
/// of the label, and its accuracy the share of rows that have the label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The expected calibration error, from 0 to 1.
    pub error: Estimate,
    /// All bins, from the least confident.
    pub bins: Vec<Bin>,
}

/// Predictions of about the same confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower end of its confidences, not one of them.
    pub low: f64,
    /// Upper end of its confidences.
    pub high: f64,
    /// Predictions in it.
    pub predictions: usize,
    /// Their mean confidence; 0 if there are none.
    pub confidence: f64,
    /// The share of them that are right; 0 if there are none.
    pub accuracy: f64,
}

/// Bins of the calibration: as many as Guo et al. have.
pub(crate) const BINS: usize = 15;

/// The sums of each bin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bins([Sums; BINS]);

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    predictions: u32,
    weight: f64,
    right: f64,
    confidence: f64,
}

impl Bins {
    pub(crate) fn add(&mut self, confidence: f64, is_right: bool, weight: f64) {
        let sums = &mut self.0[bin(confidence)];
        sums.predictions += 1;
        sums.weight += weight;
        sums.right += if is_right { weight } else { 0.0 };
        sums.confidence += weight * confidence;
    }

    /// The expected calibration error.
    pub(crate) fn error(&self) -> f64 {
        let all: f64 = self.0.iter().map(|sums| sums.weight).sum();
        let apart: f64 = self.0.iter().map(|sums| (sums.confidence - sums.right).abs()).sum();
        if all > 0.0 { apart / all } else { 0.0 }
    }

    pub(crate) fn bins(&self) -> Vec<Bin> {
        let bins = self.0.iter().enumerate().map(|(i, sums)| Bin {
            low: i as f64 / BINS as f64,
            high: (i + 1) as f64 / BINS as f64,
            predictions: sums.predictions as usize,
            confidence: mean(sums.confidence, sums.weight),
            accuracy: mean(sums.right, sums.weight),
        });
        bins.collect()
    }
}

/// The mean of a sum of numbers that weigh so much; 0 of none.
fn mean(sum: f64, weight: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { sum / weight }
}

/// The bin of a confidence: its upper end belongs to it, its lower end does not.
fn bin(confidence: f64) -> usize {
    ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_their_upper_end() {
        for (confidence, expected) in
            [(0.0, 0), (1e-300, 0), (0.2, 2), (0.200_001, 3), (0.999, 14), (1.0, 14)]
        {
            assert_eq!(bin(confidence), expected, "{confidence}");
        }
    }

    #[test]
    fn the_error_is_the_distance_from_the_diagonal() {
        let mut bins = Bins::default();
        // Four predictions of 90 %, of which three are right, and one of 50 % that is.
        (0..4).for_each(|i| bins.add(0.9, i > 0, 1.0));
        bins.add(0.5, true, 1.0);
        assert!((bins.error() - (4.0 * 0.15 + 0.5) / 5.0).abs() < 1e-15);
        let seen: Vec<Bin> = bins.bins().into_iter().filter(|bin| bin.predictions > 0).collect();
        assert_eq!((seen[0].accuracy, seen[1].accuracy), (1.0, 0.75));
    }
}
