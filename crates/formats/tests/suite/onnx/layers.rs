//! Operators that are layers, made by hand.

use fireclay_formats::{ElementType, Layer, Layout, Norm, from_bytes};

use super::{dense, function, layers, linear, malformed, refused, with_constants};
use crate::support::onnx::{
    attribute, bytes, double, element, float, floats, int, ints, model, node, numbers, text, value,
    value_of,
};
use crate::support::tensor;

#[test]
fn weights_either_way_round() {
    let plain = [dense("w", None, Layout::InOut)];
    let turned = [dense("w", None, Layout::OutIn)];
    let transpose = node("Transpose", &["w"], &["t"], &[ints("perm", &[1, 0])]);
    let flip = int("transB", 1);
    let gemm = |weight, attributes: &[Vec<u8>]| node("Gemm", &["x", weight], &["y"], attributes);
    let matmul = |weight| node("MatMul", &["x", weight], &["y"], &[]);
    for (nodes, shape, expected) in [
        (vec![gemm("w", &[])], [4, 3], &plain),
        (vec![matmul("w")], [4, 3], &plain),
        (vec![gemm("w", std::slice::from_ref(&flip))], [3, 4], &turned),
        (vec![transpose.clone(), matmul("t")], [3, 4], &turned),
        (vec![transpose.clone(), gemm("t", &[flip])], [4, 3], &plain),
        (vec![node("Transpose", &["w"], &["t"], &[]), matmul("t")], [3, 4], &turned),
    ] {
        let model = model(&nodes).tensor("w", &shape, &[0.5; 12]);
        assert_eq!(layers(&model), *expected);
    }
}

#[test]
fn biases() {
    let expected = [dense("w", Some("b"), Layout::InOut)];
    let matmul = node("MatMul", &["x", "w"], &["z"], &[]);
    for inputs in [["z", "b"], ["b", "z"]] {
        for shape in [&[3][..], &[1, 3]] {
            let nodes = [matmul.clone(), node("Add", &inputs, &["y"], &[])];
            let model =
                model(&nodes).tensor("w", &[4, 3], &[0.5; 12]).tensor("b", shape, &[1.0; 3]);
            assert_eq!(layers(&model), expected);
            assert_eq!(tensor(&from_bytes(&model.bytes()).unwrap(), "b").shape, [3]);
        }
    }
    // A bias of three dimensions makes three of what comes out, of which axis 1 is another.
    let nodes = [
        node("MatMul", &["x", "w"], &["z"], &[]),
        node("Add", &["z", "b"], &["s"], &[]),
        node("Softmax", &["s"], &["y"], &[int("axis", 1)]),
    ];
    for (outputs, shape) in [(3, [1, 1, 3]), (1, [1, 1, 1])] {
        let (weights, biases) = (vec![0.5; 4 * outputs], vec![1.0; outputs]);
        let deep = model(&nodes).tensor("w", &[4, outputs as u64], &weights);
        let found = format!("biases of shape {shape:?} in operator Add");
        refused(&deep.tensor("b", &shape, &biases), &found, "one number for all features or one");
    }
    // One output: the bias is one number, and no rescaling.
    let nodes = [matmul, node("Add", &["z", "b"], &["y"], &[])];
    let one = model(&nodes).tensor("w", &[4, 1], &[0.5; 4]).tensor("b", &[1], &[1.0]);
    assert_eq!(layers(&one), expected);
    // A second bias is added to the first; a column is none.
    let twice =
        [node("Gemm", &["x", "w", "b"], &["z"], &[]), node("Add", &["z", "b"], &["y"], &[])];
    let again = model(&twice).tensor("w", &[4, 3], &[0.5; 12]).tensor("b", &[3], &[1.0; 3]);
    let second = Layer::Affine { scale: None, offset: Some("b".to_owned()) };
    assert_eq!(layers(&again), [expected[0].clone(), second]);
    let column = linear().tensor("b", &[3, 1], &[1.0; 3]);
    let nodes = [node("Gemm", &["x", "w", "b"], &["y"], &[])];
    refused(&column.nodes(&nodes), "biases of shape [3, 1]", "each sample is a row of [3] here");
}

