//! The adapter file: what fine-tuning added to a base, without the base.
//!
//! A `.safetensors` file whose metadata has a document under `fireclay_adapter`: the digest of the
//! base, the tuned network's architecture and task, and where it comes from. Its tensors are those
//! that the base does not have or has otherwise: the adapters, the head, whatever else was trained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use fireclay_files::{Dtype, ReadAt};

use crate::model_file::document::{Described, version};
use crate::model_file::record::{ArchitectureRecord, ArchitectureV1, ArchitectureV2};
use crate::model_file::{FORMAT_VERSION, Keep, open, pack, unpack_file};
use crate::{
    Architecture, Description, InputError, Model, ModelFileProblem, NamedTensor, Pictures,
    Provenance, Task,
};

const KEY: &str = "fireclay_adapter";

/// The result of fine-tuning, apart from the base.
#[derive(Clone, Debug)]
pub struct Adapter {
    document: AdapterDocument,
    tensors: Vec<NamedTensor>,
}

/// The description of the tuned model; its preprocessing is that of the base.
#[derive(Clone, Debug)]
struct AdapterDocument {
    base: String,
    architecture: Architecture,
    task: Task,
    pictures: Option<Pictures>,
    provenance: Provenance,
}

/// The document as it is written.
#[derive(Serialize, Deserialize)]
struct Record<A> {
    version: u32,
    base: String,
    architecture: A,
    task: Task,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pictures: Option<Pictures>,
    #[serde(default)]
    provenance: Provenance,
}

impl AdapterDocument {
    fn read(text: &str) -> Result<Self, ModelFileProblem> {
        match version(text, FORMAT_VERSION)? {
            1 => Self::of_record(serde_json::from_str::<Record<ArchitectureV1>>(text)?),
            _ => Self::of_record(serde_json::from_str::<Record<ArchitectureV2>>(text)?),
        }
    }

    fn of_record<A>(record: Record<A>) -> Result<Self, ModelFileProblem>
    where
        Architecture: From<A>,
    {
        let Record { version, base, architecture, task, pictures, provenance } = record;
        let architecture = Architecture::from(architecture);
        let document = Self { base, architecture, task, pictures, provenance };
        document.described().check(version)?;
        Ok(document)
    }

    fn described(&self) -> Described<'_> {
        let Self { architecture, task, .. } = self;
        Described { architecture, task, input: None, has_encodings: false }
    }

    fn write(&self) -> Result<String, ModelFileProblem> {
        let (version, _) = self.described().oldest_version();
        let Self { base, architecture, task, pictures, provenance } = self.clone();
        let architecture = ArchitectureRecord::of(&architecture, version);
        let record = Record { version, base, architecture, task, pictures, provenance };
        Ok(serde_json::to_string(&record)?)
    }
}

/// Why an adapter cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct AdapterFileError {
    /// The file.
    pub path: PathBuf,
    /// The problem.
    #[source]
    pub problem: AdapterError,
}

