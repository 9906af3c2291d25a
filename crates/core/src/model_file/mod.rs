//! The model file: one `.safetensors` with weights, architecture, task, preprocessing, provenance
//! and a digest over all of it. `docs/model-file.md` specifies it byte by byte.

mod codec;
mod digest;
mod disk;
mod document;
mod error;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use burn::tensor::{Device, TensorReadError};
use fireclay_files::ReadAt;

use self::codec::{body, head, unpack_from};
use self::document::Document;
use crate::named::nearest;
use crate::{Mlp, Model, NamedTensor};

pub(crate) use codec::{Keep, Piece, Unwritten, digest as digest_of, unpack_from as unpack_file};
pub use codec::{pack, unpack};
pub(crate) use disk::open;
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

/// The most names among which a similar one is looked for.
const MOST_SUGGESTIONS: usize = 1_000;

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
    /// The device's, when it cannot be read.
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
        Ok(Self { document: Document::of(model), tensors: model.mlp.tensors()? })
    }

    /// Reads a checkpoint from the bytes of its file, and checks everything that a model file is
    /// checked for.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`]; [`NoRun`](ModelFileProblem::NoRun) if it is a model and no more.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelFileProblem> {
        Self::from_source(&bytes)
    }

    /// As [`from_bytes`](Self::from_bytes), of bytes that are read where they are needed.
    ///
    /// # Errors
    ///
    /// As for [`from_bytes`](Self::from_bytes).
    pub fn from_source(file: &dyn ReadAt) -> Result<Self, ModelFileProblem> {
        let checkpoint = Self::parse(file, Keep::All)?;
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
        let result = open(path).and_then(|file| Self::from_source(&file));
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

    /// As [`tensors`](Self::tensors), and nothing else of the checkpoint.
    pub fn into_tensors(self) -> impl Iterator<Item = (String, NamedTensor)> {
        let own =
            |tensor: NamedTensor| Some((tensor.name.strip_prefix(RUN_PREFIX)?.to_owned(), tensor));
        self.tensors.into_iter().filter_map(own)
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
            take(&mut left, name, shape).map(|tensor| tensor.values.clone())
        })?;
        self.check_unused(left.keys())?;
        let Document { task, preprocessing, pictures, provenance, .. } = self.document.clone();
        Ok(Model { mlp, task, preprocessing, pictures, provenance })
    }

    /// The model at that step, on a device, and the run's own tensors; the model's are not kept
    /// beside it.
    ///
    /// # Errors
    ///
    /// As for [`model`](Self::model).
    pub fn into_model(mut self, device: &Device) -> Result<(Model, Self), ModelFileProblem> {
        let (mut left, own): (Vec<_>, Vec<_>) =
            self.tensors.drain(..).partition(|tensor| !tensor.name.starts_with(RUN_PREFIX));
        self.tensors = own;
        let mut values: BTreeMap<String, NamedTensor> =
            left.drain(..).map(|tensor| (tensor.name.clone(), tensor)).collect();
        let mlp = Mlp::from_tensors(&self.document.architecture, device, |name, shape| {
            take_out(&mut values, name, shape)
        })?;
        self.check_unused(values.keys())?;
        let Document { task, preprocessing, pictures, provenance, .. } = self.document.clone();
        Ok((Model { mlp, task, preprocessing, pictures, provenance }, self))
    }

    /// Refuses tensors, of those that the network left over, that are not the run's.
    fn check_unused(
        &self,
        mut left: impl Iterator<Item = impl AsRef<str>>,
    ) -> Result<(), ModelFileProblem> {
        match left.find(|name| !self.is_of_run(name.as_ref())) {
            Some(unused) => {
                Err(ModelFileProblem::UnusedTensor { name: unused.as_ref().to_owned() })
            }
            None => Ok(()),
        }
    }

    /// Checks that the network's tensors, whose values are not needed, are all there.
    fn check_tensors(self) -> Result<(), ModelFileProblem> {
        let named = self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
        let mut left: BTreeMap<&str, &NamedTensor> = named.collect();
        for (name, shape) in self.document.architecture.tensors() {
            take(&mut left, &name, &shape)?;
        }
        self.check_unused(left.keys())
    }

    fn is_of_run(&self, name: &str) -> bool {
        self.document.run.is_some() && name.starts_with(RUN_PREFIX)
    }

    /// The one door: everything about a file that can be checked without a device.
    fn parse(file: &dyn ReadAt, keep: Keep) -> Result<Self, ModelFileProblem> {
        let (document, tensors) = unpack_from(DOCUMENT_KEY, file, keep, Document::read)?;
        document.validate()?;
        Ok(Self { document, tensors })
    }

    /// The bytes of the file, the same for the same checkpoint, and the digest in it.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Document`] if the document cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, String), ModelFileProblem> {
        pack(DOCUMENT_KEY, &serde_json::to_string(&self.document)?, &self.tensors)
    }
}

