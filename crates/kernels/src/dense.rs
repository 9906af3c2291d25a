//! A dense layer.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::linear;

/// The function that follows the affine map in the same pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// `max(x, 0)`; its derivative at 0 is 0.
    Relu,
}

/// `epilogue(x · weight + bias)`: `[batch, inputs] → [batch, outputs]`.
///
/// `weight` is `[inputs, outputs]`, `bias` is `[outputs]`. The gradient by `x` is only computed where
/// something needs it.
///
/// # Panics
///
/// If the shapes do not fit, as Burn's operations do.
pub fn dense(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, epilogue: Epilogue) -> Tensor<2> {
    let (x, weight, bias) = match crate::flex::dense(x, weight, bias, epilogue) {
        Ok(y) => return y,
        Err(inputs) => *inputs,
    };
    plain(x, weight, bias, epilogue)
}

/// The definition of [`dense`](crate::dense).
pub fn plain(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, epilogue: Epilogue) -> Tensor<2> {
    let y = linear(x, weight, Some(bias));
    match epilogue {
        Epilogue::None => y,
        Epilogue::Relu => relu(y),
    }
}
