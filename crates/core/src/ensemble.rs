//! Members of an ensemble, which stand side by side in a batch.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softplus_with_threshold};
use fireclay_model::Average;

/// Rows for each member, one after the other: `[batch, width] → [batch · members, width]`.
pub(crate) fn scaled(x: Tensor<2>, scales: Tensor<2>) -> Tensor<2> {
    let [batch, width] = x.dims();
    let [members, _] = scales.dims();
    let x = x.reshape([batch, 1, width]) * scales.unsqueeze::<3>();
    x.reshape([batch * members, width])
}

/// Each row times the matrix of its member: `[batch · members, inputs]` and
/// `[inputs, members · outputs]` to `[batch · members, outputs]`.
pub(crate) fn product(x: Tensor<2>, matrix: Tensor<2>, members: usize) -> Tensor<2> {
    let [rows, inputs] = x.dims();
    let [_, outputs] = matrix.dims();
    let (batch, outputs) = (rows / members, outputs / members);
    let x = x.reshape([batch, members, inputs]).swap_dims(0, 1);
    let matrix = matrix.reshape([inputs, members, outputs]).swap_dims(0, 1);
    x.matmul(matrix).swap_dims(0, 1).reshape([rows, outputs])
}

/// The bias of its member added to each row: `[batch · members, outputs]` and `[members · outputs]`.
pub(crate) fn biased(y: Tensor<2>, bias: Tensor<1>, members: usize) -> Tensor<2> {
    let [rows, outputs] = y.dims();
    let y = y.reshape([rows / members, members, outputs]) + bias.reshape([1, members, outputs]);
    y.reshape([rows, outputs])
}

/// The outputs of the whole, `[batch · members, outputs] → [batch, outputs]`.
pub(crate) fn averaged(average: Average, outputs: Tensor<2>, members: usize) -> Tensor<2> {
    let [rows, width] = outputs.dims();
    let outputs = outputs.reshape([rows / members, members, width]);
    let average = match average {
        Average::Outputs => outputs.mean_dim(1),
        Average::Softmax => log_mean_exp(log_softmax(outputs, 2)),
        Average::Sigmoid => {
            let no = log_mean_exp(log_sigmoid(outputs.clone().neg()));
            log_mean_exp(log_sigmoid(outputs)) - no
        }
    };
    average.reshape([rows / members, width])
}

/// `log(mean(exp(x)))` over the members, with the largest taken away first so that nothing overflows.
fn log_mean_exp(x: Tensor<3>) -> Tensor<3> {
    let largest = x.clone().max_dim(1);
    (x - largest.clone()).exp().mean_dim(1).log() + largest
}

/// `log(1 / (1 + exp(-z)))`.
fn log_sigmoid(z: Tensor<3>) -> Tensor<3> {
    // Beyond 40, log(1 + exp(z)) is z in f64 too.
    softplus_with_threshold(z.neg(), 1.0, 40.0).neg()
}
