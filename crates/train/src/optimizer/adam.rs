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

impl UpdateRule for Adam {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn validate(&self) -> Result<(), OptimizerError> {
        check_moments([self.beta1, self.beta2, self.epsilon])?;
        not_negative("weight_decay", self.weight_decay)
    }

    fn step(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1> {
        let step = self.operation(at.decays, now);
        moved(at, memory, &step)
    }

    fn kernel(&self) -> Option<Box<dyn KernelRule>> {
        Some(Box::new(self.clone()))
    }
}

impl KernelRule for Adam {
    fn rule(&self, decays: bool, _is_first: bool, now: Now) -> Rule {
        Rule::Adam(self.operation(decays, now))
    }
}

impl Adam {
    fn operation(&self, decays: bool, now: Now) -> AdamStep {
        let penalty = if decays { self.weight_decay } else { 0.0 };
        let rate = self.learning_rate * now.factor;
        AdamStep { penalty, ..plain_step(rate, [self.beta1, self.beta2, self.epsilon], now) }
    }
}

impl UpdateRule for AdamW {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn validate(&self) -> Result<(), OptimizerError> {
        check_moments([self.beta1, self.beta2, self.epsilon])?;
        not_negative("weight_decay", self.weight_decay)
    }

    fn step(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1> {
        let step = self.operation(at.decays, now);
        moved(at, memory, &step)
    }

    fn kernel(&self) -> Option<Box<dyn KernelRule>> {
        Some(Box::new(self.clone()))
    }
}

impl KernelRule for AdamW {
    fn rule(&self, decays: bool, _is_first: bool, now: Now) -> Rule {
        Rule::Adam(self.operation(decays, now))
    }
}

impl AdamW {
    fn operation(&self, decays: bool, now: Now) -> AdamStep {
        let rate = self.learning_rate * now.factor;
        let shrinkage = rate * if decays { self.weight_decay } else { 0.0 };
        AdamStep { shrinkage, ..plain_step(rate, [self.beta1, self.beta2, self.epsilon], now) }
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
pub(super) fn moved(at: Parameter, memory: &mut Vec<Tensor<1>>, step: &AdamStep) -> Tensor<1> {
    let mut remembered = std::mem::take(memory).into_iter();
    let mean = remembered.next().unwrap_or_else(|| at.gradient.zeros_like());
    let square = remembered.next().unwrap_or_else(|| at.gradient.zeros_like());
    let [value, mean, square] = kernels::adam(at.value, at.gradient, mean, square, step);
    *memory = vec![mean, square];
    value
}
