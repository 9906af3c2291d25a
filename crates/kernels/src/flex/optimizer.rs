//! Optimizer steps in one pass, in place.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};

use super::tuning::OPTIMIZER_PIECE;
use super::{Placed, Real, for_real, numbers, team, vectorised};
use crate::{AdamStep, Rule, SgdStep};

/// The fast body of [`adam`](crate::adam); the tensors are value, gradient, mean and square.
pub(crate) fn adam(
    tensors: [Tensor<1>; 4],
    step: &AdamStep,
) -> Result<[Tensor<1>; 3], Box<[Tensor<1>; 4]>> {
    let [mut value, gradient, mut mean, mut square] = storages(tensors)?;
    for_real!(value.dtype(), T => {
        let memory = vec![places::<T>(&mut mean), places::<T>(&mut square)];
        take(&Rule::Adam(*step), places(&mut value), numbers(&gradient), memory);
    });
    Ok([value, mean, square].map(Tensor::from_primitive::<Flex>))
}

/// The fast body of [`sgd`](crate::sgd); the tensors are value, gradient and velocity.
pub(crate) fn sgd(
    tensors: [Tensor<1>; 3],
    step: &SgdStep,
) -> Result<[Tensor<1>; 2], Box<[Tensor<1>; 3]>> {
    let [mut value, gradient, mut velocity] = storages(tensors)?;
    for_real!(value.dtype(), T => {
        let memory = vec![places::<T>(&mut velocity)];
        take(&Rule::Sgd(*step), places(&mut value), numbers(&gradient), memory);
    });
    Ok([value, velocity].map(Tensor::from_primitive::<Flex>))
}

/// One step of a whole parameter, on several threads.
fn take<T: Real>(rule: &Rule, value: &mut [T], gradient: &[T], memory: Vec<&mut [T]>) {
    let rule = TypedRule::<T>::new(rule);
    let mut memory: Vec<_> =
        memory.into_iter().map(|part| part.chunks_mut(OPTIMIZER_PIECE)).collect();
    let pieces = value.chunks_mut(OPTIMIZER_PIECE).zip(gradient.chunks(OPTIMIZER_PIECE));
    let mut pieces: Vec<_> = pieces
        .map(|(value, gradient)| {
            let memory: Vec<_> = memory.iter_mut().filter_map(Iterator::next).collect();
            (value, gradient, memory)
        })
        .collect();
    team::each(&mut pieces, |(value, gradient, memory)| rule.take(value, gradient, memory));
}

/// A [`Rule`] in the type of the parameters.
pub(super) enum TypedRule<T> {
    Adam(AdamNumbers<T>),
    Sgd(SgdStep),
}

impl<T: Real> TypedRule<T> {
    pub(super) fn new(rule: &Rule) -> Self {
        match rule {
            Rule::Adam(step) => Self::Adam(AdamNumbers::new(step)),
            Rule::Sgd(step) => Self::Sgd(*step),
        }
    }

    /// Steps these parameters, with as many slices of memory as the [rule has](Rule::memory); SGD
    /// without momentum takes none.
    pub(super) fn take(&self, value: &mut [T], gradient: &[T], memory: &mut [&mut [T]]) {
        let all = 0..value.len();
        vectorised(
            #[inline(always)]
            || self.take_part(value, gradient, memory, all),
        );
    }

    /// As [`take`](Self::take), of some parameters that have this gradient.
    #[inline(always)]
    pub(super) fn take_part(
        &self,
        value: &mut [T],
        gradient: &[T],
        memory: &mut [&mut [T]],
        part: Range<usize>,
    ) {
        let value = &mut value[part.clone()];
        match (self, memory) {
            (Self::Adam(step), [mean, square, ..]) => {
                step.take(value, gradient, &mut mean[part.clone()], &mut square[part]);
            }
            (Self::Sgd(step), [velocity, ..]) => {
                sgd_all(step, value, gradient, &mut velocity[part]);
            }
            (Self::Sgd(step), []) => descend_all(step, value, gradient),
            (Self::Adam(_), _) => unreachable!("Adam remembers two tensors"),
        }
    }
}

#[inline(always)]
fn sgd_all<T: Real>(step: &SgdStep, value: &mut [T], gradient: &[T], velocity: &mut [T]) {
    // Chosen out here, for a choice at every number takes time. Without a penalty, 0 times an
    // infinite value must not become NaN.
    if step.penalty == 0.0 {
        sgd_piece(step, |g, _| g, value, gradient, velocity);
    } else {
        sgd_piece(step, penalised(step), value, gradient, velocity);
    }
}

