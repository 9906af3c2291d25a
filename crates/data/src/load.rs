//! From a [`Source`] to checked rows.

use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::idx::{Idx, IdxValues};
use crate::{DataError, Dataset, Features, Source, Targets};
use crate::{catalog, emnist, folder, mnist};

/// The two published parts of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainTest {
    /// Rows to train on; hold out some of them with [`crate::split`] for validation.
    pub train: Dataset,
    /// Rows to read once, after training.
    pub test: Dataset,
}

/// Where [`load`] looks and fetches; the default serves everyone but tests and shared machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The folder for fetched files instead of `fireclay` in the user's cache folder.
    /// Each data set has a folder of its own in it.
    pub cache_folder: Option<PathBuf>,
    /// Base URLs to fetch from, in this order, instead of the published mirrors.
    pub mirrors: Option<Vec<String>>,
}

/// How far the fetching of a file has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The name of the file.
    pub file: String,
    /// Bytes fetched.
    pub done: u64,
    /// Bytes of the whole file, if the server told.
    pub total: Option<u64>,
}

/// Loads a data set: from this crate, from files, or over the network into a cache.
///
/// `progress` is called while a file is fetched, and never otherwise.
///
/// # Errors
///
/// [`DataError`] for files that are missing, malformed or not the published ones, and
/// [`DataError::Unavailable`], with all addresses tried, if a file can be had from nowhere.
pub fn load(
    source: &Source,
    options: &LoadOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<TrainTest, DataError> {
    let data = match source {
        Source::Mnist => mnist::load(),
        Source::Idx(path) => folder::load(path),
        Source::FashionMnist => catalog::load(&catalog::FASHION_MNIST, options, progress),
        Source::Kmnist => catalog::load(&catalog::KMNIST, options, progress),
        Source::Qmnist => catalog::load(&catalog::QMNIST, options, progress),
        Source::Emnist(split) => {
            emnist::load(*split, &mut Cache::open(&emnist::ARCHIVE, options, progress)?)
        }
    }?;
    let TrainTest { train, test } = &data;
    let (rows, more, shape) = (train.len(), test.len(), train.shape());
    log::info!("loaded {source}: {rows} training and {more} test rows of {shape:?}");
    Ok(data)
}

/// An IDX file that was read, and where from.
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) idx: Idx,
}

impl Part {
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
    images: Part,
    label_path: &Path,
    ids: Vec<u32>,
    labels: Vec<String>,
) -> Result<Dataset, DataError> {
    check_rows(&images, label_path, ids.len())?;
    let rows = match images.idx.values {
        IdxValues::Floats(_) => images.idx.into_features(),
        _ => images.idx.into_images().map(|(shape, pixels)| (shape, Features::Bytes(pixels))),
    };
    let (shape, features) = rows.map_err(DataError::idx(&images.path))?;
    Dataset::new(shape, features, Targets::Classes { ids, labels })
        .map_err(DataError::in_file(label_path))
}

/// Refuses a file of rows and one of labels, or targets, that have not as many of them.
pub(crate) fn check_rows(rows: &Part, labels: &Path, label_count: usize) -> Result<(), DataError> {
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
