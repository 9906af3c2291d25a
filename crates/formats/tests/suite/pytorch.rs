//! Contract of the PyTorch reader: what `torch.save` wrote is read, whatever a pickle could do
//! beyond tensors is refused, and no size is believed.

use std::fs;

use crate::support::pickle::{
    NO_GRADIENT, NONE, REBUILD, call, dict, file, floats, global, int, ints, storage, text, tuple,
    view,
};
use crate::support::zip::{Entry, archive};
use crate::support::{check_logits, golden, tensor};
use fireclay_formats::{Activation, from_bytes, read};
use fireclay_formats::{Archive, Dtype, Kind, Layer, Layout, Network, Norm, Problem};
use proptest::prelude::*;

fn opened(name: &str) -> Archive {
    let archive = read(golden("pytorch").join(name)).unwrap();
    assert_eq!(archive.network, None);
    archive
}

fn dense(weight: &str, bias: Option<&str>) -> Layer {
    let bias = bias.map(str::to_owned);
    Layer::Dense { weight: weight.to_owned(), bias, layout: Layout::OutIn }
}

fn activation(name: &str) -> Layer {
    Layer::Activation(Activation { name: name.to_owned(), constants: Default::default() })
}

fn network(layers: Vec<Layer>) -> Network {
    Network { input_shape: None, layers: [vec![Layer::Flatten], layers].concat() }
}

/// 784-32-10 of an `nn.Sequential`.
fn plain() -> Network {
    network(vec![
        dense("1.weight", Some("1.bias")),
        activation("relu"),
        dense("3.weight", Some("3.bias")),
    ])
}

/// 784-8-10 of a class.
fn small() -> Network {
    network(vec![
        dense("fc1.weight", Some("fc1.bias")),
        activation("relu"),
        dense("fc2.weight", Some("fc2.bias")),
    ])
}

fn norm(kind: Norm, of: &str) -> Layer {
    let name = |part: &str| Some(format!("{of}.{part}"));
    let statistic = |part: &str| if kind == Norm::Batch { name(part) } else { None };
    Layer::Norm {
        kind,
        scale: name("weight"),
        shift: name("bias"),
        mean: statistic("running_mean"),
        variance: statistic("running_var"),
        epsilon: 1e-5,
    }
}

fn rich() -> Network {
    network(vec![
        dense("1.weight", Some("1.bias")),
        norm(Norm::Batch, "2"),
        activation("relu"),
        Layer::Dropout(0.1),
        dense("5.weight", None),
        norm(Norm::Layer, "6"),
        activation("gelu"),
        dense("8.weight", Some("8.bias")),
    ])
}