#[test]
fn constants_in_every_form() {
    // Each stands for the bias of one output, or the number that is added.
    let typed =
        |kind, data: Vec<u8>| attribute("value", 4, &[bytes(5, &numbers("", &[1], kind, &data))]);
    for constant in [
        float("value_float", 2.0),
        attribute("value_int", 2, &[element(3, 2)]),
        floats("value_floats", &[2.0]),
        ints("value_ints", &[2]),
        typed(1, bytes(4, &2_f32.to_le_bytes())),
        typed(1, [&[0x25][..], &2_f32.to_le_bytes()].concat()), // not packed
        typed(1, bytes(9, &2_f32.to_le_bytes())),
        typed(11, bytes(10, &2_f64.to_le_bytes())),
        typed(11, double(10, 2.0)),
        typed(10, bytes(5, &[0x80, 0x80, 1])),
        typed(16, element(5, 0x4000)),
        typed(7, bytes(7, &[2])),
        typed(7, element(7, 2)),
        typed(6, element(5, 2)),
        typed(2, element(5, 2)),
        typed(12, element(11, 2)),
        typed(13, element(11, 2)),
    ] {
        let nodes = [
            node("Constant", &[], &["c"], std::slice::from_ref(&constant)),
            node("Cast", &["c"], &["d"], &[int("to", 1)]),
            node("Add", &["x", "d"], &["z"], &[]),
            node("Gemm", &["z", "w"], &["y"], &[]),
        ];
        let rescale = Layer::Rescale { scale: 1.0, offset: 2.0 };
        assert_eq!(layers(&linear().nodes(&nodes))[0], rescale, "{constant:?}");
    }
}

#[test]
fn weights_of_nodes_and_of_other_types() {
    let half: Vec<u8> = [0x3800_u16; 12].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let listed: Vec<u8> = [[0x80, 0x70]; 12].concat();
    for (kind, data, dtype) in [
        (10, bytes(9, &half), ElementType::F16),
        (10, bytes(5, &listed), ElementType::F16),
        (11, bytes(9, &0.5_f64.to_le_bytes().repeat(12)), ElementType::F64),
        (16, bytes(9, &[0, 0x3f].repeat(12)), ElementType::Bf16),
    ] {
        let weights = numbers("", &[4, 3], kind, &data);
        let nodes = [
            node("Constant", &[], &["w"], &[attribute("value", 4, &[bytes(5, &weights)])]),
            node("Identity", &["w"], &["v"], &[]),
            node("Cast", &["v"], &["u"], &[int("to", 1)]),
            node("MatMul", &["x", "u"], &["y"], &[]),
        ];
        let archive = from_bytes(&model(&nodes).bytes()).unwrap();
        let weights = tensor(&archive, "w");
        assert_eq!(weights.dtype, dtype);
        assert_eq!(weights.to_f64().unwrap(), [0.5; 12]);
    }
}

