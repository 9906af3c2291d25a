//! Muon, with AdamW for what it does not step itself.

use burn::tensor::Tensor;
use fireclay_kernels::AdamStep;
use serde::{Deserialize, Serialize};

use super::parameter::{Parameter, blend};
use super::range::{not_negative, positive, share};
use super::{Now, OptimizerError, UpdateRule, adam, settings};

settings! {
    /// Defaults are PyTorch's, for Muon and for AdamW.
    Muon {
        /// Step size of hidden weight matrices; positive.
        learning_rate: f64 = 1e-3,
        /// Decay of the mean of gradients, in `[0, 1)`.
        momentum: f64 = 0.95,
        /// Looks ahead along the momentum.
        nesterov: bool = true,
        /// Newton-Schulz iterations that orthogonalise a step; at least 1.
        steps: usize = 5,
        /// Share of each weight, times the rate, taken off at each step; not negative.
        weight_decay: f64 = 0.1,
        /// Step size of AdamW for all but hidden weight matrices; positive.
        adam_learning_rate: f64 = 1e-3,
        /// AdamW's decay of the mean of gradients, in `[0, 1)`.
        beta1: f64 = 0.9,
        /// AdamW's decay of the mean of squared gradients, in `[0, 1)`.
        beta2: f64 = 0.999,
        /// AdamW's, added to the root of the mean square; positive.
        epsilon: f64 = 1e-8,
    }
}

impl UpdateRule for Muon {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn other_learning_rate(&self) -> f64 {
        self.adam_learning_rate
    }

    fn validate(&self) -> Result<(), OptimizerError> {
        positive("adam_learning_rate", self.adam_learning_rate)?;
        share("momentum", self.momentum)?;
        positive("steps", self.steps as f64)?;
        adam::check_moments([self.beta1, self.beta2, self.epsilon])?;
        not_negative("weight_decay", self.weight_decay)
    }

    fn step(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1> {
        if !at.is_hidden_matrix {
            return self.step_of_adam(at, memory, now);
        }
        let rate = self.learning_rate * now.factor;
        let at = at.decayed(self.weight_decay * now.decay, rate);
        let momentum = blend(at.recall(memory, 0, 0.0), at.gradient.clone(), self.momentum);
        memory[0] = momentum.clone();
        let direction =
            if self.nesterov { blend(momentum, at.gradient, self.momentum) } else { momentum };
        let (inputs, outputs) = (at.dims[0], at.dims[1]);
        // A step has the same size whatever the shape (Jordan 2024).
        let rate = rate * (outputs as f64 / inputs as f64).max(1.0).sqrt();
        let orthogonal = orthogonalise(direction.reshape([inputs, outputs]), self.steps);
        at.value - orthogonal.reshape([-1]).mul_scalar(rate)
    }
}

impl Muon {
    /// AdamW's step of what is no hidden weight matrix.
    fn step_of_adam(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1> {
        let rate = self.adam_learning_rate * now.factor;
        let shrinkage = rate * at.decay(self.weight_decay * now.decay);
        let step = adam::plain_step(rate, [self.beta1, self.beta2, self.epsilon], now);
        adam::moved(at, memory, AdamStep { shrinkage, ..step })
    }
}

/// Brings all singular values of a matrix near 1, by the quintic Newton-Schulz iteration whose
/// coefficients Jordan (2024) chose for its slope at zero.
fn orthogonalise(matrix: Tensor<2>, steps: usize) -> Tensor<2> {
    const A: f64 = 3.4445;
    const B: f64 = -4.7750;
    const C: f64 = 2.0315;
    let [rows, columns] = matrix.dims();
    let wide = if rows > columns { matrix.transpose() } else { matrix };
    let norm = wide.clone().square().sum().sqrt().clamp_min(1e-7);
    let mut x = wide / norm.unsqueeze::<2>();
    for _ in 0..steps {
        let gram = x.clone().matmul(x.clone().transpose());
        let polynomial = gram.clone().mul_scalar(B) + gram.clone().matmul(gram).mul_scalar(C);
        x = x.clone().mul_scalar(A) + polynomial.matmul(x);
    }
    if rows > columns { x.transpose() } else { x }
}
