//! From raw features to what the network sees; stored with the model and applied by this code alone.

use fireclay_terminal::counted;
use serde::{Deserialize, Serialize};

/// An affine map of raw features, fitted or fixed before training.
///
/// ```
/// use fireclay_model::Preprocessing;
///
/// // What torchvision's `ToTensor` and `Normalize((0.1307,), (0.3081,))` do to a pixel byte.
/// let mnist = Preprocessing::Normalize { scale: 1.0 / 255.0, mean: 0.1307, deviation: 0.3081 };
/// assert!(mnist.validate(784).is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Preprocessing {
    /// `x`.
    #[default]
    #[serde(deserialize_with = "crate::strict::no_fields")]
    None,
    /// `scale x`, the same for every feature; `1/255` for pixel bytes.
    Scale {
        /// The factor.
        scale: f32,
    },
    /// `(scale x - mean) / deviation`, the same for every feature.
    Normalize {
        /// The factor, applied first.
        scale: f32,
        /// Mean of the scaled features.
        mean: f32,
        /// Standard deviation of the scaled features.
        deviation: f32,
    },
    /// `(x - mean) / deviation`, feature by feature; a constant feature (deviation 0) becomes 0.
    Standardize {
        /// Mean of each feature.
        mean: Vec<f32>,
        /// Standard deviation of each feature.
        deviation: Vec<f32>,
    },
}

impl Preprocessing {
    /// Pixel bytes to `[0, 1]`.
    pub const PIXELS: Self = Self::Scale { scale: 1.0 / 255.0 };

    /// Checks that every number is finite and fits `features` features.
    ///
    /// # Errors
    ///
    /// A [`PreprocessingError`] that says what is wrong.
    pub fn validate(&self, features: usize) -> Result<(), PreprocessingError> {
        match self {
            Self::None => Ok(()),
            Self::Scale { scale } => finite("scale", &[*scale]),
            Self::Normalize { scale, mean, deviation } => {
                finite("scale", &[*scale])?;
                finite("mean", &[*mean])?;
                finite("deviation", &[*deviation])?;
                if *deviation > 0.0 {
                    Ok(())
                } else {
                    Err(PreprocessingError::BadValue {
                        field: "deviation",
                        index: 0,
                        found: *deviation,
                    })
                }
            }
            Self::Standardize { mean, deviation } => {
                for (field, values) in [("mean", mean), ("deviation", deviation)] {
                    finite(field, values)?;
                    if values.len() != features {
                        let found = values.len();
                        return Err(PreprocessingError::Count { field, found, expected: features });
                    }
                }
                match deviation.iter().position(|&d| d < 0.0) {
                    Some(index) => Err(PreprocessingError::BadValue {
                        field: "deviation",
                        index,
                        found: deviation[index],
                    }),
                    None => Ok(()),
                }
            }
        }
    }

    /// Whether raw features of this range are unlikely the pixel bytes that this divides by 255; nothing
    /// of another preprocessing.
    pub fn unlikely_bytes(&self, least: f32, most: f32) -> Option<UnlikelyBytes> {
        if !self.divides_by_255() {
            return None;
        }
        if least >= -1.0 && most <= 1.0 {
            Some(UnlikelyBytes::DividedTwice)
        } else if least < -255.0 || most > 510.0 {
            Some(UnlikelyBytes::BeyondBytes { least, most })
        } else {
            None
        }
    }

    /// Whether it is made for pixel bytes.
    pub fn divides_by_255(&self) -> bool {
        match self {
            Self::Scale { scale } | Self::Normalize { scale, .. } => {
                (scale * 255.0 - 1.0).abs() < 0.05
            }
            _ => false,
        }
    }

    /// Maps rows of raw features, in place.
    #[inline(always)]
    pub(crate) fn apply(&self, rows: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Scale { scale } => rows.iter_mut().for_each(|x| *x *= scale),
            Self::Normalize { scale, mean, deviation } => {
                rows.iter_mut().for_each(|x| *x = (*x * scale - mean) / deviation);
            }
            Self::Standardize { mean, deviation } => {
                for row in rows.chunks_exact_mut(mean.len()) {
                    for ((x, mean), &deviation) in row.iter_mut().zip(mean).zip(deviation) {
                        let factor = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
                        *x = (*x - mean) * factor;
                    }
                }
            }
        }
    }
}

fn finite(field: &'static str, values: &[f32]) -> Result<(), PreprocessingError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(PreprocessingError::BadValue { field, index, found: values[index] }),
        None => Ok(()),
    }
}

/// Why features are unlikely the pixel bytes that their preprocessing divides by 255.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum UnlikelyBytes {
    /// All are at most 1.
    #[error(
        "no feature is above 1, and the preprocessing divides them by 255 like bytes; if they are \
         scaled already, the preprocessing must be `none`"
    )]
    DividedTwice,
    /// Some are far beyond bytes.
    #[error(
        "the features range from {least} to {most}, and the preprocessing divides them by 255 like \
         bytes; another preprocessing, such as `standardize`, fits them better"
    )]
    BeyondBytes {
        /// The smallest feature.
        least: f32,
        /// The largest.
        most: f32,
    },
}

/// Why a preprocessing cannot be applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PreprocessingError {
    /// A number is not finite, or a deviation is not positive.
    #[error(
        "preprocessing: {field}[{index}] is {found}; numbers must be finite and deviations positive"
    )]
    BadValue {
        /// The field at fault.
        field: &'static str,
        /// Position in the field.
        index: usize,
        /// The value found.
        found: f32,
    },
    /// There are not as many numbers as features.
    #[error("preprocessing: {field} has {} for {}", counted(*found as u64, "number"), counted(*expected as u64, "feature"))]
    Count {
        /// The field at fault.
        field: &'static str,
        /// Numbers found.
        found: usize,
        /// Features of a sample.
        expected: usize,
    },
}
