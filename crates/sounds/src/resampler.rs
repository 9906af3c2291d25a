//! From one sampling rate to another, block by block.

/// Zeros of the sinc on each side of its middle: as long as this the filter is flat up to 0.9 of the
/// lower rate's band.
const ZEROS: usize = 32;
/// Shape of the Kaiser window, whose side lobes are 90 dB below its main one (Kaiser and Schafer 1980).
const BETA: f64 = 9.0;

/// A band-limited change of the sampling rate: a polyphase filter, as `scipy.signal.resample_poly` with
/// the filter `firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", 9.0))`, where `half` is
/// `32 * max(up, down)`.
///
/// Samples may come in any blocks: the outputs are the same, to the bit.
///
/// ```
/// use fireclay_sounds::Resampler;
///
/// let mut resampler = Resampler::new(8_000, 16_000);
/// let mut samples = Vec::new();
/// resampler.push(&[1.0; 100], &mut samples);
/// resampler.finish(&mut samples);
/// assert_eq!(samples.len(), 200);
/// assert!((samples[100] - 1.0).abs() < 1e-3);
/// ```
#[derive(Clone, Debug)]
pub struct Resampler {
    up: u64,
    down: u64,
    /// The filter at `up` times the rate of the input, `2 * half + 1` numbers; none if nothing changes.
    taps: Vec<f64>,
    half: u64,
    /// Inputs that outputs still need.
    inputs: Vec<f32>,
    /// Place of the first of them.
    first: u64,
    /// Place of the next output.
    next: u64,
}

impl Resampler {
    /// From one rate to another, both above 0.
    pub fn new(from: u32, to: u32) -> Self {
        let divisor = common_divisor(u64::from(from), u64::from(to)).max(1);
        let (up, down) = (u64::from(to) / divisor, u64::from(from) / divisor);
        let half = ZEROS as u64 * up.max(down);
        let taps = if up == down { Vec::new() } else { filter(up, up.max(down), half) };
        Self { up, down, taps, half, inputs: Vec::new(), first: 0, next: 0 }
    }

    /// Takes the next samples, and appends those that follow from all until now.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        if self.taps.is_empty() {
            return out.extend_from_slice(samples);
        }
        self.inputs.extend_from_slice(samples);
        let known = self.first + self.inputs.len() as u64;
        while (self.next * self.down + self.half) / self.up < known {
            out.push(self.output());
            self.next += 1;
        }
        // What no later output needs.
        let needed = (self.next * self.down).saturating_sub(self.half).div_ceil(self.up);
        let unneeded = needed.saturating_sub(self.first).min(self.inputs.len() as u64);
        self.inputs.drain(..unneeded as usize);
        self.first += unneeded;
    }

    /// Appends the last samples, after which there is silence.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        if self.taps.is_empty() {
            return;
        }
        let all = (self.first + self.inputs.len() as u64) * self.up;
        while self.next < all.div_ceil(self.down) {
            out.push(self.output());
            self.next += 1;
        }
    }

    /// The next output: the inputs under the filter, whose middle is there.
    fn output(&self) -> f32 {
        let middle = self.next * self.down;
        let last = ((middle + self.half) / self.up + 1).min(self.first + self.inputs.len() as u64);
        let start = middle.saturating_sub(self.half).div_ceil(self.up).max(self.first);
        let mut sum = 0.0;
        for at in start..last {
            let tap = self.taps[(self.half + middle - at * self.up) as usize];
            sum += tap * f64::from(self.inputs[(at - self.first) as usize]);
        }
        sum as f32
    }
}

/// A low-pass filter of `2 * half + 1` numbers that sum to `up`: the sinc of half a band of
/// `1 / longest`, under a Kaiser window.
fn filter(up: u64, longest: u64, half: u64) -> Vec<f64> {
    let of_middle = bessel(BETA);
    let mut taps: Vec<f64> = (0..=2 * half)
        .map(|at| {
            let x = at as f64 - half as f64;
            let place = x / half as f64;
            let window = bessel(BETA * (1.0 - place * place).max(0.0).sqrt()) / of_middle;
            sinc(x / longest as f64) * window
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap *= up as f64 / sum);
    taps
}

/// `sin(pi x) / (pi x)`.
fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if x == 0.0 { 1.0 } else { libm::sin(angle) / angle }
}

/// The modified Bessel function of the first kind and order 0, by its power series.
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term, mut order) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (order * order);
        sum += term;
        order += 1.0;
    }
    sum
}

/// The greatest common divisor, by Euclid's algorithm.
fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampled(samples: &[f32], from: u32, to: u32, block: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to);
        let mut out = Vec::new();
        samples.chunks(block).for_each(|block| resampler.push(block, &mut out));
        resampler.finish(&mut out);
        out
    }

    #[test]
    fn blocks_of_any_size_give_the_same_samples() {
        let samples: Vec<f32> = (0..1000).map(|i| ((i * i) % 77) as f32 / 77.0 - 0.5).collect();
        for (from, to) in [(8_000, 16_000), (44_100, 16_000), (16_000, 11_025), (8_000, 8_000)] {
            let whole = resampled(&samples, from, to, 1000);
            assert_eq!(whole.len(), (1000 * to).div_ceil(from) as usize);
            for block in [1, 7, 333] {
                assert_eq!(resampled(&samples, from, to, block), whole, "{from} {to} {block}");
            }
        }
    }

    /// A tone at 0.85 of the lower band, away from both ends.
    #[test]
    fn a_tone_in_the_band_stays_and_one_above_it_vanishes() {
        let tone = |rate: u32, hertz: f64, count: usize| -> Vec<f32> {
            let angle = std::f64::consts::TAU * hertz / f64::from(rate);
            (0..count).map(|i| (angle * i as f64).sin() as f32).collect()
        };
        for (from, to) in [(44_100, 16_000), (8_000, 16_000), (48_000, 8_000), (22_050, 16_000)] {
            let lower = f64::from(from.min(to)) / 2.0;
            let found = resampled(&tone(from, 0.85 * lower, from as usize / 4), from, to, 4096);
            let expected = tone(to, 0.85 * lower, found.len());
            let edge = 64 * to.div_ceil(from).max(1) as usize + 64;
            let error = (edge..found.len() - edge).map(|i| (found[i] - expected[i]).abs());
            assert!(error.fold(0.0, f32::max) < 1e-3, "{from} {to}");
            if to < from {
                let above = resampled(&tone(from, 1.15 * lower, from as usize / 4), from, to, 4096);
                let loudest =
                    above[edge..above.len() - edge].iter().fold(0.0, |a: f32, b| a.max(b.abs()));
                assert!(loudest < 1e-3, "{from} {to}: {loudest}");
            }
        }
    }
}
