//! What ONNX graphs of odd but honest habits become: labels that are no numbers from 0, scaling by
//! feature, residual connections, samples in columns, and numbers in files beside the model.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::onnx::{
    Model, attribute, bytes, element, float, floats, int, ints, model, node, numbers, text, value,
    value_of,
};
use crate::support::{check_rows, golden, tensor};
use fireclay_formats::{Archive, Layer, Network, Norm, Problem, Task, from_bytes, read};

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

#[test]
fn classes_of_scikit_learn_keep_their_names() {
    let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    for (name, expected) in [
        ("gaps", names(&["-5", "5", "15"])),
        ("texts", names(&["elm", "größe", "oak"])),
        ("two", names(&["-1", "7"])),
        // Numbers from 0 are what classes without names have.
        ("doubles", None),
        ("truth", None),
    ] {
        let (archive, _) = check(name, name);
        assert_eq!(archive.labels, expected, "{name}");
        assert_eq!(archive.task, Some(Task::Classification), "{name}");
    }
    assert_eq!(labels("columns"), names(&["elm", "größe", "oak"]));
    let (archive, _) = check("many", "many");
    assert_eq!((archive.labels, archive.task), (None, Some(Task::MultiLabel)));
    for name in ["several-plain", "several-maps", "several-columns"] {
        let (archive, network) = check(name, "several");
        assert_eq!((archive.labels, archive.task), (None, Some(Task::MultiLabel)), "{name}");
        let Some(Layer::Activation(last)) = network.layers.last() else { panic!("{name}") };
        assert_eq!(last.name, "sigmoid", "{name}");
    }
    for name in ["regressor", "regressors"] {
        let (archive, _) = check(name, name);
        assert_eq!((archive.labels, archive.task), (None, Some(Task::Regression)));
    }
}

#[test]
fn labels_of_other_programs() {
    for (name, expected) in [
        ("gathered", &["a", "b", "c"][..]),
        ("encoded", &["a", "b", "c"]),
        ("from-one", &["1", "2", "3"]),
        ("threshold", &["3", "8"]),
        ("logit", &["out", "in"]),
    ] {
        assert_eq!(labels(name).unwrap(), expected, "{name}");
    }
    // What the file says of itself stands beside the network.
    let [(_, names)] = &read(small("named.onnx")).unwrap().class_names[..] else { panic!() };
    assert_eq!(*names, ["a", "b", "c"]);
    // The only logit is that of the second of two classes.
    let archive = read(small("logit.onnx")).unwrap();
    let Some(Layer::Activation(last)) = archive.network.unwrap().layers.pop() else { panic!() };
    assert_eq!((last.name.as_str(), archive.task), ("sigmoid", Some(Task::Classification)));
}

/// From 4 numbers to 3, and an output that is the largest of them.
fn classes(nodes: &[Vec<u8>]) -> Model {
    let first =
        [node("Gemm", &["x", "w"], &["y"], &[]), node("ArgMax", &["y"], &["i"], &[int("axis", 1)])];
    let model = model(&[&first, nodes].concat()).tensor("w", &[4, 3], &[0.5; 12]);
    model.output_values(&[value("y", None), value_of("l", 7, None)])
}

/// A node of the operators for classical machine learning.
fn classical(operator: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    [node(operator, inputs, &[output], attributes), bytes(7, b"ai.onnx.ml")].concat()
}

/// A list of texts as an attribute.
fn texts(name: &str, texts: &[&str]) -> Vec<u8> {
    let fields: Vec<_> = texts.iter().map(|text| bytes(9, text.as_bytes())).collect();
    attribute(name, 8, &fields)
}

