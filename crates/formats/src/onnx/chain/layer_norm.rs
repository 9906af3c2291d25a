//! Layer and RMS normalisation of many operators, recognised by what they compute.
//!
//! Exporters for versions of the standard before 17, and 23, write them in about ten operators, each in
//! its own way. As with activations, the operators are computed for a few samples chosen here; from what
//! comes out the factors, the offsets and epsilon are found, and then checked at other samples.

use std::collections::BTreeSet;

use super::super::elementwise::{self, decimal};
use super::super::proto::Node;
use super::Chain;
use super::features::Spread;
use crate::{Layer, Norm, Problem};

/// The most operators that may make one normalisation.
const LONGEST: usize = 24;

/// Numbers of 32 bits in the operators allow for no more.
const TOLERANCE: f64 = 1e-6;

/// The samples: one number for all features, two of much variance, one of little, and two to check.
const SAMPLES: [fn(f64) -> f64; 6] = [
    |_| 0.0,
    |at| 1e3 * (1.7 * at + 0.3).sin(),
    |at| 1e3 * (1.7 * at + 0.3).cos(),
    |at| 1e-2 * (2.3 * at + 0.1).sin(),
    |at| 5.0 + (0.9 * at + 0.7).sin(),
    |at| 0.05 * (3.1 * at).cos() - 1.0,
];

/// A value at each of [`SAMPLES`]: a number for each feature, or one for all.
type Values = Vec<Vec<f64>>;

/// A normalisation that was found.
struct FoundNorm {
    kind: Norm,
    scale: Vec<f64>,
    shift: Vec<f64>,
    epsilon: f64,
}

impl<'a> Chain<'a> {
    /// Reads a layer or RMS normalisation of many operators, if the value that has been reached goes
    /// into one.
    pub(super) fn layer_norm_of_parts(&mut self, users: &[usize]) -> Result<bool, Problem> {
        let graph = self.graph;
        let Some(&[Some(features)]) = self.sample.as_deref() else { return Ok(false) };
        // A norm begins with the mean of the numbers, or of their squares.
        let may_be_norm = users.iter().map(|&user| &graph.nodes[user]).any(|node| {
            let is_square = node.operator() == "Mul" && node.inputs == [self.value; 2];
            is_square || ["ReduceMean", "Pow"].contains(&node.operator())
        });
        if features < 2 || self.columns || !may_be_norm {
            return Ok(false);
        }
        let Some((found, end)) = self.longest_norm(features, users)? else { return Ok(false) };
        let node = &graph.nodes[end];
        self.pay(2 * features)?;
        let scale = Some(self.row(node, "scale", Spread::Made(found.scale), features, None)?);
        let shift = match found.kind {
            Norm::Rms => None,
            _ => Some(self.row(node, "shift", Spread::Made(found.shift), features, None)?),
        };
        let (mean, variance, epsilon, kind) = (None, None, found.epsilon, found.kind);
        self.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon });
        self.advance(node)?;
        Ok(true)
    }

    /// The longest normalisation from the value that has been reached, and the node that ends it.
    fn longest_norm(
        &mut self,
        features: usize,
        users: &[usize],
    ) -> Result<Option<(FoundNorm, usize)>, Problem> {
        let graph = self.graph;
        let samples = SAMPLES.map(|sample| (0..features).map(|at| sample(at as f64)).collect());
        let mut values: Vec<(&'a str, Values)> = vec![(self.value, samples.into())];
        let mut needed = vec![users.to_vec()];
        let mut waiting: BTreeSet<usize> = users.iter().copied().collect();
        let mut done = BTreeSet::new();
        let mut longest = None;
        while let Some(index) = waiting.pop_first().filter(|_| done.len() < LONGEST) {
            let node = &graph.nodes[index];
            let &[output] = &node.outputs[..] else { break };
            let Some(results) = self.at_samples(node, &values, features)? else { break };
            done.insert(index);
            if needed.iter().flatten().all(|user| done.contains(user))
                && let Some(found) = recognise(&values[0].1, &results, features, Norm::Layer)
                    .or_else(|| recognise(&values[0].1, &results, features, Norm::Rms))
            {
                longest = Some((found, index));
            }
            if self.outputs.contains(output) {
                break;
            }
            let of_output = self.users_of(output)?;
            waiting.extend(&of_output);
            needed.push(of_output);
            values.push((output, results));
        }
        Ok(longest)
    }

    /// Computes a node at [`SAMPLES`], if it averages or takes each number by itself.
    fn at_samples(
        &mut self,
        node: &'a Node<'a>,
        values: &[(&'a str, Values)],
        features: usize,
    ) -> Result<Option<Values>, Problem> {
        let cost = features.saturating_mul(SAMPLES.len() * (node.inputs.len() + 1));
        if !self.may_compute(cost) || node.inputs.len() > 2 {
            return Ok(None);
        }
        // Of other values it is not known that they are of floating point.
        if node.operator() == "CastLike"
            && node.inputs.get(1) != values.first().map(|(name, _)| name)
        {
            return Ok(None);
        }
        if node.operator() == "ReduceMean" {
            let input = node.inputs.first().and_then(|name| known(values, name));
            let Some(input) = input else { return Ok(None) };
            if !self.averages_features(node)? || input.iter().any(|each| each.len() != features) {
                return Ok(None);
            }
            let means = input.iter().map(|each| each.iter().sum::<f64>() / features as f64);
            return Ok(Some(means.map(|mean| vec![mean]).collect()));
        }
        let mut inputs = Vec::new();
        for name in &node.inputs {
            inputs.push(match known(values, name) {
                Some(values) => values.clone(),
                None => match self.constant_of_features(name, features)? {
                    Some(constant) => vec![constant; SAMPLES.len()],
                    None => return Ok(None),
                },
            });
        }
        let mut results = Vec::new();
        for sample in 0..SAMPLES.len() {
            let width = inputs.iter().map(|input| input[sample].len()).max().unwrap_or(1);
            let inputs = inputs.iter().map(|input| &input[sample]);
            // One number stands for as many.
            let inputs = inputs
                .map(|each| if each.len() == width { each.clone() } else { vec![each[0]; width] });
            let inputs: Vec<Option<Vec<f64>>> = inputs.map(Some).collect();
            match elementwise::apply(node, &inputs)? {
                Some(result) => results.push(result),
                None => return Ok(None),
            }
        }
        Ok(Some(results))
    }

    /// Returns true if `ReduceMean` averages the features of each sample and keeps their dimension.
    fn averages_features(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        node.has_only(&["axes", "keepdims", "noop_with_empty_axes"])?;
        let axes = match (node.ints("axes")?, node.inputs.get(1)) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(name)) => {
                let axes = self.constants.get(name)?.and_then(|axes| axes.few.clone());
                axes.unwrap_or_default().into_iter().map(|axis| axis as i64).collect()
            }
            (None, None) => return Ok(false),
        };
        let keeps = node.int("keepdims")?.unwrap_or(1) == 1;
        Ok(keeps && (axes == [-1] || axes == [1]))
    }

    /// A constant with one number, or one for each feature.
    fn constant_of_features(
        &mut self,
        name: &'a str,
        features: usize,
    ) -> Result<Option<Vec<f64>>, Problem> {
        let Some(constant) = self.constants.get(name)?.cloned() else { return Ok(None) };
        Ok(match self.spread(&constant)? {
            Some(Spread::One(number)) => Some(vec![number]),
            Some(Spread::Made(values)) => Some(values).filter(|all| all.len() == features),
            Some(Spread::Tensor(source)) => {
                let tensor = source.tensor.to_tensor(source.name)?;
                Some(tensor.to_f64()?).filter(|all| all.len() == features)
            }
            None => None,
        })
    }
}

