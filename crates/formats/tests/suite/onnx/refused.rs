//! Graphs that are no chain, lie, or are too much.

use std::fs;

use fireclay_formats::{Problem, from_bytes};
use proptest::prelude::*;

use super::{check_malformed, layers, linear, malformed, refused};
use crate::support::golden;
use crate::support::onnx::{
    Model, attribute, bytes, element, float, int, ints, model, node, numbers, value,
};

#[test]
fn what_is_no_chain() {
    refused(&linear().outputs(&["y", "x"]), "the output \"x\" beside \"y\"", "one output");
    malformed(&linear().outputs(&["z"]), "no operator makes the output \"z\"");
    refused(&linear().outputs(&[]), "a graph without outputs", "one after");
    refused(&model(&[node("Identity", &["x"], &["y"], &[])]), "without layers", "one after");
    let row = Some(&[None, Some(4)][..]);
    refused(&linear().inputs(&[value("x", row), value("z", row)]), "with 2 inputs", "has one");
    refused(&linear().inputs(&[]).nodes(&[]), "a graph with 0 inputs", "has one");
    refused(&linear().input(&[Some(4)]), "the input \"x\" of 1 dimension", "for a batch");
    refused(&linear().input(&[]), "the input \"x\" of 0 dimensions", "for a batch");
    // Old files list their weights among the inputs.
    let listed = linear().inputs(&[value("x", row), value("w", None)]);
    assert_eq!(layers(&listed).len(), 1);
    let two = [node("Gemm", &["x", "w"], &["y"], &[]), node("Gemm", &["x", "w"], &["z"], &[])];
    refused(
        &linear().nodes(&two).outputs(&["y", "z"]),
        "goes to operator Gemm (that makes \"y\") and to",
        "one output",
    );
    let domain = |domain: &str| {
        [node("Gemm", &["x", "w"], &["y"], &[]), bytes(7, domain.as_bytes())].concat()
    };
    assert_eq!(layers(&linear().nodes(&[domain("ai.onnx")])).len(), 1);
    refused(&linear().nodes(&[domain("com.microsoft")]), "com.microsoft.Gemm", "the standard");
    refused(&linear().nodes(&[domain("ai.onnx.ml")]), "ai.onnx.ml.Gemm", "classical");
    // Labels must end the graph.
    let labels = [
        node("Gemm", &["x", "w"], &["z"], &[]),
        node("ArgMax", &["z"], &["l"], &[]),
        node("Relu", &["l"], &["y"], &[]),
    ];
    refused(&linear().nodes(&labels), "labels in operator Relu", "at the end");
    let ends = linear().nodes(&labels[..2]).outputs(&["l"]);
    let archive = from_bytes(&ends.bytes()).unwrap();
    assert!(archive.notes[0].contains("ArgMax"), "{:?}", archive.notes);
}

#[test]
fn graphs_that_the_standard_forbids() {
    let gemm = |input: &str, output: &str| node("Gemm", &[input, "w"], &[output], &[]);
    malformed(&linear().nodes(&[gemm("y", "y")]), "value \"y\" is not made by a node before");
    let circle = [gemm("z", "y"), gemm("y", "z")];
    malformed(&linear().nodes(&circle), "value \"z\" is not made by a node before");
    malformed(&linear().nodes(&[gemm("nowhere", "y")]), "value \"nowhere\" is not made");
    malformed(&linear().nodes(&[gemm("x", "y"), gemm("x", "y")]), "two values have the name \"y\"");
    malformed(&linear().nodes(&[gemm("x", "w")]), "two values have the name \"w\"");
    malformed(&linear().tensor("w", &[1], &[0.0]), "two values have the name \"w\"");
    malformed(&linear().nodes(&[node("Gemm", &["x", "w"], &[], &[])]), "makes the output \"y\"");
    let input = linear().nodes(&[gemm("x", "z"), node("Relu", &["z"], &["x"], &[])]);
    malformed(&input, "two values have the name \"x\"");
}

#[test]
fn what_a_model_may_not_hold() {
    let functions = linear().field(bytes(25, b""));
    refused(&functions, "functions of its own", "onnx.inliner");
    refused(&linear().field(bytes(20, b"")), "training_info", "without them");
    refused(&linear().graph_field(bytes(15, b"")), "sparse initializer", "dense weights");
    refused(&linear().opset(6), "version 6 of the standard operators", "onnx.version_converter");
    malformed(&linear().field(bytes(7, b"")), "two graphs");
    let opset = bytes(8, &element(2, 20));
    check_malformed(from_bytes(&[element(1, 8), bytes(2, b""), opset].concat()), "no graph");
    let graph = bytes(7, &linear().graph());
    check_malformed(from_bytes(&graph), "no version of the standard operators");
    let other = bytes(8, &[bytes(1, b"ai.onnx.ml"), element(2, 3)].concat());
    check_malformed(from_bytes(&[graph, other].concat()), "no version of the standard operators");
    let of_function = attribute("alpha", 1, &[bytes(21, b"a")]);
    let of_function = [node("Gemm", &["x", "w"], &["y"], &[of_function])];
    malformed(&linear().nodes(&of_function), "attribute \"alpha\" is that of a function");
}

