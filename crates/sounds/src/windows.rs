//! Windows over a recording of any length.

use std::io::Read;

use crate::recording::MOST_SAMPLES;
use crate::{Recording, Resampler, SoundError};

/// A part of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Where it begins, in seconds.
    pub start: f64,
    /// Its samples at the rate that was asked for.
    pub samples: Vec<f32>,
}

/// Windows over a recording, which is read as they are asked for: no more than one is in memory.
///
/// The last one ends with the recording, and may be shorter.
pub struct Windows<R: Read> {
    recording: Recording<R>,
    resampler: Resampler,
    rate: u32,
    length: usize,
    hop: usize,
    /// Samples from the start of the next window on.
    samples: Vec<f32>,
    /// Place of the first of them.
    first: u64,
    /// The samples that were decoded last, kept for their room.
    block: Vec<f32>,
    /// Whether the recording is at its end.
    is_read: bool,
    is_over: bool,
}

impl<R: Read> Windows<R> {
    /// Windows of so many seconds, every so many seconds, of a recording that is resampled to a rate.
    ///
    /// # Errors
    ///
    /// [`SoundError::Window`] if either is shorter than a sample, or longer than is read as a whole.
    pub fn new(
        recording: Recording<R>,
        rate: u32,
        window: f64,
        hop: f64,
    ) -> Result<Self, SoundError> {
        let [length, step] = [window, hop].map(|seconds| (seconds * f64::from(rate)).round());
        let range = 1.0..=MOST_SAMPLES as f64;
        if !(range.contains(&length) && range.contains(&step)) {
            let [least, most] = [1.0, MOST_SAMPLES as f64].map(|count| count / f64::from(rate));
            return Err(SoundError::Window { window, hop, least, most });
        }
        Ok(Self {
            resampler: Resampler::new(recording.rate(), rate),
            recording,
            rate,
            length: length as usize,
            hop: step as usize,
            samples: Vec::new(),
            first: 0,
            block: Vec::new(),
            is_read: false,
            is_over: false,
        })
    }

    /// The next window; none after the one that ends with the recording.
    ///
    /// # Errors
    ///
    /// As [`Recording::samples`], but for the length.
    pub fn next_window(&mut self) -> Result<Option<Window>, SoundError> {
        if self.is_over {
            return Ok(None);
        }
        // One sample more than the window tells whether there is another behind it.
        while !self.is_read && self.samples.len() <= self.length.max(self.hop) {
            self.read()?;
        }
        let start = self.first as f64 / f64::from(self.rate);
        let end = self.samples.len().min(self.length);
        let samples = self.samples[..end].to_vec();
        if samples.is_empty() {
            self.is_over = true;
            return if self.first == 0 { Err(SoundError::Empty) } else { Ok(None) };
        }
        self.is_over = self.is_read && self.samples.len() <= self.length;
        let passed = self.hop.min(self.samples.len());
        self.samples.drain(..passed);
        self.first += passed as u64;
        Ok(Some(Window { start, samples }))
    }

    /// Reads more samples.
    fn read(&mut self) -> Result<(), SoundError> {
        if self.recording.next_block(&mut self.block)? {
            self.resampler.push(&self.block, &mut self.samples);
        } else {
            self.resampler.finish(&mut self.samples);
            self.is_read = true;
        }
        Ok(())
    }
}
