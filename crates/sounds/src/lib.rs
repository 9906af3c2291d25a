//! Recordings to the rows that a model reads.
//!
//! A WAV or FLAC file is decoded as it is read, mixed to one channel and resampled, and becomes the
//! features that the model describes by its [`Sounds`](fireclay_model::Sounds): mel bands in decibels or
//! cepstral coefficients, in a fixed number of columns.
//! A file may come from a stranger: what its header declares is judged before memory is taken, and what
//! a decoder cannot read is a [`SoundError`].
//!
//! ```no_run
//! use fireclay_model::Predictor;
//! use fireclay_sounds::{Extractor, Recording, SoundError};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let predictor = Predictor::load("runs/first/model.safetensors")?;
//! let sounds = predictor.description().input.sounds().ok_or("no model of sounds")?;
//! let recording = Recording::open(std::fs::File::open("seven.wav")?)?;
//! let samples = recording.samples(sounds.rate)?;
//! let prediction = predictor.predict(&[Extractor::new(sounds)?.features(&samples)?])?;
//! # drop(prediction);
//! # Ok(())
//! # }
//! ```
//!
//! All arithmetic has one order and functions of its own, so that a recording has the same features, to
//! the bit, on every machine.
//! Nothing here knows Burn, opens a file, prints or logs.

mod error;
mod extractor;
mod fourier;
mod frames;
mod mel;
mod options;
mod recording;
mod resampler;
mod windows;

pub use error::SoundError;
pub use extractor::Extractor;
pub use options::SoundOptions;
pub use recording::{Kind, Recording};
pub use resampler::Resampler;
pub use windows::{Window, Windows};
