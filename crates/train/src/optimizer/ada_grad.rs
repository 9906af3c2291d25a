//! AdaGrad.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parameter::Parameter;
use super::range::{not_negative, positive};
use super::{Now, OptimizerError, UpdateRule, settings};

settings! {
    /// Defaults are PyTorch's.
    AdaGrad {
        /// Step size; positive.
        learning_rate: f64 = 0.01,
        /// Added to the root of the sum of squares; positive.
        epsilon: f64 = 1e-10,
        /// Where the sum of squares starts; not negative.
        initial_accumulator: f64 = 0.0,
        /// L2 penalty added to the gradient of weight matrices; not negative.
        weight_decay: f64 = 0.0,
    }
}

impl UpdateRule for AdaGrad {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn initial_memory(&self) -> f64 {
        self.initial_accumulator
    }

    fn validate(&self) -> Result<(), OptimizerError> {
        positive("epsilon", self.epsilon)?;
        not_negative("initial_accumulator", self.initial_accumulator)?;
        not_negative("weight_decay", self.weight_decay)
    }

    fn step(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1> {
        let rate = self.learning_rate * now.factor;
        let at = at.penalised(self.weight_decay * now.decay);
        let sum = at.recall(memory, 0, self.initial_accumulator) + at.gradient.clone().square();
        memory[0] = sum.clone();
        at.value - (at.gradient / sum.sqrt().add_scalar(self.epsilon)).mul_scalar(rate)
    }
}
