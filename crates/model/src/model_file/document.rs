//! The JSON document of a model file.

use std::collections::BTreeMap;

use fireclay_files::Dtype;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::record::{ArchitectureRecord, ArchitectureV1, ArchitectureV2};
use super::{FORMAT_VERSION, ModelFileProblem, encoded};
use crate::{
    Architecture, Description, Encoding, ParameterPath, Pictures, Preprocessing, Provenance, Task,
};

/// What a model file says of its model, and of the run that it is a checkpoint of.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// Of the file that was read.
    version: u32,
    pub(super) model: Description,
    /// The weight matrices that are not of type `F32`.
    pub(super) encodings: BTreeMap<ParameterPath, Encoding>,
    /// Of a checkpoint only: the state of the run.
    pub(super) run: Option<serde_json::Value>,
}

/// The document as it is written.
#[derive(Serialize, Deserialize)]
struct Record<A> {
    version: u32,
    architecture: A,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    encodings: BTreeMap<String, Encoding>,
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
    /// That of a model, and of a run if there is one.
    pub(super) fn new(
        model: Description,
        encodings: BTreeMap<ParameterPath, Encoding>,
        run: Option<serde_json::Value>,
    ) -> Self {
        Self { version: FORMAT_VERSION, model, encodings, run }
    }

    /// Reads the text of the file's metadata.
    pub(super) fn read(text: &str) -> Result<Self, ModelFileProblem> {
        match version(text, FORMAT_VERSION)? {
            1 => Self::of_record(serde_json::from_str::<Record<ArchitectureV1>>(text)?),
            _ => Self::of_record(serde_json::from_str::<Record<ArchitectureV2>>(text)?),
        }
    }

    fn of_record<A>(record: Record<A>) -> Result<Self, ModelFileProblem>
    where
        Architecture: From<A>,
    {
        let Record {
            version,
            architecture,
            encodings,
            task,
            preprocessing,
            pictures,
            provenance,
            run,
        } = record;
        let encodings = encodings.into_iter().map(|(path, encoding)| {
            let path = path.parse::<ParameterPath>().map_err(serde_json::Error::custom)?;
            Ok((path, encoding))
        });
        let encodings = encodings.collect::<Result<_, ModelFileProblem>>()?;
        let architecture = Architecture::from(architecture);
        let model = Description { architecture, task, preprocessing, pictures, provenance };
        Ok(Self { version, model, encodings, run })
    }

    /// Checks everything but the weights. Version 1 has no target scaling, and it and checkpoints have
    /// no encodings.
    pub(super) fn validate(&self) -> Result<(), ModelFileProblem> {
        self.model.validate()?;
        check_scaling(self.version, &self.model.task)?;
        match self.encodings.first_key_value() {
            Some((&path, _)) if self.version == 1 || self.run.is_some() => {
                Err(ModelFileProblem::EncodedPath { path })
            }
            _ => Ok(()),
        }
    }

    /// The type that a tensor of the file has.
    pub(super) fn dtype(&self, name: &str) -> Dtype {
        let encoding = name.parse().ok().and_then(|path| self.encodings.get(&path));
        encoding.map_or(Dtype::F32, |&encoding| encoded::dtype(encoding))
    }

    /// The text that is written, the same for the same document.
    pub(super) fn write(&self) -> Result<String, ModelFileProblem> {
        let Description { architecture, task, preprocessing, pictures, provenance } =
            self.model.clone();
        let architecture = if self.encodings.is_empty() {
            ArchitectureRecord::of(&architecture, &task)
        } else {
            ArchitectureRecord::V2((&architecture).into())
        };
        let encodings = self.encodings.iter().map(|(path, &encoding)| (path.to_string(), encoding));
        let record = Record {
            version: architecture.version(),
            architecture,
            encodings: encodings.collect(),
            task,
            preprocessing,
            pictures,
            provenance: provenance.with_finite_metrics(),
            run: self.run.clone(),
        };
        Ok(serde_json::to_string(&record)?)
    }
}

/// Makes sure that a task has nothing that the version of its file does not have.
pub(crate) fn check_scaling(version: u32, task: &Task) -> Result<(), ModelFileProblem> {
    match task.scaling() {
        Some(_) if version == 1 => Err(ModelFileProblem::ScalingInVersion1),
        _ => Ok(()),
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
