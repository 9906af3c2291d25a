//! Activation functions on tensors.

use burn::tensor::Tensor;
use burn::tensor::activation as f;

use crate::{Activation, LEAKY_SLOPE};

/// Applies the function to each element of `x`, of any shape.
pub fn activate<const D: usize>(activation: Activation, x: Tensor<D>) -> Tensor<D> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => f::relu(x),
        Activation::LeakyRelu => leaky_relu(x, LEAKY_SLOPE),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Elu => exponential_linear(x, 1.0),
        Activation::Selu => exponential_linear(x, SELU_ALPHA).mul_scalar(SELU_SCALE),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => f::gelu_approximate(x),
        Activation::Silu => f::silu(x),
        Activation::Mish => f::mish(x),
        Activation::Sigmoid => f::sigmoid(x),
        Activation::Tanh => f::tanh(x),
        Activation::Softplus => f::softplus(x, 1.0),
        Activation::Softsign => f::softsign(x),
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::HardSwish => x.clone() * hard_sigmoid(x),
        Activation::HardTanh => x.clamp(-1.0, 1.0),
    }
}

/// `x` where positive, else `slope x`.
pub(crate) fn leaky_relu<const D: usize>(x: Tensor<D>, slope: f64) -> Tensor<D> {
    f::leaky_relu(x, slope)
}

// Klambauer et al. 2017, equation 14.
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// `x` where positive, else `alpha (exp(x) - 1)`.
///
/// Burn's `elu` and `selu` evaluate `exp` on the positive side too, where it overflows and turns
/// the gradient into NaN; here the exponential only ever sees numbers that are not positive.
fn exponential_linear<const D: usize>(x: Tensor<D>, alpha: f64) -> Tensor<D> {
    let negative = x.clone().clamp_max(0.0).exp().sub_scalar(1.0).mul_scalar(alpha);
    f::relu(x).add(negative)
}

/// `x Φ(x)`. Burn's `gelu` is the same forward, but the default backward of its backends is that of
/// the `tanh` approximation: `ndarray` was off by 2e-4.
fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let distribution = x.clone().mul_scalar(std::f64::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0);
    x.mul_scalar(0.5) * distribution
}

/// `min(max(x / 6 + 1/2, 0), 1)`. In f64, Burn's `hard_sigmoid` does not agree
/// with central differences; this does.
fn hard_sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.div_scalar(6.0).add_scalar(0.5).clamp(0.0, 1.0)
}
