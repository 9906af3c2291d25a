//! Rows on their way through a predictor.

use crate::{EncodedRows, SparseRows};

/// Some rows of many: their dense columns, and where the terms of their texts are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    /// Number of rows.
    pub(super) count: usize,
    /// `[count, width]`.
    pub(super) dense: &'a [f32],
    /// The terms of all rows of each text; those of the first row of these are at `first`.
    pub(super) sparse: &'a [SparseRows],
    pub(super) first: usize,
}

impl<'a> Rows<'a> {
    /// Rows of numbers, `[rows, width]`; a width is at least 1.
    pub(super) fn of_dense(dense: &'a [f32], width: usize) -> Self {
        Self { count: dense.len() / width, dense, sparse: &[], first: 0 }
    }

    /// All encoded rows.
    pub(super) fn of_encoded(encoded: &'a EncodedRows) -> Self {
        Self { count: encoded.len(), dense: &encoded.dense, sparse: &encoded.sparse, first: 0 }
    }

    /// The rows in blocks of at most `size`.
    pub(super) fn blocks(self, size: usize) -> impl Iterator<Item = Self> {
        let width = self.dense.len() / self.count.max(1);
        (0..self.count).step_by(size).map(move |start| {
            let count = size.min(self.count - start);
            let dense = &self.dense[start * width..][..count * width];
            Self { count, dense, sparse: self.sparse, first: self.first + start }
        })
    }
}
