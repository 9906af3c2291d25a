//! What a person says of recordings and their features.

use fireclay_model::{FrameNormalization, MelScale, SoundColumns, Sounds};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a person says of recordings, as the section `[data.sounds]` of a settings file holds it; what is
/// absent has the usual value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoundOptions {
    /// The pattern of file names without their ending, such as `{label}_{speaker}_{index}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Samples a second; those of the recording with the fewest, and at most 16,000, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Length of a frame, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<f64>,
    /// From one frame to the next, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<f64>,
    /// Mel bands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mels: Option<u32>,
    /// The mel scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<MelScale>,
    /// Lowest frequency of the bands, in Hz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lowest: Option<f64>,
    /// Highest frequency of the bands, in Hz; half the rate if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest: Option<f64>,
    /// The least power of a band.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// The most decibels below the loudest band of a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<f64>,
    /// Cepstral coefficients, in place of the bands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfcc: Option<u32>,
    /// Time derivatives below the bands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deltas: Option<u32>,
    /// Normalization of each band over the frames of a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalization: Option<FrameNormalization>,
    /// Decibels below its loudest frame at which both ends of a recording count as silence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trim: Option<f64>,
    /// Columns of a row, as `bins:N`, `frames:N` or `statistics`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "as_text",
        deserialize_with = "of_text"
    )]
    pub columns: Option<SoundColumns>,
}

/// The most samples a second, if nobody says: speech has little above half of it.
const USUAL_RATE: u32 = 16_000;

impl SoundOptions {
    /// The features of recordings of which the one with the fewest samples a second has so many.
    pub fn sounds(&self, fewest: u32) -> Sounds {
        let rate = self.rate.unwrap_or(fewest.min(USUAL_RATE));
        let usual = Sounds::of_rate(rate);
        let window = samples(self.frame, rate).unwrap_or(usual.window);
        Sounds {
            rate,
            window,
            hop: samples(self.hop, rate).unwrap_or(usual.hop),
            fft: window.checked_next_power_of_two().unwrap_or(window).max(2),
            mels: self.mels.unwrap_or(usual.mels),
            scale: self.scale.unwrap_or(usual.scale),
            lowest: self.lowest.unwrap_or(usual.lowest),
            highest: self.highest.unwrap_or(usual.highest),
            floor: self.floor.unwrap_or(usual.floor),
            range: self.range.or(usual.range),
            mfcc: self.mfcc.or(usual.mfcc),
            deltas: self.deltas.unwrap_or(usual.deltas),
            normalization: self.normalization.unwrap_or(usual.normalization),
            trim: self.trim.or(usual.trim),
            columns: self.columns.unwrap_or(usual.columns),
        }
    }
}

/// Seconds in samples at a rate.
fn samples(seconds: Option<f64>, rate: u32) -> Option<u32> {
    seconds.map(|seconds| (seconds * f64::from(rate)).round() as u32)
}

fn as_text<S: Serializer>(
    columns: &Option<SoundColumns>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    columns.map(|columns| columns.to_string()).serialize(serializer)
}

fn of_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SoundColumns>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_usual() {
        let none = SoundOptions::default();
        assert_eq!(none.sounds(8_000), Sounds::of_rate(8_000));
        assert_eq!(none.sounds(44_100), Sounds::of_rate(16_000));
        let some: SoundOptions =
            serde_json::from_str(r#"{"frame":0.032,"hop":0.016,"mels":64,"columns":"frames:31"}"#)
                .unwrap();
        let sounds = some.sounds(16_000);
        assert_eq!((sounds.window, sounds.fft, sounds.hop), (512, 512, 256));
        assert_eq!(sounds.shape(), [64, 31]);
        let text = serde_json::to_string(&some).unwrap();
        assert!(text.ends_with(r#""mels":64,"columns":"frames:31"}"#), "{text}");
        assert!(serde_json::from_str::<SoundOptions>(r#"{"columns":"bins"}"#).is_err());
    }
}