/// Mean and variance; of an RMS norm 0 and the mean square.
fn moments(sample: &[f64], kind: Norm) -> (f64, f64) {
    let count = sample.len() as f64;
    let mean = if kind == Norm::Rms { 0.0 } else { sample.iter().sum::<f64>() / count };
    (mean, sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count)
}

/// The value of this name.
fn known<'v>(values: &'v [(&str, Values)], name: &str) -> Option<&'v Values> {
    values.iter().find(|(value, _)| *value == name).map(|(_, values)| values)
}

/// Which normalisation of this kind makes these results of these samples, if one does.
fn recognise(samples: &Values, results: &Values, features: usize, kind: Norm) -> Option<FoundNorm> {
    let (Some([_, wide, turned, narrow, ..]), [shift, of_wide, of_turned, of_narrow, ..]) =
        (samples.first_chunk::<4>(), &results[..])
    else {
        return None;
    };
    let has_shift = shift.iter().any(|&shift| shift != 0.0);
    if results.iter().any(|each| each.len() != features) || kind == Norm::Rms && has_shift {
        return None;
    }
    let ((mean, variance), (turned_mean, turned_variance)) =
        (moments(wide, kind), moments(turned, kind));
    // Epsilon is nothing beside so much variance.
    let scale = (0..features).map(|at| {
        let z = (wide[at] - mean) / variance.sqrt();
        let other = (turned[at] - turned_mean) / turned_variance.sqrt();
        let (z, y) = if z.abs() > other.abs() { (z, of_wide[at]) } else { (other, of_turned[at]) };
        (y - shift[at]) / z
    });
    let scale: Vec<f64> = scale.collect();
    let (mean, variance) = moments(narrow, kind);
    let distances: Vec<f64> =
        std::iter::zip(&scale, narrow).map(|(scale, x)| (scale * (x - mean)).abs()).collect();
    let farthest = (0..features).max_by(|&a, &b| distances[a].total_cmp(&distances[b]))?;
    let deviation =
        scale[farthest] * (narrow[farthest] - mean) / (of_narrow[farthest] - shift[farthest]);
    let epsilon = deviation.powi(2) - variance;
    let epsilon = if epsilon.abs() < 1e-12 { 0.0 } else { decimal(epsilon as f32) };
    let fits = std::iter::zip(samples, results).all(|(sample, result)| {
        let (mean, variance) = moments(sample, kind);
        let deviation = (variance + epsilon).sqrt();
        // Without variance and epsilon there is nothing to compare.
        deviation == 0.0
            || (0..features).all(|at| {
                let expected = scale[at] * (sample[at] - mean) / deviation + shift[at];
                let most = TOLERANCE * (1.0 + scale[at].abs() + shift[at].abs());
                (result[at] - expected).abs() <= most
            })
    });
    let is_sane = scale.iter().chain(shift).all(|each| each.is_finite());
    ((0.0..0.5).contains(&epsilon) && fits && is_sane).then(|| FoundNorm {
        kind,
        scale,
        shift: shift.clone(),
        epsilon,
    })
}
