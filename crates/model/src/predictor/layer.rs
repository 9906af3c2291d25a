//! The layers of a network, planned for prediction.

use super::function::activate;
use super::integers::{Dots, Integers, Rounded};
use super::machine::Machine;
use super::packed::{LANES, Lanes, Packed};
use super::product::{Sums, Terms, multiply};
use crate::model_file::Weights;
use crate::{
    Activation, AdapterSide, Architecture, HiddenLayer, Lora, ModelFileProblem, Norm, NormPart,
    NormPosition, ParameterPath, Skip, SkipPosition,
};

/// A linear layer with what precedes and follows it.
#[derive(Clone, Debug)]
pub(super) struct HostLayer {
    weights: HostMatrix,
    /// What its products are multiplied by.
    factor: f32,
    bias: Vec<f32>,
    norm: Option<(NormPosition, HostNorm)>,
    activation: Activation,
    slope: f32,
    /// Of a parametric activation: its share of each output.
    shares: Option<Vec<f32>>,
    skip: Option<Skip>,
}

/// The weights of a layer, as they are multiplied with.
#[derive(Clone, Debug)]
enum HostMatrix {
    Floats(Packed),
    Integers(Integers),
}

impl HostMatrix {
    fn inputs(&self) -> usize {
        match self {
            Self::Floats(matrix) => matrix.inputs(),
            Self::Integers(matrix) => matrix.inputs(),
        }
    }

    fn outputs(&self) -> usize {
        match self {
            Self::Floats(matrix) => matrix.outputs(),
            Self::Integers(matrix) => matrix.outputs(),
        }
    }

    /// Outputs, in lanes.
    fn width(&self) -> usize {
        self.outputs().div_ceil(LANES)
    }
}

/// A norm: `(x - mean) · factor + bias`, feature by feature.
#[derive(Clone, Debug)]
struct HostNorm {
    /// Of a batch norm; others take each row's own.
    mean: Option<Vec<f32>>,
    /// True if each row's own mean is taken away, as a layer norm does.
    is_centred: bool,
    /// Scale over deviation of a batch norm; scale alone of other norms.
    factor: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f64,
}

/// Room for what the layers of a network compute of a block of rows.
#[derive(Clone, Debug)]
pub(super) struct Room {
    terms: Terms,
    rounded: Rounded,
    sums: Vec<Lanes>,
    /// The input of a layer, after its norm.
    normed: Vec<f32>,
    /// The output of a layer before a parametric activation.
    linear: Vec<f32>,
    /// The inputs and outputs of the layers, one after the other and around: as many as the longest
    /// skip connection spans, and one more.
    rows: Vec<Vec<f32>>,
}

/// The hidden layers that the longest skip connection spans; at least one.
fn span_of(layers: &[&HostLayer]) -> usize {
    layers.iter().filter_map(|layer| layer.skip).map(|skip| skip.span).max().unwrap_or(1)
}

impl Room {
    /// Room for `block` rows, of which the first layer reads so many inputs.
    pub(super) fn new(layers: &[&HostLayer], inputs: usize, block: usize) -> Self {
        let count = span_of(layers) + 1;
        // The widest that each of them holds: a wide input need not make all of them wide.
        let mut widths = vec![0; count];
        widths[0] = inputs;
        for (i, layer) in layers.iter().enumerate() {
            let width = &mut widths[(i + 1) % count];
            *width = layer.outputs().max(*width);
        }
        let widest = layers.iter().map(|layer| layer.weights.inputs()).fold(inputs, usize::max);
        let lanes = layers.iter().map(|layer| layer.weights.width()).max().unwrap_or(0);
        let has_input_norm =
            layers.iter().any(|layer| layer.norm_at(NormPosition::Input).is_some());
        let parametric = layers.iter().filter(|layer| layer.shares.is_some());
        let linear = parametric.map(|layer| layer.outputs()).max().unwrap_or(0);
        Self {
            linear: Vec::with_capacity(linear * block),
            terms: Terms::new(widest, block),
            rounded: Rounded::default(),
            sums: vec![Lanes::ZERO; lanes * block],
            normed: vec![0.0; if has_input_norm { widest * block } else { 0 }],
            rows: widths.into_iter().map(|width| vec![0.0; width * block]).collect(),
        }
    }

    /// Where layer `i` reads, and the one before it writes.
    pub(super) fn rows(&self, i: usize) -> &[f32] {
        &self.rows[i % self.rows.len()]
    }

    /// As [`rows`](Self::rows), to be written.
    pub(super) fn rows_mut(&mut self, i: usize) -> &mut Vec<f32> {
        let count = self.rows.len();
        &mut self.rows[i % count]
    }
}

