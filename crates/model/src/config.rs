//! The settings of a network.

use fireclay_terminal::counted;
use serde::{Deserialize, Serialize};

use crate::{
    Activation, Architecture, BiasInitializer, Ensemble, FrontPart, HiddenLayer, Initializer, Lora,
    Parametrization, Short, Skip, SkipPosition, named_enum,
};

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
/// let network = config.architecture()?;
/// assert_eq!(network.parameters(), 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10);
/// # Ok::<(), fireclay_model::ConfigError>(())
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
    /// The slope of [`Activation::LeakyRelu`] below 0; other functions have no use for it.
    /// PyTorch's default, 0.01.
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
    /// True if each output of a hidden layer has a learned share of the activation.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parametric: bool,
    /// Adds a hidden layer's input to its output, wherever the two are equally wide.
    pub residual: bool,
    /// The hidden layers one by one, in the place of `hidden` and what goes for all of its layers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<HiddenLayer>,
    /// True if the output layer adds a bias.
    #[serde(skip_serializing_if = "is_true")]
    pub output_bias: bool,
    /// The parts of the front stage, in the order of the columns of a row. Left empty in a settings
    /// file, they are taken from the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub front: Vec<FrontPart>,
    /// True if each input of the first layer is multiplied by a learned scale.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scaling: bool,
    /// Members that share the hidden layers, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<Ensemble>,
    /// What inputs of a linear layer are divided by.
    #[serde(skip_serializing_if = "is_default")]
    pub parametrization: Parametrization,
    /// Distribution of the initial weights.
    pub initializer: Initializer,
    /// Distribution of the initial biases.
    #[serde(skip_serializing_if = "is_default")]
    pub bias_initializer: BiasInitializer,
    /// True if the output layer starts at zero.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub zero_output: bool,
    /// Low-rank adapters beside some of the layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

/// PyTorch's default.
pub const NORM_EPSILON: f64 = 1e-5;

/// PyTorch's default.
pub const LEAKY_SLOPE: f64 = 0.01;

fn is_default_slope(slope: &f64) -> bool {
    *slope == LEAKY_SLOPE
}

fn is_true(value: &bool) -> bool {
    *value
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
        /// Root mean square normalisation (Zhang and Sennrich 2019): per sample, over the features,
        /// without their mean, and without a shift.
        Rms = "rms",
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
            parametric: false,
            residual: false,
            layers: Vec::new(),
            output_bias: true,
            front: Vec::new(),
            scaling: false,
            ensemble: None,
            parametrization: Parametrization::default(),
            initializer: Initializer::default(),
            bias_initializer: BiasInitializer::default(),
            zero_output: false,
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

    /// The network, layer by layer.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first field at fault and why.
    pub fn architecture(&self) -> Result<Architecture, ConfigError> {
        if !self.layers.is_empty() && !self.hidden.is_empty() {
            return Err(ConfigError::TwoDescriptions);
        }
        if let (false, Some(field)) = (self.layers.is_empty(), self.for_all_layers()) {
            return Err(ConfigError::ForAllLayers { field });
        }
        // Also where there is no hidden layer that they are for.
        rate("dropout", self.dropout)?;
        positive("norm_epsilon", self.norm_epsilon)?;
        finite("leaky_slope", self.leaky_slope)?;
        let architecture = self.expanded();
        architecture.validate()?;
        Ok(architecture)
    }

    /// The first field that goes for all layers of `hidden` and is not what it is by default.
    fn for_all_layers(&self) -> Option<&'static str> {
        let usual = Self::default();
        let fields = [
            ("activation", self.activation != usual.activation),
            ("leaky_slope", self.leaky_slope != usual.leaky_slope),
            ("dropout", self.dropout != usual.dropout),
            ("norm", self.norm != usual.norm),
            ("norm_epsilon", self.norm_epsilon != usual.norm_epsilon),
            ("parametric", self.parametric),
            ("residual", self.residual),
        ];
        fields.into_iter().find(|(_, is_set)| *is_set).map(|(field, _)| field)
    }

    /// The network layer by layer, whether it can be or not.
    pub(crate) fn expanded(&self) -> Architecture {
        Architecture {
            input_shape: self.input_shape.clone(),
            front: self.front.clone(),
            scaling: self.scaling,
            ensemble: self.ensemble,
            input_dropout: self.input_dropout,
            hidden: if self.layers.is_empty() { self.alike() } else { self.layers.clone() },
            outputs: self.outputs,
            output_bias: self.output_bias,
            parametrization: self.parametrization,
            initializer: self.initializer,
            bias_initializer: self.bias_initializer,
            zero_output: self.zero_output,
            lora: self.lora.clone(),
            short: Short(self.layers.is_empty().then(|| Box::new(self.clone()))),
        }
    }

    /// The hidden layers that `hidden` gives the widths of.
    fn alike(&self) -> Vec<HiddenLayer> {
        let mut inputs = self.input_shape.iter().copied().fold(1, usize::saturating_mul);
        if !self.front.is_empty() {
            inputs = self.front.iter().map(FrontPart::width).fold(0, usize::saturating_add);
        }
        let mut layers = Vec::new();
        for &width in &self.hidden {
            let is_skipped = self.residual && inputs == width;
            layers.push(HiddenLayer {
                width,
                activation: self.activation,
                leaky_slope: self.leaky_slope,
                parametric: self.parametric,
                norm: self.norm,
                norm_epsilon: self.norm_epsilon,
                dropout: self.dropout,
                skip: is_skipped.then_some(Skip { span: 1, position: SkipPosition::Output }),
                ..HiddenLayer::default()
            });
            inputs = width;
        }
        layers
    }
}

