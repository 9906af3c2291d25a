//! Softmax cross-entropy.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

/// The spread of a sample's target over the classes, and the weight of its loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Smoothing {
    /// Share of the target given evenly to all classes, in `[0, 1)`.
    pub share: f64,
    /// Weight of each class, by index; none means 1 each.
    pub class_weights: Option<Vec<f64>>,
}

/// Cross-entropy of each sample: `[batch, classes]` logits and `[batch]` class ids `→ [batch]`.
///
/// With `w` the class weights, `s` the share and `l = -log softmax(z)`, a sample of class `y` costs
/// `(1 - s) w[y] l[y] + s/classes Σ w[c] l[c]`, as PyTorch has it.
///
/// # Panics
///
/// If a class id is not less than the number of classes.
pub fn cross_entropy(
    logits: Tensor<2>,
    classes: Tensor<1, Int>,
    smoothing: &Smoothing,
) -> Tensor<1> {
    let (logits, classes) = match crate::flex::cross_entropy(logits, classes, smoothing) {
        Ok(losses) => return losses,
        Err(inputs) => *inputs,
    };
    plain(logits, classes, smoothing)
}

/// The definition of [`cross_entropy`](crate::cross_entropy).
pub fn plain(logits: Tensor<2>, classes: Tensor<1, Int>, smoothing: &Smoothing) -> Tensor<1> {
    let [_, count] = logits.dims();
    let surprise = log_softmax(logits, 1).neg();
    let of_class = surprise.clone().gather(1, classes.clone().unsqueeze_dim::<2>(1)).squeeze_dim(1);
    let weights = smoothing.class_weights.clone().map(|weights| {
        let data = TensorData::new(weights, [count]);
        Tensor::<1>::from_data(data, (&surprise.device(), surprise.dtype()))
    });
    let hard = match &weights {
        Some(weights) => of_class * weights.clone().select(0, classes),
        None => of_class,
    };
    if smoothing.share == 0.0 {
        return hard;
    }
    let every = match weights {
        Some(weights) => surprise * weights.unsqueeze::<2>(),
        None => surprise,
    };
    let even: Tensor<1> = every.sum_dim(1).squeeze_dim(1);
    hard.mul_scalar(1.0 - smoothing.share) + even.mul_scalar(smoothing.share / count as f64)
}
