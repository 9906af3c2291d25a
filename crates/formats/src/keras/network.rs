//! The network of a model and its tensors.

use std::collections::BTreeMap;

use crate::error::shown;
use crate::{ElementType, Layer, Layout, Network, Norm, Problem, Tensor};

use super::KIND;
use super::config::{Flow, Model, Statistics, Step};

/// The number that Keras puts in the place of a smaller standard deviation
/// (`keras.config.epsilon`).
const LEAST_DEVIATION: f64 = 1e-7;

/// The network, and tensors for it that the file has only as part of its configuration.
pub(super) fn network(
    model: &Model,
    tensors: &mut Vec<Tensor>,
    notes: &mut Vec<String>,
) -> Result<Network, Problem> {
    let mut built = Built { width: None, tensors, notes, made: BTreeMap::new() };
    let layers = built.layers(&model.flow)?;
    Ok(Network { input_shape: model.input_shape.clone(), layers })
}

/// A network as far as it has been built.
struct Built<'a> {
    /// The numbers of a sample, once a dense layer was there.
    width: Option<usize>,
    tensors: &'a mut Vec<Tensor>,
    notes: &'a mut Vec<String>,
    /// The layers that normalisations became, by the path of their layer: one may be called twice.
    made: BTreeMap<String, Layer>,
}

impl Built<'_> {
    /// The layers of a part of the flow.
    fn layers(&mut self, flow: &[Flow]) -> Result<Vec<Layer>, Problem> {
        let mut layers = Vec::new();
        for part in flow {
            match part {
                Flow::Residual { flow, is_subtracted } => {
                    let mut branch = self.layers(flow)?;
                    if *is_subtracted {
                        branch.push(Layer::Rescale { scale: -1.0, offset: 0.0 });
                    }
                    layers.push(Layer::Residual(branch));
                }
                Flow::Layer(path, Step::Normalize { given, each }) => {
                    layers.push(self.normalisation(path, given.as_ref(), *each)?);
                }
                Flow::Layer(path, step) => self.step(path, step, &mut layers)?,
            }
        }
        Ok(layers)
    }

    /// Adds what a layer does.
    fn step(&mut self, path: &str, step: &Step, layers: &mut Vec<Layer>) -> Result<(), Problem> {
        let width = self.width;
        let known = Known { path, tensors: self.tensors };
        match step {
            Step::Nothing | Step::Normalize { .. } => {}
            Step::Flatten => layers.push(Layer::Flatten),
            &Step::Rescale { scale, offset } => layers.push(Layer::Rescale { scale, offset }),
            Step::Dense { bias, activation } => {
                if known.tensor("lora_kernel_a").is_ok() {
                    let what = format!("layer {} with LoRA weights of its own", shown(path));
                    let why = "save the model as a .keras file, which has them merged";
                    return Err(Problem::refused(what, why));
                }
                let weight = known.tensor("kernel")?;
                let &[inputs, outputs] = weight.shape.as_slice() else {
                    return Err(known.shape(weight, "[inputs, outputs]"));
                };
                if width.is_some_and(|width| width != inputs) || !weight.dtype.is_float() {
                    return Err(known.shape(weight, "the outputs of the layer before, in floats"));
                }
                let bias = if *bias { Some(known.row("bias", Some(outputs))?) } else { None };
                let weight = weight.name.clone();
                layers.push(Layer::Dense { weight, bias, layout: Layout::InOut });
                layers.extend(activation.clone().map(Layer::Activation));
                self.width = Some(outputs);
            }
            Step::Activation(activation) => layers.push(Layer::Activation(activation.clone())),
            Step::Prelu => {
                let slope = known.tensor("alpha")?;
                // One slope may be shared by all features.
                let width = if slope.shape == [1] { Some(1) } else { width };
                layers.push(Layer::Prelu { slope: known.row("alpha", width)? });
            }
            &Step::Norm { kind, scale, shift, epsilon } => {
                let batch = kind == Norm::Batch;
                layers.push(Layer::Norm {
                    kind,
                    scale: known.row_if(scale, "gamma", width)?,
                    shift: known.row_if(shift, "beta", width)?,
                    mean: known.row_if(batch, "moving_mean", width)?,
                    variance: known.row_if(batch, "moving_variance", width)?,
                    epsilon,
                });
            }
            &Step::Dropout(rate) => layers.push(Layer::Dropout(rate)),
        }
        Ok(())
    }

    /// A normalisation by fixed statistics.
    fn normalisation(
        &mut self,
        path: &str,
        given: Option<&Statistics>,
        each: bool,
    ) -> Result<Layer, Problem> {
        if let Some(made) = self.made.get(path) {
            return Ok(made.clone());
        }
        let step = Known { path, tensors: self.tensors }.normalisation(given, each)?;
        self.notes.extend(step.note);
        self.tensors.retain(|tensor| !step.folded.contains(&tensor.name));
        self.tensors.extend(step.made);
        self.made.insert(path.to_owned(), step.layer.clone());
        Ok(step.layer)
    }
}

