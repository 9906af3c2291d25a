//! From chosen rows on the host to tensors on a device: one gather, one upload.

use burn::tensor::{Device, Int, Tensor, TensorData};

use fireclay_model::SparseRows;

use crate::{Dataset, Features, Targets};

/// Rows on a device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Raw features, `[batch, features]`; bytes are `0.0..=255.0`.
    pub inputs: Tensor<2>,
    /// The terms of each text, on the host; `[batch]` each.
    pub terms: Vec<SparseRows>,
    /// The targets.
    pub targets: BatchTargets,
}

/// The targets of a [`Batch`].
#[derive(Clone, Debug)]
pub enum BatchTargets {
    /// Class ids, `[batch]`.
    Classes(Tensor<1, Int>),
    /// Numbers, `[batch, targets]`: regression targets, or multi-labels as 0 and 1.
    Values(Tensor<2>),
}

impl Dataset {
    /// Gathers rows into one buffer and uploads it: `[batch, features]`, in the order of `indices`. Terms
    /// of texts stay on the host.
    ///
    /// Values are raw; preprocessing belongs to the model, which carries it to where it is used.
    /// A short last batch is fewer indices, and an index may occur more than once.
    ///
    /// # Panics
    ///
    /// If an index is not less than [`Dataset::len`]: a mistake of the caller, as in slice indexing.
    pub fn batch(&self, indices: &[usize], device: &Device) -> Batch {
        let mut features = Vec::with_capacity(indices.len() * self.width());
        if let Features::Blocks(blocks) = self.features() {
            blocks.gather(indices, &mut features);
        } else {
            indices.iter().for_each(|&index| self.append_row(index, &mut features));
        }
        Batch {
            inputs: matrix(features, indices.len(), self.width(), device),
            terms: self.terms_of(indices),
            targets: self.batch_targets(indices, device),
        }
    }

    pub(crate) fn batch_targets(&self, indices: &[usize], device: &Device) -> BatchTargets {
        match self.targets() {
            Targets::Classes { ids, .. } => {
                classes(indices.iter().map(|&index| ids[index]).collect(), device)
            }
            Targets::MultiLabel { values, labels } => {
                let values = gather(values, indices, labels.len()).map(|&value| f32::from(value));
                let values = matrix(values.collect(), indices.len(), labels.len(), device);
                BatchTargets::Values(values)
            }
            Targets::Values { values, names } => {
                let values = gather(values, indices, names.len()).copied().collect();
                BatchTargets::Values(matrix(values, indices.len(), names.len(), device))
            }
        }
    }
}

/// The values of some rows of a `[rows, columns]` slice, one row after the other.
fn gather<'a, T>(
    values: &'a [T],
    indices: &'a [usize],
    columns: usize,
) -> impl Iterator<Item = &'a T> {
    indices.iter().flat_map(move |&index| &values[index * columns..(index + 1) * columns])
}

/// Uploads `[rows, columns]`.
pub(crate) fn matrix(values: Vec<f32>, rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// Uploads class ids as the integer type of the device.
pub(crate) fn classes(ids: Vec<u32>, device: &Device) -> BatchTargets {
    let rows = ids.len();
    BatchTargets::Classes(Tensor::from_data(TensorData::new(ids, [rows]), device))
}
