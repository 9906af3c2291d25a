//! The gradients of one optimizer step, by the path of their parameter.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData, TensorReadError};
use fireclay::{Mlp, TouchedRows};

/// Gradients by parameter path, off the autodiff graph.
#[derive(Debug, Default)]
pub struct Gradients(BTreeMap<String, Gradient>);

/// The gradient of a parameter.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// Its numbers, flattened.
    pub numbers: Tensor<1>,
    /// The rows of the parameter that they are of, rising; none if they are of all. By the other rows
    /// the gradient is zero.
    pub rows: Option<Arc<[u32]>>,
}

impl Gradients {
    /// Differentiates the sum of `losses`, `[n]`, by every trainable parameter of `mlp`.
    pub fn of(losses: &Tensor<1>, mlp: &Mlp) -> Self {
        let mut collector =
            Collector { graph: losses.backward(), path: Path::default(), found: Self::default() };
        mlp.visit(&mut collector);
        let Collector { mut graph, mut found, .. } = collector;
        for TouchedRows { path, rows, weight } in mlp.touched() {
            if let Some(numbers) = weight.grad_remove(&mut graph) {
                let gradient =
                    Gradient { numbers: numbers.reshape([-1]), rows: Some(Arc::clone(rows)) };
                found.0.insert(path.to_string(), gradient);
            }
        }
        found
    }

    /// The gradient of one parameter, taken out.
    pub fn take(&mut self, path: &str) -> Option<Gradient> {
        self.0.remove(path)
    }

    /// Adds those of another part of the batch.
    pub fn accumulate(&mut self, other: Self) {
        for (path, gradient) in other.0 {
            let sum = match self.0.remove(&path) {
                Some(sum) => sum.plus(gradient),
                None => gradient,
            };
            self.0.insert(path, sum);
        }
    }

    /// Adds the gradient of `strength / 2` times the squared distance from `anchors`, by path, for
    /// the parameters that have both; only for the rows that a gradient is of.
    pub(crate) fn pull(
        &mut self,
        weights: &BTreeMap<String, Tensor<1>>,
        anchors: &BTreeMap<String, Tensor<1>>,
        strength: f64,
    ) {
        for (path, gradient) in &mut self.0 {
            if let (Some(weight), Some(anchor)) = (weights.get(path), anchors.get(path)) {
                let away = gradient.of_same_rows(weight) - gradient.of_same_rows(anchor);
                gradient.numbers = gradient.numbers.clone() + away.mul_scalar(strength);
            }
        }
    }

    /// Scales all gradients together so that their joint Euclidean norm is at most `most`
    /// (Pascanu et al. 2013; the 1e-6 is that of PyTorch's `clip_grad_norm_`).
    pub fn clip_norm(&mut self, most: f64) {
        let squares = self.0.values().map(|gradient| gradient.numbers.clone().square().sum());
        let Some(sum) = squares.reduce(|a, b| a + b) else { return };
        let factor = sum.sqrt().add_scalar(1e-6).recip().mul_scalar(most).clamp_max(1.0);
        for gradient in self.0.values_mut() {
            gradient.numbers = gradient.numbers.clone() * factor.clone();
        }
    }

    /// The first parameter, by path, whose gradient has a number that is not finite.
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub fn first_not_finite(&self) -> Result<Option<String>, TensorReadError> {
        for (path, gradient) in &self.0 {
            let values = gradient.numbers.clone().try_into_vec_as::<f32>()?;
            if !values.into_iter().all(f32::is_finite) {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }
}

impl Gradient {
    /// The numbers of a parameter, flattened, that the gradient is by.
    fn of_same_rows(&self, parameter: &Tensor<1>) -> Tensor<1> {
        let Some(rows) = &self.rows else { return parameter.clone() };
        let width = self.numbers.dims()[0] / rows.len();
        let matrix = parameter.clone().reshape([parameter.dims()[0] / width, width]);
        matrix.select(0, ids(rows, &parameter.device())).reshape([-1])
    }

    /// The sum with the gradient of another part of the batch.
    fn plus(self, other: Self) -> Self {
        let (Some(own), Some(others)) = (&self.rows, &other.rows) else {
            return Self { numbers: self.numbers + other.numbers, rows: None };
        };
        let mut rows = [&own[..], &others[..]].concat();
        rows.sort_unstable();
        rows.dedup();
        let width = self.numbers.dims()[0] / own.len();
        let place = (&self.numbers.device(), self.numbers.dtype());
        let mut sum = Tensor::<2>::zeros([rows.len(), width], place);
        for part in [&self, &other] {
            let places = part.rows.iter().flat_map(|rows| rows.iter());
            // Each row is among those of both.
            let places = places.map(|row| rows.partition_point(|other| other < row) as u32);
            let places = places.collect::<Vec<_>>();
            let numbers = part.numbers.clone().reshape([places.len(), width]);
            let places = ids(&places, &self.numbers.device());
            sum = sum.select_assign(0, places, numbers, IndexingUpdateOp::Add);
        }
        Self { numbers: sum.reshape([-1]), rows: Some(rows.into()) }
    }
}

/// Row numbers on a device.
pub(crate) fn ids(rows: &[u32], device: &Device) -> Tensor<1, Int> {
    // Below 2^31: a matrix of so many rows is far larger than memory.
    let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
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
            let gradient = Gradient { numbers: gradient.reshape([-1]), rows: None };
            self.found.0.insert(self.path.to_string(), gradient);
        }
    }
}
