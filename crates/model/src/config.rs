//! What network to build.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Activation, Initializer, Lora, named_enum};

/// A multilayer perceptron, described.
///
/// Hidden layer `i` computes `dropout(activation(norm(x W + b)))`; the output layer is linear and
/// gives logits or values. What `hidden` builds, for 784 inputs and 10 outputs:
///
/// | `hidden` | layers | network |
/// |---|---|---|
/// | `[]` | 1 | `784 → 10`: multinomial logistic, or linear, regression |
/// | `[128]` | 2 | `784 → 128 → 10` |
/// | `[300, 100]` | 3 | `784 → 300 → 100 → 10` |
///
/// ```
/// use fireclay_model::{Activation, MlpConfig};
///
/// let config = MlpConfig {
///     activation: Activation::Gelu,
///     ..MlpConfig::new([28, 28], [300, 100], 10)
/// };
/// assert_eq!(config.parameters(), 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlpConfig {
    /// Shape of one sample, of any rank; it is flattened row by row. `[28, 28]` gives 784 inputs.
    /// Left empty in a settings file, it is taken from the data.
    pub input_shape: Vec<usize>,
    /// Number of outputs: classes, labels or regression targets.
    /// Left zero in a settings file, it is taken from the task.
    pub outputs: usize,
    /// Widths of the hidden layers, from input to output.
    pub hidden: Vec<usize>,
    /// The function after each hidden layer.
    pub activation: Activation,
    /// What [`Activation::LeakyRelu`] multiplies numbers below 0 by; other functions have no use for
    /// it. PyTorch's default, 0.01.
    #[serde(skip_serializing_if = "is_default_slope")]
    pub leaky_slope: f64,
    /// Share of each hidden layer's outputs set to zero in training, in `[0, 1)`.
    pub dropout: f64,
    /// Share of the inputs set to zero in training, in `[0, 1)`.
    pub input_dropout: f64,
    /// Normalisation between the linear map and the activation of each hidden layer.
    pub norm: Norm,
    /// Added to a variance before its root is taken, by norms; above 0. PyTorch's default, 1e-5.
    #[serde(skip_serializing_if = "is_default_epsilon")]
    pub norm_epsilon: f64,
    /// Adds a hidden layer's input to its output, wherever the two are equally wide.
    pub residual: bool,
    /// Distribution of the initial weights.
    pub initializer: Initializer,
    /// Low-rank adapters beside some of the layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

/// PyTorch's default.
const NORM_EPSILON: f64 = 1e-5;

/// PyTorch's default.
pub const LEAKY_SLOPE: f64 = 0.01;

fn is_default_slope(slope: &f64) -> bool {
    *slope == LEAKY_SLOPE
}

fn is_default_epsilon(epsilon: &f64) -> bool {
    *epsilon == NORM_EPSILON
}

named_enum! {
    /// Normalisation of a hidden layer before its activation.
    #[derive(Default)]
    pub enum Norm as "normalisation" {
        /// None.
        #[default]
        None = "none",
        /// Batch normalisation (Ioffe and Szegedy 2015): per feature, over the batch.
        Batch = "batch",
        /// Layer normalisation (Ba et al. 2016): per sample, over the features.
        Layer = "layer",
    }
}

impl Default for MlpConfig {
    /// The tutorial's network, sizes left to the data: one hidden layer of 128, relu.
    fn default() -> Self {
        Self {
            input_shape: Vec::new(),
            outputs: 0,
            hidden: vec![128],
            activation: Activation::default(),
            leaky_slope: LEAKY_SLOPE,
            dropout: 0.0,
            input_dropout: 0.0,
            norm: Norm::default(),
            norm_epsilon: NORM_EPSILON,
            residual: false,
            initializer: Initializer::default(),
            lora: None,
        }
    }
}

impl MlpConfig {
    /// A plain network of these sizes: relu, Glorot-uniform weights, no dropout, no normalisation.
    pub fn new(
        input_shape: impl Into<Vec<usize>>,
        hidden: impl Into<Vec<usize>>,
        outputs: usize,
    ) -> Self {
        Self { input_shape: input_shape.into(), outputs, hidden: hidden.into(), ..Self::default() }
    }