#[test]
fn shapes_that_keep_samples_apart() {
    let reshape = |target: &[i64]| {
        vec![
            node("Constant", &[], &["s"], &[ints("value_ints", target)]),
            node("Reshape", &["x", "s"], &["z"], &[]),
        ]
    };
    let flatten = |axis| vec![node("Flatten", &["x"], &["z"], &[int("axis", axis)])];
    let squeeze = |axes: &[i64]| vec![node("Squeeze", &["x"], &["z"], &[ints("axes", axes)])];
    let flatten_of = |value: &str| node("Flatten", &[value], &["z"], &[]);
    let to_images = vec![
        node("Constant", &[], &["s"], &[ints("value_ints", &[0, 2, 1, -1])]),
        node("Reshape", &["x", "s"], &["images"], &[]),
        node("Identity", &["images"], &["same"], &[]),
        flatten_of("same"),
    ];
    let wide = node("Unsqueeze", &["x"], &["wide"], &[ints("axes", &[1, -1])]);
    let computed = vec![
        node("Shape", &["x"], &["sizes"], &[]),
        node("Constant", &[], &["zero"], &[int("value_int", 0)]),
        node("Gather", &["sizes", "zero"], &["batch"], &[]),
        node("Constant", &[], &["axes"], &[ints("value_ints", &[0])]),
        node("Unsqueeze", &["batch", "axes"], &["batches"], &[]),
        node("Constant", &[], &["open"], &[ints("value_ints", &[-1])]),
        node("Concat", &["batches", "open"], &["s"], &[int("axis", 0)]),
        node("Reshape", &["x", "s"], &["z"], &[]),
    ];
    let part = vec![
        node("Shape", &["x"], &["batch"], &[int("start", 0), int("end", 1)]),
        node("Constant", &[], &["four"], &[ints("value_ints", &[4])]),
        node("Concat", &["batch", "four"], &["s"], &[int("axis", 0)]),
        node("Reshape", &["x", "s"], &["z"], &[]),
    ];
    let axes_as_input = vec![
        node("Constant", &[], &["axes"], &[ints("value_ints", &[1])]),
        node("Squeeze", &["x", "axes"], &["z"], &[]),
    ];
    let open = [None, Some(2), Some(2)];
    let fixed = [Some(5), Some(2), Some(2)];
    let row = [None, Some(4)];
    let thin = [None, Some(1), Some(4)];
    for (input, nodes, flattens) in [
        (&open[..], reshape(&[-1, 4]), true),
        (&open, reshape(&[0, -1]), true),
        (&open, reshape(&[0, 4]), true),
        (&fixed, reshape(&[5, -1]), true),
        (&fixed, reshape(&[5, 4]), true),
        (&fixed, computed.clone(), true),
        (&open, computed, true),
        (&open, part, true),
        (&open, flatten(1), true),
        (&open, flatten(-2), true),
        (&row, reshape(&[-1, 4]), false),
        (&row, reshape(&[0, 0]), false),
        (&row, flatten(1), false),
        (&thin, squeeze(&[1]), true),
        (&thin, squeeze(&[-2]), true),
        (&thin, axes_as_input, true),
        (&open, to_images, true),
        (&row, vec![wide, flatten_of("wide")], true),
    ] {
        let gemm = node("Gemm", &["z", "w"], &["y"], &[]);
        let model = linear().input(input).nodes(&[nodes, vec![gemm]].concat());
        let flatten = if flattens { vec![Layer::Flatten] } else { vec![] };
        assert_eq!(layers(&model), [flatten, vec![dense("w", None, Layout::InOut)]].concat());
    }
}