#[test]
fn metadata_names_classes_in_any_form_beside_the_labels_of_the_graph() {
    let said = |key: &str, value: &str| {
        let pair = [bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat();
        let keys = [ints("keys_int64s", &[0, 1, 2]), texts("values_strings", &["c", "a", "b"])];
        let encoder = classical("LabelEncoder", &["i"], "l", &keys);
        from_bytes(&classes(&[encoder]).field(bytes(14, &pair)).bytes()).unwrap()
    };
    for value in [r#"["x", "y", "z"]"#, "{0: 'x', 1: 'y', 2: 'z'}", "x,y,z"] {
        let archive = said("names", value);
        assert_eq!(archive.labels.unwrap(), ["c", "a", "b"]);
        let names = ["x", "y", "z"].map(str::to_owned).to_vec();
        assert_eq!(archive.class_names, [("names".to_owned(), names)]);
    }
    let archive = said("names", "{0: 'x', 1: y}");
    assert_eq!(archive.class_names, []);
    assert_eq!(archive.notes.last().unwrap(), "metadata names: {0: 'x', 1: y}");
    assert_eq!(said("stride", "1,2,3").class_names, []);
}

#[test]
fn labels_that_are_not_understood_are_refused() {
    let gather = node("Gather", &["names", "i"], &["l"], &[]);
    let whole = |shape: &[u64], values: &[u8]| numbers("names", shape, 7, &bytes(7, values));
    let known = classes(std::slice::from_ref(&gather)).initializer(whole(&[3], &[4, 5, 6]));
    assert_eq!(from_bytes(&known.bytes()).unwrap().labels.unwrap(), ["4", "5", "6"]);
    let short = classes(std::slice::from_ref(&gather)).initializer(whole(&[2], &[4, 5]));
    refused(&short, "the labels of the output \"l\", which are not understood");
    // Another axis is that of the batch.
    let along = node("Gather", &["names", "i"], &["l"], &[int("axis", 1)]);
    refused(&classes(&[along]).initializer(whole(&[3], &[4, 5, 6])), "not understood");
    let squared = node("Mul", &["i", "i"], &["l"], &[]);
    refused(&classes(&[squared]), "not understood");
    let keys = |keys: &[i64]| {
        let values = texts("values_strings", &["a", "b", "c"]);
        classical("LabelEncoder", &["i"], "l", &[ints("keys_int64s", keys), values])
    };
    let encoded = classes(&[keys(&[2, 1, 0])]);
    assert_eq!(from_bytes(&encoded.bytes()).unwrap().labels.unwrap(), ["c", "b", "a"]);
    refused(&classes(&[keys(&[0, 1, 3])]), "not understood");
    // A default stands for the keys that are not there, if the file has one.
    let rest = |default: Vec<u8>| {
        let values = texts("values_strings", &["c", "a"]);
        let attributes = [ints("keys_int64s", &[0, 1]), values, default];
        classes(&[classical("LabelEncoder", &["i"], "l", &attributes)])
    };
    let other = rest(text("default_string", "other"));
    assert_eq!(from_bytes(&other.bytes()).unwrap().labels.unwrap(), ["c", "a", "other"]);
    refused(&rest(int("default_int64", 7)), "not understood");
    refused(&classes(&[keys(&[0, 1, 1])]), "not understood");
    // A second list contradicts the first.
    let map = classical("ZipMap", &["y"], "m", &[ints("classlabels_int64s", &[7, 8, 9])]);
    let both = classes(&[gather, map]).initializer(whole(&[3], &[4, 5, 6]));
    let both = both.output_values(&[value("y", None), value_of("l", 7, None), value("m", None)]);
    refused(
        &both,
        "labels that contradict each other, \"7\", \"8\", \"9\" and \"4\", \"5\", \"6\"",
    );
    let map = |labels: &[i64]| {
        let map = classical("ZipMap", &["y"], "m", &[ints("classlabels_int64s", labels)]);
        linear(&[map]).outputs(&["m"])
    };
    assert_eq!(from_bytes(&map(&[7, 8, 9]).bytes()).unwrap().labels.unwrap(), ["7", "8", "9"]);
    refused(&map(&[7, 8]), "2 labels for 3 outputs");
}

#[test]
fn many_labels_take_no_long_time() {
    // Some thousand classes are read; more work than a second's is refused.
    let classes = |count: u64, more: usize| {
        let keys: Vec<i64> = (0..count as i64).collect();
        let encoder = classical(
            "LabelEncoder",
            &["i"],
            "l",
            &[ints("keys_int64s", &keys), ints("values_int64s", &keys)],
        );
        let mut nodes = vec![
            node("Gemm", &["x", "w"], &["y"], &[]),
            node("ArgMax", &["y"], &["i0"], &[int("axis", 1)]),
        ];
        for at in 0..more {
            nodes.push(node("Identity", &[&format!("i{at}")], &[&format!("i{}", at + 1)], &[]));
        }
        nodes.push(node("Identity", &[&format!("i{more}")], &["i"], &[]));
        nodes.push(encoder);
        let weights = vec![0.5; 4 * count as usize];
        let model = model(&nodes).tensor("w", &[4, count], &weights);
        from_bytes(&model.output_values(&[value_of("l", 7, None)]).bytes())
    };
    assert_eq!(classes(5_000, 0).unwrap().task, Some(Task::Classification));
    let problem = classes(5_000, 50).unwrap_err().to_string();
    assert!(problem.contains("so many labels"), "{problem}");
}

#[test]
fn labels_within_the_network_are_refused() {
    let nodes = [
        node("Gemm", &["x", "w"], &["h"], &[]),
        node("ArgMax", &["h"], &["l"], &[int("axis", 1)]),
        node("Gemm", &["h", "v"], &["y"], &[]),
    ];
    let inside = model(&nodes).tensor("w", &[4, 3], &[0.5; 12]).tensor("v", &[3, 3], &[0.5; 9]);
    let inside = inside.output_values(&[value("y", None), value_of("l", 7, None)]);
    refused(&inside, "labels of the value \"h\" within the network");
    // A softmax behind does not change which is the largest.
    let nodes = [nodes[0].clone(), nodes[1].clone(), node("Softmax", &["h"], &["y"], &[])];
    assert_eq!(layers(&inside.nodes(&nodes)).len(), 2);
}

#[test]
fn thresholds_must_be_those_of_two_classes() {
    let binary = |end: &str, threshold: f32| {
        let nodes = [
            node("Gemm", &["x", "w"], &["z"], &[]),
            node(end, &["z"], &["y"], &[]),
            node("Greater", &["y", "t"], &["b"], &[]),
            node("Cast", &["b"], &["l"], &[int("to", 7)]),
        ];
        let model = model(&nodes).tensor("w", &[4, 1], &[0.5; 4]).tensor("t", &[], &[threshold]);
        model.output_values(&[value("y", None), value_of("l", 7, None)])
    };
    assert_eq!(layers(&binary("Sigmoid", 0.5)).len(), 2);
    assert_eq!(layers(&binary("Identity", 0.0)).len(), 2);
    for (end, threshold) in [("Sigmoid", 0.3), ("Sigmoid", 0.0), ("Identity", 0.5)] {
        refused(&binary(end, threshold), "do not change where both classes are equally probable");
    }
    let many = |threshold| {
        let nodes = [
            node("Gemm", &["x", "w"], &["z"], &[]),
            node("Sigmoid", &["z"], &["y"], &[]),
            classical("Binarizer", &["y"], "b", &[float("threshold", threshold)]),
            node("Cast", &["b"], &["l"], &[int("to", 7)]),
        ];
        let model = model(&nodes).tensor("w", &[4, 3], &[0.5; 12]);
        model.output_values(&[value("y", None), value_of("l", 7, None)])
    };
    assert_eq!(from_bytes(&many(0.5).bytes()).unwrap().task, Some(Task::MultiLabel));
    refused(&many(0.25), "not understood");
    let several = |end: &str, label: Vec<u8>, others: &[Vec<u8>]| {
        let first = [
            node("Gemm", &["x", "w"], &["z"], &[]),
            node(end, &["z"], &["y"], &[]),
            label,
            node("Cast", &["b"], &["l"], &[int("to", 7)]),
        ];
        let model = model(&[&first, others].concat()).tensor("w", &[4, 3], &[0.5; 12]);
        let model = model.tensor("t", &[], &[0.5]);
        let outputs = [value("y", None), value_of("l", 7, None), value_of("i", 7, None)];
        model.output_values(&outputs[..2 + others.len()])
    };
    let task = |model: &Model| from_bytes(&model.bytes()).unwrap().task;
    let labels = [("Less", &["t", "y"][..]), ("Greater", &["y", "t"]), ("Round", &["y"])]
        .map(|(operator, inputs)| node(operator, inputs, &["b"], &[]));
    let greatest = node("ArgMax", &["y"], &["i"], &[int("axis", 1), int("keepdims", 0)]);
    for label in labels {
        let both = [greatest.clone()];
        assert_eq!(task(&several("Sigmoid", label.clone(), &[])), Some(Task::MultiLabel));
        refused(&several("Sigmoid", label.clone(), &both), "the greatest and another has several");
        // Of probabilities that sum to 1 at most one is above a half.
        assert_eq!(task(&several("Softmax", label.clone(), &both)), Some(Task::Classification));
    }
    refused(&several("Sigmoid", node("Less", &["y", "t"], &["b"], &[]), &[]), "not understood");
    // Names beside several sigmoids are those of several labels, or of one class of many.
    let map = classical("ZipMap", &["y"], "m", &[ints("classlabels_int64s", &[4, 5, 6])]);
    let named =
        model(&[node("Gemm", &["x", "w"], &["z"], &[]), node("Sigmoid", &["z"], &["y"], &[]), map]);
    let named = named.tensor("w", &[4, 3], &[0.5; 12]).output_values(&[value("m", None)]);
    let archive = from_bytes(&named.bytes()).unwrap();
    assert_eq!((archive.labels.unwrap()[0].as_str(), archive.task), ("4", None));
    // What makes no labels is a part of the network: here it is none that is known.
    let nodes = [
        node("Gemm", &["x", "w"], &["z"], &[]),
        node("Greater", &["z", "t"], &["b"], &[]),
        node("Cast", &["b"], &["y"], &[int("to", 1)]),
    ];
    let step = model(&nodes).tensor("w", &[4, 1], &[0.5; 4]).tensor("t", &[], &[0.0]);
    refused(&step, "operator Greater");
}

#[test]
fn networks_of_pytorch_by_both_exporters_and_a_runtime() {
    for name in ["residual", "scaled", "slopes", "norms", "unflat"] {
        for kind in ["", "-script", "-runtime"] {
            check(&format!("{name}{kind}"), name);
        }
    }
    check("norms-13", "norms");
    let (_, network) = check("residual", "residual");
    let nested: Vec<_> =
        network.layers.iter().filter(|layer| matches!(layer, Layer::Residual(_))).collect();
    assert_eq!(nested.len(), 2);
}

#[test]
fn norms_and_slopes_of_many_operators() {
    let (_, network) = check("keras-parts", "keras-parts");
    let norm = |layer: &&Layer| matches!(layer, Layer::Norm { kind: Norm::Layer, epsilon, .. } if *epsilon == 1e-3);
    assert_eq!(network.layers.iter().filter(norm).count(), 1);
    let slopes = |layer: &&Layer| matches!(layer, Layer::Prelu { .. });
    assert_eq!(network.layers.iter().filter(slopes).count(), 1);
    let (_, network) = check("keras-residual", "keras-residual");
    let Layer::Residual(inner) = &network.layers[2] else { panic!("{:?}", network.layers) };
    assert!(matches!(inner[0], Layer::Norm { kind: Norm::Layer, .. }));
}

/// A layer norm of many operators, whose average has these attributes, and which ends like this.
fn norm_of_parts(average: &[Vec<u8>], end: &[Vec<u8>]) -> Model {
    let first = [
        node("Gemm", &["x", "w"], &["h"], &[]),
        node("ReduceMean", &["h"], &["m"], average),
        node("Sub", &["h", "m"], &["d"], &[]),
        node("Mul", &["d", "d"], &["q"], &[]),
        node("ReduceMean", &["q"], &["v"], average),
    ];
    linear(&[]).nodes(&[&first, end].concat()).tensor("e", &[], &[1e-3])
}

#[test]
fn norms_of_many_operators_that_are_no_layer_norms() {
    let axes = ints("axes", &[-1]);
    let usual = [
        node("Add", &["v", "e"], &["s"], &[]),
        node("Sqrt", &["s"], &["r"], &[]),
        node("Div", &["d", "r"], &["y"], &[]),
    ];
    let layers = layers(&norm_of_parts(std::slice::from_ref(&axes), &usual));
    assert!(
        matches!(layers[1], Layer::Norm { kind: Norm::Layer, epsilon: 1e-3, .. }),
        "{layers:?}"
    );
    let said = "operator ReduceMean";
    // Over the batch, and without the dimension that was averaged.
    refused(&norm_of_parts(&[ints("axes", &[0])], &usual), said);
    refused(&norm_of_parts(&[axes.clone(), int("keepdims", 0)], &usual), said);
    // Epsilon beside the deviation, and no root at all.
    let outside = [
        node("Sqrt", &["v"], &["s"], &[]),
        node("Add", &["s", "e"], &["r"], &[]),
        node("Div", &["d", "r"], &["y"], &[]),
    ];
    refused(&norm_of_parts(std::slice::from_ref(&axes), &outside), said);
    let no_root = [node("Add", &["v", "e"], &["r"], &[]), node("Div", &["d", "r"], &["y"], &[])];
    refused(&norm_of_parts(std::slice::from_ref(&axes), &no_root), said);
    // The value itself is divided, not its distance from the mean.
    let not_centred = [usual[0].clone(), usual[1].clone(), node("Div", &["h", "r"], &["y"], &[])];
    refused(&norm_of_parts(std::slice::from_ref(&axes), &not_centred), said);
    // Both the norm and what it is made of come out.
    let both = norm_of_parts(&[axes], &usual).outputs(&["y", "d"]);
    refused(&both, said);
}

#[test]
fn one_sample_shifted_by_feature_and_samples_in_columns() {
    let (archive, network) = check("shifted", "shifted");
    assert_eq!(network.input_shape, Some(vec![1, 1, 4]));
    assert!(matches!(network.layers[0], Layer::Affine { scale: None, offset: Some(_) }));
    assert_eq!(archive.tensors.len(), 5);
    for name in ["turned", "column", "column-shifted"] {
        let (_, network) = check(name, name);
        assert_eq!(network.input_shape, Some(vec![4]), "{name}");
    }
    for name in ["bias-scalar", "bias-one", "bias-one-by-one"] {
        check(name, name);
    }
}

/// From 4 numbers to 3, with more nodes.
fn linear(nodes: &[Vec<u8>]) -> Model {
    let first = [node("Gemm", &["x", "w"], &["y"], &[])];
    model(&[&first, nodes].concat()).tensor("w", &[4, 3], &[0.5; 12])
}

#[test]
fn columns_and_rows_do_not_mix() {
    let turned = node("Transpose", &["x"], &["t"], &[]);
    let product = |inputs: &[&str]| node("MatMul", inputs, &["y"], &[]);
    let weights = |nodes: &[Vec<u8>]| model(nodes).tensor("w", &[3, 4], &[0.5; 12]);
    let left = weights(&[turned.clone(), product(&["w", "t"])]);
    assert_eq!(layers(&left).len(), 1);
    refused(&weights(&[product(&["w", "x"])]), "samples in rows in operator MatMul");
    let right = model(&[turned.clone(), product(&["t", "w"])]).tensor("w", &[4, 3], &[0.5; 12]);
    refused(&right, "samples in columns in operator MatMul");
    let flat = node("Flatten", &["t"], &["y"], &[]);
    refused(&weights(&[turned.clone(), flat]), "samples in columns in operator Flatten");
    // A row would be added to every column.
    let nodes = [turned, node("Gemm", &["w", "t", "b"], &["y"], &[])];
    let row = weights(&nodes).tensor("b", &[3], &[1.0; 3]);
    refused(&row, "biases of shape [3]");
    assert_eq!(layers(&weights(&nodes).tensor("b", &[3, 1], &[1.0; 3])).len(), 1);
}

#[test]
fn residual_connections_that_are_none() {
    let inner = || linear(&[]).tensor("v", &[3, 3], &[0.5; 9]).tensor("n", &[3, 1], &[0.5; 3]);
    let nodes = |more: &[Vec<u8>]| {
        inner().nodes(&[&[node("Gemm", &["x", "w"], &["a"], &[])], more].concat())
    };
    let product =
        |input: &str, weights: &str, output: &str| node("Gemm", &[input, weights], &[output], &[]);
    let add =
        |first: &str, second: &str, output: &str| node("Add", &[first, second], &[output], &[]);
    let plain = nodes(&[product("a", "v", "b"), add("a", "b", "y")]);
    assert!(matches!(layers(&plain)[1], Layer::Residual(_)));
    // Two branches, of which neither is the value itself.
    refused(
        &nodes(&[product("a", "v", "b"), product("a", "v", "c"), add("b", "c", "y")]),
        "value \"a\", which goes to operator Gemm",
    );
    // A sum that does not meet the value again.
    refused(
        &nodes(&[product("a", "v", "b"), add("x", "b", "y")]),
        "the sum of samples of shape [4]",
    );
    // One number added to each of three.
    refused(
        &nodes(&[product("a", "n", "b"), add("a", "b", "y")]),
        "the sum of samples of shape [3] and of shape [1]",
    );
    // The branch leads elsewhere too; what no output depends on does not count.
    let both = nodes(&[product("a", "v", "b"), add("a", "b", "s"), product("b", "v", "y")]);
    refused(&both.clone().outputs(&["y", "s"]), "operator Add (that makes \"s\"), which adds");
    assert_eq!(layers(&both.outputs(&["y"])).len(), 3);
    let product_of_two = nodes(&[product("a", "v", "b"), node("Mul", &["a", "b"], &["y"], &[])]);
    refused(&product_of_two, "value \"a\", which goes to operator Gemm");
    // Each within the one before.
    let mut deep = vec![node("Gemm", &["x", "w"], &["v0"], &[])];
    for at in 0..20 {
        deep.push(node("Tanh", &[&format!("v{at}")], &[&format!("v{}", at + 1)], &[]));
    }
    let mut sum = "v20".to_owned();
    for at in (0..20).rev() {
        let next = format!("s{at}");
        deep.push(node("Add", &[&format!("v{at}"), &sum], &[&next], &[]));
        sum = next;
    }
    let deep = inner().nodes(&deep).outputs(&["s0"]);
    let problem = from_bytes(&deep.bytes()).unwrap_err();
    assert!(matches!(problem, Problem::Limit { most: 16, .. }), "{problem}");
}

#[test]
fn differences_and_averages_of_a_value_and_what_layers_make_of_it() {
    let sum = |operator: &str, inputs: &[&str]| {
        let nodes = [
            node("Gemm", &["x", "w"], &["a"], &[]),
            node("Gemm", &["a", "v"], &["b"], &[]),
            node(operator, inputs, &["y"], &[]),
        ];
        layers(&linear(&[]).tensor("v", &[3, 3], &[0.5; 9]).nodes(&nodes))
    };
    let rescale = |scale| Layer::Rescale { scale, offset: 0.0 };
    for (operator, inputs, expected) in [
        ("Sub", ["a", "b"], None),
        // b - a is -(a - b).
        ("Sub", ["b", "a"], Some(-1.0)),
        ("Mean", ["b", "a"], Some(0.5)),
    ] {
        let layers = sum(operator, &inputs);
        let Layer::Residual(branch) = &layers[1] else { panic!("{layers:?}") };
        assert_eq!(branch.last() == Some(&rescale(-1.0)), operator == "Sub", "{layers:?}");
        assert_eq!(layers.get(2), expected.map(rescale).as_ref(), "{layers:?}");
    }
}

#[test]
fn outputs_that_are_made_of_another() {
    let with = |nodes: &[Vec<u8>], outputs: &[Vec<u8>]| linear(nodes).output_values(outputs);
    let float = |name: &str| value(name, None);
    let softmax = node("Softmax", &["y"], &["p"], &[]);
    for outputs in [["y", "p"], ["p", "y"]] {
        let model = with(std::slice::from_ref(&softmax), &outputs.map(float));
        let archive = from_bytes(&model.bytes()).unwrap();
        assert_eq!(archive.network.unwrap().layers.len(), 2);
        let note = "left out: the output \"y\", of which \"p\" is made".to_owned();
        assert!(archive.notes.contains(&note), "{:?}", archive.notes);
    }
    let greatest = node("ReduceMax", &["y"], &["g"], &[]);
    let archive =
        from_bytes(&with(std::slice::from_ref(&greatest), &["y", "g"].map(float)).bytes()).unwrap();
    assert_eq!(archive.network.unwrap().layers.len(), 1);
    assert!(archive.notes[0].starts_with("left out: operator ReduceMax"), "{:?}", archive.notes);
    let places = node("TopK", &["y", "k"], &["v", "i"], &[]);
    let outputs = [float("y"), float("v"), value_of("i", 7, None)];
    let k = numbers("k", &[1], 7, &bytes(9, &2_i64.to_le_bytes()));
    assert_eq!(layers(&with(&[places], &outputs).initializer(k)).len(), 1);
    // The greatest within the network, an output within it, and two ends.
    let further = node("Gemm", &["y", "v"], &["z"], &[]);
    let square = |model: Model| model.tensor("v", &[3, 3], &[0.5; 9]);
    let inner = square(with(&[greatest, further.clone()], &["z", "g"].map(float)));
    refused(&inner, "within the network");
    let way_out = "onnx.utils.extract_model(PATH, NEW_PATH, [\"x\"], [\"z\"])";
    refused(&square(with(std::slice::from_ref(&further), &["z", "y"].map(float))), way_out);
    let other = node("Gemm", &["y", "v"], &["u"], &[]);
    refused(&square(with(&[further, other], &["z", "u"].map(float))), way_out);
}

#[test]
fn what_stands_before_the_layers_is_no_second_output() {
    // As skl2onnx writes PolynomialFeatures before a classifier: both outputs need both ways.
    let nodes = [
        classical("ArrayFeatureExtractor", &["x", "at"], "a", &[]),
        classical("ArrayFeatureExtractor", &["x", "at"], "b", &[]),
        node("Concat", &["a", "b"], &["c"], &[int("axis", 1)]),
        node("Gemm", &["c", "w"], &["z"], &[]),
        node("Softmax", &["z"], &["y"], &[]),
        node("ArgMax", &["y"], &["l"], &[int("axis", 1)]),
    ];
    let at = numbers("at", &[1], 7, &bytes(7, &[0]));
    let before = model(&nodes).tensor("w", &[2, 3], &[0.5; 6]).initializer(at);
    let before = before.output_values(&[value("y", None), value_of("l", 7, None)]);
    refused(&before, "value \"x\", which goes to operator ai.onnx.ml.ArrayFeatureExtractor");
    let said = from_bytes(&before.bytes()).unwrap_err().to_string();
    assert!(said.contains("only dense layers") && !said.contains("extract_model"), "{said}");
    // An operator that takes nothing of the input by name.
    let branches = node("If", &["c"], &["y"], &[]);
    let condition = numbers("c", &[], 9, &element(5, 1));
    refused(&model(&[branches]).initializer(condition), "operator If");
}

#[test]
fn numbers_divided_by_features_are_named() {
    for (operator, inputs) in [("Div", &["c", "y"][..]), ("Reciprocal", &["y"])] {
        let nodes = [node(operator, inputs, &["r"], &[])];
        let model = linear(&nodes).tensor("c", &[], &[2.0]).outputs(&["r"]);
        refused(&model, "no layer divides a number by features");
    }
}

#[test]
fn truth_values_are_labels_as_python_writes_them() {
    let nodes = [
        node("Gemm", &["x", "w"], &["z"], &[]),
        node("Sigmoid", &["z"], &["y"], &[]),
        node("Greater", &["y", "t"], &["b"], &[]),
    ];
    let model = model(&nodes).tensor("w", &[4, 1], &[0.5; 4]).tensor("t", &[], &[0.5]);
    let model = model.output_values(&[value("y", None), value_of("b", 9, None)]);
    assert_eq!(from_bytes(&model.bytes()).unwrap().labels.unwrap(), ["False", "True"]);
}

#[test]
fn numbers_for_each_feature() {
    let arithmetic = |operator: &str, inputs: &[&str]| {
        let nodes = [node(operator, inputs, &["z"], &[]), node("Gemm", &["z", "w"], &["y"], &[])];
        linear(&[]).nodes(&nodes).tensor("c", &[4], &[1.0, 2.0, 4.0, 8.0])
    };
    let affine = |model: &Model| {
        let archive = from_bytes(&model.bytes()).unwrap();
        let numbers = |name: &Option<String>| {
            name.as_ref().map(|name| tensor(&archive, name).to_f64().unwrap())
        };
        let layers = archive.network.as_ref().unwrap().layers.clone();
        match &layers[layers.len() - 2] {
            Layer::Affine { scale, offset } => (numbers(scale), numbers(offset)),
            other => panic!("{other:?}"),
        }
    };
    let list = |numbers: [f64; 4]| Some(numbers.to_vec());
    let given = list([1.0, 2.0, 4.0, 8.0]);
    assert_eq!(affine(&arithmetic("Add", &["c", "x"])), (None, given.clone()));
    assert_eq!(affine(&arithmetic("Sub", &["x", "c"])), (None, list([-1.0, -2.0, -4.0, -8.0])));
    assert_eq!(affine(&arithmetic("Sub", &["c", "x"])), (None, given.clone()));
    assert_eq!(
        layers(&arithmetic("Sub", &["c", "x"]))[0],
        Layer::Rescale { scale: -1.0, offset: 0.0 }
    );
    assert_eq!(affine(&arithmetic("Mul", &["x", "c"])), (given, None));
    assert_eq!(affine(&arithmetic("Div", &["x", "c"])), (list([1.0, 0.5, 0.25, 0.125]), None));
    refused(&arithmetic("Div", &["c", "x"]), "operator Div");
    let zero = arithmetic("Div", &["x", "z0"]).tensor("z0", &[4], &[1.0, 0.0, 1.0, 1.0]);
    refused(&zero, "a scale of inf in operator Div");
    // A number for each sample.
    let batch = arithmetic("Mul", &["x", "b"]).tensor("b", &[2, 1], &[1.0; 2]);
    refused(&batch.input(&[Some(2), Some(4)]), "operator Mul");
    // Of images, a number for each row of pixels.
    let nodes = [
        node("Mul", &["x", "b"], &["m"], &[]),
        node("Flatten", &["m"], &["f"], &[]),
        node("Gemm", &["f", "w"], &["y"], &[]),
    ];
    let rows = linear(&[]).nodes(&nodes).input(&[None, Some(2), Some(2)]);
    let rows = rows.tensor("b", &[2, 1], &[3.0, 5.0]);
    let archive = from_bytes(&rows.bytes()).unwrap();
    assert_eq!(tensor(&archive, "m/scale").to_f64().unwrap(), [3.0, 3.0, 5.0, 5.0]);
}

#[test]
fn scalers_fit_their_samples() {
    let scaled = |offset: &[f32], scale: &[f32]| {
        let attributes = [floats("offset", offset), floats("scale", scale)];
        let nodes =
            [classical("Scaler", &["x"], "z", &attributes), node("Gemm", &["z", "w"], &["y"], &[])];
        linear(&[]).nodes(&nodes)
    };
    let one = layers(&scaled(&[2.0], &[0.5]));
    assert_eq!(one[0], Layer::Rescale { scale: 0.5, offset: -1.0 });
    let each = scaled(&[2.0], &[1.0, 2.0, 3.0, 4.0]);
    let archive = from_bytes(&each.bytes()).unwrap();
    assert_eq!(tensor(&archive, "z/offset").to_f64().unwrap(), [-2.0, -4.0, -6.0, -8.0]);
    let problem = from_bytes(&scaled(&[1.0, 2.0], &[1.0]).bytes()).unwrap_err().to_string();
    assert!(problem.contains("2 offsets and 1 factors for samples of 4 numbers"), "{problem}");
    let whole = value_of("x", 7, Some(&[None, Some(4)]));
    assert_eq!(layers(&scaled(&[2.0], &[0.5]).inputs(&[whole])).len(), 2);
    let norm = classical("Normalizer", &["x"], "z", &[text("norm", "L2")]);
    let nodes = [norm, node("Gemm", &["z", "w"], &["y"], &[])];
    refused(&linear(&[]).nodes(&nodes), "divides each sample by its own norm");
}

#[test]
fn values_that_are_computed_are_limited() {
    // Each node asks for a million numbers of one.
    let mut nodes = Vec::new();
    for at in 0..8 {
        nodes.push(node("Mul", &[&format!("m{at}"), "b"], &[&format!("m{}", at + 1)], &[]));
    }
    nodes[0] = node("Mul", &["x", "b"], &["m1"], &[]);
    let wide = model(&nodes).input(&[None, Some(1024), Some(1024)]).outputs(&["m8"]);
    let problem = from_bytes(&wide.tensor("b", &[1024, 1], &[1.0; 1024]).bytes()).unwrap_err();
    assert!(matches!(problem, Problem::Limit { most: 4_194_304, .. }), "{problem}");
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

#[test]
fn numbers_lie_in_a_file_beside_the_model() {
    let (archive, _) = check("beside", "scaled");
    let whole = read(small("scaled.onnx")).unwrap();
    let find = |archive: &Archive| tensor(archive, "linear.weight").clone();
    assert_eq!(find(&archive), find(&whole));
    let files: Vec<_> = archive.files.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(files, ["beside.onnx.data"]);
    assert!(whole.files.is_empty());
    // Without a folder there is no file beside.
    let alone = from_bytes(&fs::read(small("beside.onnx")).unwrap()).unwrap_err().to_string();
    assert!(alone.contains("only a model read by its path has a folder"), "{alone}");
}

/// Reads a model with a file of 100 bytes beside it.
fn read_beside(folder: &Path, model: &Model) -> Result<Archive, String> {
    let path = folder.join("model.onnx");
    fs::write(&path, model.bytes()).unwrap();
    read(&path).map_err(|error| error.to_string())
}

#[test]
fn files_beside_the_model_lie_within_its_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("folder");
    fs::create_dir_all(folder.join("inner")).unwrap();
    for path in [folder.join("w"), folder.join("inner/w"), outer.path().join("secret")] {
        fs::write(path, [0; 100]).unwrap();
    }
    assert!(read_beside(&folder, &beside("w", 4, 48)).is_ok());
    // However a file within it is written, it is one.
    for location in ["inner/w", "./inner/w", "./inner/./w", "inner/../inner/w"] {
        let archive = read_beside(&folder, &beside(location, 52, 48)).unwrap();
        assert_eq!(archive.files, [folder.canonicalize().unwrap().join("inner/w")], "{location}");
    }
    let absolute = outer.path().join("secret").display().to_string();
    for location in ["../secret", &absolute, "./../secret", "inner/../../secret", ""] {
        let said = read_beside(&folder, &beside(location, 0, 48)).unwrap_err();
        assert!(said.contains("outside the folder of the model"), "{said}");
    }
    let said = read_beside(&folder, &beside("weights", 0, 48)).unwrap_err();
    assert!(said.contains("in the file \"weights\", which is missing"), "{said}");
    let said = read_beside(&folder, &beside("inner", 0, 48)).unwrap_err();
    assert!(said.contains("no regular file"), "{said}");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("link")).unwrap();
        let said = read_beside(&folder, &beside("link", 0, 48)).unwrap_err();
        assert!(said.contains("a link to outside the folder"), "{said}");
        std::os::unix::fs::symlink(folder.join("w"), folder.join("within")).unwrap();
        assert!(read_beside(&folder, &beside("within", 0, 48)).is_ok());
    }
    for (offset, length) in [(53, 48), (u64::MAX, 48), (0, 47), (0, 4800)] {
        let said = read_beside(&folder, &beside("w", offset, length)).unwrap_err();
        assert!(said.contains("tensor \"w\" needs 48 bytes"), "{said}");
    }
}

