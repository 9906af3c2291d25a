//! What the network of a file computes, in double precision and step by step as the file has it: to
//! measure what folding and rounding change.

use burn::tensor::{Tensor, TensorData};
use fireclay::{Model, Norm, Preprocessing, unreadable};

use super::super::ImportError;
use super::features::said_of;
use super::linear::Diagonal;
use super::steps::{NormStep, Step};
use super::tensors::Tensors;

/// Rows that are compared.
const ROWS: usize = 8;
/// Rounding changes no output by more than this share of the largest; more is refused.
const MOST: f64 = 1e-2;
/// Features are as large as this at most, in the units that the first layer is given.
const SPREAD: f64 = 2.0;

/// Raw features, and what the network of the file makes of them.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    rows: Vec<Vec<f32>>,
    outputs: Vec<Vec<f64>>,
}

impl Reference {
    /// Computes the outputs of some rows that `said` and then `of_file` prepare.
    pub(super) fn of(
        steps: &[Step],
        said: Option<&Preprocessing>,
        of_file: &Diagonal,
        tensors: &Tensors,
    ) -> Result<Self, ImportError> {
        let (mut rows, mut outputs) = (Vec::new(), Vec::new());
        let (scale, mean, deviation) = said_of(said)?;
        let mut random = Random(1);
        for _ in 0..ROWS {
            let row: Vec<f32> = match said {
                // Bytes of pixels.
                Some(Preprocessing::Scale { .. } | Preprocessing::Normalize { .. }) => {
                    (0..of_file.scale.len()).map(|_| random.below(256).floor() as f32).collect()
                }
                _ => of_file
                    .scale
                    .iter()
                    .zip(&of_file.offset)
                    .map(|(factor, shift)| random.feature(*factor, *shift) as f32)
                    .collect(),
            };
            let prepared = row.iter().map(|&x| (scale * f64::from(x) - mean) / deviation).collect();
            outputs.push(forward(steps, prepared, tensors)?);
            rows.push(row);
        }
        Ok(Self { rows, outputs })
    }

    /// The largest difference of an output of the model, as a share of the largest output.
    ///
    /// # Errors
    ///
    /// A device that fails, or more than rounding can be.
    pub(super) fn difference(&self, model: &Model) -> Result<f64, ImportError> {
        let device = model.device();
        let shape = [self.rows.len(), self.rows.first().map_or(0, Vec::len)];
        let raw = Tensor::<2>::from_data(TensorData::new(self.rows.concat(), shape), &device);
        let found = model.forward(raw).try_into_vec_as::<f32>().map_err(unreadable)?;
        let outputs = model.task.outputs();
        let (mut largest, mut most) = (0.0_f64, 0.0_f64);
        for (found, expected) in found.chunks_exact(outputs).zip(&self.outputs) {
            // Two outputs for one are 0 and that one.
            let found = &found[outputs.saturating_sub(expected.len())..];
            for (found, expected) in found.iter().zip(expected) {
                largest = largest.max(expected.abs());
                // A value that is no number differs.
                let difference = (f64::from(*found) - expected).abs();
                most = if difference.is_nan() { f64::INFINITY } else { most.max(difference) };
            }
        }
        let share = if most == 0.0 { 0.0 } else { most / largest };
        if share <= MOST {
            return Ok(share);
        }
        Err(ImportError::unsupported(
            format!(
                "folded into weights of 32 bits, the network gives other outputs, by {share:.1e}"
            ),
            "its factors are too large or too small for that; save it without the norm or the \
             scaling that has them",
        ))
    }
}

/// What steps make of a row; a softmax is the end and is left out.
fn forward(steps: &[Step], row: Vec<f64>, tensors: &Tensors) -> Result<Vec<f64>, ImportError> {
    let mut x = row;
    for step in steps {
        x = match step {
            Step::Linear(linear) => linear.apply(&x, tensors)?,
            Step::Diagonal { map, .. } => scaled(&x, &map.scale, &map.offset),
            Step::Norm(norm) => normalised(&x, norm),
            Step::Function { function, .. } => {
                x.iter().enumerate().map(|(feature, &x)| function.at(feature, x)).collect()
            }
            Step::Softmax => return Ok(x),
            Step::Dropout(_) => x,
            Step::Skip(inner) => {
                let mut sum = forward(inner, x.clone(), tensors)?;
                sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
                sum
            }
        };
    }
    Ok(x)
}

fn scaled(x: &[f64], scale: &[f64], shift: &[f64]) -> Vec<f64> {
    x.iter().zip(scale).zip(shift).map(|((x, scale), shift)| x * scale + shift).collect()
}

fn normalised(x: &[f64], norm: &NormStep) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let square = x.iter().map(|x| x * x).sum::<f64>() / count;
    let standard: Vec<f64> = x
        .iter()
        .enumerate()
        .map(|(at, x)| match norm.kind {
            Norm::Batch => (x - norm.mean[at]) / (norm.variance[at] + norm.epsilon).sqrt(),
            Norm::Rms => x / (square + norm.epsilon).sqrt(),
            _ => (x - mean) / (variance + norm.epsilon).sqrt(),
        })
        .collect();
    scaled(&standard, &norm.scale, &norm.shift)
}

/// SplitMix64: numbers that are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64 * f64::from(end)
    }

    /// A feature of which `factor x + shift` is a small number.
    fn feature(&mut self, factor: f64, shift: f64) -> f64 {
        let target = (self.below(2) - 1.0) * SPREAD;
        if factor == 0.0 { target } else { (target - shift) / factor }
    }
}