#[test]
fn shapes_that_mix_samples() {
    let reshape = |target: &[i64]| {
        [
            node("Constant", &[], &["s"], &[ints("value_ints", target)]),
            node("Reshape", &["x", "s"], &["y"], &[]),
        ]
    };
    let keep_zero = node("Reshape", &["x", "s"], &["y"], &[int("allowzero", 1)]);
    let keep_zero = [reshape(&[0, 4])[0].clone(), keep_zero];
    for (input, nodes) in [
        (&[None, Some(2), Some(2)][..], &reshape(&[-1, 2])),
        (&[None, Some(2), Some(2)], &reshape(&[2, -1])),
        (&[None, Some(2), Some(2)], &reshape(&[-1])),
        (&[None, Some(2), Some(2)], &reshape(&[])),
        (&[None, Some(2), Some(2)], &reshape(&[0, -1, 3])),
        (&[None, Some(2), Some(2)], &reshape(&[0, -1, -1])),
        (&[None, Some(2), Some(2)], &reshape(&[0, -2])),
        (&[None, Some(2), Some(2)], &reshape(&[0, 0, 0, 0])),
        (&[None, Some(2), Some(2)], &reshape(&[0, i64::MAX, 2])),
        (&[None, Some(2), Some(2)], &keep_zero),
        (&[None, None, Some(2)], &reshape(&[-1, 4])),
        (&[None, None, Some(2)], &reshape(&[0, 2, -1])),
        (&[Some(4), Some(2)], &reshape(&[2, 4])),
    ] {
        refused(&model(nodes).input(input), "a change of samples of shape", "use Flatten");
    }
    let unknown = model(&reshape(&[-1, 4])).inputs(&[value("x", None)]);
    refused(&unknown, "samples of shape unknown", "use Flatten");
    let other = [node("Reshape", &["x", "x"], &["y"], &[])];
    refused(&model(&other), "the input \"x\" in operator Reshape", "must be constants");
    for axis in [0, 2, 3, -1, i64::MIN, i64::MAX] {
        let flatten = [node("Flatten", &["x"], &["y"], &[int("axis", axis)])];
        let images = model(&flatten).input(&[None, Some(2), Some(2)]);
        refused(&images, &format!("axis {axis}"), "the first dimension");
    }
    for axes in [&[0][..], &[1], &[5], &[-4], &[i64::MIN], &[]] {
        let squeeze = [node("Squeeze", &["x"], &["y"], &[ints("axes", axes)])];
        refused(&model(&squeeze), "samples of shape [4]", "dimensions of size 1");
    }
    refused(
        &model(&[node("Squeeze", &["x"], &["y"], &[])]),
        "the axes none",
        "dimensions of size 1",
    );
    for axes in [&[0][..], &[1, 1], &[4], &[-3]] {
        let unsqueeze = [node("Unsqueeze", &["x"], &["y"], &[ints("axes", axes)])];
        refused(&model(&unsqueeze), "samples of shape [4]", "dimensions of size 1");
    }
    let transpose = [node("Transpose", &["x"], &["y"], &[])];
    let images = model(&transpose).input(&[None, Some(2), Some(2)]);
    refused(&images, "operator Transpose", "only dense layers");
}

#[test]
fn weights_that_do_not_fit() {
    let gemm =
        |attributes: &[Vec<u8>]| linear().nodes(&[node("Gemm", &["x", "w"], &["y"], attributes)]);
    refused(&gemm(&[float("alpha", 0.0)]), "alpha = 0", "multiply the weights");
    refused(&gemm(&[int("transA", 1)]), "samples in rows", "those on the left columns");
    refused(&gemm(&[int("broadcast", 1)]), "the attribute \"broadcast\"", "another opset");
    malformed(&gemm(&[int("transB", 1)]), "weights from 3 to 4 numbers for samples of 4");
    malformed(&gemm(&[float("transB", 1.0)]), "transB is not an integer");
    malformed(&gemm(&[int("alpha", 1)]), "alpha is not a float");
    let matmul = |inputs: &[&str]| linear().nodes(&[node("MatMul", inputs, &["y"], &[])]);
    malformed(&matmul(&["x"]), "there are no weights");
    refused(&matmul(&["w", "x"]), "samples in rows", "those on the left columns");
    refused(&matmul(&["x", "x"]), "the input \"x\" in operator MatMul", "all but the samples");
    let cube = |shape: &[u64]| matmul(&["x", "v"]).tensor("v", shape, &[0.5; 12]);
    refused(&cube(&[12]), "weights of shape [12]", "a matrix");
    refused(&cube(&[1, 4, 3]), "weights of shape [1, 4, 3]", "a matrix");
    malformed(&cube(&[6, 2]), "weights from 6 to 2");
    let empty = matmul(&["x", "v"]).tensor("v", &[4, 0], &[]);
    malformed(&empty, "weights from 4 to 0");
    let images = matmul(&["x", "w"]).input(&[None, Some(2), Some(4)]);
    refused(&images, "samples of shape [2, 4] in operator MatMul", "add Flatten");
    let unknown = matmul(&["x", "w"]).inputs(&[value("x", None)]);
    refused(&unknown, "samples of unknown shape", "the shape of its input");
    // Gemm takes rows only, so there nothing needs to be known.
    let unknown = linear().inputs(&[value("x", None)]);
    assert_eq!(from_bytes(&unknown.bytes()).unwrap().network.unwrap().input_shape, None);
    let ints = numbers("v", &[4, 3], 3, &bytes(9, &[1; 12]));
    refused(&matmul(&["x", "v"]).initializer(ints), "tensor \"v\" of i8", "floating point");
    let words = numbers("v", &[4, 3], 8, &[]);
    refused(&matmul(&["x", "v"]).initializer(words), "tensor \"v\" of another type", "floating");
    let folded = [node("Sqrt", &["w"], &["v"], &[]), node("MatMul", &["x", "v"], &["y"], &[])];
    refused(&linear().nodes(&folded), "the input \"v\" in operator MatMul", "onnxslim");
    // One tensor as a matrix of one row and as a vector.
    let both = [node("Gemm", &["x", "v", "v"], &["y"], &[])];
    let both = model(&both).input(&[None, Some(1)]).tensor("v", &[1, 3], &[0.5; 3]);
    refused(&both, "tensor \"v\" in two shapes", "used alike");
}