#[test]
fn tensors_that_share_a_file_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w"), [0; 48]).unwrap();
    let mut shared = beside("w", 0, 48);
    let mut nodes = vec![node("Gemm", &["x", "w"], &["y0"], &[])];
    for at in 0..20 {
        let name = format!("v{at}");
        let entry = |key: &str, value: &str| {
            bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat())
        };
        // Other spellings of its path do not allow for more.
        let location = format!("{}w", "./".repeat(at));
        let place = [entry("location", &location), element(14, 1)].concat();
        shared = shared.initializer(numbers(&name, &[3], 1, &place));
        nodes.push(node("Add", &[&format!("y{at}"), &name], &[&format!("y{}", at + 1)], &[]));
    }
    let said = read_beside(folder.path(), &shared.nodes(&nodes).outputs(&["y20"])).unwrap_err();
    assert!(said.contains("that tensors share in a file beside the model"), "{said}");
}

#[test]
fn constants_cast_like_a_value_stay_what_they_are() {
    let constant =
        |name: &str, number| node("Constant", &[], &[name], &[float("value_float", number)]);
    let like =
        |name: &str, value: &str, output: &str| node("CastLike", &[name, value], &[output], &[]);
    let bounded = |first: &str, value: &str| {
        model(&[
            node("Gemm", &["x", "w"], &["h"], &[]),
            constant("low", -0.5),
            constant("high", 2.0),
            node("Greater", &["h", "low"], &["g"], &[]),
            like(first, value, "a"),
            like("high", "h", "b"),
            node("Clip", &["h", "a", "b"], &["y"], &[]),
        ])
        .tensor("w", &[4, 3], &[0.5; 12])
    };
    let Layer::Activation(found) = &layers(&bounded("low", "h"))[1] else { panic!() };
    let expected = [("min".to_owned(), -0.5), ("max".to_owned(), 2.0)].into();
    assert_eq!((found.name.as_str(), &found.constants), ("hard-tanh", &expected));
    // A bound that becomes a truth value is another.
    assert!(from_bytes(&bounded("low", "g").bytes()).is_err());
    let (_, network) = check("like", "like");
    let norms = |layer: &&Layer| matches!(layer, Layer::Norm { kind: Norm::Rms, .. });
    assert_eq!(network.layers.iter().filter(norms).count(), 1);
}

#[test]
fn factors_that_are_expanded_to_the_samples_are_those_of_a_norm() {
    let (_, network) = check("bare", "bare");
    assert!(matches!(network.layers[1], Layer::Norm { kind: Norm::Layer, .. }));
}
