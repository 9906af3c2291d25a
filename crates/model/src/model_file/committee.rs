//! The file of an ensemble of models.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use fireclay_files::{Dtype, ReadAt};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::codec::{Keep, Tensors, body, head, unpack_from};
use super::document::{Document, Record, version};
use super::{
    DOCUMENT_KEY, FORMAT_VERSION, LazyTensor, ModelFileError, ModelFileProblem, Weights, open,
};
use crate::{Committee, Model, Provenance};

/// The version of the format that has ensembles of models.
const VERSION: u32 = 4;

/// The prefix of the names of a model's tensors, before its number.
const PREFIX: &str = "models.";

/// The document as it is written.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    ensemble: Vec<Record>,
    provenance: &'a Provenance,
}

/// The document as it is read: of each model that of its own file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    version: u32,
    ensemble: Vec<serde_json::Value>,
    #[serde(default)]
    provenance: Provenance,
}

impl Committee {
    /// The bytes of its file, the same for the same models, and the digest in it.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Document`] if the document cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, String), ModelFileProblem> {
        let mut tensors = Vec::new();
        for (at, model) in self.models().iter().enumerate() {
            tensors.extend(model.weights.iter().map(|tensor| LazyTensor {
                name: Cow::Owned(format!("{PREFIX}{at}.{}", tensor.name)),
                ..LazyTensor::of(tensor)
            }));
        }
        let documents = self
            .models()
            .iter()
            .map(|model| Document::new(model.description.clone(), BTreeMap::new(), None).record());
        let provenance = &self.provenance().clone().with_finite_metrics();
        let written = Written { version: VERSION, ensemble: documents.collect(), provenance };
        let (mut file, digest) = head(DOCUMENT_KEY, &serde_json::to_string(&written)?, &tensors)?;
        body(&tensors, &mut file)?;
        Ok((file, digest))
    }

    /// Reads its file.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`] that names the file and what is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let result = open(path).and_then(|file| Self::from_source(&file));
        result.map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    /// As [`load`](Self::load), of bytes that are read where they are needed. They may come from a
    /// stranger, and are checked like those of a model.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`].
    pub fn from_source(file: &dyn ReadAt) -> Result<Self, ModelFileProblem> {
        let ((documents, provenance), tensors) =
            unpack_from(DOCUMENT_KEY, file, Keep::All, documents, |_, _| Dtype::F32)?;
        let mut of_models: Vec<Tensors> = documents.iter().map(|_| Tensors::default()).collect();
        for mut tensor in tensors.plain {
            let (at, name) = place(&tensor.name).unwrap_or((usize::MAX, String::new()));
            match of_models.get_mut(at) {
                Some(model) => {
                    tensor.name = name;
                    model.plain.push(tensor);
                }
                None => return Err(ModelFileProblem::UnusedTensor { name: tensor.name }),
            }
        }
        let models = documents.into_iter().zip(of_models).map(|(document, tensors)| {
            document.validate()?;
            let weights = Weights::new(tensors, BTreeMap::new(), false, false);
            Model::of_weights(document.model, weights)
        });
        Self::new(models.collect::<Result<_, _>>()?, provenance)
    }
}

/// The documents of the models.
fn documents(text: &str) -> Result<(Vec<Document>, Provenance), ModelFileProblem> {
    version(text, FORMAT_VERSION)?;
    let Read { version, ensemble, provenance } = serde_json::from_str(text)?;
    if version < VERSION {
        return Err(ModelFileProblem::NotInVersion { version, part: "an ensemble of models" });
    }
    let documents = ensemble.iter().map(|document| {
        let document = Document::read(&document.to_string())?;
        if document.run.is_some() || !document.encodings.is_empty() {
            let problem = "a model of an ensemble has neither `run` nor `encodings`";
            return Err(serde_json::Error::custom(problem).into());
        }
        Ok(document)
    });
    Ok((documents.collect::<Result<_, ModelFileProblem>>()?, provenance))
}

/// The model of a tensor, and the name of the tensor in it.
fn place(name: &str) -> Option<(usize, String)> {
    let (model, name) = name.strip_prefix(PREFIX)?.split_once('.')?;
    // One name for each place: no sign, and no zeros in front.
    let at: usize = model.parse().ok()?;
    (at.to_string() == model).then(|| (at, name.to_owned()))
}