#[test]
fn tensors_that_lie() {
    let weights = |tensor: Vec<u8>| linear().initializer(tensor);
    let lies = |shape: &[u64], kind, data: Vec<u8>, what: &str| {
        malformed(&weights(numbers("v", shape, kind, &data)), what);
    };
    lies(&[4], 1, bytes(9, &[0; 15]), "tensor \"v\" of shape [4] and type f32 has 15 bytes");
    lies(&[4], 1, bytes(9, &[0; 12]), "has 12 bytes");
    lies(&[4], 1, vec![], "has no numbers");
    lies(&[4], 1, bytes(4, &[0; 12]), "has 3 numbers in float_data");
    lies(&[4], 1, bytes(4, &[0; 13]), "numbers of 4 bytes is expected");
    lies(&[4], 1, bytes(10, &[0; 32]), "has 4 numbers in double_data");
    lies(&[4], 1, bytes(5, &[0; 4]), "has 4 numbers in int32_data");
    lies(&[4], 7, bytes(11, &[0; 4]), "has 4 numbers in uint64_data");
    lies(&[4], 11, bytes(7, &[0; 4]), "has 4 numbers in int64_data");
    lies(&[u64::MAX], 1, vec![], "a dimension of size -1");
    lies(&[1 << 62, 4], 1, vec![], "of shape [4611686018427387904, 4]");
    lies(&[1 << 62, 4], 8, vec![], "has shape [4611686018427387904, 4]");
    lies(&[1], 10, element(5, 1 << 16), "type f16 has the number 65536");
    lies(&[1], 2, element(5, u64::MAX << 20), "type u8 has the number");
    lies(&[1], 1, [bytes(9, &[0; 4]), bytes(4, &[0; 4])].concat(), "in two places");
    lies(&[2], 1, [bytes(9, &[0; 4]), bytes(9, &[0; 4])].concat(), "in two places");
    let segment = numbers("v", &[1], 1, &bytes(3, b""));
    refused(&weights(segment), "only a segment", "onnx.save");
    let named = bytes(13, &[bytes(1, b"location"), bytes(2, b"w.data")].concat());
    let external = numbers("v", &[1], 1, &[element(14, 1), named].concat());
    let said = "the tensor \"v\" are in the file \"w.data\", beside the model";
    refused(&weights(external), said, "only a model read by its path");
    let unnamed = numbers("v", &[1], 1, &element(14, 1));
    malformed(&weights(unnamed), "tensor \"v\" is in another file without a name");
    let located = numbers("v", &[1], 1, &[element(14, 0), bytes(9, &[0; 4])].concat());
    assert!(from_bytes(&weights(located).bytes()).is_ok());
}

