//! Data sets for Fireclay: from files to checked rows on the host, from rows to batches on a device.
//!
//! The two main types are [`Dataset`], rows in host memory that passed every check once, and
//! [`Batch`], some of those rows as tensors.
//! [`load`] makes a [`TrainTest`] from a [`Source`]: the bundled MNIST, a published set that is
//! fetched once and verified, or a folder of IDX files.
//! [`split`] holds out rows for validation; [`permutation`] and [`batches`] say in which order rows
//! are visited.
//!
//! ```
//! use burn::tensor::Device;
//! use fireclay_data::{
//!     BatchTargets, Holdout, LoadOptions, Source, batches, load, permutation, split,
//! };
//!
//! let mnist = load(&Source::Mnist, &LoadOptions::default(), &mut |_progress| {})?;
//! let rows = split(&mnist.train, Holdout::Count(5_000), true, 42)?;
//!
//! let order = permutation(rows.train.len(), 42, 0);
//! let first = batches(order.len(), 128, false).next().ok_or("no batch")?;
//! let indices: Vec<usize> = order[first].iter().map(|&at| rows.train[at as usize]).collect();
//!
//! let batch = mnist.train.batch(&indices, &Device::flex());
//! assert_eq!(batch.inputs.dims(), [128, 784]);
//! assert!(matches!(batch.targets, BatchTargets::Classes(ids) if ids.dims() == [128]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why not Burn's data loader
//!
//! Rows of a dense network are small, and a row apiece through a loader costs more than the step it
//! feeds: [`Dataset::batch`] copies straight from the file's bytes into one buffer.
//! Order is a pure function of seed and epoch, so a resumed run needs no saved loader state, which
//! Burn's loader does not offer.
//! Whoever wants Burn's loader has it: [`Dataset`] is a Burn dataset of [`Row`]s, and [`RowBatcher`]
//! its batcher.
//!
//! # What is absent
//!
//! This crate knows no model, applies no preprocessing and prints nothing.

mod augment;
mod batch;
mod blocks;
mod dataset;
mod loader;
mod order;
mod row_source;
mod select;
mod split;
mod statistics;

mod cache;
mod catalog;
mod emnist;
mod fetch;
mod folder;
mod load;
mod mnist;
mod set;
mod sounds;
mod source;
mod table;

mod checksum;
mod error;
mod repeated;

#[cfg(test)]
#[path = "../tests/suite/server.rs"]
mod test_server;

pub use augment::{Augmentation, AugmentationError};
pub use batch::{Batch, BatchTargets};
pub use blocks::RowsOnDisk;
pub use cache::LoadOptions;
pub use checksum::read_idx;
pub use dataset::{Dataset, Features, RawRows, Targets};
pub use error::{Attempt, DataError};
pub use fetch::FetchProgress;
pub use fireclay_readers::{
    self as readers, Idx, IdxError, IdxRows, IdxValues, TextError, decode_text, parse_idx,
};
pub use fireclay_sounds::SoundOptions;
pub use fireclay_tables as tables;
pub use load::load;
pub use loader::{Row, RowBatcher, RowTarget};
pub use order::{batches, drawn, permutation};
pub use row_source::{HostRows, RowSource};
pub use set::TrainTest;
pub use sounds::{SoundSource, load_all_sounds};
pub use source::{EmnistSplit, Source, data_files};
pub use split::{Holdout, Split, split};
pub use table::{DividedTable, Division, TableFacts, TableSource, load_whole};
