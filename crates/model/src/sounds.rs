//! The features of the recordings that a model was trained on, so that others are given to it alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{UnknownName, named_enum};

/// From a recording to a row: the front end of a model of sounds, stored with it, and used by whoever
/// makes a row of a recording.
///
/// A recording is mixed to one channel and resampled, its silent ends are trimmed, and frames of it
/// become the power of mel bands in decibels, `10 log10(max(power, floor))`, or cepstral coefficients
/// of them. Deltas stand below, and all frames become a fixed number of columns.
///
/// ```
/// use fireclay_model::Sounds;
///
/// assert_eq!(Sounds::of_rate(16_000).shape(), [40, 20]);
/// assert!(Sounds::of_rate(16_000).validate(&[40, 20]).is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sounds {
    /// Samples a second that recordings are resampled to.
    pub rate: u32,
    /// Samples under the Hann window of a frame.
    pub window: u32,
    /// Samples from one frame to the next.
    pub hop: u32,
    /// Points of the Fourier transform of a frame, a power of two; the window is in their middle.
    pub fft: u32,
    /// Mel bands.
    pub mels: u32,
    /// The mel scale, and the height of its triangles.
    pub scale: MelScale,
    /// Lowest frequency of the bands, in Hz.
    pub lowest: f64,
    /// Highest frequency of the bands, in Hz.
    pub highest: f64,
    /// The least power of a band, below which it counts as this.
    pub floor: f64,
    /// The most decibels below the loudest band of the recording; weaker ones count as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<f64>,
    /// Mel-frequency cepstral coefficients (MFCC), in place of the bands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfcc: Option<u32>,
    /// Time derivatives below the bands: 1, or 2 with those of the derivatives.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deltas: u32,
    /// Normalization of each band, or coefficient, over the frames of a recording.
    pub normalization: FrameNormalization,
    /// Decibels below its loudest frame at which both ends of a recording count as silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim: Option<f64>,
    /// From any number of frames to a fixed number of columns.
    pub columns: SoundColumns,
}

named_enum! {
    /// The mel scale of the bands, and the height of their triangles.
    pub enum MelScale as "mel scale" {
        /// That of Slaney's Auditory Toolbox, triangles of equal area; the default of librosa.
        Slaney = "slaney",
        /// `2595 log10(1 + f / 700)`, triangles of height 1; that of HTK and the default of torchaudio.
        Htk = "htk",
    }
}

named_enum! {
    /// Normalization of each band over the frames of a recording.
    pub enum FrameNormalization as "normalization of frames" {
        /// Frames as they are.
        None = "none",
        /// Mean 0 (cepstral mean normalization), which removes the loudness and the microphone.
        Mean = "mean",
        /// Mean 0 and standard deviation 1.
        Standardize = "standardize",
    }
}

/// The columns of a row: from any number of frames to a fixed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SoundColumns {
    /// The middle frames, or all between frames of silence.
    Frames {
        /// Frames.
        count: u32,
    },
    /// Means over equal parts of the time.
    Bins {
        /// Parts.
        count: u32,
    },
    /// The mean and the standard deviation over all frames.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    Statistics,
}

