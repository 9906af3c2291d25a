//! Why a file cannot be read.

use std::path::PathBuf;

use fireclay_terminal::{is_visible, printable};

use crate::names::{listed, several};

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FormatError {
    /// The file.
    pub path: PathBuf,
    /// The problem; part of the message, and so no source of its own.
    pub problem: Problem,
}

/// The problem with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file system says no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A folder, device or pipe.
    #[error("this is not a regular file")]
    NotAFile,
    /// None of the kinds that are known.
    #[error(
        "this is no kind of file that can be read (it begins with {beginning}); known are PyTorch's \
         .pt and .pth, .safetensors, Keras' .keras and .h5, NumPy's .npz and .npy, .onnx and Burn's \
         .bpk"
    )]
    Unknown {
        /// Its first bytes, in words.
        beginning: String,
    },
    /// Cut off, damaged, or not what its kind should be.
    #[error("not a whole {kind} file: {what}")]
    Malformed {
        /// The kind of file that it looks like, such as `PyTorch`.
        kind: &'static str,
        /// The finding, its place, and the expectation.
        what: String,
    },
    /// Something that this kind of file may hold, but that is not safe to follow or not understood.
    #[error("{what}, which is refused: {why}")]
    Refused {
        /// The finding and its place.
        what: String,
        /// The reason, and what to do instead.
        why: String,
    },
    /// Several networks, of which one has to be chosen.
    #[error(
        "it holds several networks, or one in several parts: {}; choose one with --key NAME, or take \
         all as one network with --key {}",
        listed(found, *count),
        crate::WHOLE
    )]
    Several {
        /// The choices, or the first of them.
        found: Vec<Holding>,
        /// The number of networks.
        count: usize,
    },
    /// A key that nothing has.
    #[error(
        "nothing in it is called {}{}",
        shown(key),
        if found.is_empty() {
            ", nor has any of its names parts; leave the key out".to_owned()
        } else {
            format!("; there are {}", several(found.iter().map(|name| shown(name)), found.len()))
        }
    )]
    NoKey {
        /// The key.
        key: String,
        /// Keys that there are.
        found: Vec<String>,
    },
    /// A file of a kind that is known, and not read.
    #[error("this is {what}; {instead}")]
    Foreign {
        /// The kind, such as `a GGUF file`.
        what: &'static str,
        /// The remedy.
        instead: &'static str,
    },
    /// One of several files that make a model together.
    #[error("this is part {number} of {count} of a model; {instead}")]
    Part {
        /// Which it is, counted from 1.
        number: u32,
        /// The number found.
        count: u32,
        /// The remedy.
        instead: &'static str,
    },
    /// More bytes than a compressed file of its size may unpack to.
    #[error(
        "the file unpacks to {found} bytes, and at most {most} are unpacked of a file of its size; \
         save it without compression, {how}"
    )]
    Unpacked {
        /// The bytes that it unpacks to, as far as is known.
        found: u64,
        /// The number allowed.
        most: u64,
        /// The way to save it so.
        how: &'static str,
    },
    /// More than is allowed of something.
    #[error("{what} is {found}; at most {most} is read")]
    Limit {
        /// The quantity that is limited.
        what: &'static str,
        /// The amount found.
        found: u64,
        /// The amount allowed.
        most: u64,
    },
}

/// Tensors of a file that may be those of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The key to choose it by.
    pub key: String,
    /// The number of tensors.
    pub tensors: usize,
    /// The shape of the first that has two dimensions and numbers of floating point.
    pub matrix: Option<Vec<usize>>,
}

impl From<fireclay_files::OpenError> for Problem {
    fn from(error: fireclay_files::OpenError) -> Self {
        match error {
            fireclay_files::OpenError::Io(error) => Self::Io(error),
            fireclay_files::OpenError::NotAFile => Self::NotAFile,
        }
    }
}

impl Problem {
    /// A file of kind `kind` that is cut off or damaged.
    pub(crate) fn malformed(kind: &'static str, what: impl Into<String>) -> Self {
        Self::Malformed { kind, what: what.into() }
    }

    /// Something that is not followed.
    pub(crate) fn refused(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), why: why.into() }
    }

    /// A file of no known kind.
    pub(crate) fn unknown(bytes: &[u8]) -> Self {
        Self::Unknown { beginning: shown_bytes(bytes, 16) }
    }
}

/// Fails if there is more of something than is allowed.
pub(crate) fn limit(what: &'static str, found: u64, most: u64) -> Result<(), Problem> {
    if found > most { Err(Problem::Limit { what, found, most }) } else { Ok(()) }
}

/// The first `most` of some bytes as messages have them: as text if they are, else as numbers.
pub(crate) fn shown_bytes(bytes: &[u8], most: usize) -> String {
    let first = &bytes[..bytes.len().min(most)];
    let text = match std::str::from_utf8(first) {
        Ok(text) => Some(text),
        // Cut in the middle of a character, which is left out.
        Err(error) if error.error_len().is_none() && bytes.len() > most => {
            std::str::from_utf8(&first[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) if text.chars().all(|c| is_visible(c) || matches!(c, '\n' | '\r' | '\t')) => {
            shown(text)
        }
        _ => {
            let numbers: Vec<String> =
                first.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("the bytes {}", numbers.join(" "))
        }
    }
}

/// A name from a file as messages have it: in quotes, of one line, and not too long.
pub(crate) fn shown(name: &str) -> String {
    const MOST: usize = 80;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("\"{}\"...", printable(&name[..end], MOST)),
        None => format!("\"{}\"", printable(name, MOST)),
    }
}

/// The shape of a sample as messages have it, with `?` for a size that is not known.
pub(crate) fn shown_shape(sample: &[Option<usize>]) -> String {
    let sizes = sample.iter().map(|size| size.map_or("?".to_owned(), |size| size.to_string()));
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}

/// A note on an item that a file says of itself.
pub(crate) fn metadata_note(key: &str, value: &str) -> String {
    const MOST: usize = 80;
    format!("metadata {}: {}", printable(key, MOST), printable(value, MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_cannot_move_the_cursor() {
        assert_eq!(metadata_note("k", "{0: 'a'}\u{202e}"), "metadata k: {0: 'a'}\u{fffd}");
        assert_eq!(shown("a\u{0}\"b'"), "\"a\u{fffd}\"b'\"");
        assert_eq!(shown_bytes("aä".as_bytes(), 2), "\"a\"");
        assert_eq!(shown_bytes(b"a\xff", 16), "the bytes 61 ff");
        // What is cut off itself is no text.
        assert_eq!(shown_bytes(&"ä".as_bytes()[..1], 16), "the bytes c3");
    }
}
