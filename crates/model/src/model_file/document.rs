//! The JSON document of a model file.

use serde::{Deserialize, Serialize};

use super::record::{ArchitectureRecord, ArchitectureV1, ArchitectureV2};
use super::{FORMAT_VERSION, ModelFileProblem};
use crate::{Architecture, ConfigError, Description, Pictures, Preprocessing, Provenance, Task};

/// What a model file says of its model, and of the run that it is a checkpoint of.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) model: Description,
    /// Of a checkpoint only: the state of the run.
    pub(super) run: Option<serde_json::Value>,
}

/// The document as it is written.
#[derive(Serialize, Deserialize)]
struct Record<A> {
    version: u32,
    architecture: A,
    task: Task,
    preprocessing: Preprocessing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pictures: Option<Pictures>,
    #[serde(default)]
    provenance: Provenance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<serde_json::Value>,
}

impl Document {
    /// Reads and checks the text of the file's metadata.
    pub(super) fn read(text: &str) -> Result<Self, ModelFileProblem> {
        match version(text, FORMAT_VERSION)? {
            1 => Self::of_record(serde_json::from_str::<Record<ArchitectureV1>>(text)?),
            _ => Self::of_record(serde_json::from_str::<Record<ArchitectureV2>>(text)?),
        }
    }

    fn of_record<A>(record: Record<A>) -> Result<Self, ModelFileProblem>
    where
        Architecture: TryFrom<A, Error = ConfigError>,
    {
        let Record { architecture, task, preprocessing, pictures, provenance, run, .. } = record;
        let architecture = Architecture::try_from(architecture)?;
        let model = Description { architecture, task, preprocessing, pictures, provenance };
        model.validate()?;
        Ok(Self { model, run })
    }

    /// The text that is written, the same for the same document.
    pub(super) fn write(&self) -> Result<String, ModelFileProblem> {
        let Description { architecture, task, preprocessing, pictures, provenance } =
            self.model.clone();
        let architecture = ArchitectureRecord::of(&architecture);
        let record = Record {
            version: architecture.version(),
            architecture,
            task,
            preprocessing,
            pictures,
            provenance: provenance.with_finite_metrics(),
            run: self.run.clone(),
        };
        Ok(serde_json::to_string(&record)?)
    }
}

/// The version is read before the rest, whose meaning depends on it.
pub(crate) fn version(text: &str, newest: u32) -> Result<u32, ModelFileProblem> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version: found } = serde_json::from_str(text)?;
    if (1..=newest).contains(&found) {
        Ok(found)
    } else {
        Err(ModelFileProblem::Version { found, newest })
    }
}
