//! Activation functions.

use burn::tensor::Tensor;
use burn::tensor::activation as f;

use crate::config::LEAKY_SLOPE;
use crate::named::named_enum;

named_enum! {
    /// The function applied element by element after each hidden layer.
    ///
    /// Constants are those of PyTorch's function of the same name.
    #[derive(Default)]
    pub enum Activation as "activation" {
        /// `x`: hidden layers compose to one linear map; for tests and linear probes.
        Identity = "identity",
        /// `max(x, 0)`.
        #[default]
        Relu = "relu",
        /// `x` where positive, else `0.01 x`, or the slope of
        /// [`MlpConfig::leaky_slope`](crate::MlpConfig::leaky_slope).
        LeakyRelu = "leaky-relu",
        /// `min(max(x, 0), 6)`.
        Relu6 = "relu6",
        /// `x` where positive, else `exp(x) - 1`.
        Elu = "elu",
        /// Self-normalising ELU (Klambauer et al. 2017); pairs with the `lecun-normal` initialiser.
        Selu = "selu",
        /// `x Φ(x)`, with the exact Gaussian distribution function.
        Gelu = "gelu",
        /// GELU with the `tanh` approximation of Φ.
        GeluTanh = "gelu-tanh",
        /// `x sigmoid(x)`, also called swish.
        Silu = "silu",
        /// `x tanh(softplus(x))`.
        Mish = "mish",
        /// `1 / (1 + exp(-x))`.
        Sigmoid = "sigmoid",
        /// The hyperbolic tangent.
        Tanh = "tanh",
        /// `log(1 + exp(x))`.
        Softplus = "softplus",
        /// `x / (1 + |x|)`.
        Softsign = "softsign",
        /// `min(max(x / 6 + 1/2, 0), 1)`.
        HardSigmoid = "hard-sigmoid",
        /// `x hard-sigmoid(x)`.
        HardSwish = "hard-swish",
        /// `min(max(x, -1), 1)`.
        HardTanh = "hard-tanh",
    }
}

impl Activation {
    /// Applies the function to each element of `x`, of any shape.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => x,
            Self::Relu => f::relu(x),
            Self::LeakyRelu => leaky_relu(x, LEAKY_SLOPE),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Elu => exponential_linear(x, 1.0),
            Self::Selu => exponential_linear(x, SELU_ALPHA).mul_scalar(SELU_SCALE),
            Self::Gelu => gelu(x),
            Self::GeluTanh => f::gelu_approximate(x),
            Self::Silu => f::silu(x),
            Self::Mish => f::mish(x),
            Self::Sigmoid => f::sigmoid(x),
            Self::Tanh => f::tanh(x),
            Self::Softplus => f::softplus(x, 1.0),
            Self::Softsign => f::softsign(x),
            Self::HardSigmoid => hard_sigmoid(x),
            Self::HardSwish => x.clone() * hard_sigmoid(x),
            Self::HardTanh => x.clamp(-1.0, 1.0),
        }
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