    /// The function after each hidden layer in words, with its slope if that is not the usual one.
    pub fn activation_in_words(&self) -> String {
        let name = self.activation.to_string();
        if self.activation == Activation::LeakyRelu && !is_default_slope(&self.leaky_slope) {
            return format!("{name} with slope {}", self.leaky_slope);
        }
        name
    }

    /// Number of inputs: the product of `input_shape`.
    pub fn inputs(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// `[inputs, outputs]` of each linear layer, from input to output.
    pub fn layer_sizes(&self) -> Vec<[usize; 2]> {
        let mut widths = vec![self.inputs()];
        widths.extend(&self.hidden);
        widths.push(self.outputs);
        widths.windows(2).map(|pair| [pair[0], pair[1]]).collect()
    }

    /// Name and PyTorch's shape of each tensor of the network, in the order of its file.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let sizes = self.layer_sizes();
        let adapted: BTreeSet<usize> =
            self.lora.iter().flat_map(|lora| lora.layers.iter().copied()).collect();
        let rank = self.lora.as_ref().map_or(0, |lora| lora.rank);
        let norms: &[&str] = match self.norm {
            Norm::None => &[],
            Norm::Layer => &["weight", "bias"],
            Norm::Batch => &["weight", "bias", "running_mean", "running_var"],
        };
        let layers = sizes.clone().into_iter().enumerate().flat_map(|(i, [inputs, outputs])| {
            let weight = (format!("layers.{i}.weight"), vec![outputs, inputs]);
            [weight, (format!("layers.{i}.bias"), vec![outputs])]
        });
        let norms = self.hidden.iter().enumerate().flat_map(move |(i, &width)| {
            norms.iter().map(move |name| (format!("norms.{i}.{name}"), vec![width]))
        });
        let adapters = sizes.into_iter().enumerate().filter(move |(i, _)| adapted.contains(i));
        let adapters = adapters.flat_map(move |(i, [inputs, outputs])| {
            let a = (format!("adapters.{i}.a"), vec![rank, inputs]);
            [a, (format!("adapters.{i}.b"), vec![outputs, rank])]
        });
        layers.chain(norms).chain(adapters)
    }

    /// Number of parameters: weights, biases, the scales and shifts of norms, and adapters.
    pub fn parameters(&self) -> usize {
        let sizes = self.layer_sizes();
        let linear: usize = sizes.iter().map(|[i, o]| i * o + o).sum();
        let adapters = self.lora.as_ref().map_or(0, |lora| lora.parameters(&sizes));
        let norms: usize = match self.norm {
            Norm::None => 0,
            Norm::Batch | Norm::Layer => self.hidden.iter().map(|width| 2 * width).sum(),
        };
        linear + norms + adapters
    }

    /// The path and the shape, as a file has it, of every parameter that can be trained, from input
    /// to output.
    pub fn trainable(&self) -> Vec<(String, Vec<usize>)> {
        let sizes = self.layer_sizes();
        let rank = self.lora.as_ref().map_or(0, |lora| lora.rank);
        let has_adapter = |i| self.lora.as_ref().is_some_and(|lora| lora.layers.contains(&i));
        let mut all = Vec::new();
        for (i, &[inputs, outputs]) in sizes.iter().enumerate() {
            all.push((format!("layers.{i}.weight"), vec![outputs, inputs]));
            all.push((format!("layers.{i}.bias"), vec![outputs]));
            if has_adapter(i) {
                all.push((format!("adapters.{i}.a"), vec![rank, inputs]));
                all.push((format!("adapters.{i}.b"), vec![outputs, rank]));
            }
            if i + 1 < sizes.len() && self.norm != Norm::None {
                all.push((format!("norms.{i}.weight"), vec![outputs]));
                all.push((format!("norms.{i}.bias"), vec![outputs]));
            }
        }
        all
    }

