//! An architecture as model files have it: strict, and apart from the settings of a run.

use serde::{Deserialize, Serialize};

use crate::config::is_default;
use crate::{
    Activation, Architecture, BiasInitializer, Ensemble, FrontPart, HiddenLayer, Initializer,
    LEAKY_SLOPE, Lora, MlpConfig, NORM_EPSILON, Norm, NormPosition, Parametrization, Short, Skip,
};

/// Version 1: hidden layers that are alike.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchitectureV1 {
    input_shape: Vec<usize>,
    outputs: usize,
    hidden: Vec<usize>,
    activation: Activation,
    #[serde(default = "leaky_slope", skip_serializing_if = "is_leaky_slope")]
    leaky_slope: f64,
    dropout: f64,
    input_dropout: f64,
    norm: NormV1,
    #[serde(default = "norm_epsilon", skip_serializing_if = "is_norm_epsilon")]
    norm_epsilon: f64,
    residual: bool,
    initializer: Initializer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lora: Option<Lora>,
}

/// The norms of version 1.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NormV1 {
    None,
    Batch,
    Layer,
}

impl NormV1 {
    fn of(norm: Norm) -> Option<Self> {
        match norm {
            Norm::None => Some(Self::None),
            Norm::Batch => Some(Self::Batch),
            Norm::Layer => Some(Self::Layer),
            Norm::Rms => None,
        }
    }
}

impl From<NormV1> for Norm {
    fn from(norm: NormV1) -> Self {
        match norm {
            NormV1::None => Self::None,
            NormV1::Batch => Self::Batch,
            NormV1::Layer => Self::Layer,
        }
    }
}

fn leaky_slope() -> f64 {
    LEAKY_SLOPE
}

fn is_leaky_slope(slope: &f64) -> bool {
    *slope == LEAKY_SLOPE
}

fn norm_epsilon() -> f64 {
    NORM_EPSILON
}

fn is_norm_epsilon(epsilon: &f64) -> bool {
    *epsilon == NORM_EPSILON
}

impl ArchitectureV1 {
    /// Of a network that this version can describe.
    pub(crate) fn of(network: &Architecture) -> Option<Self> {
        if network.needs_version_3() {
            return None;
        }
        let config = MlpConfig::from(network);
        if !config.layers.is_empty() || !config.output_bias {
            return None;
        }
        let MlpConfig { input_shape, outputs, hidden, activation, leaky_slope, dropout, .. } =
            config;
        let MlpConfig { input_dropout, norm, norm_epsilon, residual, initializer, lora, .. } =
            MlpConfig::from(network);
        Some(Self {
            input_shape,
            outputs,
            hidden,
            activation,
            leaky_slope,
            dropout,
            input_dropout,
            norm: NormV1::of(norm)?,
            norm_epsilon,
            residual,
            initializer,
            lora,
        })
    }
}

impl From<ArchitectureV1> for Architecture {
    fn from(record: ArchitectureV1) -> Self {
        let ArchitectureV1 { input_shape, outputs, hidden, activation, leaky_slope, .. } = record;
        MlpConfig {
            input_shape,
            outputs,
            hidden,
            activation,
            leaky_slope,
            dropout: record.dropout,
            input_dropout: record.input_dropout,
            norm: record.norm.into(),
            norm_epsilon: record.norm_epsilon,
            residual: record.residual,
            initializer: record.initializer,
            lora: record.lora,
            ..MlpConfig::default()
        }
        .expanded()
    }
}

/// Since version 2: every hidden layer by itself. Later fields are optional, and
/// [`oldest_version`](super::document::Described::oldest_version) knows the version that has them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchitectureV2 {
    input_shape: Vec<usize>,
    input_dropout: f64,
    hidden: Vec<LayerV2>,
    outputs: usize,
    output_bias: bool,
    initializer: Initializer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lora: Option<Lora>,
    #[serde(default, skip_serializing_if = "is_default")]
    front: Vec<FrontPart>,
    #[serde(default, skip_serializing_if = "is_default")]
    scaling: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    ensemble: Option<Ensemble>,
    #[serde(default, skip_serializing_if = "is_default")]
    parametrization: Parametrization,
    #[serde(default, skip_serializing_if = "is_default")]
    bias_initializer: BiasInitializer,
    #[serde(default, skip_serializing_if = "is_default")]
    zero_output: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerV2 {
    width: usize,
    activation: Activation,
    leaky_slope: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    parametric: bool,
    norm: Norm,
    norm_position: NormPosition,
    norm_epsilon: f64,
    dropout: f64,
    bias: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skip: Option<Skip>,
}

impl From<HiddenLayer> for LayerV2 {
    fn from(layer: HiddenLayer) -> Self {
        Self {
            width: layer.width,
            activation: layer.activation,
            leaky_slope: layer.leaky_slope,
            parametric: layer.parametric,
            norm: layer.norm,
            norm_position: layer.norm_position,
            norm_epsilon: layer.norm_epsilon,
            dropout: layer.dropout,
            bias: layer.bias,
            skip: layer.skip,
        }
    }
}

impl From<LayerV2> for HiddenLayer {
    fn from(record: LayerV2) -> Self {
        Self {
            width: record.width,
            activation: record.activation,
            leaky_slope: record.leaky_slope,
            parametric: record.parametric,
            norm: record.norm,
            norm_position: record.norm_position,
            norm_epsilon: record.norm_epsilon,
            dropout: record.dropout,
            bias: record.bias,
            skip: record.skip,
        }
    }
}

impl From<&Architecture> for ArchitectureV2 {
    fn from(network: &Architecture) -> Self {
        let Architecture { input_shape, front, hidden, lora, .. } = network.clone();
        Self {
            input_shape,
            input_dropout: network.input_dropout,
            hidden: hidden.into_iter().map(LayerV2::from).collect(),
            outputs: network.outputs,
            output_bias: network.output_bias,
            initializer: network.initializer,
            lora,
            front,
            scaling: network.scaling,
            ensemble: network.ensemble,
            parametrization: network.parametrization,
            bias_initializer: network.bias_initializer,
            zero_output: network.zero_output,
        }
    }
}

impl From<ArchitectureV2> for Architecture {
    fn from(record: ArchitectureV2) -> Self {
        Self {
            input_shape: record.input_shape,
            input_dropout: record.input_dropout,
            hidden: record.hidden.into_iter().map(HiddenLayer::from).collect(),
            outputs: record.outputs,
            output_bias: record.output_bias,
            initializer: record.initializer,
            lora: record.lora,
            front: record.front,
            scaling: record.scaling,
            ensemble: record.ensemble,
            parametrization: record.parametrization,
            bias_initializer: record.bias_initializer,
            zero_output: record.zero_output,
            short: Short::default(),
        }
    }
}

/// The architecture of any version.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ArchitectureRecord {
    V1(ArchitectureV1),
    V2(ArchitectureV2),
}

impl ArchitectureRecord {
    /// As this version has it.
    pub(crate) fn of(network: &Architecture, version: u32) -> Self {
        let oldest = ArchitectureV1::of(network).filter(|_| version == 1);
        oldest.map_or_else(|| Self::V2(network.into()), Self::V1)
    }
}
