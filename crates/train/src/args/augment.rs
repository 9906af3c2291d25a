//! The flags of augmentation.

use super::flags::Flags;

/// Random changes of recordings in training; validation and test have none.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Augmentation")]
pub struct AugmentArgs {
    /// Shift recordings by up to this many columns in time [default: 0].
    #[arg(long, value_name = "COLUMNS")]
    pub augment_shift: Option<f64>,
    /// Stretch time by up to this share, such as 0.1 [default: 0].
    #[arg(long, value_name = "SHARE")]
    pub augment_stretch: Option<f64>,
    /// Stretch frequency by up to this share, as another vocal tract does [default: 0].
    #[arg(long, value_name = "SHARE")]
    pub augment_warp: Option<f64>,
    /// Change the level of recordings by up to this many decibels [default: 0].
    #[arg(long, value_name = "DB")]
    pub augment_gain: Option<f64>,
    /// Add noise of this standard deviation to each feature [default: 0].
    #[arg(long, value_name = "DB")]
    pub augment_noise: Option<f64>,
    /// Mask up to this many columns behind each other [default: 0].
    #[arg(long, value_name = "N")]
    pub augment_mask_columns: Option<u32>,
    /// Mask up to this many bands beside each other [default: 0].
    #[arg(long, value_name = "N")]
    pub augment_mask_bands: Option<u32>,
}

impl AugmentArgs {
    /// Adds these settings.
    pub fn add_to(&self, flags: &mut Flags) {
        flags.number("training.augment.shift", self.augment_shift);
        flags.number("training.augment.stretch", self.augment_stretch);
        flags.number("training.augment.warp", self.augment_warp);
        flags.number("training.augment.gain", self.augment_gain);
        flags.number("training.augment.noise", self.augment_noise);
        flags.count("training.augment.mask_columns", self.augment_mask_columns);
        flags.count("training.augment.mask_bands", self.augment_mask_bands);
    }
}
