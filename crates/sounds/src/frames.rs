//! Frames of a recording, and what is computed over all of them.

use fireclay_model::{FrameNormalization, SoundColumns};

/// Frames on each side of the one whose derivative is taken: 9 in all, as librosa's default.
const DELTA_REACH: isize = 4;

/// The standard deviation, in decibels, below which a band is constant but for rounding.
const LEAST_DEVIATION: f64 = 1e-9;

/// Numbers of each frame, one frame behind the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frames {
    /// Numbers of a frame.
    pub(crate) width: usize,
    /// `[frames, width]`.
    pub(crate) values: Vec<f64>,
}

impl Frames {
    fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> + Clone {
        self.values.chunks_exact(self.width)
    }

    /// Raises what is further than this below the greatest number.
    pub(crate) fn limit_range(&mut self, range: f64) {
        let least = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max) - range;
        self.values.iter_mut().for_each(|value| *value = value.max(least));
    }

    /// Normalizes each column of numbers over all frames.
    pub(crate) fn normalize(&mut self, normalization: FrameNormalization) {
        if normalization == FrameNormalization::None {
            return;
        }
        let (mean, deviation) = self.mean_and_deviation();
        for row in self.values.chunks_exact_mut(self.width) {
            for (at, value) in row.iter_mut().enumerate() {
                *value -= mean[at];
                if normalization == FrameNormalization::Standardize
                    && deviation[at] > LEAST_DEVIATION
                {
                    *value /= deviation[at];
                }
            }
        }
    }

    /// The mean and the standard deviation of each number over all frames.
    fn mean_and_deviation(&self) -> (Vec<f64>, Vec<f64>) {
        let count = self.rows().len() as f64;
        let mut mean = vec![0.0; self.width];
        for row in self.rows() {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        let mut deviation = vec![0.0; self.width];
        for row in self.rows() {
            for ((sum, mean), value) in deviation.iter_mut().zip(&mean).zip(row) {
                *sum += (value - mean) * (value - mean);
            }
        }
        deviation.iter_mut().for_each(|sum| *sum = (*sum / count).sqrt());
        (mean, deviation)
    }

    /// The derivative of each number in time: the slope of the line through the frames around each, of
    /// which the first and the last stand for those beyond them.
    fn derivative(&self) -> Self {
        let count = self.rows().len();
        let squares: isize = 2 * (1..=DELTA_REACH).map(|offset| offset * offset).sum::<isize>();
        let mut values = vec![0.0; self.values.len()];
        for (frame, slopes) in values.chunks_exact_mut(self.width).enumerate() {
            for offset in 1..=DELTA_REACH {
                let [before, behind] = [-offset, offset]
                    .map(|offset| frame.saturating_add_signed(offset).min(count - 1) * self.width);
                for (at, slope) in slopes.iter_mut().enumerate() {
                    let rise = self.values[behind + at] - self.values[before + at];
                    *slope += offset as f64 * rise / squares as f64;
                }
            }
        }
        Self { width: self.width, values }
    }

    /// The same frames with so many derivatives behind the numbers of each.
    pub(crate) fn with_deltas(self, deltas: u32) -> Self {
        let mut parts = vec![self];
        for order in 0..deltas as usize {
            parts.push(parts[order].derivative());
        }
        let width = parts[0].width;
        let frames = parts[0].rows().len();
        let values = (0..frames).flat_map(|frame| {
            let row = frame * width..(frame + 1) * width;
            parts.iter().flat_map(move |part| part.values[row.clone()].iter().copied())
        });
        Self { width: width * parts.len(), values: values.collect() }
    }

    /// A row of a fixed number of columns, `[numbers of a frame, columns]`.
    pub(crate) fn columns(&self, columns: SoundColumns) -> Vec<f32> {
        let found = match columns {
            SoundColumns::Frames { .. } => self.rows().map(<[f64]>::to_vec).collect(),
            SoundColumns::Bins { count } => {
                (0..count as usize).map(|bin| self.bin(bin, count as usize)).collect()
            }
            SoundColumns::Statistics => {
                let (mean, deviation) = self.mean_and_deviation();
                vec![mean, deviation]
            }
        };
        let numbers = (0..self.width).flat_map(|at| found.iter().map(move |column| column[at]));
        numbers.map(|number| number as f32).collect()
    }

    /// The mean of the frames in one of `count` equal parts of the time; a frame on an edge counts as
    /// much as it lies within.
    fn bin(&self, bin: usize, count: usize) -> Vec<f64> {
        // In units of a frame's share of a bin, in which all edges are whole.
        let frames = self.rows().len();
        let (start, end) = (bin * frames, (bin + 1) * frames);
        let mut mean = vec![0.0; self.width];
        for frame in start / count..end.div_ceil(count) {
            let inside = ((frame + 1) * count).min(end) - (frame * count).max(start);
            let share = inside as f64 / frames as f64;
            let row = &self.values[frame * self.width..(frame + 1) * self.width];
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += share * value);
        }
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f64]) -> Frames {
        Frames { width: 1, values: values.to_vec() }
    }

    #[test]
    fn bins_are_means_over_parts_of_the_time() {
        let frames = line(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let bins = |count| frames.columns(SoundColumns::Bins { count });
        assert_eq!(bins(1), [3.0]);
        assert_eq!(bins(5), [1.0, 2.0, 3.0, 4.0, 5.0]);
        // 2.5 frames each: 1, 2 and half of 3.
        assert_eq!(bins(2), [4.5 / 2.5, 10.5 / 2.5]);
        assert_eq!(bins(10)[..4], [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(line(&[7.0]).columns(SoundColumns::Bins { count: 3 }), [7.0; 3]);
    }

    #[test]
    fn statistics_are_mean_and_standard_deviation() {
        let found = line(&[1.0, 3.0]).columns(SoundColumns::Statistics);
        assert_eq!(found, [2.0, 1.0]);
    }

    #[test]
    fn a_constant_band_stays_finite() {
        let mut frames = line(&[4.0; 6]);
        frames.normalize(FrameNormalization::Standardize);
        assert_eq!(frames.values, [0.0; 6]);
    }

    #[test]
    fn the_derivative_of_a_ramp_is_its_slope() {
        let ramp: Vec<f64> = (0..20).map(|at| 3.0 * f64::from(at)).collect();
        let found = line(&ramp).with_deltas(2);
        assert_eq!(found.width, 3);
        assert!((found.values[3 * 9 + 1] - 3.0).abs() < 1e-12);
        assert!(found.values[3 * 9 + 2].abs() < 1e-12);
        assert_eq!(found.values[3 * 9], 27.0);
    }
}
