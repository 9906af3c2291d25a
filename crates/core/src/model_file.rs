//! The model file: one `.safetensors` with weights, architecture, task, preprocessing, provenance
//! and a digest over all of it. `docs/model-file.md` specifies it byte by byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorReadError};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde::de::{Error as _, IgnoredAny};
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
/// Key by which other libraries recognise the layout, and its value.
const FORMAT_KEY: &str = "format";
const FORMAT: &str = "pt";

/// What the names of a checkpoint's own tensors begin with.
const RUN_PREFIX: &str = "run.";

/// Bytes of the longest name that is suggested for a missing tensor.
const LONGEST_SUGGESTION: usize = 256;

/// The JSON document of a model file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    architecture: MlpConfig,
    task: Task,
    preprocessing: Preprocessing,
    #[serde(default)]
    provenance: Provenance,
    /// Of a checkpoint only: the state of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<serde_json::Value>,
}

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
        let Document { task, preprocessing, provenance, .. } = self.document.clone();
        Ok(Model { mlp, task, preprocessing, provenance })
    }

    fn is_of_run(&self, name: &str) -> bool {
        self.document.run.is_some() && name.starts_with(RUN_PREFIX)
    }

    /// The one door: everything about a file that can be checked without a device.
    fn parse(bytes: &[u8]) -> Result<Self, ModelFileProblem> {
        let (document, tensors) = unpack(DOCUMENT_KEY, bytes, |text| {
            check_version(text)?;
            let document = serde_json::from_str::<Document>(text)?;
            check_whole(text)?;
            Ok(document)
        })?;
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

/// The bytes of a safetensors file with a document under `key` in its metadata, the same for the
/// same content, and the digest in it.
///
/// # Errors
///
/// [`ModelFileProblem::Document`] if the header can not be written as JSON.
pub fn pack(
    key: &str,
    document: &str,
    tensors: &[NamedTensor],
) -> Result<(Vec<u8>, String), ModelFileProblem> {
    let bytes = |tensor: &NamedTensor| -> Vec<u8> {
        tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    let data: Vec<(&NamedTensor, Vec<u8>)> =
        tensors.iter().map(|tensor| (tensor, bytes(tensor))).collect();
    let fields = data.iter().map(|(t, bytes)| (t.name.as_str(), &t.shape[..], &bytes[..]));
    let digest = digest(document, fields);
    Ok((serialize(key, document, &digest, &data)?, digest))
}

/// Reads what [`pack`] wrote: the document by `read`, whose error comes before any about the
/// tensors, and the tensors in the order of the file.
///
/// # Errors
///
/// A [`ModelFileProblem`]; [`NoDocument`](ModelFileProblem::NoDocument) if there is none under `key`.
pub fn unpack<T>(
    key: &str,
    bytes: &[u8],
    read: impl FnOnce(&str) -> Result<T, ModelFileProblem>,
) -> Result<(T, Vec<NamedTensor>), ModelFileProblem> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata = header.metadata().as_ref();
    let text = metadata.and_then(|map| map.get(key)).ok_or(ModelFileProblem::NoDocument)?;
    let document = read(text)?;
    check_metadata(key, metadata.into_iter().flatten())?;
    let tensors = SafeTensors::deserialize(bytes)?;
    check_digest(metadata.and_then(|map| map.get(DIGEST_KEY)), text, &tensors)?;
    // The library gives them in no order. Those without data lie in one place: by name, too.
    let infos = header.tensors();
    let mut names: Vec<&String> = infos.keys().collect();
    names.sort_unstable_by_key(|name| (infos[*name].data_offsets, *name));
    let tensors = names.into_iter().map(|name| self::read(name, &tensors.tensor(name)?));
    Ok((document, tensors.collect::<Result<_, _>>()?))
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
    key: &str,
    text: &str,
    digest: &str,
    tensors: &[(&NamedTensor, Vec<u8>)],
) -> Result<Vec<u8>, serde_json::Error> {
    let metadata = BTreeMap::from([(key, text), (DIGEST_KEY, digest), (FORMAT_KEY, FORMAT)]);
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

/// The digest does not cover these, so each must be one that a writer writes.
fn check_metadata<'a>(
    document: &str,
    metadata: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), ModelFileProblem> {
    for (key, value) in metadata {
        match key.as_str() {
            DIGEST_KEY => {}
            key if key == document => {}
            FORMAT_KEY if value == FORMAT => {}
            _ => {
                let (key, value) = (key.clone(), value.chars().take(40).collect());
                return Err(ModelFileProblem::Metadata { key, value });
            }
        }
    }
    Ok(())
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

/// The architecture must say all that a writer says of one: what is missing has a default in
/// settings, but a file that lacks it is not of a network that anybody saved.
fn check_whole(text: &str) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Outline {
        architecture: BTreeMap<String, IgnoredAny>,
    }
    let Outline { architecture } = serde_json::from_str(text)?;
    let written = serde_json::to_value(MlpConfig::default())?;
    let mut fields = written.as_object().into_iter().flat_map(serde_json::Map::keys);
    match fields.find(|field| !architecture.contains_key(*field)) {
        Some(field) => {
            Err(serde_json::Error::custom(format!("architecture: missing field `{field}`")))
        }
        None => Ok(()),
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

/// A tensor of the file, copied.
fn read(name: &str, view: &TensorView<'_>) -> Result<NamedTensor, ModelFileProblem> {
    if view.dtype() != Dtype::F32 {
        let found = view.dtype().to_string();
        return Err(ModelFileProblem::Dtype { name: name.to_owned(), found });
    }
    let (words, _) = view.data().as_chunks::<4>();
    let values = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
    Ok(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), values })
}

/// Reads a file of known size; a device or a pipe could go on for ever.
///
/// # Errors
///
/// The file system's, and [`ModelFileProblem::NotAFile`].
pub fn read_regular_file(path: &Path) -> Result<Vec<u8>, ModelFileProblem> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(ModelFileProblem::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(metadata.len()).read_to_end(&mut bytes)?;
    log::info!("read {}, {} bytes", path.display(), bytes.len());
    Ok(bytes)
}

/// Writes a file so that `path` holds, at any moment and after any crash, either what it held
/// before or all of `bytes`: to a sibling, flushed to disk, renamed, and the folder flushed.
///
/// # Errors
///
/// That of the file system; the sibling is then removed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_whole_in_steps(path, bytes, &mut |_| Ok(()))
}

