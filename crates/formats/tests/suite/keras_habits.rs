//! Keras files of odd but honest habits: models within models, residual connections, layers that do
//! nothing when a model answers, losses that tell the task, and files of Keras 1.

use crate::support::{check_rows, golden, keras_file, tensor};
use fireclay_formats::{
    Archive, ElementType, Kind, Layer, Network, Norm, OutputKind, Problem, from_bytes, read,
};
use serde_json::{Value, json};

/// Requires that a golden gives what Keras answered.
#[track_caller]
fn check(name: &str, answers: &str) -> (Archive, Network) {
    let archive = read(golden(name)).unwrap();
    let network = archive.network.clone().unwrap();
    let rows = golden("keras/small/rows.f32");
    check_rows(&archive, &network, &rows, &golden(&format!("{answers}.f32")));
    (archive, network)
}

#[test]
fn models_within_models_and_layers_that_do_nothing() {
    for (name, kind) in [("nested.keras", Kind::Keras), ("nested.h5", Kind::KerasHdf5)] {
        let (archive, network) = check(&format!("keras/small/{name}"), "keras/small/nested");
        assert_eq!((archive.kind, archive.task), (kind, Some(OutputKind::Classification)));
        assert_eq!(network.input_shape, Some(vec![4]));
        let weights = network.layers.iter().filter_map(|layer| match layer {
            Layer::Dense { weight, .. } => Some(weight.as_str()),
            _ => None,
        });
        let expected = [
            "stem/dense_3/kernel",
            "stem/dense_2/kernel",
            "block/dense/kernel",
            "block/dense_1/kernel",
            "dense_4/kernel",
        ];
        assert_eq!(weights.collect::<Vec<_>>(), expected);
        assert_eq!(network.layers.iter().filter(|&layer| *layer == Layer::Dropout(0.1)).count(), 0);
    }
}

#[test]
fn residual_connections_by_layers_and_by_operators() {
    for name in ["residual.keras", "residual.h5"] {
        let (archive, network) = check(&format!("keras/small/{name}"), "keras/small/residual");
        assert_eq!(archive.task, Some(OutputKind::Classification));
        let residual = |layer: &&Layer| matches!(layer, Layer::Residual(_));
        assert_eq!(network.layers.iter().filter(residual).count(), 4);
    }
}

#[test]
fn models_that_are_called_twice_and_operators_of_keras_2() {
    let (archive, network) = check("keras/small/twice.keras", "keras/small/twice");
    let dense = network.layers.iter().filter(|layer| matches!(layer, Layer::Dense { .. }));
    assert_eq!((dense.count(), archive.tensors.len()), (6, 8));
    for name in ["operators.keras", "operators.h5"] {
        let (_, network) = check(&format!("keras2/{name}"), "keras2/operators");
        let residual = |layer: &&Layer| matches!(layer, Layer::Residual(_));
        assert_eq!(network.layers.iter().filter(residual).count(), 3);
    }
}

#[test]
fn differences_averages_and_functions_of_keras_ops() {
    let (_, network) = check("keras/small/sums.keras", "keras/small/sums");
    let scales: Vec<f64> = network
        .layers
        .windows(2)
        .filter_map(|pair| match pair {
            [Layer::Residual(_), Layer::Rescale { scale, .. }] => Some(*scale),
            _ => None,
        })
        .collect();
    // f(x) - x, the average, and f(x) - x as an operator.
    assert_eq!(scales, [-1.0, 0.5, -1.0]);
    let names: Vec<_> = network
        .layers
        .iter()
        .filter_map(|layer| match layer {
            Layer::Activation(found) => Some(found.name.as_str()),
            _ => None,
        })
        .collect();
    let expected = ["gelu", "leaky-relu", "elu", "hard-tanh", "hard-tanh", "relu", "hard-swish"];
    assert_eq!(names, expected);
}