impl From<&Architecture> for MlpConfig {
    /// The short way to describe a network, if its hidden layers are alike.
    fn from(network: &Architecture) -> Self {
        if let Some(short) = &network.short.0 {
            let now = Self::clone(short).around(network);
            if now.expanded() == *network {
                return now;
            }
        }
        let hidden = network.hidden.clone();
        let common = Self { hidden: Vec::new(), ..Self::default() }.around(network);
        let Some(first) = hidden.first() else { return common };
        let alike = Self {
            hidden: hidden.iter().map(|layer| layer.width).collect(),
            activation: first.activation,
            leaky_slope: first.leaky_slope,
            parametric: first.parametric,
            dropout: first.dropout,
            norm: first.norm,
            norm_epsilon: first.norm_epsilon,
            residual: hidden.iter().any(|layer| layer.skip.is_some()),
            ..common.clone()
        };
        if alike.alike() == hidden { alike } else { Self { layers: hidden, ..common } }
    }
}

impl MlpConfig {
    /// The same hidden layers, with everything around them as in a network.
    fn around(self, network: &Architecture) -> Self {
        let Architecture { input_shape, front, lora, .. } = network.clone();
        Self {
            input_shape,
            front,
            scaling: network.scaling,
            ensemble: network.ensemble,
            input_dropout: network.input_dropout,
            outputs: network.outputs,
            output_bias: network.output_bias,
            parametrization: network.parametrization,
            initializer: network.initializer,
            bias_initializer: network.bias_initializer,
            zero_output: network.zero_output,
            lora,
            ..self
        }
    }
}

pub(crate) fn sizes(field: &'static str, sizes: &[usize]) -> Result<(), ConfigError> {
    match sizes.iter().position(|&size| size == 0) {
        Some(index) => Err(ConfigError::ZeroSize { field, index }),
        None => Ok(()),
    }
}

pub(crate) fn rate(field: &'static str, found: f64) -> Result<(), ConfigError> {
    if (0.0..1.0).contains(&found) { Ok(()) } else { Err(ConfigError::NotARate { field, found }) }
}

pub(crate) fn finite(field: &'static str, found: f64) -> Result<(), ConfigError> {
    if found.is_finite() { Ok(()) } else { Err(ConfigError::NotFinite { field, found }) }
}

pub(crate) fn positive(field: &'static str, found: f64) -> Result<(), ConfigError> {
    if found > 0.0 && found.is_finite() {
        Ok(())
    } else {
        Err(ConfigError::NotPositive { field, found })
    }
}

