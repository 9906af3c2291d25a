//! The background of a picture: how bright the paper is, and where.

use crate::grey::Grey;

/// A smooth surface, `a + bx + cy + dx² + exy + fy²`, over a picture whose sides go from -1 to 1.
#[derive(Clone, Copy, Debug)]
struct Surface {
    coefficients: [f64; 6],
    width: usize,
    height: usize,
}

/// The background of a picture.
#[derive(Clone, Debug)]
pub(crate) struct Background {
    /// Its brightness at each pixel, 0 to 255.
    pub(crate) paper: Grey,
    /// Standard deviation of what the picture differs by from it.
    pub(crate) noise: f32,
    /// Its brightness at its darkest and at its brightest.
    pub(crate) range: [f32; 2],
}

/// A point of the picture: its place, from -1 to 1, and its brightness.
type Point = ([f64; 2], f64);

/// The most points that a surface is fitted to.
const MOST_POINTS: usize = 10_000;
/// The largest error of paper, of 255.
const NEAR: f64 = 16.0;
/// So many times the median of the absolute errors is the deviation of normal ones.
const DEVIATION: f32 = 1.4826;

impl Background {
    /// Fits the background: from a plane through the frame of the picture, which is rarely drawn on,
    /// to a curved surface through all pixels that are near it, nearer each time.
    pub(crate) fn of(grey: &Grey) -> Self {
        let (width, height) = (grey.width, grey.height);
        let points = points(grey);
        let frame: Vec<Point> = points.iter().filter(|point| is_in_frame(point)).copied().collect();
        let frame = if frame.len() < 8 { &points } else { &frame };
        let [plane, level] =
            [12, 0].map(|steps| plane(frame, width, height, steps).fitted(&points));
        // A broad strip of light along one edge tilts the plane.
        let is_tilted = level.near(&points, NEAR) * 10 > plane.near(&points, NEAR) * 11;
        let surface = if is_tilted { level } else { plane };
        let mut errors: Vec<f64> =
            points.iter().map(|(p, v)| (surface.at(*p) - v).abs()).filter(|e| *e < 24.0).collect();
        let corners = [0, width / 2, width - 1]
            .into_iter()
            .flat_map(|x| [0, height / 2, height - 1].map(|y| surface.value(x, y)));
        let range = corners.fold([255.0_f32, 0.0], |[low, high], v| [low.min(v), high.max(v)]);
        let places = (0..width * height).map(|i| surface.value(i % width, i / width));
        let paper = Grey { width, height, values: places.collect() };
        Self { paper, noise: DEVIATION * median(&mut errors) as f32, range }
    }

    /// The background of bright paper with a shadow on it, or a darker thing beside it: everything dark
    /// is taken off that is narrower than twice the reach, by a morphological closing.
    pub(crate) fn under_shadows(grey: &Grey, reach: usize) -> Self {
        let mut paper = grey.spread(reach, f32::max).spread(reach, f32::min);
        // The brightest of noisy neighbours is brighter than paper by itself.
        let both = paper.values.iter().zip(&grey.values);
        let mut over: Vec<f64> = both.map(|(paper, value)| f64::from(paper - value)).collect();
        let bias = median(&mut over);
        paper.values.iter_mut().for_each(|value| *value = (*value - bias as f32).max(0.0));
        let mut errors: Vec<f64> = over.iter().map(|over| (over - bias).abs()).collect();
        let range = [paper.values.iter().copied().fold(255.0, f32::min), paper.largest()];
        Self { paper, noise: DEVIATION * median(&mut errors) as f32, range }
    }

    /// Whether its brightness differs from place to place more than paper does by itself.
    pub(crate) fn is_uneven(&self) -> bool {
        self.range[1] - self.range[0] > 25.0
    }
}

impl Surface {
    /// Fitted to the points that are near it, nearer each time.
    fn fitted(mut self, points: &[Point]) -> Self {
        for near in [48.0, 40.0, 32.0, 26.0, 22.0, 18.0, NEAR, NEAR] {
            let close: Vec<Point> =
                points.iter().filter(|(p, v)| (self.at(*p) - v).abs() < near).copied().collect();
            // A surface through a few points would say nothing of the rest.
            if close.len() * 10 < points.len() || close.len() < 12 {
                break;
            }
            // Faint ink is as near as paper: absolute errors, which it cannot bend, as in `plane`.
            let Some(coefficients) = fit(&close, &self.weights(&close), 6) else { break };
            self.coefficients = coefficients;
        }
        self
    }

    /// The weights of points with which the sum of squared errors is that of absolute ones.
    fn weights(&self, points: &[Point]) -> Vec<f64> {
        points.iter().map(|(p, v)| 1.0 / ((self.at(*p) - v).abs() + 1.0)).collect()
    }

    /// The number of points that are so near it.
    fn near(&self, points: &[Point], most: f64) -> usize {
        points.iter().filter(|(place, value)| (self.at(*place) - value).abs() < most).count()
    }

    fn at(&self, [x, y]: [f64; 2]) -> f64 {
        terms([x, y]).iter().zip(&self.coefficients).map(|(term, c)| term * c).sum()
    }

    /// Brightness at a pixel, 0 to 255.
    pub(crate) fn value(&self, x: usize, y: usize) -> f32 {
        self.at([scaled(x, self.width), scaled(y, self.height)]).clamp(0.0, 255.0) as f32
    }
}

/// Points of a picture in equal steps, all of a small one.
fn points(grey: &Grey) -> Vec<Point> {
    let (width, height) = (grey.width, grey.height);
    let step = (width * height).div_ceil(MOST_POINTS).isqrt().max(1);
    (0..height)
        .step_by(step)
        .flat_map(|y| (0..width).step_by(step).map(move |x| (x, y)))
        .map(|(x, y)| ([scaled(x, width), scaled(y, height)], f64::from(grey.at(x, y))))
        .collect()
}

