//! A parameter on its way through an update rule.

use burn::tensor::Tensor;

/// A parameter on its way through an update rule, flattened.
pub(super) struct Parameter {
    pub(super) value: Tensor<1>,
    pub(super) gradient: Tensor<1>,
    pub(super) dims: Vec<usize>,
    /// Whether weight decay is for it.
    pub(super) decays: bool,
    /// Whether it is a matrix that rows are multiplied with, and not of the output layer.
    pub(super) is_hidden_matrix: bool,
    /// Whether it is some rows of a parameter, of which others stay as they are.
    pub(super) is_sparse: bool,
}

impl Parameter {
    /// A parameter that does not decay.
    pub(super) fn new(value: Tensor<1>, gradient: Tensor<1>, dims: &[usize]) -> Self {
        let dims = dims.to_vec();
        let (decays, is_hidden_matrix, is_sparse) = (false, false, false);
        Self { value, gradient, dims, decays, is_hidden_matrix, is_sparse }
    }

    /// The weight decay of this parameter: none but for weights.
    pub(super) fn decay(&self, decay: f64) -> f64 {
        if self.decays { decay } else { 0.0 }
    }

    /// Adds the gradient of `decay / 2 · |w|²` for weights.
    pub(super) fn penalised(mut self, decay: f64) -> Self {
        let decay = self.decay(decay);
        if decay != 0.0 {
            self.gradient = self.gradient + self.value.clone().mul_scalar(decay);
        }
        self
    }

    /// Takes `rate · decay` off weights, whatever their gradient.
    pub(super) fn decayed(mut self, decay: f64, rate: f64) -> Self {
        let decay = self.decay(decay);
        if decay != 0.0 {
            self.value = self.value.mul_scalar(1.0 - rate * decay);
        }
        self
    }

    /// The `index`-th remembered tensor, taken out of `memory`; `initial` the first time.
    pub(super) fn recall(
        &self,
        memory: &mut Vec<Tensor<1>>,
        index: usize,
        initial: f64,
    ) -> Tensor<1> {
        if memory.len() <= index {
            memory.push(self.gradient.full_like(initial));
        }
        // A placeholder keeps the place; the caller's tensor is then the only one of its storage,
        // so that the update can reuse it.
        let placeholder = Tensor::empty([0], &self.gradient.device());
        std::mem::replace(&mut memory[index], placeholder)
    }
}

/// `kept · old + (1 - kept) · new`.
pub(super) fn blend(old: Tensor<1>, new: Tensor<1>, kept: f64) -> Tensor<1> {
    old.mul_scalar(kept) + new.mul_scalar(1.0 - kept)
}
