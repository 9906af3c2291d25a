//! What `torch.save` wrote.

use std::fs;

use fireclay_formats::{ElementType, Kind, Problem, from_bytes, read};

use super::{expect_malformed, names, opened, pickle_of, plain, rich, small};
use crate::support::zip::{Entry, archive};
use crate::support::{check_logits, golden, tensor};

#[test]
fn a_state_dictionary_in_both_formats() {
    for file in ["plain.pt", "legacy.pth"] {
        let archive = opened(file);
        assert_eq!(archive.kind, Kind::PyTorch);
        assert_eq!(names(&archive), ["1.weight", "1.bias", "3.weight", "3.bias"]);
        let weight = tensor(&archive, "1.weight");
        assert_eq!((&weight.shape[..], weight.dtype), (&[32, 784][..], ElementType::F32));
        assert!(archive.notes.is_empty(), "{:?}", archive.notes);
        check_logits(&archive, &plain(), "pytorch/plain.logits");
    }
    assert_eq!(opened("plain.pt").tensors, opened("legacy.pth").tensors);
}

#[test]
fn norms_and_counters() {
    let archive = opened("rich.pt");
    assert_eq!(
        names(&archive),
        [
            "1.weight",
            "1.bias",
            "2.weight",
            "2.bias",
            "2.running_mean",
            "2.running_var",
            "2.num_batches_tracked",
            "5.weight",
            "6.weight",
            "6.bias",
            "8.weight",
            "8.bias"
        ]
    );
    let batches = tensor(&archive, "2.num_batches_tracked");
    assert_eq!((&batches.shape[..], batches.dtype), (&[][..], ElementType::I64));
    assert_eq!(batches.to_f64().unwrap(), [469.0]);
    check_logits(&archive, &rich(), "pytorch/rich.logits");
    assert_eq!(archive, opened("protocol5.pt"));
}

