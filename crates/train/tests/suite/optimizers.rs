//! 200 steps of every optimizer against PyTorch, in f64: `goldens/optimizers.py` took the same.

use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fireclay::{
    Activation, CrossEntropy, DropoutKey, FrontPart, Loss, Mlp, MlpConfig, NetworkInput,
    SparseRows, TargetTensor,
};
use safetensors::SafeTensors;
use serde::Deserialize;
use train::gradients::Gradients;
use train::optimizer::{Adam, Optimizer, OptimizerConfig};

const ROWS: usize = 64;
const BATCH: usize = 16;
const INPUTS: usize = 6;

#[derive(Deserialize)]
struct Case {
    name: String,
    optimizer: OptimizerConfig,
    clip: Option<f64>,
}

struct Golden<'a>(SafeTensors<'a>);

impl Golden<'_> {
    fn doubles(&self, name: &str) -> Vec<f64> {
        let view = self.0.tensor(name).unwrap_or_else(|_| panic!("golden {name}"));
        view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn integers(&self, name: &str) -> Vec<i64> {
        let view = self.0.tensor(name).unwrap();
        view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// A network with PyTorch's initial weights, in f64.
    fn network(&self, config: &MlpConfig, device: &Device) -> Mlp {
        let mlp = Mlp::init(config, 0, device).unwrap();
        mlp.map(&mut Load { golden: self, path: Vec::new() }).train()
    }
}

/// Replaces each parameter with PyTorch's of the same path.
struct Load<'a> {
    golden: &'a Golden<'a>,
    path: Vec<String>,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let values = self.golden.doubles(&format!("initial/{}", self.path.join(".")));
        param.map(|old| {
            let mut dims = old.dims();
            dims.reverse();
            let data = TensorData::new(values, dims);
            let new = Tensor::<D>::from_data(data, (&old.device(), DType::F64));
            let new = if D == 2 { new.swap_dims(0, 1) } else { new };
            new.set_require_grad(old.is_require_grad())
        })
    }
}

#[test]
fn agree_with_pytorch_after_200_steps() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/optimizers.safetensors");
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases: Vec<Case> =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    let golden = Golden(SafeTensors::deserialize(&bytes).unwrap());
    let (data, classes) = (golden.doubles("data"), golden.integers("classes"));
    let device = Device::flex().autodiff();
    for name in OptimizerConfig::NAMES {
        assert!(cases.iter().any(|case| case.optimizer.name() == name), "no golden of {name}");
    }
    for Case { name, optimizer, clip } in cases {
        let config =
            MlpConfig { activation: Activation::Tanh, ..MlpConfig::new([INPUTS], [8, 7], 3) };
        let mut mlp = golden.network(&config, &device);
        let mut optimizer = Optimizer::new(optimizer, &mlp);
        let loss = Loss::CrossEntropy(CrossEntropy::default());
        let mut losses = Vec::new();
        for step in 0..200 {
            let rows = (BATCH * step % ROWS)..(BATCH * step % ROWS + BATCH);
            let x = data[rows.start * INPUTS..rows.end * INPUTS].to_vec();
            let x = Tensor::from_data(TensorData::new(x, [BATCH, INPUTS]), (&device, DType::F64));
            let classes = TensorData::new(classes[rows].to_vec(), [BATCH]);
            let targets = TargetTensor::Classes(Tensor::<1, Int>::from_data(classes, &device));
            let outputs = mlp.forward_train(x, DropoutKey { seed: 0, step: step as u64 });
            let mean = loss.mean(outputs, &targets);
            let mut gradients = Gradients::of(&mean, &mlp);
            losses.extend(mean.try_into_vec_as::<f64>().unwrap());
            if let Some(most) = clip {
                gradients.clip_norm(most);
            }
            mlp = optimizer.step(mlp, gradients, 1.0);
        }
        assert_close(&name, "losses", &losses, &golden.doubles(&format!("{name}/losses")));
        for (i, layer) in mlp.layers.iter().enumerate() {
            let weight = layer.weight.val().transpose().try_into_vec_as::<f64>().unwrap();
            let expected = golden.doubles(&format!("{name}/layers.{i}.weight"));
            assert_close(&name, &format!("layers.{i}.weight"), &weight, &expected);
            let bias = layer.bias.as_ref().unwrap().val().try_into_vec_as::<f64>().unwrap();
            let expected = golden.doubles(&format!("{name}/layers.{i}.bias"));
            assert_close(&name, &format!("layers.{i}.bias"), &bias, &expected);
        }
    }
}

/// Vectors of terms, each stepped only by batches that have its term: `goldens/sparse_adam.py`.
#[test]
fn vectors_of_terms_agree_with_pytorchs_sparse_adam() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/sparse_adam.safetensors");
    let bytes = fs::read(path).unwrap();
    let golden = Golden(SafeTensors::deserialize(&bytes).unwrap());
    let device = Device::flex().autodiff();
    let bag = FrontPart::Bag { terms: 30, width: 4, activation: Activation::Relu };
    let config = MlpConfig { front: vec![bag], ..MlpConfig::new([0], [], 3) };
    let mut mlp = golden.network(&config, &device);
    let optimizer =
        Adam { learning_rate: 0.05, beta1: 0.8, beta2: 0.95, epsilon: 1e-2, ..Adam::default() };
    let mut optimizer = Optimizer::new(OptimizerConfig::Adam(optimizer), &mlp);
    let starts: Vec<usize> =
        golden.integers("starts").iter().map(|&start| start as usize).collect();
    let (places, values) = (golden.integers("places"), golden.doubles("values"));
    let classes = golden.integers("classes");
    let mut losses = Vec::new();
    for step in 0..60 {
        let rows: Vec<usize> = (0..8).map(|row| 8 * step % 40 + row).collect();
        let mut terms = SparseRows::default();
        for &row in &rows {
            let of_row = starts[row]..starts[row + 1];
            terms.push(of_row.map(|at| (places[at] as u32, values[at] as f32)));
        }
        let classes: Vec<i64> = rows.iter().map(|&row| classes[row]).collect();
        let targets = TensorData::new(classes, [8]);
        let targets = TargetTensor::Classes(Tensor::<1, Int>::from_data(targets, &device));
        let columns = Tensor::zeros([8, 0], (&device, DType::F64));
        let input = NetworkInput { columns, terms: vec![terms] };
        let outputs = mlp.forward_train(input, DropoutKey { seed: 0, step: step as u64 });
        let mean = Loss::CrossEntropy(CrossEntropy::default()).mean(outputs, &targets);
        let gradients = Gradients::of(&mean, &mlp);
        losses.extend(mean.try_into_vec_as::<f64>().unwrap());
        mlp = optimizer.step(mlp, gradients, 1.0);
    }
    assert_close("sparse", "losses", &losses, &golden.doubles("losses"));
    let front = &mlp.front[0];
    let weight = front.weight.as_ref().unwrap().val().transpose();
    let weight = weight.try_into_vec_as::<f64>().unwrap();
    assert_close("sparse", "weight", &weight, &golden.doubles("last/front.0.weight"));
    let bias = front.bias.as_ref().unwrap().val().try_into_vec_as::<f64>().unwrap();
    assert_close("sparse", "bias", &bias, &golden.doubles("last/front.0.bias"));
}

/// A relative 1e-5, measured in the Euclidean norm of the whole tensor.
#[track_caller]
fn assert_close(case: &str, what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{case}: {what}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = norm(&mut found.iter().zip(expected).map(|(f, e)| f - e));
    let size = norm(&mut expected.iter().copied());
    assert!(error <= 1e-5 * size, "{case}: {what} is off by {:e}", error / size);
}