/// Whether a point lies in the outermost twentieth of the picture, which is rarely drawn on.
fn is_in_frame(([x, y], _): &Point) -> bool {
    x.abs().max(y.abs()) > 0.9
}

/// The place of a pixel on a side of this many, from -1 to 1.
fn scaled(at: usize, side: usize) -> f64 {
    (2 * at + 1) as f64 / side as f64 - 1.0
}

fn terms([x, y]: [f64; 2]) -> [f64; 6] {
    [1.0, x, y, x * x, x * y, y * y]
}

fn median(numbers: &mut [f64]) -> f64 {
    let middle = numbers.len() / 2;
    if numbers.is_empty() { 0.0 } else { *numbers.select_nth_unstable_by(middle, f64::total_cmp).1 }
}

/// The plane with the least sum of absolute errors, found by weighing squares in so many steps; after
/// none it is level.
fn plane(points: &[Point], width: usize, height: usize, steps: usize) -> Surface {
    let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let coefficients = [median(&mut values), 0.0, 0.0, 0.0, 0.0, 0.0];
    let mut surface = Surface { coefficients, width, height };
    for _ in 0..steps {
        let Some(coefficients) = fit(points, &surface.weights(points), 3) else { break };
        surface.coefficients = coefficients;
    }
    surface
}

/// The first `count` coefficients with the least sum of weighted squares, by the normal equations;
/// the others are 0. Nothing if the points do not determine them.
fn fit(points: &[Point], weights: &[f64], count: usize) -> Option<[f64; 6]> {
    let mut rows = [[0.0_f64; 7]; 6];
    for (&(place, value), weight) in points.iter().zip(weights) {
        let terms = terms(place);
        for i in 0..count {
            for j in 0..count {
                rows[i][j] += weight * terms[i] * terms[j];
            }
            rows[i][6] += weight * terms[i] * value;
        }
    }
    let rows = eliminated(rows, count)?;
    let mut coefficients = [0.0; 6];
    for i in (0..count).rev() {
        let known: f64 = (i + 1..count).map(|j| rows[i][j] * coefficients[j]).sum();
        coefficients[i] = (rows[i][6] - known) / rows[i][i];
    }
    Some(coefficients)
}

/// Gaussian elimination with the largest pivots.
fn eliminated(mut rows: [[f64; 7]; 6], count: usize) -> Option<[[f64; 7]; 6]> {
    for i in 0..count {
        let pivot = (i..count).max_by(|&a, &b| rows[a][i].abs().total_cmp(&rows[b][i].abs()))?;
        rows.swap(i, pivot);
        if rows[i][i].abs() < 1e-9 {
            return None;
        }
        for below in i + 1..count {
            let (pivot, factor) = (rows[i], rows[below][i] / rows[i][i]);
            rows[below].iter_mut().zip(pivot).for_each(|(value, p)| *value -= factor * p);
        }
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(value: impl Fn(f64, f64) -> f64) -> Grey {
        let (width, height) = (60, 40);
        let values = (0..width * height)
            .map(|i| value(scaled(i % width, width), scaled(i / width, height)) as f32)
            .collect();
        Grey { width, height, values }
    }

    #[test]
    fn the_light_on_paper_is_found_around_ink() {
        let light = |x: f64, y: f64| 170.0 + 40.0 * x - 25.0 * y + 10.0 * x * y - 8.0 * x * x;
        let is_ink = |x: f64, y: f64| x.abs() < 0.2 && y.abs() < 0.7;
        let drawn = picture(|x, y| if is_ink(x, y) { 30.0 } else { light(x, y) });
        let background = Background::of(&drawn);
        for (x, y) in [(0, 0), (59, 0), (30, 20), (10, 35)] {
            let expected = light(scaled(x, 60), scaled(y, 40)) as f32;
            let found = background.paper.at(x, y);
            assert!((found - expected).abs() < 1.0, "{x} {y}: {found} {expected}");
        }
        assert!(background.is_uneven());
        assert!(background.noise < 0.5);
    }

    #[test]
    fn the_edge_of_a_shadow_is_background_and_a_stroke_is_not() {
        let light = |x: f64| if x < 0.3 { 230.0 } else { 110.0 };
        let is_ink = |x: f64, y: f64| (x + 0.2).abs() < 0.1 && y.abs() < 0.6;
        let drawn = picture(|x, y| if is_ink(x, y) { 30.0 } else { light(x) });
        let background = Background::under_shadows(&drawn, 5);
        for y in 0..40 {
            for x in 0..60 {
                assert_eq!(background.paper.at(x, y), light(scaled(x, 60)) as f32, "{x} {y}");
            }
        }
        assert_eq!(background.noise, 0.0);
    }

    #[test]
    fn faint_ink_is_no_background() {
        let is_ink = |x: f64, y: f64| x.abs() < 0.4 && y.abs() < 0.6;
        let background = Background::of(&picture(|x, y| if is_ink(x, y) { 165.0 } else { 200.0 }));
        for (x, y) in [(0, 0), (30, 20), (59, 39), (20, 30)] {
            assert!((background.paper.at(x, y) - 200.0).abs() < 2.0, "{x} {y}");
        }
    }

    #[test]
    fn an_even_background_is_called_even() {
        for level in [0.0, 90.0, 255.0] {
            let background = Background::of(&picture(|_, _| level));
            assert!(!background.is_uneven());
            assert!((background.paper.at(30, 20) - level as f32).abs() < 1e-3);
        }
    }
}
