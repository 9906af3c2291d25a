//! Ranges of the settings of optimizers.

/// A setting of an optimizer that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("optimizer: {setting} is {found:?}; it must be {expected}")]
pub struct OptimizerError {
    /// The setting at fault.
    pub setting: &'static str,
    /// Its value.
    pub found: f64,
    /// The values allowed.
    pub expected: &'static str,
}

pub(super) fn positive(setting: &'static str, found: f64) -> Result<(), OptimizerError> {
    require(found.is_finite() && found > 0.0, setting, found, "above 0")
}

pub(super) fn not_negative(setting: &'static str, found: f64) -> Result<(), OptimizerError> {
    require(found.is_finite() && found >= 0.0, setting, found, "0 or above")
}

pub(super) fn share(setting: &'static str, found: f64) -> Result<(), OptimizerError> {
    require((0.0..1.0).contains(&found), setting, found, "at least 0 and below 1")
}

pub(super) fn require(
    holds: bool,
    setting: &'static str,
    found: f64,
    expected: &'static str,
) -> Result<(), OptimizerError> {
    if holds { Ok(()) } else { Err(OptimizerError { setting, found, expected }) }
}
