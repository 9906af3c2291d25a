//! An exponential moving average of the weights.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use fireclay::Mlp;

use crate::gradients::Path;

/// The average of a network's weights over its steps (Polyak and Juditsky 1992), by path.
///
/// It starts at the initial weights; the running statistics of norms are taken as they are.
#[derive(Clone, Debug)]
pub struct Average {
    decay: f64,
    weights: BTreeMap<String, Tensor<1>>,
}

impl Average {
    /// Starts the average at the weights of `mlp`; each step keeps the share `decay` of it.
    pub fn new(decay: f64, mlp: &Mlp) -> Self {
        Self { decay, weights: weights(mlp) }
    }

    /// An average that stands at these weights.
    pub(crate) fn resumed(decay: f64, weights: BTreeMap<String, Tensor<1>>) -> Self {
        Self { decay, weights }
    }

    /// The averaged weights by path, flattened.
    pub(crate) fn weights(&self) -> &BTreeMap<String, Tensor<1>> {
        &self.weights
    }

    /// Moves the average towards the weights of `mlp` that are trained; that of a weight which was
    /// not trained before starts at it.
    pub fn update(&mut self, mlp: &Mlp) {
        for (path, weight) in weights(mlp) {
            let new = match self.weights.remove(&path) {
                Some(old) => old.mul_scalar(self.decay) + weight.mul_scalar(1.0 - self.decay),
                None => weight,
            };
            self.weights.insert(path, new);
        }
    }

    /// `mlp` with the averaged weights.
    pub fn applied(&self, mlp: Mlp) -> Mlp {
        mlp.map(&mut Replace { weights: &self.weights, path: Path::default() })
    }
}

fn weights(mlp: &Mlp) -> BTreeMap<String, Tensor<1>> {
    let mut collect = Collect { weights: BTreeMap::new(), path: Path::default() };
    mlp.visit(&mut collect);
    collect.weights
}

struct Collect {
    weights: BTreeMap<String, Tensor<1>>,
    path: Path,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if tensor.is_require_grad() {
            self.weights.insert(self.path.to_string(), tensor.without_autodiff().reshape([-1]));
        }
    }
}

struct Replace<'a> {
    weights: &'a BTreeMap<String, Tensor<1>>,
    path: Path,
}

impl ModuleMapper for Replace<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weight) = self.weights.get(&self.path.to_string()).cloned() else { return param };
        param.map(|tensor| weight.reshape(tensor.dims()).autodiff().require_grad())
    }
}
