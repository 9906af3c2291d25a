//! What a network reads of a batch.

use burn::tensor::Tensor;
use fireclay_kernels::SparseBatch;

use crate::preprocessing::prepare;
use crate::{Preprocessing, SparseRows};

/// What a network reads of a batch: the columns of its rows, and the terms of their texts.
#[derive(Clone, Debug)]
pub struct NetworkInput {
    /// `[batch, columns]`; of texts alone there are no columns.
    pub columns: Tensor<2>,
    /// The terms of each text, `[batch]` each, in the order of the bags of the front stage.
    pub terms: Vec<SparseRows>,
}

impl NetworkInput {
    /// The same with preprocessed columns.
    #[must_use]
    pub fn prepared(self, preprocessing: &Preprocessing) -> Self {
        Self { columns: prepare(preprocessing, self.columns), ..self }
    }

    /// The same off the autodiff graph.
    #[must_use]
    pub fn without_autodiff(self) -> Self {
        Self { columns: self.columns.without_autodiff(), ..self }
    }
}

impl From<Tensor<2>> for NetworkInput {
    fn from(columns: Tensor<2>) -> Self {
        Self { columns, terms: Vec::new() }
    }
}

/// Sparse rows as the kernels take them.
pub(crate) fn batch_of(rows: &SparseRows) -> SparseBatch {
    SparseBatch {
        starts: rows.starts().to_vec(),
        places: rows.places().to_vec(),
        values: rows.values().to_vec(),
    }
}
