//! The model file: one `.safetensors` with weights, architecture, task, preprocessing, provenance
//! and a digest over all of it. `docs/model-file.md` specifies it byte by byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorReadError};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::named::nearest;
use crate::{
    ConfigError, Mlp, MlpConfig, Model, NamedTensor, Preprocessing, PreprocessingError, Provenance,
    Task,
};

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Key of the JSON document in the file's metadata.
const DOCUMENT_KEY: &str = "fireclay";
/// Key of the digest in the file's metadata.
const DIGEST_KEY: &str = "fireclay_digest";

/// The JSON document of a model file.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    architecture: MlpConfig,
    task: Task,
    preprocessing: Preprocessing,
    #[serde(default)]
    provenance: Provenance,
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
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().as_ref();
        let text =
            metadata.and_then(|map| map.get(DOCUMENT_KEY)).ok_or(ModelFileProblem::NoDocument)?;
        check_version(text)?;
        let document: Document = serde_json::from_str(text)?;
        let tensors = SafeTensors::deserialize(bytes)?;
        check_digest(metadata.and_then(|map| map.get(DIGEST_KEY)), text, &tensors)?;
        document.validate()?;

        let mut taken = Vec::new();
        let mlp = Mlp::from_tensors(&document.architecture, device, |name, shape| {
            let values = take(&tensors, name, shape, &taken)?;
            taken.push(name.to_owned());
            Ok::<_, ModelFileProblem>(values)
        })?;
        if let Some(unused) =
            tensors.names().into_iter().find(|name| !taken.iter().any(|t| t == name))
        {
            return Err(ModelFileProblem::UnusedTensor { name: unused.to_owned() });
        }
        let Document { task, preprocessing, provenance, .. } = document;
        Ok(Self { mlp, task, preprocessing, provenance })
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
        let tensors = self.mlp.tensors()?;
        let text = serde_json::to_string(&Document {
            version: FORMAT_VERSION,
            architecture: self.mlp.config().clone(),
            task: self.task.clone(),
            preprocessing: self.preprocessing.clone(),
            provenance: self.provenance.clone().with_finite_metrics(),
        })?;
        let data: Vec<(&NamedTensor, Vec<u8>)> = tensors
            .iter()
            .map(|tensor| (tensor, tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let digest = digest(
            &text,
            data.iter().map(|(t, bytes)| (t.name.as_str(), &t.shape[..], &bytes[..])),
        );
        Ok((serialize(&text, &digest, &data)?, digest))
    }
}

impl Document {
    fn validate(&self) -> Result<(), ModelFileProblem> {
        self.architecture.validate()?;
        self.preprocessing.validate(self.architecture.inputs())?;
        let (names, outputs) = (self.task.outputs(), self.architecture.outputs);
        if names == outputs { Ok(()) } else { Err(ModelFileProblem::Outputs { names, outputs }) }
    }
}

/// One entry of a safetensors header.
#[derive(Serialize)]
#[serde(untagged)]
enum HeaderEntry<'a> {
    Metadata(BTreeMap<&'a str, &'a str>),
    Tensor { dtype: &'static str, shape: &'a [usize], data_offsets: [usize; 2] },
}

/// The safetensors file of these tensors. Written here because the library's writer orders the
/// metadata at random, and one model must always give one file.
fn serialize(
    text: &str,
    digest: &str,
    tensors: &[(&NamedTensor, Vec<u8>)],
) -> Result<Vec<u8>, serde_json::Error> {
    let metadata = BTreeMap::from([(DOCUMENT_KEY, text), (DIGEST_KEY, digest), ("format", "pt")]);
    let mut header = BTreeMap::from([("__metadata__", HeaderEntry::Metadata(metadata))]);
    let mut end = 0;
    for (tensor, bytes) in tensors {
        let data_offsets = [end, end + bytes.len()];
        let entry = HeaderEntry::Tensor { dtype: "F32", shape: &tensor.shape, data_offsets };
        header.insert(&tensor.name, entry);
        end += bytes.len();
    }
    let mut json = serde_json::to_vec(&header)?;
    // Readers may map the file: data starts at a multiple of 8.
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json);
    tensors.iter().for_each(|(_, bytes)| file.extend_from_slice(bytes));
    Ok(file)
}

