//! Contract of choosing in a checkpoint of PyTorch: one network is found under any key, of several
//! one has to be named, and what is saved beside weights keeps nobody from them.

use crate::support;
use crate::support::golden;
use crate::support::pickle::{
    NO_GRADIENT, NONE, REBUILD, call, dict, file, floats, global, int, ints, text, tuple, view,
};
use fireclay_formats::{Archive, Problem, from_bytes, from_bytes_at, read};

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(golden("pytorch").join(name)).unwrap()
}

fn at(name: &str, key: &str) -> Archive {
    from_bytes_at(&bytes(name), Some(key)).unwrap_or_else(|problem| panic!("{name}: {problem}"))
}

fn names(archive: &Archive) -> Vec<&str> {
    archive.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

const NAMES: [&str; 4] = ["0.weight", "0.bias", "2.weight", "2.bias"];

/// The network that is in all of these files.
fn expected() -> Archive {
    read(golden("pytorch/key-net.pt")).unwrap()
}

#[test]
fn one_network_under_any_key() {
    assert_eq!(names(&expected()), NAMES);
    for (file, notes) in [
        (
            "key-net.pt",
            &[
                r#"the tensors are those under "net""#,
                r#"left out: "acc" (a number), "epoch" (a number)"#,
            ][..],
        ),
        (
            "key-nested.pt",
            &[
                r#"the tensors are those under "state.model""#,
                r#"left out: "step" (a number)"#,
                r#"left out: "opt" (a dictionary)"#,
            ],
        ),
        ("key-pair.pt", &[r#"the tensors are those under "0""#]),
        (
            "key-list.pt",
            &[r#"the tensors are those under "nets.0""#, r#"left out: "optimizers" (a list)"#],
        ),
        // The same dictionary twice is one network.
        ("key-same.pt", &[r#"the tensors are those under "model""#]),
        (
            "sharded.pt",
            &[
                r#"names had "_fsdp_wrapped_module.", of FullyShardedDataParallel, which was taken away"#,
            ],
        ),
        (
            "average.pt",
            &[
                r#"left out: "n_averaged", the counter of an AveragedModel"#,
                r#"every name began with "module.", of DataParallel, which was taken away"#,
            ],
        ),
    ] {
        let archive = read(golden("pytorch").join(file)).unwrap();
        assert_eq!(archive.tensors, expected().tensors, "{file}");
        assert_eq!(archive.notes, notes, "{file}");
    }
    let lightning = read(golden("pytorch/key-lightning.pt")).unwrap();
    assert_eq!(lightning.notes[0], r#"the tensors are those under "state_dict""#);
    assert_eq!(names(&lightning)[0], "model.0.weight");
    assert_eq!(at("key-lightning.pt", "model").tensors, expected().tensors);
}

#[test]
fn of_several_networks_one_is_chosen() {
    let problem = from_bytes(&bytes("several.pt")).unwrap_err();
    let Problem::Several { found, .. } = &problem else { panic!("{problem}") };
    assert_eq!(found.iter().map(|each| each.key.as_str()).collect::<Vec<_>>(), ["model", "ema"]);
    assert_eq!(
        problem.to_string(),
        "it holds several networks, or one in several parts: \"model\" (4 tensors, the first matrix \
         [4, 5]), \"ema\" (4 tensors, the first matrix [4, 5]); choose one with --key NAME, or take \
         all as one network with --key ."
    );
    let (model, ema) = (at("several.pt", "model"), at("several.pt", "ema"));
    assert_eq!(model.tensors, expected().tensors);
    assert_eq!(names(&ema), NAMES);
    assert_ne!(ema.tensors, model.tensors);
    assert_eq!(model.notes, [r#"the tensors are those under "model""#]);
    // The last key alone, and keys that are chosen where there is no choice.
    assert_eq!(at("key-nested.pt", "model").tensors, model.tensors);
    assert_eq!(at("key-nested.pt", "state.model").tensors, model.tensors);
    assert_eq!(at("key-nested.pt", "state").tensors[0].name, "model.0.weight");
    assert_eq!(at("key-list.pt", "nets.0").tensors, model.tensors);
    // Parts of one network, all together.
    assert!(matches!(from_bytes(&bytes("parts.pt")), Err(Problem::Several { .. })));
    let whole = at("parts.pt", ".");
    assert_eq!(names(&whole), ["first.weight", "first.bias", "second.weight", "second.bias"]);
    // Parts by their names alone.
    assert_eq!(at("flat-parts.pt", "actor").tensors, model.tensors);
    assert_eq!(at("flat-parts.pt", "critic").tensors, ema.tensors);
    assert_eq!(at("flat-parts.pt", ".").tensors.len(), 8);
}

#[test]
fn a_key_that_nothing_has() {
    for (file, key, said) in [
        ("several.pt", "optimizer", r#"called "optimizer"; there are "model", "ema""#),
        ("several.pt", "mod", r#"called "mod"; there are "model", "ema""#),
        ("several.pt", "model.0.weight", r#"there are "model", "ema""#),
        ("key-net.pt", "", r#"called ""; there are "net""#),
        ("plain.safetensors", "encoder", r#"called "encoder"; there are "1", "3""#),
    ] {
        let problem = from_bytes_at(&bytes(file), Some(key)).unwrap_err();
        assert!(matches!(problem, Problem::NoKey { .. }), "{file}: {problem}");
        assert!(problem.to_string().contains(said), "{file}: {problem}");
    }
}

#[test]
fn a_key_of_any_file_is_the_beginning_of_names() {
    let archive = at("plain.safetensors", "3");
    let mut found = names(&archive);
    found.sort_unstable();
    assert_eq!(found, ["bias", "weight"]);
    assert_eq!(
        archive.notes.last().unwrap(),
        r#"the tensors are those below "3"; 2 others are left out"#
    );
    assert_eq!(at("plain.safetensors", ".").tensors.len(), 4);
    let graph = std::fs::read(golden("onnx/tiny.onnx")).unwrap();
    let problem = from_bytes_at(&graph, Some("net")).unwrap_err();
    assert!(problem.to_string().contains("describes its one network"), "{problem}");
}

#[test]
fn data_beside_weights() {
    for file in [
        "data.pt",
        "legacy-data.pt",
        "more-data.pt",
        "protocol3-data.pt",
        "protocol4-data.pt",
        "protocol5-data.pt",
    ] {
        let archive = read(golden("pytorch").join(file)).unwrap();
        assert_eq!(archive.tensors, expected().tensors, "{file}");
        assert!(archive.notes[1].starts_with("left out: "), "{:?}", archive.notes);
    }
    let archive = read(golden("pytorch/numpy-scalar.pt")).unwrap();
    assert_eq!(names(&archive), ["weight", "bias"]);
    // A list of tensors has numbers for names.
    assert_eq!(names(&read(golden("pytorch/list.pt")).unwrap()), ["0"]);
}

#[test]
fn names_of_classes_beside_weights() {
    let list = |items: &[Vec<u8>]| [b"](", &items.concat()[..], b"e"].concat();
    let pairs = |pairs: &[(Vec<u8>, Vec<u8>)]| {
        let all: Vec<_> = pairs.iter().map(|(key, value)| [&key[..], value].concat()).collect();
        [b"}(", &all.concat()[..], b"u"].concat()
    };
    let names = |entry: &str, value: Vec<u8>| {
        let state = dict(&[("w", matrix())]);
        let bytes = file(&dict(&[("model", state), (entry, value)]), &[0; 16]);
        from_bytes(&bytes).unwrap()
    };
    let (cat, dog) = (|| text("cat"), || text("dog"));
    for (key, value) in [
        ("classes", list(&[cat(), dog()])),
        ("Class_Names", tuple(&[cat(), dog()])),
        ("class_to_idx", pairs(&[(dog(), int(1)), (cat(), int(0))])),
        ("idx_to_class", pairs(&[(int(1), dog()), (int(0), cat())])),
        ("names", pairs(&[(text("0"), cat()), (text("1"), dog())])),
    ] {
        let archive = names(key, value);
        let expected = ["cat".to_owned(), "dog".to_owned()];
        assert_eq!(archive.class_names, [(key.to_owned(), expected.to_vec())]);
        let said = format!("{key:?} names classes: cat, dog");
        assert_eq!(archive.notes, ["the tensors are those under \"model\"", &said]);
    }
    let inner = dict(&[("id2label", pairs(&[(int(0), cat()), (int(1), dog())]))]);
    assert_eq!(names("config", inner).class_names[0].0, "config.id2label");
    let number = |number: f64| [b"G", &number.to_be_bytes()[..]].concat();
    let flags = vec![b"\x89".to_vec(), b"\x88".to_vec(), number(1.0), int(-3)];
    assert_eq!(names("labels", list(&flags)).class_names[0].1, ["False", "True", "1.0", "-3"]);
    // What is no list of different names is left out, and said to be.
    for value in [
        list(&[cat(), cat()]),
        list(&[]),
        list(&[cat(), NONE.to_vec()]),
        list(&[number(f64::NAN)]),
        pairs(&[(cat(), int(0)), (dog(), int(2))]),
        pairs(&[(cat(), int(0)), (dog(), int(0))]),
        text("cat"),
    ] {
        let archive = names("classes", value);
        assert_eq!(archive.class_names, []);
        assert!(archive.notes[1].starts_with("left out: \"classes\""), "{:?}", archive.notes);
    }
}

#[test]
fn views_that_negate_or_conjugate_are_named() {
    let marks = dict(&[("neg", b"\x88".to_vec())]);
    let place = [floats(4), int(0), ints(&[2, 2]), ints(&[2, 1])];
    let rest = [NO_GRADIENT.to_vec(), NONE.to_vec(), marks];
    let view = call(REBUILD, &[&place[..], &rest[..]].concat());
    let said = from_bytes(&file(&dict(&[("w", view)]), &[0; 16])).unwrap_err().to_string();
    assert!(said.contains("\"w\" is a view that negates or conjugates its numbers"), "{said}");
    assert!(said.contains("resolve_neg()"), "{said}");
}

#[test]
fn tensors_whose_numbers_are_not_read() {
    for (file, said, instead) in [
        ("meta.pt", r#"the tensor "weight" is of the device meta"#, "after its numbers"),
        ("nested.pt", r#"the tensor "weight" is made of several tensors"#, "unbind()"),
        ("eighth.pt", r#"the tensor "weight" has complex numbers, or of a type"#, "tensor.float()"),
        ("arrays.pt", "arrays of NumPy and no tensor", "numpy.savez(path, **arrays)"),
        ("namedtuple.pt", r#"refers to "__main__.Point""#, "torch.save(model.state_dict(), path)"),
        ("module.pt", "torch.nn.modules.linear.Linear", "a whole module from torch.save(model)"),
        ("legacy-module.pth", "__main__.Bare", "a whole module from torch.save(model)"),
    ] {
        let problem = from_bytes(&bytes(file)).unwrap_err();
        assert!(matches!(problem, Problem::Refused { .. }), "{file}: {problem}");
        let message = problem.to_string();
        assert!(message.contains(said) && message.contains(instead), "{file}: {message}");
    }
}

fn matrix() -> Vec<u8> {
    view(4, 0, &[2, 2], &[2, 1])
}

/// The state of an optimizer is known by its form, not by the name it is saved under.
#[test]
fn the_state_of_an_optimizer_is_no_network() {
    let moments = dict(&[("exp_avg", matrix()), ("exp_avg_sq", matrix())]);
    let steps =
        dict(&[("state", dict(&[("0", moments.clone())])), ("param_groups", b"]".to_vec())]);
    let one = dict(&[("net", dict(&[("w", matrix())])), ("thing", steps)]);
    assert_eq!(names(&from_bytes(&file(&one, &[0; 16])).unwrap()), ["w"]);
    let two = dict(&[("net", dict(&[("w", matrix())])), ("thing", moments)]);
    assert!(matches!(from_bytes(&file(&two, &[0; 16])), Err(Problem::Several { .. })));
}

/// Where a dictionary has weights of its own, what is in it belongs to it.
#[test]
fn tensors_at_the_top_and_below() {
    let below = |of: Vec<u8>| dict(&[("w", matrix()), ("more", dict(&[("x", of)]))]);
    let vector = view(4, 0, &[4], &[1]);
    assert_eq!(names(&from_bytes(&file(&below(vector), &[0; 16])).unwrap()), ["w", "more.x"]);
    let problem = from_bytes(&file(&below(matrix()), &[0; 16])).unwrap_err();
    let Problem::Several { found, .. } = problem else { panic!("{problem}") };
    assert_eq!(found.iter().map(|each| each.key.as_str()).collect::<Vec<_>>(), [".", "more"]);
    // Names that only differ by how they are put together are one.
    let twice = dict(&[("a.b", matrix()), ("a", dict(&[("b", view(4, 0, &[4], &[1]))]))]);
    let problem = from_bytes(&file(&twice, &[0; 16])).unwrap_err();
    assert!(problem.to_string().contains(r#"two tensors are called "a.b""#), "{problem}");
    let wrapped = dict(&[("a", matrix()), ("_orig_mod.a", matrix())]);
    let problem = from_bytes(&file(&wrapped, &[0; 16])).unwrap_err();
    assert!(problem.to_string().contains("once what wraps them is taken away"), "{problem}");
}

#[test]
fn half_of_a_character_is_text_and_half_of_an_encoding_is_not() {
    let with = |bytes: &[u8]| {
        let text = [b"X", &u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
        from_bytes(&file(&dict(&[("w", matrix()), ("said", text)]), &[0; 16]))
    };
    assert!(with(b"\xed\xa0\x80 and \xed\xbf\xbf").is_ok());
    for bytes in [&b"\xed\xa0"[..], b"\xff", b"\xed\xc0\x80", b"\xc3"] {
        assert!(matches!(with(bytes), Err(Problem::Malformed { .. })), "{bytes:?}");
    }
}

#[test]
fn ordered_dictionaries_of_pairs() {
    let ordered = |pairs: &[Vec<u8>]| {
        let list = [b"](", &pairs.concat()[..], b"e"].concat();
        call("collections.OrderedDict", &[list])
    };
    let pair = |name| [b"](", &[text(name), matrix()].concat()[..], b"e"].concat();
    let found = from_bytes(&file(&ordered(&[pair("a"), pair("b")]), &[0; 16])).unwrap();
    assert_eq!(names(&found), ["a", "b"]);
    let bad = from_bytes(&file(&ordered(&[ints(&[1, 2, 3])]), &[0; 16]));
    assert!(matches!(bad, Err(Problem::Malformed { .. })), "{bad:?}");
}

/// An attribute is no reason to take another function for that of a tensor.
#[test]
fn tensors_with_attributes() {
    const WITH: &str = "torch._tensor._rebuild_from_type_v2";
    let place = |storage: Vec<u8>| tuple(&[storage, int(0), ints(&[1]), ints(&[1])]);
    let floats = support::pickle::floats;
    let with = |function: &str, class: Vec<u8>| {
        let tensor = call(WITH, &[global(function), class, place(floats(1)), dict(&[])]);
        from_bytes(&file(&dict(&[("w", tensor)]), &[0; 4]))
    };
    let rebuild = support::pickle::REBUILD;
    assert!(with(rebuild, global("torch.Tensor")).is_ok());
    for (function, class) in [
        ("torch._utils._rebuild_parameter", global("torch.Tensor")),
        (WITH, global("torch.Tensor")),
        ("torch.device", global("torch.Tensor")),
        (rebuild, global("torch.device")),
        (rebuild, int(1)),
    ] {
        let found = with(function, class);
        assert!(matches!(found, Err(Problem::Malformed { .. })), "{found:?}");
    }
}

#[test]
fn bombs_of_dictionaries() {
    let limit = |pickle: &[u8], key: Option<&str>, what: &str| {
        let found = from_bytes_at(&file(pickle, &[0; 16]), key);
        let Err(Problem::Limit { what: found, .. }) = &found else { panic!("{found:?}") };
        assert!(found.contains(what), "{found}");
    };
    // A dictionary of the one before, twice: 2^30 tensors, if each were told apart.
    let mut doubled = [b"(", &dict(&[("w", matrix())])[..], b"q\0"].concat();
    for _ in 0..30 {
        doubled.extend([b"}(", &text("a")[..], b"h\0", &text("b"), b"h\0uq\0"].concat());
    }
    doubled.push(b't');
    assert_eq!(names(&from_bytes(&file(&doubled, &[0; 16])).unwrap()), ["w"]);
    limit(&doubled, Some("."), "the number of tensors");
    // The same without a tensor at its end is visited as often.
    limit(&doubled, Some("nothing"), "values in collections");
    // A name as long as its keys together.
    let key = "k".repeat(600);
    let long = dict(&[(&key, dict(&[(&key, matrix())]))]);
    limit(&long, Some("."), "bytes of a tensor's name");
    // Collections in each other.
    let deep = (0..70).fold(matrix(), |inner, _| dict(&[("a", inner)]));
    limit(&deep, Some("a"), "collections in each other");
    // A network in each of very many dictionaries, each in the one before under no key to speak of.
    let level = [b"}h\x01h\0s".to_vec(), b"h\x02".to_vec()].concat();
    let begun =
        [matrix(), b"q\0".to_vec(), text("w"), b"q\x01".to_vec(), text(""), b"q\x02".to_vec()];
    let levels = 200_000;
    let chain = [level.repeat(levels), b"}".to_vec(), b"s".repeat(levels)].concat();
    let nested = [b"(".to_vec(), begun.concat(), chain, b"t".to_vec()].concat();
    let found = from_bytes(&file(&nested, &[0; 16]));
    let Err(Problem::Several { count, .. }) = found else { panic!("{found:?}") };
    assert_eq!(count, levels + 1);
    // What looks like the state of an optimizer, with very many items, very often.
    let entries: Vec<_> = (0..50_000).map(|_| b"NN".to_vec()).collect();
    let keys = [text("state"), b"N".to_vec(), text("param_groups"), b"N".to_vec()].concat();
    let large = [b"}(".to_vec(), entries.concat(), keys, b"uq\x01".to_vec()].concat();
    let often = [b"](".to_vec(), large, b"h\x01".repeat(500_000), matrix(), b"e".to_vec()].concat();
    limit(&often, Some("."), "values in collections");
    // A dictionary that is made of a large one again and again.
    let entries: Vec<_> = (0..1000).map(|at| [int(at), b"N".to_vec()].concat()).collect();
    let large = [b"}(", &entries.concat()[..], b"uq\0"].concat();
    let copies = [global("collections.OrderedDict"), b"h\0\x85R".to_vec()].concat().repeat(251);
    limit(&[b"](".to_vec(), large, copies, b"e".to_vec()].concat(), None, "values of a pickle");
}