/// The problem with an adapter.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// A safetensors file of another kind.
    #[error(
        "this safetensors file has no `{KEY}` metadata, so it is not an adapter; a whole model needs \
         no base"
    )]
    NotAnAdapter,
    /// A damaged file, or one that does not follow the format.
    #[error(transparent)]
    File(#[from] ModelFileProblem),
    /// A model whose weights have encodings.
    #[error(
        "the model has weights in an encoding, which adapters cannot be beside; use the model that it \
         was made of"
    )]
    Encoded,
    /// Another base than the one it was trained on.
    #[error(
        "this adapter was trained on the base {expected}, and this base is {found}; on another base \
         it means nothing"
    )]
    Base {
        /// Digest of the base that it was trained on.
        expected: String,
        /// Digest of the base given.
        found: String,
    },
    /// The tuned network takes other features than the base prepares.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A tensor of the adapter has no place in the tuned network.
    #[error(
        "tensor {name} of shape {shape:?} has no place in the network that the adapter describes"
    )]
    Unused {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor is neither in the adapter nor in the base.
    #[error("tensor {name} of shape {shape:?} is neither in the adapter nor in the base")]
    Missing {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
}

impl Adapter {
    /// Returns the difference of a tuned model from its base.
    ///
    /// # Errors
    ///
    /// A document of the base that cannot be written as JSON; [`AdapterError::Encoded`].
    pub fn between(base: &Model, tuned: &Model) -> Result<Self, AdapterError> {
        if !base.encoded.is_empty() || !tuned.encoded.is_empty() {
            return Err(AdapterError::Encoded);
        }
        let digest = base.unwritten().digest()?;
        let had: BTreeMap<&str, &NamedTensor> =
            base.weights.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let tensors = tuned.weights.iter().filter(|tensor| {
            had.get(tensor.name.as_str()).is_none_or(|old| !is_same_to_the_bit(old, tensor))
        });
        let tensors = tensors.cloned().collect();
        let Description { architecture, task, input, provenance } = tuned.description.clone();
        let pictures = input.pictures();
        let document = AdapterDocument { base: digest, architecture, task, pictures, provenance };
        Ok(Self { document, tensors })
    }

    /// The bytes of its file, the same for the same adapter.
    ///
    /// # Errors
    ///
    /// A document that cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, AdapterError> {
        Ok(pack(KEY, &self.document.write()?, &self.tensors)?.0)
    }

    /// Reads the bytes of an adapter file, which may come from a stranger.
    ///
    /// # Errors
    ///
    /// An [`AdapterError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AdapterError> {
        Self::read(&bytes, Keep::All)
    }

    /// Checks an adapter file without keeping any of its values.
    ///
    /// # Errors
    ///
    /// An [`AdapterError`], as for [`from_bytes`](Self::from_bytes).
    pub fn check(file: &dyn ReadAt) -> Result<(), AdapterError> {
        Self::read(file, Keep::Nothing).map(drop)
    }

    fn read(file: &dyn ReadAt, keep: Keep) -> Result<Self, AdapterError> {
        let read = unpack_file(KEY, file, keep, AdapterDocument::read, |_, _| Dtype::F32);
        let (document, tensors) = read.map_err(|problem| match problem {
            ModelFileProblem::NoDocument => AdapterError::NotAnAdapter,
            problem => AdapterError::File(problem),
        })?;
        document.architecture.validate().map_err(ModelFileProblem::from)?;
        document.task.validate().map_err(ModelFileProblem::from)?;
        let (names, outputs) = (document.task.outputs(), document.architecture.outputs);
        if names != outputs {
            return Err(ModelFileProblem::Outputs { names, outputs }.into());
        }
        if let Some(pictures) = &document.pictures {
            let shape = &document.architecture.input_shape;
            pictures.validate(shape).map_err(InputError::from)?;
        }
        Ok(Self { document, tensors: tensors.plain })
    }

    /// As [`from_bytes`](Self::from_bytes), of a file.
    ///
    /// # Errors
    ///
    /// An [`AdapterFileError`] that names the file.
    pub fn load(path: &Path) -> Result<Self, AdapterFileError> {
        open(path)
            .map_err(AdapterError::from)
            .and_then(|file| Self::read(&file, Keep::All))
            .map_err(|problem| AdapterFileError { path: path.to_owned(), problem })
    }

    /// Digest of the base that it was trained on.
    pub fn base(&self) -> &str {
        &self.document.base
    }

    /// Numbers in it.
    pub fn parameters(&self) -> usize {
        self.tensors.iter().map(|tensor| tensor.values.len()).sum()
    }

    /// The tuned model: the base with what was added to it. Several adapters can be applied to one
    /// base, each for itself.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Base`] if it is another base; [`AdapterError::Missing`],
    /// [`AdapterError::Unused`] and [`AdapterError::Input`] if the adapter does not fit.
    pub fn apply(&self, base: &Model) -> Result<Model, AdapterError> {
        if !base.encoded.is_empty() {
            return Err(AdapterError::Encoded);
        }
        let digest = base.unwritten().digest()?;
        if digest != self.document.base {
            return Err(AdapterError::Base { expected: self.document.base.clone(), found: digest });
        }
        let AdapterDocument { architecture, task, pictures, provenance, .. } =
            self.document.clone();
        let input = base.description.input.clone().with_pictures(pictures);
        let input = input.with_shape(&architecture.input_shape);
        input.validate_for(&architecture.input_shape)?;
        let mut used = BTreeSet::new();
        let mut weights = Vec::new();
        for (path, shape) in architecture.tensors() {
            let name = path.to_string();
            // What the adapter has goes before what the base has.
            let mut all = self.tensors.iter().chain(&base.weights);
            let found = all.find(|tensor| tensor.name == name && tensor.shape == shape);
            weights.push(found.cloned().ok_or_else(|| AdapterError::Missing {
                name: name.clone(),
                shape: shape.clone(),
            })?);
            used.insert(name);
        }
        if let Some(unused) = self.tensors.iter().find(|tensor| !used.contains(&tensor.name)) {
            let (name, shape) = (unused.name.clone(), unused.shape.clone());
            return Err(AdapterError::Unused { name, shape });
        }
        let description = Description { architecture, task, input, provenance };
        Ok(Model { description, weights, encoded: BTreeMap::new() })
    }
}

