//! Optimizer steps: one pass over a parameter, its gradient and what is remembered of it.

use burn::tensor::Tensor;

/// The numbers of one step of Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// Times the weight, added to the gradient: Adam's weight decay.
    pub penalty: f64,
    /// Taken off the weight, as a share of it, first of all: AdamW's weight decay times the rate.
    pub shrinkage: f64,
    /// The step, from 1, by which the means are corrected for having started at zero.
    pub step: u64,
}

impl AdamStep {
    /// The same for rows that are stepped alone, as PyTorch's `SparseAdam` and TensorFlow's `LazyAdam`
    /// have it: epsilon is added to the root before this is corrected for having started at zero.
    #[must_use]
    pub fn sparse(self) -> Self {
        let [_, square] = self.corrections();
        Self { epsilon: self.epsilon / square.sqrt(), ..self }
    }

    /// Divisors of the means, which started at zero.
    fn corrections(&self) -> [f64; 2] {
        let step = self.step as f64;
        [1.0 - self.beta1.powf(step), 1.0 - self.beta2.powf(step)]
    }

    /// `a` and `b` of the step `a · mean / (b · root + epsilon)`.
    pub(crate) fn factors(&self) -> [f64; 2] {
        let [mean, square] = self.corrections();
        [self.rate / mean, 1.0 / square.sqrt()]
    }
}

/// Steps a parameter; returns its value, the mean of its gradients and that of their squares.
///
/// All are `[n]`. The tensors that come in are changed in place where nothing else holds them.
/// A mean too small for a normal number becomes zero: arithmetic on subnormal numbers is slow.
pub fn adam(
    value: Tensor<1>,
    gradient: Tensor<1>,
    mean: Tensor<1>,
    square: Tensor<1>,
    step: &AdamStep,
) -> [Tensor<1>; 3] {
    let [value, gradient, mean, square] =
        match crate::flex::adam([value, gradient, mean, square], step) {
            Ok(stepped) => return stepped,
            Err(inputs) => *inputs,
        };
    plain_adam(value, gradient, mean, square, step)
}

/// The definition of [`adam`](crate::adam).
pub fn plain_adam(
    value: Tensor<1>,
    gradient: Tensor<1>,
    mean: Tensor<1>,
    square: Tensor<1>,
    step: &AdamStep,
) -> [Tensor<1>; 3] {
    let (value, gradient) = decayed(value, gradient, step.penalty, step.shrinkage);
    let mean = blend(mean, gradient.clone(), step.beta1);
    let square = blend(square, gradient.square(), step.beta2);
    let [rate, correction] = step.factors();
    let root = square.clone().sqrt().mul_scalar(correction).add_scalar(step.epsilon);
    [value - (mean.clone() / root).mul_scalar(rate), mean, square]
}

/// The numbers of one step of stochastic gradient descent with momentum, as PyTorch has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub rate: f64,
    /// Share of the velocity that is kept.
    pub momentum: f64,
    /// Share of the gradient that does not go into the velocity.
    pub dampening: f64,
    /// Looks ahead along the velocity.
    pub nesterov: bool,
    /// Times the weight, added to the gradient.
    pub penalty: f64,
}

/// Steps a parameter; returns its value and its velocity. All are `[n]`.
pub fn sgd(
    value: Tensor<1>,
    gradient: Tensor<1>,
    velocity: Tensor<1>,
    step: &SgdStep,
) -> [Tensor<1>; 2] {
    let [value, gradient, velocity] = match crate::flex::sgd([value, gradient, velocity], step) {
        Ok(stepped) => return stepped,
        Err(inputs) => *inputs,
    };
    plain_sgd(value, gradient, velocity, step)
}

/// The definition of [`sgd`](crate::sgd).
pub fn plain_sgd(
    value: Tensor<1>,
    gradient: Tensor<1>,
    velocity: Tensor<1>,
    step: &SgdStep,
) -> [Tensor<1>; 2] {
    let (value, gradient) = decayed(value, gradient, step.penalty, 0.0);
    let fresh = gradient.clone().mul_scalar(1.0 - step.dampening);
    let velocity = velocity.mul_scalar(step.momentum) + fresh;
    let direction = if step.nesterov {
        gradient + velocity.clone().mul_scalar(step.momentum)
    } else {
        velocity.clone()
    };
    [value - direction.mul_scalar(step.rate), velocity]
}

/// The weight and its gradient after weight decay of either kind.
fn decayed(
    value: Tensor<1>,
    gradient: Tensor<1>,
    penalty: f64,
    shrinkage: f64,
) -> (Tensor<1>, Tensor<1>) {
    let gradient =
        if penalty == 0.0 { gradient } else { gradient + value.clone().mul_scalar(penalty) };
    // After the penalty, which is on the weight as it was.
    let value = if shrinkage == 0.0 { value } else { value.mul_scalar(1.0 - shrinkage) };
    (value, gradient)
}

/// `kept · old + (1 - kept) · new`.
fn blend(old: Tensor<1>, new: Tensor<1>, kept: f64) -> Tensor<1> {
    old.mul_scalar(kept) + new.mul_scalar(1.0 - kept)
}
