//! Mel bands, and their cosine transform.

use fireclay_model::{MelScale, Sounds};

/// A triangle over the frequencies of a transform.
#[derive(Clone, Debug)]
struct Band {
    /// The first frequency that counts.
    first: usize,
    /// The weights of it and of those behind it.
    weights: Vec<f64>,
}

/// The mel bands of a description of sounds.
#[derive(Clone, Debug)]
pub(crate) struct Bands(Vec<Band>);

impl Bands {
    /// Triangles whose corners are evenly spaced on the mel scale; those of Slaney have equal area.
    pub(crate) fn new(sounds: &Sounds) -> Self {
        let Sounds { scale, lowest, highest, mels, rate, fft, .. } = *sounds;
        let (low, high) = (to_mel(scale, lowest), to_mel(scale, highest));
        let step = (high - low) / f64::from(mels + 1);
        let corners: Vec<f64> =
            (0..mels + 2).map(|at| to_hertz(scale, low + f64::from(at) * step)).collect();
        let hertz: Vec<f64> =
            (0..=fft / 2).map(|at| f64::from(at) * f64::from(rate) / f64::from(fft)).collect();
        let bands = corners.windows(3).map(|corners| {
            let [left, middle, right] = [corners[0], corners[1], corners[2]];
            let height = match scale {
                MelScale::Slaney => 2.0 / (right - left),
                MelScale::Htk => 1.0,
            };
            let sides = hertz.iter().map(|hertz| {
                ((hertz - left) / (middle - left)).min((right - hertz) / (right - middle))
            });
            let weights: Vec<f64> = sides.map(|side| side.max(0.0) * height).collect();
            let first = weights.iter().position(|weight| *weight > 0.0).unwrap_or(0);
            let end = weights.iter().rposition(|weight| *weight > 0.0).map_or(0, |last| last + 1);
            Band { first, weights: weights.get(first..end).unwrap_or_default().to_vec() }
        });
        Self(bands.collect())
    }

    /// The power of each band, `[bands]`, from that of each frequency.
    pub(crate) fn of<'a>(&'a self, power: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.0.iter().map(|Band { first, weights }| {
            power[*first..].iter().zip(weights).map(|(power, weight)| power * weight).sum()
        })
    }
}

/// Below this frequency Slaney's scale is linear, 3 mel for each 200 Hz, and above it logarithmic, 27
/// mel for each factor of 6.4.
const SLANEY_BREAK: f64 = 1000.0;

fn to_mel(scale: MelScale, hertz: f64) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * libm::log10(1.0 + hertz / 700.0),
        MelScale::Slaney if hertz < SLANEY_BREAK => hertz * 3.0 / 200.0,
        MelScale::Slaney => 15.0 + libm::log(hertz / SLANEY_BREAK) / (libm::log(6.4) / 27.0),
    }
}

fn to_hertz(scale: MelScale, mel: f64) -> f64 {
    match scale {
        MelScale::Htk => 700.0 * (libm::pow(10.0, mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < 15.0 => mel * 200.0 / 3.0,
        MelScale::Slaney => SLANEY_BREAK * libm::exp((mel - 15.0) * (libm::log(6.4) / 27.0)),
    }
}

/// The first coefficients of the orthonormal cosine transform (DCT-II) of so many bands.
#[derive(Clone, Debug)]
pub(crate) struct Cosines {
    bands: usize,
    /// `[coefficients, bands]`.
    table: Vec<f64>,
}

impl Cosines {
    pub(crate) fn new(coefficients: usize, bands: usize) -> Self {
        let table = (0..coefficients * bands).map(|at| {
            let (coefficient, band) = (at / bands, at % bands);
            let angle =
                std::f64::consts::PI * coefficient as f64 * (band as f64 + 0.5) / bands as f64;
            let share = if coefficient == 0 { 1.0 } else { 2.0 };
            (share / bands as f64).sqrt() * libm::cos(angle)
        });
        Self { bands, table: table.collect() }
    }

    /// The coefficients of the bands of a frame.
    pub(crate) fn of<'a>(&'a self, bands: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        let rows = self.table.chunks_exact(self.bands);
        rows.map(move |row| row.iter().zip(bands).map(|(cosine, band)| cosine * band).sum())
    }
}
