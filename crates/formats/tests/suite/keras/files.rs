//! Files that Keras wrote.

use std::fs;

use fireclay_formats::{ElementType, Kind, Layer, Layout, Norm, Problem, from_bytes, read};

use super::{around, check, names};
use crate::support::zip::{Entry, archive};
use crate::support::{golden, tensor};

#[test]
fn a_model_of_keras_3() {
    let archive = check("keras/plain.keras", Kind::Keras, "keras/plain.logits");
    let network = archive.network.as_ref().unwrap();
    assert_eq!(network.input_shape, Some(vec![28, 28]));
    assert_eq!(network.layers.len(), 4);
    let Layer::Dense { weight, bias, layout } = &network.layers[1] else { panic!() };
    assert_eq!((weight.as_str(), bias.as_deref()), ("dense/kernel", Some("dense/bias")));
    assert_eq!(*layout, Layout::InOut);
    let expected = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"];
    assert_eq!(names(&archive), expected);
    let notes = ["written by Keras 3.15.1", "left out: 2 arrays of the optimizer"];
    assert_eq!(archive.notes, notes);
}

#[test]
fn models_of_many_layers() {
    let archive = check("keras/rich.keras", Kind::Keras, "keras/rich.logits");
    let moved = tensor(&archive, "batch_normalization/moving_variance").to_f64().unwrap();
    assert!(moved.iter().all(|&value| value > 0.0 && value != 1.0));
    assert!(names(&archive).contains(&"second/kernel"));
    let archive = check("keras/functional.keras", Kind::Keras, "keras/functional.logits");
    // Many pixels are the same in all images, so that their variance is 0.
    let variance = tensor(&archive, "normalization/variance").to_f64().unwrap();
    let floored = tensor(&archive, "normalization/floored_variance").to_f64().unwrap();
    for (variance, floored) in variance.iter().zip(floored) {
        assert!(floored >= 0.99e-14 && floored >= *variance);
    }
    check("keras/functions.keras", Kind::Keras, "keras/functions.logits");
}

#[test]
fn one_mean_and_variance_that_were_adapted() {
    let archive = check("keras/adapted.keras", Kind::Keras, "keras/adapted.logits");
    let layers = &archive.network.as_ref().unwrap().layers;
    assert!(matches!(layers[0], Layer::Rescale { .. }), "{layers:?}");
    // They are in that layer, and no tensors that would have no place.
    let rest = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"];
    assert_eq!(names(&archive), [&["normalization/count"], &rest[..]].concat());
    assert!(archive.notes[1].contains("one factor and shift"), "{:?}", archive.notes);
}

#[test]
fn the_same_models_in_hdf5() {
    for name in ["plain", "rich", "functional"] {
        let logits = format!("keras/{name}.logits");
        let archive = check(&format!("keras/{name}.h5"), Kind::KerasHdf5, &logits);
        let other = read(golden(&format!("keras/{name}.keras"))).unwrap();
        assert_eq!(archive.network, other.network);
        for expected in &other.tensors {
            assert_eq!(tensor(&archive, &expected.name), expected);
        }
    }
}

#[test]
fn models_of_keras_2() {
    for (name, kind) in [("sequential.keras", Kind::Keras), ("sequential.h5", Kind::KerasHdf5)] {
        let archive = check(&format!("keras2/{name}"), kind, "keras2/sequential.logits");
        let layers = archive.network.unwrap().layers;
        let norm = layers.iter().find(|layer| matches!(layer, Layer::Norm { .. })).unwrap();
        let Layer::Norm { kind: Norm::Batch, mean: Some(mean), .. } = norm else { panic!() };
        assert_eq!(mean, "batch_normalization/moving_mean");
    }
    check("keras2/functional.h5", Kind::KerasHdf5, "keras2/functional.logits");
}

#[test]
fn weights_alone() {
    let model = read(golden("keras/plain.keras")).unwrap();
    for name in ["plain.weights.h5", "plain-weights.h5", "chunked.weights.h5", "latest.weights.h5"]
    {
        let archive = read(golden(&format!("keras/{name}"))).unwrap();
        assert_eq!((archive.kind, &archive.network), (Kind::KerasHdf5, &None), "{name}");
        assert_eq!(archive.tensors, model.tensors, "{name}");
    }
    let model = read(golden("keras2/sequential.h5")).unwrap();
    let weights = read(golden("keras2/sequential-weights.h5")).unwrap();
    assert_eq!((weights.network, weights.tensors), (None, model.tensors));
}

#[test]
fn numbers_of_16_bits() {
    let [half, brain] = ["float16", "bfloat16"]
        .map(|name| read(golden(&format!("keras/{name}.weights.h5"))).unwrap());
    let (half, brain) = (&half.tensors[0], &brain.tensors[0]);
    assert_eq!((half.dtype, brain.dtype), (ElementType::F16, ElementType::Bf16));
    assert_eq!(half.shape, [784, 8]);
    let values: Vec<_> = (0..784 * 8).map(|at| (f64::from(at % 97) - 48.0) / 32.0).collect();
    assert_eq!((half.to_f64().unwrap(), brain.to_f64().unwrap()), (values.clone(), values));
}

#[test]
fn lists_of_names_in_every_way() {
    for name in ["names", "names-latest"] {
        let archive = read(golden(&format!("hdf5/{name}.h5"))).unwrap();
        let expected = ["first/kernel", "second/kernel", "größte/kernel", "last   /kernel"];
        assert_eq!(names(&archive), expected);
        assert_eq!(archive.notes, ["written by Keras 2.15.0"]);
        for (at, tensor) in archive.tensors.iter().enumerate() {
            assert_eq!((&tensor.shape[..], tensor.to_f64().unwrap()), (&[][..], vec![at as f64]));
        }
    }
    let archive = read(golden("hdf5/two-kernels.h5")).unwrap();
    assert_eq!(names(&archive), ["both/forward/kernel:0", "both/backward/kernel:0", "both/bias"]);
}

#[test]
fn other_places_of_weights() {
    for name in ["model.weights.npz", "model.weights.json", "model.weights_00000.h5"] {
        let config = around(&[]).to_string();
        let entries = [Entry::stored("config.json", config.as_bytes()), Entry::stored(name, b"")];
        let problem = from_bytes(&archive(&entries)).unwrap_err();
        assert!(matches!(problem, Problem::Refused { .. }), "{problem}");
        assert!(
            problem.to_string().contains("a Keras model without model.weights.h5"),
            "{problem}"
        );
    }
}

#[test]
fn cut_off_anywhere() {
    for name in ["tiny.keras", "tiny.h5", "tiny.weights.h5"] {
        let whole = fs::read(golden(&format!("keras/{name}"))).unwrap();
        assert!(from_bytes(&whole).is_ok());
        for end in (8..whole.len()).step_by(11) {
            let problem = from_bytes(&whole[..end]).unwrap_err();
            assert!(matches!(problem, Problem::Malformed { .. }), "{name} {end}: {problem}");
        }
    }
}
