//! Numbers of tensors that lie in files beside the model, as most exporters write large ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use fireclay_files::{OpenError, ReadAt, RegularFile};
use fireclay_terminal::counted;

use super::KIND;
use super::wire::Message;
use crate::error::shown;
use crate::store::Part;
use crate::{LARGEST_FILE, Problem};

/// The most files that the numbers of a model may lie in.
const MOST_FILES: usize = 1_000;

/// The times that each byte of them may be read: small tensors are looked at before they are
/// needed.
const READINGS: u64 = 4;

/// The files beside a model: those that were opened, and how much of each may still be read.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The folder of the model; none if it was read from memory.
    folder: Option<PathBuf>,
    files: RefCell<BTreeMap<PathBuf, Opened>>,
}

#[derive(Debug)]
struct Opened {
    file: Part,
    /// Bytes that may still be read: tensors that share them could take more memory than the file.
    left: u64,
}

/// Where the numbers of a tensor lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    beside: &'a Beside,
    location: &'a str,
    offset: u64,
    length: Option<u64>,
}

impl Beside {
    /// Files in the folder of a model at this path.
    pub(super) fn of(path: Option<&Path>) -> Self {
        let folder = path.map(|path| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        });
        Self { folder, files: RefCell::default() }
    }

    /// The files that were opened.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.borrow().keys().cloned().collect()
    }

    /// The one path of a file, which must be within the folder however it is written.
    fn path(&self, location: &str, tensor: &str) -> Result<PathBuf, Problem> {
        let refused = |what: &str, why: &str| refused(location, tensor, what, why);
        let Some(folder) = &self.folder else {
            return Err(refused(
                ", beside the model",
                "only a model read by its path has a folder",
            ));
        };
        if !is_inside(location) || location.is_empty() || location.contains(['\\', '\0']) {
            return Err(refused(" outside the folder of the model", SAVE_AS_ONE));
        }
        let path = folder.join(location);
        let (folder, path) = match (folder.canonicalize(), path.canonicalize()) {
            (Ok(folder), Ok(path)) => (folder, path),
            (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                let (tensor, location) = (shown(tensor), shown(location));
                let what = format!(
                    "the numbers of the tensor {tensor} are in the file {location}, which is \
                     missing; put it into the folder of the model"
                );
                return Err(Problem::malformed(KIND, what));
            }
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        };
        if !path.starts_with(&folder) {
            return Err(refused(", a link to outside the folder of the model", COPY_IT));
        }
        Ok(path)
    }
}

impl Opened {
    /// Opens a file, which must be a regular one.
    fn open(path: &Path, location: &str, tensor: &str) -> Result<Self, Problem> {
        let file = match RegularFile::open(path) {
            Ok(file) => Arc::new(file),
            Err(OpenError::NotAFile) => {
                return Err(refused(location, tensor, ", no regular file", SAVE_AS_ONE));
            }
            Err(OpenError::Io(error)) => return Err(error.into()),
        };
        let size = file.size();
        if size > LARGEST_FILE {
            let what = "the size in bytes of a file beside the model";
            return Err(Problem::Limit { what, found: size, most: LARGEST_FILE });
        }
        Ok(Self { file: file.into(), left: size.saturating_mul(READINGS) })
    }
}

/// Returns true if a path never leaves the folder that it begins in, but by way of a link.
fn is_inside(location: &str) -> bool {
    let mut depth = 0_usize;
    Path::new(location).components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => match depth.checked_sub(1) {
            Some(above) => {
                depth = above;
                true
            }
            None => false,
        },
        Component::RootDir | Component::Prefix(_) => false,
    })
}

/// The error of a file that is not opened.
fn refused(location: &str, tensor: &str, what: &str, why: &str) -> Problem {
    let (tensor, location) = (shown(tensor), shown(location));
    let what = format!("the numbers of the tensor {tensor} are in the file {location}{what}");
    Problem::refused(what, why)
}

const SAVE_AS_ONE: &str = "only files within that folder are opened; put the numbers into the model \
                           with onnx.save(model, path, save_as_external_data=False)";
const COPY_IT: &str =
    "only files within that folder are opened; copy the file to the place of the link";

impl<'a> Place<'a> {
    /// Reads the entries of `TensorProto.external_data`.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if there is no location, or a number is none.
    pub(super) fn read(
        entries: &[Message<'a>],
        beside: &'a Beside,
        tensor: &str,
    ) -> Result<Self, Problem> {
        let (mut location, mut offset, mut length) = (None, 0, None);
        for entry in entries {
            let (key, value) = entry.pair()?;
            match key {
                "location" => location = Some(value),
                "offset" => offset = number(key, value, tensor)?,
                "length" => length = Some(number(key, value, tensor)?),
                _ => {}
            }
        }
        match location {
            Some(location) => Ok(Self { beside, location, offset, length }),
            None => {
                let what = format!("tensor {} is in another file without a name", shown(tensor));
                Err(Problem::malformed(KIND, what))
            }
        }
    }

    /// The numbers: `size` bytes, which must be there.
    ///
    /// # Errors
    ///
    /// [`Problem`] if the file may not be opened, or has too few bytes for this tensor.
    pub(super) fn part(&self, size: u64, tensor: &str) -> Result<Part, Problem> {
        let path = self.beside.path(self.location, tensor)?;
        let mut files = self.beside.files.borrow_mut();
        if !files.contains_key(&path) {
            if files.len() == MOST_FILES {
                let what = "the number of files beside the model";
                let most = MOST_FILES as u64;
                return Err(Problem::Limit { what, found: most + 1, most });
            }
            files.insert(path.clone(), Opened::open(&path, self.location, tensor)?);
        }
        let Some(opened) = files.get_mut(&path) else { return Ok(Vec::new().into()) };
        let end = self.offset.checked_add(size);
        let part = end.and_then(|end| opened.file.part(self.offset..end));
        let Some(part) = part.filter(|_| self.length.is_none_or(|length| length == size)) else {
            let length = self.length.map_or("none".to_owned(), |length| length.to_string());
            let what = format!(
                "tensor {} needs {} from byte {} of the file {}, which has {}; the length given is \
                 {length}",
                shown(tensor),
                counted(size, "byte"),
                self.offset,
                shown(self.location),
                counted(opened.file.size(), "byte")
            );
            return Err(Problem::malformed(KIND, what));
        };
        let most = opened.file.size().saturating_mul(READINGS);
        opened.left = opened.left.checked_sub(size).ok_or(Problem::Limit {
            what: "the number of bytes that tensors share in a file beside the model",
            found: most.saturating_sub(opened.left).saturating_add(size),
            most,
        })?;
        Ok(part)
    }
}

fn number(key: &str, value: &str, tensor: &str) -> Result<u64, Problem> {
    value.parse().map_err(|_| {
        let what = format!("the {key} {} of tensor {}", shown(value), shown(tensor));
        Problem::malformed(KIND, format!("{what} is not a whole number"))
    })
}
