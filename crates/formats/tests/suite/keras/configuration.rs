//! Configurations made by hand.

use std::fs;

use fireclay_formats::{Layer, Problem, from_bytes};
use serde_json::{Value, json};

use super::{
    activation, after, around, dense, functional, input, layer, malformed, network, refused,
    sequential,
};
use crate::support::zip::{Entry, archive};
use crate::support::{golden, keras_file as packed, tensor};

#[test]
fn functions_by_name_and_by_layer() {
    for (name, expected) in [
        ("relu", "relu"),
        ("relu6", "relu6"),
        ("elu", "elu"),
        ("selu", "selu"),
        ("gelu", "gelu"),
        ("silu", "silu"),
        ("swish", "silu"),
        ("mish", "mish"),
        ("sigmoid", "sigmoid"),
        ("tanh", "tanh"),
        ("softplus", "softplus"),
        ("softsign", "softsign"),
        ("hard_sigmoid", "hard-sigmoid"),
        ("hard_silu", "hard-swish"),
        ("hard_swish", "hard-swish"),
        ("hard_tanh", "hard-tanh"),
        ("softmax", "softmax"),
        ("log_softmax", "log-softmax"),
        ("exponential", "exponential"),
    ] {
        let found = activation(layer("Activation", json!({"activation": name})));
        assert_eq!(found, Some((expected.to_owned(), vec![])));
    }
    assert_eq!(activation(layer("Activation", json!({"activation": "linear"}))), None);
    let with = |name: &str, constant: &str, value: f64| {
        Some((name.to_owned(), vec![(constant.to_owned(), value)]))
    };
    for (class, config, expected) in [
        ("Activation", json!({"activation": "leaky_relu"}), with("leaky-relu", "slope", 0.2)),
        ("LeakyReLU", json!({}), with("leaky-relu", "slope", 0.3)),
        ("LeakyReLU", json!({"alpha": 0.1}), with("leaky-relu", "slope", 0.1)),
        ("LeakyReLU", json!({"negative_slope": 0.1}), with("leaky-relu", "slope", 0.1)),
        // Arrays of Python as Keras 2 and 3 wrap them.
        (
            "LeakyReLU",
            json!({"alpha": {"type": "ndarray", "value": 0.1}}),
            with("leaky-relu", "slope", 0.1),
        ),
        (
            "LeakyReLU",
            json!({"negative_slope": {"class_name": "__numpy__", "config": {"value": [0.1]}}}),
            with("leaky-relu", "slope", 0.1),
        ),
        ("ReLU", json!({"negative_slope": 0.5}), with("leaky-relu", "slope", 0.5)),
        ("ReLU", json!({"max_value": 6.0}), Some(("relu6".to_owned(), vec![]))),
        (
            "ReLU",
            json!({"max_value": 5.0}),
            Some(("hard-tanh".to_owned(), vec![("max".to_owned(), 5.0), ("min".to_owned(), 0.0)])),
        ),
        ("LeakyReLU", json!({"alpha": 0.300_000_011_920_928_96}), with("leaky-relu", "slope", 0.3)),
        ("ReLU", json!({"max_value": null}), Some(("relu".to_owned(), vec![]))),
        ("ELU", json!({"alpha": 0.5}), with("elu", "alpha", 0.5)),
        // The constants of PyTorch are none here, as Keras 3 and as Keras 2 writes them.
        ("ELU", json!({"alpha": 1.0}), Some(("elu".to_owned(), vec![]))),
        ("ELU", json!({}), Some(("elu".to_owned(), vec![]))),
        ("LeakyReLU", json!({"negative_slope": 0.01}), Some(("leaky-relu".to_owned(), vec![]))),
        (
            "LeakyReLU",
            json!({"alpha": 0.009_999_999_776_482_582}),
            Some(("leaky-relu".to_owned(), vec![])),
        ),
        ("ReLU", json!({"negative_slope": 0.01}), Some(("leaky-relu".to_owned(), vec![]))),
        ("Softmax", json!({"axis": -1}), Some(("softmax".to_owned(), vec![]))),
    ] {
        assert_eq!(activation(layer(class, config.clone())), expected, "{class} {config}");
        // A layer may stand where a function is named.
        if class != "Activation" {
            let inner = json!({"activation": layer(class, config)});
            assert_eq!(activation(layer("Activation", inner)), expected);
        }
    }
}

