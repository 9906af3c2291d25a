//! Weights that PyTorch keeps in parts give the outputs that PyTorch gives.

use std::fs;
use std::path::{Path, PathBuf};

use finetune::import::{ImportError, Imported, Options, TaskKind, import};
use fireclay::{Activation, Backend, Device, DeviceChoice, Preprocessing};

fn device() -> Device {
    Backend::Flex.device(DeviceChoice::Default).unwrap()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/reparameterized").join(name)
}

fn numbers(name: &str) -> Vec<f32> {
    let bytes = fs::read(golden(name)).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

fn opened(name: &str) -> Result<Imported, ImportError> {
    let options = Options {
        activation: vec![Activation::Tanh],
        preprocessing: Some(Preprocessing::None),
        task: Some(TaskKind::Classification),
        ..Options::default()
    };
    import(&golden(name), &options, &device())
}

/// Imports a file and compares the outputs of its network with those of PyTorch.
#[track_caller]
fn check(name: &str, outputs: &str) -> Imported {
    let imported = opened(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let rows = burn::tensor::TensorData::new(numbers("rows.f32"), [20, 6]);
    let rows = burn::Tensor::<2>::from_data(rows, &device());
    let found = imported.model.forward(rows).try_into_vec_as::<f32>().unwrap();
    let expected = numbers(outputs);
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(&expected) {
        let most = 2e-6 * expected.abs().max(1.0);
        assert!((found - expected).abs() <= most, "{name}: {found}, not {expected}");
    }
    imported
}

#[test]
fn weight_norm_in_all_its_forms() {
    for name in
        ["weight-old", "weight-new", "weight-inputs", "weight-all", "weight-and-pruned-bias"]
    {
        let imported = check(&format!("{name}.pt"), &format!("{name}.f32"));
        let note = "weight norm is computed into 0.weight, 2.weight, 4.weight";
        assert!(imported.notes.iter().any(|found| found.starts_with(note)), "{:?}", imported.notes);
        let names: Vec<_> = imported.placed.iter().map(|tensor| tensor.name.as_str()).collect();
        assert!(names.contains(&"0.weight") && !names.contains(&"0.weight_v"), "{names:?}");
    }
    check("weight-old.safetensors", "weight-old.f32");
    // Taken off before it was saved, it is the same network.
    let plain = check("weight-removed.pt", "weight-old.f32");
    assert!(!plain.notes.iter().any(|note| note.contains("weight norm")), "{:?}", plain.notes);
}

#[test]
fn spectral_norm_in_both_its_forms() {
    for name in ["spectral-old", "spectral-new"] {
        let imported = check(&format!("{name}.pt"), &format!("{name}.f32"));
        let note = "spectral norm is computed into 0.weight, 2.weight, 4.weight";
        assert!(imported.notes.iter().any(|found| found.starts_with(note)), "{:?}", imported.notes);
    }
    // Over the columns: the lengths of the vectors show it, but not of a square matrix.
    check("spectral-oblong-inputs.pt", "spectral-oblong-inputs.f32");
    let error = opened("spectral-inputs.pt").unwrap_err().to_string();
    assert!(error.contains("2.weight do not fit its rows"), "{error}");
    assert!(error.contains("remove_spectral_norm"), "{error}");
}

#[test]
fn pruned_weights() {
    let imported = check("pruned.pt", "pruned.f32");
    let note = "pruning is computed into 0.bias, 0.weight, 2.bias";
    assert!(imported.notes.iter().any(|found| found.starts_with(note)), "{:?}", imported.notes);
}

#[test]
fn a_parametrization_that_the_file_does_not_describe() {
    let error = opened("orthogonal.pt").unwrap_err().to_string();
    assert!(error.contains("parametrizations.weight.original"), "{error}");
    assert!(error.contains("remove_parametrizations(module"), "{error}");
}
