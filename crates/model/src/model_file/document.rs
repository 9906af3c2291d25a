//! The JSON document of a model file.

use std::collections::BTreeMap;

use fireclay_files::Dtype;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::record::{ArchitectureV1, ArchitectureV2};
use super::{FORMAT_VERSION, ModelFileProblem, encoded};
use crate::{
    Architecture, Description, Encoding, InputSpec, ParameterPath, Pictures, Preprocessing,
    Provenance, Sounds, Task,
};

/// The description of a model in its file, and of the run that it is a checkpoint of.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) model: Description,
    /// The weight matrices that are not of type `F32`.
    pub(super) encodings: BTreeMap<ParameterPath, Encoding>,
    /// Of a checkpoint only: the state of the run.
    pub(super) run: Option<serde_json::Value>,
}

/// The document of version 1, as it is written: hidden layers that are alike, and rows of numbers.
#[derive(Serialize, Deserialize)]
pub(super) struct RecordV1 {
    version: u32,
    architecture: ArchitectureV1,
    task: Task,
    preprocessing: Preprocessing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pictures: Option<Pictures>,
    #[serde(default)]
    provenance: Provenance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<serde_json::Value>,
}

/// The document of later versions. What version 2 does not have is optional, and [`Described`] knows
/// which version has it.
#[derive(Serialize, Deserialize)]
pub(super) struct RecordV2 {
    version: u32,
    architecture: ArchitectureV2,
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::strict::distinct_keys"
    )]
    encodings: BTreeMap<String, Encoding>,
    task: Task,
    /// Of one dense field by the usual name; otherwise there is `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preprocessing: Option<Preprocessing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pictures: Option<Pictures>,
    /// Since version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sounds: Option<Sounds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<InputSpec>,
    #[serde(default)]
    provenance: Provenance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<serde_json::Value>,
}

/// The document of a model as it is written.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Record {
    V1(Box<RecordV1>),
    V2(Box<RecordV2>),
}

impl Document {
    /// That of a model, and of a run if there is one.
    pub(super) fn new(
        model: Description,
        encodings: BTreeMap<ParameterPath, Encoding>,
        run: Option<serde_json::Value>,
    ) -> Self {
        Self { model, encodings, run }
    }

    /// Reads the text of the file's metadata.
    pub(super) fn read(text: &str) -> Result<Self, ModelFileProblem> {
        let version = version(text, FORMAT_VERSION)?;
        if let Some(members) = members(text)? {
            return Err(ModelFileProblem::Committee { members });
        }
        let document: Self = match version {
            1 => serde_json::from_str::<RecordV1>(text)?.into(),
            _ => serde_json::from_str::<RecordV2>(text)?.try_into()?,
        };
        document.described().check(version)?;
        Ok(document)
    }

    fn described(&self) -> Described<'_> {
        let Description { architecture, task, input, .. } = &self.model;
        let has_encodings = !self.encodings.is_empty();
        Described { architecture, task, input: Some(input), has_encodings }
    }

    /// Checks everything but the weights. Checkpoints have no encodings.
    pub(super) fn validate(&self) -> Result<(), ModelFileProblem> {
        self.model.validate()?;
        match self.encodings.first_key_value() {
            Some((&path, _)) if self.run.is_some() => Err(ModelFileProblem::EncodedPath { path }),
            _ => Ok(()),
        }
    }

    /// The type that a tensor of the file has.
    pub(super) fn dtype(&self, name: &str) -> Dtype {
        let encoding = name.parse().ok().and_then(|path| self.encodings.get(&path));
        encoding.map_or(Dtype::F32, |&encoding| encoded::dtype(encoding))
    }

    /// The text that is written, the same for the same document: in the oldest version that can
    /// describe it, so that a model has the same bytes, and the same digest, that older programs
    /// gave it.
    pub(super) fn write(&self) -> Result<String, ModelFileProblem> {
        Ok(serde_json::to_string(&self.record())?)
    }

    /// What is written.
    pub(super) fn record(&self) -> Record {
        let Description { architecture, task, input, provenance } = self.model.clone();
        let (provenance, run) = (provenance.with_finite_metrics(), self.run.clone());
        let sounds = input.as_features().and_then(|dense| dense.sounds);
        let (preprocessing, pictures, input) = match input.as_features() {
            Some(dense) => (Some(dense.preprocessing.clone()), dense.pictures, None),
            None => (None, None, Some(input)),
        };
        let (version, _) = self.described().oldest_version();
        let old = ArchitectureV1::of(&architecture).filter(|_| version == 1);
        if let Some((architecture, preprocessing)) = old.zip(preprocessing.clone()) {
            let record =
                RecordV1 { version, architecture, task, preprocessing, pictures, provenance, run };
            return Record::V1(Box::new(record));
        }
        let encodings = self.encodings.iter().map(|(path, &encoding)| (path.to_string(), encoding));
        Record::V2(Box::new(RecordV2 {
            version,
            architecture: (&architecture).into(),
            encodings: encodings.collect(),
            task,
            preprocessing,
            pictures,
            sounds,
            input,
            provenance,
            run,
        }))
    }
}

