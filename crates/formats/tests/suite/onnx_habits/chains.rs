//! Norms, scaling by feature, residual connections, and samples in columns.

use fireclay_formats::{Layer, Norm, Problem, from_bytes};

use super::{check, classical, layers, linear, refused};
use crate::support::onnx::{
    Model, bytes, element, floats, int, ints, model, node, numbers, text, value, value_of,
};
use crate::support::tensor;

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
    assert!(problem.contains("2 offsets and 1 factor for samples of 4 numbers"), "{problem}");
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