#[test]
fn numbers_for_every_feature() {
    let rescaled = |operator: &str, inputs: &[&str]| {
        let nodes = [node(operator, inputs, &["z"], &[]), node("Gemm", &["z", "w"], &["y"], &[])];
        linear().nodes(&nodes).tensor("c", &[1], &[4.0])
    };
    for (operator, inputs, scale, offset) in [
        ("Add", ["x", "c"], 1.0, 4.0),
        ("Add", ["c", "x"], 1.0, 4.0),
        ("Sub", ["x", "c"], 1.0, -4.0),
        ("Sub", ["c", "x"], -1.0, 4.0),
        ("Mul", ["x", "c"], 4.0, 0.0),
        ("Div", ["x", "c"], 0.25, 0.0),
        ("Add", ["x", "x"], 2.0, 0.0),
    ] {
        let layers = layers(&rescaled(operator, &inputs));
        assert_eq!(layers[0], Layer::Rescale { scale, offset }, "{operator} {inputs:?}");
    }
    for (operator, inputs) in [("Mul", ["x", "x"]), ("Sub", ["x", "x"])] {
        refused(&rescaled(operator, &inputs), operator, "a value may ");
    }
    refused(&rescaled("Div", &["c", "x"]), "operator Div", "no layer divides a number by features");
    // A constant of more dimensions would add its own.
    let deep = rescaled("Mul", &["x", "v"]).tensor("v", &[1, 1, 1], &[2.0]);
    refused(&deep, "operator Mul", "one number for all features");
    let infinite = rescaled("Mul", &["x", "v"]).tensor("v", &[], &[f32::INFINITY]);
    refused(&infinite, "operator Mul", "one number for all features");
    // The size of the batch is no number yet.
    let nodes = [
        node("Shape", &["x"], &["n"], &[int("end", 1)]),
        node("Cast", &["n"], &["f"], &[int("to", 1)]),
        node("Add", &["x", "f"], &["y"], &[]),
    ];
    refused(&model(&nodes), "operator Add", "one number for all features");
}

