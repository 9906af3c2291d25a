//! Adam and AdamW, one operation of `fireclay-kernels`.

use burn::tensor::Tensor;
use fireclay_kernels::{self as kernels, AdamStep, Rule};
use serde::{Deserialize, Serialize};

use super::parameter::Parameter;
use super::range::{not_negative, positive, share};
use super::{KernelRule, Now, OptimizerError, UpdateRule, settings};

settings! {
    /// Defaults are Keras'; PyTorch's differ in `epsilon`, 1e-8.
    Adam {
        /// Step size; positive.
        learning_rate: f64 = 1e-3,
        /// Decay of the mean of gradients, in `[0, 1)`.
        beta1: f64 = 0.9,
        /// Decay of the mean of squared gradients, in `[0, 1)`.
        beta2: f64 = 0.999,
        /// Added to the root of the mean square; positive.
        epsilon: f64 = 1e-7,
        /// L2 penalty added to the gradient of weight matrices; not negative.
        weight_decay: f64 = 0.0,
    }
}

settings! {
    /// Defaults are PyTorch's.
    AdamW {
        /// Step size; positive.
        learning_rate: f64 = 1e-3,
        /// Decay of the mean of gradients, in `[0, 1)`.
        beta1: f64 = 0.9,
        /// Decay of the mean of squared gradients, in `[0, 1)`.
        beta2: f64 = 0.999,
        /// Added to the root of the mean square; positive.
        epsilon: f64 = 1e-8,
        /// Share of each weight, times the rate, taken off at each step; not negative.
        weight_decay: f64 = 1e-2,
    }
}

/// What Adam and AdamW share.
struct Numbers {
    learning_rate: f64,
    /// Decays of both means, and what is added to the root.
    moments: [f64; 3],
    weight_decay: f64,
}

/// Adam or AdamW, which differ in what weight decay does.
trait Variant: Clone + 'static {
    fn numbers(&self) -> Numbers;

    /// A step with weight decay.
    fn decayed(step: AdamStep, weight_decay: f64) -> AdamStep;

    fn operation(&self, decays: bool, now: Now) -> AdamStep {
        let Numbers { learning_rate, moments, weight_decay } = self.numbers();
        let step = plain_step(learning_rate * now.factor, moments, now);
        if decays { Self::decayed(step, weight_decay * now.decay) } else { step }
    }
}

impl Variant for Adam {
    fn numbers(&self) -> Numbers {
        let Self { learning_rate, beta1, beta2, epsilon, weight_decay } = *self;
        Numbers { learning_rate, moments: [beta1, beta2, epsilon], weight_decay }
    }

    fn decayed(step: AdamStep, weight_decay: f64) -> AdamStep {
        AdamStep { penalty: weight_decay, ..step }
    }
}

impl Variant for AdamW {
    fn numbers(&self) -> Numbers {
        let Self { learning_rate, beta1, beta2, epsilon, weight_decay } = *self;
        Numbers { learning_rate, moments: [beta1, beta2, epsilon], weight_decay }
    }

    fn decayed(step: AdamStep, weight_decay: f64) -> AdamStep {
        AdamStep { shrinkage: step.rate * weight_decay, ..step }
    }
}

impl<V: Variant> UpdateRule for V {
    fn learning_rate(&self) -> f64 {
        self.numbers().learning_rate
    }

    fn validate(&self) -> Result<(), OptimizerError> {
        let Numbers { moments, weight_decay, .. } = self.numbers();
        check_moments(moments)?;
        not_negative("weight_decay", weight_decay)
    }

    fn step(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1> {
        let step = self.operation(at.decays, now);
        moved(at, memory, step)
    }

    fn kernel(&self) -> Option<Box<dyn KernelRule>> {
        Some(Box::new(self.clone()))
    }
}

impl<V: Variant> KernelRule for V {
    fn rule(&self, decays: bool, _is_first: bool, now: Now) -> Rule {
        Rule::Adam(self.operation(decays, now))
    }
}

/// Checks the decays of both means, and what is added to the root.
pub(super) fn check_moments([beta1, beta2, epsilon]: [f64; 3]) -> Result<(), OptimizerError> {
    share("beta1", beta1)?;
    share("beta2", beta2)?;
    positive("epsilon", epsilon)
}

/// A step without weight decay.
pub(super) fn plain_step(rate: f64, [beta1, beta2, epsilon]: [f64; 3], now: Now) -> AdamStep {
    AdamStep { rate, beta1, beta2, epsilon, penalty: 0.0, shrinkage: 0.0, step: now.step }
}

/// A parameter after a step of Adam.
pub(super) fn moved(at: Parameter, memory: &mut Vec<Tensor<1>>, step: AdamStep) -> Tensor<1> {
    let step = if at.is_sparse { step.sparse() } else { step };
    let mut remembered = std::mem::take(memory).into_iter();
    let mean = remembered.next().unwrap_or_else(|| at.gradient.zeros_like());
    let square = remembered.next().unwrap_or_else(|| at.gradient.zeros_like());
    let [value, mean, square] = kernels::adam(at.value, at.gradient, mean, square, &step);
    *memory = vec![mean, square];
    value
}
