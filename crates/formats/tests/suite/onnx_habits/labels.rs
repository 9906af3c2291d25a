//! Labels that the graph makes of its outputs.

use fireclay_formats::{Layer, OutputKind, from_bytes, read};

use super::{check, classical, labels, layers, linear, refused, small};
use crate::support::onnx::{
    Model, attribute, bytes, float, int, ints, model, node, numbers, text, value, value_of,
};

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
        assert_eq!(archive.task, Some(OutputKind::Classification), "{name}");
    }
    assert_eq!(labels("columns"), names(&["elm", "größe", "oak"]));
    let (archive, _) = check("many", "many");
    assert_eq!((archive.labels, archive.task), (None, Some(OutputKind::MultiLabel)));
    for name in ["several-plain", "several-maps", "several-columns"] {
        let (archive, network) = check(name, "several");
        assert_eq!((archive.labels, archive.task), (None, Some(OutputKind::MultiLabel)), "{name}");
        let Some(Layer::Activation(last)) = network.layers.last() else { panic!("{name}") };
        assert_eq!(last.name, "sigmoid", "{name}");
    }
    for name in ["regressor", "regressors"] {
        let (archive, _) = check(name, name);
        assert_eq!((archive.labels, archive.task), (None, Some(OutputKind::Regression)));
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
    assert_eq!((last.name.as_str(), archive.task), ("sigmoid", Some(OutputKind::Classification)));
}

/// From 4 numbers to 3, and an output that is the largest of them.
fn classes(nodes: &[Vec<u8>]) -> Model {
    let first =
        [node("Gemm", &["x", "w"], &["y"], &[]), node("ArgMax", &["y"], &["i"], &[int("axis", 1)])];
    let model = model(&[&first, nodes].concat()).tensor("w", &[4, 3], &[0.5; 12]);
    model.output_values(&[value("y", None), value_of("l", 7, None)])
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
    assert_eq!(classes(5_000, 0).unwrap().task, Some(OutputKind::Classification));
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
    assert_eq!(from_bytes(&many(0.5).bytes()).unwrap().task, Some(OutputKind::MultiLabel));
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
        assert_eq!(task(&several("Sigmoid", label.clone(), &[])), Some(OutputKind::MultiLabel));
        refused(&several("Sigmoid", label.clone(), &both), "the greatest and another has several");
        // Of probabilities that sum to 1 at most one is above a half.
        assert_eq!(
            task(&several("Softmax", label.clone(), &both)),
            Some(OutputKind::Classification)
        );
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