#[track_caller]
fn limited(model: &Model, expected: &str) {
    match from_bytes(&model.bytes()) {
        Err(Problem::Limit { what, .. }) => assert_eq!(what, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_than_is_allowed() {
    let deep = numbers("v", &[1; 9], 1, &bytes(9, &[0; 4]));
    limited(&linear().initializer(deep), "the number of dimensions of a tensor");
    limited(&linear().input(&[Some(1); 9]), "the number of dimensions of a tensor");
    // Messages of two bytes each, which would be a hundred times as large in memory.
    let many = |number, count| [bytes(number, b"")].concat().repeat(count);
    let million = 1_000_000;
    limited(&linear().graph_field(many(1, million)), "the number of nodes");
    limited(&linear().graph_field(many(5, million)), "the number of initializers");
    limited(&linear().graph_field(many(11, million)), "the number of inputs");
    limited(&linear().graph_field(many(12, million)), "the number of outputs");
    for number in [1, 2, 5] {
        let node = bytes(1, &many(number, million));
        limited(&linear().graph_field(node), "the number of names in the graph");
    }
    let name = "n".repeat(5 << 20);
    let long = linear().nodes(&[node("Relu", &["x"], &[&name], &[])]);
    limited(&long, "the size in bytes of the names in the graph");
}

#[test]
fn names_in_messages_are_short_and_of_one_line() {
    let name = "\u{1b}[2J\n".repeat(100_000);
    let long = linear().nodes(&[node("Relu", &["x"], &[&name], &[])]).outputs(&[&name]);
    let named = [node(&name, &["x"], &["y"], &[]), bytes(3, name.as_bytes())].concat();
    let unknown = [named.clone(), bytes(7, name.as_bytes())].concat();
    let attribute = [node("Relu", &["x"], &["y"], &[int(&name, 1)])];
    for model in [
        linear().nodes(&[node("Gemm", &[&name, "w"], &["y"], &[])]),
        linear().nodes(&[named]),
        linear().nodes(&[unknown]),
        linear().nodes(&attribute),
        linear().outputs(&[&name, "y"]),
        linear().tensor(&name, &[2], &[0.0]),
        long.outputs(&["y"]),
    ] {
        let message = from_bytes(&model.bytes()).unwrap_err().to_string();
        assert!(message.len() < 1500, "{}", message.len());
        assert!(!message.contains(['\u{1b}', '\n']), "{message}");
    }
}

#[test]
fn lists_of_lists_do_not_grow() {
    let mut nodes = vec![node("Constant", &[], &["c0"], &[ints("value_ints", &[1])])];
    for level in 0..12 {
        let (from, to) = (format!("c{level}"), format!("c{}", level + 1));
        nodes.push(node("Concat", &[from.as_str(); 8], &[to.as_str()], &[int("axis", 0)]));
    }
    nodes.push(node("Reshape", &["x", "c12"], &["y"], &[]));
    refused(&model(&nodes), "the input \"c12\"", "must be constants");
}

#[test]
fn graphs_in_graphs_are_not_opened() {
    let mut inner = bytes(6, b"");
    for _ in 0..2_000 {
        inner = bytes(1, &bytes(5, &inner));
        inner = bytes(6, &inner);
    }
    let nodes = [node("If", &["x"], &["y"], &[attribute("then_branch", 5, &[inner])])];
    refused(&linear().nodes(&nodes), "operator If", "only dense layers");
}

#[test]
fn long_graphs_take_no_long_time() {
    // Every value goes to the next node, and in the end to the last too.
    let names: Vec<String> = (0..3_000).map(|at| format!("v{at}")).collect();
    let mut nodes = vec![node("Identity", &["x"], &[&names[0]], &[])];
    for pair in names.windows(2) {
        nodes.push(node("Sigmoid", &[&pair[0]], &[&pair[1]], &[]));
    }
    let all: Vec<_> = names.iter().map(String::as_str).collect();
    let long = linear().nodes(&nodes).outputs(&["v2999"]);
    assert_eq!(layers(&long).len(), 2_999);
    nodes.push(node("Sum", &all, &["y"], &[]));
    refused(&linear().nodes(&nodes), "value \"v0\"", "one after the other");
}

#[test]
fn what_is_something_else() {
    for bytes in
        [&b""[..], b"\x08", b"\x08\x07", b"PK", b"text", &[0; 64], b"\x3a\x00", b"\x0a\x01a"]
    {
        let found = from_bytes(bytes);
        assert!(
            matches!(found, Err(Problem::Unknown { .. } | Problem::Foreign { .. })),
            "{bytes:?}: {found:?}"
        );
    }
    // Without the version that every exporter writes first, nothing but the fields tells.
    let bare = &linear().bytes()[2..];
    assert!(from_bytes(bare).is_ok());
}

#[test]
fn cut_off_anywhere() {
    for name in ["tiny", "tiny-17", "tiny-sklearn"] {
        let whole = fs::read(golden(&format!("onnx/{name}.onnx"))).unwrap();
        assert!(from_bytes(&whole).is_ok());
        for end in 0..whole.len() {
            match from_bytes(&whole[..end]) {
                Err(Problem::Malformed { kind: "ONNX", .. }) => {}
                Err(Problem::Unknown { .. } | Problem::Foreign { .. }) if end < 3 => {}
                // Only the version of classical operators is missing.
                Ok(_) if end + 16 >= whole.len() => {}
                other => panic!("{name} {end}: {other:?}"),
            }
        }
    }
}

/// Models that are small, with what is looked at most.
fn seeds() -> Vec<Vec<u8>> {
    let nodes = [
        node("Constant", &[], &["s"], &[ints("value_ints", &[0, -1])]),
        node("Reshape", &["x", "s"], &["f"], &[]),
        node("BatchNormalization", &["f", "v", "v", "v", "v"], &["n"], &[]),
        node("LeakyRelu", &["n"], &["a"], &[float("alpha", 0.2)]),
        node("Gemm", &["a", "w"], &["z"], &[int("transB", 0)]),
        node("Sigmoid", &["z"], &["g"], &[]),
        node("Mul", &["z", "g"], &["h"], &[]),
        node("Softmax", &["h"], &["y"], &[int("axis", -1)]),
    ];
    let rich = linear().nodes(&nodes).tensor("v", &[4], &[1.0; 4]);
    vec![linear().bytes(), rich.input(&[None, Some(2), Some(2)]).bytes()]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = from_bytes(&[b"\x08\x08\x12\0:", &bytes[..]].concat());
        let _ = from_bytes(&bytes);
    }

    #[test]
    fn damaged_bytes_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        for mut bytes in seeds() {
            assert!(from_bytes(&bytes).is_ok());
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = from_bytes(&bytes);
        }
    }
}
