//! Products of rows with a packed matrix.
//!
//! Every output is summed in one order: from zero, input by input, with one rounding each where the
//! machine has fused multiply-add. Whether a row is alone or in a block, and whether its zeros are
//! left out, therefore does not show in the result but for the sign of a zero, which goes where the
//! bias is added.

use std::ops::Range;

use super::packed::{LANES, Lanes, Packed, Panel};

/// Sums of a machine's own kind, [`LANES`] of them.
pub(super) trait Sums: Copy {
    /// All zero.
    const ZERO: Self;

    /// Lanes of a panel that one body of a dense product takes at once with [`DENSE_ROWS`] rows: as
    /// many as there are registers for.
    const DENSE_LANES: usize;

    /// True if [`add`](Self::add) rounds a product and its sum once.
    const IS_FUSED: bool;

    /// Sums that were stored.
    fn load(from: &Lanes) -> Self;

    /// `self + value · weights`.
    fn add(self, value: f32, weights: &Lanes) -> Self;

    /// The sums as numbers.
    fn store(self, into: &mut Lanes);

    /// Writes the inputs that are not zero, and their indices counted from `first`, to the beginning
    /// of the two slices, which have [`LANES`] places more than there are inputs. Returns how many
    /// there are.
    #[inline(always)]
    fn gather(row: &[f32], first: u32, indices: &mut [u32], values: &mut [f32]) -> usize {
        let mut count = 0;
        for (index, &value) in (first..).zip(row) {
            // Written always and counted sometimes: no branch that is often predicted wrongly.
            indices[count] = index;
            values[count] = value;
            count += usize::from(value != 0.0);
        }
        count
    }
}

/// Rows that are multiplied together at most.
pub(super) const BLOCK: usize = 32;

/// Rows that one body of a dense product takes at once.
const DENSE_ROWS: usize = 4;

/// Bytes of weights that several rows read one after the other: most of a first-level cache.
const TILE_BYTES: usize = 32 << 10;

/// Room for the inputs of a block of rows that are not zero.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    indices: Vec<u32>,
    values: Vec<f32>,
    /// Where those of each tile of each row end, row by row.
    ends: Vec<usize>,
    tiles: usize,
}

impl Terms {
    /// For `block` rows of at most `inputs` inputs.
    pub(super) fn new(inputs: usize, block: usize) -> Self {
        let most = inputs * block + LANES;
        let ends = Vec::with_capacity(block * inputs.div_ceil(LANES));
        Self { indices: vec![0; most], values: vec![0.0; most], ends, tiles: 1 }
    }

    /// Gathers rows of `inputs` inputs, in tiles of `tile`.
    #[inline(always)]
    fn gather<S: Sums>(&mut self, rows: &[f32], inputs: usize, tile: usize, keeps_zeros: bool) {
        self.ends.clear();
        self.tiles = inputs.div_ceil(tile);
        let mut end = 0;
        for row in rows.chunks_exact(inputs) {
            for (at, part) in row.chunks(tile).enumerate() {
                let first = (at * tile) as u32;
                let (indices, values) = (&mut self.indices[end..], &mut self.values[end..]);
                end += if keeps_zeros {
                    indices.iter_mut().zip(first..).take(part.len()).for_each(|(to, k)| *to = k);
                    values[..part.len()].copy_from_slice(part);
                    part.len()
                } else {
                    S::gather(part, first, indices, values)
                };
                self.ends.push(end);
            }
        }
    }

