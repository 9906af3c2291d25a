//! Pickles made by hand.

use fireclay_formats::{Problem, from_bytes};

use super::{expect_limit, expect_malformed, expect_refused, names};
use crate::support::pickle::{
    NO_GRADIENT, NONE, REBUILD, call, dict, file, floats, global, int, ints, text, tuple, view,
};
use crate::support::zip::{Entry, archive};

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
        (b"}.}", "its end is followed by"),
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
