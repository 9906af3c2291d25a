//! 200 steps of every optimizer against PyTorch, in f64: `goldens/optimizers.py` took the same.

use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fireclay::{Activation, CrossEntropy, DropoutKey, Loss, Mlp, MlpConfig, Targets};
use safetensors::SafeTensors;
use serde::Deserialize;
use train::gradients::Gradients;
use train::optimizer::{Optimizer, OptimizerConfig};

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

    fn classes(&self) -> Vec<i64> {
        let view = self.0.tensor("classes").unwrap();
        view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// The network with PyTorch's initial weights, in f64.
    fn network(&self, device: &Device) -> Mlp {
        let config =
            MlpConfig { activation: Activation::Tanh, ..MlpConfig::new([INPUTS], [8, 7], 3) };
        let mlp = Mlp::init(&config, 0, device).unwrap();
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
    let (data, classes) = (golden.doubles("data"), golden.classes());
    let device = Device::flex().autodiff();
    for name in OptimizerConfig::NAMES {
        assert!(cases.iter().any(|case| case.optimizer.name() == name), "no golden of {name}");
    }
    for Case { name, optimizer: config, clip } in cases {
        let mut mlp = golden.network(&device);
        let mut optimizer = Optimizer::new(config, &mlp);
        let loss = Loss::CrossEntropy(CrossEntropy::default());
        let mut losses = Vec::new();
        for step in 0..200 {
            let rows = (BATCH * step % ROWS)..(BATCH * step % ROWS + BATCH);
            let x = data[rows.start * INPUTS..rows.end * INPUTS].to_vec();
            let x = Tensor::from_data(TensorData::new(x, [BATCH, INPUTS]), (&device, DType::F64));
            let classes = TensorData::new(classes[rows].to_vec(), [BATCH]);
            let targets = Targets::Classes(Tensor::<1, Int>::from_data(classes, &device));
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

/// A relative 1e-5, measured in the Euclidean norm of the whole tensor.
#[track_caller]
fn assert_close(case: &str, what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{case}: {what}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = norm(&mut found.iter().zip(expected).map(|(f, e)| f - e));
    let size = norm(&mut expected.iter().copied());
    assert!(error <= 1e-5 * size, "{case}: {what} is off by {:e}", error / size);
}
