//! The model file: one `.safetensors` with weights, architecture, task, preprocessing, provenance
//! and a digest over all of it. `docs/model-file.md` specifies it byte by byte.

mod checkpoint;
mod codec;
mod committee;
mod digest;
mod disk;
pub(crate) mod document;
mod encoded;
mod error;
pub(crate) mod record;
mod weights;
#[cfg(not(target_family = "wasm"))]
mod write;

use std::collections::BTreeMap;
#[cfg(not(target_family = "wasm"))]
use std::io::Write;
use std::path::Path;

use fireclay_files::ReadAt;

use self::codec::{Tensors, body, head, unpack_from};
use self::document::Document;
use self::record::{ArchitectureV1, ArchitectureV2};
use crate::{Architecture, Committee, Description, Encoding, Model, ParameterPath};

pub use checkpoint::Checkpoint;
pub(crate) use codec::{Keep, unpack_from as unpack_file};
pub use codec::{LazyTensor, Piece, Pieces, digest_of, give_values, pack, unpack};
pub use disk::{open, read_regular_file};
pub use error::{ModelFileError, ModelFileProblem};
pub use fireclay_files::Dtype;
pub use weights::Weights;
#[cfg(not(target_family = "wasm"))]
pub use write::{WriteStep, write_by, write_whole, write_whole_in_steps};

/// The newest version of the format; a model is written in the oldest that can describe it.
pub const FORMAT_VERSION: u32 = 4;

/// Key of the JSON document in the file's metadata.
const DOCUMENT_KEY: &str = "fireclay";

/// The prefix of the names of a checkpoint's own tensors.
const RUN_PREFIX: &str = "run.";

/// Returns true if the header of a file is that of a Fireclay model or checkpoint, whole or
/// damaged.
pub fn is_model_file(file: &dyn ReadAt) -> bool {
    codec::has_document(DOCUMENT_KEY, file)
}

/// The network that the document of a model file or of an adapter describes, if it describes one.
pub fn network_of(document: &serde_json::Value) -> Option<Architecture> {
    let record = document.get("architecture")?.clone();
    let network = match document.get("version")?.as_u64()? {
        1 => serde_json::from_value::<ArchitectureV1>(record).ok()?.into(),
        2..=4 => serde_json::from_value::<ArchitectureV2>(record).ok()?.into(),
        _ => return None,
    };
    Architecture::validate(&network).is_ok().then_some(network)
}

/// Reads a model file for whoever builds its network: matrices are turned while they are read, so
/// that nothing is in memory twice.
///
/// The file may come from a stranger: nothing in it is executed, every size is checked against the
/// bytes present before anything is allocated for it, and the digest must be right.
///
/// # Errors
///
/// A [`ModelFileProblem`]. Whether the tensors are those of the architecture shows when they are
/// taken.
pub fn read_network(file: &dyn ReadAt) -> Result<(Description, Weights), ModelFileProblem> {
    let (document, tensors) = parse(file, Keep::Network)?;
    Ok((document.model.clone(), weights_of(document, tensors, true)))
}

/// As [`read_network`], with the weight matrices in panels of at most `widest` lanes.
pub(crate) fn read_packed(
    file: &dyn ReadAt,
    widest: usize,
) -> Result<(Description, Weights), ModelFileProblem> {
    let (document, tensors) = parse(file, Keep::Packed(widest))?;
    Ok((document.model.clone(), weights_of(document, tensors, true)))
}

/// Checks a model file, or a checkpoint, without keeping any of its values.
///
/// # Errors
///
/// A [`ModelFileProblem`].
pub fn check(file: &dyn ReadAt) -> Result<(), ModelFileProblem> {
    let (document, tensors) = match parse(file, Keep::Nothing) {
        Err(ModelFileProblem::Committee { .. }) => {
            return Committee::from_source(file).map(drop);
        }
        parsed => parsed?,
    };
    if !document.encodings.is_empty() {
        // Whether they are right shows in their numbers, which are few bytes each.
        return Model::from_source(file).map(drop);
    }
    let network = document.model.architecture.clone();
    let mut weights = weights_of(document, tensors, true);
    for (path, shape) in network.tensors() {
        weights.take_stored(path, &shape)?;
    }
    weights.finish()
}