/// A step of [`write_whole`], about to be taken.
pub enum WriteStep<'a> {
    /// The sibling is made.
    Open,
    /// The bytes are written to it.
    Write(&'a mut File),
    /// It is flushed to disk.
    Flush,
    /// It takes the name of the file.
    Rename,
    /// The folder is flushed to disk.
    FlushFolder,
}

/// As [`write_whole`]; `before` is called before each step and can fail in its place, which is how
/// tests take a disk away.
///
/// # Errors
///
/// That of the file system or of `before`; the sibling is then removed.
pub fn write_whole_in_steps(
    path: &Path,
    bytes: &[u8],
    before: &mut dyn FnMut(WriteStep<'_>) -> std::io::Result<()>,
) -> std::io::Result<()> {
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
    before(WriteStep::Open)?;
    let mut sibling = builder.tempfile_in(folder).map_err(without_path)?;
    before(WriteStep::Write(sibling.as_file_mut()))?;
    // The file's own errors, which do not name the sibling either.
    sibling.as_file_mut().write_all(bytes)?;
    before(WriteStep::Flush)?;
    sibling.as_file().sync_all()?;
    before(WriteStep::Rename)?;
    sibling.persist(path).map_err(|error| error.error)?;
    before(WriteStep::FlushFolder)?;
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    log::info!("wrote {}, {} bytes", path.display(), bytes.len());
    Ok(())
}

/// An error without the name of the sibling, which nobody who reads it has heard of.
fn without_path(error: std::io::Error) -> std::io::Error {
    let text = error.to_string();
    let cause = text.split(" at path ").next().unwrap_or(&text);
    std::io::Error::new(error.kind(), cause)
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
    /// A model file that is no checkpoint.
    #[error("this is a model without the state of a run, so training can not go on from it")]
    NoRun,
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
    /// Metadata that the format does not have.
    #[error("its metadata has {key:?} = {value:?}, which the format does not have")]
    Metadata {
        /// The key.
        key: String,
        /// Its value, or the beginning of it.
        value: String,
    },
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