    /// Indices and values of a tile of a row.
    #[inline(always)]
    fn of(&self, row: usize, tile: usize) -> (&[u32], &[f32]) {
        let at = row * self.tiles + tile;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        let end = self.ends[at];
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
    let inputs = matrix.inputs();
    let count = rows.len() / inputs;
    if matrix.panels().is_empty() {
        multiply_narrow::<S>(rows, matrix, into);
        return;
    }
    let widest = matrix.panels().iter().map(|panel| panel.width).max().unwrap_or(1);
    let tile = TILE_BYTES / (widest * size_of::<Lanes>());
    // With fewer rows, a tile that lies in cache is hardly read again.
    let tile = if count < DENSE_ROWS { inputs } else { tile };
    terms.gather::<S>(rows, inputs, tile, !matrix.is_finite());
    // Leaving out half of the inputs makes up for reading the weights again for each row.
    let is_dense = count >= DENSE_ROWS && terms.count() * 2 > rows.len();
    let whole = if is_dense { count - count % DENSE_ROWS } else { 0 };
    for panel in matrix.panels() {
        if whole > 0 {
            multiply_dense::<S>(&rows[..whole * inputs], matrix, panel, into);
        }
        let rest = whole..count;
        match panel.width {
            8 => multiply_sparse::<S, 8>(rest, matrix, panel, terms, into),
            4 => multiply_sparse::<S, 4>(rest, matrix, panel, terms, into),
            2 => multiply_sparse::<S, 2>(rest, matrix, panel, terms, into),
            _ => multiply_sparse::<S, 1>(rest, matrix, panel, terms, into),
        }
    }
}

/// The product with a matrix without panels, output by output in the same order.
#[inline(always)]
fn multiply_narrow<S: Sums>(rows: &[f32], matrix: &Packed, into: &mut [Lanes]) {
    let outputs = matrix.outputs();
    let into = into.chunks_exact_mut(matrix.width());
    for (row, into) in rows.chunks_exact(matrix.inputs()).zip(into) {
        into.fill(Lanes::ZERO);
        for (&value, weights) in row.iter().zip(matrix.narrow().chunks_exact(outputs)) {
            if value == 0.0 && matrix.is_finite() {
                continue;
            }
            for (output, &weight) in weights.iter().enumerate() {
                let sum = &mut into[output / LANES].0[output % LANES];
                *sum =
                    if S::IS_FUSED { value.mul_add(weight, *sum) } else { *sum + value * weight };
            }
        }
    }
}

/// The product of the terms of some rows with a panel that is `WIDTH` lanes wide.
#[inline(always)]
fn multiply_sparse<S: Sums, const WIDTH: usize>(
    rows: Range<usize>,
    matrix: &Packed,
    panel: &Panel,
    terms: &Terms,
    into: &mut [Lanes],
) {
    let (weights, _) = matrix.weights(panel).as_chunks::<WIDTH>();
    for tile in 0..terms.tiles {
        for row in rows.clone() {
            let into = &mut into[row * matrix.width() + panel.first..][..WIDTH];
            let mut sums = [S::ZERO; WIDTH];
            // The sums of the tile before: one order of summation, whatever the tiles.
            if tile > 0 {
                sums.iter_mut().zip(&*into).for_each(|(sum, stored)| *sum = S::load(stored));
            }
            let (indices, values) = terms.of(row, tile);
            for (&index, &value) in indices.iter().zip(values) {
                let weights = &weights[index as usize];
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = sum.add(value, weights);
                }
            }
            sums.into_iter().zip(into).for_each(|(sum, into)| sum.store(into));
        }
    }
}

/// The product of all inputs of some rows, a multiple of [`DENSE_ROWS`], with a panel.
#[inline(always)]
fn multiply_dense<S: Sums>(rows: &[f32], matrix: &Packed, panel: &Panel, into: &mut [Lanes]) {
    let (inputs, width) = (matrix.inputs(), matrix.width());
    let weights = matrix.weights(panel);
    let blocks = rows.chunks_exact(DENSE_ROWS * inputs);
    for (rows, into) in blocks.zip(into.chunks_mut(DENSE_ROWS * width)) {
        let into = &mut into[panel.first..];
        let mut at = 0;
        while at < panel.width {
            let (weights, into) = (&weights[at..], &mut into[at..]);
            if S::DENSE_LANES >= 4 && panel.width - at >= 4 {
                dense::<S, 4>(rows, weights, panel.width, into, width);
                at += 4;
            } else {
                dense::<S, 1>(rows, weights, panel.width, into, width);
                at += 1;
            }
        }
    }
}

/// The product of [`DENSE_ROWS`] rows with some lanes of a panel whose rows are `stride` lanes apart;
/// rows of the result are `width` lanes apart.
#[inline(always)]
fn dense<S: Sums, const WIDTH: usize>(
    rows: &[f32],
    weights: &[Lanes],
    stride: usize,
    into: &mut [Lanes],
    width: usize,
) {
    let inputs = rows.len() / DENSE_ROWS;
    let (first, rest) = rows.split_at(inputs);
    let (second, rest) = rest.split_at(inputs);
    let (third, fourth) = rest.split_at(inputs);
    let mut sums = [[S::ZERO; WIDTH]; DENSE_ROWS];
    let rows = first.iter().zip(second).zip(third).zip(fourth);
    for ((((a, b), c), d), weights) in rows.zip(weights.chunks(stride)) {
        let weights = &weights[..WIDTH];
        for (sums, &value) in sums.iter_mut().zip([a, b, c, d]) {
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = sum.add(value, weights);
            }
        }
    }
    for (sums, into) in sums.into_iter().zip(into.chunks_mut(width)) {
        sums.into_iter().zip(into).for_each(|(sum, into)| sum.store(into));
    }
}
