//! Softmax cross-entropy: loss and probabilities in one pass, the gradient in another.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, BackendTensor, DispatchTensorKind, Flex};
use burn::tensor::{DType, Int, Tensor};

use super::{OnGraph, Placed, Real, for_real, numbers, tensor, vectorised};
use crate::Smoothing;

type Inputs = (Tensor<2>, Tensor<1, Int>);

/// The fast body of [`cross_entropy`](crate::cross_entropy).
pub(crate) fn cross_entropy(
    logits: Tensor<2>,
    classes: Tensor<1, Int>,
    smoothing: &Smoothing,
) -> Result<Tensor<1>, Box<Inputs>> {
    let logits = Placed::of(logits);
    let inputs = logits.plain().zip(indices(&classes));
    let pass = inputs.and_then(|(logits, ids)| forward(logits, ids, smoothing));
    match (logits, pass) {
        (Placed::Off(_), Some((losses, _))) => Ok(Tensor::from_primitive::<Flex>(losses)),
        (Placed::On(logits), Some((losses, kept))) => {
            Ok(Tensor::from_primitive::<Autodiff<Flex>>(on_graph(&logits, losses, kept)))
        }
        (logits, _) => Err(Box::new((logits.back(), classes))),
    }
}

/// Puts the operation on the graph.
fn on_graph(logits: &OnGraph, losses: FlexTensor, kept: Kept) -> OnGraph {
    let prepared = CrossEntropyBackward.prepare::<NoCheckpointing>([logits.node()]);
    match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(kept, losses),
        OpsKind::UnTracked(prepared) => prepared.finish(losses),
    }
}

/// The results of the forward pass that the backward pass needs.
#[derive(Clone, Debug)]
struct Kept {
    /// `softmax(z)`, `[batch, classes]`.
    probabilities: FlexTensor,
    classes: Vec<usize>,
    smoothing: Smoothing,
}

/// The share of each class's `-log softmax` in the loss of a sample.
pub(super) struct Shares<'a> {
    pub(super) smoothing: &'a Smoothing,
    pub(super) classes: usize,
}

impl Shares<'_> {
    fn weight(&self, class: usize) -> f64 {
        self.smoothing.class_weights.as_ref().map_or(1.0, |weights| weights[class])
    }

    /// Of the sample's own class, before what it has with all others.
    fn own<T: Real>(&self, class: usize) -> T {
        T::of((1.0 - self.smoothing.share) * self.weight(class))
    }

    /// Of every class.
    fn even<T: Real>(&self, class: usize) -> T {
        T::of(self.smoothing.share / self.classes as f64 * self.weight(class))
    }
}

fn forward(
    logits: &FlexTensor,
    classes: Vec<usize>,
    smoothing: &Smoothing,
) -> Option<(FlexTensor, Kept)> {
    let [batch, count]: [usize; 2] = logits.layout().shape().dims();
    let fits = classes.len() == batch && classes.iter().all(|&class| class < count);
    if !fits || count == 0 {
        return None;
    }
    let shares = Shares { smoothing, classes: count };
    Some(for_real!(logits.dtype(), T => {
        let mut probabilities = numbers::<T>(logits).to_vec();
        let losses: Vec<T> = vectorised(#[inline(always)] || {
            let rows = probabilities.chunks_exact_mut(count).zip(&classes);
            rows.map(|(row, &class)| loss(row, class, &shares)).collect()
        });
        let probabilities = tensor(probabilities, [batch, count]);
        (tensor(losses, [batch]), Kept { probabilities, classes, smoothing: smoothing.clone() })
    }))
}

/// Turns logits into probabilities; the loss of the row.
#[inline(always)]
pub(super) fn loss<T: Real>(row: &mut [T], class: usize, shares: &Shares<'_>) -> T {
    let most = row.iter().fold(T::neg_infinity(), |most, &z| if z > most { z } else { most });
    row.iter_mut().for_each(|z| *z = *z - most);
    let own = row[class];
    let is_smoothed = shares.smoothing.share != 0.0;
    // Σ share · z over all classes, and Σ share.
    let (mut even, mut even_shares) = (T::zero(), T::zero());
    if is_smoothed {
        for (class, &z) in row.iter().enumerate() {
            let share = shares.even::<T>(class);
            even += share * z;
            even_shares += share;
        }
    }
    row.iter_mut().for_each(|z| *z = z.exp());
    let sum = row.iter().copied().sum::<T>();
    row.iter_mut().for_each(|p| *p = *p / sum);
    let log = sum.ln();
    let hard = shares.own::<T>(class) * (log - own);
    if is_smoothed { hard + (even_shares * log - even) } else { hard }
}

/// Class ids; `None` if they are elsewhere, or of a type that `flex` does not make by itself.
fn indices(classes: &Tensor<1, Int>) -> Option<Vec<usize>> {
    let DispatchTensorKind::Flex(BackendTensor::Int(classes)) =
        classes.clone().into_dispatch().kind
    else {
        return None;
    };
    match classes.dtype() {
        DType::I64 => classes.as_slice::<i64>()?.iter().map(|&id| id.try_into().ok()).collect(),
        DType::I32 => classes.as_slice::<i32>()?.iter().map(|&id| id.try_into().ok()).collect(),
        DType::U32 => classes.as_slice::<u32>()?.iter().map(|&id| id.try_into().ok()).collect(),
        _ => None,
    }
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl Backward<Flex, 1> for CrossEntropyBackward {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let gradient = if gradient.is_contiguous() { gradient } else { gradient.to_contiguous() };
        let [Some(node)] = ops.parents else { return };
        let Kept { probabilities, classes, smoothing } = ops.state;
        let [batch, count]: [usize; 2] = probabilities.layout().shape().dims();
        let shares = Shares { smoothing: &smoothing, classes: count };
        let by_logits = for_real!(gradient.dtype(), T => {
            let mut by_logits = numbers::<T>(&probabilities).to_vec();
            let rows = by_logits.chunks_exact_mut(count).zip(&classes);
            for ((row, &class), &gradient) in rows.zip(numbers::<T>(&gradient)) {
                by_row(row, class, gradient, &shares);
            }
            tensor(by_logits, [batch, count])
        });
        gradients.register::<Flex>(node.id, by_logits);
    }
}

/// Turns probabilities into the gradient by the logits: `(Σ shares) p - share`, class by class.
#[inline(always)]
pub(super) fn by_row<T: Real>(row: &mut [T], class: usize, gradient: T, shares: &Shares<'_>) {
    let own = shares.own::<T>(class);
    if shares.smoothing.share == 0.0 {
        row.iter_mut().for_each(|p| *p = *p * (own * gradient));
        row[class] = row[class] - own * gradient;
        return;
    }
    let all = own + (0..row.len()).map(|class| shares.even::<T>(class)).sum::<T>();
    for (c, p) in row.iter_mut().enumerate() {
        let share = shares.even::<T>(c) + if c == class { own } else { T::zero() };
        *p = (all * *p - share) * gradient;
    }
}
