//! Bags, without a number for each term of each row.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

use super::product::{Matrix, pieces};
use super::tuning::{ROWS_OF_BAG, part_of_terms};
use super::{OnGraph, Placed, Real, for_real, numbers, team, tensor, vectorised};
use crate::{SparseBatch, SparseMatrix};

/// The fast body of [`bag`](crate::bag).
pub(crate) fn bag(weight: Tensor<2>, rows: &Arc<SparseBatch>) -> Result<Tensor<2>, Box<Tensor<2>>> {
    let weight = Placed::of(weight);
    let sums = weight.plain().map(|weight| forward(weight, rows.as_matrix()));
    match (weight, sums) {
        (Placed::Off(_), Some(sums)) => Ok(Tensor::from_primitive::<Flex>(sums)),
        (Placed::On(weight), Some(sums)) => {
            Ok(Tensor::from_primitive::<Autodiff<Flex>>(on_graph(&weight, rows, sums)))
        }
        (weight, _) => Err(Box::new(weight.back())),
    }
}

fn forward(weight: &FlexTensor, rows: SparseMatrix<'_>) -> FlexTensor {
    let [_, width]: [usize; 2] = weight.layout().shape().dims();
    for_real!(weight.dtype(), T => {
        tensor(sums::<T>(numbers(weight), rows, width), [rows.len(), width])
    })
}

fn sums<T: Real>(weight: &[T], rows: SparseMatrix<'_>, width: usize) -> Vec<T> {
    let mut sums = vec![T::zero(); rows.len() * width];
    let chunks = sums.chunks_mut((ROWS_OF_BAG * width).max(1));
    let mut parts: Vec<_> = pieces(rows.len(), ROWS_OF_BAG).into_iter().zip(chunks).collect();
    team::each(&mut parts, |(part, sums)| {
        vectorised(
            #[inline(always)]
            || {
                for (row, sum) in part.clone().zip(sums.chunks_exact_mut(width.max(1))) {
                    add_terms(weight, rows.row(row), sum);
                }
            },
        );
    });
    sums
}

/// Adds the vector of each term times its value.
#[inline(always)]
pub(super) fn add_terms<T: Real>(weight: &[T], (places, values): (&[u32], &[f32]), sum: &mut [T]) {
    let width = sum.len();
    // Four terms at a time, so that the sum is read and written less often.
    let fours = places.chunks_exact(4).zip(values.chunks_exact(4));
    for (places, values) in fours {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| vector(weight, places[i], width));
        let [s, t, u, v]: [T; 4] = [0, 1, 2, 3].map(|i| values[i].into());
        for k in 0..width {
            sum[k] += (a[k] * s + b[k] * t) + (c[k] * u + d[k] * v);
        }
    }
    let rest = places.len() / 4 * 4..;
    for (&place, &value) in places[rest.clone()].iter().zip(&values[rest]) {
        add(sum, vector(weight, place, width), value.into());
    }
}

/// The vector of a term.
#[inline(always)]
fn vector<T>(weight: &[T], place: u32, width: usize) -> &[T] {
    &weight[place as usize * width..][..width]
}

/// `sum + value · vector`.
#[inline(always)]
fn add<T: Real>(sum: &mut [T], vector: &[T], value: T) {
    sum.iter_mut().zip(vector).for_each(|(sum, &x)| *sum += x * value);
}

/// A term of a batch, and the next one of the same place.
struct Term {
    row: u32,
    value: f32,
    next: u32,
}

/// No term.
pub(super) const NONE: u32 = u32::MAX;

