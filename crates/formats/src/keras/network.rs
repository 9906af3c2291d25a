//! The network of a model and its tensors.

use crate::error::shown;
use crate::{Dtype, Layer, Layout, Network, Norm, Problem, Tensor};

use super::KIND;
use super::config::{Configured, Model, Statistics, Step};

/// What Keras puts in the place of a smaller standard deviation (`keras.config.epsilon`).
const LEAST_DEVIATION: f64 = 1e-7;

/// The network, and tensors for it that the file has only as part of its configuration.
pub(super) fn network(
    model: &Model,
    tensors: &mut Vec<Tensor>,
    notes: &mut Vec<String>,
) -> Result<Network, Problem> {
    let mut layers = Vec::new();
    let mut width = None;
    for layer in model.order.iter().filter_map(|&at| model.layers.get(at)) {
        let known = Known { layer, tensors };
        match &layer.step {
            Step::Nothing => {}
            Step::Flatten => layers.push(Layer::Flatten),
            &Step::Rescale { scale, offset } => layers.push(Layer::Rescale { scale, offset }),
            Step::Normalize { given, each } => {
                let step = known.normalisation(given.as_ref(), *each)?;
                notes.extend(step.note);
                tensors.retain(|tensor| !step.folded.contains(&tensor.name));
                tensors.extend(step.made);
                layers.push(step.layer);
            }
            Step::Dense { bias, activation } => {
                let weight = known.tensor("kernel")?;
                let &[inputs, outputs] = weight.shape.as_slice() else {
                    return Err(known.shape(weight, "[inputs, outputs]"));
                };
                if width.is_some_and(|width| width != inputs) || !weight.dtype.is_float() {
                    return Err(known.shape(weight, "the outputs of the layer before, in floats"));
                }
                width = Some(outputs);
                let bias = if *bias { Some(known.row("bias", width)?) } else { None };
                let weight = weight.name.clone();
                layers.push(Layer::Dense { weight, bias, layout: Layout::InOut });
                layers.extend(activation.clone().map(Layer::Activation));
            }
            Step::Activation(activation) => layers.push(Layer::Activation(activation.clone())),
            &Step::Norm { kind, scale, shift, epsilon } => {
                let batch = kind == Norm::Batch;
                let row = |there: bool, variable: &str| {
                    there.then(|| known.row(variable, width)).transpose()
                };
                layers.push(Layer::Norm {
                    kind,
                    scale: row(scale, "gamma")?,
                    shift: row(shift, "beta")?,
                    mean: row(batch, "moving_mean")?,
                    variance: row(batch, "moving_variance")?,
                    epsilon,
                });
            }
            &Step::Dropout(rate) => layers.push(Layer::Dropout(rate)),
        }
    }
    Ok(Network { input_shape: model.input_shape.clone(), layers })
}

/// A layer among the tensors that there are.
struct Known<'a> {
    layer: &'a Configured,
    tensors: &'a [Tensor],
}

/// A normalisation of the input.
struct Normalisation {
    layer: Layer,
    /// Tensors of it that are not in the file.
    made: Vec<Tensor>,
    /// The names of tensors in the file that are nothing but numbers of the layer now.
    folded: Vec<String>,
    /// Why there are any.
    note: Option<String>,
}

impl Known<'_> {
    /// The tensor of a variable.
    fn tensor(&self, variable: &str) -> Result<&Tensor, Problem> {
        let name = format!("{}/{variable}", self.layer.name);
        self.tensors.iter().find(|tensor| tensor.name == name).ok_or_else(|| {
            Problem::malformed(KIND, format!("there is no array {} in it", shown(&name)))
        })
    }

    /// The name of a tensor with one float for each feature.
    fn row(&self, variable: &str, width: Option<usize>) -> Result<String, Problem> {
        let tensor = self.tensor(variable)?;
        match tensor.shape.as_slice() {
            &[found] if width.is_none_or(|width| width == found) && tensor.dtype.is_float() => {
                Ok(tensor.name.clone())
            }
            _ => Err(self.shape(tensor, "a float for each feature")),
        }
    }

    fn shape(&self, tensor: &Tensor, expected: &str) -> Problem {
        let (name, shape, dtype) = (shown(&tensor.name), &tensor.shape, tensor.dtype.name());
        let what = format!("array {name} has shape {shape:?} and type {dtype}, not {expected}");
        Problem::malformed(KIND, what)
    }

    /// `(x - mean) / max(deviation, 1e-7)`, as `keras.layers.Normalization` has it.
    fn normalisation(
        &self,
        given: Option<&Statistics>,
        each: bool,
    ) -> Result<Normalisation, Problem> {
        let name = |variable: &str| format!("{}/{variable}", self.layer.name);
        let (mean, variance) = match given {
            Some(given) => (given.mean.clone(), given.variance.clone()),
            None => (self.tensor("mean")?.to_f64()?, self.tensor("variance")?.to_f64()?),
        };
        if !each {
            let (&[mean], &[variance]) = (mean.as_slice(), variance.as_slice()) else {
                return Err(self.shape(self.tensor("mean")?, "one number"));
            };
            let scale = 1.0 / variance.sqrt().max(LEAST_DEVIATION);
            let layer = Layer::Rescale { scale, offset: -mean * scale };
            let (folded, note) = match given {
                Some(_) => (Vec::new(), None),
                None => {
                    let shown = shown(&self.layer.name);
                    let note = format!("the mean and variance of {shown} are one factor and shift");
                    (vec![name("mean"), name("variance")], Some(note))
                }
            };
            return Ok(Normalisation { layer, made: Vec::new(), folded, note });
        }
        let row = |name: String, values: Vec<f64>| {
            let bytes: Vec<u8> =
                values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
            Tensor::new(KIND, name, vec![values.len()], Dtype::F32, bytes)
        };
        // The square root of this is the same as Keras' least deviation.
        let floor = LEAST_DEVIATION * LEAST_DEVIATION;
        let floored: Vec<f64> = variance.iter().map(|value| value.max(floor)).collect();
        let layer = |variance: &str| Layer::Norm {
            kind: Norm::Batch,
            scale: None,
            shift: None,
            mean: Some(name("mean")),
            variance: Some(name(variance)),
            epsilon: 0.0,
        };
        if given.is_some() {
            let made = vec![row(name("mean"), mean)?, row(name("variance"), floored)?];
            let shown = shown(&self.layer.name);
            let note = format!("the mean and variance of {shown} are from its configuration");
            let (layer, folded) = (layer("variance"), Vec::new());
            return Ok(Normalisation { layer, made, folded, note: Some(note) });
        }
        let width = Some(variance.len());
        let stored = (self.row("mean", width)?, self.row("variance", width)?);
        let folded = Vec::new();
        if floored == variance {
            let layer = layer("variance");
            return Ok(Normalisation { layer, made: Vec::new(), folded, note: None });
        }
        let made = vec![row(name("floored_variance"), floored)?];
        let note = format!(
            "{} is made of {}: Keras divides by a deviation of at least 1e-7",
            shown(&name("floored_variance")),
            shown(&stored.1)
        );
        Ok(Normalisation { layer: layer("floored_variance"), made, folded, note: Some(note) })
    }
}