#[test]
fn lora_that_is_not_merged_is_refused() {
    let problem = read(golden("keras/small/lora.h5")).unwrap_err().problem;
    assert!(matches!(problem, Problem::Refused { .. }), "{problem}");
    let said = problem.to_string();
    assert!(said.contains("layer \"d\" with LoRA weights of its own"), "{said}");
}

#[test]
fn constants_of_functions_and_norms_anywhere() {
    let (archive, network) = check("keras/small/functions.keras", "keras/small/functions");
    assert_eq!(archive.task, Some(OutputKind::Regression));
    assert!(matches!(network.layers[0], Layer::Norm { kind: Norm::Batch, .. }));
    let slopes: Vec<_> = network
        .layers
        .iter()
        .filter_map(|layer| match layer {
            Layer::Activation(found) => found.constants.get("slope").copied(),
            _ => None,
        })
        .collect();
    assert_eq!(slopes, [0.2, 0.1, 0.3]);
    // One slope for all features.
    assert_eq!(tensor(&archive, "p_re_lu_1/alpha").shape, [1]);
}

#[test]
fn numbers_of_16_bits_that_the_older_kind_of_file_does_not_name() {
    let (archive, _) = check("keras/small/brain.h5", "keras/small/brain");
    assert!(archive.tensors.iter().all(|tensor| tensor.dtype == ElementType::Bf16));
}

#[test]
fn files_of_keras_1() {
    let (archive, network) = check("keras/small/keras1.h5", "keras/small/keras1");
    assert_eq!(archive.notes, ["written by Keras 1.2.2"]);
    assert_eq!(archive.task, Some(OutputKind::Classification));
    let Layer::Activation(found) = &network.layers[1] else { panic!("{:?}", network.layers) };
    assert_eq!(found.constants.get("alpha"), Some(&0.2));
    assert!(network.layers.contains(&Layer::Dropout(0.5)));
}

#[test]
fn the_only_logit_is_that_of_the_second_class() {
    for name in ["logit.keras", "logit.h5"] {
        let (archive, _) = check(&format!("keras/small/{name}"), "keras/small/logit");
        assert_eq!(archive.task, Some(OutputKind::Classification));
        assert!(archive.notes.last().unwrap().contains("for a logit"), "{:?}", archive.notes);
    }
}

fn layer(class: &str, name: &str, config: &Value, nodes: &Value) -> Value {
    let mut config = config.clone();
    config["name"] = json!(name);
    json!({"module": "keras.layers", "class_name": class, "name": name, "config": config,
           "inbound_nodes": nodes})
}

fn dense(name: &str, units: usize, activation: &str, nodes: &Value) -> Value {
    layer("Dense", name, &json!({"units": units, "activation": activation}), nodes)
}

/// The network of the golden `plain`, which ends in this activation, trained with this loss.
fn trained(activation: &str, loss: &Value) -> Result<Archive, Problem> {
    let none = json!([]);
    let layers = [
        layer("InputLayer", "in", &json!({"batch_shape": [null, 784]}), &none),
        dense("a", 32, "relu", &none),
        dense("b", 10, activation, &none),
    ];
    let model = json!({"module": "keras", "class_name": "Sequential", "config": {"layers": layers},
                       "compile_config": {"loss": loss}});
    from_bytes(&keras_file(&model, "keras/plain.weights.h5"))
}