#[test]
fn whole_numbers() {
    let row = Some(&[None, Some(4)][..]);
    let scaled = |kind, nodes: &[Vec<u8>]| {
        let gemm = node("Gemm", &["z", "w"], &["y"], &[]);
        let of_kind = |name: &str| numbers(name, &[], kind, &bytes(9, &[255]));
        let model = linear().nodes(&[nodes, &[gemm]].concat());
        model.inputs(&[value_of("x", kind, row)]).initializer(of_kind("most"))
    };
    let cast = || [int("to", 1)];
    let after = [
        node("Identity", &["x"], &["a"], &[]),
        node("Flatten", &["a"], &["b"], &[int("axis", 1)]),
        node("Cast", &["b"], &["c"], &cast()),
        node("Mul", &["c", "two"], &["z"], &[]),
    ];
    let after = scaled(2, &after).tensor("two", &[], &[2.0]);
    assert_eq!(layers(&after)[0], Layer::Rescale { scale: 2.0, offset: 0.0 });
    // Here most pixels become 0 before they become fractions.
    let before = [node("Div", &["x", "most"], &["a"], &[]), node("Cast", &["a"], &["z"], &cast())];
    refused(&scaled(2, &before), "operator Div", "must first become");
    let gemm = linear().inputs(&[value_of("x", 7, row)]);
    refused(&gemm, "operator Gemm", "must first become");
    for kind in [8, 9, 14] {
        let unusual = linear().inputs(&[value_of("x", kind, row)]);
        refused(&unusual, "the input \"x\" of unusual numbers", "floating point");
    }
    let unknown = linear().inputs(&[value_of("x", 0, row)]);
    assert_eq!(layers(&unknown).len(), 1);
}

#[test]
fn functions_by_their_attributes() {
    let one = |operator: &str, attributes: &[Vec<u8>]| {
        let nodes =
            [node("Gemm", &["x", "w"], &["z"], &[]), node(operator, &["z"], &["y"], attributes)];
        linear().nodes(&nodes)
    };
    for (operator, attributes, expected) in [
        ("LeakyRelu", vec![], function("leaky-relu")),
        ("LeakyRelu", vec![float("alpha", 0.3)], with_constants("leaky-relu", &[("slope", 0.3)])),
        ("LeakyRelu", vec![float("alpha", 0.0)], function("relu")),
        ("Elu", vec![], function("elu")),
        ("Selu", vec![], function("selu")),
        ("Gelu", vec![], function("gelu")),
        ("Gelu", vec![text("approximate", "tanh")], function("gelu-tanh")),
        ("Mish", vec![], function("mish")),
        ("Softsign", vec![], function("softsign")),
        ("HardSigmoid", vec![], with_constants("hard-sigmoid", &[("alpha", 0.2), ("beta", 0.5)])),
        ("HardSigmoid", vec![float("alpha", 1.0 / 6.0)], function("hard-sigmoid")),
        ("Clip", vec![float("min", 0.0), float("max", 6.0)], function("relu6")),
        ("Clip", vec![float("min", 0.0)], function("relu")),
        // The largest number of 32 bits stands for no bound.
        ("Clip", vec![float("min", 0.0), float("max", f32::MAX)], function("relu")),
        (
            "Clip",
            vec![float("min", 0.0), float("max", 500.0)],
            with_constants("hard-tanh", &[("max", 500.0), ("min", 0.0)]),
        ),
        (
            "Clip",
            vec![float("min", -5e8), float("max", 5e8)],
            with_constants("hard-tanh", &[("max", 5e8), ("min", -5e8)]),
        ),
        ("Softmax", vec![], function("softmax")),
        ("Softmax", vec![int("axis", -1)], function("softmax")),
        ("LogSoftmax", vec![int("axis", 1)], function("log-softmax")),
    ] {
        assert_eq!(layers(&one(operator, &attributes))[1], expected, "{operator}");
    }
    // These change nothing, and are no layers.
    assert_eq!(layers(&one("Cast", &[int("to", 10)])).len(), 1);
    assert_eq!(layers(&one("Clip", &[])).len(), 1);
    for (operator, attributes) in [
        ("Selu", vec![float("alpha", 2.0)]),
        ("Gelu", vec![text("approximate", "erf")]),
        ("Cast", vec![int("to", 7)]),
        ("Cast", vec![]),
        ("Clip", vec![float("min", 2.0), float("max", 1.0)]),
        ("Exp", vec![]),
        ("Sin", vec![]),
        ("If", vec![]),
        ("MeanVarianceNormalization", vec![]),
    ] {
        refused(&one(operator, &attributes), &format!("operator {operator}"), "only dense layers");
    }
    refused(&one("Softmax", &[int("axis", 0)]), "axis 0", "that of the features");
    refused(&one("Relu", &[int("inplace", 1)]), "attribute \"inplace\"", "not known");
    malformed(&one("LeakyRelu", &[int("alpha", 1)]), "alpha is not a float");
    malformed(&one("Gelu", &[int("approximate", 1)]), "approximate is not a string");
    let bounded =
        [node("Gemm", &["x", "w"], &["z"], &[]), node("Clip", &["z", "", "z"], &["y"], &[])];
    refused(&linear().nodes(&bounded), "operator Clip", "only dense layers");
}