/// The parts of a model, or of an adapter, on which the version of its file depends.
pub(crate) struct Described<'a> {
    pub(crate) architecture: &'a Architecture,
    pub(crate) task: &'a Task,
    /// None in an adapter, whose input is that of the base.
    pub(crate) input: Option<&'a InputSpec>,
    /// True if a weight matrix has an encoding.
    pub(crate) has_encodings: bool,
}

impl Described<'_> {
    /// The oldest version that can describe the model, and the part that needs this version.
    ///
    /// A model is written in that version, so that it has the bytes, and the digest, that older
    /// programs gave it. What a version does not have is refused in files of that version.
    pub(crate) fn oldest_version(&self) -> (u32, &'static str) {
        let Self { architecture, task, input, has_encodings } = self;
        // Newest first: the first part that a model has decides.
        let parts = [
            (3, "a front stage, an ensemble or a parametrization", architecture.needs_version_3()),
            (
                3,
                "an encoding of columns, or features of recordings",
                input.is_some_and(InputSpec::needs_version_3),
            ),
            (3, "calibration or thresholds", task.decision().is_some_and(|d| !d.is_default())),
            (3, "quantiles or intervals", task.intervals().is_some_and(|i| !i.is_default())),
            (3, "targets in the logarithm", task.is_logarithmic()),
            (2, "named columns", input.is_some_and(|input| input.as_features().is_none())),
            (2, "a target scaling", task.scaling().is_some()),
            (2, "encoded weights", *has_encodings),
            (2, "hidden layers of several kinds", ArchitectureV1::of(architecture).is_none()),
        ];
        let newest = parts.into_iter().find(|(_, _, is_used)| *is_used);
        newest.map_or((1, "a network"), |(version, part, _)| (version, part))
    }

    /// Makes sure that a file of this version has nothing newer.
    pub(crate) fn check(&self, version: u32) -> Result<(), ModelFileProblem> {
        let (oldest, part) = self.oldest_version();
        if oldest <= version {
            Ok(())
        } else {
            Err(ModelFileProblem::NotInVersion { version, part })
        }
    }
}

impl From<RecordV1> for Document {
    fn from(record: RecordV1) -> Self {
        let RecordV1 { architecture, task, preprocessing, pictures, provenance, run, .. } = record;
        let architecture = Architecture::from(architecture);
        let input = InputSpec::dense(&architecture.input_shape, preprocessing);
        let input = input.with_pictures(pictures);
        let model = Description { architecture, task, input, provenance };
        Self { model, encodings: BTreeMap::new(), run }
    }
}

impl TryFrom<RecordV2> for Document {
    type Error = ModelFileProblem;

    fn try_from(record: RecordV2) -> Result<Self, ModelFileProblem> {
        let RecordV2 { architecture, encodings, task, provenance, run, .. } = record;
        let encodings = encodings.into_iter().map(|(path, encoding)| {
            let path = path.parse::<ParameterPath>().map_err(serde_json::Error::custom)?;
            Ok((path, encoding))
        });
        let encodings = encodings.collect::<Result<_, ModelFileProblem>>()?;
        let architecture = Architecture::from(architecture);
        let RecordV2 { preprocessing, pictures, sounds, input, .. } = record;
        let input = match (preprocessing, pictures, sounds, input) {
            (Some(preprocessing), pictures, sounds, None) => {
                let input = InputSpec::dense(&architecture.input_shape, preprocessing);
                input.with_pictures(pictures).with_sounds(sounds)
            }
            (None, None, None, Some(input)) => input,
            _ => return Err(serde_json::Error::custom(ONE_INPUT).into()),
        };
        let model = Description { architecture, task, input, provenance };
        Ok(Self { model, encodings, run })
    }
}

/// The fault of a document with two inputs, or with none.
const ONE_INPUT: &str =
    "it needs either `preprocessing`, with or without `pictures` and `sounds`, or `input`";

/// The number of members of an ensemble of models; none of a document of one model.
fn members(text: &str) -> Result<Option<usize>, ModelFileProblem> {
    #[derive(Deserialize)]
    struct Ensemble {
        ensemble: Option<Vec<serde::de::IgnoredAny>>,
    }
    let Ensemble { ensemble } = serde_json::from_str(text)?;
    Ok(ensemble.map(|members| members.len()))
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
