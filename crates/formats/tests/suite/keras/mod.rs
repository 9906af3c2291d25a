//! Models and weights of Keras: files that Keras wrote, and files that nobody should write.

mod configuration;
mod files;

use fireclay_formats::{Archive, Kind, Layer, Problem, from_bytes, read};
use serde_json::{Value, json};

use crate::support::{check_logits, golden, keras_file as packed};

/// Reads a file with a network and compares it with what Keras answers.
#[track_caller]
fn check(name: &str, kind: Kind, logits: &str) -> Archive {
    let archive = read(golden(name)).unwrap();
    assert_eq!(archive.kind, kind);
    let network = archive.network.clone().unwrap();
    check_logits(&archive, &network, logits);
    archive
}

/// The names of the tensors.
fn names(archive: &Archive) -> Vec<&str> {
    archive.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

fn layer(class: &str, config: Value) -> Value {
    let name = class.to_lowercase();
    let mut layer =
        json!({"module": "keras.layers", "class_name": class, "config": {"name": name}});
    layer["config"].as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    layer
}

fn dense(name: &str, units: usize, activation: Value) -> Value {
    layer("Dense", json!({"name": name, "units": units, "activation": activation}))
}

fn input(shape: Value) -> Value {
    layer("InputLayer", json!({"batch_shape": shape}))
}

fn sequential(layers: &[Value]) -> Value {
    json!({"module": "keras", "class_name": "Sequential", "config": {"layers": layers}})
}

/// The network of `plain` with other layers between the input and the end.
fn around(layers: &[Value]) -> Value {
    let end = [dense("a", 32, json!("relu")), dense("b", 10, json!("linear"))];
    sequential(&[&[input(json!([null, 784]))], layers, &end].concat())
}

#[track_caller]
fn network(model: &Value) -> Vec<Layer> {
    from_bytes(&packed(model, "keras/plain.weights.h5")).unwrap().network.unwrap().layers
}

#[track_caller]
fn problem(model: &Value) -> Problem {
    from_bytes(&packed(model, "keras/plain.weights.h5")).unwrap_err()
}

/// Requires a refusal that says this.
#[track_caller]
fn refused(model: &Value, said: &str) {
    let problem = problem(model);
    assert!(matches!(problem, Problem::Refused { .. }), "{problem}");
    assert!(problem.to_string().contains(said), "{problem}");
}

/// Requires an error of a damaged file that says this.
#[track_caller]
fn malformed(model: &Value, said: &str) {
    let problem = problem(model);
    assert!(matches!(problem, Problem::Malformed { .. }), "{problem}");
    assert!(problem.to_string().contains(said), "{problem}");
}

/// Returns the activation of a layer of this kind: its name and constants.
#[track_caller]
fn activation(layer: Value) -> Option<(String, Vec<(String, f64)>)> {
    let layers = network(&around(&[layer]));
    match &layers[0] {
        Layer::Activation(found) => {
            Some((found.name.clone(), found.constants.clone().into_iter().collect()))
        }
        _ => None,
    }
}

/// A functional model of the layers of `plain`, each after the one that is named.
fn functional(earlier: &[(&str, Value)]) -> Value {
    let mut layers = vec![input(json!([null, 784]))];
    layers[0]["config"]["name"] = json!("in");
    layers[0]["inbound_nodes"] = json!([]);
    for (name, nodes) in earlier {
        let mut layer = dense(name, if *name == "a" { 32 } else { 10 }, json!(null));
        layer["inbound_nodes"] = nodes.clone();
        layers.push(layer);
    }
    let config = json!({
        "layers": layers,
        "input_layers": ["in", 0, 0],
        "output_layers": [["b", 0, 0]],
    });
    json!({"module": "keras.src.models.functional", "class_name": "Functional", "config": config})
}

/// A node of Keras 3 after this layer.
fn after(name: &str) -> Value {
    json!([{"args": [{"config": {"keras_history": [name, 0, 0]}}], "kwargs": {}}])
}
