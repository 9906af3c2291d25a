//! Intervals of predicted numbers: quantiles and conformal margins.

use fireclay_terminal::counted;
use serde::{Deserialize, Serialize};

/// The quantiles that a regression predicts of each target, and the margins that widen them to an
/// interval of stated coverage; by default neither, and a value is all that is predicted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Intervals {
    /// The quantiles of the network's outputs, rising, each above 0 and below 1; the outputs of a
    /// target are next to each other. None means one output per target, its value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
    /// The margins that widen intervals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conformal: Option<Conformal>,
}

/// Margins of split conformal prediction (Papadopoulos et al. 2002; with quantiles Romano et al. 2019,
/// arXiv 1905.03222), chosen on validation rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conformal {
    /// The coverage of the intervals, above 0 and below 1.
    pub level: f64,
    /// The length that an interval reaches beyond the value, or beyond the outer quantiles, to either side, of
    /// each target by index; in the unit of the target, or of its natural logarithm if it is learned in
    /// that.
    pub margins: Vec<f32>,
}

impl Intervals {
    /// Returns true if values are all that is predicted.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Outputs of the network per target.
    pub fn width(&self) -> usize {
        self.quantiles.len().max(1)
    }

    /// The output of a target that is its value: the quantile nearest to one half, the lower of two.
    pub fn middle(&self) -> usize {
        let off = |at: usize| (self.quantiles[at] - 0.5).abs();
        (1..self.quantiles.len()).fold(0, |best, at| if off(at) < off(best) { at } else { best })
    }

    /// The coverage that intervals are meant to have; none without intervals.
    pub fn level(&self) -> Option<f64> {
        match (&self.conformal, &self.quantiles[..]) {
            (Some(conformal), _) => Some(conformal.level),
            (None, [first, .., last]) => Some(last - first),
            (None, _) => None,
        }
    }

    /// Lower and upper end of the interval of a target by index, from its outputs in its unit, which
    /// rise; none without intervals.
    pub fn bounds(&self, target: usize, outputs: &[f32], in_logarithm: bool) -> Option<[f32; 2]> {
        self.level()?;
        let (&low, &high) = (outputs.first()?, outputs.last()?);
        let Some(margin) = self.conformal.as_ref().and_then(|c| c.margins.get(target)) else {
            return Some([low, high]);
        };
        let [low, high] = if in_logarithm {
            [low * (-margin).exp(), high * margin.exp()]
        } else {
            [low - margin, high + margin]
        };
        // A negative margin narrows the quantiles, at most until they meet.
        Some(if low <= high { [low, high] } else { [low.midpoint(high); 2] })
    }

    /// Puts the outputs of each target in rising order, in place: the quantiles of a network may cross
    /// (the rearrangement of Chernozhukov et al. 2010, Econometrica 78).
    pub fn uncross(&self, outputs: &mut [f32]) {
        if self.quantiles.len() > 1 {
            let targets = outputs.chunks_exact_mut(self.quantiles.len());
            targets.for_each(|quantiles| quantiles.sort_by(f32::total_cmp));
        }
    }

    /// Checks every number, and that there are as many margins as targets.
    ///
    /// # Errors
    ///
    /// An [`IntervalsError`] that names the number at fault.
    pub fn validate(&self, targets: usize) -> Result<(), IntervalsError> {
        check_quantiles(&self.quantiles)?;
        let Some(Conformal { level, margins }) = &self.conformal else { return Ok(()) };
        if !(*level > 0.0 && *level < 1.0) {
            return Err(IntervalsError::Level { found: *level });
        }
        if margins.len() != targets {
            return Err(IntervalsError::Count { found: margins.len(), targets });
        }
        match margins.iter().position(|margin| !margin.is_finite()) {
            Some(target) => Err(IntervalsError::Margin { target, found: margins[target] }),
            None => Ok(()),
        }
    }
}

/// Checks that quantiles rise, and that each is above 0 and below 1.
///
/// # Errors
///
/// [`IntervalsError::Quantile`] and [`IntervalsError::Order`].
pub fn check_quantiles(quantiles: &[f64]) -> Result<(), IntervalsError> {
    if let Some(&found) = quantiles.iter().find(|q| !(**q > 0.0 && **q < 1.0)) {
        return Err(IntervalsError::Quantile { found });
    }
    match quantiles.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(IntervalsError::Order { first: pair[0], then: pair[1] }),
        None => Ok(()),
    }
}

