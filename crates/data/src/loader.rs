//! For users of Burn's own data loaders: [`Dataset`] as a Burn dataset of [`Row`]s, and a batcher.

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset as BurnDataset, DatasetError};
use burn::tensor::Device;
use fireclay_model::SparseRows;

use crate::batch::{classes, matrix};
use crate::{Batch, BatchTargets, Dataset, Targets};

/// One row, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Raw features, `[features]`; bytes are `0.0..=255.0`.
    pub features: Vec<f32>,
    /// The terms of each text: their places and values.
    pub terms: Vec<(Vec<u32>, Vec<f32>)>,
    /// The targets.
    pub target: RowTarget,
}

/// The target of a [`Row`].
#[derive(Clone, Debug, PartialEq)]
pub enum RowTarget {
    /// A class id.
    Class(u32),
    /// Numbers, `[targets]`: regression targets, or multi-labels as 0 and 1.
    Values(Vec<f32>),
}

impl BurnDataset<Row> for Dataset {
    fn get(&self, index: usize) -> Result<Row, DatasetError> {
        let mut features = Vec::with_capacity(self.width());
        self.append_row(index, &mut features);
        let terms = self.terms().iter().map(|all| all.row(index));
        let terms = terms.map(|(places, values)| (places.to_vec(), values.to_vec())).collect();
        Ok(Row { features, terms, target: self.row_target(index) })
    }

    fn len(&self) -> usize {
        Dataset::len(self)
    }
}

impl Dataset {
    fn row_target(&self, index: usize) -> RowTarget {
        match self.targets() {
            Targets::Classes { ids, .. } => RowTarget::Class(ids[index]),
            Targets::MultiLabel { values, labels } => {
                let values = row_of(values, index, labels.len());
                RowTarget::Values(values.iter().map(|&value| f32::from(value)).collect())
            }
            Targets::Values { values, names } => {
                RowTarget::Values(row_of(values, index, names.len()).to_vec())
            }
        }
    }
}

fn row_of<T>(values: &[T], index: usize, columns: usize) -> &[T] {
    &values[index * columns..(index + 1) * columns]
}

/// Puts [`Row`]s of one [`Dataset`] together to a [`Batch`].
///
/// [`Dataset::batch`] does the same without a copy of each row; this is for Burn's loaders.
/// As Burn's trait has no way to return an error, rows that do not belong together panic.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowBatcher;

impl Batcher<Row, Batch> for RowBatcher {
    fn batch(&self, rows: Vec<Row>, device: &Device) -> Batch {
        let count = rows.len();
        let width = rows.first().map_or(0, |row| row.features.len());
        let mut terms = vec![SparseRows::default(); rows.first().map_or(0, |row| row.terms.len())];
        for row in &rows {
            for (all, (places, values)) in terms.iter_mut().zip(&row.terms) {
                all.push(places.iter().copied().zip(values.iter().copied()));
            }
        }
        let (features, targets): (Vec<_>, Vec<_>) =
            rows.into_iter().map(|row| (row.features, row.target)).unzip();
        Batch {
            inputs: matrix(features.concat(), count, width, device),
            terms,
            targets: collate(targets, device),
        }
    }
}

fn collate(targets: Vec<RowTarget>, device: &Device) -> BatchTargets {
    let (mut ids, mut values) = (Vec::new(), Vec::new());
    let count = targets.len();
    for target in targets {
        match target {
            RowTarget::Class(id) => ids.push(id),
            RowTarget::Values(row) => values.push(row),
        }
    }
    if ids.len() == count {
        return classes(ids, device);
    }
    let columns = values.first().map_or(0, Vec::len);
    BatchTargets::Values(matrix(values.concat(), count, columns, device))
}
