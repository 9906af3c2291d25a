//! Matrix products, by the crate `gemm`.

use std::mem::MaybeUninit;

use super::{Real, in_pieces};

/// A matrix: `rows` times `columns` numbers of a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    numbers: &'a [T],
    rows: usize,
    columns: usize,
    /// Distance of two numbers of a column, and of two of a row.
    strides: [usize; 2],
}

impl<'a, T> Matrix<'a, T> {
    /// Row by row, `[rows, columns]`; `numbers` has exactly as many.
    pub(super) fn new(numbers: &'a [T], [rows, columns]: [usize; 2]) -> Self {
        assert_eq!(numbers.len(), rows * columns, "a matrix has rows times columns numbers");
        Self { numbers, rows, columns, strides: [columns, 1] }
    }

    /// Rows as columns.
    pub(super) fn transposed(self) -> Self {
        let [down, across] = self.strides;
        Self { rows: self.columns, columns: self.rows, strides: [across, down], ..self }
    }

    /// Some of the rows.
    fn rows(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.rows, "a part of a matrix lies within it");
        let start = (first * self.strides[0]).min(self.numbers.len());
        Self { numbers: &self.numbers[start..], rows: count, ..self }
    }

    /// Whether every number lies within the slice.
    fn is_whole(&self) -> bool {
        let is_empty = self.rows == 0 || self.columns == 0;
        is_empty
            || (self.rows - 1) * self.strides[0] + (self.columns - 1) * self.strides[1]
                < self.numbers.len()
    }
}

/// Rows of the result that one thread computes at a time.
const ROWS: usize = 128;

/// `finish(start + a · b)`, row by row; `start` is one row, or zero if there is none.
///
/// `finish` is called with pieces of the result while they are in cache.
pub(super) fn product<T: Real>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    start: Option<&[T]>,
    finish: impl Fn(&mut [T]) + Send + Sync,
) -> Vec<T> {
    assert_eq!(a.columns, b.rows, "the inner sizes of a product are equal");
    let columns = b.columns;
    let count = a.rows * columns;
    let mut result = Vec::with_capacity(count);
    let places = &mut result.spare_capacity_mut()[..count];
    let work = count.saturating_mul(a.columns);
    in_pieces(places, ROWS * columns, work, |piece, places| {
        let rows = places.len() / columns;
        let numbers = write(a.rows(piece * ROWS, rows), b, start, places);
        finish(numbers);
    });
    // SAFETY: `places` was cut into pieces without a gap, and `write` wrote each of them whole.
    unsafe { result.set_len(count) };
    result
}

/// Writes `start + a · b` into every place, of which there are as many as the product has numbers.
fn write<'p, T: Real>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    start: Option<&[T]>,
    places: &'p mut [MaybeUninit<T>],
) -> &'p mut [T] {
    assert!(
        a.is_whole() && b.is_whole() && a.columns == b.rows,
        "matrices lie within their slices"
    );
    assert_eq!(places.len(), a.rows * b.columns, "a place for every number of the product");
    if let Some(row) = start {
        for places in places.chunks_exact_mut(b.columns) {
            places.write_copy_of_slice(row);
        }
    }
    // SAFETY: both matrices lie within their slices and the places are as many as the result has
    // numbers, as asserted above. The places are read only if a row was written to each of them;
    // afterwards every one is written, also where the inner size is 0.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            places.as_mut_ptr().cast::<T>(),
            1,
            b.columns as isize,
            start.is_some(),
            a.numbers.as_ptr(),
            a.strides[1] as isize,
            a.strides[0] as isize,
            b.numbers.as_ptr(),
            b.strides[1] as isize,
            b.strides[0] as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
        places.assume_init_mut()
    }
}
