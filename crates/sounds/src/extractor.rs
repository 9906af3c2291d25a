//! From samples to the features of a row.

use std::ops::Range;

use fireclay_model::{SoundColumns, Sounds, SoundsError};

use crate::SoundError;
use crate::fourier::Fourier;
use crate::frames::Frames;
use crate::mel::{Bands, Cosines};

/// The least power of a frame when silence is separated from sound, as that of librosa.
const LEAST_POWER: f64 = 1e-10;

/// The computation of the features that [`Sounds`] describes, with all that does not depend on the
/// recording.
///
/// ```
/// use fireclay_model::Sounds;
/// use fireclay_sounds::Extractor;
///
/// let extractor = Extractor::new(Sounds::of_rate(8_000))?;
/// let tone: Vec<f32> = (0..8_000).map(|i| (i as f32 * 0.3).sin()).collect();
/// assert_eq!(extractor.features(&tone)?.len(), 40 * 20);
/// # Ok::<(), fireclay_sounds::SoundError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Extractor {
    sounds: Sounds,
    /// The Hann window, in the middle of the transform's points.
    window: Vec<f64>,
    fourier: Fourier,
    bands: Bands,
    cosines: Option<Cosines>,
}

impl Extractor {
    /// Prepares the computation.
    ///
    /// # Errors
    ///
    /// A setting that is out of its range.
    pub fn new(sounds: Sounds) -> Result<Self, SoundsError> {
        sounds.check()?;
        let (points, window) = (sounds.fft as usize, sounds.window as usize);
        let mut padded = vec![0.0; points];
        let left = (points - window) / 2;
        for (at, value) in padded[left..left + window].iter_mut().enumerate() {
            let angle = std::f64::consts::TAU * at as f64 / window as f64;
            *value = 0.5 - 0.5 * libm::cos(angle);
        }
        let cosines = sounds.mfcc.map(|count| Cosines::new(count as usize, sounds.mels as usize));
        Ok(Self {
            sounds,
            window: padded,
            fourier: Fourier::new(points),
            bands: Bands::new(&sounds),
            cosines,
        })
    }

    /// The features that are computed.
    pub fn sounds(&self) -> &Sounds {
        &self.sounds
    }

    /// The features of samples at the rate of the description, `[bands, columns]` row by row.
    ///
    /// # Errors
    ///
    /// [`SoundError::Empty`] without samples, and [`SoundError::NotFinite`] for one that is no number.
    pub fn features(&self, samples: &[f32]) -> Result<Vec<f32>, SoundError> {
        if samples.is_empty() {
            return Err(SoundError::Empty);
        }
        if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(SoundError::NotFinite { sample: at as u64, found: samples[at] });
        }
        let samples = &samples[self.heard(samples)];
        let frames = match self.sounds.columns {
            SoundColumns::Frames { count } => {
                self.frames(&fixed(samples, self.hop() * (count as usize - 1)))
            }
            _ => self.frames(samples),
        };
        let frames = frames.with_deltas(self.sounds.deltas);
        Ok(frames.columns(self.sounds.columns))
    }

    fn hop(&self) -> usize {
        self.sounds.hop as usize
    }

    /// The samples without silence at both ends: frames whose power is further than `trim` below that of
    /// the loudest, as `librosa.effects.trim` has it.
    fn heard(&self, samples: &[f32]) -> Range<usize> {
        let Some(trim) = self.sounds.trim else { return 0..samples.len() };
        let (points, hop) = (self.sounds.fft as usize, self.hop());
        let loudness = (0..=samples.len() / hop).map(|frame| {
            let sum: f64 = framed(samples, frame * hop, points).map(|x| x * x).sum();
            10.0 * libm::log10((sum / points as f64).max(LEAST_POWER))
        });
        let loudness: Vec<f64> = loudness.collect();
        let loudest = loudness.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let heard: Vec<bool> = loudness.iter().map(|level| level - loudest > -trim).collect();
        let first = heard.iter().position(|is_heard| *is_heard).unwrap_or(0);
        let last = heard.iter().rposition(|is_heard| *is_heard).unwrap_or(0);
        first * hop..((last + 1) * hop).min(samples.len())
    }

    /// The bands in decibels, or the coefficients, of each frame, the first of which has its middle at
    /// the first sample; around the samples is silence.
    fn frames(&self, samples: &[f32]) -> Frames {
        let Sounds { floor, range, mels, normalization, .. } = self.sounds;
        let points = self.window.len();
        let mut values = Vec::new();
        let (mut complex, mut power) = (vec![[0.0; 2]; points], vec![0.0; points / 2 + 1]);
        for frame in 0..=samples.len() / self.hop() {
            let sounded = framed(samples, frame * self.hop(), points).zip(&self.window);
            complex.iter_mut().zip(sounded).for_each(|(to, (x, window))| *to = [x * window, 0.0]);
            self.fourier.power(&mut complex, &mut power);
            values.extend(self.bands.of(&power).map(|power| 10.0 * libm::log10(power.max(floor))));
        }
        let mut frames = Frames { width: mels as usize, values };
        if let Some(range) = range {
            frames.limit_range(range);
        }
        if let Some(cosines) = &self.cosines {
            let bands = frames.values.chunks_exact(frames.width);
            let values = bands.flat_map(|bands| cosines.of(bands)).collect();
            frames = Frames { width: self.sounds.bands(), values };
        }
        frames.normalize(normalization);
        frames
    }
}

