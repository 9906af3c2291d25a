//! Optimizer steps in one pass, in place.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{Placed, Real, for_real, is_plain, numbers, vectorised};
use crate::{AdamStep, SgdStep};

/// Parameters that one thread steps at a time; for fewer, waking another takes longer.
const PIECE: usize = 1 << 17;

/// The fast body of [`adam`](crate::adam); the tensors are value, gradient, mean and square.
pub(crate) fn adam(
    tensors: [Tensor<1>; 4],
    step: &AdamStep,
) -> Result<[Tensor<1>; 3], Box<[Tensor<1>; 4]>> {
    let [mut value, gradient, mut mean, mut square] = storages(tensors)?;
    for_real!(value.dtype(), T => {
        let step = AdamNumbers::<T>::new(step);
        let gradient = numbers::<T>(&gradient);
        let (value, mean) = (places::<T>(&mut value), places::<T>(&mut mean));
        let square = places::<T>(&mut square);
        let run = |value: &mut [T], gradient: &[T], mean: &mut [T], square: &mut [T]| {
            vectorised(|| step.take(value, gradient, mean, square));
        };
        if value.len() <= PIECE {
            run(value, gradient, mean, square);
        } else {
            let means = mean.par_chunks_mut(PIECE).zip(square.par_chunks_mut(PIECE));
            let pieces = value.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE)).zip(means);
            pieces.for_each(|((value, gradient), (mean, square))| run(value, gradient, mean, square));
        }
    });
    Ok([value, mean, square].map(Tensor::from_primitive::<Flex>))
}

/// An [`AdamStep`] in the type of the parameters.
struct AdamNumbers<T> {
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

/// The fast body of [`sgd`](crate::sgd); the tensors are value, gradient and velocity.
pub(crate) fn sgd(
    tensors: [Tensor<1>; 3],
    step: &SgdStep,
) -> Result<[Tensor<1>; 2], Box<[Tensor<1>; 3]>> {
    let [mut value, gradient, mut velocity] = storages(tensors)?;
    for_real!(value.dtype(), T => {
        let gradient = numbers::<T>(&gradient);
        let (value, velocity) = (places::<T>(&mut value), places::<T>(&mut velocity));
        let run = |value: &mut [T], gradient: &[T], velocity: &mut [T]| {
            // As for Adam; chosen out here, for a choice at every number takes time.
            if step.penalty == 0.0 {
                vectorised(|| sgd_piece(step, |g, _| g, value, gradient, velocity));
            } else {
                let penalty = T::of(step.penalty);
                vectorised(|| sgd_piece(step, |g, w| g + penalty * w, value, gradient, velocity));
            }
        };
        if value.len() <= PIECE {
            run(value, gradient, velocity);
        } else {
            let pieces = value.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
            let pieces = pieces.zip(velocity.par_chunks_mut(PIECE));
            pieces.for_each(|((value, gradient), velocity)| run(value, gradient, velocity));
        }
    });
    Ok([value, velocity].map(Tensor::from_primitive::<Flex>))
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
    let first = match &placed[0] {
        Ok(Placed::Off(tensor)) => (tensor.dtype(), tensor.layout().num_elements()),
        _ => return Err(Box::new(placed.map(given_back))),
    };
    let is_alike = |placed: &Result<Placed, Box<Tensor<1>>>| match placed {
        Ok(Placed::Off(tensor)) => {
            is_plain(tensor)
                && (tensor.dtype(), tensor.layout().num_elements()) == first
                && tensor.layout().start_offset() == 0
        }
        _ => false,
    };
    if !placed.iter().all(is_alike) {
        return Err(Box::new(placed.map(given_back)));
    }
    Ok(placed.map(|placed| match placed {
        Ok(Placed::Off(tensor)) => tensor,
        _ => unreachable!("every tensor has been looked at"),
    }))
}

fn given_back(placed: Result<Placed, Box<Tensor<1>>>) -> Tensor<1> {
    placed.map_or_else(|tensor| *tensor, Placed::back)
}

/// The places of a tensor's numbers; its own copy if others hold it too.
fn places<T: Real>(tensor: &mut FlexTensor) -> &mut [T] {
    let count = tensor.layout().num_elements();
    &mut tensor.storage_mut()[..count]
}
