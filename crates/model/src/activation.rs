//! Activation functions.

use crate::named_enum;

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