/// The samples around a place, with silence beyond both ends.
fn framed(samples: &[f32], middle: usize, points: usize) -> impl Iterator<Item = f64> + '_ {
    let half = points / 2;
    let missing = half.saturating_sub(middle).min(points);
    let start = middle.saturating_sub(half);
    let heard = samples.get(start..).unwrap_or_default().iter().map(|&sample| f64::from(sample));
    let silence = std::iter::repeat_n(0.0, missing);
    silence.chain(heard).chain(std::iter::repeat(0.0)).take(points)
}

/// The middle of samples, or all in the middle of silence: `length` of them, or one.
fn fixed(samples: &[f32], length: usize) -> Vec<f32> {
    let length = length.max(1);
    let start = samples.len().saturating_sub(length) / 2;
    let kept = &samples[start..samples.len().min(start + length)];
    let mut fixed = vec![0.0; (length - kept.len()) / 2];
    fixed.extend_from_slice(kept);
    fixed.resize(length, 0.0);
    fixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_cut_or_padded_around_their_middle() {
        assert_eq!(fixed(&[1.0, 2.0, 3.0, 4.0, 5.0], 3), [2.0, 3.0, 4.0]);
        assert_eq!(fixed(&[1.0, 2.0], 5), [0.0, 1.0, 2.0, 0.0, 0.0]);
        assert_eq!(fixed(&[1.0, 2.0], 0), [1.0]);
        assert_eq!(framed(&[1.0, 2.0, 3.0], 0, 4).collect::<Vec<_>>(), [0.0, 0.0, 1.0, 2.0]);
        assert_eq!(framed(&[1.0, 2.0, 3.0], 2, 4).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 0.0]);
        assert_eq!(framed(&[1.0], 9, 2).collect::<Vec<_>>(), [0.0, 0.0]);
    }

    #[test]
    fn every_length_has_a_row() {
        let usual = Sounds::of_rate(8_000);
        let columns = [
            SoundColumns::Frames { count: 1 },
            SoundColumns::Frames { count: 30 },
            SoundColumns::Bins { count: 7 },
            SoundColumns::Statistics,
        ];
        for columns in columns {
            let sounds = Sounds { columns, deltas: 1, trim: Some(30.0), ..usual };
            let extractor = Extractor::new(sounds).unwrap();
            let [bands, count] = sounds.shape();
            for length in [1, 79, 80, 81, 5_000] {
                let samples: Vec<f32> = (0..length).map(|i| (i as f32 * 0.4).sin()).collect();
                let row = extractor.features(&samples).unwrap();
                assert_eq!(row.len(), bands * count, "{columns} {length}");
                assert!(row.iter().all(|value| value.is_finite()), "{columns} {length}");
            }
            let silent = extractor.features(&[0.0; 900]).unwrap();
            assert!(silent.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        let extractor = Extractor::new(Sounds::of_rate(8_000)).unwrap();
        assert!(matches!(extractor.features(&[]), Err(SoundError::Empty)));
        let found = extractor.features(&[0.0, f32::NAN]);
        assert!(matches!(found, Err(SoundError::NotFinite { sample: 1, .. })), "{found:?}");
    }

    #[test]
    fn silence_is_trimmed_at_both_ends() {
        let sounds = Sounds { trim: Some(30.0), ..Sounds::of_rate(8_000) };
        let extractor = Extractor::new(sounds).unwrap();
        let mut samples = vec![0.0; 8_000];
        samples[3_000..5_000].fill(0.5);
        let heard = extractor.heard(&samples);
        assert!(
            heard.start.abs_diff(3_000) <= 256 && heard.end.abs_diff(5_000) <= 256,
            "{heard:?}"
        );
        assert_eq!(extractor.heard(&[0.0; 500]), 0..500);
    }
}
