//! Bags: weighted sums of the vectors of terms.

use std::sync::Arc;

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

/// Rows of a sparse matrix, such as the terms of texts.
#[derive(Clone, Copy, Debug)]
pub struct SparseMatrix<'a> {
    /// Where the terms of each row begin, and behind them where the last ones end: `[rows + 1]`.
    pub starts: &'a [usize],
    /// The column of each term, rising within a row.
    pub places: &'a [u32],
    /// The value of each term.
    pub values: &'a [f32],
}

impl<'a> SparseMatrix<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Returns true if there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns and values of a row.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> (&'a [u32], &'a [f32]) {
        let terms = self.starts[row]..self.starts[row + 1];
        (&self.places[terms.clone()], &self.values[terms])
    }
}

/// A [`SparseMatrix`] that owns its numbers.
#[derive(Clone, Debug, Default)]
pub struct SparseBatch {
    /// Where the terms of each row begin, and behind them where the last ones end: `[rows + 1]`.
    pub starts: Vec<usize>,
    /// The column of each term, rising within a row.
    pub places: Vec<u32>,
    /// The value of each term.
    pub values: Vec<f32>,
}

impl SparseBatch {
    /// Its numbers.
    pub fn as_matrix(&self) -> SparseMatrix<'_> {
        SparseMatrix { starts: &self.starts, places: &self.places, values: &self.values }
    }

    /// Gives each column its place among those that have a term, and returns these, rising.
    pub fn renumber(&mut self) -> Vec<u32> {
        let mut touched = self.places.clone();
        touched.sort_unstable();
        touched.dedup();
        for place in &mut self.places {
            // Each place is among those that are touched.
            *place = touched.partition_point(|other| other < place) as u32;
        }
        touched
    }
}

/// `sum_j value_j · weight[place_j]` over the terms of each row: `[terms, width] → [rows, width]`.
///
/// # Panics
///
/// If a place is not less than the number of rows of `weight`.
pub fn bag(weight: Tensor<2>, rows: &Arc<SparseBatch>) -> Tensor<2> {
    match crate::flex::bag(weight, rows) {
        Ok(sums) => sums,
        Err(weight) => plain(*weight, rows),
    }
}

/// The definition of [`bag`](crate::bag).
pub fn plain(weight: Tensor<2>, rows: &Arc<SparseBatch>) -> Tensor<2> {
    let matrix = rows.as_matrix();
    let [_, width] = weight.dims();
    let (device, dtype) = (weight.device(), weight.dtype());
    let sums = Tensor::zeros([matrix.len(), width], (&device, dtype));
    let count = matrix.values.len();
    if count == 0 {
        return sums;
    }
    let places = matrix.places.iter().map(|&place| place as i32).collect();
    let of_row = (0..matrix.len()).flat_map(|row| vec![row as i32; matrix.row(row).0.len()]);
    let [places, of_row] = [places, of_row.collect::<Vec<i32>>()]
        .map(|ids| Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), &device));
    let values = TensorData::new(matrix.values.to_vec(), [count, 1]);
    let vectors = weight.select(0, places) * Tensor::from_data(values, (&device, dtype));
    sums.select_assign(0, of_row, vectors, IndexingUpdateOp::Add)
}