#[test]
fn the_loss_tells_the_task() {
    let logits = |class: &str| json!({"class_name": class, "config": {"from_logits": true}});
    for (activation, loss, expected) in [
        ("softmax", json!("categorical_crossentropy"), Some(OutputKind::Classification)),
        // Shares of 1, however they were compared.
        ("softmax", json!("mse"), Some(OutputKind::Classification)),
        ("linear", logits("SparseCategoricalCrossentropy"), Some(OutputKind::Classification)),
        ("linear", logits("BinaryCrossentropy"), Some(OutputKind::MultiLabel)),
        ("linear", json!("mean_absolute_error"), Some(OutputKind::Regression)),
        ("linear", json!({"b": "huber"}), Some(OutputKind::Regression)),
        ("sigmoid", json!("binary_crossentropy"), Some(OutputKind::MultiLabel)),
        ("sigmoid", json!("categorical_crossentropy"), Some(OutputKind::Classification)),
        ("sigmoid", json!("mse"), Some(OutputKind::Regression)),
        ("tanh", json!(["mse"]), Some(OutputKind::Regression)),
        // A logit that the loss takes for a probability tells nothing.
        ("linear", json!("binary_crossentropy"), None),
        ("linear", json!("my_own"), None),
        ("linear", json!(null), None),
    ] {
        let archive = trained(activation, &loss).unwrap();
        assert_eq!(archive.task, expected, "{activation} {loss}");
        assert_eq!(
            archive.network.unwrap().layers.len(),
            if activation == "linear" { 3 } else { 4 }
        );
    }
}

/// A node of Keras 3 that takes these outputs, one after the other or as a list.
fn after(names: &[&str]) -> Value {
    let inputs: Vec<_> =
        names.iter().map(|name| json!({"config": {"keras_history": [name, 0, 0]}})).collect();
    match &inputs[..] {
        [only] => json!([{"args": [only], "kwargs": {}}]),
        inputs => json!([{"args": [inputs], "kwargs": {}}]),
    }
}

/// A functional model from `in` of 784 features to `out`, with the weights of `plain`.
fn functional(layers: &[Value]) -> Result<Archive, Problem> {
    let first = layer("InputLayer", "in", &json!({"batch_shape": [null, 784]}), &json!([]));
    let layers = [&[first], layers].concat();
    let config =
        json!({"layers": layers, "input_layers": ["in", 0, 0], "output_layers": ["out", 0, 0]});
    let model = json!({"module": "keras", "class_name": "Functional", "config": config});
    from_bytes(&keras_file(&model, "keras/plain.weights.h5"))
}

#[test]
fn functional_models_that_are_no_chain_with_residual_connections() {
    let add = |class: &str, names: &[&str]| layer(class, "out", &json!({}), &after(names));
    let relu = |name: &str, from: &str| layer("ReLU", name, &json!({}), &after(&[from]));
    let first = dense("a", 32, "relu", &after(&["in"]));
    let sum = |sum: Value| functional(&[first.clone(), relu("r", "a"), sum]);
    let layers = sum(add("Add", &["a", "r"])).unwrap().network.unwrap().layers;
    assert!(matches!(&layers[2], Layer::Residual(inner) if inner.len() == 1), "{layers:?}");
    let layers = sum(add("Subtract", &["a", "r"])).unwrap().network.unwrap().layers;
    assert!(matches!(&layers[2], Layer::Residual(inner) if inner.len() == 2), "{layers:?}");
    let refused = |found: Result<Archive, Problem>, said: &str| {
        let problem = found.unwrap_err();
        assert!(matches!(problem, Problem::Refused { .. }), "{problem}");
        assert!(problem.to_string().contains(said), "{problem}");
    };
    for (class, names) in [("Multiply", &["a", "r"]), ("Concatenate", &["a", "r"])] {
        let said = format!("layer \"out\" of class \"{class}\" has two inputs");
        refused(sum(add(class, names)), &said);
    }
    let three = [first.clone(), relu("r", "a"), relu("s", "a"), add("Add", &["a", "r", "s"])];
    refused(functional(&three), "has more than two inputs");
    let branches = [first.clone(), relu("r", "a"), relu("s", "a"), add("Add", &["r", "s"])];
    refused(functional(&branches), "two layers follow \"a\"");
    // A sum of different widths, of which one could be spread.
    let widths = [first, dense("b", 10, "linear", &after(&["a"])), add("Add", &["a", "b"])];
    refused(functional(&widths), "adds samples of shape [32] and of shape [10]");
}

