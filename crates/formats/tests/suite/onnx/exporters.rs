//! What real exporters wrote.

use std::fs;

use fireclay_formats::{ElementType, Layer, Layout, Network, Norm, from_bytes};

use super::{check, check_refused, dense, function, functions};
use crate::support::{golden, tensor};

#[test]
fn two_layers_by_both_exporters_of_pytorch() {
    for name in ["plain", "plain-script"] {
        let (archive, network) = check(name, "plain");
        let layers = vec![
            Layer::Flatten,
            dense("1.weight", Some("1.bias"), Layout::OutIn),
            function("relu"),
            dense("3.weight", Some("3.bias"), Layout::OutIn),
        ];
        assert_eq!(network, Network { input_shape: Some(vec![1, 28, 28]), layers }, "{name}");
        assert_eq!(archive.tensors.len(), 4);
        let weight = tensor(&archive, "1.weight");
        assert_eq!((&weight.shape[..], weight.dtype), (&[32, 784][..], ElementType::F32));
        assert_eq!(archive.notes, [""; 0]);
    }
}

#[test]
fn norms_dropout_and_functions() {
    let norm = |kind, name: &str| {
        let part = |part: &str| Some(format!("{name}.{part}"));
        let statistic = |name| if kind == Norm::Batch { part(name) } else { None };
        Layer::Norm {
            kind,
            scale: part("weight"),
            shift: part("bias"),
            mean: statistic("running_mean"),
            variance: statistic("running_var"),
            epsilon: 1e-5,
        }
    };
    // Version 17 of the operators has no Gelu: it is five others there.
    for (name, weight) in [("rich", "onnx::MatMul_23"), ("rich-17", "onnx::MatMul_30")] {
        let (_, network) = check(name, "rich");
        let layers = [
            Layer::Flatten,
            dense("1.weight", Some("1.bias"), Layout::OutIn),
            norm(Norm::Batch, "2"),
            function("gelu"),
            dense(weight, None, Layout::InOut),
            norm(Norm::Layer, "6"),
            function("silu"),
            dense("8.weight", Some("8.bias"), Layout::OutIn),
        ];
        assert_eq!(network.layers, layers, "{name}");
    }
    let (_, network) = check("rich-dynamo", "rich");
    assert_eq!(network.layers.len(), 7);
}

#[test]
fn shapes_and_numbers_that_are_computed() {
    for name in ["view", "view-fixed"] {
        let (_, network) = check(name, "view");
        let [Layer::Rescale { scale, offset }, Layer::Flatten, _, last] = &network.layers[..]
        else {
            panic!("{network:?}")
        };
        assert!((scale - 1.0 / 0.3081).abs() < 1e-6 && (offset + 0.1307 / 0.3081).abs() < 1e-6);
        assert_eq!(*last, function("log-softmax"));
    }
}

#[test]
fn every_activation() {
    let all = vec![
        ("relu", vec![]),
        ("leaky-relu", vec![("slope", 0.2)]),
        ("relu6", vec![]),
        ("elu", vec![("alpha", 0.5)]),
        ("selu", vec![]),
        ("gelu", vec![]),
        ("gelu-tanh", vec![]),
        ("silu", vec![]),
        ("mish", vec![]),
        ("sigmoid", vec![]),
        ("tanh", vec![]),
        ("softplus", vec![]),
        ("softsign", vec![]),
        ("hard-sigmoid", vec![]),
        ("hard-swish", vec![]),
        ("hard-tanh", vec![]),
        ("hard-tanh", vec![("max", 3.0), ("min", -2.0)]),
    ];
    for name in ["activations", "activations-12"] {
        let (_, network) = check(name, "activations");
        assert_eq!(functions(&network), all, "{name}");
    }
}

#[test]
fn keras() {
    let (archive, network) = check("keras", "keras");
    let first = [Layer::Rescale { scale: 2.0, offset: -1.0 }, Layer::Flatten];
    assert_eq!(network.layers[..2], first);
    assert_eq!(network.input_shape.as_deref(), Some(&[28, 28][..]));
    assert_eq!((network.layers.len(), archive.tensors.len()), (5, 4));
    let (_, network) = check("keras-activations", "keras-activations");
    let names = "relu leaky-relu relu6 elu selu silu mish sigmoid tanh softplus softsign \
                 hard-sigmoid hard-swish hard-tanh";
    let found: Vec<_> = functions(&network).into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, names.split_whitespace().collect::<Vec<_>>());
    let (_, network) = check("keras-gelu", "keras-gelu");
    assert_eq!(functions(&network), [("gelu", vec![])]);
}

#[test]
fn scikit_learn() {
    for (name, labels) in [("sklearn", 4), ("sklearn-zipmap", 6), ("sklearn-double", 4)] {
        let (archive, network) = check(name, "sklearn");
        let layers = [
            dense("coefficient", Some("intercepts"), Layout::InOut),
            function("relu"),
            dense("coefficient1", Some("intercepts1"), Layout::InOut),
            function("softmax"),
        ];
        assert_eq!(network.layers, layers, "{name}");
        assert_eq!(tensor(&archive, "intercepts").shape, [16]);
        let note = format!(
            "left out: {labels} operators that make labels of the outputs, from operator ArgMax \
             (node \"ArgMax\") on"
        );
        assert_eq!(archive.notes, [note]);
    }
    // Of two classes the network gives one probability, which others are made of.
    let (archive, network) = check("sklearn-binary", "sklearn-binary");
    assert_eq!(network.layers.last(), Some(&function("sigmoid")));
    assert!(archive.notes[0].contains("from operator Sub"), "{:?}", archive.notes);
}

#[test]
fn files_of_real_programs_that_are_refused() {
    for (name, what, why) in [
        ("conv", "operator Conv (node \"node_conv2d\")", "only dense layers"),
        ("training", "training_mode in operator Dropout", "model.eval()"),
        ("external", "tensor \"1.weight\" are in the file", "only a model read by its path"),
        ("quantised", "operator DynamicQuantizeLinear", "before quantisation"),
    ] {
        let file = fs::read(golden(&format!("onnx/{name}.onnx"))).unwrap();
        check_refused(from_bytes(&file), what, why);
    }
}