/// Why a description of sounds cannot be that of a model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SoundsError {
    /// A setting is out of its range.
    #[error("sounds have {setting} {found}; it must be {expected}")]
    Setting {
        /// The setting, such as `hop`.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// Rows of another shape.
    #[error("the features of sounds have shape {found:?}, and rows of the model {expected:?}")]
    Shape {
        /// The shape of the features.
        found: Vec<usize>,
        /// The shape of a row.
        expected: Vec<usize>,
    },
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Sounds {
    /// The most samples a second: more than any recorder has.
    pub const MOST_RATE: u32 = 192_000;
    /// The most points of a Fourier transform.
    const MOST_POINTS: u32 = 1 << 15;
    /// The most bands, and the most columns.
    const MOST_SIZE: u32 = 4096;
    /// A window of 25 ms every 10 ms, as in most speech recognition.
    const WINDOW: [f64; 2] = [0.025, 0.010];

    /// The usual features at this rate: 40 bands in decibels, frames of 25 ms every 10 ms, and means
    /// over 20 parts of the time.
    pub fn of_rate(rate: u32) -> Self {
        let [window, hop] =
            Self::WINDOW.map(|seconds| ((seconds * f64::from(rate)).round() as u32).max(1));
        Self {
            rate,
            window,
            hop,
            fft: window.next_power_of_two(),
            mels: 40,
            scale: MelScale::Slaney,
            lowest: 0.0,
            highest: f64::from(rate) / 2.0,
            floor: 1e-10,
            range: None,
            mfcc: None,
            deltas: 0,
            normalization: FrameNormalization::None,
            trim: None,
            columns: SoundColumns::Bins { count: 20 },
        }
    }

    /// Bands or coefficients of a frame, without deltas.
    pub fn bands(&self) -> usize {
        self.mfcc.unwrap_or(self.mels) as usize
    }

    /// The shape of a row: bands with their deltas below, and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.bands() * (1 + self.deltas as usize), self.columns.count()]
    }

    /// Checks all settings, and that rows of this shape have these features.
    ///
    /// # Errors
    ///
    /// A [`SoundsError`].
    pub fn validate(&self, shape: &[usize]) -> Result<(), SoundsError> {
        self.check()?;
        if self.shape() == shape {
            return Ok(());
        }
        Err(SoundsError::Shape { found: self.shape().to_vec(), expected: shape.to_vec() })
    }

    /// Checks all settings.
    ///
    /// # Errors
    ///
    /// [`SoundsError::Setting`] for the first one that is out of its range.
    pub fn check(&self) -> Result<(), SoundsError> {
        let Self { rate, window, hop, fft, mels, mfcc, deltas, columns, .. } = *self;
        in_range("rate", rate, 1, Self::MOST_RATE)?;
        in_range("fft", fft, 2, Self::MOST_POINTS)?;
        holds(fft.is_power_of_two(), "fft", fft, "a power of two")?;
        in_range("window", window, 1, fft)?;
        in_range("hop", hop, 1, Self::MOST_POINTS)?;
        in_range("mels", mels, 1, Self::MOST_SIZE)?;
        in_range("mfcc", mfcc.unwrap_or(1), 1, mels)?;
        in_range("deltas", deltas, 0, 2)?;
        in_range("columns", columns.count() as u32, 1, Self::MOST_SIZE)?;
        let half = f64::from(rate) / 2.0;
        let Self { lowest, highest, floor, range, trim, .. } = *self;
        let is_band = (0.0..half).contains(&lowest);
        holds(is_band, "lowest", lowest, &format!("from 0 to below {half}"))?;
        let is_band = highest > lowest && highest <= half;
        holds(is_band, "highest", highest, &format!("above `lowest`, and at most {half}"))?;
        holds(floor.is_finite() && floor > 0.0, "floor", floor, "above 0")?;
        let decibels = [("range", range), ("trim", trim)];
        decibels.into_iter().try_for_each(|(setting, value)| match value {
            Some(value) => {
                holds(value.is_finite() && value > 0.0, setting, value, "above 0 decibels")
            }
            None => Ok(()),
        })
    }
}

fn in_range(setting: &'static str, found: u32, least: u32, most: u32) -> Result<(), SoundsError> {
    holds((least..=most).contains(&found), setting, found, &format!("from {least} to {most}"))
}

fn holds(
    is_held: bool,
    setting: &'static str,
    found: impl ToString,
    expected: &str,
) -> Result<(), SoundsError> {
    if is_held {
        return Ok(());
    }
    Err(SoundsError::Setting { setting, found: found.to_string(), expected: expected.to_owned() })
}

impl SoundColumns {
    /// Columns of a row.
    pub fn count(self) -> usize {
        match self {
            Self::Frames { count } | Self::Bins { count } => count as usize,
            Self::Statistics => 2,
        }
    }
}

