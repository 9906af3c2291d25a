//! Contract of the reader of ONNX: what real exporters wrote gives what onnxruntime answers, and what
//! is no chain of layers is refused by name.

mod exporters;
mod layers;
mod refused;

use fireclay_formats::{
    Activation, Archive, Kind, Layer, Layout, Network, Problem, from_bytes, read,
};

use crate::support::onnx::{Model, model, node};
use crate::support::{check_logits, golden};

/// A network that a file describes, and the file.
#[track_caller]
fn described(name: &str) -> (Archive, Network) {
    let archive = read(golden(&format!("onnx/{name}.onnx"))).unwrap();
    assert_eq!(archive.kind, Kind::Onnx);
    let network = archive.network.clone().unwrap();
    (archive, network)
}

/// Reads a golden, holds its outputs to the logits of the reference, and returns the archive and network.
#[track_caller]
fn check(name: &str, logits: &str) -> (Archive, Network) {
    let (archive, network) = described(name);
    check_logits(&archive, &network, &format!("onnx/{logits}.logits"));
    (archive, network)
}

fn function(name: &str) -> Layer {
    with_constants(name, &[])
}

fn with_constants(name: &str, constants: &[(&str, f64)]) -> Layer {
    let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value));
    Layer::Activation(Activation { name: name.to_owned(), constants: constants.collect() })
}

fn dense(weight: &str, bias: Option<&str>, layout: Layout) -> Layer {
    Layer::Dense { weight: weight.to_owned(), bias: bias.map(str::to_owned), layout }
}

fn functions(network: &Network) -> Vec<(&str, Vec<(&str, f64)>)> {
    let of_layer = |layer| match layer {
        &Layer::Activation(Activation { ref name, ref constants }) => {
            let constants = constants.iter().map(|(name, &value)| (name.as_str(), value));
            Some((name.as_str(), constants.collect()))
        }
        _ => None,
    };
    network.layers.iter().filter_map(of_layer).collect()
}

#[track_caller]
fn check_refused(found: Result<Archive, Problem>, expected_what: &str, expected_why: &str) {
    match found {
        Err(Problem::Refused { what, why }) => {
            assert!(what.contains(expected_what), "{what}");
            assert!(why.contains(expected_why), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

/// From 4 numbers to 3, by `Gemm`.
fn linear() -> Model {
    model(&[node("Gemm", &["x", "w"], &["y"], &[])]).tensor("w", &[4, 3], &[0.5; 12])
}

/// The layers of a model.
#[track_caller]
fn layers(model: &Model) -> Vec<Layer> {
    from_bytes(&model.bytes()).unwrap().network.unwrap().layers
}

#[track_caller]
fn check_malformed(found: Result<Archive, Problem>, expected: &str) {
    match found {
        Err(Problem::Malformed { kind: "ONNX", what }) => {
            assert!(what.contains(expected), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(model: &Model, what: &str, why: &str) {
    check_refused(from_bytes(&model.bytes()), what, why);
}

#[track_caller]
fn malformed(model: &Model, what: &str) {
    check_malformed(from_bytes(&model.bytes()), what);
}
