//! What a file does to a sample, step by step, as numbers.

use fireclay::Norm;
use fireclay_formats as formats;
use fireclay_formats::{Layer, Layout};
use fireclay_terminal::counted;

use super::super::ImportError;
use super::functions::{Function, Resolved, resolve};
use super::linear::{Diagonal, Linear};
use super::tensors::Tensors;

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Linear(Linear),
    /// A factor and a shift of each feature.
    Diagonal {
        map: Diagonal,
        /// Whether it tells, on features as they come, how they were prepared.
        prepares: bool,
    },
    Norm(NormStep),
    Function {
        function: Function,
        /// The tensor of its slopes.
        from: Option<String>,
    },
    /// Softmax, or its logarithm.
    Softmax,
    Dropout(f64),
    /// `x + f(x)`.
    Skip(Vec<Step>),
}

/// A norm with its numbers.
#[derive(Clone, Debug)]
pub(super) struct NormStep {
    pub(super) kind: Norm,
    pub(super) scale: Vec<f64>,
    pub(super) shift: Vec<f64>,
    /// Of batch norms.
    pub(super) mean: Vec<f64>,
    /// Of batch norms.
    pub(super) variance: Vec<f64>,
    pub(super) epsilon: f64,
    /// The tensors of scale, shift, mean and variance.
    pub(super) names: [Option<String>; 4],
    /// Tensors that were put into scale and shift.
    pub(super) beside: Vec<String>,
}

impl NormStep {
    /// What it is called in messages.
    pub(super) fn name(&self) -> String {
        let tensor = self.names.iter().flatten().next();
        let tensor = tensor.map_or_else(String::new, |name| format!(" of {name}"));
        format!("the {} norm{tensor}", self.kind)
    }

    /// A batch norm as inference has it.
    pub(super) fn into_diagonal(self) -> Diagonal {
        let mut scale = self.scale;
        for (scale, variance) in scale.iter_mut().zip(&self.variance) {
            *scale /= (variance + self.epsilon).sqrt();
        }
        let shifts = self.shift.iter().zip(&self.mean).zip(&scale);
        let offset = shifts.map(|((shift, mean), scale)| shift - mean * scale).collect();
        let from = self.names.into_iter().flatten().chain(self.beside).collect();
        Diagonal { scale, offset, from }
    }

    /// Whether a factor and a shift of each feature can be put behind it: an RMS norm has no shift.
    pub(super) fn takes(&self, after: &Diagonal) -> bool {
        self.kind != Norm::Rms || after.offset.iter().all(|&offset| offset == 0.0)
    }

    /// This, and then a factor and a shift of each feature, which it takes.
    pub(super) fn and_then(&mut self, after: Diagonal) {
        let own = Diagonal {
            scale: std::mem::take(&mut self.scale),
            offset: std::mem::take(&mut self.shift),
            from: Vec::new(),
        };
        let mut both = own;
        both.then(after);
        (self.scale, self.shift) = (both.scale, both.offset);
        self.beside.extend(both.from);
    }
}

/// Reads steps; keeps count of where it is.
pub(super) struct Reader<'a> {
    tensors: &'a Tensors,
    /// How many numbers a sample has here.
    width: usize,
    /// Linear layers so far.
    linear: usize,
    /// The weights of the last of them.
    last: Option<&'a str>,
}

impl<'a> Reader<'a> {
    /// Of a network that is given so many numbers.
    pub(super) fn new(width: usize, tensors: &'a Tensors) -> Self {
        Self { tensors, width, linear: 0, last: None }
    }

    /// Reads some layers.
    pub(super) fn steps(&mut self, layers: &'a [Layer]) -> Result<Vec<Step>, ImportError> {
        let mut steps = Vec::new();
        for layer in layers {
            match layer {
                Layer::Flatten => {}
                &Layer::Rescale { scale, offset } => {
                    let map = Diagonal::same(self.width, scale, offset);
                    steps.push(Step::Diagonal { map, prepares: true });
                }
                Layer::Affine { scale, offset } => {
                    steps.push(self.affine(scale.as_deref(), offset.as_deref())?);
                }
                Layer::Dense { weight, bias, layout } => {
                    steps.push(Step::Linear(self.dense(weight, bias.as_deref(), *layout)?));
                }
                Layer::Norm { kind, scale, shift, mean, variance, epsilon } => {
                    let names = [scale, shift, mean, variance].map(Clone::clone);
                    steps.push(self.norm(*kind, names, *epsilon)?);
                }
                Layer::Activation(found) => self.function(found, &mut steps)?,
                Layer::Prelu { slope } => {
                    let slopes = self.tensors.broad_vector(slope, self.width, "a PReLU")?;
                    let (function, from) = (Function::Bent(slopes), Some(slope.clone()));
                    steps.push(Step::Function { function, from });
                }
                Layer::Residual(inner) => {
                    let width = self.width;
                    let inner = self.steps(inner)?;
                    if self.width != width {
                        return Err(ImportError::unsupported(
                            format!(
                                "the file adds {} to {}",
                                counted(width as u64, "number"),
                                self.width
                            ),
                            "both must be as many",
                        ));
                    }
                    steps.push(Step::Skip(inner));
                }
                &Layer::Dropout(rate) => steps.push(Step::Dropout(rate)),
            }
        }
        Ok(steps)
    }