/// Whether the header of a file is that of a Fireclay model or checkpoint, whole or damaged.
pub fn is_model_file(file: &dyn ReadAt) -> bool {
    codec::has_document(DOCUMENT_KEY, file)
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
        let result = open(path).and_then(|file| Self::from_source(&file, device));
        result.map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    /// Reads the bytes of a model file onto a device.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`], as for [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, ModelFileProblem> {
        Self::from_source(&bytes, device)
    }

    /// As [`from_bytes`](Self::from_bytes), of bytes that are read where they are needed: beside the
    /// parameters on the device only one of them is ever in memory.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub fn from_source(file: &dyn ReadAt, device: &Device) -> Result<Self, ModelFileProblem> {
        let mut read = Checkpoint::parse(file, Keep::Network)?;
        let named = read.tensors.drain(..).map(|tensor| (tensor.name.clone(), tensor));
        let mut left: BTreeMap<String, NamedTensor> = named.collect();
        let mlp = Mlp::build(&read.document.architecture, device, &mut |name, shape| {
            take_out(&mut left, name, shape)
        })?;
        read.check_unused(left.keys())?;
        let Document { task, preprocessing, pictures, provenance, .. } = read.document;
        Ok(Model { mlp, task, preprocessing, pictures, provenance })
    }

    /// Checks a model file, or a checkpoint, as [`from_source`](Self::from_source) does, without
    /// keeping any of its values.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub fn check(file: &dyn ReadAt) -> Result<(), ModelFileProblem> {
        Checkpoint::parse(file, Keep::Nothing)?.check_tensors()
    }

    /// Writes a model file: to a sibling first, flushed to disk and then renamed, so that `path`
    /// holds either what it held before or the whole model. Returns the model's digest.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`]: the device cannot be read, or the file not be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<String, ModelFileError> {
        let path = path.as_ref();
        let write = || {
            let tensors = self.mlp.unwritten();
            let (head, digest) = head(DOCUMENT_KEY, &self.document()?, &tensors)?;
            disk::write_by(path, |file| {
                file.write_all(&head).map_err(ModelFileProblem::Io)?;
                body(&tensors, file)
            })?;
            Ok(digest)
        };
        write().map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    /// The bytes of a model file, the same for the same model, and the digest in it.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Device`] if the parameters cannot be read from the device.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, String), ModelFileProblem> {
        let tensors = self.mlp.unwritten();
        let (mut file, digest) = head(DOCUMENT_KEY, &self.document()?, &tensors)?;
        body(&tensors, &mut file)?;
        Ok((file, digest))
    }

    /// The digest in its model file.
    ///
    /// # Errors
    ///
    /// As for [`to_bytes`](Self::to_bytes).
    pub fn digest(&self) -> Result<String, ModelFileProblem> {
        digest_of(&self.document()?, &self.mlp.unwritten())
    }

    /// The JSON document of its model file.
    fn document(&self) -> Result<String, ModelFileProblem> {
        Ok(serde_json::to_string(&Document::of(self))?)
    }
}

/// Takes a tensor of this shape out of those that are left.
fn take<'t>(
    left: &mut BTreeMap<&str, &'t NamedTensor>,
    name: &str,
    expected: &[usize],
) -> Result<&'t NamedTensor, ModelFileProblem> {
    match left.remove(name) {
        Some(tensor) => check_shape(tensor, expected).map(|()| tensor),
        None => Err(missing(name, left.keys().copied())),
    }
}

/// As [`take`], the values of one that nobody else has.
fn take_out(
    left: &mut BTreeMap<String, NamedTensor>,
    name: &str,
    expected: &[usize],
) -> Result<Vec<f32>, ModelFileProblem> {
    match left.remove(name) {
        Some(tensor) => check_shape(&tensor, expected).map(|()| tensor.values),
        None => Err(missing(name, left.keys().map(String::as_str))),
    }
}

fn check_shape(tensor: &NamedTensor, expected: &[usize]) -> Result<(), ModelFileProblem> {
    if tensor.shape == expected {
        return Ok(());
    }
    Err(ModelFileProblem::Shape {
        name: tensor.name.clone(),
        found: tensor.shape.clone(),
        expected: expected.to_vec(),
    })
}

fn missing<'n>(name: &str, left: impl Iterator<Item = &'n str>) -> ModelFileProblem {
    // Comparing words takes memory for each pair of their letters.
    let candidates = left.filter(|name| name.len() <= LONGEST_SUGGESTION).take(MOST_SUGGESTIONS);
    let nearest = nearest(name, candidates).map(str::to_owned);
    ModelFileProblem::MissingTensor { name: name.to_owned(), nearest }
}