/// `sha256:` and the digest of the document and, in order of their names, of all tensors.
fn digest<'a>(
    text: &str,
    tensors: impl Iterator<Item = (&'a str, &'a [usize], &'a [u8])>,
) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(text.as_bytes());
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_unstable_by_key(|(name, ..)| *name);
    for (name, shape, bytes) in tensors {
        field(name.as_bytes());
        let shape: Vec<u8> = shape.iter().flat_map(|&size| (size as u64).to_le_bytes()).collect();
        field(&shape);
        field(bytes);
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn check_digest(
    found: Option<&String>,
    text: &str,
    tensors: &SafeTensors<'_>,
) -> Result<(), ModelFileProblem> {
    let all = tensors.tensors();
    let computed =
        digest(text, all.iter().map(|(name, view)| (name.as_str(), view.shape(), view.data())));
    match found {
        Some(found) if *found == computed => Ok(()),
        _ => Err(ModelFileProblem::Digest { found: found.cloned().unwrap_or_default(), computed }),
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

fn take(
    tensors: &SafeTensors<'_>,
    name: &str,
    expected: &[usize],
    taken: &[String],
) -> Result<Vec<f32>, ModelFileProblem> {
    let Ok(view) = tensors.tensor(name) else {
        let left = tensors.names().into_iter().filter(|name| !taken.iter().any(|t| t == name));
        let nearest = nearest(name, left).map(str::to_owned);
        return Err(ModelFileProblem::MissingTensor { name: name.to_owned(), nearest });
    };
    if view.dtype() != Dtype::F32 {
        return Err(ModelFileProblem::Dtype {
            name: name.to_owned(),
            found: view.dtype().to_string(),
        });
    }
    if view.shape() != expected {
        return Err(ModelFileProblem::Shape {
            name: name.to_owned(),
            found: view.shape().to_vec(),
            expected: expected.to_vec(),
        });
    }
    let (words, _) = view.data().as_chunks::<4>();
    Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}

/// Reads a file of known size; a device or a pipe could go on for ever.
fn read_regular_file(path: &Path) -> Result<Vec<u8>, ModelFileProblem> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(ModelFileProblem::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(metadata.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file so that `path` holds, at any moment and after any crash, either what it held
/// before or all of `bytes`: to a sibling, flushed to disk, renamed, and the folder flushed.
///
/// # Errors
///
/// That of the file system; the sibling is then removed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fireclay-").suffix(".tmp");
    #[cfg(unix)]
    {
        // As `File::create` asks for; the user's umask takes away what it should.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut sibling = builder.tempfile_in(folder)?;
    // The file's own errors, without the name of the sibling, which is gone when they are read.
    sibling.as_file_mut().write_all(bytes)?;
    sibling.as_file().sync_all()?;
    sibling.persist(path).map_err(|error| error.error)?;
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// A model file that can not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ModelFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub problem: ModelFileProblem,
}

/// What is wrong with a model file.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileProblem {
    /// The file system says no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A folder, device or pipe.
    #[error("this is not a regular file")]
    NotAFile,
    /// Not a safetensors file, or a damaged one.
    #[error("this is not a whole safetensors file: {0}")]
    Safetensors(#[from] SafeTensorError),
    /// A safetensors file of another program.
    #[error(
        "this safetensors file has no `{DOCUMENT_KEY}` metadata, so it is not a Fireclay model"
    )]
    NoDocument,
    /// Written by a newer program.
    #[error("format version {found} is not known; this program reads versions 1 to {newest}")]
    Version {
        /// The file's version.
        found: u32,
        /// The newest version that can be read.
        newest: u32,
    },
    /// The JSON document is not what the format says.
    #[error("its `{DOCUMENT_KEY}` document can not be read: {0}")]
    Document(#[from] serde_json::Error),
    /// The content is not what was written.
    #[error("the file is damaged: its digest is {found:?}, its content gives {computed}")]
    Digest {
        /// The digest in the file.
        found: String,
        /// The digest of its content.
        computed: String,
    },
    /// The architecture is impossible.
    #[error("its architecture is impossible: {0}")]
    Config(#[from] ConfigError),
    /// The preprocessing is impossible.
    #[error("{0}")]
    Preprocessing(#[from] PreprocessingError),
    /// Outputs and their names differ in number.
    #[error("its task names {names} outputs, its network has {outputs}")]
    Outputs {
        /// Names in the task.
        names: usize,
        /// Outputs of the network.
        outputs: usize,
    },
    /// A tensor that the architecture needs is not there.
    #[error("tensor {name} is missing{}", nearest.as_ref().map_or(String::new(), |n| format!("; there is a {n}")))]
    MissingTensor {
        /// The tensor's path.
        name: String,
        /// A tensor of a similar name, if there is one.
        nearest: Option<String>,
    },
    /// A tensor has another shape than the architecture says.
    #[error("tensor {name} is {found:?}, the architecture needs {expected:?}")]
    Shape {
        /// The tensor's path.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape in the architecture.
        expected: Vec<usize>,
    },
    /// A tensor is of a type that the format does not allow.
    #[error("tensor {name} is {found}; a model file holds F32")]
    Dtype {
        /// The tensor's path.
        name: String,
        /// Its type.
        found: String,
    },
    /// A tensor that the architecture has no place for.
    #[error("tensor {name} has no place in the architecture")]
    UnusedTensor {
        /// The tensor's path.
        name: String,
    },
    /// The device failed while its parameters were read.
    #[error("the device failed: {0}")]
    Device(#[from] TensorReadError),
}
