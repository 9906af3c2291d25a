//! Activation functions, in place on the host.

use crate::Activation;

// Klambauer et al. 2017, equation 14.
const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_SCALE: f32 = 1.050_701;

/// Applies a hidden layer's function to each of `values`; `slope` is that of leaky relu.
#[inline(always)]
pub(super) fn activate(activation: Activation, slope: f32, values: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => each(values, |x| if x < 0.0 { 0.0 } else { x }),
        Activation::LeakyRelu => each(values, |x| if x > 0.0 { x } else { slope * x }),
        Activation::Relu6 => each(values, |x| x.clamp(0.0, 6.0)),
        Activation::Elu => each(values, |x| exponential_linear(x, 1.0)),
        Activation::Selu => each(values, |x| SELU_SCALE * exponential_linear(x, SELU_ALPHA)),
        Activation::Gelu => {
            each(values, |x| 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)));
        }
        Activation::GeluTanh => each(values, gelu_tanh),
        Activation::Silu => each(values, |x| x * sigmoid(x)),
        Activation::Mish => each(values, |x| x * softplus(x).tanh()),
        Activation::Sigmoid => each(values, sigmoid),
        Activation::Tanh => each(values, f32::tanh),
        Activation::Softplus => each(values, softplus),
        Activation::Softsign => each(values, |x| x / (1.0 + x.abs())),
        Activation::HardSigmoid => each(values, hard_sigmoid),
        Activation::HardSwish => each(values, |x| x * hard_sigmoid(x)),
        Activation::HardTanh => each(values, |x| x.clamp(-1.0, 1.0)),
    }
}

#[inline(always)]
fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
    values.iter_mut().for_each(|value| *value = function(*value));
}

fn exponential_linear(x: f32, alpha: f32) -> f32 {
    if x > 0.0 { x } else { alpha * x.exp_m1() }
}

fn gelu_tanh(x: f32) -> f32 {
    // sqrt(2 / π)
    const FACTOR: f32 = 0.797_884_6;
    0.5 * x * (1.0 + (FACTOR * (x + 0.044_715 * x * x * x)).tanh())
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `log(1 + exp(x))`, which for large `x` is `x` and would overflow on the way.
fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn hard_sigmoid(x: f32) -> f32 {
    (x / 6.0 + 0.5).clamp(0.0, 1.0)
}