/// Calls `each` with every place of a range that a batch touches, and the gradient by its vector: the
/// sum over its terms, in the order of the batch, of the value times a row of `by_sums`.
///
/// `rows` are the rows of `matrix` in the batch, and `by_sums` is `[rows, width]`. `heads` has a number
/// for each place of the range, [`NONE`] before and after.
#[inline(always)]
pub(super) fn each_touched<T: Real>(
    (rows, matrix): (impl DoubleEndedIterator<Item = usize> + ExactSizeIterator, SparseMatrix<'_>),
    (range, heads): (Range<usize>, &mut [u32]),
    by_sums: Matrix<'_, T>,
    gradient: &mut [T],
    mut each: impl FnMut(usize, &[T]),
) {
    let (mut terms, mut touched): (Vec<Term>, Vec<u32>) = (Vec::new(), Vec::new());
    // Lists grow at their heads: from the last row, so that they begin with the first.
    for (i, row) in rows.enumerate().rev() {
        let (places, values) = matrix.row(row);
        let start = places.partition_point(|&place| (place as usize) < range.start);
        let places = &places[start..];
        let end = places.partition_point(|&place| (place as usize) < range.end);
        for (&place, &value) in places[..end].iter().zip(&values[start..]) {
            let head = &mut heads[place as usize - range.start];
            if *head == NONE {
                touched.push(place);
            }
            let next = std::mem::replace(head, terms.len() as u32);
            terms.push(Term { row: i as u32, value, next });
        }
    }
    for place in touched {
        let mut at = std::mem::replace(&mut heads[place as usize - range.start], NONE);
        gradient.fill(T::zero());
        while let Some(term) = terms.get(at as usize) {
            add(gradient, by_sums.row(term.row as usize), term.value.into());
            at = term.next;
        }
        each(place as usize, gradient);
    }
}

/// Puts the operation on the graph.
fn on_graph(weight: &OnGraph, rows: &Arc<SparseBatch>, sums: FlexTensor) -> OnGraph {
    let [terms, _]: [usize; 2] = weight.primitive().layout().shape().dims();
    match BagBackward.prepare::<NoCheckpointing>([weight.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(Kept { rows: Arc::clone(rows), terms }, sums),
        OpsKind::UnTracked(prepared) => prepared.finish(sums),
    }
}

/// The results of the forward pass that the backward pass needs.
#[derive(Clone, Debug)]
struct Kept {
    rows: Arc<SparseBatch>,
    terms: usize,
}

#[derive(Debug)]
struct BagBackward;

impl Backward<Flex, 1> for BagBackward {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let gradient = if gradient.is_contiguous() { gradient } else { gradient.to_contiguous() };
        let [Some(node)] = ops.parents else { return };
        let Kept { rows, terms } = ops.state;
        let by_weight = for_real!(gradient.dtype(), T => by_weight::<T>(&gradient, &rows, terms));
        gradients.register::<Flex>(node.id, by_weight);
    }
}

/// The gradient by the vectors of all terms, `[terms, width]`.
fn by_weight<T: Real>(by_sums: &FlexTensor, rows: &SparseBatch, terms: usize) -> FlexTensor {
    let sizes @ [count, width]: [usize; 2] = by_sums.layout().shape().dims();
    let by_sums = Matrix::new(numbers::<T>(by_sums), sizes);
    let mut by_weight = vec![T::zero(); terms * width];
    let most = part_of_terms(terms);
    let mut heads = vec![NONE; terms];
    let chunks = by_weight.chunks_mut((most * width).max(1)).zip(heads.chunks_mut(most));
    let mut parts: Vec<_> = pieces(terms, most).into_iter().zip(chunks).collect();
    team::each(&mut parts, |(range, (into, heads))| {
        let first = range.start;
        T::with_scratch(width, |gradient| {
            vectorised(
                #[inline(always)]
                || {
                    let rows = (0..count, rows.as_matrix());
                    each_touched(
                        rows,
                        (range.clone(), heads),
                        by_sums,
                        gradient,
                        #[inline(always)]
                        |place, sum| {
                            into[(place - first) * width..][..width].copy_from_slice(sum);
                        },
                    );
                },
            );
        });
    });
    tensor(by_weight, [terms, width])
}
