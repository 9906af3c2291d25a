//! Rows of which most numbers are zero, and rows as a network sees them.

use std::ops::Range;

use crate::{InputSpec, RowError};

/// Rows of which most numbers are zero: the places and values of all others, row by row (compressed
/// sparse rows).
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows {
    /// Where each row starts, and where the last ends: `[rows + 1]`.
    starts: Vec<usize>,
    places: Vec<u32>,
    values: Vec<f32>,
}

impl Default for SparseRows {
    /// No rows.
    fn default() -> Self {
        Self { starts: vec![0], places: Vec::new(), values: Vec::new() }
    }
}

impl SparseRows {
    /// Appends a row of places with their values.
    pub fn push(&mut self, row: impl IntoIterator<Item = (u32, f32)>) {
        for (place, value) in row {
            self.places.push(place);
            self.values.push(value);
        }
        self.starts.push(self.places.len());
    }

    /// The places of a row and their values; both are empty for a row that does not exist.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let Some(&[start, end]) = self.starts.get(row..).and_then(|starts| starts.get(..2)) else {
            return (&[], &[]);
        };
        (&self.places[start..end], &self.values[start..end])
    }

    /// Appends some rows of others, in this order; one that does not exist is empty.
    pub fn extend(&mut self, others: &Self, rows: &[usize]) {
        for &row in rows {
            let (places, values) = others.row(row);
            self.places.extend_from_slice(places);
            self.values.extend_from_slice(values);
            self.starts.push(self.places.len());
        }
    }

    /// Some rows, in this order.
    #[must_use]
    pub fn only(&self, rows: &[usize]) -> Self {
        let mut only = Self::default();
        only.extend(self, rows);
        only
    }

    /// Where each row starts, and where the last ends: `[rows + 1]`.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// The places of all rows, one row after the other.
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// Their values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns true if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places of all rows together.
    pub fn entries(&self) -> usize {
        self.places.len()
    }

    /// Bytes of memory that the rows need.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.starts[..])
            + size_of_val(&self.places[..])
            + size_of_val(&self.values[..])
    }
}

/// Rows as a network sees them: the dense columns, and the terms of each text.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedRows {
    /// `[rows, width]`, row by row.
    pub dense: Vec<f32>,
    /// The terms of all rows, for each [`Text`](crate::Text) field in the order of the input.
    pub sparse: Vec<SparseRows>,
    width: usize,
    rows: usize,
}

impl EncodedRows {
    /// No rows yet, of this input.
    pub fn new(input: &InputSpec) -> Self {
        let sparse = input.texts().map(|_| SparseRows::default()).collect();
        Self { dense: Vec::new(), sparse, width: input.width(), rows: 0 }
    }

    /// Rows of an input without texts, `[rows, width]` row by row; a last row that lacks some is left
    /// out.
    pub fn of_dense(dense: Vec<f32>, width: usize) -> Self {
        let rows = dense.len().checked_div(width).unwrap_or_default();
        Self { dense, sparse: Vec::new(), width, rows }
    }

    /// Rows with the terms of their texts: dense columns, `[rows, width]` row by row, and for each text
    /// as many sparse rows.
    pub fn of_parts(dense: Vec<f32>, sparse: Vec<SparseRows>, rows: usize) -> Self {
        let width = dense.len().checked_div(rows).unwrap_or_default();
        Self { dense, sparse, width, rows }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns true if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends a row whose dense columns `fill` writes into the room for them, and whose terms it
    /// appends to the sparse rows.
    pub(crate) fn push<E>(
        &mut self,
        fill: impl FnOnce(&mut [f32], &mut [SparseRows]) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.dense.len();
        self.dense.resize(start + self.width, 0.0);
        fill(&mut self.dense[start..], &mut self.sparse)?;
        self.rows += 1;
        Ok(())
    }

    /// Some columns and some texts of all rows.
    pub(crate) fn part(&self, columns: Range<usize>, texts: Range<usize>) -> Self {
        let rows = self.dense.chunks_exact(self.width.max(1));
        let dense = rows.flat_map(|row| &row[columns.clone()]).copied().collect();
        let sparse = self.sparse[texts].to_vec();
        Self { dense, sparse, width: columns.len(), rows: self.rows }
    }

    /// Checks that the rows fit an input.
    ///
    /// # Errors
    ///
    /// A [`RowError`]: another number of columns or texts, a number that is not finite, or the place of
    /// a term that does not exist.
    pub fn check(&self, input: &InputSpec) -> Result<(), RowError> {
        let expected = input.width();
        if self.dense.len() != self.rows * expected {
            let found = self.dense.len() - self.rows * self.width.min(expected);
            return Err(RowError::Width { row: self.rows, found, expected });
        }
        for row in 0..self.rows {
            crate::check_row(row, &self.dense[row * expected..][..expected], expected)?;
        }
        let texts: Vec<usize> = input.texts().map(crate::Text::terms).collect();
        if self.sparse.len() != texts.len() {
            return Err(RowError::Texts { found: self.sparse.len(), expected: texts.len() });
        }
        for (text, (rows, terms)) in self.sparse.iter().zip(texts).enumerate() {
            let is_place = rows.places.iter().all(|&place| (place as usize) < terms);
            if rows.len() != self.rows || !is_place || rows.values.iter().any(|x| !x.is_finite()) {
                return Err(RowError::Terms { text });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_empty_ones_have_no_places() {
        let mut rows = SparseRows::default();
        assert!(rows.is_empty());
        rows.push([(3, 0.5), (7, -1.0)]);
        rows.push([]);
        rows.push([(0, 2.0)]);
        assert_eq!((rows.len(), rows.entries()), (3, 3));
        assert_eq!(rows.row(0), (&[3, 7][..], &[0.5, -1.0][..]));
        assert_eq!(rows.row(1), (&[][..], &[][..]));
        assert_eq!(rows.row(2), (&[0][..], &[2.0][..]));
        assert_eq!(rows.row(3), (&[][..], &[][..]));
    }
}
