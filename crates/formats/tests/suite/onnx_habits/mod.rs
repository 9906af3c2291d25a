//! ONNX graphs of odd but honest habits: labels that are no numbers from 0, scaling by feature,
//! residual connections, samples in columns, and numbers in files beside the model.

mod beside;
mod chains;
mod labels;

use std::path::PathBuf;

use fireclay_formats::{Archive, Layer, Network, Problem, from_bytes, read};

use crate::support::onnx::{Model, bytes, element, model, node, numbers};
use crate::support::{check_rows, golden};

/// A golden of small networks.
fn small(name: &str) -> PathBuf {
    golden(&format!("onnx/small/{name}"))
}

/// Requires that a golden gives what onnxruntime answered.
#[track_caller]
fn check(name: &str, answers: &str) -> (Archive, Network) {
    let archive = read(small(&format!("{name}.onnx"))).unwrap();
    let network = archive.network.clone().unwrap();
    check_rows(&archive, &network, &small("rows.f32"), &small(&format!("{answers}.f32")));
    (archive, network)
}

/// The labels of a golden.
#[track_caller]
fn labels(name: &str) -> Option<Vec<String>> {
    read(small(&format!("{name}.onnx"))).unwrap().labels
}

#[track_caller]
fn refused(model: &Model, said: &str) {
    match from_bytes(&model.bytes()) {
        Err(problem @ Problem::Refused { .. }) => {
            assert!(problem.to_string().contains(said), "{problem}");
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn layers(model: &Model) -> Vec<Layer> {
    from_bytes(&model.bytes()).unwrap().network.unwrap().layers
}

/// A node of the operators for classical machine learning.
fn classical(operator: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    [node(operator, inputs, &[output], attributes), bytes(7, b"ai.onnx.ml")].concat()
}

/// From 4 numbers to 3, with more nodes.
fn linear(nodes: &[Vec<u8>]) -> Model {
    let first = [node("Gemm", &["x", "w"], &["y"], &[])];
    model(&[&first, nodes].concat()).tensor("w", &[4, 3], &[0.5; 12])
}

/// A model whose tensor `w` lies in another file.
fn beside(location: &str, offset: u64, length: u64) -> Model {
    let entry = |key: &str, value: &str| {
        bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat())
    };
    let entries = [
        entry("location", location),
        entry("offset", &offset.to_string()),
        entry("length", &length.to_string()),
        element(14, 1),
    ];
    let weights = numbers("w", &[4, 3], 1, &entries.concat());
    model(&[node("Gemm", &["x", "w"], &["y"], &[])]).initializer(weights)
}
