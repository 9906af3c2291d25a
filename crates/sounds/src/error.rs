//! Why a recording cannot be read.

use std::io;

use fireclay_model::{Sounds, SoundsError};

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// The stream of its bytes fails.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// The file is neither WAV nor FLAC.
    #[error("the file is no WAV or FLAC recording; save it as one of them")]
    Foreign,
    /// The decoder refuses it.
    #[error("not a whole {kind} recording: {what}")]
    Malformed {
        /// The kind of file, such as `WAV`.
        kind: &'static str,
        /// The decoder's reason.
        what: String,
    },
    /// It is whole, and holds what is not read here.
    #[error("the {kind} recording holds {what}; save it as WAV with 16 bits a sample")]
    Unread {
        /// The kind of file, such as `WAV`.
        kind: &'static str,
        /// What it holds.
        what: String,
    },
    /// A sampling rate that no recording has.
    #[error(
        "the recording has {found} samples a second; rates from 1 to {} are read",
        Sounds::MOST_RATE
    )]
    Rate {
        /// The rate.
        found: u32,
    },
    /// There is nothing to hear.
    #[error("the recording has no samples; leave it out")]
    Empty,
    /// The file ends before its samples do.
    #[error("the recording ends after {found} of {declared} samples; copy or save it once more")]
    Truncated {
        /// Samples of each channel that were read.
        found: u64,
        /// Samples of each channel, as the header declares them.
        declared: u64,
    },
    /// A sample that is no number.
    #[error("sample {sample} of the recording is {found}; save it once more")]
    NotFinite {
        /// The sample, from 0.
        sample: u64,
        /// Its value.
        found: f32,
    },
    /// It would take too much memory as a whole.
    #[error(
        "the recording is longer than {most:.0} seconds; cut it into parts, or predict it with --window \
         SECONDS"
    )]
    TooLong {
        /// The longest that is read as a whole, in seconds.
        most: f64,
    },
    /// A window of prediction that has no sample, or too many.
    #[error(
        "windows of {window} seconds every {hop} seconds cannot be taken; give from {least:e} to {most:.0} seconds"
    )]
    Window {
        /// The length of a window, in seconds.
        window: f64,
        /// From one window to the next, in seconds.
        hop: f64,
        /// The shortest, in seconds.
        least: f64,
        /// The longest, in seconds.
        most: f64,
    },
    /// Features that cannot be computed.
    #[error(transparent)]
    Features(#[from] SoundsError),
}
