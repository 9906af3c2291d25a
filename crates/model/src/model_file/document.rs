//! The JSON document of a model file.

use std::collections::BTreeMap;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, ModelFileProblem};
use crate::{Description, MlpConfig, Pictures, Preprocessing, Provenance, Task};

/// The JSON document of a model file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) version: u32,
    pub(super) architecture: MlpConfig,
    pub(super) task: Task,
    pub(super) preprocessing: Preprocessing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pictures: Option<Pictures>,
    #[serde(default)]
    pub(super) provenance: Provenance,
    /// Of a checkpoint only: the state of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<serde_json::Value>,
}

impl Document {
    /// That of a model without a run.
    pub(super) fn of(model: &Description) -> Self {
        let Description { architecture, task, preprocessing, pictures, provenance } = model.clone();
        Self {
            version: FORMAT_VERSION,
            architecture,
            task,
            preprocessing,
            pictures,
            provenance: provenance.with_finite_metrics(),
            run: None,
        }
    }

    /// The model that it describes.
    pub(super) fn description(self) -> Description {
        let Self { architecture, task, preprocessing, pictures, provenance, .. } = self;
        Description { architecture, task, preprocessing, pictures, provenance }
    }

    /// Reads the text of the file's metadata.
    pub(super) fn read(text: &str) -> Result<Self, ModelFileProblem> {
        check_version(text)?;
        let document = serde_json::from_str::<Self>(text)?;
        check_whole(text)?;
        Ok(document)
    }

    pub(super) fn validate(&self) -> Result<(), ModelFileProblem> {
        self.architecture.validate()?;
        self.preprocessing.validate(self.architecture.inputs())?;
        if let Some(pictures) = &self.pictures {
            pictures.validate(&self.architecture.input_shape)?;
        }
        let (names, outputs) = (self.task.outputs(), self.architecture.outputs);
        if names == outputs { Ok(()) } else { Err(ModelFileProblem::Outputs { names, outputs }) }
    }
}

/// The version is read before the rest, whose meaning depends on it.
fn check_version(text: &str) -> Result<(), ModelFileProblem> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_str(text)?;
    if (1..=FORMAT_VERSION).contains(&version) {
        Ok(())
    } else {
        Err(ModelFileProblem::Version { found: version, newest: FORMAT_VERSION })
    }
}

/// The architecture must say all that a writer says of one: what is missing has a default in
/// settings, but a file that lacks it is not of a network that anybody saved.
fn check_whole(text: &str) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Outline {
        architecture: BTreeMap<String, IgnoredAny>,
    }
    let Outline { architecture } = serde_json::from_str(text)?;
    let written = serde_json::to_value(MlpConfig::default())?;
    let mut fields = written.as_object().into_iter().flat_map(serde_json::Map::keys);
    match fields.find(|field| !architecture.contains_key(*field)) {
        Some(field) => {
            Err(serde_json::Error::custom(format!("architecture: missing field `{field}`")))
        }
        None => Ok(()),
    }
}
