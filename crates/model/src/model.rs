//! A model on the host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Architecture, Average, EncodedMatrix, Ensemble, FrontPart, InputError, InputSpec,
    ModelFileProblem, NamedTensor, ParameterPath, Task, Text,
};

/// A model on the host: what a model file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The description.
    pub description: Description,
    /// Every parameter and running statistic without an encoding, in the order of
    /// [`Architecture::tensors`].
    pub weights: Vec<NamedTensor>,
    /// The weight matrices that have an encoding.
    pub encoded: BTreeMap<ParameterPath, EncodedMatrix>,
}

/// The description of a model, apart from its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The network.
    pub architecture: Architecture,
    /// The meaning of the outputs.
    pub task: Task,
    /// The input for one row, and its encoding for the network.
    pub input: InputSpec,
    /// Where the model comes from.
    pub provenance: Provenance,
}

impl Description {
    /// Checks everything but the weights.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`] that names the first field at fault.
    pub fn validate(&self) -> Result<(), ModelFileProblem> {
        self.architecture.validate()?;
        self.input.validate_for(&self.architecture.input_shape)?;
        let found: Vec<usize> = self.input.texts().map(Text::terms).collect();
        let bags = self.architecture.front.iter().filter_map(FrontPart::terms);
        let expected: Vec<usize> = bags.collect();
        if found != expected {
            return Err(InputError::Bags { found, expected }.into());
        }
        self.task.validate()?;
        if let Some(Ensemble { average: found, .. }) = self.architecture.ensemble {
            let expected = Average::of(&self.task);
            if found != expected {
                return Err(ModelFileProblem::Average { found, expected });
            }
        }
        let (names, outputs) = (self.task.outputs(), self.architecture.outputs);
        if names == outputs { Ok(()) } else { Err(ModelFileProblem::Outputs { names, outputs }) }
    }
}

/// Where a model comes from. Everything is optional and nothing depends on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Program and version that wrote the file.
    pub program: String,
    /// Name of the data it was trained on.
    pub data: Option<String>,
    /// Settings it was trained with.
    pub settings: Option<serde_json::Value>,
    /// Digest of the model it was fine-tuned from.
    pub parent: Option<String>,
    /// That model and those before it, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Ancestor>,
    /// Final metrics by name, such as `test accuracy`.
    pub metrics: BTreeMap<String, f64>,
}

/// A model that another was fine-tuned from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ancestor {
    /// Digest of the model, or of the bytes of a file of another program.
    pub digest: String,
    /// The program that wrote it.
    pub program: String,
    /// Name of the data it was trained on.
    pub data: Option<String>,
}

impl Provenance {
    /// The name and the version of this program, as model files have them.
    pub const PROGRAM: &str = concat!("fireclay ", env!("CARGO_PKG_VERSION"));

    /// Without the metrics that JSON has no number for.
    pub(crate) fn with_finite_metrics(mut self) -> Self {
        self.metrics.retain(|_, value| value.is_finite());
        self
    }
}
