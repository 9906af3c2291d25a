//! The paths of parameters, made and taken apart in one place.

use std::fmt;
use std::str::FromStr;

/// The path of a parameter or running statistic, such as `layers.0.weight`: its name in files,
/// patterns, plans and messages alike.
///
/// ```
/// use fireclay_model::ParameterPath;
///
/// let path: ParameterPath = "layers.2.bias".parse()?;
/// assert_eq!(path, ParameterPath::Bias(2));
/// assert_eq!(path.to_string(), "layers.2.bias");
/// # Ok::<(), fireclay_model::UnknownParameter>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParameterPath {
    /// The weights of a linear layer, `[outputs, inputs]` in a file.
    Weight(usize),
    /// The biases of a linear layer, `[outputs]`.
    Bias(usize),
    /// A part of the norm of a hidden layer, `[width]`.
    Norm(usize, NormPart),
    /// A matrix of the adapter of a linear layer.
    Adapter(usize, AdapterSide),
    /// The weight of a parametric activation of a hidden layer, `[width]`.
    Activation(usize),
    /// A parameter of a part of the front stage.
    Front(usize, FrontParameter),
    /// The scale of each input of the first layer, `[width]`.
    Scaling,
    /// The scales of each member of an ensemble, `[members, width]`.
    Members,
}

/// A parameter of a part of the front stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrontParameter {
    /// The vectors of an embedding, `[levels, width]`, or of a bag, `[terms, width]`, or the linear
    /// map of each column, `[columns, width - 1, frequencies]`.
    Weight,
    /// The biases of that linear map, `[columns, width - 1]`, or of a bag, `[width]`.
    Bias,
    /// The frequencies of each column, `[columns, frequencies]`.
    Frequency,
    /// The phases of each column, `[columns, frequencies]`.
    Phase,
}

/// A part of a norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NormPart {
    /// Scale of each feature.
    Weight,
    /// Shift of each feature.
    Bias,
    /// Running mean of each feature; batch normalisation only, never trained.
    RunningMean,
    /// Running variance of each feature; batch normalisation only, never trained.
    RunningVar,
}

/// The two matrices of a low-rank adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdapterSide {
    /// From the layer's inputs to the rank, `[rank, inputs]` in a file.
    A,
    /// From the rank to the layer's outputs, `[outputs, rank]` in a file.
    B,
}

impl ParameterPath {
    /// The linear layer that it belongs to, from 0 at the input; the first, of what precedes it.
    pub fn layer(self) -> usize {
        match self {
            Self::Weight(i)
            | Self::Bias(i)
            | Self::Norm(i, _)
            | Self::Adapter(i, _)
            | Self::Activation(i) => i,
            Self::Front(..) | Self::Scaling | Self::Members => 0,
        }
    }

    /// Returns true if it is a matrix that rows are multiplied with, which is used turned:
    /// `[inputs, outputs]`.
    pub fn is_linear(self) -> bool {
        matches!(self, Self::Weight(_) | Self::Adapter(..))
    }

    /// Returns true if weight decay is for it: a matrix, or the weights of the front stage.
    pub fn decays(self) -> bool {
        self.is_linear() || matches!(self, Self::Front(_, FrontParameter::Weight))
    }

    /// Returns true if it is trained, unless it is frozen; running statistics never are.
    pub fn is_trainable(self) -> bool {
        !matches!(self, Self::Norm(_, NormPart::RunningMean | NormPart::RunningVar))
    }
}

impl fmt::Display for ParameterPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(i) => write!(f, "layers.{i}.weight"),
            Self::Bias(i) => write!(f, "layers.{i}.bias"),
            Self::Norm(i, part) => write!(f, "norms.{i}.{}", part.name()),
            Self::Adapter(i, AdapterSide::A) => write!(f, "adapters.{i}.a"),
            Self::Adapter(i, AdapterSide::B) => write!(f, "adapters.{i}.b"),
            Self::Activation(i) => write!(f, "activations.{i}.weight"),
            Self::Front(i, parameter) => write!(f, "front.{i}.{}", parameter.name()),
            Self::Scaling => f.write_str("scaling.weight"),
            Self::Members => f.write_str("members.weight"),
        }
    }
}

impl FrontParameter {
    const ALL: [Self; 4] = [Self::Weight, Self::Bias, Self::Frequency, Self::Phase];

    fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::Frequency => "frequency",
            Self::Phase => "phase",
        }
    }
}

impl NormPart {
    fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::RunningMean => "running_mean",
            Self::RunningVar => "running_var",
        }
    }
}

/// A text that is no parameter's path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not the path of a parameter, such as `layers.0.weight`")]
pub struct UnknownParameter {
    /// The text.
    pub found: String,
}

impl FromStr for ParameterPath {
    type Err = UnknownParameter;

    fn from_str(text: &str) -> Result<Self, UnknownParameter> {
        let path = parse(text).filter(|path| path.to_string() == text);
        path.ok_or_else(|| UnknownParameter { found: text.to_owned() })
    }
}

/// Reads a path, and more loosely than it is written: `layers.00.weight` too.
fn parse(text: &str) -> Option<ParameterPath> {
    let (kind, rest) = text.split_once('.')?;
    match text {
        "scaling.weight" => return Some(ParameterPath::Scaling),
        "members.weight" => return Some(ParameterPath::Members),
        _ => {}
    }
    let (layer, part) = rest.split_once('.')?;
    let layer = layer.parse().ok()?;
    Some(match (kind, part) {
        ("layers", "weight") => ParameterPath::Weight(layer),
        ("layers", "bias") => ParameterPath::Bias(layer),
        ("norms", "weight") => ParameterPath::Norm(layer, NormPart::Weight),
        ("norms", "bias") => ParameterPath::Norm(layer, NormPart::Bias),
        ("norms", "running_mean") => ParameterPath::Norm(layer, NormPart::RunningMean),
        ("norms", "running_var") => ParameterPath::Norm(layer, NormPart::RunningVar),
        ("adapters", "a") => ParameterPath::Adapter(layer, AdapterSide::A),
        ("adapters", "b") => ParameterPath::Adapter(layer, AdapterSide::B),
        ("activations", "weight") => ParameterPath::Activation(layer),
        ("front", part) => {
            let mut all = FrontParameter::ALL.into_iter();
            ParameterPath::Front(layer, all.find(|parameter| parameter.name() == part)?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Average, Ensemble, FrontPart, Lora, MlpConfig, Norm};

    #[test]
    fn every_tensor_of_a_network_has_a_path_that_reads_back() {
        let lora =
            Lora { layers: vec![0, 2], rank: 2, alpha: 1.0, dropout: 0.0, rank_stabilized: false };
        let config = MlpConfig { norm: Norm::Batch, ..MlpConfig::new([3], vec![4; 11], 2) };
        let config = MlpConfig { lora: Some(lora), ..config };
        for (path, _) in config.architecture().unwrap().tensors() {
            let name = path.to_string();
            assert_eq!(name.parse(), Ok(path));
            assert_eq!(path.is_trainable(), !name.contains("running"));
            assert_eq!(name.split('.').nth(1), Some(path.layer().to_string().as_str()));
        }
    }

    #[test]
    fn paths_before_the_first_layer_read_back() {
        let periodic = FrontPart::Periodic { columns: 2, frequencies: 3, width: 4, sigma: 0.1 };
        let config = MlpConfig {
            front: vec![FrontPart::Embedding { levels: 5, width: 2 }, periodic],
            scaling: true,
            parametric: true,
            ensemble: Some(Ensemble { members: 2, average: Average::Softmax }),
            ..MlpConfig::new([3], [4], 2)
        };
        let names: Vec<String> = config
            .architecture()
            .unwrap()
            .tensors()
            .iter()
            .map(|(path, _)| {
                assert_eq!(path.to_string().parse(), Ok(*path));
                path.to_string()
            })
            .collect();
        for name in [
            "front.0.weight",
            "front.1.frequency",
            "front.1.phase",
            "front.1.weight",
            "front.1.bias",
            "scaling.weight",
            "members.weight",
            "activations.0.weight",
        ] {
            assert!(names.contains(&name.to_owned()), "{name} {names:?}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "layers",
            "layers.0",
            "layers.x.weight",
            "layers.00.weight",
            "layers.+1.bias",
            "layers.0.gamma",
            "norms.0.a",
            "adapters.1.c",
            "layers.0.weight.",
            "run.layers.0.weight",
            "front.0.gamma",
            "scaling.0.weight",
            "members",
        ] {
            let error = text.parse::<ParameterPath>().unwrap_err();
            assert_eq!(error.found, text);
        }
    }
}