#[test]
fn checkpoints() {
    let archive = opened("checkpoint.pt");
    assert_eq!(names(&archive), ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
    assert_eq!(
        archive.notes,
        [
            r#"the tensors are those under "state_dict""#,
            "left out: \"epoch\" (a number), \"arch\" (text), \"best\" (a number), \"optimizer\" (a \
             dictionary), \"scheduler\" (a dictionary), \"rng\" (a tensor), \"device\" (an object), \
             \"dtype\" (a name), \"shape\" (an object), \"seed\" (a large number) and 1 more"
        ]
    );
    check_logits(&archive, &small(), "pytorch/small.logits");
    let legacy = opened("legacy-checkpoint.pth");
    assert_eq!(legacy.tensors, archive.tensors);
    assert_eq!(legacy.notes[0], r#"the tensors are those under "model""#);
    let parameters = opened("parameters.pt");
    assert_eq!(parameters.tensors, archive.tensors);
    assert_eq!(parameters.notes, [r#"the tensors are those under "model_state_dict""#]);
}

#[test]
fn wrappers_are_taken_away() {
    let archive = opened("wrapped.pt");
    assert_eq!(archive.tensors, opened("checkpoint.pt").tensors);
    assert_eq!(
        archive.notes,
        [
            r#"names had "_orig_mod.", of torch.compile, which was taken away"#,
            r#"every name began with "module.", of DataParallel, which was taken away"#
        ]
    );
}

#[test]
fn views_of_storages() {
    let plain = opened("checkpoint.pt");
    for file in ["views.pt", "legacy-views.pth"] {
        let archive = opened(file);
        for expected in &plain.tensors {
            assert_eq!(tensor(&archive, &expected.name), expected, "{file}");
        }
        let numbers =
            |name| (&tensor(&archive, name).shape[..], tensor(&archive, name).to_f64().unwrap());
        assert_eq!(numbers("tied.weight"), numbers("fc2.weight"));
        assert_eq!(numbers("ones"), (&[3, 4][..], vec![1.0; 12]));
        assert_eq!(numbers("empty"), (&[0, 5][..], vec![]));
        assert_eq!(numbers("scalar"), (&[][..], vec![7.5]));
        let cube = (0..24).map(|at| f64::from(at / 6 + at / 3 % 2 * 12 + at % 3 * 4));
        assert_eq!(numbers("cube"), (&[4, 2, 3][..], cube.collect()));
        check_logits(&archive, &small(), "pytorch/small.logits");
    }
}

#[test]
fn sixteen_bits() {
    for (file, dtype, logits) in [
        ("half.pt", ElementType::F16, "pytorch/half.logits"),
        ("bfloat16.pt", ElementType::Bf16, "pytorch/bfloat16.logits"),
    ] {
        let archive = opened(file);
        assert!(archive.tensors.iter().all(|tensor| tensor.dtype == dtype));
        check_logits(&archive, &small(), logits);
    }
}

#[test]
fn every_type_of_numbers() {
    let archive = opened("types.pt");
    assert_eq!(archive, opened("legacy-types.pth"));
    assert_eq!(archive, opened("legacy-protocol4.pth"));
    assert_eq!(archive.tensors.len(), 13);
    for tensor in &archive.tensors {
        let name = match tensor.name.as_str() {
            "bool" => "bool".to_owned(),
            "bfloat16" => "bf16".to_owned(),
            name => name.replace("float", "f").replace("uint", "u").replace("int", "i"),
        };
        assert_eq!(tensor.dtype.name(), name);
        let largest = if tensor.dtype == ElementType::Bool { 1.0 } else { 100.0 };
        assert_eq!(tensor.to_f64().unwrap(), [0.0, 1.0, largest], "{name}");
    }
}

#[test]
fn what_is_more_than_tensors_is_refused_by_its_name() {
    for (file, name) in [
        ("module.pt", r#"refers to "torch.nn.modules.linear.Linear""#),
        ("legacy-module.pth", r#"refers to "__main__.Bare""#),
        ("tensor.pt", "it holds a tensor, not a dictionary of tensors"),
        ("no-tensors.pt", "there is no tensor in a dictionary"),
    ] {
        let error = read(golden("pytorch").join(file)).unwrap_err();
        assert!(matches!(error.problem, Problem::Refused { .. }), "{file}: {error}");
        let message = error.to_string();
        assert!(message.contains(name), "{file}: {message}");
        assert!(message.contains("torch.save(model.state_dict(), path)"), "{file}: {message}");
    }
    for (file, name, instead) in [
        ("script.pt", "it is a program of TorchScript", "torch.jit.load(FILE).state_dict()"),
        ("sparse.pt", r#"the tensor "weight" is sparse"#, "tensor.to_dense()"),
        ("complex.pt", r#"the tensor "weight" has complex numbers"#, "tensor.float()"),
        ("quantised.pt", r#"the tensor "weight" is quantised"#, "tensor.dequantize()"),
    ] {
        let error = read(golden("pytorch").join(file)).unwrap_err();
        assert!(matches!(error.problem, Problem::Refused { .. }), "{file}: {error}");
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(instead), "{file}: {message}");
    }
}

#[test]
fn the_highest_byte_first() {
    let bytes = fs::read(golden("pytorch/plain.pt")).unwrap();
    let expected = from_bytes(&bytes).unwrap();
    let entries = expected.tensors.iter().enumerate().map(|(at, tensor)| {
        let mut bytes = tensor.bytes().unwrap().to_vec();
        bytes.chunks_mut(4).for_each(<[u8]>::reverse);
        Entry::stored(&format!("a/data/{at}"), &bytes)
    });
    let pickle = pickle_of(&bytes);
    let with_order = |order: &[u8]| {
        let head = [Entry::stored("a/data.pkl", &pickle), Entry::stored("a/byteorder", order)];
        archive(&head.into_iter().chain(entries.clone()).collect::<Vec<_>>())
    };
    assert_eq!(from_bytes(&with_order(b"big")).unwrap(), expected);
    assert_ne!(from_bytes(&with_order(b"little")).unwrap(), expected);
    expect_malformed(&with_order(b"middle"), "byteorder");
}
