//! The flags of recordings.

use fireclay::{FrameNormalization, SoundColumns};

use super::flags::Flags;

/// The features of recordings.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Recordings")]
pub struct SoundArgs {
    /// Sample rate that recordings are resampled to, in Hz [default: the lowest of all, at most 16000].
    #[arg(long, value_name = "HZ")]
    pub sample_rate: Option<u32>,
    /// Number of mel bands [default: 40].
    #[arg(long, value_name = "N")]
    pub mels: Option<u32>,
    /// Number of cepstral coefficients (MFCC), in place of the mel bands [default: none].
    #[arg(long, value_name = "N")]
    pub mfcc: Option<u32>,
    /// Time derivatives to add to each band: 0, 1 or 2 [default: 0].
    #[arg(long, value_name = "N")]
    pub deltas: Option<u32>,
    /// Normalization of each band over the frames of a recording: none, mean or standardize [default: none].
    #[arg(long, value_name = "HOW")]
    pub frame_normalization: Option<FrameNormalization>,
    /// Trim silence at both ends: frames this many decibels below the loudest [default: none].
    #[arg(long, value_name = "DB")]
    pub trim: Option<f64>,
    /// Columns of a row: bins:N (means over N parts of the time), frames:N (cut or padded) or statistics [default: bins:20].
    #[arg(long, value_name = "COLUMNS")]
    pub time_columns: Option<SoundColumns>,
}

impl SoundArgs {
    /// Adds these settings.
    pub fn add_to(&self, flags: &mut Flags) {
        flags.count("data.sounds.rate", self.sample_rate);
        flags.count("data.sounds.mels", self.mels);
        flags.count("data.sounds.mfcc", self.mfcc);
        flags.count("data.sounds.deltas", self.deltas);
        flags.text("data.sounds.normalization", self.frame_normalization);
        flags.number("data.sounds.trim", self.trim);
        flags.text("data.sounds.columns", self.time_columns);
    }
}
