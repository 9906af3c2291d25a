//! WAV and FLAC files, decoded as they are read.

use std::io::{self, BufReader, Cursor, Read};

use claxon::FlacReader;
use fireclay_model::Sounds;
use hound::{SampleFormat, WavReader};

use crate::{Resampler, SoundError};

/// The kind of a recording's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Waveform Audio (RIFF), of whole or floating-point samples.
    Wav,
    /// Free Lossless Audio Codec.
    Flac,
}

impl Kind {
    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wav => "WAV",
            Self::Flac => "FLAC",
        }
    }

    /// Finds the kind by the first bytes of a file; none if they are of no recording that is read here.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [b'f', b'L', b'a', b'C', ..] => Some(Self::Flac),
            _ => None,
        }
    }
}

/// Bytes that tell the kind of a file, and the format of nearly all WAV files.
const BEGINNING: u64 = 4096;
/// Samples of all channels of a WAV file that are decoded together.
const BLOCK: usize = 1 << 14;
/// The most samples of a recording that is read as a whole, after resampling: 32 MiB.
pub(crate) const MOST_SAMPLES: u64 = 1 << 23;

/// A recording whose samples are decoded as they are asked for, mixed to one channel: the mean of all,
/// from -1 to 1.
pub struct Recording<R: Read> {
    decoder: Decoder<R>,
    rate: u32,
    /// Samples of each channel, as the header declares them.
    declared: Option<u64>,
    /// Samples that were decoded.
    decoded: u64,
}

/// A stream whose first bytes were looked at.
type Begun<R> = io::Chain<Cursor<Vec<u8>>, R>;

enum Decoder<R: Read> {
    Wav { reader: WavReader<BufReader<Begun<R>>>, channels: usize, scale: f64, is_float: bool },
    Flac { reader: Box<FlacReader<Begun<R>>>, block: Vec<i32>, scale: f64 },
}

impl<R: Read> Recording<R> {
    /// Reads the header of a recording.
    ///
    /// # Errors
    ///
    /// A [`SoundError`]: a file of another kind, a malformed header, a rate of 0.
    pub fn open(mut stream: R) -> Result<Self, SoundError> {
        let mut beginning = Vec::new();
        stream.by_ref().take(BEGINNING).read_to_end(&mut beginning)?;
        let kind = Kind::of(&beginning).ok_or(SoundError::Foreign)?;
        let block = bytes_of_a_sample(&beginning);
        let stream = Cursor::new(beginning).chain(stream);
        let (decoder, rate, declared) = match kind {
            Kind::Wav => wav(stream, block)?,
            Kind::Flac => flac(stream)?,
        };
        if !(1..=Sounds::MOST_RATE).contains(&rate) {
            return Err(SoundError::Rate { found: rate });
        }
        Ok(Self { decoder, rate, declared, decoded: 0 })
    }

    /// Samples a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Reads the whole recording, resampled to a rate.
    ///
    /// # Errors
    ///
    /// A [`SoundError`]: a recording that is malformed, truncated, empty or too long, and samples that
    /// are no numbers.
    pub fn samples(mut self, rate: u32) -> Result<Vec<f32>, SoundError> {
        let declared = self.declared.unwrap_or(0) as f64;
        let most = MOST_SAMPLES as f64 / f64::from(rate);
        if declared / f64::from(self.rate) > most {
            return Err(SoundError::TooLong { most });
        }
        let mut resampler = Resampler::new(self.rate, rate);
        let (mut block, mut samples) = (Vec::new(), Vec::new());
        while self.next_block(&mut block)? {
            resampler.push(&block, &mut samples);
            if samples.len() as u64 > MOST_SAMPLES {
                return Err(SoundError::TooLong { most });
            }
        }
        resampler.finish(&mut samples);
        if samples.is_empty() { Err(SoundError::Empty) } else { Ok(samples) }
    }

    /// Decodes the next samples in place of those in `block`; false at the end.
    ///
    /// # Errors
    ///
    /// As [`samples`](Self::samples).
    pub(crate) fn next_block(&mut self, block: &mut Vec<f32>) -> Result<bool, SoundError> {
        block.clear();
        match &mut self.decoder {
            Decoder::Wav { reader, channels, scale, is_float } => {
                let most = (BLOCK / *channels).max(1) * *channels;
                let left = usize::try_from(reader.len()).unwrap_or(usize::MAX);
                let left = left - (self.decoded as usize).saturating_mul(*channels).min(left);
                let wanted = most.min(left);
                let found = if *is_float {
                    collect(reader.samples::<f32>().take(wanted).map(|s| s.map(f64::from)))
                } else {
                    collect(reader.samples::<i32>().take(wanted).map(|s| s.map(f64::from)))
                };
                let mixed = found.0.chunks_exact(*channels).map(|of_all| mean(of_all, *scale));
                block.extend(mixed);
                if let Some(error) = found.1 {
                    let found = self.decoded + block.len() as u64;
                    return Err(of_wav(error, found, self.declared));
                }
            }
            Decoder::Flac { reader, block: buffer, scale } => {
                let frame = reader.blocks().read_next_or_eof(std::mem::take(buffer));
                let frame = frame.map_err(|error| of_flac(error, self.decoded, self.declared))?;
                if let Some(frame) = frame {
                    let channels: Vec<&[i32]> =
                        (0..frame.channels()).map(|channel| frame.channel(channel)).collect();
                    let mut of_all = vec![0.0; channels.len()];
                    for at in 0..frame.duration() as usize {
                        for (value, channel) in of_all.iter_mut().zip(&channels) {
                            *value = f64::from(channel[at]);
                        }
                        block.push(mean(&of_all, *scale));
                    }
                    *buffer = frame.into_buffer();
                }
            }
        }
        if let Some(at) = block.iter().position(|sample| !sample.is_finite()) {
            let sample = self.decoded + at as u64;
            return Err(SoundError::NotFinite { sample, found: block[at] });
        }
        self.decoded += block.len() as u64;
        match self.declared {
            Some(declared) if block.is_empty() && self.decoded < declared => {
                Err(SoundError::Truncated { found: self.decoded, declared })
            }
            _ => Ok(!block.is_empty()),
        }
    }
}

