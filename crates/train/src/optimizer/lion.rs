//! Lion: algorithm 2 of Chen et al. 2023.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parameter::{Parameter, blend};
use super::range::{not_negative, share};
use super::{Now, OptimizerError, UpdateRule, settings};

settings! {
    /// Defaults are the paper's.
    Lion {
        /// Step size; positive. Three to ten times smaller than Adam's.
        learning_rate: f64 = 1e-4,
        /// Weight of the momentum in the direction of a step, in `[0, 1)`.
        beta1: f64 = 0.9,
        /// Decay of the momentum, in `[0, 1)`.
        beta2: f64 = 0.99,
        /// Share of each weight, times the rate, taken off at each step; not negative.
        weight_decay: f64 = 0.0,
    }
}

impl UpdateRule for Lion {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn validate(&self) -> Result<(), OptimizerError> {
        share("beta1", self.beta1)?;
        share("beta2", self.beta2)?;
        not_negative("weight_decay", self.weight_decay)
    }

    fn step(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1> {
        let rate = self.learning_rate * now.factor;
        let at = at.decayed(self.weight_decay * now.decay, rate);
        let momentum = at.recall(memory, 0, 0.0);
        let direction = blend(momentum.clone(), at.gradient.clone(), self.beta1).sign();
        memory[0] = blend(momentum, at.gradient, self.beta2);
        at.value - direction.mul_scalar(rate)
    }
}
