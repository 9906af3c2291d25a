//! Products of rows with a packed matrix.
//!
//! Every output is summed in one order: from zero, input by input, with one rounding each where the
//! machine has fused multiply-add. Whether a row is alone or in a block, and whether its zeros are
//! left out, therefore does not show in the result: a sum that begins with +0 never becomes -0, and
//! to it a product with zero adds nothing.

use super::packed::{LANES, Lanes, Packed};

/// Sums of a machine's own kind, [`LANES`] of them.
pub(super) trait Sums: Copy {
    /// All zero.
    const ZERO: Self;

    /// `self + value · weights`.
    fn add(self, value: f32, weights: &Lanes) -> Self;

    /// The sums as numbers.
    fn store(self, into: &mut Lanes);

    /// Writes the inputs that are not zero, and their indices, to the beginning of the two slices,
    /// which have [`LANES`] places more than there are inputs. Returns how many there are.
    fn gather(row: &[f32], indices: &mut [u32], values: &mut [f32]) -> usize {
        let mut count = 0;
        for (index, &value) in (0..).zip(row) {
            indices[count] = index;
            values[count] = value;
            count += usize::from(value != 0.0);
        }
        count
    }
}

/// Rows that are multiplied together at most.
pub(super) const BLOCK: usize = 32;

/// Rows and lanes that one body of a dense product takes at once: its sums fill half of 32 vector
/// registers.
const DENSE_ROWS: usize = 4;
const DENSE_WIDTH: usize = 4;

/// Room for the inputs of a block of rows that are not zero.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    indices: Vec<u32>,
    values: Vec<f32>,
    /// Where those of each row end.
    ends: Vec<usize>,
}

impl Terms {
    /// For blocks of rows of at most `inputs` inputs.
    pub(super) fn new(inputs: usize) -> Self {
        let most = inputs * BLOCK + LANES;
        Self { indices: vec![0; most], values: vec![0.0; most], ends: Vec::with_capacity(BLOCK) }
    }

    #[inline(always)]
    fn gather<S: Sums>(&mut self, rows: &[f32], inputs: usize, keeps_zeros: bool) {
        self.ends.clear();
        let mut end = 0;
        for row in rows.chunks_exact(inputs) {
            let (indices, values) = (&mut self.indices[end..], &mut self.values[end..]);
            end += if keeps_zeros {
                indices.iter_mut().zip(0..row.len() as u32).for_each(|(to, index)| *to = index);
                values[..inputs].copy_from_slice(row);
                inputs
            } else {
                S::gather(row, indices, values)
            };
            self.ends.push(end);
        }
    }

    /// Indices and values of a row.
    #[inline(always)]
    fn of(&self, row: usize) -> (&[u32], &[f32]) {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        let end = self.ends[row];
        (&self.indices[start..end], &self.values[start..end])
    }

    fn count(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }
}

/// Writes `rows · matrix`, row by row; `rows` are at most [`BLOCK`], and `into` has the matrix'
/// width in lanes for each of them.
#[inline(always)]
pub(super) fn multiply<S: Sums>(
    rows: &[f32],
    matrix: &Packed,
    terms: &mut Terms,
    into: &mut [Lanes],
) {
    let (inputs, width) = (matrix.inputs(), matrix.width());
    terms.gather::<S>(rows, inputs, !matrix.is_finite());
    let count = rows.len() / inputs;
    // Leaving out half of the inputs makes up for reading the weights again for each row.
    let is_sparse = count < DENSE_ROWS || terms.count() * 2 <= rows.len();
    for panel in matrix.panels() {
        let weights = matrix.weights(panel);
        let mut done = 0;
        if !is_sparse && panel.width.is_multiple_of(DENSE_WIDTH) {
            while done + DENSE_ROWS <= count {
                let block = &rows[done * inputs..][..DENSE_ROWS * inputs];
                let into = &mut into[done * width..];
                for at in (0..panel.width).step_by(DENSE_WIDTH) {
                    dense::<S>(
                        block,
                        inputs,
                        &weights[at..],
                        panel.width,
                        &mut |row, lane, sums| {
                            sums.store(&mut into[row * width + panel.first + at + lane]);
                        },
                    );
                }
                done += DENSE_ROWS;
            }
        }
        for row in done..count {
            let into = &mut into[row * width + panel.first..][..panel.width];
            let terms = terms.of(row);
            match panel.width {
                8 => sum::<S, 8>(terms, weights, into),
                4 => sum::<S, 4>(terms, weights, into),
                2 => sum::<S, 2>(terms, weights, into),
                _ => sum::<S, 1>(terms, weights, into),
            }
        }
    }
}

/// Writes the sum of the terms' products with the rows of a panel that is `WIDTH` lanes wide.
#[inline(always)]
fn sum<S: Sums, const WIDTH: usize>(
    (indices, values): (&[u32], &[f32]),
    weights: &[Lanes],
    into: &mut [Lanes],
) {
    let (weights, _) = weights.as_chunks::<WIDTH>();
    let mut sums = [S::ZERO; WIDTH];
    for (&index, &value) in indices.iter().zip(values) {
        let weights = &weights[index as usize];
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = sum.add(value, weights);
        }
    }
    for (sum, into) in sums.into_iter().zip(into) {
        sum.store(into);
    }
}

/// As [`sum`], of several rows and all of their inputs, with some lanes of a panel that is `stride`
/// lanes wide.
#[inline(always)]
fn dense<S: Sums>(
    rows: &[f32],
    inputs: usize,
    weights: &[Lanes],
    stride: usize,
    store: &mut impl FnMut(usize, usize, S),
) {
    let (first, rest) = rows.split_at(inputs);
    let (second, rest) = rest.split_at(inputs);
    let (third, fourth) = rest.split_at(inputs);
    let mut sums = [[S::ZERO; DENSE_WIDTH]; DENSE_ROWS];
    let rows = first.iter().zip(second).zip(third).zip(fourth);
    for ((((a, b), c), d), weights) in rows.zip(weights.chunks(stride)) {
        let weights = &weights[..DENSE_WIDTH];
        for (sums, &value) in sums.iter_mut().zip([a, b, c, d]) {
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = sum.add(value, weights);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (lane, sum) in sums.into_iter().enumerate() {
            store(row, lane, sum);
        }
    }
}