/// The samples before an error, and the error.
fn collect(samples: impl Iterator<Item = hound::Result<f64>>) -> (Vec<f64>, Option<hound::Error>) {
    let mut found = Vec::new();
    for sample in samples {
        match sample {
            Ok(sample) => found.push(sample),
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

/// The mean of all channels.
fn mean(channels: &[f64], scale: f64) -> f32 {
    (channels.iter().sum::<f64>() * scale / channels.len() as f64) as f32
}

/// A decoder with the rate and the samples of each channel that its header declares.
type Opened<R> = (Decoder<R>, u32, Option<u64>);

/// Bytes of a sample of one channel, of a WAV file whose format is among its first chunks.
fn bytes_of_a_sample(beginning: &[u8]) -> Option<u16> {
    let mut chunks = beginning.get(12..)?;
    loop {
        let (id, size) = (chunks.get(..4)?, chunks.get(4..8)?);
        let size = u32::from_le_bytes(size.try_into().ok()?) as usize;
        let contents = chunks.get(8..)?;
        if id == b"fmt " {
            return number(contents, 12)?.checked_div(number(contents, 2)?);
        }
        // Chunks of an odd size are followed by a byte that does not count.
        chunks = contents.get(size.checked_add(size % 2)?..)?;
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// `bytes` are those of a sample, if they are known.
fn wav<R: Read>(stream: Begun<R>, bytes: Option<u16>) -> Result<Opened<R>, SoundError> {
    let reader = WavReader::new(BufReader::new(stream)).map_err(|error| of_wav(error, 0, None))?;
    let spec = reader.spec();
    let is_float = spec.sample_format == SampleFormat::Float;
    let (channels, bits) = (usize::from(spec.channels), spec.bits_per_sample);
    if channels == 0 || !(1..=32).contains(&bits) {
        let what = format!("{channels} channels of {bits} bits");
        return Err(SoundError::Malformed { kind: Kind::Wav.name(), what });
    }
    // Programs differ in which end of a wider sample holds the bits, and no header says which. Other wide
    // samples are refused by the decoder.
    if bits == 24 && bytes != Some(3) {
        let what = "samples of 24 bits in more than 3 bytes".to_owned();
        return Err(SoundError::Unread { kind: Kind::Wav.name(), what });
    }
    let scale = if is_float { 1.0 } else { full_scale(u32::from(bits)) };
    let declared = Some(u64::from(reader.duration()));
    Ok((Decoder::Wav { reader, channels, scale, is_float }, spec.sample_rate, declared))
}

fn flac<R: Read>(stream: Begun<R>) -> Result<Opened<R>, SoundError> {
    let reader = FlacReader::new(stream).map_err(|error| of_flac(error, 0, None))?;
    let info = reader.streaminfo();
    let (rate, bits, declared) = (info.sample_rate, info.bits_per_sample, info.samples);
    if !(1..=32).contains(&bits) {
        let what = format!("samples of {bits} bits");
        return Err(SoundError::Malformed { kind: Kind::Flac.name(), what });
    }
    let (reader, block) = (Box::new(reader), Vec::new());
    Ok((Decoder::Flac { reader, block, scale: full_scale(bits) }, rate, declared))
}

/// What whole samples of so many bits are multiplied by.
fn full_scale(bits: u32) -> f64 {
    1.0 / (1_u64 << (bits - 1)) as f64
}

/// An error of the decoder after some of the declared samples; `hound` has no kind of its own for a file
/// that ends too early.
fn of_wav(error: hound::Error, found: u64, declared: Option<u64>) -> SoundError {
    let kind = Kind::Wav.name();
    match (error, declared) {
        (hound::Error::IoError(error), Some(declared)) if is_end(&error) => {
            SoundError::Truncated { found, declared }
        }
        (hound::Error::IoError(error), _) if is_end(&error) => {
            SoundError::Malformed { kind, what: "its header ends too early".to_owned() }
        }
        (hound::Error::IoError(error), _) => SoundError::Stream(error),
        (hound::Error::Unsupported, _) => {
            SoundError::Unread { kind, what: "samples of an unusual kind".to_owned() }
        }
        (error, _) => SoundError::Malformed { kind, what: error.to_string() },
    }
}

fn of_flac(error: claxon::Error, found: u64, declared: Option<u64>) -> SoundError {
    let kind = Kind::Flac.name();
    match (error, declared) {
        (claxon::Error::IoError(error), Some(declared)) if is_end(&error) => {
            SoundError::Truncated { found, declared }
        }
        (claxon::Error::IoError(error), _) if is_end(&error) => {
            SoundError::Malformed { kind, what: "it ends too early".to_owned() }
        }
        (claxon::Error::IoError(error), _) => SoundError::Stream(error),
        (claxon::Error::Unsupported(what), _) => SoundError::Unread { kind, what: what.to_owned() },
        (error, _) => SoundError::Malformed { kind, what: error.to_string() },
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::Other)
}