/// Why a network cannot be built as described.
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
    /// Both the widths of layers that are alike and layers one by one.
    #[error("hidden and layers both describe the hidden layers; leave one of them out")]
    TwoDescriptions,
    /// Something for all layers, beside layers one by one.
    #[error("{field} goes for the layers of hidden, which are alike; set it in each of the layers")]
    ForAllLayers {
        /// The field.
        field: &'static str,
    },
    /// A skip connection spans no layer, or more than there are before it.
    #[error("layers: the skip connection of layer {layer} spans {}; it can span 1 to {}", counted(*span as u64, "layer"), layer + 1)]
    SkipSpan {
        /// The hidden layer, from 0.
        layer: usize,
        /// Layers that it spans.
        span: usize,
    },
    /// A skip connection adds numbers to another count of numbers.
    #[error(
        "layers: the skip connection of layer {layer} spans {} and adds {} to {expected}; both ends \
         must be equally wide",
        counted(*span as u64, "layer"),
        counted(*found as u64, "number")
    )]
    SkipWidth {
        /// The hidden layer, from 0.
        layer: usize,
        /// Layers that it spans.
        span: usize,
        /// Width of what is added.
        found: usize,
        /// Width of the layer.
        expected: usize,
    },
    /// A periodic part of the front stage has room for the number alone.
    #[error("front: part {part} is periodic with the width {found}; it must be at least 2")]
    PeriodicWidth {
        /// The part, from 0.
        part: usize,
        /// Its width.
        found: usize,
    },
    /// The parts of the front stage take another number of columns than rows have.
    #[error("front: its parts take {}, and a row has {expected}", counted(*found as u64, "column"))]
    FrontColumns {
        /// Columns of all parts.
        found: usize,
        /// Columns of a row.
        expected: usize,
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
    use crate::Average;

    #[test]
    fn a_bad_field_is_named() {
        let good = MlpConfig::new([28, 28], [128], 10);
        assert!(good.architecture().is_ok());
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
            (
                MlpConfig { front: vec![FrontPart::Pass { columns: 3 }], ..good.clone() },
                ConfigError::FrontColumns { found: 3, expected: 784 },
            ),
            (
                MlpConfig { front: vec![periodic(784, 3, 1, 0.1)], ..good.clone() },
                ConfigError::PeriodicWidth { part: 0, found: 1 },
            ),
            (
                MlpConfig { front: vec![periodic(784, 3, 4, f64::INFINITY)], ..good.clone() },
                ConfigError::NotPositive { field: "front.sigma", found: f64::INFINITY },
            ),
            (
                MlpConfig { front: vec![periodic(784, usize::MAX, 4, 0.1)], ..good.clone() },
                ConfigError::TooLarge,
            ),
            (
                MlpConfig {
                    front: vec![FrontPart::Embedding { levels: usize::MAX / 4, width: 4 }],
                    ..good.clone()
                },
                ConfigError::TooLarge,
            ),
            (
                MlpConfig { ensemble: ensemble(0), ..good.clone() },
                ConfigError::ZeroSize { field: "ensemble.members", index: 0 },
            ),
            (
                MlpConfig { ensemble: ensemble(usize::MAX / 8), ..good.clone() },
                ConfigError::TooLarge,
            ),
            (MlpConfig { input_shape: vec![1 << 40; 4], ..good }, ConfigError::TooLarge),
        ];
        for (config, expected) in cases {
            assert_eq!(config.architecture(), Err(expected));
        }
        let nan = MlpConfig { dropout: f64::NAN, ..MlpConfig::new([1], [], 1) };
        assert!(nan.architecture().is_err());
    }

    fn periodic(columns: usize, frequencies: usize, width: usize, sigma: f64) -> FrontPart {
        FrontPart::Periodic { columns, frequencies, width, sigma }
    }

    fn ensemble(members: usize) -> Option<Ensemble> {
        Some(Ensemble { members, average: Average::Outputs })
    }

    fn lora(layers: &[usize], rank: usize) -> Lora {
        let layers = layers.to_vec();
        Lora { layers, rank, alpha: 16.0, dropout: 0.0, rank_stabilized: false }
    }

    #[test]
    fn hidden_builds_what_the_table_says() {
        let sizes = |hidden: &[usize]| {
            MlpConfig::new([28, 28], hidden, 10).architecture().unwrap().layer_sizes()
        };
        assert_eq!(sizes(&[]), [[784, 10]]);
        assert_eq!(sizes(&[128]), [[784, 128], [128, 10]]);
        assert_eq!(sizes(&[300, 100]), [[784, 300], [300, 100], [100, 10]]);
    }
}