    fn function(
        &self,
        found: &formats::Activation,
        steps: &mut Vec<Step>,
    ) -> Result<(), ImportError> {
        if matches!(found.name.as_str(), "softmax" | "log-softmax") && found.constants.is_empty() {
            steps.push(Step::Softmax);
            return Ok(());
        }
        let Resolved { before, function, after } =
            resolve(found, self.width).map_err(|error| self.placed(error))?;
        let map = |(scale, offset)| Step::Diagonal {
            map: Diagonal::same(self.width, scale, offset),
            prepares: false,
        };
        steps.extend((before != (1.0, 0.0)).then(|| map(before)));
        steps.push(Step::Function { function, from: None });
        steps.extend((after != (1.0, 0.0)).then(|| map(after)));
        Ok(())
    }

    /// An error of what stands behind the last linear layer, with the name of that.
    fn placed(&self, error: ImportError) -> ImportError {
        match (error, self.last) {
            (ImportError::Unsupported { what, why }, Some(last)) => {
                ImportError::unsupported(format!("{what}, behind {last}"), why)
            }
            (error, _) => error,
        }
    }

    /// A number for each feature: those of a tensor, or all the same without one.
    fn of_features(&self, name: Option<&str>, absent: f64) -> Result<Vec<f64>, ImportError> {
        match name {
            Some(name) => self.tensors.broad_vector(name, self.width, "a factor for each feature"),
            None => Ok(vec![absent; self.width]),
        }
    }

    fn affine(&self, scale: Option<&str>, offset: Option<&str>) -> Result<Step, ImportError> {
        let from = [scale, offset].into_iter().flatten().map(str::to_owned).collect();
        let (scale, offset) = (self.of_features(scale, 1.0)?, self.of_features(offset, 0.0)?);
        Ok(Step::Diagonal { map: Diagonal { scale, offset, from }, prepares: true })
    }

    fn dense(
        &mut self,
        weight: &'a str,
        bias: Option<&str>,
        layout: Layout,
    ) -> Result<Linear, ImportError> {
        let [inputs, outputs] = sizes(self.tensors, weight, layout)?;
        if inputs != self.width {
            return Err(ImportError::unsupported(
                format!(
                    "{weight} takes {}, and the layer before it gives {}",
                    counted(inputs as u64, "input"),
                    self.width
                ),
                "layers must follow each other",
            ));
        }
        let path = format!("layers.{}.bias", self.linear);
        let bias = match bias {
            Some(name) => Some((name, self.tensors.vector(name, outputs, &path)?)),
            None => None,
        };
        self.linear += 1;
        self.last = Some(weight);
        self.width = outputs;
        Ok(Linear::stored([inputs, outputs], weight, layout, bias))
    }

    fn norm(
        &self,
        kind: formats::Norm,
        names: [Option<String>; 4],
        epsilon: f64,
    ) -> Result<Step, ImportError> {
        const PARTS: [(&str, f64); 4] =
            [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)];
        let before = self.linear.saturating_sub(1);
        let mut numbers: [Vec<f64>; 4] = Default::default();
        for ((numbers, name), (part, absent)) in numbers.iter_mut().zip(&names).zip(PARTS) {
            let path = format!("norms.{before}.{part}");
            *numbers = match name {
                Some(name) => self.tensors.vector(name, self.width, &path)?,
                None => vec![absent; self.width],
            };
        }
        // Keras' `Normalization`: fixed statistics of each feature, and nothing that was learned.
        let is_fixed = epsilon == 0.0 && matches!(names, [None, None, Some(_), Some(_)]);
        let [scale, shift, mean, variance] = numbers;
        let kind = match kind {
            formats::Norm::Batch => Norm::Batch,
            formats::Norm::Layer => Norm::Layer,
            formats::Norm::Rms => Norm::Rms,
        };
        let beside = Vec::new();
        let norm = NormStep { kind, scale, shift, mean, variance, epsilon, names, beside };
        let least = norm.variance.iter().copied().fold(f64::INFINITY, f64::min);
        if least < 0.0 || least + epsilon <= 0.0 {
            return Err(ImportError::unsupported(
                format!("{} has a variance of {least}", norm.name()),
                "a variance with its epsilon is above 0; the file is damaged, or --map calls \
                 another tensor so",
            ));
        }
        if norm.kind == Norm::Batch && is_fixed {
            return Ok(Step::Diagonal { map: norm.into_diagonal(), prepares: true });
        }
        Ok(Step::Norm(norm))
    }
}

/// `[inputs, outputs]` of a weight matrix.
pub(super) fn sizes(
    tensors: &Tensors,
    weight: &str,
    layout: Layout,
) -> Result<[usize; 2], ImportError> {
    let shape = &tensors.named(weight)?.shape;
    match shape[..] {
        [first, second] if first > 0 && second > 0 => Ok(match layout {
            Layout::OutIn => [second, first],
            Layout::InOut => [first, second],
        }),
        _ => Err(ImportError::unsupported(
            format!("tensor {weight} is {}", shown_shape(shape)),
            "the weights of a layer have two dimensions, neither of them 0",
        )),
    }
}

/// A shape in messages.
fn shown_shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "one number".to_owned();
    }
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("of shape [{}]", sizes.join(", "))
}

/// The inputs of the first linear layer.
pub(super) fn inputs(layers: &[Layer], tensors: &Tensors) -> Result<Option<usize>, ImportError> {
    for layer in layers {
        let found = match layer {
            Layer::Dense { weight, layout, .. } => Some(sizes(tensors, weight, *layout)?[0]),
            Layer::Residual(inner) => inputs(inner, tensors)?,
            _ => None,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