#[test]
fn hard_sigmoid_was_another_line_before_keras_3() {
    let model = around(&[layer("Activation", json!({"activation": "hard_sigmoid"}))]);
    let mut entries = vec![
        Entry::stored("config.json", model.to_string().as_bytes()),
        Entry::stored("model.weights.h5", &fs::read(golden("keras/plain.weights.h5")).unwrap()),
    ];
    for (version, constants) in [("2.15.0", 2), ("3.0.0", 0)] {
        let metadata = json!({"keras_version": version}).to_string();
        entries.push(Entry::stored("metadata.json", metadata.as_bytes()));
        let network = from_bytes(&archive(&entries)).unwrap().network.unwrap();
        entries.pop();
        let Layer::Activation(found) = &network.layers[0] else { panic!() };
        assert_eq!(found.constants.len(), constants);
    }
}

#[test]
fn steps_before_the_first_layer() {
    let flat = |target: Value| layer("Reshape", json!({"target_shape": target}));
    for (layers, expected) in [
        (vec![flat(json!([-1]))], Layer::Flatten),
        (vec![flat(json!([784]))], Layer::Flatten),
        (
            vec![layer("Rescaling", json!({"scale": 0.5}))],
            Layer::Rescale { scale: 0.5, offset: 0.0 },
        ),
        (vec![layer("Dropout", json!({"rate": 0.25}))], Layer::Dropout(0.25)),
        (
            vec![layer("Normalization", json!({"axis": [-1], "mean": 1.0, "variance": [[4.0]]}))],
            Layer::Rescale { scale: 0.5, offset: -0.5 },
        ),
    ] {
        assert_eq!(network(&around(&layers))[0], expected);
    }
}

#[test]
fn statistics_in_the_configuration() {
    let (mean, mut variance) = (vec![0.5; 784], vec![4.0; 784]);
    variance[3] = 0.0;
    let config = json!({"axis": [-1], "mean": [mean], "variance": [variance]});
    let model = around(&[layer("Normalization", config)]);
    let archive = from_bytes(&packed(&model, "keras/plain.weights.h5")).unwrap();
    assert!(archive.notes[1].contains("from its configuration"), "{:?}", archive.notes);
    assert_eq!(tensor(&archive, "normalization/mean").to_f32().unwrap(), vec![0.5; 784]);
    let variance = tensor(&archive, "normalization/variance").to_f32().unwrap();
    assert_eq!(variance[2..5], [4.0, 1e-14, 4.0]);
}

#[test]
fn the_shape_of_a_sample_from_wherever_it_is_said() {
    let end =
        [layer("Flatten", json!({})), dense("a", 32, json!("relu")), dense("b", 10, json!(null))];
    let shape = |model: &Value| {
        let archive = from_bytes(&packed(model, "keras/plain.weights.h5")).unwrap();
        archive.network.unwrap().input_shape
    };
    let square = json!([null, 28, 28]);
    let mut first = end.clone();
    first[0]["config"]["batch_input_shape"] = square.clone();
    assert_eq!(shape(&sequential(&first)), Some(vec![28, 28]));
    let mut built = sequential(&end);
    assert_eq!(shape(&built), None);
    built["build_config"] = json!({"input_shape": square});
    assert_eq!(shape(&built), Some(vec![28, 28]));
    let mut built = sequential(&end);
    built["config"]["build_input_shape"] = square;
    assert_eq!(shape(&built), Some(vec![28, 28]));
    built["config"]["build_input_shape"] = json!([null, null, 28]);
    assert_eq!(shape(&built), None);
    // Keras 1 had the list alone.
    assert_eq!(shape(&json!({"class_name": "Sequential", "config": end})), None);
}

