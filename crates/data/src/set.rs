//! The parts of a data set, put together from the files that hold them.

use std::path::{Path, PathBuf};

use fireclay_model::Sounds;
use fireclay_readers::{Idx, IdxError, IdxValues};

use crate::{DataError, Dataset, Features, TableFacts, Targets};

/// The two parts of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainTest {
    /// Rows to train on; hold out some of them with [`crate::split`] for validation.
    pub train: Dataset,
    /// Rows to read once, after training.
    pub test: Dataset,
    /// What is known of the table that they are of, if they are of one.
    pub table: Option<Box<TableFacts>>,
}

impl TrainTest {
    /// Rows to train on, and rows to read once, after training.
    pub fn new(train: Dataset, test: Dataset) -> Self {
        Self { train, test, table: None }
    }

    /// The same rows, which have these features of recordings.
    pub(crate) fn with_sounds(mut self, sounds: Sounds) -> Self {
        if let Some(table) = &mut self.table {
            table.sounds = Some(sounds);
        }
        self
    }

    /// The features of recordings that the rows have, if they are of recordings.
    pub fn sounds(&self) -> Option<Sounds> {
        self.table.as_ref().and_then(|table| table.sounds)
    }
}

/// An IDX file that was read, and where from.
pub(crate) struct IdxFile {
    pub(crate) path: PathBuf,
    pub(crate) idx: Idx,
}

impl IdxFile {
    pub(crate) fn rows(&self) -> usize {
        self.idx.shape.first().copied().unwrap_or(0)
    }

    pub(crate) fn into_class_ids(self) -> Result<(PathBuf, Vec<u32>), DataError> {
        let ids = self.idx.into_class_ids().map_err(DataError::idx(&self.path))?;
        Ok((self.path, ids))
    }
}

/// Puts images, or rows of numbers, and class ids, read from `label_path`, together.
pub(crate) fn classified(
    images: IdxFile,
    label_path: &Path,
    ids: Vec<u32>,
    labels: Vec<String>,
) -> Result<Dataset, DataError> {
    check_rows(&images, label_path, ids.len())?;
    let rows = match images.idx.values {
        IdxValues::Floats(_) => features(images.idx),
        _ => images.idx.into_images().map(|(shape, pixels)| (shape, Features::Bytes(pixels))),
    };
    let (shape, features) = rows.map_err(DataError::idx(&images.path))?;
    Dataset::new(shape, features, Targets::Classes { ids, labels })
        .map_err(DataError::in_file(label_path))
}

/// Takes an IDX file as rows of features: the shape of one row, and the features of all.
pub(crate) fn features(idx: Idx) -> Result<(Vec<usize>, Features), IdxError> {
    match idx.values {
        IdxValues::Bytes(bytes) if idx.shape.len() > 1 => {
            Ok((idx.shape[1..].to_vec(), Features::Bytes(bytes)))
        }
        IdxValues::Floats(floats) if idx.shape.len() > 1 => {
            Ok((idx.shape[1..].to_vec(), Features::Floats(floats)))
        }
        values => Err(IdxError::NotFeatures { element: values.element(), shape: idx.shape }),
    }
}

/// Refuses a file of rows and one of labels, or targets, that have not as many of them.
pub(crate) fn check_rows(
    rows: &IdxFile,
    labels: &Path,
    label_count: usize,
) -> Result<(), DataError> {
    if rows.rows() == label_count {
        return Ok(());
    }
    let (image_count, images) = (rows.rows(), rows.path.clone());
    Err(DataError::CountMismatch { image_count, label_count, images, labels: labels.to_owned() })
}

/// Labels "0" to "9".
pub(crate) fn digits() -> Vec<String> {
    (0..10).map(|digit| digit.to_string()).collect()
}
