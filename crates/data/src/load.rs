//! From a [`Source`] to checked rows.

use crate::cache::{Cache, LoadOptions};
use crate::fetch::FetchProgress;
use crate::set::TrainTest;
use crate::{DataError, Source};
use crate::{catalog, emnist, folder, mnist, sounds, table};

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
    progress: &mut dyn FnMut(FetchProgress),
) -> Result<TrainTest, DataError> {
    let data = match source {
        Source::Mnist => mnist::load(),
        Source::Idx(path) => folder::load(path),
        Source::Table(table) => table::load(table),
        Source::Sounds(recordings) => sounds::load(recordings),
        Source::FashionMnist => catalog::load(&catalog::FASHION_MNIST, options, progress),
        Source::Kmnist => catalog::load(&catalog::KMNIST, options, progress),
        Source::Qmnist => catalog::load(&catalog::QMNIST, options, progress),
        Source::Emnist(split) => {
            emnist::load(*split, &mut Cache::open(&emnist::ARCHIVE, options, progress)?)
        }
    }?;
    let TrainTest { train, test, .. } = &data;
    let (rows, more, shape) = (train.len(), test.len(), train.shape());
    log::info!("loaded {source}: {rows} training and {more} test rows of {shape:?}");
    Ok(data)
}