/// A layer among the tensors that there are.
struct Known<'a> {
    path: &'a str,
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
        let name = format!("{}/{variable}", self.path);
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
        let (mean, variance) = match given {
            Some(given) => (given.mean.clone(), given.variance.clone()),
            None => (self.tensor("mean")?.to_f64()?, self.tensor("variance")?.to_f64()?),
        };
        if !each {
            return self.rescaling(given.is_some(), &mean, &variance);
        }
        // The square root of this is the same as Keras' least deviation.
        let floor = LEAST_DEVIATION * LEAST_DEVIATION;
        let floored: Vec<f64> = variance.iter().map(|value| value.max(floor)).collect();
        let folded = Vec::new();
        if given.is_some() {
            let made = vec![self.made("mean", &mean)?, self.made("variance", &floored)?];
            let shown = shown(self.path);
            let note = format!("the mean and variance of {shown} are from its configuration");
            let layer = self.standardising("variance");
            return Ok(Normalisation { layer, made, folded, note: Some(note) });
        }
        let width = Some(variance.len());
        let stored = (self.row("mean", width)?, self.row("variance", width)?);
        if floored == variance {
            let layer = self.standardising("variance");
            return Ok(Normalisation { layer, made: Vec::new(), folded, note: None });
        }
        let made = vec![self.made("floored_variance", &floored)?];
        let note = format!(
            "{} is made of {}: Keras divides by a deviation of at least 1e-7",
            shown(&self.name("floored_variance")),
            shown(&stored.1)
        );
        let layer = self.standardising("floored_variance");
        Ok(Normalisation { layer, made, folded, note: Some(note) })
    }

    /// One mean and variance for all features, as a factor and a shift.
    fn rescaling(
        &self,
        is_given: bool,
        mean: &[f64],
        variance: &[f64],
    ) -> Result<Normalisation, Problem> {
        let (&[mean], &[variance]) = (mean, variance) else {
            return Err(self.shape(self.tensor("mean")?, "one number"));
        };
        let scale = 1.0 / variance.sqrt().max(LEAST_DEVIATION);
        let layer = Layer::Rescale { scale, offset: -mean * scale };
        let (folded, note) = if is_given {
            (Vec::new(), None)
        } else {
            let shown = shown(self.path);
            let note = format!("the mean and variance of {shown} are one factor and shift");
            (vec![self.name("mean"), self.name("variance")], Some(note))
        };
        Ok(Normalisation { layer, made: Vec::new(), folded, note })
    }

    /// The layer of a mean and a variance for each feature; Keras adds no epsilon to the latter.
    fn standardising(&self, variance: &str) -> Layer {
        Layer::Norm {
            kind: Norm::Batch,
            scale: None,
            shift: None,
            mean: Some(self.name("mean")),
            variance: Some(self.name(variance)),
            epsilon: 0.0,
        }
    }

    /// A tensor that is in no file.
    fn made(&self, variable: &str, values: &[f64]) -> Result<Tensor, Problem> {
        let bytes = values.iter().flat_map(|&value| (value as f32).to_le_bytes());
        let bytes: Vec<u8> = bytes.collect();
        Tensor::new(KIND, self.name(variable), vec![values.len()], ElementType::F32, bytes)
    }

    fn name(&self, variable: &str) -> String {
        format!("{}/{variable}", self.path)
    }

    /// As [`row`](Self::row), of a variable that the layer has only if `is_there`.
    fn row_if(
        &self,
        is_there: bool,
        variable: &str,
        width: Option<usize>,
    ) -> Result<Option<String>, Problem> {
        if is_there { self.row(variable, width).map(Some) } else { Ok(None) }
    }
}
