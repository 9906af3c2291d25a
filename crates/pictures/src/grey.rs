//! Grey pictures and their sizes.

/// A grey picture: a number a pixel, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grey {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) values: Vec<f32>,
}

impl Grey {
    pub(crate) fn black(width: usize, height: usize) -> Self {
        Self { width, height, values: vec![0.0; width * height] }
    }

    pub(crate) fn at(&self, x: usize, y: usize) -> f32 {
        self.values[y * self.width + x]
    }

    /// The outermost pixels, row by row.
    pub(crate) fn edge(&self) -> impl Iterator<Item = f32> {
        let Self { width, height, .. } = *self;
        self.values.iter().enumerate().filter_map(move |(at, value)| {
            let (x, y) = (at % width, at / width);
            let is_edge = x == 0 || y == 0 || x + 1 == width || y + 1 == height;
            is_edge.then_some(*value)
        })
    }

    pub(crate) fn largest(&self) -> f32 {
        self.values.iter().copied().fold(0.0, f32::max)
    }

    pub(crate) fn map(&self, function: impl Fn(f32) -> f32) -> Self {
        Self { values: self.values.iter().map(|&value| function(value)).collect(), ..*self }
    }

    /// The pixels of a box: `left` and `top` belong to it, `right` and `bottom` no more.
    pub(crate) fn cropped(&self, [left, top, right, bottom]: [usize; 4]) -> Self {
        let rows =
            (top..bottom).flat_map(|y| &self.values[y * self.width + left..y * self.width + right]);
        Self { width: right - left, height: bottom - top, values: rows.copied().collect() }
    }

    /// Each pixel the most, or the least, of the square that reaches so far around it.
    pub(crate) fn spread(&self, reach: usize, choose: fn(f32, f32) -> f32) -> Self {
        let mut grey = self.clone();
        for line in grey.values.chunks_exact_mut(self.width) {
            spread(line, reach, choose);
        }
        let mut turned = grey.transposed();
        for line in turned.values.chunks_exact_mut(turned.width) {
            spread(line, reach, choose);
        }
        turned.transposed()
    }

    /// With columns for rows.
    pub(crate) fn transposed(&self) -> Self {
        let Self { width, height, .. } = *self;
        let values = (0..width).flat_map(|x| (0..height).map(move |y| self.values[y * width + x]));
        Self { width: height, height: width, values: values.collect() }
    }

    /// In another size, smooth: each pixel is the mean of those around it, weighted by a triangle
    /// that is as wide as two pixels of the coarser of both grids.
    pub(crate) fn resized(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let across = taps(self.width, width);
        let mut wide = Self::black(width, self.height);
        for (line, new) in
            self.values.chunks_exact(self.width).zip(wide.values.chunks_exact_mut(width))
        {
            for (value, (first, weights)) in new.iter_mut().zip(&across) {
                *value = line[*first..].iter().zip(weights).map(|(v, w)| v * w).sum();
            }
        }
        let mut all = Self::black(width, height);
        let down = taps(self.height, height);
        for (new, (first, weights)) in all.values.chunks_exact_mut(width).zip(&down) {
            for (y, weight) in (*first..).zip(weights) {
                let line = &wide.values[y * width..(y + 1) * width];
                new.iter_mut().zip(line).for_each(|(value, &v)| *value += v * weight);
            }
        }
        all
    }
}

/// Each number the most, or the least, of those that reach so far to both sides: of windows of twice the
/// length each time, so that a long reach costs little more than a short one.
fn spread(line: &mut [f32], reach: usize, choose: fn(f32, f32) -> f32) {
    let count = line.len();
    let window = 2 * reach + 1;
    // From where each window begins; outside, the line continues as it ends.
    let mut most: Vec<f32> = (0..count + 2 * reach)
        .map(|at| line[at.saturating_sub(reach).min(count.saturating_sub(1))])
        .collect();
    let mut length = 1;
    while length < window {
        let step = length.min(window - length);
        for at in 0..most.len() - step {
            most[at] = choose(most[at], most[at + step]);
        }
        length += step;
    }
    line.copy_from_slice(&most[..count]);
}

/// Of each new pixel: the first old one that it is made of, and the weights of that and the next.
fn taps(old: usize, new: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = old as f64 / new as f64;
    (0..new).map(|i| taps_of_pixel((i as f64 + 0.5) * scale, scale.max(1.0), old)).collect()
}

/// Of a new pixel with this centre: the first of the `old` ones within reach, and the weights of that and
/// the next.
fn taps_of_pixel(centre: f64, reach: f64, old: usize) -> (usize, Vec<f32>) {
    let first = (centre - reach - 0.5).ceil().max(0.0) as usize;
    let last = ((centre + reach - 0.5).floor() as usize).min(old - 1);
    let first = first.min(last);
    let weights: Vec<f64> = (first..=last)
        .map(|old| (1.0 - (old as f64 + 0.5 - centre).abs() / reach).max(0.0))
        .collect();
    let sum: f64 = weights.iter().sum();
    let share = weights.iter().map(|&weight| if sum > 0.0 { (weight / sum) as f32 } else { 1.0 });
    (first, share.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_picture_stays_flat_in_any_size() {
        let flat = Grey { width: 13, height: 7, values: vec![42.0; 91] };
        for (width, height) in [(1, 1), (3, 2), (13, 20), (40, 7), (28, 28)] {
            let other = flat.resized(width, height);
            assert_eq!(other.values.len(), width * height);
            assert!(other.values.iter().all(|v| (v - 42.0).abs() < 1e-3), "{width}x{height}");
        }
    }

    #[test]
    fn a_smaller_picture_is_made_of_means() {
        let values = (0..16).map(|i| if i % 2 == 0 { 0.0 } else { 100.0 }).collect();
        let stripes = Grey { width: 16, height: 1, values };
        let small = stripes.resized(4, 1);
        assert!(small.values.iter().all(|v| (v - 50.0).abs() < 13.0), "{:?}", small.values);
    }

    #[test]
    fn the_most_and_the_least_around_each_pixel() {
        let (width, height) = (9, 7);
        let values: Vec<f32> = (0..63).map(|i| ((i * 37) % 64) as f32).collect();
        let grey = Grey { width, height, values };
        for reach in 0..5 {
            let (most, least) = (grey.spread(reach, f32::max), grey.spread(reach, f32::min));
            for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
                let rows = y.saturating_sub(reach)..(y + reach + 1).min(height);
                let columns = x.saturating_sub(reach)..(x + reach + 1).min(width);
                let around = || rows.clone().flat_map(|y| columns.clone().map(move |x| (x, y)));
                let values = || around().map(|(x, y)| grey.at(x, y));
                assert_eq!(most.at(x, y), values().fold(0.0, f32::max), "{reach} {x} {y}");
                assert_eq!(least.at(x, y), values().fold(99.0, f32::min), "{reach} {x} {y}");
            }
        }
    }

    #[test]
    fn a_box_is_cut_out() {
        let grey = Grey { width: 4, height: 3, values: (0..12).map(|i| i as f32).collect() };
        assert_eq!(grey.cropped([1, 1, 3, 3]).values, [5.0, 6.0, 9.0, 10.0]);
    }
}