#[test]
fn classes_that_are_not_known() {
    for (class, said) in [
        (
            "Conv2D",
            "layer \"conv2d\" of class \"Conv2D\" is in the model, which is refused: only Dense",
        ),
        ("Lambda", "it is Python code, which is never run"),
        ("Add", "only Dense"),
        ("ThresholdedReLU", "only Dense"),
        ("StringLookup", "only Dense"),
        ("../../../etc/passwd", "only Dense"),
    ] {
        refused(&around(&[layer(class, json!({}))]), said);
    }
    let mut model = around(&[]);
    model["class_name"] = json!("MyModel");
    refused(&model, "what it computes is Python code");
}

#[test]
fn classes_of_others() {
    for (module, registered) in [
        (json!("keras.layers"), json!("mine>Dense")),
        (json!("builtins"), json!(null)),
        (json!("os"), json!(null)),
        (json!(null), json!(null)),
        (json!("kerasx.layers"), json!(null)),
    ] {
        let mut model = around(&[]);
        model["config"]["layers"][1]["module"] = module;
        model["config"]["layers"][1]["registered_name"] = registered;
        refused(&model, "which is not Keras' own");
    }
    let mut model = around(&[]);
    model["module"] = json!("os");
    refused(&model, "the model of class \"Sequential\", which is not Keras' own");
}

#[test]
fn functions_that_are_not_known() {
    for (function, said) in [
        (json!("my_function"), "with the function \"my_function\""),
        (json!("glu"), "with the function \"glu\""),
        (json!({"class_name": "__lambda__", "config": {"value": "code"}}), "Python code"),
        (json!({"module": "keras.layers", "class_name": "Lambda", "config": {}}), "Python code"),
        (
            json!({"module": "builtins", "class_name": "function", "config": "f"}),
            "which is not Keras' own",
        ),
        (
            json!({"module": "builtins", "class_name": "function", "config": "relu"}),
            "which is not Keras' own",
        ),
        (
            json!({"module": "keras.activations", "class_name": "function", "config": "glu"}),
            "with the function \"glu\"",
        ),
    ] {
        refused(&around(&[layer("Activation", json!({"activation": function}))]), said);
        refused(&sequential(&[dense("a", 32, function)]), said);
    }
}

#[test]
fn layers_that_can_not_be_expressed() {
    for (class, config, said) in [
        ("ReLU", json!({"max_value": -5.0}), "with such constants"),
        ("ReLU", json!({"threshold": 1.0}), "with such constants"),
        ("ReLU", json!({"max_value": 6.0, "negative_slope": 0.1}), "with such constants"),
        ("Reshape", json!({"target_shape": [-1, 28]}), "to dimensions that are not given"),
        ("Reshape", json!({}), "to dimensions that are not given"),
        ("Rescaling", json!({"scale": [1.0, 2.0]}), "whose scale is not a number"),
        ("Rescaling", json!({"offset": "x"}), "whose offset is not a number"),
        ("Normalization", json!({"axis": [-1], "invert": true}), "that inverts"),
        ("Normalization", json!({"axis": [0]}), "along axis \"0\""),
        ("Normalization", json!({"axis": [1, 2]}), "along axis \"[1,2]\""),
        ("BatchNormalization", json!({"axis": 2}), "along axis \"2\""),
        ("LayerNormalization", json!({"axis": [0, 1]}), "along axis \"[0,1]\""),
        ("LayerNormalization", json!({"rms_scaling": true}), "with rms_scaling"),
        ("Softmax", json!({"axis": 0}), "along axis \"0\""),
        (
            "Dense",
            json!({"units": 1, "dtype": {"class_name": "QuantizedDTypePolicy"}}),
            "that is quantized",
        ),
    ] {
        refused(&around(&[layer(class, config)]), said);
    }
    let square = input(json!([null, 28, 28]));
    for layer in [
        dense("a", 32, json!("relu")),
        layer("BatchNormalization", json!({})),
        layer("LayerNormalization", json!({})),
        layer("Normalization", json!({"axis": [-1]})),
        layer("Softmax", json!({})),
        layer("Activation", json!({"activation": "softmax"})),
    ] {
        refused(&sequential(&[square.clone(), layer]), "on samples of shape [28, 28]");
    }
}

