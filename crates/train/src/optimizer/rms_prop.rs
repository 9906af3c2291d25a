//! RMSprop.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parameter::{Parameter, blend};
use super::range::{not_negative, positive, share};
use super::{Now, OptimizerError, UpdateRule, settings};

settings! {
    /// Defaults are PyTorch's.
    RmsProp {
        /// Step size; positive.
        learning_rate: f64 = 0.01,
        /// Decay of the mean of squared gradients, in `[0, 1)`.
        alpha: f64 = 0.99,
        /// Added to the root of the mean square; positive.
        epsilon: f64 = 1e-8,
        /// Share of the last step kept, in `[0, 1)`.
        momentum: f64 = 0.0,
        /// Divides by the deviation of gradients instead of their root mean square.
        centered: bool = false,
        /// L2 penalty added to the gradient of weight matrices; not negative.
        weight_decay: f64 = 0.0,
    }
}

impl UpdateRule for RmsProp {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn validate(&self) -> Result<(), OptimizerError> {
        share("alpha", self.alpha)?;
        positive("epsilon", self.epsilon)?;
        share("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)
    }

    fn step(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1> {
        let rate = self.learning_rate * now.factor;
        let at = at.penalised(self.weight_decay * now.decay);
        let square = blend(at.recall(memory, 0, 0.0), at.gradient.clone().square(), self.alpha);
        memory[0] = square.clone();
        let variance = if self.centered {
            let mean = blend(at.recall(memory, 1, 0.0), at.gradient.clone(), self.alpha);
            memory[1] = mean.clone();
            // Rounding can leave less than nothing where gradients hardly vary.
            (square - mean.square()).clamp_min(0.0)
        } else {
            square
        };
        let direction = at.gradient.clone() / variance.sqrt().add_scalar(self.epsilon);
        if self.momentum == 0.0 {
            return at.value - direction.mul_scalar(rate);
        }
        let index = 1 + usize::from(self.centered);
        let velocity = at.recall(memory, index, 0.0).mul_scalar(self.momentum) + direction;
        memory[index] = velocity.clone();
        at.value - velocity.mul_scalar(rate)
    }
}