/// The one door: everything about a file that can be checked before its network is built.
fn parse(file: &dyn ReadAt, keep: Keep) -> Result<(Document, Tensors), ModelFileProblem> {
    let (document, tensors) =
        unpack_from(DOCUMENT_KEY, file, keep, Document::read, Document::dtype)?;
    document.validate()?;
    Ok((document, tensors))
}

fn weights_of(document: Document, tensors: Tensors, is_turned: bool) -> Weights {
    let is_checkpoint = document.run.is_some();
    Weights::new(tensors, document.encodings, is_turned, is_checkpoint)
}

/// A model that is to be written, whose weights are asked for one tensor at a time.
pub struct Unwritten<'a> {
    /// The description.
    pub description: Description,
    /// Its tensors, in the order of [`Architecture::tensors`](crate::Architecture::tensors).
    pub weights: Vec<LazyTensor<'a>>,
    /// The encodings of weight matrices that have one.
    pub encodings: BTreeMap<ParameterPath, Encoding>,
}

impl Unwritten<'_> {
    /// Writes a model file: to a sibling first, flushed to disk and then renamed, so that `path`
    /// holds either what it held before or the whole model. Returns the model's digest.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`]: the weights cannot be had, or the file cannot be written.
    #[cfg(not(target_family = "wasm"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<String, ModelFileError> {
        let path = path.as_ref();
        self.write_to(path).map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    #[cfg(not(target_family = "wasm"))]
    fn write_to(&self, path: &Path) -> Result<String, ModelFileProblem> {
        let (head, digest) = self.head()?;
        write::write_by(path, |file| {
            file.write_all(&head).map_err(ModelFileProblem::Io)?;
            body(&self.weights, file)
        })?;
        Ok(digest)
    }

    /// The bytes of a model file, the same for the same model, and the digest in it.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Parameters`] if the weights cannot be had.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, String), ModelFileProblem> {
        let (mut file, digest) = self.head()?;
        body(&self.weights, &mut file)?;
        Ok((file, digest))
    }

    /// The digest in its model file.
    ///
    /// # Errors
    ///
    /// As for [`to_bytes`](Self::to_bytes).
    pub fn digest(&self) -> Result<String, ModelFileProblem> {
        codec::digest(&self.document()?, &self.weights)
    }

    fn head(&self) -> Result<(Vec<u8>, String), ModelFileProblem> {
        head(DOCUMENT_KEY, &self.document()?, &self.weights)
    }

    /// The JSON document of its model file.
    fn document(&self) -> Result<String, ModelFileProblem> {
        let (model, encodings) = (self.description.clone(), self.encodings.clone());
        Document::new(model, encodings, None).write()
    }
}

impl Model {
    /// Reads a model file, as [`read_network`] does.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`] that names the file and what is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let result = open(path).and_then(|file| Self::from_source(&file));
        result.map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    /// Reads the bytes of a model file.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`], as for [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelFileProblem> {
        Self::from_source(&bytes)
    }

    /// As [`from_bytes`](Self::from_bytes), of bytes that are read where they are needed.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub fn from_source(file: &dyn ReadAt) -> Result<Self, ModelFileProblem> {
        let (document, tensors) = parse(file, Keep::All)?;
        let description = document.model.clone();
        Self::of_weights(description, weights_of(document, tensors, false))
    }

    /// Puts a description and the weights of its network together, as the file has them.
    fn of_weights(description: Description, mut left: Weights) -> Result<Self, ModelFileProblem> {
        let (mut weights, mut encoded) = (Vec::new(), BTreeMap::new());
        for (path, shape) in description.architecture.tensors() {
            match left.take_encoded(path, &shape)? {
                Some(matrix) => drop(encoded.insert(path, matrix)),
                None => weights.push(left.take_stored(path, &shape)?),
            }
        }
        left.finish()?;
        Ok(Self { description, weights, encoded })
    }

    /// The model as it is written: its methods give the bytes, the file and the digest.
    pub fn unwritten(&self) -> Unwritten<'_> {
        let mut weights = Vec::new();
        let mut plain = self.weights.iter();
        for (path, _) in self.description.architecture.tensors() {
            match self.encoded.get(&path) {
                Some(matrix) => weights.extend(encoded::tensors(path, matrix)),
                None => weights.extend(plain.next().map(LazyTensor::of)),
            }
        }
        let encodings = self.encoded.iter().map(|(&path, matrix)| (path, matrix.encoding()));
        let encodings = encodings.collect();
        Unwritten { description: self.description.clone(), weights, encodings }
    }
}
