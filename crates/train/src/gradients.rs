//! The gradients of one optimizer step, by the path of their parameter.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorReadError};
use fireclay::Mlp;

/// Gradients by parameter path, flattened, off the autodiff graph.
#[derive(Debug, Default)]
pub struct Gradients(BTreeMap<String, Tensor<1>>);

impl Gradients {
    /// Differentiates the sum of `losses`, `[n]`, by every trainable parameter of `mlp`.
    pub fn of(losses: &Tensor<1>, mlp: &Mlp) -> Self {
        let mut collector =
            Collector { graph: losses.backward(), path: Path::default(), found: Self::default() };
        mlp.visit(&mut collector);
        collector.found
    }

    /// The gradient of one parameter, taken out.
    pub fn take(&mut self, path: &str) -> Option<Tensor<1>> {
        self.0.remove(path)
    }

    /// Adds those of another part of the batch.
    pub fn accumulate(&mut self, other: Self) {
        for (path, gradient) in other.0 {
            let sum = match self.0.remove(&path) {
                Some(sum) => sum + gradient,
                None => gradient,
            };
            self.0.insert(path, sum);
        }
    }

    /// Adds the gradient of `strength / 2` times the squared distance from `anchors`, by path, for
    /// the parameters that have both.
    pub(crate) fn pull(
        &mut self,
        weights: &BTreeMap<String, Tensor<1>>,
        anchors: &BTreeMap<String, Tensor<1>>,
        strength: f64,
    ) {
        for (path, gradient) in &mut self.0 {
            if let (Some(weight), Some(anchor)) = (weights.get(path), anchors.get(path)) {
                let away = weight.clone() - anchor.clone();
                *gradient = gradient.clone() + away.mul_scalar(strength);
            }
        }
    }

    /// Scales all gradients together so that their joint Euclidean norm is at most `most`
    /// (Pascanu et al. 2013; the 1e-6 is that of PyTorch's `clip_grad_norm_`).
    pub fn clip_norm(&mut self, most: f64) {
        let squares = self.0.values().map(|gradient| gradient.clone().square().sum());
        let Some(sum) = squares.reduce(|a, b| a + b) else { return };
        let factor = sum.sqrt().add_scalar(1e-6).recip().mul_scalar(most).clamp_max(1.0);
        for gradient in self.0.values_mut() {
            *gradient = gradient.clone() * factor.clone();
        }
    }

    /// The first parameter, by path, whose gradient has a number that is not finite.
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub fn first_not_finite(&self) -> Result<Option<String>, TensorReadError> {
        for (path, gradient) in &self.0 {
            let values = gradient.clone().try_into_vec_as::<f32>()?;
            if !values.into_iter().all(f32::is_finite) {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }
}

/// Every parameter and running statistic by path, flattened, off the autodiff graph.
pub(crate) fn flat(mlp: &Mlp) -> BTreeMap<String, Tensor<1>> {
    let mut all = Flat { path: Path::default(), found: BTreeMap::new() };
    mlp.visit(&mut all);
    all.found
}

struct Flat {
    path: Path,
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Flat {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let flat = param.val().without_autodiff().reshape([-1]);
        self.found.insert(self.path.to_string(), flat);
    }
}

/// Where a walk over a module is.
#[derive(Debug, Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

struct Collector {
    graph: burn::tensor::Gradients,
    path: Path,
    found: Gradients,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(&mut self.graph) {
            self.found.0.insert(self.path.to_string(), gradient.reshape([-1]));
        }
    }
}
