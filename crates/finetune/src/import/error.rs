//! Why a file does not become a model.

use fireclay::{ConfigError, ModelFileError, ModelFileProblem, PreprocessingError};
use fireclay_formats::FormatError;

/// Why a file does not become a model.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file of another program that can not be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A model file of ours that can not be read.
    #[error(transparent)]
    Model(#[from] ModelFileError),
    /// The model that was made can not be used.
    #[error(transparent)]
    Problem(#[from] ModelFileProblem),
    /// The network would be impossible.
    #[error("the network in the file is impossible: {0}")]
    Config(#[from] ConfigError),
    /// The preprocessing does not fit.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// Something that the file does not say has to be said.
    #[error("the file does not say {what}; say it with {flag}")]
    Unsaid {
        /// What has to be known.
        what: String,
        /// How to say it.
        flag: String,
    },
    /// The order of the layers is not told by names and shapes.
    #[error(
        "neither names nor shapes tell the order of the layers {}; rename them with --map, or take \
         the order of the file with --by-order",
        layers.join(", ")
    )]
    Ambiguous {
        /// The layers, in the order of the file.
        layers: Vec<String>,
    },
    /// The layers do not follow each other.
    #[error("the weights do not make a chain of layers: {}; {hint}", found.join(", "))]
    NoChain {
        /// Each weight and its shape.
        found: Vec<String>,
        /// What may help.
        hint: String,
    },
    /// There is no layer at all.
    #[error(
        "the file has no weight matrix: none of its {tensors} tensors has two dimensions and a name \
         that ends in weight or kernel; rename them with --map, or take the order of the file with \
         --by-order"
    )]
    NoLayers {
        /// Tensors in the file.
        tensors: usize,
    },
    /// A parameter that the network needs is not in the file.
    #[error(
        "{path} is not in the file{}; if that is as it should be, add --allow-missing {path}",
        nearest.as_ref().map_or(String::new(), |n| format!(", which has a {n} that is not used"))
    )]
    Missing {
        /// The path of the parameter.
        path: String,
        /// A tensor of the file with a similar name and no place.
        nearest: Option<String>,
    },
    /// Tensors of the file have no place in the network.
    #[error(
        "the file has tensors without a place in the network: {}; if they may be left out, add \
         --allow-unused {}",
        names.join(", "),
        names.first().map_or("", String::as_str)
    )]
    Unused {
        /// Their names.
        names: Vec<String>,
    },
    /// A tensor has another shape than its place.
    #[error("tensor {name} is {found:?}, and its place {path} needs {expected:?}")]
    Shape {
        /// Its name in the file.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The path of the parameter.
        path: String,
        /// The shape of the parameter, as the file should have it.
        expected: Vec<usize>,
    },
    /// A number that is not finite.
    #[error("tensor {name} has a number that is not finite, so nothing can be learned from it")]
    NotFinite {
        /// Its name in the file.
        name: String,
    },
    /// A network that is no multilayer perceptron of ours.
    #[error("{what}; {why}")]
    Unsupported {
        /// What was found.
        what: String,
        /// Why it can not be, and what to do.
        why: String,
    },
}

impl ImportError {
    pub(super) fn unsupported(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), why: why.into() }
    }
}
