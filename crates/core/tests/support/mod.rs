//! Networks in double precision, for tests that compare arithmetic and not rounding.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use fireclay::Mlp;

/// The CPU device that every test here computes on.
pub fn device() -> Device {
    Device::flex()
}

/// An f64 tensor on the device.
pub fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F64))
}

/// The values of a tensor.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as::<f64>().unwrap()
}

/// The network with its parameters in f64.
pub fn in_f64(mlp: Mlp) -> Mlp {
    mlp.map(&mut Map(|_: usize, values: Vec<f64>| values, 0))
}

/// The network with `delta` added to one number of its `parameter`-th trainable parameter.
pub fn nudged(mlp: Mlp, parameter: usize, index: usize, delta: f64) -> Mlp {
    let nudge = |at: usize, mut values: Vec<f64>| {
        if at == parameter {
            values[index] += delta;
        }
        values
    };
    mlp.map(&mut Map(nudge, 0))
}

/// Gradients of `loss` by the trainable parameters of `mlp`, in their order.
pub fn gradients(loss: &Tensor<1>, mlp: &Mlp) -> Vec<Vec<f64>> {
    let mut collect = Collect(loss.backward(), Vec::new());
    mlp.visit(&mut collect);
    collect.1
}

/// Rewrites each trainable parameter, in f64; the rest is only cast.
struct Map<F>(F, usize);

impl<F: Fn(usize, Vec<f64>) -> Vec<f64>> ModuleMapper for Map<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let is_trained = param.val().is_require_grad();
        let at = self.1;
        self.1 += usize::from(is_trained);
        param.map(|tensor| {
            let (device, shape) = (tensor.device(), tensor.dims());
            let old = values(tensor);
            let new = if is_trained { (self.0)(at, old) } else { old };
            self::tensor(new, shape, &device).set_require_grad(is_trained)
        })
    }
}

struct Collect(burn::tensor::Gradients, Vec<Vec<f64>>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(&mut self.0) {
            self.1.push(values(gradient));
        }
    }
}
