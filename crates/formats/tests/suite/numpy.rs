//! Arrays of NumPy and networks of scikit-learn, and what looks like them.

use std::fs;

use crate::support::zip::{Entry, archive};
use crate::support::{check_logits, golden, tensor};
use fireclay_formats::{Archive, ElementType, Kind, Layer, OutputKind, Problem, from_bytes, read};

/// The bytes of an array with this header.
fn npy(header: &str, values: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), values].concat()
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n")
}

/// The bytes of an array of this type and shape.
fn typed(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    npy(&header(descr, shape), values)
}

fn floats(shape: &str, count: usize) -> Vec<u8> {
    typed("<f4", shape, &vec![0; 4 * count])
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entry = |(name, bytes): &(&str, Vec<u8>)| Entry::stored(&format!("{name}.npy"), bytes);
    archive(&arrays.iter().map(entry).collect::<Vec<_>>())
}

#[track_caller]
fn problem(bytes: &[u8], said: &str) -> Problem {
    let problem = from_bytes(bytes).unwrap_err();
    assert!(problem.to_string().contains(said), "{problem}");
    problem
}

#[track_caller]
fn refused(bytes: &[u8], said: &str) {
    assert!(matches!(problem(bytes, said), Problem::Refused { .. }));
}

#[track_caller]
fn malformed(bytes: &[u8], said: &str) {
    assert!(matches!(problem(bytes, said), Problem::Malformed { kind: "NumPy", .. }));
}

#[track_caller]
fn limited(bytes: &[u8], said: &str) {
    assert!(matches!(problem(bytes, said), Problem::Limit { .. }));
}

#[test]
fn networks_of_scikit_learn() {
    for name in ["digits", "binary"] {
        let archive = read(golden(&format!("numpy/{name}.npz"))).unwrap();
        assert_eq!(archive.kind, Kind::NumPy);
        let network = archive.network.clone().unwrap();
        assert_eq!(network.input_shape, Some(vec![784]));
        check_logits(&archive, &network, &format!("numpy/{name}.logits"));
        let classes = if name == "digits" { "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" } else { "even, odd" };
        assert_eq!(archive.notes, [format!("classes: {classes}")]);
        assert_eq!(archive.labels.unwrap(), classes.split(", ").collect::<Vec<_>>());
    }
    let archive = read(golden("numpy/digits.npz")).unwrap();
    assert_eq!(tensor(&archive, "coefs_0").dtype, ElementType::F64);
    assert_eq!(archive.tensors.len(), 4);
}

#[test]
fn a_network_without_names() {
    let archive = read(golden("numpy/unnamed.npz")).unwrap();
    assert_eq!((archive.tensors.len(), &archive.network), (6, &None));
    assert!(archive.advice.unwrap().contains("without their names"));
}

#[test]
fn arrays_of_each_kind() {
    let cells: Vec<f64> = (0..24).map(f64::from).collect();
    let eighths: Vec<f64> = cells.iter().map(|cell| cell / 8.0).collect();
    let even: Vec<f64> = cells.iter().map(|cell| f64::from(cell % 2.0 == 0.0)).collect();
    for (name, shape, dtype, values) in [
        ("fortran", &[2, 3, 4][..], ElementType::F64, eighths.clone()),
        ("big-endian", &[2, 3, 4], ElementType::F32, eighths.clone()),
        ("half", &[2, 3, 4], ElementType::F16, eighths),
        ("integers", &[2, 3, 4], ElementType::I16, cells),
        ("truth", &[2, 3, 4], ElementType::Bool, even),
        ("scalar", &[], ElementType::F64, vec![0.125]),
        ("empty", &[0, 3], ElementType::F32, vec![]),
    ] {
        let archive = read(golden(&format!("numpy/{name}.npy"))).unwrap();
        let array = tensor(&archive, "arr_0");
        assert_eq!(
            (&array.shape[..], array.dtype, array.to_f64().unwrap()),
            (shape, dtype, values),
            "{name}"
        );
    }
    for (descr, dtype) in [
        ("<i8", ElementType::I64),
        (">i4", ElementType::I32),
        ("|i1", ElementType::I8),
        ("<u8", ElementType::U64),
        (">u4", ElementType::U32),
        ("<u2", ElementType::U16),
        ("|u1", ElementType::U8),
    ] {
        let mut one = vec![0; dtype.size()];
        let at = if descr.starts_with('>') { one.len() - 1 } else { 0 };
        one[at] = 1;
        let archive = from_bytes(&typed(descr, "(1,)", &one)).unwrap();
        assert_eq!(
            (archive.tensors[0].dtype, archive.tensors[0].to_f64().unwrap()),
            (dtype, vec![1.0])
        );
    }
}