impl HostLayer {
    /// Plans layer `i` of a network, and takes its weights; features that it reads may have been
    /// prepared.
    pub(super) fn new(
        architecture: &Architecture,
        i: usize,
        weights: &mut Weights,
        machine: Machine,
        is_prepared: bool,
    ) -> Result<Self, ModelFileProblem> {
        let sizes @ [_, outputs] = architecture.sizes(i);
        let integers = match architecture.adapter(i) {
            // Raw features may differ by orders of magnitude, and a row is rounded with one scale.
            None if i > 0 || is_prepared => weights.take_integers(i, sizes)?,
            // An adapter is added to the weights, which are then no integers.
            _ => None,
        };
        let matrix = match integers {
            Some(integers) => HostMatrix::Integers(integers),
            None => HostMatrix::Floats(packed(architecture, i, weights, machine)?),
        };
        let bias = take_bias(architecture, i, weights)?;
        // The output layer is linear.
        let linear = HiddenLayer { activation: Activation::Identity, ..HiddenLayer::new(outputs) };
        let layer = architecture.hidden.get(i).unwrap_or(&linear);
        let norm = match architecture.norm_width(i) {
            Some(width) => Some((layer.norm_position, HostNorm::new(layer, i, width, weights)?)),
            None => None,
        };
        let shares = if layer.parametric {
            Some(weights.take(ParameterPath::Activation(i), &[outputs])?)
        } else {
            None
        };
        Ok(Self {
            norm,
            activation: layer.activation,
            slope: layer.leaky_slope as f32,
            shares,
            skip: layer.skip,
            ..Self::linear(matrix, bias, architecture.input_factor(i))
        })
    }

    /// A layer that is a linear map and nothing else.
    fn linear(weights: HostMatrix, bias: Vec<f32>, factor: f64) -> Self {
        Self {
            weights,
            factor: factor as f32,
            bias,
            norm: None,
            activation: Activation::Identity,
            slope: 0.0,
            shares: None,
            skip: None,
        }
    }

    /// Plans the output layer, of an ensemble one for each member.
    pub(super) fn heads(
        architecture: &Architecture,
        weights: &mut Weights,
        machine: Machine,
        is_prepared: bool,
    ) -> Result<Vec<Self>, ModelFileProblem> {
        let i = architecture.hidden.len();
        if architecture.ensemble.is_none() {
            return Ok(vec![Self::new(architecture, i, weights, machine, is_prepared)?]);
        }
        let all = packed(architecture, i, weights, machine)?;
        let biases = take_bias(architecture, i, weights)?;
        let factor = architecture.input_factor(i);
        let heads = biases.chunks_exact(architecture.outputs).enumerate().map(|(member, bias)| {
            let first = member * architecture.outputs;
            let part = all.part(first..first + architecture.outputs, machine.widest_panel());
            Self::linear(HostMatrix::Floats(part), bias.to_vec(), factor)
        });
        Ok(heads.collect())
    }

    pub(super) fn outputs(&self) -> usize {
        self.weights.outputs()
    }

    fn norm_at(&self, position: NormPosition) -> Option<&HostNorm> {
        self.norm.as_ref().filter(|(at, _)| *at == position).map(|(_, norm)| norm)
    }

    /// Computes layer `i` of a block of `count` rows, at most as many as there is room for.
    #[inline(always)]
    pub(super) fn forward<S: Sums, D: Dots>(&self, i: usize, count: usize, room: &mut Room) {
        let mut into = std::mem::take(room.rows_mut(i + 1));
        let Room { terms, rounded, sums, normed, rows, .. } = &mut *room;
        let mut input = &rows[i % rows.len()][..count * self.weights.inputs()];
        if let Some(norm) = self.norm_at(NormPosition::Input) {
            normed[..input.len()].copy_from_slice(input);
            norm.apply(&mut normed[..input.len()]);
            input = &normed[..input.len()];
        }
        let sums = &mut sums[..count * self.weights.width()];
        match &self.weights {
            HostMatrix::Floats(matrix) => multiply::<S>(input, matrix, terms, sums),
            HostMatrix::Integers(matrix) => matrix.multiply::<D>(input, rounded, sums),
        }
        let outputs = &mut into[..count * self.outputs()];
        add_bias(sums, self.factor, &self.bias, outputs);
        self.finish(i, outputs, room);
        *room.rows_mut(i + 1) = into;
    }

    /// Computes the steps after the linear map of layer `i`.
    #[inline(always)]
    fn finish(&self, i: usize, rows: &mut [f32], room: &mut Room) {
        let mut linear = std::mem::take(&mut room.linear);
        let skip = |position, rows: &mut [f32]| {
            if let Some(skip) = self.skip.filter(|skip| skip.position == position) {
                let read = room.rows(i + 1 - skip.span);
                rows.iter_mut().zip(read).for_each(|(to, from)| *to += from);
            }
        };
        let normalise = |position, rows: &mut [f32]| {
            if let Some(norm) = self.norm_at(position) {
                norm.apply(rows);
            }
        };
        skip(SkipPosition::BeforeNorm, rows);
        normalise(NormPosition::BeforeActivation, rows);
        skip(SkipPosition::BeforeActivation, rows);
        self.activate(rows, &mut linear);
        normalise(NormPosition::AfterActivation, rows);
        skip(SkipPosition::Output, rows);
        room.linear = linear;
    }