impl fmt::Display for Sounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [window, hop] =
            [self.window, self.hop].map(|samples| 1e3 * f64::from(samples) / f64::from(self.rate));
        if let Some(count) = self.mfcc {
            write!(f, "{count} MFCC of ")?;
        }
        write!(f, "{} mel bands ({}), {} Hz", self.mels, self.scale, self.rate)?;
        write!(f, ", frames of {window} ms every {hop} ms, columns {}", self.columns)?;
        if self.deltas > 0 {
            write!(f, ", deltas {}", self.deltas)?;
        }
        if self.normalization != FrameNormalization::None {
            write!(f, ", normalization {}", self.normalization)?;
        }
        self.trim.map_or(Ok(()), |trim| write!(f, ", silence trimmed at {trim} dB"))
    }
}

/// As flags have it.
impl fmt::Display for SoundColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames { count } => write!(f, "frames:{count}"),
            Self::Bins { count } => write!(f, "bins:{count}"),
            Self::Statistics => f.write_str("statistics"),
        }
    }
}

impl FromStr for SoundColumns {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = match (text, text.split_once(':')) {
            ("statistics", _) => Some(Self::Statistics),
            (_, Some(("frames", count))) => parse(count).map(|count| Self::Frames { count }),
            (_, Some(("bins", count))) => parse(count).map(|count| Self::Bins { count }),
            _ => None,
        };
        let choices = vec!["bins:N", "frames:N", "statistics"];
        found.ok_or_else(|| UnknownName::new("columns", text, choices))
    }
}

/// A number of columns.
fn parse(count: &str) -> Option<u32> {
    count.parse().ok().filter(|count| (1..=Sounds::MOST_SIZE).contains(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_features_are_written_with_every_number() {
        let text = serde_json::to_string(&Sounds::of_rate(8_000)).unwrap();
        assert_eq!(
            text,
            r#"{"rate":8000,"window":200,"hop":80,"fft":256,"mels":40,"scale":"slaney","lowest":0.0,"highest":4000.0,"floor":1e-10,"normalization":"none","columns":{"kind":"bins","count":20}}"#
        );
        assert_eq!(serde_json::from_str::<Sounds>(&text).unwrap(), Sounds::of_rate(8_000));
        for lie in [text.replace("\"hop\":80,", ""), text.replace("hop", "hops")] {
            assert!(serde_json::from_str::<Sounds>(&lie).is_err(), "{lie}");
        }
    }

    #[test]
    fn columns_are_read_as_they_are_written() {
        for text in ["bins:12", "frames:100", "statistics"] {
            assert_eq!(text.parse::<SoundColumns>().unwrap().to_string(), text);
        }
        for bad in ["", "bins", "bins:0", "bins:-1", "frames:99999999", "statistics:2"] {
            assert!(bad.parse::<SoundColumns>().is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let usual = Sounds::of_rate(16_000);
        usual.check().unwrap();
        for bad in [
            Sounds { rate: 0, ..usual },
            Sounds { rate: u32::MAX, ..usual },
            Sounds { fft: 500, ..usual },
            Sounds { fft: 256, ..usual },
            Sounds { hop: 0, ..usual },
            Sounds { mels: 0, ..usual },
            Sounds { mfcc: Some(41), ..usual },
            Sounds { deltas: 3, ..usual },
            Sounds { lowest: f64::NAN, ..usual },
            Sounds { lowest: 8_000.0, ..usual },
            Sounds { highest: 8_001.0, ..usual },
            Sounds { floor: 0.0, ..usual },
            Sounds { trim: Some(-1.0), ..usual },
            Sounds { range: Some(f64::INFINITY), ..usual },
            Sounds { columns: SoundColumns::Bins { count: 0 }, ..usual },
        ] {
            assert!(matches!(bad.check(), Err(SoundsError::Setting { .. })), "{bad:?}");
        }
        assert!(matches!(usual.validate(&[800]), Err(SoundsError::Shape { .. })));
        let more = Sounds { mfcc: Some(13), deltas: 2, columns: SoundColumns::Statistics, ..usual };
        more.validate(&[39, 2]).unwrap();
    }
}