/// A number that cannot be part of the intervals of a model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IntervalsError {
    /// A quantile is none.
    #[error("a quantile is {found}; it must be above 0 and below 1")]
    Quantile {
        /// The quantile.
        found: f64,
    },
    /// A quantile does not follow the one before it.
    #[error("the quantile {then} follows {first}; give quantiles in rising order, each once")]
    Order {
        /// A quantile.
        first: f64,
        /// The next.
        then: f64,
    },
    /// The coverage is none.
    #[error("the level of the intervals is {found}; it must be above 0 and below 1")]
    Level {
        /// The level.
        found: f64,
    },
    /// There are more or fewer margins than targets.
    #[error("the intervals have {}; the task has {}", counted(*found as u64, "margin"), counted(*targets as u64, "target"))]
    Count {
        /// Margins.
        found: usize,
        /// Targets of the task.
        targets: usize,
    },
    /// A margin is no finite number.
    #[error("the margin of target {target} is {found}; intervals need finite numbers")]
    Margin {
        /// The target, from 0.
        target: usize,
        /// The margin.
        found: f32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_quantiles(quantiles: &[f64]) -> Intervals {
        Intervals { quantiles: quantiles.to_vec(), conformal: None }
    }

    #[test]
    fn the_value_is_the_quantile_nearest_to_the_median() {
        for (quantiles, middle) in [
            (&[][..], 0),
            (&[0.9], 0),
            (&[0.05, 0.5, 0.95], 1),
            (&[0.25, 0.75], 0),
            (&[0.1, 0.6], 1),
        ] {
            assert_eq!(of_quantiles(quantiles).middle(), middle, "{quantiles:?}");
        }
    }

    #[test]
    fn crossing_quantiles_are_sorted_within_each_target() {
        let mut outputs = [3.0, 1.0, 2.0, -1.0, -2.0, 5.0];
        of_quantiles(&[0.1, 0.5, 0.9]).uncross(&mut outputs);
        assert_eq!(outputs, [1.0, 2.0, 3.0, -2.0, -1.0, 5.0]);
    }

    #[test]
    fn margins_widen_in_the_unit_in_which_a_target_is_learned() {
        assert_eq!(Intervals::default().bounds(0, &[4.0], false), None);
        assert_eq!(of_quantiles(&[0.5]).bounds(0, &[4.0], false), None);
        let quantiles = of_quantiles(&[0.1, 0.9]);
        assert_eq!(quantiles.bounds(0, &[4.0, 6.0], false), Some([4.0, 6.0]));
        assert!((quantiles.level().unwrap() - 0.8).abs() < 1e-15);
        let conformal = Some(Conformal { level: 0.9, margins: vec![0.5, -2.0] });
        let both = Intervals { conformal, ..quantiles };
        assert_eq!(
            (both.level(), both.bounds(0, &[4.0, 6.0], false)),
            (Some(0.9), Some([3.5, 6.5]))
        );
        assert_eq!(both.bounds(1, &[4.0, 6.0], false), Some([5.0, 5.0]));
        let [low, high] = both.bounds(0, &[4.0, 6.0], true).unwrap();
        assert!(
            (low - 4.0 * (-0.5f32).exp()).abs() < 1e-6 && (high - 6.0 * 0.5f32.exp()).abs() < 1e-5
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for quantiles in [&[0.0][..], &[0.5, 1.0], &[f64::NAN]] {
            let found = of_quantiles(quantiles).validate(1);
            assert!(matches!(found, Err(IntervalsError::Quantile { .. })), "{quantiles:?}");
        }
        for quantiles in [[0.5, 0.5], [0.9, 0.1]] {
            let found = of_quantiles(&quantiles).validate(1);
            assert!(matches!(found, Err(IntervalsError::Order { .. })), "{quantiles:?}");
        }
        let conformal = |level: f64, margins: &[f32]| {
            let conformal = Some(Conformal { level, margins: margins.to_vec() });
            Intervals { conformal, ..Intervals::default() }.validate(1)
        };
        assert!(matches!(conformal(1.0, &[0.0]), Err(IntervalsError::Level { .. })));
        assert!(matches!(conformal(0.9, &[0.0; 2]), Err(IntervalsError::Count { .. })));
        assert!(matches!(conformal(0.9, &[f32::NAN]), Err(IntervalsError::Margin { .. })));
        assert_eq!(conformal(0.9, &[-0.5]), Ok(()));
    }
}