#[test]
fn numbers_that_a_sample_meets() {
    let meets = |class: &str, args: Value| {
        let nodes = json!([{"args": args, "kwargs": {}}]);
        let operator = layer(class, "m", &json!({}), &nodes);
        functional(&[
            operator,
            dense("a", 32, "relu", &after(&["m"])),
            dense("out", 10, "linear", &after(&["a"])),
        ])
    };
    let sample = json!({"config": {"keras_history": ["in", 0, 0]}});
    for (class, args, scale, offset) in [
        ("Add", json!([sample, 2.0]), 1.0, 2.0),
        ("Subtract", json!([sample, 2.0]), 1.0, -2.0),
        ("Subtract", json!([2.0, sample]), -1.0, 2.0),
        ("Multiply", json!([4.0, sample]), 4.0, 0.0),
        ("TrueDivide", json!([sample, 4.0]), 0.25, 0.0),
    ] {
        let layers = meets(class, args).unwrap().network.unwrap().layers;
        assert_eq!(layers[0], Layer::Rescale { scale, offset }, "{class}");
    }
    let meets_one = "meets a number";
    for (class, args, said) in [
        ("TrueDivide", json!([2.0, sample]), "divides a number by features"),
        ("TrueDivide", json!([sample, 0.0]), meets_one),
        ("Multiply", json!([sample, 0.0]), meets_one),
        ("Power", json!([sample, 2.0]), meets_one),
        ("Maximum", json!([sample, 1.0]), meets_one),
    ] {
        let problem = meets(class, args).unwrap_err().to_string();
        assert!(problem.contains("layer \"m\""), "{problem}");
        assert!(problem.contains(said), "{problem}");
    }
}

#[test]
fn models_within_models_have_a_depth() {
    let mut model = json!({"class_name": "Sequential", "config": {"name": "m", "layers": []}});
    for _ in 0..40 {
        let config = json!({"name": "m", "layers": [model]});
        model = json!({"class_name": "Sequential", "config": config});
    }
    let problem = from_bytes(&keras_file(&model, "keras/plain.weights.h5")).unwrap_err();
    assert!(matches!(problem, Problem::Limit { most: 8, .. }), "{problem}");
}

#[test]
fn layers_of_keras_1_that_are_no_others() {
    let sequential = |layers: &[Value]| {
        let model = json!({"class_name": "Sequential", "config": layers});
        from_bytes(&keras_file(&model, "keras/plain.weights.h5"))
    };
    let of = |class: &str, config: Value| json!({"class_name": class, "config": config});
    let end = [
        of("Dense", json!({"name": "a", "input_dim": 784, "output_dim": 32, "activation": "relu"})),
        of("Dense", json!({"name": "b", "output_dim": 10, "activation": "linear", "bias": true})),
    ];
    let archive = sequential(&end).unwrap();
    assert_eq!(archive.network.unwrap().input_shape, Some(vec![784]));
    let by_sample = of("BatchNormalization", json!({"name": "n", "mode": 1}));
    let problem = sequential(&[&[by_sample], &end[..]].concat()).unwrap_err().to_string();
    assert!(problem.contains("layer \"n\"") && problem.contains("another mode"), "{problem}");
}

#[test]
fn batch_norms_of_every_name_are_batch_norms() {
    let of = |class: &str| {
        let layer = |class: &str, config: Value| json!({"class_name": class, "config": config});
        let layers = [
            layer("InputLayer", json!({"name": "x", "batch_input_shape": [null, 784]})),
            layer(class, json!({"name": "n", "axis": [1]})),
            layer("Dense", json!({"name": "a", "units": 10})),
        ];
        let model = json!({"class_name": "Sequential", "config": {"layers": layers}});
        from_bytes(&keras_file(&model, "keras/plain.weights.h5")).unwrap_err().to_string()
    };
    // All that is wrong with it here are the weights, which are those of another model.
    let usual = of("BatchNormalization");
    for name in ["BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization"] {
        assert_eq!(of(name), usual);
    }
    assert!(of("BatchNormalizationV9").contains("of class \"BatchNormalizationV9\""));
}
