//! Why a picture cannot be read.

use std::io;

use fireclay_model::PicturesError;
use fireclay_terminal::sizes;

use crate::container::MOST_OF_A_FILE;
use crate::decode::{MOST_BYTES, MOST_PIXELS, MOST_RATIO, MOST_SIDE};

/// Why a picture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The stream of its bytes fails.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// The decoder refuses it.
    #[error("not a whole {kind} picture: {what}")]
    Malformed {
        /// The kind of file, such as `PNG`.
        kind: &'static str,
        /// The decoder's reason.
        what: String,
    },
    /// It is whole, and holds what is not read here.
    #[error("the {kind} picture holds {what}; no such pictures are read, so save it as PNG")]
    Unread {
        /// The kind of file, such as `TIFF`.
        kind: &'static str,
        /// What it holds.
        what: String,
    },
    /// It would take too much memory.
    #[error(
        "the picture is {width}x{height}; at most {MOST_SIDE} pixels a side and {MOST_PIXELS} in all \
         are read, so make it smaller"
    )]
    TooLarge {
        /// Pixels of a line.
        width: usize,
        /// Lines.
        height: usize,
    },
    /// The file itself is too large.
    #[error(
        "the file has {} bytes; at most {MOST_OF_A_FILE} of a picture are read, so make it smaller, or \
         save it as JPEG",
        .bytes.map_or("more".to_owned(), |bytes| bytes.to_string())
    )]
    LargeFile {
        /// Its bytes, if they are known.
        bytes: Option<u64>,
    },
    /// So few bytes hold no picture worth so much memory.
    #[error(
        "the picture is {width}x{height} in a file of {bytes} bytes; above {MOST_BYTES} bytes of memory at \
         most {MOST_RATIO} times the file is unpacked, so make it smaller"
    )]
    Inflated {
        /// Pixels of a line.
        width: usize,
        /// Lines.
        height: usize,
        /// Bytes of the file.
        bytes: usize,
    },
    /// It is what a camera saw before it made a picture of it.
    #[error("this is a camera's raw file; save it as JPEG or PNG")]
    Raw,
    /// There is nothing to see.
    #[error("the picture shows nothing that stands out from its background")]
    Blank,
    /// Noise, a photograph, a page of text.
    #[error(
        "what the picture shows is too tangled for one character; crop it to one, or say --fit resize \
         to give the picture as it is"
    )]
    Tangle,
    /// More than one character.
    #[error("the picture shows several marks in a row; crop it to one character")]
    Crowd,
    /// The network does not read pictures.
    #[error(
        "the model reads rows of shape {}, which is not that of a picture; give it IDX, NPY or CSV",
        sizes(.shape)
    )]
    NoPicture {
        /// Shape of a row.
        shape: Vec<usize>,
    },
    /// What has to be known to make a row of a picture is not.
    #[error(
        "the model does not say what the pictures looked like that it was trained on; say it with \
         {missing}, or with --fit resize to give it the picture as it is"
    )]
    Unsaid {
        /// The flags that say it.
        missing: &'static str,
    },
    /// A flag that says what this model's pictures do not have.
    #[error("{flag} is for models of grey pictures, and this one reads colours; leave it out")]
    Coloured {
        /// The flag.
        flag: &'static str,
    },
    /// The ink does not fit the model's pictures.
    #[error("{0}; choose another --placement")]
    Placement(#[from] PicturesError),
}
