//! Stochastic gradient descent, an operation of `fireclay-kernels`.

use burn::tensor::Tensor;
use fireclay_kernels::{self as kernels, Rule, SgdStep};
use serde::{Deserialize, Serialize};

use super::parameter::Parameter;
use super::range::{not_negative, require, share};
use super::{KernelRule, Now, OptimizerError, UpdateRule, settings};

settings! {
    /// Defaults are PyTorch's, but for the rate, which is Keras'.
    Sgd {
        /// Step size; positive.
        learning_rate: f64 = 0.01,
        /// Share of the last step kept, in `[0, 1)`.
        momentum: f64 = 0.0,
        /// Share of the gradient left out of the momentum, in `[0, 1)`.
        dampening: f64 = 0.0,
        /// Looks ahead along the momentum (Nesterov 1983); needs momentum and no dampening.
        nesterov: bool = false,
        /// L2 penalty added to the gradient of weight matrices; not negative.
        weight_decay: f64 = 0.0,
    }
}

impl UpdateRule for Sgd {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn validate(&self) -> Result<(), OptimizerError> {
        share("momentum", self.momentum)?;
        share("dampening", self.dampening)?;
        if self.nesterov {
            require(self.momentum != 0.0, "momentum", self.momentum, "above 0 for nesterov")?;
            require(self.dampening == 0.0, "dampening", self.dampening, "0 for nesterov")?;
        }
        not_negative("weight_decay", self.weight_decay)
    }

    fn step(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1> {
        let step = self.operation(at.decays, memory.is_empty(), now);
        if step.momentum == 0.0 {
            let at = at.penalised(step.penalty);
            return at.value - at.gradient.mul_scalar(step.rate);
        }
        let velocity = memory.pop().unwrap_or_else(|| at.gradient.zeros_like());
        let [value, velocity] = kernels::sgd(at.value, at.gradient, velocity, &step);
        memory.push(velocity);
        value
    }

    fn kernel(&self) -> Option<Box<dyn KernelRule>> {
        Some(Box::new(self.clone()))
    }
}

impl KernelRule for Sgd {
    fn rule(&self, decays: bool, is_first: bool, now: Now) -> Rule {
        Rule::Sgd(self.operation(decays, is_first, now))
    }
}

impl Sgd {
    fn operation(&self, decays: bool, is_first: bool, now: Now) -> SgdStep {
        SgdStep {
            rate: self.learning_rate * now.factor,
            momentum: self.momentum,
            // PyTorch's first step takes the gradient undampened.
            dampening: if is_first { 0.0 } else { self.dampening },
            nesterov: self.nesterov,
            penalty: if decays { self.weight_decay * now.decay } else { 0.0 },
        }
    }
}