    /// Asks for the memory of all parameters in one piece: a network that does not fit is an error
    /// here, and would end the process later.
    pub fn check_memory(&self) -> Result<(), ConfigError> {
        let bytes = self.parameters() * size_of::<f32>();
        Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| ConfigError::NoMemory { bytes })
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first field at fault and why.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.input_shape.is_empty() {
            return Err(ConfigError::NoInputShape);
        }
        sizes("input_shape", &self.input_shape)?;
        sizes("outputs", &[self.outputs])?;
        sizes("hidden", &self.hidden)?;
        rate("dropout", self.dropout)?;
        rate("input_dropout", self.input_dropout)?;
        positive("norm_epsilon", self.norm_epsilon)?;
        finite("leaky_slope", self.leaky_slope)?;
        self.check_adapters()?;
        self.check_total()
    }

    fn check_adapters(&self) -> Result<(), ConfigError> {
        let Some(lora) = &self.lora else { return Ok(()) };
        positive("lora.alpha", lora.alpha)?;
        rate("lora.dropout", lora.dropout)?;
        sizes("lora.rank", &[lora.rank])?;
        let layers = self.hidden.len() + 1;
        let rises = lora.layers.is_sorted_by(|a, b| a < b);
        let exist = lora.layers.last().is_some_and(|&last| last < layers);
        if rises && exist {
            Ok(())
        } else {
            Err(ConfigError::AdapterLayers { found: lora.layers.clone(), layers })
        }
    }

    /// Refuses a network whose size does not fit the address space, before anything is allocated.
    fn check_total(&self) -> Result<(), ConfigError> {
        let product = |sizes: &[usize]| sizes.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        let inputs = product(&self.input_shape);
        let mut widths = vec![inputs.ok_or(ConfigError::TooLarge)?];
        widths.extend(&self.hidden);
        widths.push(self.outputs);
        let rank = self.lora.as_ref().map_or(0, |lora| lora.rank);
        let bytes = widths.windows(2).try_fold(0usize, |total, pair| {
            let weights = pair[0].checked_add(1)?.checked_mul(pair[1])?;
            // As if every layer had an adapter.
            let adapter = pair[0].checked_add(pair[1])?.checked_mul(rank)?;
            total.checked_add(weights.checked_add(adapter)?.checked_mul(size_of::<f32>())?)
        });
        match bytes {
            Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
            _ => Err(ConfigError::TooLarge),
        }
    }
}

fn sizes(field: &'static str, sizes: &[usize]) -> Result<(), ConfigError> {
    match sizes.iter().position(|&size| size == 0) {
        Some(index) => Err(ConfigError::ZeroSize { field, index }),
        None => Ok(()),
    }
}

fn rate(field: &'static str, found: f64) -> Result<(), ConfigError> {
    if (0.0..1.0).contains(&found) { Ok(()) } else { Err(ConfigError::NotARate { field, found }) }
}

fn finite(field: &'static str, found: f64) -> Result<(), ConfigError> {
    if found.is_finite() { Ok(()) } else { Err(ConfigError::NotFinite { field, found }) }
}

fn positive(field: &'static str, found: f64) -> Result<(), ConfigError> {
    if found > 0.0 && found.is_finite() {
        Ok(())
    } else {
        Err(ConfigError::NotPositive { field, found })
    }
}

