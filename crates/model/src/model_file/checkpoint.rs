//! Checkpoints: model files that also hold the state of a run.

use std::collections::BTreeMap;
use std::path::Path;

use fireclay_files::ReadAt;

use super::codec::{Keep, Tensors, pack};
use super::document::Document;
use super::{DOCUMENT_KEY, ModelFileError, ModelFileProblem, RUN_PREFIX, Weights, open, parse};
use crate::{Description, Model, NamedTensor};

/// A checkpoint: a model file that also holds what its training needs to continue, on the host.
///
/// [`Model::load`] reads one like any other model, as it was at that step.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    document: Document,
    /// The model's tensors and the run's, in the order of the file.
    tensors: Vec<NamedTensor>,
}

impl Checkpoint {
    /// Puts the state of its run beside a model, whose weights have no encoding.
    ///
    /// The tensors are the run's own, such as an optimizer's memory; the file has them under `run.`.
    pub fn new(
        model: Model,
        run: serde_json::Value,
        tensors: impl IntoIterator<Item = NamedTensor>,
    ) -> Self {
        let Model { description: model, weights, .. } = model;
        let document = Document::new(model, BTreeMap::new(), Some(run));
        let prefixed = tensors
            .into_iter()
            .map(|tensor| NamedTensor { name: format!("{RUN_PREFIX}{}", tensor.name), ..tensor });
        let mut tensors = weights;
        tensors.extend(prefixed);
        Self { document, tensors }
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
        let (document, tensors) = parse(file, Keep::All)?;
        if document.run.is_none() {
            return Err(ModelFileProblem::NoRun);
        }
        Ok(Self { document, tensors: tensors.plain })
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
        let tensors = self.tensors.into_iter();
        tensors.filter_map(|t| Some((t.name.strip_prefix(RUN_PREFIX)?.to_owned(), t)))
    }

    /// The model at that step, whose weights have not been looked at yet, and the run's own tensors.
    pub fn into_network(mut self) -> (Description, Weights, Self) {
        let (weights, own): (Vec<_>, Vec<_>) =
            self.tensors.drain(..).partition(|tensor| !tensor.name.starts_with(RUN_PREFIX));
        let weights = Tensors { plain: weights, ..Tensors::default() };
        let description = self.document.model.clone();
        (
            description,
            Weights::new(weights, BTreeMap::new(), false, true),
            Self { tensors: own, ..self },
        )
    }

    /// The bytes of the file, the same for the same checkpoint, and the digest in it.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Document`] if the document cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, String), ModelFileProblem> {
        pack(DOCUMENT_KEY, &self.document.write()?, &self.tensors)
    }
}
