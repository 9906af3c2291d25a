//! Why an input cannot be predicted.

use std::error::Error;
use std::io;

use fireclay_formats::Problem;
use fireclay_model::{InputError, RowError};
use fireclay_pictures::PictureError;
use fireclay_readers::IdxError;
use fireclay_sounds::SoundError;
use fireclay_terminal::{counted, sizes};

use crate::columns::ColumnsError;
use crate::foreign::Foreign;
use crate::table::TableError;

/// An input that cannot be predicted.
#[derive(Debug, thiserror::Error)]
#[error("{name}")]
pub struct PredictError {
    /// The name of the input.
    pub name: String,
    /// What is wrong with it.
    #[source]
    pub problem: InputProblem,
}

/// What is wrong with an input, or with its prediction.
#[derive(Debug, thiserror::Error)]
pub enum InputProblem {
    /// It cannot be read.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// A folder.
    #[error("this is a folder; name the files in it")]
    Folder,
    /// Texts for a model that takes something else.
    #[error("the model takes {taken}, and not one text alone; give a file in place of --text")]
    NoText {
        /// The names of what it takes.
        taken: String,
    },
    /// A file without bytes.
    #[error("the file is empty")]
    Empty,
    /// A file of a kind that is not read.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// A file that is not what its name says.
    #[error(
        "by its name this is {kind}, and its bytes begin as no file that is read here; copy or save \
         it once more"
    )]
    OnlyByName {
        /// What it should be, such as `a PNG picture`.
        kind: &'static str,
    },
    /// A picture that cannot be read.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A recording that cannot be read.
    #[error(transparent)]
    Sound(#[from] SoundError),
    /// A recording for a model that does not read any.
    #[error(
        "this is a recording, and the model reads rows of shape {}; train a model with --data sounds:FOLDER",
        sizes(.shape)
    )]
    NoSounds {
        /// Shape of a row.
        shape: Vec<usize>,
    },
    /// Windows over what is no recording.
    #[error("this is no recording, so it has no windows; leave out --window")]
    NoRecording,
    /// A malformed IDX file.
    #[error(transparent)]
    Idx(#[from] IdxError),
    /// A malformed array of NumPy.
    #[error(transparent)]
    Array(#[from] Problem),
    /// A file of several arrays.
    #[error("this holds {found} arrays, not one")]
    Arrays {
        /// The number of arrays.
        found: usize,
    },
    /// An array that is too large to be read as a whole.
    #[error("it has more than {most} bytes; give it in parts")]
    LargeArray {
        /// The most bytes that are read.
        most: u64,
    },
    /// An array whose rows the model does not take.
    #[error(
        "it has rows of {}, of shape {shape:?}; the model takes {expected}",
        .row.map_or("too many numbers".to_owned(), |row| counted(row as u64, "number"))
    )]
    Width {
        /// Numbers of a row, if they can be counted.
        row: Option<usize>,
        /// The shape of the array.
        shape: Vec<usize>,
        /// Numbers that the model takes.
        expected: usize,
    },
    /// A table of numbers with a mistake.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A table of named columns with a mistake.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// A row that the model does not take.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A row of named columns that the model does not take.
    #[error(transparent)]
    Values(#[from] InputError),
    /// Whatever computes the predictions fails.
    #[error(transparent)]
    Backend(Box<dyn Error + Send + Sync>),
    /// Outputs that are infinite or no numbers.
    #[error("the network's outputs are not numbers; `fireclay inspect` may say why")]
    NotFinite,
}
