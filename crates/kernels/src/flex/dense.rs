//! A dense layer in two passes: one forward, one backward.

use std::borrow::Cow;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

use super::product::{Matrix, product};
use super::{OnGraph, Placed, Real, for_real, numbers, tensor, vectorised};
use crate::Epilogue;

type Inputs = (Tensor<2>, Tensor<2>, Tensor<1>);

/// The fast body of [`dense`](crate::dense).
pub(crate) fn dense(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    epilogue: Epilogue,
) -> Result<Tensor<2>, Box<Inputs>> {
    let (x, weight, bias) = (Placed::of(x), Placed::of(weight), Placed::of(bias));
    let y = match (x.plain(), weight.plain(), bias.plain()) {
        (Some(x), Some(weight), Some(bias)) => forward(x, weight, bias, epilogue),
        _ => None,
    };
    match (x, weight, bias, y) {
        (Placed::Off(_), Placed::Off(_), Placed::Off(_), Some(y)) => {
            Ok(Tensor::from_primitive::<Flex>(y))
        }
        (Placed::On(x), Placed::On(weight), Placed::On(bias), Some(y)) => {
            Ok(Tensor::from_primitive::<Autodiff<Flex>>(on_graph(x, weight, &bias, epilogue, y)))
        }
        (x, weight, bias, _) => Err(Box::new((x.back(), weight.back(), bias.back()))),
    }
}

/// Puts the operation on the graph.
fn on_graph(
    x: OnGraph,
    weight: OnGraph,
    bias: &OnGraph,
    epilogue: Epilogue,
    y: FlexTensor,
) -> OnGraph {
    let (x, x_node) = x.into_parts();
    let (weight, weight_node) = weight.into_parts();
    let nodes = [x_node, weight_node, bias.node()];
    match DenseBackward.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let y_kept = (epilogue != Epilogue::None).then(|| y.clone());
            let kept = Kept { x, weight, y: y_kept, epilogue };
            prepared.finish(kept, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    }
}

/// `None` if the tensors do not fit: the plain body then says how.
fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    epilogue: Epilogue,
) -> Option<FlexTensor> {
    let [batch, inputs] = sizes(x);
    let [rows, outputs] = sizes(weight);
    let [columns] = bias.layout().shape().dims();
    let dtype = x.dtype();
    let is_same = weight.dtype() == dtype && bias.dtype() == dtype;
    let fits = rows == inputs && columns == outputs;
    if !(is_same && fits) {
        return None;
    }
    Some(for_real!(dtype, T => {
        let x = Matrix::new(numbers::<T>(x), [batch, inputs]);
        let weight = Matrix::new(numbers::<T>(weight), [inputs, outputs]);
        let y = product(x, weight, Some(numbers::<T>(bias)), |y| apply(epilogue, y));
        tensor(y, [batch, outputs])
    }))
}

/// Applies the epilogue in place.
pub(super) fn apply<T: Real>(epilogue: Epilogue, numbers: &mut [T]) {
    match epilogue {
        Epilogue::None => {}
        // Keeps NaN, as a comparison with it is false.
        Epilogue::Relu => vectorised(
            #[inline(always)]
            || {
                for number in numbers {
                    *number = if *number < T::zero() { T::zero() } else { *number };
                }
            },
        ),
    }
}

/// Turns the gradient by `y` into that by what the epilogue was applied to, in place.
///
/// It passes where `y` is NaN, to show there too.
pub(super) fn back_through<T: Real>(epilogue: Epilogue, y: &[T], gradient: &mut [T]) {
    match epilogue {
        Epilogue::None => {}
        Epilogue::Relu => vectorised(
            #[inline(always)]
            || {
                for (g, &y) in gradient.iter_mut().zip(y) {
                    *g = if y <= T::zero() { T::zero() } else { *g };
                }
            },
        ),
    }
}

fn sizes(matrix: &FlexTensor) -> [usize; 2] {
    matrix.layout().shape().dims()
}

#[derive(Debug)]
struct DenseBackward;

/// The results of the forward pass that the backward pass needs.
#[derive(Clone, Debug)]
struct Kept {
    x: FlexTensor,
    weight: FlexTensor,
    /// The layer's output, where the derivative follows from it.
    y: Option<FlexTensor>,
    epilogue: Epilogue,
}

impl Backward<Flex, 3> for DenseBackward {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let gradient = if gradient.is_contiguous() { gradient } else { gradient.to_contiguous() };
        let [x, weight, bias] = ops.parents;
        for_real!(gradient.dtype(), T => {
            let by_y = by_affine::<T>(&gradient, &ops.state);
            let sizes = sizes(&gradient);
            let of_weight = weight.map(|node| (node, by_weight::<T>(&ops.state.x, sizes, &by_y)));
            let of_bias = bias.map(|node| (node, by_bias::<T>(sizes, &by_y)));
            let of_x = x.map(|node| (node, by_x::<T>(&ops.state.weight, sizes, &by_y)));
            for (node, gradient) in [of_weight, of_bias, of_x].into_iter().flatten() {
                gradients.register::<Flex>(node.id, gradient);
            }
        });
    }
}

/// The gradient by what the epilogue was applied to.
fn by_affine<'a, T: Real>(gradient: &'a FlexTensor, kept: &Kept) -> Cow<'a, [T]> {
    let gradient = numbers::<T>(gradient);
    let Some(y) = &kept.y else { return Cow::Borrowed(gradient) };
    let mut gradient = gradient.to_vec();
    back_through(kept.epilogue, numbers::<T>(y), &mut gradient);
    Cow::Owned(gradient)
}

/// `xᵀ · gradient`.
fn by_weight<T: Real>(x: &FlexTensor, [_, outputs]: [usize; 2], gradient: &[T]) -> FlexTensor {
    let [batch, inputs] = sizes(x);
    let x = Matrix::new(numbers::<T>(x), [batch, inputs]).transposed();
    let gradient = Matrix::new(gradient, [batch, outputs]);
    tensor(product(x, gradient, None, |_| {}), [inputs, outputs])
}

/// `gradient · weightᵀ`.
fn by_x<T: Real>(weight: &FlexTensor, [batch, _]: [usize; 2], gradient: &[T]) -> FlexTensor {
    let [inputs, outputs] = sizes(weight);
    let weight = Matrix::new(numbers::<T>(weight), [inputs, outputs]).transposed();
    let gradient = Matrix::new(gradient, [batch, outputs]);
    tensor(product(gradient, weight, None, |_| {}), [batch, inputs])
}

/// The sum over the batch.
fn by_bias<T: Real>([_, outputs]: [usize; 2], gradient: &[T]) -> FlexTensor {
    let mut sum = vec![T::zero(); outputs];
    sum_rows(gradient, &mut sum);
    tensor(sum, [outputs])
}

/// Adds every row to `sum`, one after the other.
pub(super) fn sum_rows<T: Real>(rows: &[T], sum: &mut [T]) {
    vectorised(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(sum.len().max(1)) {
                sum.iter_mut().zip(row).for_each(|(sum, &g)| *sum += g);
            }
        },
    );
}
