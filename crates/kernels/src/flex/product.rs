//! Matrix products, by the crate `gemm`.

use std::marker::PhantomData;
use std::ops::Range;

use super::tuning::{PRODUCT_BLOCK, WORTH_THREADS};
use super::{Real, team};

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
    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "a part lies within its matrix");
        let start = (rows.start * self.strides[0]).min(self.numbers.len());
        Self { numbers: &self.numbers[start..], rows: rows.len(), ..self }
    }

    /// Some of the columns.
    pub(super) fn columns(self, columns: Range<usize>) -> Self {
        self.transposed().rows(columns).transposed()
    }

    /// One row of a matrix that lies row by row.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &'a [T] {
        assert!(row < self.rows && self.strides[1] == 1, "a row lies within its matrix");
        let start = row * self.strides[0];
        &self.numbers[start..start + self.columns]
    }

    /// Returns true if every number lies within the slice.
    fn is_whole(&self) -> bool {
        let is_empty = self.rows == 0 || self.columns == 0;
        is_empty
            || (self.rows - 1) * self.strides[0] + (self.columns - 1) * self.strides[1]
                < self.numbers.len()
    }
}

/// A part of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// A matrix `[rows, columns]` in blocks of at most this size, row by row of blocks.
pub(super) fn blocks([rows, columns]: [usize; 2], most: [usize; 2]) -> Vec<Block> {
    let across = pieces(columns, most[1]);
    let mut blocks = Vec::new();
    for rows in pieces(rows, most[0]) {
        let columns = across.iter().cloned();
        blocks.extend(columns.map(|columns| Block { rows: rows.clone(), columns }));
    }
    blocks
}

/// `0..count` in pieces of at most `most`.
pub(super) fn pieces(count: usize, most: usize) -> Vec<Range<usize>> {
    let most = most.max(1);
    (0..count).step_by(most).map(|start| start..count.min(start + most)).collect()
}

/// A matrix, or a block of one, whose numbers can be changed; row by row.
pub(super) struct MatrixMut<'a, T> {
    /// The first of them.
    numbers: *mut T,
    rows: usize,
    columns: usize,
    /// Distance of two numbers of a column, at least `columns`.
    stride: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: a `MatrixMut` stands for exclusive borrows of its rows. No two of them share a number, so
// sending one to another thread is sending a `&mut [T]`, for which `T: Send` is enough.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}

impl<'a, T> MatrixMut<'a, T> {
    /// Row by row, `[rows, columns]`; `numbers` has exactly as many.
    pub(super) fn new(numbers: &'a mut [T], [rows, columns]: [usize; 2]) -> Self {
        assert_eq!(numbers.len(), rows * columns, "a matrix has rows times columns numbers");
        let numbers = numbers.as_mut_ptr();
        Self { numbers, rows, columns, stride: columns, of: PhantomData }
    }

    /// Its [`blocks`] of at most this size.
    pub(super) fn split(self, most: [usize; 2]) -> Vec<Self> {
        // No number is in two blocks.
        let blocks = blocks([self.rows, self.columns], most).into_iter().map(|block| Self {
            // SAFETY: the block lies within the matrix, so its first number lies within its slice.
            numbers: unsafe {
                self.numbers.add(block.rows.start * self.stride + block.columns.start)
            },
            rows: block.rows.len(),
            columns: block.columns.len(),
            ..self
        });
        blocks.collect()
    }

    /// `[rows, columns]`.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Its rows in order, or all of them as one slice where there is nothing between them.
    pub(super) fn slices(&mut self) -> impl Iterator<Item = &mut [T]> {
        let is_one = self.stride == self.columns;
        let (count, length) =
            if is_one { (1, self.rows * self.columns) } else { (self.rows, self.columns) };
        let (numbers, stride) = (self.numbers, self.stride);
        // SAFETY: the numbers of each slice belong to this matrix, which is borrowed mutably, and no
        // two slices overlap.
        (0..count).map(move |i| unsafe {
            std::slice::from_raw_parts_mut(numbers.add(i * stride), length)
        })
    }

