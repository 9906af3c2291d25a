//! The discrete Fourier transform of a power of two of points.

use std::f64::consts::TAU;

/// A transform of so many points, with what does not depend on them: Cooley and Tukey's, in place.
///
/// Its own arithmetic, and not that of a library which chooses instructions by machine, gives the same
/// bits everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Fourier {
    points: usize,
    /// Cosine and sine of the first half of the circle.
    circle: Vec<[f64; 2]>,
}

impl Fourier {
    /// Of a power of two of points.
    pub(crate) fn new(points: usize) -> Self {
        let angles = (0..points / 2).map(|at| TAU * at as f64 / points as f64);
        let circle = angles.map(|angle| [libm::cos(angle), libm::sin(angle)]).collect();
        Self { points, circle }
    }

    /// The power of the frequencies from 0 to half the rate, `[points / 2 + 1]`, of real numbers, which
    /// are lost.
    pub(crate) fn power(&self, values: &mut [[f64; 2]], power: &mut [f64]) {
        self.transform(values);
        for (power, [real, imaginary]) in power.iter_mut().zip(values) {
            *power = *real * *real + *imaginary * *imaginary;
        }
    }

    /// Transforms complex numbers in place.
    fn transform(&self, values: &mut [[f64; 2]]) {
        let bits = self.points.trailing_zeros();
        for at in 0..self.points {
            let other = at.reverse_bits() >> (usize::BITS - bits.max(1));
            if bits > 0 && at < other {
                values.swap(at, other);
            }
        }
        let mut half = 1;
        while half < self.points {
            let stride = self.points / (2 * half);
            for block in values.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                let turns = self.circle.iter().step_by(stride);
                for ((a, b), [cosine, sine]) in low.iter_mut().zip(high).zip(turns) {
                    let real = b[0] * cosine + b[1] * sine;
                    let imaginary = b[1] * cosine - b[0] * sine;
                    *b = [a[0] - real, a[1] - imaginary];
                    *a = [a[0] + real, a[1] + imaginary];
                }
            }
            half *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition of the transform.
    #[test]
    fn powers_are_those_of_the_sums() {
        for points in [2, 4, 64] {
            let values: Vec<f64> = (0..points).map(|i| ((i * 7) % 5) as f64 - 1.7).collect();
            let mut complex: Vec<[f64; 2]> = values.iter().map(|&value| [value, 0.0]).collect();
            let mut power = vec![0.0; points / 2 + 1];
            Fourier::new(points).power(&mut complex, &mut power);
            for (frequency, power) in power.into_iter().enumerate() {
                let (mut real, mut imaginary) = (0.0, 0.0);
                for (at, value) in values.iter().enumerate() {
                    let angle = TAU * (at * frequency) as f64 / points as f64;
                    real += value * angle.cos();
                    imaginary -= value * angle.sin();
                }
                assert!((power - (real * real + imaginary * imaginary)).abs() < 1e-9);
            }
        }
    }
}