    /// Applies the activation, of which each output may have a share: `x + a (f(x) - x)`.
    #[inline(always)]
    fn activate(&self, rows: &mut [f32], linear: &mut Vec<f32>) {
        let Some(shares) = &self.shares else {
            activate(self.activation, self.slope, rows);
            return;
        };
        linear.clear();
        linear.extend_from_slice(rows);
        activate(self.activation, self.slope, rows);
        for ((y, x), share) in rows.iter_mut().zip(linear).zip(shares.iter().cycle()) {
            *y = *x + share * (*y - *x);
        }
    }
}

/// Writes the sums of each row times a factor, with the biases, one after the other.
#[inline(always)]
fn add_bias(sums: &[Lanes], factor: f32, bias: &[f32], into: &mut [f32]) {
    let width = bias.len().div_ceil(LANES);
    for (row, sums) in into.chunks_exact_mut(bias.len()).zip(sums.chunks_exact(width)) {
        let lanes = row.chunks_mut(LANES).zip(bias.chunks(LANES)).zip(sums);
        for ((row, bias), sums) in lanes {
            for ((to, bias), sum) in row.iter_mut().zip(bias).zip(&sums.0) {
                // A fused sum can be -0 where zeros are left out; with +0 it is +0 everywhere.
                *to = (sum + 0.0) * factor + bias;
            }
        }
    }
}

impl HostNorm {
    fn new(
        layer: &HiddenLayer,
        i: usize,
        width: usize,
        weights: &mut Weights,
    ) -> Result<Self, ModelFileProblem> {
        let epsilon = layer.norm_epsilon;
        let mut take = |part| weights.take(ParameterPath::Norm(i, part), &[width]);
        let mut factor = take(NormPart::Weight)?;
        let bias = match layer.norm {
            Norm::Rms => vec![0.0; width],
            _ => take(NormPart::Bias)?,
        };
        let mean = if layer.norm == Norm::Batch {
            let mean = take(NormPart::RunningMean)?;
            for (factor, variance) in factor.iter_mut().zip(take(NormPart::RunningVar)?) {
                *factor = (f64::from(*factor) / (f64::from(variance) + epsilon).sqrt()) as f32;
            }
            Some(mean)
        } else {
            None
        };
        Ok(Self { mean, is_centred: layer.norm == Norm::Layer, factor, bias, epsilon })
    }

    /// Normalises rows that lie one after the other.
    #[inline(always)]
    fn apply(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.bias.len()) {
            match &self.mean {
                Some(mean) => row.iter_mut().zip(mean).for_each(|(x, mean)| *x -= mean),
                None => self.normalise(row),
            }
            for ((x, factor), bias) in row.iter_mut().zip(&self.factor).zip(&self.bias) {
                *x = *x * factor + bias;
            }
        }
    }

    /// Takes the row's mean away, of a layer norm, and divides by the root of the mean square.
    fn normalise(&self, row: &mut [f32]) {
        let count = row.len() as f64;
        let mean = if self.is_centred {
            row.iter().map(|&x| f64::from(x)).sum::<f64>() / count
        } else {
            0.0
        };
        let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
        let deviation = (variance + self.epsilon).sqrt();
        row.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) / deviation) as f32);
    }
}

/// The biases of layer `i`, zero if it has none.
fn take_bias(
    architecture: &Architecture,
    i: usize,
    weights: &mut Weights,
) -> Result<Vec<f32>, ModelFileProblem> {
    let [_, outputs] = architecture.sizes(i);
    if architecture.has_bias(i) {
        weights.take(ParameterPath::Bias(i), &[outputs])
    } else {
        Ok(vec![0.0; outputs])
    }
}

/// The weights of layer `i` with its adapter added to them.
fn packed(
    architecture: &Architecture,
    i: usize,
    weights: &mut Weights,
    machine: Machine,
) -> Result<Packed, ModelFileProblem> {
    let sizes = architecture.sizes(i);
    let mut packed = weights.take_packed(i, sizes, machine.widest_panel())?;
    if let Some(lora) = architecture.adapter(i) {
        add_adapter(&mut packed, sizes, lora, i, weights)?;
    }
    Ok(packed)
}

/// Adds `s A B` to a layer's weights.
fn add_adapter(
    matrix: &mut Packed,
    [inputs, outputs]: [usize; 2],
    lora: &Lora,
    i: usize,
    weights: &mut Weights,
) -> Result<(), ModelFileProblem> {
    let a = weights.take(ParameterPath::Adapter(i, AdapterSide::A), &[lora.rank, inputs])?;
    let b = weights.take(ParameterPath::Adapter(i, AdapterSide::B), &[outputs, lora.rank])?;
    let mut delta = vec![0.0f64; outputs];
    for (input, a) in a.chunks_exact(lora.rank).enumerate() {
        delta.fill(0.0);
        for (&a, b) in a.iter().zip(b.chunks_exact(outputs)) {
            for (delta, &b) in delta.iter_mut().zip(b) {
                *delta += f64::from(a) * f64::from(b);
            }
        }
        for (output, delta) in delta.iter().enumerate() {
            matrix.add(output, input, lora.scale() * delta);
        }
    }
    Ok(())
}