    /// One of its rows.
    #[inline(always)]
    pub(super) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "a row lies within its matrix");
        // SAFETY: the row lies within the matrix, which is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.numbers.add(row * self.stride), self.columns) }
    }

    /// Some of the columns.
    pub(super) fn columns(&mut self, columns: Range<usize>) -> MatrixMut<'_, T> {
        assert!(columns.end <= self.columns, "a part lies within its matrix");
        MatrixMut {
            // SAFETY: the columns lie within the matrix, so their first number lies within its slice.
            numbers: unsafe { self.numbers.add(columns.start) },
            rows: self.rows,
            columns: columns.len(),
            stride: self.stride,
            of: PhantomData,
        }
    }

    /// To be read.
    pub(super) fn as_matrix(&self) -> Matrix<'_, T> {
        let is_empty = self.rows == 0 || self.columns == 0;
        let length = if is_empty { 0 } else { (self.rows - 1) * self.stride + self.columns };
        assert!(is_empty || self.stride == self.columns || self.rows == 1, "no other's numbers");
        // SAFETY: nothing lies between the rows, so all of these numbers belong to this matrix, which
        // stays borrowed as long as the result is used.
        let numbers = unsafe { std::slice::from_raw_parts(self.numbers, length) };
        Matrix { numbers, rows: self.rows, columns: self.columns, strides: [self.stride, 1] }
    }
}

/// The matrix that a product is added to.
#[derive(Clone, Copy)]
pub(super) enum Addend<'a, T> {
    Zero,
    /// One row, the same for all.
    Row(&'a [T]),
    /// The numbers in the place of the result.
    Existing,
}

/// Writes `addend + a · b`.
pub(super) fn multiply<T: Real>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    addend: Addend<'_, T>,
    into: &mut MatrixMut<'_, T>,
) {
    assert!(
        a.is_whole() && b.is_whole() && a.columns == b.rows,
        "matrices lie within their slices and fit"
    );
    assert_eq!([a.rows, b.columns], into.sizes(), "a place for every number of the product");
    if let Addend::Row(addend) = addend {
        (0..a.rows).for_each(|row| into.row(row).copy_from_slice(addend));
    }
    // SAFETY: as asserted above, both matrices lie within their slices, and the result has as many
    // rows and columns as the product. `into` is borrowed mutably, so it overlaps neither of them.
    // All numbers are initialised.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            into.numbers,
            1,
            into.stride as isize,
            !matches!(addend, Addend::Zero),
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
    }
}

/// `finish(start + a · b)`, row by row; `start` is one row, or zero if there is none.
///
/// `finish` is called with rows of blocks of the result while they are in cache. Blocks depend on
/// the shape alone, and so do the results.
pub(super) fn product<T: Real>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    start: Option<&[T]>,
    finish: impl Fn(&mut [T]) + Sync,
) -> Vec<T> {
    let sizes = [a.rows, b.columns];
    let mut result = vec![T::zero(); sizes[0] * sizes[1]];
    let parts = MatrixMut::new(&mut result, sizes).split(PRODUCT_BLOCK);
    let mut parts: Vec<_> = parts.into_iter().zip(blocks(sizes, PRODUCT_BLOCK)).collect();
    let compute = |(part, block): &mut (MatrixMut<'_, T>, Block)| {
        let start = start.map_or(Addend::Zero, |row| Addend::Row(&row[block.columns.clone()]));
        multiply(a.rows(block.rows.clone()), b.columns(block.columns.clone()), start, part);
        part.slices().for_each(&finish);
    };
    if result_work(sizes, a.columns) < WORTH_THREADS {
        parts.iter_mut().for_each(compute);
    } else {
        team::each(&mut parts, compute);
    }
    result
}

fn result_work([rows, columns]: [usize; 2], inner: usize) -> usize {
    rows.saturating_mul(columns).saturating_mul(inner)
}