#[test]
fn functions_of_several_operators() {
    let two = |nodes: &[Vec<u8>]| {
        let gemm = node("Gemm", &["x", "w"], &["z"], &[]);
        linear().nodes(&[&[gemm], nodes].concat()).tensor("six", &[], &[6.0])
    };
    let part =
        |operator: &str, inputs: &[&str], output: &str| node(operator, inputs, &[output], &[]);
    let relu6 = two(&[part("Relu", &["z"], "a"), part("Min", &["a", "six"], "y")]);
    assert_eq!(layers(&relu6)[1..], [function("relu6")]);
    // A bound is one however far away.
    let bounded = two(&[part("Relu", &["z"], "a"), part("Min", &["a", "far"], "y")]);
    refused(&bounded.tensor("far", &[], &[5e4]), "operator Min", "only dense layers");
    // Where an exponential overflows, nothing is decided.
    let overflows =
        [part("Exp", &["z"], "a"), part("Add", &["a", "one"], "b"), part("Log", &["b"], "y")];
    let softplus = two(&overflows).tensor("one", &[], &[1.0]);
    assert_eq!(layers(&softplus)[1..], [function("softplus")]);
    let both = two(&[part("Tanh", &["z"], "a"), part("Sigmoid", &["a"], "y")]);
    assert_eq!(layers(&both)[1..], [function("tanh"), function("sigmoid")]);
    let rescaled = two(&[part("Relu", &["z"], "a"), part("Mul", &["a", "six"], "y")]);
    let by_six = Layer::Rescale { scale: 6.0, offset: 0.0 };
    assert_eq!(layers(&rescaled)[1..], [function("relu"), by_six]);
    // Close to silu, and not close enough.
    let almost = two(&[
        part("Sigmoid", &["z"], "a"),
        part("Mul", &["z", "a"], "b"),
        part("Mul", &["b", "c"], "y"),
    ])
    .tensor("c", &[], &[1.001]);
    let silu = function("silu");
    let rescale = |layer: &Layer| matches!(layer, Layer::Rescale { scale, .. } if *scale > 1.0009);
    let found = layers(&almost);
    assert!(found[1] == silu && rescale(&found[2]), "{found:?}");
    // A value within the function that something else needs.
    let inner = two(&[
        part("Sigmoid", &["z"], "a"),
        part("Mul", &["z", "a"], "b"),
        node("Gemm", &["a", "v"], &["c"], &[]),
        part("Add", &["b", "c"], "y"),
    ])
    .tensor("v", &[3, 3], &[0.0; 9]);
    refused(&inner, "which goes to operator Sigmoid", "one after the other");
    let output = two(&[part("Sigmoid", &["z"], "a"), part("Mul", &["z", "a"], "y")]);
    refused(&output.outputs(&["y", "a"]), "which goes to operator Sigmoid", "one output");
}

