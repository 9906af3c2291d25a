//! Sizes that were chosen by measurement, all in one place.
//!
//! They were tried on the whole step (`cargo bench -p benches --bench kernels -- chain`, and the
//! networks of `cargo xtask bench-peers`) on 2026-11-25 and 26, on an Intel Xeon with 2 cores: the
//! machine of the tables in docs/benchmarks.md. What they gain together is there, a step of 32 rows
//! in 95.1 µs where the plain bodies take 1.54 ms. What each gains by itself was not recorded: on
//! another machine, try the neighbours before you trust one.
//!
//! None of them may depend on the number of threads, or results would.

/// Columns of a panel of weights.
const PANEL: usize = 64;
/// Columns of a panel of a layer that has [`MANY_COLUMNS`] or more.
const WIDE_PANEL: usize = 128;
const MANY_COLUMNS: usize = 512;

/// Parts that the rows of a batch are cut into, unless they came to more than [`MOST_ROWS`].
const PARTS_OF_A_BATCH: usize = 8;
/// The rows of such a part are a multiple of this.
const ROWS_IN_STEP: usize = 16;
const MOST_ROWS: usize = 128;

/// Numbers of a matrix from which sorting it for the processor is much work: 4 MiB of `f32`.
const LARGE_MATRIX: usize = 1 << 20;
/// Rows of a product with such a matrix.
const ROWS_OF_LARGE: usize = 256;
/// Columns that the way back takes of a matrix.
const BACKWARD_COLUMNS: usize = 64;
/// Columns that the way back takes of a large matrix.
const BACKWARD_COLUMNS_OF_LARGE: usize = 512;

/// Rows of a panel that are stepped at a time, where threads keep rows of the batch.
const STEP_ROWS: usize = 128;
/// Rows of a panel that are stepped at a time, where threads keep their panels or panels are large.
const STEP_ROWS_OF_KEPT: usize = 256;
/// Weights below which a piece of the update is small, such as a bias: no thread is kept waiting by
/// it.
pub(super) const SMALL_PIECE: usize = 1024;

/// Rows and columns of the blocks of a product that one thread computes at a time.
pub(super) const PRODUCT_BLOCK: [usize; 2] = [128, 512];
/// Multiplications and additions below which a second thread costs more than it brings.
pub(super) const WORTH_THREADS: usize = 1 << 18;
/// Parameters that one thread steps at a time in an update of its own: 64 KiB of each `f32` tensor.
pub(super) const OPTIMIZER_PIECE: usize = 1 << 14;

/// Rows of a bag that one thread sums at a time.
pub(super) const ROWS_OF_BAG: usize = 8;
/// Parts that the terms of a bag are cut into, each of which one thread steps.
const PARTS_OF_TERMS: usize = 16;

/// The looks for work of a member of the team before it goes to sleep: some tens of microseconds.
/// With 1,000 looks, the bookkeeping between two steps sent it to sleep.
pub(super) const LOOKS: usize = 10_000;

/// Columns of a panel.
pub(super) fn panel_width(columns: usize) -> usize {
    if columns < MANY_COLUMNS { PANEL } else { WIDE_PANEL }
}

/// Returns true if the threads share a layer's outputs rather than the rows of the batch.
///
/// Then each keeps its own panels and needs all of the inputs; otherwise each keeps its own rows and
/// needs all of the panels. What is less to move between them is better.
pub(super) fn by_outputs(rows: usize, outputs: usize) -> bool {
    outputs >= rows
}

/// Rows of a batch that a thread takes at a time.
pub(super) fn some_rows(rows: usize) -> usize {
    rows.div_ceil(PARTS_OF_A_BATCH).next_multiple_of(ROWS_IN_STEP).min(MOST_ROWS)
}

/// Rows of a product with a matrix of these sizes that a thread takes at a time.
///
/// A product begins with sorting the matrix for the processor; where that is much work, it is done
/// for many rows, and there are panels enough for all threads.
pub(super) fn rows_of_product(rows: usize, sizes: [usize; 2]) -> usize {
    if is_large(sizes) { rows.min(ROWS_OF_LARGE) } else { some_rows(rows) }
}

/// Columns of the gradient by a layer's inputs that a thread takes at a time.
pub(super) fn backward_width(sizes: [usize; 2]) -> usize {
    if is_large(sizes) { BACKWARD_COLUMNS_OF_LARGE } else { BACKWARD_COLUMNS }
}

/// Rows of a panel that a thread steps at a time.
pub(super) fn step_rows(rows: usize, sizes @ [_, outputs]: [usize; 2]) -> usize {
    if is_large(sizes) || by_outputs(rows, outputs) { STEP_ROWS_OF_KEPT } else { STEP_ROWS }
}

/// Terms of a bag that a thread steps at a time.
pub(super) fn part_of_terms(terms: usize) -> usize {
    terms.div_ceil(PARTS_OF_TERMS).max(1)
}

fn is_large([inner, columns]: [usize; 2]) -> bool {
    inner * columns >= LARGE_MATRIX
}
