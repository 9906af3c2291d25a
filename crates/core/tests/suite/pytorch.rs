//! The forward pass against PyTorch: `goldens/forward.py` and `tabular.py` computed the answers in f64.

use std::fs;
use std::num::NonZero;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use fireclay::{
    Average, DropoutKey, InputSpec, Mlp, MlpConfig, Model, Norm, Predictor, Preprocessing,
    Provenance, Task,
};
use safetensors::SafeTensors;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    config: MlpConfig,
}

struct Golden<'a>(SafeTensors<'a>);

impl Golden<'_> {
    fn values(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let view = self.0.tensor(name).unwrap_or_else(|_| panic!("golden {name}"));
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        (view.shape().to_vec(), values.collect())
    }

    fn input(&self, case: &str, device: &Device) -> Tensor<2> {
        let (shape, values) = self.values(&format!("{case}/input"));
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// The largest error, relative to the largest value expected (at least 1).
    fn error(&self, name: &str, found: &[f32]) -> f32 {
        let (_, expected) = self.values(name);
        assert_eq!(found.len(), expected.len(), "{name}");
        let size = expected.iter().fold(1.0f32, |size, v| size.max(v.abs()));
        found.iter().zip(&expected).fold(0.0f32, |error, (f, e)| error.max((f - e).abs())) / size
    }
}

#[test]
fn agrees_with_pytorch_to_1e_6() {
    check("forward.safetensors", 20);
}

#[test]
fn networks_for_tables_agree_with_pytorch_to_1e_6() {
    check("tabular.safetensors", 9);
}

fn check(file: &str, least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(file);
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases = &header.metadata().as_ref().unwrap()["cases"];
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    let golden = Golden(SafeTensors::deserialize(&bytes).unwrap());
    let device = Device::flex();
    assert!(cases.len() >= least);
    for Case { name, config } in cases {
        let take = |path: &str, shape: &[usize]| {
            let (found, values) = golden.values(&format!("{name}/{path}"));
            if found == shape {
                Ok(values)
            } else {
                Err(format!("{path}: {found:?}, not {shape:?}"))
            }
        };
        let network = config.architecture().unwrap();
        let mut mlp = Mlp::from_tensors(&network, &device, take).unwrap();
        let input = golden.input(&name, &device);
        let logits = mlp.forward(input.clone()).try_into_vec_as::<f32>().unwrap();
        let error = golden.error(&format!("{name}/logits"), &logits);
        assert!(error <= 1e-6, "{name}: {error:e}");
        let (_, rows) = golden.values(&format!("{name}/input"));
        let on_host = predictor(&mlp).outputs(&rows, NonZero::<usize>::MIN).unwrap();
        let error = golden.error(&format!("{name}/logits"), &on_host);
        assert!(error <= 1e-6, "{name} on the host: {error:e}");

        if config.norm == Norm::Batch {
            let key = DropoutKey { seed: 0, step: 0 };
            let logits = mlp.forward_train(input, key).try_into_vec_as::<f32>().unwrap();
            let error = golden.error(&format!("{name}/train_logits"), &logits);
            assert!(error <= 2e-6, "{name} in training: {error:e}");
            for tensor in mlp.tensors().unwrap().iter().filter(|t| t.name.contains("running")) {
                let error = golden.error(&format!("{name}/after/{}", tensor.name), &tensor.values);
                assert!(error <= 1e-6, "{name} {}: {error:e}", tensor.name);
            }
        }
    }
}

/// The network on the host, for the task that its ensemble averages for, if it is one.
fn predictor(mlp: &Mlp) -> Predictor {
    let network = mlp.architecture();
    let names: Vec<String> = (0..network.outputs).map(|i| i.to_string()).collect();
    let task = match network.ensemble.map(|ensemble| ensemble.average) {
        Some(Average::Softmax) => Task::classification(names),
        Some(Average::Sigmoid) => Task::multi_label(names),
        _ => Task::regression(names),
    };
    let input = InputSpec::dense(&network.input_shape, Preprocessing::None);
    let provenance = Provenance::default();
    Model { mlp: mlp.clone(), task, input, provenance }.predictor().unwrap()
}
