//! Models and weights of Keras: files that Keras wrote, and files that nobody should write.
#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;

use fireclay_formats::{Archive, Dtype, Kind, Layer, Layout, Norm, from_bytes, read};
use support::{check_logits, golden, tensor};

fn keras(name: &str) -> Archive {
    read(golden(name)).unwrap()
}

/// Reads a file with a network and compares it with what Keras answers.
#[track_caller]
fn check(name: &str, kind: Kind, logits: &str) -> Archive {
    let archive = keras(name);
    assert_eq!(archive.kind, kind);
    let network = archive.network.clone().unwrap();
    check_logits(&archive, &network, logits);
    archive
}

#[test]
fn a_model_of_keras_3() {
    let archive = check("keras/plain.keras", Kind::Keras, "keras/plain.logits");
    let network = archive.network.unwrap();
    assert_eq!(network.input_shape, Some(vec![28, 28]));
    assert_eq!(network.layers.len(), 4);
    let Layer::Dense { weight, bias, layout } = &network.layers[1] else { panic!() };
    assert_eq!((weight.as_str(), bias.as_deref()), ("dense/kernel", Some("dense/bias")));
    assert_eq!(*layout, Layout::InOut);
    assert_eq!(archive.notes[0], "written by Keras 3.15.1");
}

#[test]
fn models_of_many_layers() {
    let archive = check("keras/rich.keras", Kind::Keras, "keras/rich.logits");
    let moved = tensor(&archive, "batch_normalization/moving_variance").to_f64();
    assert!(moved.iter().all(|&value| value > 0.0 && value != 1.0));
    assert!(archive.tensors.iter().any(|tensor| tensor.name == "second/kernel"));
    check("keras/functional.keras", Kind::Keras, "keras/functional.logits");
    check("keras/functions.keras", Kind::Keras, "keras/functions.logits");
}

#[test]
fn the_same_models_in_hdf5() {
    for name in ["plain", "rich", "functional"] {
        let archive =
            check(&format!("keras/{name}.h5"), Kind::KerasHdf5, &format!("keras/{name}.logits"));
        let other = keras(&format!("keras/{name}.keras"));
        assert_eq!(archive.network, other.network);
        for expected in &other.tensors {
            assert_eq!(tensor(&archive, &expected.name), expected);
        }
    }
}