#[test]
fn headers_of_versions_2_and_3() {
    for version in [2, 3] {
        let header = header("<f4", "(2,)");
        let length = (header.len() as u32).to_le_bytes();
        let start = [b"\x93NUMPY", &[version, 0][..], &length].concat();
        let bytes = [&start, header.as_bytes(), &[0; 8]].concat();
        assert_eq!(from_bytes(&bytes).unwrap().tensors[0].shape, [2]);
    }
}

#[test]
fn pickles_and_other_types() {
    let file = |name: &str| fs::read(golden(&format!("numpy/{name}.npy"))).unwrap();
    refused(&file("objects"), "array \"arr_0\" of type \"|O\", which is refused: it is a pickle");
    refused(&npz(&[("coefs", file("objects"))]), "array \"coefs\" of type \"|O\"");
    refused(&file("complex"), "of type \"<c8\"");
    refused(&file("fields"), "of type \"[('a', '<f4'), ('b', '<i4')]\"");
    for descr in ["<f16", "<M8[s]", "|V2", "=f4", "f4", "", "é8", "<Ux", "<U99999", "<U-1"] {
        refused(&typed(descr, "(1,)", &[0; 16]), "which is refused");
    }
    refused(&typed("<U1", "(1,)", &[65, 0, 0, 0]), "an array of text");
}

#[test]
fn sizes_that_lie() {
    malformed(&floats("(3,)", 2), "has 8 bytes");
    malformed(&floats("(3,)", 4), "has 16 bytes");
    malformed(&floats("(18446744073709551615, 4)", 1), "has 4 bytes");
    malformed(&floats("(99999999999999999999,)", 1), "has header");
    malformed(&floats("(-1,)", 1), "has header");
    limited(&floats(&format!("({})", "1, ".repeat(65)), 1), "the number of an array's dimensions");
    malformed(b"\x93NUMPY\x01\0\xff\x0f{", "4,095 bytes are expected");
    limited(b"\x93NUMPY\x02\0\xff\xff\xff\xff{", "the number of bytes of an array's header");
    malformed(b"\x93NUMPY\x04\0\x01\0{", "has version 4");
    malformed(&typed("|b1", "(2,)", &[1, 2]), "has others than 0 and 1");
    malformed(&npz(&[("a", b"x93NUMPY".to_vec())]), "does not begin as one");
}

#[test]
fn cut_off_anywhere() {
    let whole = floats("(2, 3)", 6);
    for end in 6..whole.len() {
        malformed(&whole[..end], "");
    }
    malformed(&[&whole[..], &[0]].concat(), "has 25 bytes");
}

#[test]
fn texts_that_lie() {
    let with = |array: Vec<u8>| npz(&[("a", floats("(1,)", 1)), ("classes_", array)]);
    let read = |array: Vec<u8>| from_bytes(&with(array)).unwrap();
    let text: Vec<u8> = "aé\0".chars().flat_map(|char| u32::from(char).to_be_bytes()).collect();
    assert_eq!(read(typed(">U3", "()", &text)).notes, ["the texts \"classes_\" are left out"]);
    assert_eq!(read(typed("|S3", "(1,)", b"ab\0")).tensors.len(), 1);
    malformed(&with(typed("<U1", "(1,)", &[0, 0, 0, 0xff])), "of text holds something else");
    malformed(&with(typed("|S2", "(1,)", &[0xff, 0xff])), "of text holds something else");
    malformed(&with(typed("<U1", "(2,)", &[65, 0, 0, 0])), "4 bytes are expected");
    malformed(&with(typed("<U1", "(0,)", &[65, 0, 0, 0])), "has bytes after its values");
    malformed(&npz(&[("a", typed("<U0", "()", &[]))]), "it has no array of numbers");
    limited(&with(typed("<U0", "(10001,)", &[])), "the number of texts");
    limited(&with(typed("<U0", "(18446744073709551615, 2)", &[])), "the number of texts");
}

#[test]
fn names_of_arrays() {
    let arrays = [("a", floats("(1,)", 1)), ("a.npy", floats("(2,)", 2))];
    let found = from_bytes(&npz(&arrays)).unwrap().tensors;
    let names: Vec<_> = found.iter().map(|array| array.name.as_str()).collect();
    assert_eq!(names, ["a", "a.npy"]);
    let twice = [("a", floats("(1,)", 1)), ("a", floats("(2,)", 2))];
    let problem = problem(&npz(&twice), "two entries are called \"a.npy\"");
    assert!(matches!(problem, Problem::Malformed { .. }), "{problem}");
}

