//! Normalisation of hidden layers.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use fireclay_model::NormPart;

use crate::parameter::parameter;
use crate::{HiddenLayer, Norm};

/// Weight of a new batch in the running statistics; PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// Normalises `[batch, width]`, then scales and shifts each feature.
#[derive(Module, Debug)]
pub struct NormLayer {
    /// Scale of each feature, `[width]`.
    pub weight: Param<Tensor<1>>,
    /// Shift of each feature, `[width]`; an RMS norm has none.
    pub bias: Option<Param<Tensor<1>>>,
    /// Running mean of each feature, `[width]`; batch normalisation only, never trained.
    pub running_mean: Option<Param<Tensor<1>>>,
    /// Running variance of each feature, `[width]`; batch normalisation only, never trained.
    pub running_var: Option<Param<Tensor<1>>>,
    /// Added to a variance before its root is taken.
    #[module(skip)]
    epsilon: f64,
}

/// A parameter `[width]` whose numbers are all `x`.
fn filled(x: f32, width: usize, device: &Device) -> Param<Tensor<1>> {
    parameter(TensorData::full([width], x), device)
}

impl NormLayer {
    pub(crate) fn new(layer: &HiddenLayer, width: usize, device: &Device) -> Self {
        let is_batch = layer.norm == Norm::Batch;
        Self {
            weight: filled(1.0, width, device),
            bias: (layer.norm != Norm::Rms).then(|| filled(0.0, width, device)),
            running_mean: is_batch.then(|| filled(0.0, width, device).set_require_grad(false)),
            running_var: is_batch.then(|| filled(1.0, width, device).set_require_grad(false)),
            epsilon: layer.norm_epsilon,
        }
    }

    /// Its parameters and running statistics by name, as PyTorch has them.
    pub(crate) fn parameters(&self) -> Vec<(NormPart, &Param<Tensor<1>>)> {
        let mut all = vec![(NormPart::Weight, &self.weight)];
        all.extend(self.bias.as_ref().map(|bias| (NormPart::Bias, bias)));
        all.extend(self.running_mean.as_ref().map(|mean| (NormPart::RunningMean, mean)));
        all.extend(self.running_var.as_ref().map(|variance| (NormPart::RunningVar, variance)));
        all
    }

    /// As [`parameters`](Self::parameters), to be replaced.
    pub(crate) fn parameters_mut(&mut self) -> Vec<(NormPart, &mut Param<Tensor<1>>)> {
        let mut all = vec![(NormPart::Weight, &mut self.weight)];
        all.extend(self.bias.as_mut().map(|bias| (NormPart::Bias, bias)));
        all.extend(self.running_mean.as_mut().map(|mean| (NormPart::RunningMean, mean)));
        all.extend(self.running_var.as_mut().map(|variance| (NormPart::RunningVar, variance)));
        all
    }

    /// For inference: a batch norm uses its running statistics.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match (&self.running_mean, &self.running_var) {
            (Some(mean), Some(variance)) => {
                let mean = mean.val().unsqueeze::<2>();
                self.scale_and_shift(x - mean, variance.val().unsqueeze::<2>())
            }
            _ => self.normalise_rows(x),
        }
    }

    /// For training: a batch norm uses the statistics of `x` and moves its running ones to them.
    ///
    /// As in PyTorch, the running variance is the unbiased one; a batch of one row leaves it alone.
    pub fn forward_train(&mut self, x: Tensor<2>) -> Tensor<2> {
        let [rows, _] = x.dims();
        let (Some(running_mean), Some(running_var)) =
            (&mut self.running_mean, &mut self.running_var)
        else {
            return self.normalise_rows(x);
        };
        let mean = x.clone().mean_dim(0);
        let centred = x - mean.clone();
        let variance = centred.clone().square().mean_dim(0);
        move_towards(running_mean, mean.detach());
        if rows > 1 {
            let unbiased = rows as f64 / (rows - 1) as f64;
            move_towards(running_var, variance.clone().detach().mul_scalar(unbiased));
        }
        self.scale_and_shift(centred, variance)
    }

    fn normalise_rows(&self, x: Tensor<2>) -> Tensor<2> {
        // An RMS norm takes no mean away, as it has no shift.
        let centred = if self.bias.is_some() { x.clone() - x.mean_dim(1) } else { x };
        let variance = centred.clone().square().mean_dim(1);
        self.scale_and_shift(centred, variance)
    }

    /// `centred / sqrt(variance + ε) * weight + bias`, the variance broadcast over `centred`.
    fn scale_and_shift(&self, centred: Tensor<2>, variance: Tensor<2>) -> Tensor<2> {
        let deviation = variance.add_scalar(self.epsilon).sqrt();
        let scaled = centred / deviation * self.weight.val().unsqueeze::<2>();
        match &self.bias {
            Some(bias) => scaled + bias.val().unsqueeze::<2>(),
            None => scaled,
        }
    }
}

/// `running ← (1 - momentum) running + momentum batch`; `batch` is `[1, width]`.
fn move_towards(running: &mut Param<Tensor<1>>, batch: Tensor<2>) {
    let old = running.val().mul_scalar(1.0 - MOMENTUM);
    let new = old + batch.squeeze_dim::<1>(0).mul_scalar(MOMENTUM);
    *running = Param::initialized(running.id, new.detach().set_require_grad(false));
}