fn names(archive: &Archive) -> Vec<&str> {
    archive.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

#[test]
fn a_state_dictionary_in_both_formats() {
    for file in ["plain.pt", "legacy.pth"] {
        let archive = opened(file);
        assert_eq!(archive.kind, Kind::PyTorch);
        assert_eq!(names(&archive), ["1.weight", "1.bias", "3.weight", "3.bias"]);
        let weight = tensor(&archive, "1.weight");
        assert_eq!((&weight.shape[..], weight.dtype), (&[32, 784][..], Dtype::F32));
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
    assert_eq!((&batches.shape[..], batches.dtype), (&[][..], Dtype::I64));
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
        ("half.pt", Dtype::F16, "pytorch/half.logits"),
        ("bfloat16.pt", Dtype::Bf16, "pytorch/bfloat16.logits"),
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
        let largest = if tensor.dtype == Dtype::Bool { 1.0 } else { 100.0 };
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

/// The pickle in a file of PyTorch's, whose entry is the first and is stored.
fn pickle_of(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.windows(3).position(|at| at == b"\x80\x02c" || at == b"\x80\x02}").unwrap();
    let end = bytes.windows(3).position(|at| at == b".PK").unwrap();
    bytes[start..=end].to_vec()
}

#[track_caller]
fn expect_malformed(bytes: &[u8], message: &str) {
    let found = from_bytes(bytes);
    let Err(Problem::Malformed { what, .. }) = &found else { panic!("{found:?}") };
    assert!(what.contains(message), "{what}");
}

#[track_caller]
fn expect_refused(bytes: &[u8], message: &str) {
    let found = from_bytes(bytes);
    let Err(Problem::Refused { what, .. }) = &found else { panic!("{found:?}") };
    assert!(what.contains(message), "{what}");
}

#[track_caller]
fn expect_limit(bytes: &[u8], message: &str) {
    let found = from_bytes(bytes);
    let Err(Problem::Limit { what, .. }) = &found else { panic!("{found:?}") };
    assert!(what.contains(message), "{what}");
}

#[test]
fn crafted_views() {
    let bytes: Vec<u8> = (0..6).flat_map(|at| f32::to_le_bytes(at as f32)).collect();
    for (view, expected) in [
        (view(6, 0, &[2, 3], &[3, 1]), vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (view(6, 0, &[3, 2], &[1, 3]), vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]),
        (view(6, 1, &[2], &[4]), vec![1.0, 5.0]),
        (view(6, 5, &[1, 1], &[i64::MAX, i64::MAX]), vec![5.0]),
        (view(6, 2, &[2, 2], &[0, 1]), vec![2.0, 3.0, 2.0, 3.0]),
        (view(6, 4, &[], &[]), vec![4.0]),
        (view(6, 99, &[7, 0], &[1, 1]), vec![]),
    ] {
        let archive = from_bytes(&file(&dict(&[("w", view)]), &bytes)).unwrap();
        assert_eq!(archive.tensors[0].to_f64().unwrap(), expected);
    }
}

#[test]
fn views_beyond_their_storage() {
    for (numbers, offset, shape, strides) in [
        (5, 0, &[6][..], &[1][..]),
        (5, 1, &[5], &[1]),
        (5, 0, &[2, 3], &[3, 1]),
        (5, 0, &[3], &[3]),
        (5, i64::MAX, &[1], &[1]),
        (5, 0, &[2], &[i64::MAX]),
        (5, 0, &[2, 2], &[i64::MAX, i64::MAX]),
        (5, 0, &[i64::MAX, i64::MAX], &[0, 0]),
        (5, 0, &[1 << 32, 1 << 32], &[0, 0]),
        (5, 0, &[i64::MAX, 0], &[1, 1]),
        (0, 0, &[], &[]),
        (i64::MAX, 0, &[1], &[1]),
    ] {
        let bytes = file(&dict(&[("w", view(numbers, offset, shape, strides))]), &[0; 20]);
        let found = from_bytes(&bytes);
        assert!(matches!(found, Err(Problem::Malformed { .. })), "{found:?}");
    }
    // As many as the archive should have, but does not.
    let bytes = file(&dict(&[("w", view(6, 0, &[1], &[1]))]), &[0; 20]);
    expect_malformed(&bytes, "has 20 bytes, not 24");
}

#[test]
fn views_that_are_none() {
    let place = |storage: Vec<u8>| vec![storage, int(0), ints(&[1]), ints(&[1])];
    let two = [NO_GRADIENT.to_vec(), NONE.to_vec()];
    let of = |storage: Vec<u8>| call(REBUILD, &[place(storage), two.to_vec()].concat());
    let name = |items: &[Vec<u8>]| of([tuple(items), b"Q".to_vec()].concat());
    let class = || global("torch.FloatStorage");
    for tensor in [
        view(5, -1, &[1], &[1]),
        view(5, 0, &[-1], &[1]),
        view(5, 0, &[2], &[-1]),
        view(-1, 0, &[1], &[1]),
        view(5, 0, &[1, 1], &[1]),
        call(REBUILD, &[]),
        call(REBUILD, &place(floats(5))[..3]),
        call(REBUILD, &[place(floats(5)), vec![NONE.to_vec()]].concat()),
        call("torch._utils._rebuild_parameter", &[]),
        call("torch._utils._rebuild_parameter", &[int(1)]),
        call("torch._utils._rebuild_tensor_v3", &[place(floats(5)), two.to_vec()].concat()),
        call(
            "torch._utils._rebuild_tensor_v3",
            &[place(floats(5)), two.to_vec(), vec![int(1)]].concat(),
        ),
        of(int(1)),
        of(class()),
        of([int(1), b"Q".to_vec()].concat()),
        name(&[]),
        name(&[text("module"), class(), text("0"), text("cpu"), int(5)]),
        name(&[text("storage"), text("torch"), text("0"), text("cpu"), int(5)]),
        name(&[text("storage"), class(), int(0), text("cpu"), int(5)]),
        name(&[text("storage"), class(), text("0"), text("cpu"), text("5")]),
        name(&[text("storage"), class(), text("0"), text("cpu"), int(5), ints(&[0, 1])]),
        name(&[text("storage"), global("torch.UntypedStorage"), text("0"), text("cpu"), int(5)]),
    ] {
        let bytes = file(&dict(&[("w", tensor)]), &[0; 20]);
        expect_malformed(&bytes, r#"the tensor "w" is not made of a storage"#);
    }
    // The oldest function, and an explicit lack of marks.
    for (function, rest) in [
        ("torch._utils._rebuild_tensor", vec![]),
        (REBUILD, [&two[..], &[dict(&[])]].concat()),
        (REBUILD, [&two[..], &[NONE.to_vec()]].concat()),
    ] {
        let tensor = call(function, &[place(floats(5)), rest].concat());
        assert!(from_bytes(&file(&dict(&[("w", tensor)]), &[0; 20])).is_ok());
    }
}

#[test]
fn a_storage_that_is_missing() {
    let pickle = [b"\x80\x02", &dict(&[("w", view(1, 0, &[1], &[1]))])[..], b"."].concat();
    let bytes = archive(&[Entry::stored("a/data.pkl", &pickle)]);
    expect_malformed(&bytes, r#"the entry "a/data/0" of the zip archive is missing"#);
}

#[test]
fn more_numbers_than_the_file_pays_for() {
    let ones = |shape: &[i64]| view(1, 0, shape, &vec![0; shape.len()]);
    let bytes = file(&dict(&[("w", ones(&[1 << 22]))]), &[0; 4]);
    assert_eq!(from_bytes(&bytes).unwrap().tensors[0].bytes().unwrap().len(), 16 << 20);
    expect_limit(&file(&dict(&[("w", ones(&[(1 << 22) + 1]))]), &[0; 4]), "of all tensors");
    let half = || ones(&[1 << 21]);
    let three = dict(&[("a", half()), ("b", half()), ("c", half())]);
    expect_limit(&file(&three, &[0; 4]), "of all tensors");
    expect_limit(&file(&dict(&[("w", ones(&[1; 9]))]), &[0; 4]), "dimensions");
    expect_limit(&file(&dict(&[("w", ones(&[1 << 15; 4]))]), &[0; 4]), "of all tensors");
    expect_malformed(&file(&dict(&[("w", ones(&[1 << 16; 4]))]), &[0; 4]), "reaches beyond");
}

#[test]
fn names_of_tensors() {
    let one = || view(1, 0, &[1], &[1]);
    let read = |items: &[(&str, Vec<u8>)]| from_bytes(&file(&dict(items), &[0; 4]));
    let found = |items: &[(&str, Vec<u8>)]| {
        let archive = read(items).unwrap();
        archive.tensors.into_iter().map(|tensor| tensor.name).collect::<Vec<_>>()
    };
    // Only if all have it, and something is left of each.
    assert_eq!(found(&[("module.a", one()), ("b", one())]), ["module.a", "b"]);
    assert_eq!(found(&[("module.a", one()), ("module.b", one())]), ["a", "b"]);
    assert_eq!(found(&[("module.", one())]), ["module."]);
    // A name that says nothing else is not a place.
    assert_eq!(found(&[("model", one())]), ["model"]);
    assert_eq!(found(&[("model", dict(&[])), ("a", one())]), ["a"]);
    let twice = file(&dict(&[("a", one()), ("a", one())]), &[0; 4]);
    expect_malformed(&twice, r#"two tensors are called "a""#);
    let numbered = [b"}", &int(1)[..], &one(), b"s"].concat();
    let archive = from_bytes(&file(&numbered, &[0; 4])).unwrap();
    assert_eq!(names(&archive), ["1"]);
    let many: Vec<_> = (0..10_001).map(|at| at.to_string()).collect();
    let items: Vec<_> = many.iter().map(|name| [text(name), b"h\0".to_vec()].concat()).collect();
    let pickle = [b"}", &text("first")[..], &one(), b"q\0s(", &items.concat(), b"u"].concat();
    expect_limit(&file(&pickle, &[0; 4]), "the number of tensors");
}

/// The dictionary of a real state has an attribute, which does not matter.
#[test]
fn attributes_of_a_dictionary() {
    let one = view(1, 0, &[1], &[1]);
    let ordered = [global("collections.OrderedDict"), b")R".to_vec()].concat();
    let pickle = [&ordered[..], &text("w"), &one, b"s}b"].concat();
    assert_eq!(from_bytes(&file(&pickle, &[0; 4])).unwrap().tensors.len(), 1);
}

#[test]
fn names_that_execute_something() {
    for name in [
        "os.system",
        "posix.system",
        "nt.system",
        "subprocess.Popen",
        "builtins.eval",
        "builtins.exec",
        "builtins.getattr",
        "__builtin__.eval",
        "webbrowser.open",
        "operator.attrgetter",
        "functools.partial",
        "numpy.load",
        "numpy.memmap",
        "numpy._core.multiarray.fromfile",
        "copy_reg._reconstructor",
        "_codecs.lookup",
        "pathlib.os",
        "types.FunctionType",
        "collections.namedtuple",
        "torch.load",
        "torch.hub.load",
        "torch.storage._load_from_bytes",
        "torch._utils._import_dotted_name",
        "torch.nn.parameter.UninitializedParameter",
        "torch.serialization.load",
        "torch.jit._script.RecursiveScriptModule",
        "torch.QInt3Storage",
        "torch.uint",
        "torch.",
        "__main__.Net",
    ] {
        let refers = format!("its pickle refers to {name:?}");
        expect_refused(&file(&call(name, &[text("id")]), b""), &refers);
        // By the other instruction for names, and where nothing is done with it.
        let (module, last) = name.rsplit_once('.').unwrap();
        expect_refused(&file(&[&text(module)[..], &text(last), b"\x93"].concat(), b""), &refers);
        let unused = dict(&[("w", view(1, 0, &[1], &[1])), ("x", global(name))]);
        expect_refused(&file(&unused, &[0; 4]), &refers);
    }
}

#[test]
fn calls_of_what_is_no_function_of_tensors() {
    for (callee, what) in [
        (global("torch.FloatStorage"), "calls a name"),
        (global("torch.float32"), "calls a name"),
        (text("os.system"), "calls text"),
        (int(1), "calls a number"),
        (dict(&[]), "calls a dictionary"),
        (call("torch.device", &[]), "calls an object"),
        (global("builtins.type"), "calls a name"),
        (global("torch.Tensor"), "calls a name"),
    ] {
        expect_refused(&file(&[&callee[..], b")R"].concat(), b""), what);
    }
    let ordered = global("collections.OrderedDict");
    for (given, message) in [(int(1), "of what are no pairs"), (ints(&[1]), "of what are no pairs")]
    {
        let filled = [&ordered[..], &tuple(&[given]), b"R"].concat();
        expect_malformed(&file(&filled, b""), message);
    }
    expect_malformed(&file(&[&ordered[..], b"]R"].concat(), b""), "without a tuple");
    for (target, what) in [
        (view(1, 0, &[1], &[1]), "sets the state of a tensor"),
        (global("torch.FloatStorage"), "sets the state of a name"),
        (b"]".to_vec(), "sets the state of a list"),
    ] {
        expect_refused(&file(&[&target[..], b"}b"].concat(), b""), what);
    }
}

#[test]
fn instructions_that_build_no_plain_data() {
    // Objects, extensions, text of protocol 0, the pickler's own stack, buffers elsewhere, and
    // bytes that no pickle has.
    let others = [0x92, 0x82, 0x83, 0x84, 0x97, 0x98, 0x00, 0xff, 0x99, b'\n'];
    for instruction in others.into_iter().chain(*b"ioPpgIFSVLld012") {
        let what = format!("has the instruction {instruction:#04x} at byte 3");
        expect_refused(&file(&[b"}", &[instruction][..]].concat(), b""), &what);
    }
}

#[test]
fn pickles_that_are_not_well_formed() {
    for (pickle, message) in [
        (&b""[..], "takes a value that is not there"),
        (b"}}", "ends in the middle of a collection"),
        (b"}(N", "ends in the middle of a collection"),
        (b"(", "takes a value that is not there"),
        (b"t", "ends a collection that was not begun"),
        (b"e", "ends a collection that was not begun"),
        (b"u", "ends a collection that was not begun"),
        (b"\x85", "takes a value that is not there"),
        (b"N(\x86", "takes a value that is not there"),
        (b"NN\x87", "takes a value that is not there"),
        (b"R", "takes a value that is not there"),
        (b"b", "takes a value that is not there"),
        (b"Q", "takes a value that is not there"),
        (b"q\0", "takes a value that is not there"),
        (b"\x94", "takes a value that is not there"),
        (b"\x93", "takes a value that is not there"),
        (b"NN\x93", "has a name that is not text"),
        (b"NNa", "appends to nothing"),
        (b"N(Ne", "appends to nothing"),
        (b"NNNs", "sets an item of nothing"),
        (b"](NNu", "sets an item of a list"),
        (b"}(Nu", "has a key without a value"),
        (b"N(\x90", "adds to nothing"),
        (b"h\0", "uses value 0, which it has not"),
        (b"Nq\x02h\x01", "uses value 1, which it has not"),
        (b"j\xff\xff\xff\xff", "uses value 4294967295, which it has not"),
        (b"\x80\x01", "is of protocol 1"),
        (b"\x80\x06", "is of protocol 6"),
        (b"\x95\xff\0\0\0\0\0\0\0", "has a frame of 255 bytes"),
        (b"X\x01\0\0\0\xff", "has text that is not UTF-8"),
        (b"c\xff\n\n", "has a name that is not UTF-8"),
        (b"}.}", "bytes follow its end"),
    ] {
        expect_malformed(&file(pickle, b""), message);
    }
    let endless = [&b"c"[..], &[b'a'; 300], b"\nb\n"].concat();
    expect_malformed(&file(&endless, b""), "has a name without an end");
}

#[test]
fn lengths_that_lie() {
    let most = [0xff; 8];
    for (instruction, width) in [
        (b'X', 4),
        (0x8c, 1),
        (0x8d, 8),
        (b'U', 1),
        (b'T', 4),
        (b'C', 1),
        (b'B', 4),
        (0x8e, 8),
        (0x96, 8),
        (0x8a, 1),
        (0x8b, 4),
    ] {
        let pickle = [&[instruction][..], &most[..width], b"abc"].concat();
        expect_malformed(&file(&pickle, b""), "bytes are expected at byte");
    }
    for instruction in *b"JMGrjc" {
        expect_malformed(&file(&[instruction], b""), "expected at byte");
    }
}

#[test]
fn bombs_of_pickles() {
    // A tuple of the tuple before, twice; as text it would be 2^1000 long.
    let mut laughs = b")q\0".to_vec();
    (0..1000).for_each(|_| laughs.extend(b"h\0\x86q\0"));
    expect_refused(&file(&laughs, b""), "there is no tensor in a tuple");
    // Lists in lists, and one in itself.
    let nested = [vec![b']'; 100_000], vec![b'a'; 99_999]].concat();
    expect_refused(&file(&nested, b""), "there is no tensor in a list");
    expect_refused(&file(b"]q\0h\0a", b""), "there is no tensor in a list");
    let itself = [b"}q\0", &text("state_dict")[..], b"h\0s"].concat();
    expect_refused(&file(&itself, b""), "there is no tensor in a dictionary");
    expect_limit(&file(&vec![b'('; 257], b""), "collections in each other");
    expect_limit(&file(&vec![b')'; 250_001], b""), "values of a pickle");
    let recalls = [b"Nq\0".to_vec(), b"h\0".repeat(2_000_000)].concat();
    expect_limit(&file(&recalls, b""), "instructions of a pickle");
    expect_limit(&file(b"Nr\xff\xff\xff\xff", b""), "remembers");
    expect_limit(&file(b"Nr\x90\xd0\x03\0", b""), "remembers");
}

/// A parameter of a parameter, and so on, is followed by one step.
#[test]
fn a_parameter_of_a_parameter() {
    let parameter = |of: Vec<u8>| call("torch._utils._rebuild_parameter", &[of]);
    let tensor = parameter(view(1, 0, &[1], &[1]));
    assert!(from_bytes(&file(&dict(&[("w", tensor.clone())]), &[0; 4])).is_ok());
    let bytes = file(&dict(&[("w", parameter(tensor))]), &[0; 4]);
    expect_malformed(&bytes, "is not made of a storage");
}

#[test]
fn other_pickles_and_archives() {
    let other = from_bytes(b"\x80\x04\x95\x05\0\0\0\0\0\0\0}\x94.").unwrap_err();
    assert!(other.to_string().starts_with("this is a Python pickle"), "{other}");
    let two = [Entry::stored("a/data.pkl", b"\x80\x02}."), Entry::stored("b/data.pkl", b"")];
    expect_malformed(&archive(&two), "has no data.pkl, or several");
    let program = [Entry::stored("a/data.pkl", b""), Entry::stored("a/constants.pkl", b"")];
    expect_refused(&archive(&program), "a program of TorchScript");
    let other = [Entry::stored("mydata.pkl", b"")];
    assert!(matches!(from_bytes(&archive(&other)), Err(Problem::Foreign { .. })));
}

const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// A legacy file of this object, these names of storages, and what follows.
fn legacy(object: &[u8], keys: &[u8], rest: &[u8]) -> Vec<u8> {
    let version = b"\x80\x02M\xe9\x03.";
    let pickles = [&b"\x80\x02}."[..], b"\x80\x02", object, b".\x80\x02", keys, b"."];
    [MAGIC, version, &pickles.concat(), rest].concat()
}

#[test]
fn legacy_files_that_are_not_well_formed() {
    let object = dict(&[("w", view(1, 0, &[1], &[1]))]);
    let keys = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| text(name)).collect();
        [b"](", &names.concat()[..], b"e"].concat()
    };
    let one = [&1_u64.to_le_bytes()[..], &1_f32.to_le_bytes()].concat();
    let whole = legacy(&object, &keys(&["0"]), &one);
    assert_eq!(from_bytes(&whole).unwrap().tensors[0].to_f64().unwrap(), [1.0]);
    for end in 2..whole.len() {
        let found = from_bytes(&whole[..end]);
        if end < MAGIC.len() {
            assert!(matches!(found, Err(Problem::Foreign { .. })), "{end}: {found:?}");
        } else {
            assert!(matches!(found, Err(Problem::Malformed { .. })), "{end}: {found:?}");
        }
    }
    expect_malformed(&[&whole[..], b"x"].concat(), "1 bytes follow its end");
    expect_malformed(&[MAGIC, b"\x80\x02K\x01."].concat(), "its version is not 1001");
    expect_malformed(&[MAGIC, b"\x80\x02}."].concat(), "its version is not 1001");
    expect_malformed(&legacy(&object, b"}", b""), "are not a list");
    expect_malformed(&legacy(&object, &keys(&["1"]), &one), "no tensor refers to");
    expect_malformed(&legacy(&object, b"]K\0a", &one), "no tensor refers to");
    let twice = legacy(&object, &keys(&["0", "0"]), &one.repeat(2));
    expect_malformed(&twice, r#"the storage "0" is there twice"#);
    expect_malformed(&legacy(&object, b"]", b""), r#"the storage "0" is missing"#);
    let empty = legacy(&object, &keys(&["0"]), &[0; 8]);
    expect_malformed(&empty, "has 0 bytes, not 4");
    for count in [2, 1 << 40, u64::MAX] {
        let lie = [&count.to_le_bytes()[..], &[0; 4]].concat();
        expect_malformed(&legacy(&object, &keys(&["0"]), &lie), "bytes are expected at byte");
    }
    let two = dict(&[("w", view(1, 0, &[1], &[1])), ("x", storage("torch.LongStorage", 1))]);
    expect_malformed(&legacy(&two, &keys(&["0"]), &one), "is of two types");
    let module = [tuple(&[text("module"), int(1), int(1), int(1)]), b"Q".to_vec()].concat();
    expect_malformed(&legacy(&module, &keys(&[]), b""), "something that is no storage");
}

#[test]
fn cut_off_anywhere() {
    for name in ["types.pt", "no-tensors.pt"] {
        let whole = fs::read(golden("pytorch").join(name)).unwrap();
        for end in 0..whole.len() {
            assert!(from_bytes(&whole[..end]).is_err(), "{name} {end}");
        }
    }
    let whole = fs::read(golden("pytorch/legacy-checkpoint.pth")).unwrap();
    for end in (0..whole.len()).step_by(31) {
        assert!(from_bytes(&whole[..end]).is_err(), "{end}");
    }
}

/// Instructions that do something more often than random bytes would.
fn almost_pickles() -> impl Strategy<Value = Vec<u8>> {
    let one = view(1, 0, &[1], &[1]);
    let piece = prop_oneof![
        Just(one),
        Just(dict(&[])),
        Just(text("w")),
        Just(floats(1)),
        Just(ints(&[1])),
        Just(global(REBUILD)),
        Just(b"q\0".to_vec()),
        Just(b"h\0".to_vec()),
        prop::sample::select(b"()]}tesuRQbN\x85\x86\x87\x90\x94.".to_vec()).prop_map(|at| vec![at]),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_pickles_never_panic(pickle in almost_pickles(), rest in any::<[u8; 16]>()) {
        let _ = from_bytes(&file(&pickle, &rest[..4]));
        let _ = from_bytes(&legacy(&pickle, b"]X\x01\0\0\x000a", &rest));
    }

    #[test]
    fn one_damaged_byte_never_panics(at in any::<prop::sample::Index>(), bits in 1_u8..) {
        for name in ["types.pt", "legacy-module.pth", "legacy-views.pth"] {
            let mut bytes = fs::read(golden("pytorch").join(name)).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            let _ = from_bytes(&bytes);
        }
    }

    #[test]
    fn any_view_is_within_its_storage_or_refused(
        offset in -1_i64..5,
        dimensions in prop::collection::vec((-1_i64..5, -1_i64..5), 0..4),
    ) {
        let (shape, strides): (Vec<_>, Vec<_>) = dimensions.into_iter().unzip();
        let bytes: Vec<u8> = (0..6).flat_map(|at| f32::to_le_bytes(at as f32)).collect();
        let pickle = dict(&[("w", view(6, offset, &shape, &strides))]);
        let found = from_bytes(&file(&pickle, &bytes)).ok().map(|found| found.tensors[0].to_f64().unwrap());
        prop_assert_eq!(found, expected_view(offset, &shape, &strides));
    }
}

/// The numbers of a view of the storage 0, 1, .. 5 by the definition of strides.
fn expected_view(offset: i64, shape: &[i64], strides: &[i64]) -> Option<Vec<f64>> {
    let negative = |numbers: &[i64]| numbers.iter().any(|&number| number < 0);
    if offset < 0 || negative(shape) || negative(strides) {
        return None;
    }
    let numbers: Vec<_> = (0..shape.iter().product::<i64>())
        .map(|mut flat| {
            let mut at = offset;
            for (size, stride) in shape.iter().zip(strides).rev() {
                at += flat % size * stride;
                flat /= size;
            }
            at
        })
        .collect();
    let within = numbers.iter().all(|&at| at < 6);
    within.then(|| numbers.into_iter().map(|at| at as f64).collect())
}
