//! The model file: one `.safetensors` with weights, architecture, task, preprocessing, provenance
//! and a digest over all of it. `docs/model-file.md` specifies it byte by byte.

mod codec;
mod digest;
mod disk;
mod document;
mod error;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorReadError};

use self::document::Document;
use crate::named::nearest;
use crate::{Mlp, Model, NamedTensor};

pub use codec::{pack, unpack};
pub use disk::{WriteStep, read_regular_file, write_whole, write_whole_in_steps};
pub use error::{ModelFileError, ModelFileProblem};

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Key of the JSON document in the file's metadata.
const DOCUMENT_KEY: &str = "fireclay";

/// What the names of a checkpoint's own tensors begin with.
const RUN_PREFIX: &str = "run.";

/// Bytes of the longest name that is suggested for a missing tensor.
const LONGEST_SUGGESTION: usize = 256;

/// A checkpoint: a model file that also holds what its training needs to go on, on the host.
///
/// [`Model::load`] reads one like any other model, as it was at that step.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    document: Document,
    /// The model's tensors and the run's, in the order of the file.
    tensors: Vec<NamedTensor>,
}

impl Checkpoint {
    /// Copies a model's parameters to the host, and puts the state of its run beside them.
    ///
    /// The tensors are the run's own, such as an optimizer's memory; the file has them under `run.`.
    ///
    /// # Errors
    ///
    /// The device's, when it can not be read.
    pub fn new(
        model: &Model,
        run: serde_json::Value,
        tensors: impl IntoIterator<Item = NamedTensor>,
    ) -> Result<Self, TensorReadError> {
        let mut checkpoint = Self::of_model(model)?;
        checkpoint.document.run = Some(run);
        let prefixed = tensors
            .into_iter()
            .map(|tensor| NamedTensor { name: format!("{RUN_PREFIX}{}", tensor.name), ..tensor });
        checkpoint.tensors.extend(prefixed);
        Ok(checkpoint)
    }

    fn of_model(model: &Model) -> Result<Self, TensorReadError> {
        let document = Document {
            version: FORMAT_VERSION,
            architecture: model.mlp.config().clone(),
            task: model.task.clone(),
            preprocessing: model.preprocessing.clone(),
            pictures: model.pictures,
            provenance: model.provenance.clone().with_finite_metrics(),
            run: None,
        };
        Ok(Self { document, tensors: model.mlp.tensors()? })
    }

    /// Reads a checkpoint from the bytes of its file, and checks everything that a model file is
    /// checked for.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`]; [`NoRun`](ModelFileProblem::NoRun) if it is a model and no more.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelFileProblem> {
        let checkpoint = Self::parse(bytes)?;
        if checkpoint.document.run.is_none() {
            return Err(ModelFileProblem::NoRun);
        }
        Ok(checkpoint)
    }

    /// As [`from_bytes`](Self::from_bytes), of a file.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`] that names the file and what is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let result = read_regular_file(path).and_then(|bytes| Self::from_bytes(&bytes));
        result.map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    /// The state of the run.
    pub fn run(&self) -> &serde_json::Value {
        self.document.run.as_ref().unwrap_or(&serde_json::Value::Null)
    }

    /// The run's own tensors, by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &NamedTensor)> {
        self.tensors.iter().filter_map(|t| Some((t.name.strip_prefix(RUN_PREFIX)?, t)))
    }

    /// The model at that step, on a device.
    ///
    /// # Errors
    ///
    /// A tensor that the architecture needs is missing or of another shape, or one has no place.
    pub fn model(&self, device: &Device) -> Result<Model, ModelFileProblem> {
        let named = self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
        let mut left: BTreeMap<&str, &NamedTensor> = named.collect();
        let mlp = Mlp::from_tensors(&self.document.architecture, device, |name, shape| {
            take(&mut left, name, shape)
        })?;
        if let Some(unused) = left.keys().find(|name| !self.is_of_run(name)) {
            return Err(ModelFileProblem::UnusedTensor { name: (*unused).to_owned() });
        }
        let Document { task, preprocessing, pictures, provenance, .. } = self.document.clone();
        Ok(Model { mlp, task, preprocessing, pictures, provenance })
    }

    fn is_of_run(&self, name: &str) -> bool {
        self.document.run.is_some() && name.starts_with(RUN_PREFIX)
    }

    /// The one door: everything about a file that can be checked without a device.
    fn parse(bytes: &[u8]) -> Result<Self, ModelFileProblem> {
        let (document, tensors) = unpack(DOCUMENT_KEY, bytes, Document::read)?;
        document.validate()?;
        Ok(Self { document, tensors })
    }

    /// The bytes of the file, the same for the same checkpoint, and the digest in it.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Document`] if the document can not be written as JSON.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, String), ModelFileProblem> {
        pack(DOCUMENT_KEY, &serde_json::to_string(&self.document)?, &self.tensors)
    }
}

impl Model {
    /// Reads a model file onto a device.
    ///
    /// The file may come from a stranger: nothing in it is executed, every size is checked against
    /// the bytes present before anything is allocated for it, and the digest must be right.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`] that names the file and what is wrong with it.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let result = read_regular_file(path).and_then(|bytes| Self::from_bytes(&bytes, device));
        result.map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    /// Reads the bytes of a model file onto a device.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`], as for [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, ModelFileProblem> {
        Checkpoint::parse(bytes)?.model(device)
    }

    /// Writes a model file: to a sibling first, flushed to disk and then renamed, so that `path`
    /// holds either what it held before or the whole model. Returns the model's digest.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`]: the device can not be read, or the file not be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<String, ModelFileError> {
        let path = path.as_ref();
        let write = || {
            let (bytes, digest) = self.to_bytes()?;
            write_whole(path, &bytes).map_err(ModelFileProblem::Io)?;
            Ok(digest)
        };
        write().map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    /// The bytes of a model file, the same for the same model, and the digest in it.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Device`] if the parameters can not be read from the device.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, String), ModelFileProblem> {
        Checkpoint::of_model(self)?.to_bytes()
    }
}

/// Takes a tensor out of those that are left.
fn take(
    left: &mut BTreeMap<&str, &NamedTensor>,
    name: &str,
    expected: &[usize],
) -> Result<Vec<f32>, ModelFileProblem> {
    let Some(tensor) = left.remove(name) else {
        // Comparing words takes memory for each pair of their letters.
        let candidates = left.keys().copied().filter(|name| name.len() <= LONGEST_SUGGESTION);
        let nearest = nearest(name, candidates).map(str::to_owned);
        return Err(ModelFileProblem::MissingTensor { name: name.to_owned(), nearest });
    };
    if tensor.shape != expected {
        return Err(ModelFileProblem::Shape {
            name: name.to_owned(),
            found: tensor.shape.clone(),
            expected: expected.to_vec(),
        });
    }
    Ok(tensor.values.clone())
}