/// A network of two layers with another array.
fn network(name: &str, array: Vec<u8>) -> Vec<u8> {
    let mut arrays = vec![
        ("coefs_0", floats("(3, 2)", 6)),
        ("coefs_1", floats("(2, 1)", 2)),
        ("intercepts_0", floats("(2,)", 2)),
        ("intercepts_1", floats("(1,)", 1)),
        ("activation", texts("tanh")),
    ];
    arrays.retain(|(other, _)| *other != name);
    arrays.push((name, array));
    npz(&arrays)
}

fn texts(text: &str) -> Vec<u8> {
    let values: Vec<u8> = text.chars().flat_map(|char| u32::from(char).to_le_bytes()).collect();
    typed(&format!("<U{}", text.len()), "()", &values)
}

#[test]
fn networks_of_which_something_is_missing() {
    let read =
        |name: &str, array: Vec<u8>| -> Archive { from_bytes(&network(name, array)).unwrap() };
    let archive = read("classes_", typed("<f8", "(2,)", &[0; 16]));
    assert_eq!(archive.network.unwrap().layers.len(), 3);
    assert_eq!(archive.notes[0], "classes: 0.0, 0.0");
    assert!(archive.notes[1].contains("out_activation_ is not in the file"));
    let archive = read("out_activation_", texts("logistic"));
    let layers = archive.network.unwrap().layers;
    let Some(Layer::Activation(last)) = layers.last() else { panic!("{layers:?}") };
    assert_eq!(last.name, "sigmoid");
    assert_eq!(archive.task, Some(OutputKind::Classification));
    // Only a regressor has no function at its end.
    let archive = read("out_activation_", texts("identity"));
    assert_eq!((archive.task, archive.network.is_some()), (Some(OutputKind::Regression), true));
    // Several functions are none.
    let archive = read("activation", typed("<U1", "(2,)", &[65, 0, 0, 0, 65, 0, 0, 0]));
    assert_eq!(archive.network, None);
    let advice = archive.advice.unwrap();
    assert!(advice.contains("the function of the hidden layers"), "{advice}");
}

#[test]
fn names_of_classes() {
    let labels = |array: Vec<u8>| from_bytes(&network("classes_", array)).unwrap().labels;
    let texts: Vec<u8> =
        "a, bc\0\0\0\0".chars().flat_map(|char| u32::from(char).to_le_bytes()).collect();
    let expected = Some(vec!["a, b".to_owned(), "c".to_owned()]);
    assert_eq!(labels(typed("<U4", "(2,)", &texts[..32])), expected);
    // Truth values and numbers as Python writes them.
    let floats = [0.5_f64, 1.0].map(f64::to_le_bytes).concat();
    for (array, expected) in [
        (typed("|b1", "(2,)", &[0, 1]), ["False", "True"]),
        (typed("<f8", "(2,)", &floats), ["0.5", "1.0"]),
        (typed("<f4", "(2,)", &[0.1_f32, -1.0].map(f32::to_le_bytes).concat()), ["0.1", "-1.0"]),
        (typed("<i8", "(2,)", &[1_i64, 2].map(i64::to_le_bytes).concat()), ["1", "2"]),
    ] {
        assert_eq!(labels(array).unwrap(), expected);
    }
    // As many as there may be texts, whatever their size in bytes; and so many are no note.
    let many: Vec<u8> = (0..10_000_i64).flat_map(i64::to_le_bytes).collect();
    let archive = from_bytes(&network("classes_", typed("<i8", "(10000,)", &many))).unwrap();
    assert_eq!(archive.tensors.len(), 4);
    assert_eq!(archive.labels.unwrap()[9_999], "9999");
    assert_eq!(archive.notes[0], "classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 9988 more");
}

#[test]
fn networks_that_do_not_fit() {
    refused(&network("activation", texts("custom")), "activation \"custom\"");
    refused(&network("out_activation_", texts("custom")), "activation \"custom\"");
    malformed(&network("coefs_2", floats("(1, 1)", 1)), "there is no array intercepts_2");
    malformed(&network("coefs_1", floats("(3, 1)", 3)), "layer 1 have shapes [3, 1] and [1]");
    malformed(&network("coefs_0", floats("(6,)", 6)), "layer 0 have shapes [6] and [2]");
    malformed(&network("intercepts_0", floats("(3,)", 3)), "layer 0 have shapes [3, 2] and [3]");
    malformed(&network("intercepts_0", floats("(2, 1)", 2)), "have shapes [3, 2] and [2, 1]");
}