fn is_same_to_the_bit(a: &NamedTensor, b: &NamedTensor) -> bool {
    a.shape == b.shape && a.values.iter().zip(&b.values).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        InputSpec, Lora, MlpConfig, Preprocessing, TargetScaling, initial_values, transpose,
    };

    fn model(architecture: Architecture, seed: u64) -> Model {
        let weights = architecture.tensors().into_iter().map(|(path, shape)| {
            let values = initial_values(&architecture, seed, path);
            let values = match shape[..] {
                [outputs, _] => transpose(&values, outputs),
                _ => values,
            };
            NamedTensor { name: path.to_string(), shape, values }
        });
        let weights = weights.collect();
        let (task, provenance) = (Task::numbered_classes(3), Provenance::default());
        let input = InputSpec::dense(&architecture.input_shape, Preprocessing::None);
        let description = Description { architecture, task, input, provenance };
        Model { description, weights, encoded: BTreeMap::new() }
    }

    fn base() -> Model {
        model(MlpConfig::new([4], [6, 5], 3).architecture().unwrap(), 3)
    }

    fn tuned(base: &Model) -> Model {
        let lora =
            Lora { layers: vec![1], rank: 2, alpha: 4.0, dropout: 0.0, rank_stabilized: false };
        let architecture =
            Architecture { lora: Some(lora), ..base.description.architecture.clone() };
        let mut tuned = model(architecture, 3);
        tuned.description.input = base.description.input.clone();
        for tensor in &mut tuned.weights {
            if tensor.name == "adapters.1.b" || tensor.name == "layers.2.bias" {
                tensor.values.iter_mut().enumerate().for_each(|(i, value)| *value = i as f32);
            }
        }
        tuned
    }

    #[test]
    fn a_base_and_its_adapter_are_the_tuned_model() {
        let base = base();
        let tuned = tuned(&base);
        let adapter = Adapter::between(&base, &tuned).unwrap();
        let names: Vec<&str> = adapter.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["layers.2.bias", "adapters.1.a", "adapters.1.b"]);
        let read = Adapter::from_bytes(&adapter.to_bytes().unwrap()).unwrap();
        let again = read.apply(&base).unwrap();
        assert_eq!(again, tuned);
        assert_eq!(read.parameters(), 3 + 6 * 2 + 2 * 5);
    }

    #[test]
    fn a_target_scaling_is_kept_in_version_2_and_refused_in_1() {
        let (mut base, targets) = (base(), ["a", "b", "c"].map(String::from).to_vec());
        let scaling =
            TargetScaling { mean: vec![1.0; 3], deviation: vec![2.0; 3], logarithm: false };
        base.description.task = Task::regression(targets).with_scaling(Some(scaling));
        let mut tuned = tuned(&base);
        tuned.description.task = base.description.task.clone();
        let adapter = Adapter::between(&base, &tuned).unwrap();
        let text = adapter.document.write().unwrap();
        assert!(text.starts_with("{\"version\":2"), "{text}");
        let read = Adapter::from_bytes(&adapter.to_bytes().unwrap()).unwrap();
        assert_eq!(read.apply(&base).unwrap(), tuned);
        let plain = Adapter::between(&base, &self::tuned(&base)).unwrap().document.write().unwrap();
        let task = serde_json::to_string(&tuned.description.task).unwrap();
        let classes = serde_json::to_string(&Task::numbered_classes(3)).unwrap();
        let old = plain.replace(&classes, &task);
        assert!(plain.starts_with("{\"version\":1") && old != plain);
        let error = AdapterDocument::read(&old).unwrap_err();
        assert!(matches!(error, ModelFileProblem::NotInVersion { version: 1, .. }), "{error}");
    }

    #[test]
    fn another_base_is_refused() {
        let base = base();
        let adapter = Adapter::between(&base, &tuned(&base)).unwrap();
        let other = model(base.description.architecture.clone(), 4);
        let error = adapter.apply(&other).unwrap_err();
        assert!(matches!(error, AdapterError::Base { .. }), "{error}");
    }

    #[test]
    fn what_does_not_fit_the_base_is_refused() {
        let mut base = base();
        let preprocessing =
            Preprocessing::Standardize { mean: vec![0.0; 4], deviation: vec![1.0; 4] };
        base.description.input = InputSpec::dense(&[4], preprocessing);
        let adapter = Adapter::between(&base, &tuned(&base)).unwrap();
        let extra = NamedTensor { name: "junk".to_owned(), shape: vec![1], values: vec![0.0] };
        let mut larger = adapter.clone();
        larger.tensors.push(extra);
        let error = larger.apply(&base).unwrap_err();
        assert!(matches!(&error, AdapterError::Unused { name, .. } if name == "junk"), "{error}");
        // As wide as the base in all but what it takes.
        let mut wider = adapter;
        wider.document.architecture.input_shape = vec![5];
        let weight = NamedTensor {
            name: "layers.0.weight".to_owned(),
            shape: vec![6, 5],
            values: vec![0.0; 30],
        };
        wider.tensors.push(weight);
        let error = wider.apply(&base).unwrap_err();
        assert!(matches!(error, AdapterError::Input(InputError::Preprocessing(_))), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        let base = base();
        let model = base.unwritten().to_bytes().unwrap().0;
        assert!(matches!(Adapter::from_bytes(&model), Err(AdapterError::NotAnAdapter)));
        let bytes = Adapter::between(&base, &tuned(&base)).unwrap().to_bytes().unwrap();
        assert!(matches!(Model::from_bytes(&bytes), Err(ModelFileProblem::NoDocument)));
        for end in 0..bytes.len() {
            assert!(Adapter::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let error = Adapter::from_bytes(&damaged).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}