#[test]
fn flatten_moves_channels_only_where_there_are_none() {
    let flatten = |format: &str| layer("Flatten", json!({"data_format": format}));
    let end = [dense("a", 32, json!("relu")), dense("b", 10, json!("linear"))];
    let model = |before: &[Value]| sequential(&[before, &end].concat());
    for shape in [json!([null, 1, 784]), json!([null, null, 784]), json!([null, 2, 14, 28])] {
        let image = input(shape);
        assert_eq!(network(&model(&[image.clone(), flatten("channels_last")]))[0], Layer::Flatten);
        refused(
            &model(&[image.clone(), flatten("channels_first")]),
            "with data_format \"channels_first\"",
        );
        refused(&model(&[image, flatten("else")]), "with data_format \"else\"");
    }
    let row = input(json!([null, 784]));
    assert_eq!(network(&model(&[row, flatten("channels_first")]))[0], Layer::Flatten);
    // A shape that is not said may be any.
    refused(&model(&[flatten("channels_first")]), "with data_format \"channels_first\"");
}

#[test]
fn open_dimensions_are_dimensions() {
    let sequence = input(json!([null, null, 784]));
    for layer in [
        dense("a", 32, json!("relu")),
        layer("BatchNormalization", json!({"axis": 1})),
        layer("LayerNormalization", json!({})),
        layer("Normalization", json!({"axis": [-1]})),
        layer("Softmax", json!({"axis": 1})),
        layer("Activation", json!({"activation": "softmax"})),
    ] {
        refused(&sequential(&[sequence.clone(), layer]), "on samples of shape [?, 784]");
    }
    let end = [dense("a", 32, json!("relu")), dense("b", 10, json!("linear"))];
    let open_row = input(json!([null, null]));
    assert_eq!(network(&sequential(&[&[open_row][..], &end].concat())).len(), 3);
    let flat = [input(json!([null, null, 28])), layer("Flatten", json!({}))];
    assert_eq!(network(&sequential(&[&flat[..], &end].concat())).len(), 4);
}

#[test]
fn configurations_that_are_wrong() {
    malformed(&json!({}), "the model has no class");
    malformed(&json!([]), "the model has no class");
    malformed(&sequential(&[]), "it has no weights");
    malformed(&json!({"class_name": "Sequential"}), "no list of layers");
    malformed(
        &json!({"class_name": "Sequential", "config": {"layers": [1]}}),
        "a layer has no class",
    );
    let unnamed = json!({"class_name": "Dense", "config": {}});
    malformed(&sequential(&[unnamed]), "has no name");
    malformed(&sequential(&[dense("a\nb", 1, json!(null))]), "is called \"a b\"");
    for (class, config, said) in [
        ("Dense", json!({}), "has no number of units"),
        ("Dense", json!({"units": -1}), "has no number of units"),
        ("Dense", json!({"units": 1, "use_bias": 3}), "use_bias that is not true or false"),
        ("Dropout", json!({"rate": 1.0}), "has a rate of 1"),
        ("Dropout", json!({"rate": -0.1}), "has a rate of -0.1"),
        ("Normalization", json!({"mean": [1.0], "variance": []}), "of different sizes"),
        ("Normalization", json!({"mean": [1.0], "variance": ["x"]}), "no list of numbers"),
        ("Normalization", json!({"mean": [1.0]}), "no list of numbers"),
    ] {
        malformed(&around(&[layer(class, config)]), said);
    }
    for (text, said) in [
        ("", "config.json is not JSON"),
        ("{\"class_name\": \"Sequential\", \"config\": 1e999}", "config.json is not JSON"),
        (&"[".repeat(100_000), "recursion limit"),
    ] {
        let entries =
            [Entry::stored("config.json", text.as_bytes()), Entry::stored("model.weights.h5", b"")];
        let problem = from_bytes(&archive(&entries)).unwrap_err();
        assert!(problem.to_string().contains(said), "{problem}");
    }
    let entries = [
        Entry::deflated("config.json", &vec![b' '; 1 << 20]),
        Entry::stored("model.weights.h5", b""),
    ];
    let problem = from_bytes(&archive(&entries)).unwrap_err();
    assert!(matches!(problem, Problem::Limit { found: 1_048_576, .. }), "{problem}");
}