#[test]
fn dropout() {
    let dropout = |inputs: &[&str], attributes: &[Vec<u8>]| {
        let nodes = [
            node("Dropout", inputs, &["z", "mask"], attributes),
            node("Gemm", &["z", "w"], &["y"], &[]),
        ];
        linear().nodes(&nodes).tensor("r", &[], &[0.2]).tensor("one", &[], &[1.0])
    };
    let yes = numbers("yes", &[], 9, &element(5, 1));
    let no = numbers("no", &[], 9, &element(5, 0));
    let with =
        |inputs: &[&str]| dropout(inputs, &[]).initializer(yes.clone()).initializer(no.clone());
    assert_eq!(layers(&dropout(&["x"], &[]))[0], Layer::Dropout(0.5));
    assert_eq!(layers(&dropout(&["x"], &[float("ratio", 0.3)]))[0], Layer::Dropout(0.3));
    assert_eq!(layers(&with(&["x", "r"]))[0], Layer::Dropout(0.2));
    assert_eq!(layers(&with(&["x", "r", "no"]))[0], Layer::Dropout(0.2));
    assert_eq!(layers(&with(&["x", "", "no"]))[0], Layer::Dropout(0.5));
    refused(&with(&["x", "r", "yes"]), "training_mode in operator Dropout", "model.eval()");
    malformed(&with(&["x", "one"]), "no number from 0 to 1");
    malformed(&dropout(&["x"], &[float("ratio", f32::NAN)]), "no number from 0 to 1");
    refused(&with(&["x", "r"]).outputs(&["y", "mask"]), "the output \"mask\"", "one after the");
}

#[test]
fn norms() {
    let norm = |operator: &str, inputs: &[&str], attributes: &[Vec<u8>]| {
        let inputs = [&["x"], inputs].concat();
        let nodes =
            [node(operator, &inputs, &["z"], attributes), node("Gemm", &["z", "w"], &["y"], &[])];
        linear().nodes(&nodes).tensor("v", &[4], &[1.0; 4]).tensor("n", &[3], &[1.0; 3])
    };
    let batch = |attributes: &[Vec<u8>]| norm("BatchNormalization", &["v"; 4], attributes);
    let expected = |kind, statistic: Option<&str>, epsilon| Layer::Norm {
        kind,
        scale: Some("v".to_owned()),
        shift: statistic.map(str::to_owned),
        mean: statistic.map(str::to_owned),
        variance: statistic.map(str::to_owned),
        epsilon,
    };
    assert_eq!(layers(&batch(&[]))[0], expected(Norm::Batch, Some("v"), 1e-5));
    let epsilon = [float("epsilon", 1e-3), float("momentum", 0.9), int("training_mode", 0)];
    assert_eq!(layers(&batch(&epsilon))[0], expected(Norm::Batch, Some("v"), 1e-3));
    let layer = |attributes: &[Vec<u8>]| norm("LayerNormalization", &["v"], attributes);
    assert_eq!(layers(&layer(&[int("axis", 1)]))[0], expected(Norm::Layer, None, 1e-5));
    let rms = |attributes: &[Vec<u8>]| norm("RMSNormalization", &["v"], attributes);
    let small = [int("axis", -1), float("epsilon", 1e-6)];
    assert_eq!(layers(&rms(&small))[0], expected(Norm::Rms, None, 1e-6));
    refused(&rms(&[int("axis", 0)]), "axis 0", "that of the features");
    malformed(&norm("RMSNormalization", &[], &[]), "factors are missing");
    refused(&batch(&[int("training_mode", 1)]), "training_mode", "model.eval()");
    refused(&batch(&[int("spatial", 0)]), "spatial", "model.eval()");
    refused(&layer(&[int("axis", 0)]), "axis 0", "that of the features");
    malformed(&norm("BatchNormalization", &["v"; 3], &[]), "variances are missing");
    malformed(&norm("LayerNormalization", &[], &[]), "factors are missing");
    let short = norm("LayerNormalization", &["n"], &[]);
    refused(&short, "factors of shape [3]", "a tensor of 4 numbers");
    let images = layer(&[]).input(&[None, Some(2), Some(2)]);
    refused(&images, "samples of shape [2, 2] in operator LayerNormalization", "add Flatten");
}