#[inline(always)]
fn descend_all<T: Real>(step: &SgdStep, value: &mut [T], gradient: &[T]) {
    if step.penalty == 0.0 {
        descend(step, |g, _| g, value, gradient);
    } else {
        descend(step, penalised(step), value, gradient);
    }
}

/// The gradient with the penalty on the weight.
#[inline(always)]
fn penalised<T: Real>(step: &SgdStep) -> impl Fn(T, T) -> T + use<T> {
    let penalty = T::of(step.penalty);
    #[inline(always)]
    move |g, w| g + penalty * w
}

#[inline(always)]
fn descend<T: Real>(step: &SgdStep, decayed: impl Fn(T, T) -> T, value: &mut [T], gradient: &[T]) {
    let rate = T::of(step.rate);
    for (value, &gradient) in value.iter_mut().zip(gradient) {
        *value = *value - decayed(gradient, *value) * rate;
    }
}

/// An [`AdamStep`] in the type of the parameters.
pub(super) struct AdamNumbers<T> {
    penalty: T,
    remainder: T,
    betas: [T; 2],
    news: [T; 2],
    rate: T,
    correction: T,
    epsilon: T,
}

impl<T: Real> AdamNumbers<T> {
    fn new(step: &AdamStep) -> Self {
        let [rate, correction] = step.factors();
        Self {
            penalty: T::of(step.penalty),
            remainder: T::of(1.0 - step.shrinkage),
            betas: [T::of(step.beta1), T::of(step.beta2)],
            news: [T::of(1.0 - step.beta1), T::of(1.0 - step.beta2)],
            rate: T::of(rate),
            correction: T::of(correction),
            epsilon: T::of(step.epsilon),
        }
    }

    #[inline(always)]
    fn take(&self, value: &mut [T], gradient: &[T], mean: &mut [T], square: &mut [T]) {
        let count = value.len();
        let (gradient, mean, square) =
            (&gradient[..count], &mut mean[..count], &mut square[..count]);
        for i in 0..count {
            let penalty = self.penalty;
            // Without a penalty, 0 times an infinite value must not become NaN.
            let g =
                if penalty == T::zero() { gradient[i] } else { gradient[i] + penalty * value[i] };
            let m = normal(mean[i] * self.betas[0] + g * self.news[0]);
            let s = normal(square[i] * self.betas[1] + g * g * self.news[1]);
            mean[i] = m;
            square[i] = s;
            let root = s.sqrt() * self.correction + self.epsilon;
            value[i] = value[i] * self.remainder - m / root * self.rate;
        }
    }
}

/// A number, or zero in place of a subnormal one.
#[inline(always)]
fn normal<T: Real>(x: T) -> T {
    if x.abs() < T::min_positive_value() { T::zero() } else { x }
}

#[inline(always)]
fn sgd_piece<T: Real>(
    step: &SgdStep,
    decayed: impl Fn(T, T) -> T,
    value: &mut [T],
    gradient: &[T],
    velocity: &mut [T],
) {
    let [rate, momentum] = [step.rate, step.momentum].map(T::of);
    let fresh = T::of(1.0 - step.dampening);
    for ((value, &gradient), velocity) in value.iter_mut().zip(gradient).zip(velocity) {
        let g = decayed(gradient, *value);
        let v = normal(*velocity * momentum + g * fresh);
        *velocity = v;
        let direction = if step.nesterov { g + v * momentum } else { v };
        *value = *value - direction * rate;
    }
}

/// The tensors' storage, if all are for the fast bodies and equally long.
fn storages<const N: usize>(
    tensors: [Tensor<1>; N],
) -> Result<[FlexTensor; N], Box<[Tensor<1>; N]>> {
    let placed = tensors.map(Placed::of);
    let first = placed[0].whole().map(form);
    if first.is_none() || placed.iter().any(|placed| placed.whole().map(form) != first) {
        return Err(Box::new(placed.map(Placed::back)));
    }
    Ok(placed.map(|placed| match placed {
        Placed::Off(tensor) => tensor,
        _ => unreachable!("every tensor has been looked at"),
    }))
}

/// Type and count of a tensor's numbers.
fn form(tensor: &FlexTensor) -> (DType, usize) {
    (tensor.dtype(), tensor.layout().num_elements())
}

/// The places of a tensor's numbers, from its first; its own copy if others hold it too.
pub(super) fn places<T: Real>(tensor: &mut FlexTensor) -> &mut [T] {
    let count = tensor.layout().num_elements();
    &mut tensor.storage_mut()[..count]
}