#[test]
fn weights_that_do_not_fit_the_configuration() {
    let one = sequential(&[
        dense("a", 32, json!(null)),
        dense("b", 10, json!(null)),
        dense("c", 1, json!(null)),
    ]);
    malformed(
        &one,
        "layer \"c\" has 0 arrays in layers/dense_2/vars, and its configuration asks for 2",
    );
    let mut model = around(&[]);
    model["config"]["layers"][1]["config"]["use_bias"] = json!(false);
    malformed(
        &model,
        "layer \"a\" has 2 arrays in layers/dense/vars, and its configuration asks for 1",
    );
    malformed(
        &sequential(&[dense("a", 32, json!(null)), dense("a", 10, json!(null))]),
        "two arrays are called",
    );
    malformed(&around(&[layer("BatchNormalization", json!({}))]), "has 0 arrays");
    let swapped = |file: &str| from_bytes(&packed(&around(&[]), file)).unwrap_err().to_string();
    assert!(swapped("keras/functional.h5").contains("has 0 arrays"));
    assert!(swapped("keras/functional.logits").contains("does not begin with the signature"));
    let unbiased = json!({"units": 24, "use_bias": false});
    let problem = from_bytes(&packed(&sequential(&[layer("Dense", unbiased)]), "hdf5/i32.h5"));
    let problem = problem.unwrap_err().to_string();
    assert!(
        problem.contains("has shape [2, 3, 4] and type i32, not [inputs, outputs]"),
        "{problem}"
    );
}

#[test]
fn functional_models_are_one_way() {
    let layers = network(&functional(&[("a", after("in")), ("b", after("a"))]));
    assert_eq!(layers.len(), 2);
    // In another order, and with a node of Keras 2.
    let nodes = json!([[["a", 0, 0, {"training": null}]]]);
    let model = functional(&[("b", nodes), ("a", after("in"))]);
    // The weights are in the order of the list.
    malformed(&model, "array \"b/kernel\" has shape [784, 32]");
    let both = json!([{"args": [[{"config": {"keras_history": ["in", 0, 0]}}], {}], "kwargs": {}}]);
    let twice = json!([after("in")[0], after("a")[0]]);
    let mut called = after("a");
    called[0]["kwargs"] = json!({"training": true});
    for (earlier, said) in [
        (vec![("a", after("in")), ("b", after("in"))], "two layers follow \"in\""),
        (vec![("a", after("in")), ("b", after("x"))], "not all layers lie on one way"),
        (vec![("a", after("in"))], "there is no call 0 of \"b\""),
        (vec![("a", after("in")), ("b", both)], "no single input"),
        (vec![("a", after("in")), ("b", twice)], "two layers follow \"in\""),
        (vec![("a", after("in")), ("b", called)], "is called with options"),
        (vec![("a", after("in")), ("b", json!([[["a", 1, 0, {}]]]))], "lie on one way"),
        (vec![("a", after("in")), ("b", json!([[["a", 0, 1, {}]]]))], "no single input"),
        (
            vec![("a", after("in")), ("b", json!([[["a", 0, 0, {}], ["in", 0, 0, {}]]]))],
            "layer \"b\" of class \"Dense\" has two inputs",
        ),
        (vec![("a", after("in")), ("b", json!([7]))], "no single input"),
    ] {
        refused(&functional(&earlier), said);
    }
    malformed(&functional(&[("a", after("in")), ("a", after("a"))]), "two layers are called \"a\"");
    let cycle = functional(&[("a", after("b")), ("b", after("a"))]);
    malformed(&cycle, "follows itself");
    for (key, said) in [
        ("input_layers", "with 2 inputs, \"a\", \"b\""),
        ("output_layers", "keras.Model(model.inputs, model.outputs[0])"),
    ] {
        let mut model = functional(&[("a", after("in")), ("b", after("a"))]);
        model["config"][key] = json!([["a", 0, 0], ["b", 0, 0]]);
        refused(&model, said);
        model["config"][key] = json!([]);
        refused(&model, "are not one layer");
    }
}
