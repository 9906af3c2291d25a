//! Networks of which each layer is another: what PyTorch and Keras answer, whether the file describes
//! them, or somebody does with a list of functions or a file of layers.

use std::fs;
use std::path::{Path, PathBuf};

use finetune::import::{ImportError, Imported, Layers, Options, TaskKind, import};
use fireclay::{
    Activation, Backend, Device, DeviceChoice, HiddenLayer, Model, Norm, NormPosition, Prediction,
    Preprocessing,
};

fn device() -> Device {
    Backend::Flex.device(DeviceChoice::Default).unwrap()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/layers").join(name)
}

fn numbers(name: &str) -> Vec<f32> {
    let bytes = fs::read(golden(&format!("{name}.f32"))).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

/// What no file says.
fn said() -> Options {
    Options {
        preprocessing: Some(Preprocessing::None),
        task: Some(TaskKind::Regression),
        ..Options::default()
    }
}

fn described_in_full() -> Options {
    Options { layers: Some(Layers::read(&golden("mixed.toml")).unwrap()), ..said() }
}

fn opened(name: &str, options: &Options) -> Result<Imported, ImportError> {
    import(&golden(name), options, &device())
}

/// Imports a file, holds its outputs to those of its program, on the device and on the host, saved
/// and loaded as well, and gives the network.
#[track_caller]
fn check(name: &str, options: &Options, answers: &str) -> Imported {
    let imported = opened(name, options).unwrap_or_else(|error| panic!("{name}: {error}"));
    let rows: Vec<Vec<f32>> = numbers("rows").chunks(4).map(<[f32]>::to_vec).collect();
    let data = burn::tensor::TensorData::new(rows.concat(), [rows.len(), 4]);
    let raw = burn::Tensor::<2>::from_data(data, &device());
    let on_device = imported.model.forward(raw).try_into_vec_as::<f32>().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    imported.model.save(&path).unwrap();
    let loaded = Model::load(&path, &device()).unwrap();
    let of = |model: &Model| -> Vec<f32> {
        let values = |prediction| match prediction {
            Prediction::Values { values, .. } => values,
            other => unreachable!("{other:?}"),
        };
        model.predict(&rows).unwrap().into_iter().flat_map(values).collect()
    };
    let expected = numbers(answers);
    for found in [on_device, of(&imported.model), of(&loaded)] {
        assert_eq!(found.len(), expected.len(), "{name}");
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{name}: {found:?} {expected:?}");
        }
    }
    imported
}

#[track_caller]
fn refused(name: &str, options: &Options, words: &str) {
    let error = opened(name, options).unwrap_err().to_string();
    assert!(error.contains(words), "{name}: {error}");
}

/// Whether a network is the one that `mixed.toml` describes.
#[track_caller]
fn is_as_described(imported: &Imported, is_of_keras: bool) {
    let network = imported.model.mlp.architecture();
    let said = Layers::read(&golden("mixed.toml")).unwrap().hidden;
    assert_eq!(network.hidden.len(), said.len());
    for (at, (found, said)) in network.hidden.iter().zip(said).enumerate() {
        let mut expected = HiddenLayer { width: found.width, ..said.layer };
        if is_of_keras {
            expected.norm_epsilon = [1e-4, 1e-6, 1e-5, 1e-3, 1e-5][at];
            expected.dropout = [0.0, 0.25, 0.0, 0.0, 0.0][at];
        }
        expected.norm_epsilon = expected.norm_epsilon as f32 as f64;
        let found = HiddenLayer {
            norm_epsilon: found.norm_epsilon as f32 as f64,
            leaky_slope: f64::from((found.leaky_slope * 1e6).round() as u32) / 1e6,
            ..found.clone()
        };
        assert_eq!(found, expected, "layer {at}");
    }
    assert!(!network.output_bias);
}

#[test]
fn files_that_describe_such_networks() {
    let imported = check("mixed.onnx", &said(), "mixed");
    is_as_described(&imported, false);
    let imported = check("mixed.keras", &said(), "mixed-keras");
    is_as_described(&imported, true);
}

#[test]
fn files_of_tensors_that_somebody_describes_in_full() {
    for name in ["mixed.pt", "mixed.safetensors"] {
        let imported = check(name, &described_in_full(), "mixed");
        is_as_described(&imported, false);
        // Settings for all layers cannot describe it.
        let flags =
            Options { activation: vec![Activation::Relu], norm: Some(Norm::Batch), ..said() };
        refused(name, &flags, "say the norm of each hidden layer with --layers");
        let both = Options { activation: vec![Activation::Relu], ..described_in_full() };
        refused(name, &both, "leave out --activation");
    }
    refused("mixed.onnx", &described_in_full(), "leave out --layers");
    let mut wrong = described_in_full();
    if let Some(layers) = &mut wrong.layers {
        layers.hidden.pop();
    }
    refused("mixed.pt", &wrong, "has 5 hidden layers: stem, fc1, fc2, fc3, fc4");
}

#[test]
fn functions_of_each_layer_in_a_list() {
    use Activation::{Gelu, LeakyRelu, Relu};
    let list = |activation: &[Activation]| Options { activation: activation.to_vec(), ..said() };
    for name in ["functions.pt", "functions.npz"] {
        check(name, &list(&[Relu, Gelu, LeakyRelu]), "functions");
        refused(name, &list(&[Relu, Gelu]), "has 3 hidden layers: 0, 2, 4");
        refused(name, &list(&[Relu, Gelu, Relu]), "4.prelu.weight behind 4");
        refused(name, &list(&[]), "which function follows its hidden layers");
    }
}

#[test]
fn norms_by_the_root_of_the_mean_square() {
    let positions = |imported: &Imported| -> Vec<_> {
        let hidden = &imported.model.mlp.architecture().hidden;
        hidden.iter().map(|layer| (layer.norm, layer.norm_position, layer.norm_epsilon)).collect()
    };
    let before = |epsilon| (Norm::Rms, NormPosition::BeforeActivation, epsilon);
    for name in ["rms.onnx", "rms-18.onnx"] {
        let imported = check(name, &said(), "rms");
        assert_eq!(positions(&imported), [before(1e-6), before(1e-6)], "{name}");
    }
    let imported = check("rms.keras", &said(), "rms-keras");
    // Two norms about one activation: the second stands on what the next layer reads.
    assert_eq!(positions(&imported), [before(1e-6), (Norm::Rms, NormPosition::Input, 1e-3)]);
    let state = Options { activation: vec![Activation::Silu, Activation::Tanh], ..said() };
    refused("rms.pt", &state, "of RMS norms say --norm rms");
    let rms = Options { norm: Some(Norm::Rms), ..state };
    refused("rms.pt", &rms, "what its RMS norms add to the mean square");
    let rms = Options { norm_epsilon: Some(1e-6), ..rms };
    let imported = check("rms.pt", &rms, "rms");
    assert_eq!(positions(&imported), [before(1e-6), before(1e-6)]);
}
