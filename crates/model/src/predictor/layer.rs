//! The layers of a network, planned for prediction.

use super::function::activate;
use super::machine::Machine;
use super::packed::{LANES, Lanes, Packed};
use super::product::{Sums, Terms, multiply};
use crate::model_file::Weights;
use crate::{
    Activation, AdapterSide, Lora, MlpConfig, ModelFileProblem, Norm, NormPart, ParameterPath,
};

/// A linear layer with what follows it.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    weights: Packed,
    bias: Vec<f32>,
    norm: Option<HostNorm>,
    activation: Activation,
    slope: f32,
    /// Whether the layer's input is added to its output.
    is_residual: bool,
}

/// A norm: `(x - mean) · factor + bias`, feature by feature.
#[derive(Clone, Debug)]
struct HostNorm {
    /// Of a batch norm; a layer norm takes each row's own.
    mean: Option<Vec<f32>>,
    /// Scale over deviation of a batch norm; scale alone of a layer norm.
    factor: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f64,
}

impl Layer {
    /// Plans layer `i` of a network, and takes its weights.
    pub(super) fn new(
        architecture: &MlpConfig,
        i: usize,
        weights: &mut Weights,
        machine: Machine,
    ) -> Result<Self, ModelFileProblem> {
        let sizes @ [inputs, outputs] = architecture.layer_sizes()[i];
        let is_output = i == architecture.hidden.len();
        let mut matrix = weights.take(ParameterPath::Weight(i), &[outputs, inputs])?;
        let bias = weights.take(ParameterPath::Bias(i), &[outputs])?;
        if let Some(lora) = architecture.lora.as_ref().filter(|lora| lora.layers.contains(&i)) {
            add_adapter(&mut matrix, sizes, lora, i, weights)?;
        }
        let norm = match architecture.norm {
            Norm::Batch | Norm::Layer if !is_output => {
                Some(HostNorm::new(architecture, i, weights)?)
            }
            _ => None,
        };
        Ok(Self {
            weights: Packed::new(&matrix, sizes, machine.widest_panel()),
            bias,
            norm,
            activation: if is_output { Activation::Identity } else { architecture.activation },
            slope: architecture.leaky_slope as f32,
            is_residual: architecture.residual && !is_output && inputs == outputs,
        })
    }

    pub(super) fn outputs(&self) -> usize {
        self.weights.outputs()
    }

    /// The width of its sums, in lanes.
    pub(super) fn width(&self) -> usize {
        self.weights.width()
    }

    /// Computes `[rows, outputs]` of `[rows, inputs]`, at most [`BLOCK`](super::product::BLOCK) rows.
    #[inline(always)]
    pub(super) fn forward<S: Sums>(
        &self,
        inputs: &[f32],
        terms: &mut Terms,
        sums: &mut [Lanes],
        into: &mut [f32],
    ) {
        multiply::<S>(inputs, &self.weights, terms, sums);
        let rows = into.chunks_exact_mut(self.outputs());
        for (row, sums) in rows.zip(sums.chunks_exact(self.width())) {
            add_bias(sums, &self.bias, row);
            if let Some(norm) = &self.norm {
                norm.apply(row);
            }
        }
        activate(self.activation, self.slope, into);
        if self.is_residual {
            into.iter_mut().zip(inputs).for_each(|(to, input)| *to += input);
        }
    }
}

/// Writes the sums of a row, with the biases, one after the other.
#[inline(always)]
fn add_bias(sums: &[Lanes], bias: &[f32], into: &mut [f32]) {
    for ((sums, bias), into) in sums.iter().zip(bias.chunks(LANES)).zip(into.chunks_mut(LANES)) {
        for ((sum, bias), into) in sums.0.iter().zip(bias).zip(into) {
            *into = sum + bias;
        }
    }
}

impl HostNorm {
    fn new(
        architecture: &MlpConfig,
        i: usize,
        weights: &mut Weights,
    ) -> Result<Self, ModelFileProblem> {
        let epsilon = architecture.norm_epsilon;
        let shape = [architecture.hidden[i]];
        let mut take = |part| weights.take(ParameterPath::Norm(i, part), &shape);
        let (mut factor, bias) = (take(NormPart::Weight)?, take(NormPart::Bias)?);
        let mean = if architecture.norm == Norm::Batch {
            let mean = take(NormPart::RunningMean)?;
            for (factor, variance) in factor.iter_mut().zip(take(NormPart::RunningVar)?) {
                *factor = (f64::from(*factor) / (f64::from(variance) + epsilon).sqrt()) as f32;
            }
            Some(mean)
        } else {
            None
        };
        Ok(Self { mean, factor, bias, epsilon })
    }

    #[inline(always)]
    fn apply(&self, row: &mut [f32]) {
        match &self.mean {
            Some(mean) => row.iter_mut().zip(mean).for_each(|(x, mean)| *x -= mean),
            None => self.normalise(row),
        }
        for ((x, factor), bias) in row.iter_mut().zip(&self.factor).zip(&self.bias) {
            *x = *x * factor + bias;
        }
    }

    /// Takes the row's mean away and divides by its deviation.
    fn normalise(&self, row: &mut [f32]) {
        let count = row.len() as f64;
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let square = |&x: &f32| (f64::from(x) - mean).powi(2);
        let variance = row.iter().map(square).sum::<f64>() / count;
        let deviation = (variance + self.epsilon).sqrt();
        row.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) / deviation) as f32);
    }
}

/// Adds `s A B` to a layer's weights.
fn add_adapter(
    matrix: &mut [f32],
    [inputs, outputs]: [usize; 2],
    lora: &Lora,
    i: usize,
    weights: &mut Weights,
) -> Result<(), ModelFileProblem> {
    let a = weights.take(ParameterPath::Adapter(i, AdapterSide::A), &[lora.rank, inputs])?;
    let b = weights.take(ParameterPath::Adapter(i, AdapterSide::B), &[outputs, lora.rank])?;
    let mut delta = vec![0.0f64; outputs];
    for (row, a) in matrix.chunks_exact_mut(outputs).zip(a.chunks_exact(lora.rank)) {
        delta.fill(0.0);
        for (&a, b) in a.iter().zip(b.chunks_exact(outputs)) {
            for (delta, &b) in delta.iter_mut().zip(b) {
                *delta += f64::from(a) * f64::from(b);
            }
        }
        for (weight, delta) in row.iter_mut().zip(&delta) {
            *weight = (f64::from(*weight) + lora.scale() * delta) as f32;
        }
    }
    Ok(())
}
