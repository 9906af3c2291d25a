//! The errors of a model file.

use std::path::PathBuf;

use fireclay_files::{HeaderError, OpenError};
use fireclay_terminal::counted;

use super::DOCUMENT_KEY;
use crate::{Average, ConfigError, EncodingError, InputError, ParameterPath, TaskError};

/// A model file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ModelFileError {
    /// The file.
    pub path: PathBuf,
    /// The problem.
    #[source]
    pub problem: ModelFileProblem,
}

/// The problem with a model file.
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
    Safetensors(#[source] HeaderError),
    /// More than is read of something, of a file of our own or of a stranger.
    #[error("{what} is {found}; at most {most} is read")]
    Limit {
        /// The quantity that is limited.
        what: &'static str,
        /// The amount found, or one more than is allowed.
        found: u64,
        /// The amount allowed.
        most: u64,
    },
    /// A safetensors file of another program.
    #[error(
        "this safetensors file has no `{DOCUMENT_KEY}` metadata, so it is not a Fireclay model"
    )]
    NoDocument,
    /// An ensemble of several models, where one network is needed.
    #[error(
        "this is an ensemble of {members} models, which can predict and be measured; for anything \
         else name one of its models"
    )]
    Committee {
        /// Number of models.
        members: usize,
    },
    /// Models that are not of one ensemble.
    #[error("model {member} of the ensemble {problem}")]
    Member {
        /// The place of the model, from 0.
        member: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A model file that is no checkpoint.
    #[error("this is a model without the state of a run, so training cannot continue from it")]
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
    #[error("its `{DOCUMENT_KEY}` document cannot be read: {0}")]
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
    /// The input is impossible, or not that of the architecture.
    #[error("{0}")]
    Input(#[from] InputError),
    /// The task is impossible.
    #[error("{0}")]
    Task(#[from] TaskError),
    /// A part of the model is newer than the version of its file.
    #[error("it has {part}, which version {version} of the format does not have")]
    NotInVersion {
        /// The version of the file.
        version: u32,
        /// The part.
        part: &'static str,
    },
    /// Outputs and their names differ in number.
    #[error("its task names {}, its network has {outputs}", counted(*names as u64, "output"))]
    Outputs {
        /// Names in the task.
        names: usize,
        /// Outputs of the network.
        outputs: usize,
    },
    /// An ensemble averages what its task does not.
    #[error("its ensemble averages {found}, and its task needs {expected}")]
    Average {
        /// What is averaged.
        found: Average,
        /// What the task needs.
        expected: Average,
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
    /// A tensor does not have as many values as its shape says.
    #[error("tensor {name} has {}, its shape {expected}", counted(*found as u64, "value"))]
    Count {
        /// The tensor's path.
        name: String,
        /// Its values, or their bytes.
        found: usize,
        /// As many as its shape says.
        expected: usize,
    },
    /// A tensor is of a type that the format does not allow.
    #[error("tensor {name} is {found}; its encoding is written as {expected}")]
    Dtype {
        /// The tensor's path.
        name: String,
        /// Its type.
        found: String,
        /// The type of its encoding, or of weights without one.
        expected: String,
    },
    /// An encoding of something that is no weight matrix of the network.
    #[error("it has an encoding for {path}, which is no weight matrix of its network")]
    EncodedPath {
        /// The path.
        path: ParameterPath,
    },
    /// The matrix cannot be one in its encoding.
    #[error("the encoding of {path} is wrong: {problem}")]
    Encoding {
        /// The matrix.
        path: ParameterPath,
        /// The problem.
        #[source]
        problem: EncodingError,
    },
    /// A tensor that the architecture has no place for.
    #[error("tensor {name} has no place in the architecture")]
    UnusedTensor {
        /// The tensor's path.
        name: String,
    },
    /// The parameters cannot be had from where they are, such as a device that fails.
    #[error("{0}")]
    Parameters(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<HeaderError> for ModelFileProblem {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Io(error) => Self::Io(error),
            HeaderError::Limit { what, found, most } => Self::Limit { what, found, most },
            error => Self::Safetensors(error),
        }
    }
}

impl From<OpenError> for ModelFileProblem {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => Self::Io(error),
            OpenError::NotAFile => Self::NotAFile,
        }
    }
}

impl ModelFileProblem {
    /// Returns true if the file may be one of another program: it is no safetensors file, has no
    /// document of Fireclay, or a larger header than Fireclay writes.
    pub fn may_be_foreign(&self) -> bool {
        matches!(self, Self::Safetensors(_) | Self::NoDocument | Self::Limit { .. })
    }
}