/// Why a network can not be built as described.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// No shape of one sample was given.
    #[error("input_shape is empty; give the shape of one sample, such as [28, 28]")]
    NoInputShape,
    /// A size is zero.
    #[error("{field}: entry {index} is 0; every size must be at least 1")]
    ZeroSize {
        /// The field at fault.
        field: &'static str,
        /// Position in the field, from 0.
        index: usize,
    },
    /// A dropout rate is outside `[0, 1)`.
    #[error("{field} is {found:?}; a rate must be at least 0 and below 1")]
    NotARate {
        /// The field at fault.
        field: &'static str,
        /// The value given.
        found: f64,
    },
    /// A number is zero, negative or not finite.
    #[error("{field} is {found:?}; it must be above 0")]
    NotPositive {
        /// The field at fault.
        field: &'static str,
        /// The value given.
        found: f64,
    },
    /// A number is not finite.
    #[error("{field} is {found}; it must be a finite number")]
    NotFinite {
        /// The field at fault.
        field: &'static str,
        /// The value given.
        found: f64,
    },
    /// Adapters are asked for beside layers that are not there.
    #[error(
        "lora.layers is {found:?}; name at least one of the {layers} layers, from 0, in rising order"
    )]
    AdapterLayers {
        /// The layers given.
        found: Vec<usize>,
        /// Layers of the network.
        layers: usize,
    },
    /// The parameters do not fit the memory of this machine.
    #[error("the network needs {} MiB for its parameters, which this machine does not have; use smaller hidden layers", bytes >> 20)]
    NoMemory {
        /// Bytes of all parameters.
        bytes: usize,
    },
    /// The parameters would not fit the address space.
    #[error("the network is too large for this machine's address space; use smaller hidden layers")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_field_is_named() {
        let good = MlpConfig::new([28, 28], [128], 10);
        assert_eq!(good.validate(), Ok(()));
        let cases: Vec<(MlpConfig, ConfigError)> = vec![
            (MlpConfig { input_shape: vec![], ..good.clone() }, ConfigError::NoInputShape),
            (
                MlpConfig { input_shape: vec![28, 0], ..good.clone() },
                ConfigError::ZeroSize { field: "input_shape", index: 1 },
            ),
            (
                MlpConfig { outputs: 0, ..good.clone() },
                ConfigError::ZeroSize { field: "outputs", index: 0 },
            ),
            (
                MlpConfig { hidden: vec![3, 0], ..good.clone() },
                ConfigError::ZeroSize { field: "hidden", index: 1 },
            ),
            (
                MlpConfig { dropout: 1.0, ..good.clone() },
                ConfigError::NotARate { field: "dropout", found: 1.0 },
            ),
            (
                MlpConfig { input_dropout: -0.1, ..good.clone() },
                ConfigError::NotARate { field: "input_dropout", found: -0.1 },
            ),
            (
                MlpConfig { norm_epsilon: 0.0, ..good.clone() },
                ConfigError::NotPositive { field: "norm_epsilon", found: 0.0 },
            ),
            (
                MlpConfig { leaky_slope: f64::INFINITY, ..good.clone() },
                ConfigError::NotFinite { field: "leaky_slope", found: f64::INFINITY },
            ),
            (
                MlpConfig { lora: Some(lora(&[1, 2], 8)), ..good.clone() },
                ConfigError::AdapterLayers { found: vec![1, 2], layers: 2 },
            ),
            (
                MlpConfig { lora: Some(lora(&[1, 0], 8)), ..good.clone() },
                ConfigError::AdapterLayers { found: vec![1, 0], layers: 2 },
            ),
            (
                MlpConfig { lora: Some(lora(&[], 8)), ..good.clone() },
                ConfigError::AdapterLayers { found: vec![], layers: 2 },
            ),
            (
                MlpConfig { lora: Some(lora(&[0], 0)), ..good.clone() },
                ConfigError::ZeroSize { field: "lora.rank", index: 0 },
            ),
            (
                MlpConfig { lora: Some(lora(&[0], usize::MAX)), ..good.clone() },
                ConfigError::TooLarge,
            ),
            (MlpConfig { hidden: vec![usize::MAX / 2], ..good.clone() }, ConfigError::TooLarge),
            (MlpConfig { input_shape: vec![1 << 40; 4], ..good }, ConfigError::TooLarge),
        ];
        for (config, expected) in cases {
            assert_eq!(config.validate(), Err(expected));
        }
        let nan = MlpConfig { dropout: f64::NAN, ..MlpConfig::new([1], [], 1) };
        assert!(nan.validate().is_err());
    }

    fn lora(layers: &[usize], rank: usize) -> Lora {
        let layers = layers.to_vec();
        Lora { layers, rank, alpha: 16.0, dropout: 0.0, rank_stabilized: false }
    }

    #[test]
    fn hidden_builds_what_the_table_says() {
        let sizes = |hidden: &[usize]| MlpConfig::new([28, 28], hidden, 10).layer_sizes();
        assert_eq!(sizes(&[]), [[784, 10]]);
        assert_eq!(sizes(&[128]), [[784, 128], [128, 10]]);
        assert_eq!(sizes(&[300, 100]), [[784, 300], [300, 100], [100, 10]]);
    }
}
