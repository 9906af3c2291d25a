//! Contract of the safetensors reader: what the program wrote is read in its order, and a header
//! that lies, or is too large to be looked at, is refused.

use std::fs;

use crate::support::{check_logits, golden, tensor};
use fireclay_formats::{
    Activation, ElementType, Kind, Layer, Layout, Network, Problem, from_bytes, read,
};
use proptest::prelude::*;

fn network() -> Network {
    let dense = |name: &str| Layer::Dense {
        weight: format!("{name}.weight"),
        bias: Some(format!("{name}.bias")),
        layout: Layout::OutIn,
    };
    let relu = Activation { name: "relu".to_owned(), constants: Default::default() };
    let layers = vec![dense("1"), Layer::Activation(relu), dense("3")];
    Network { input_shape: None, layers }
}

#[test]
fn a_state_dictionary() {
    let archive = read(golden("pytorch/plain.safetensors")).unwrap();
    assert_eq!(archive.kind, Kind::Safetensors);
    assert_eq!(archive.network, None);
    assert_eq!(archive.notes, ["metadata format: pt"]);
    let weight = tensor(&archive, "1.weight");
    assert_eq!((&weight.shape[..], weight.dtype), (&[32, 784][..], ElementType::F32));
    check_logits(&archive, &network(), "pytorch/plain.logits");
    let mut tensors = read(golden("pytorch/plain.pt")).unwrap().tensors;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(archive.tensors, tensors);
}

#[test]
fn the_same_as_torch_save_has() {
    for name in ["rich", "types"] {
        let archive = read(golden("pytorch").join(format!("{name}.safetensors"))).unwrap();
        let expected = read(golden("pytorch").join(format!("{name}.pt"))).unwrap();
        assert_eq!(archive.tensors.len(), expected.tensors.len());
        for expected in &expected.tensors {
            assert_eq!(tensor(&archive, &expected.name), expected);
        }
    }
    let archive = read(golden("pytorch/types.safetensors")).unwrap();
    assert_eq!(archive.notes, ["metadata format: pt", "metadata made by: make.py"]);
}

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn one(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

#[track_caller]
fn expect_malformed(bytes: &[u8], message: &str) {
    let found = from_bytes(bytes);
    let Err(Problem::Malformed { kind: "safetensors", what }) = &found else { panic!("{found:?}") };
    assert!(what.contains(message), "{what}");
}

#[test]
fn tensors_are_in_the_order_of_their_bytes() {
    let header = r#"{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},
        "z":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},
        "y":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},
        "a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#;
    let archive = from_bytes(&file(header, &[7, 8])).unwrap();
    let names: Vec<_> = archive.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["y", "z", "a", "b"]);
    assert_eq!(archive.tensors[3].to_f64().unwrap(), [8.0]);
    assert!(archive.notes.is_empty());
}

/// A header of 640 bytes begins as a pickle does, for example.
#[test]
fn headers_of_every_size() {
    for size in (60..4000).chain([0x4b50, 0x7f7f]) {
        let header = format!("{:size$}", one("U8", "[2]", "[0,2]"));
        assert_eq!(
            from_bytes(&file(&header, &[1, 2])).unwrap().tensors[0].to_f64().unwrap(),
            [1.0, 2.0]
        );
    }
}

#[test]
fn numbers_that_are_not_known() {
    let found = read(golden("pytorch/float8.safetensors")).unwrap_err();
    assert!(matches!(found.problem, Problem::Refused { .. }));
    let message = found.to_string();
    assert!(message.contains(r#"the tensor "w" is of type F8_E4M3"#), "{message}");
    for (dtype, size) in [("F8_E5M2", 1), ("C64", 8), ("F8_E8M0", 1)] {
        let found = from_bytes(&file(&one(dtype, "[1]", &format!("[0,{size}]")), &vec![0; size]));
        assert!(matches!(found, Err(Problem::Refused { .. })), "{found:?}");
    }
    expect_malformed(&file(&one("F31", "[1]", "[0,4]"), &[0; 4]), "unknown variant `F31`");
}

#[test]
fn tensors_that_do_not_fill_the_file() {
    for (shape, offsets, bytes) in [
        ("[2]", "[0,8]", 4),
        ("[2]", "[0,8]", 12),
        ("[2]", "[4,12]", 12),
        ("[2]", "[8,0]", 8),
        ("[3]", "[0,8]", 8),
        ("[18446744073709551615,2]", "[0,8]", 8),
        ("[4611686018427387904]", "[0,0]", 0),
        ("[1]", "[0,18446744073709551615]", 8),
        ("[-1]", "[0,8]", 8),
        ("[1.5]", "[0,8]", 8),
        ("[18446744073709551616]", "[0,8]", 8),
    ] {
        let file = file(&one("F32", shape, offsets), &vec![0; bytes]);
        expect_malformed(&file, "its header is not valid");
    }
    let overlap = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
        "b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#;
    expect_malformed(&file(overlap, &[0; 3]), "does not fill its place");
}

#[test]
fn headers_that_are_not_valid() {
    for header in [
        "{",
        "{}x",
        "{\"w\":1}",
        "{\"w\":{}}",
        "{\"__metadata__\":1}",
        "{\"__metadata__\":{\"format\":1}}",
        "{\"\\ud800\":1}",
    ] {
        expect_malformed(&file(header, b""), "its header is not valid");
    }
    let twice = r#"{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},
        "w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    expect_malformed(&file(twice, b""), "w is there twice");
    expect_malformed(&file(r#"{"__metadata__":{},"__metadata__":{}}"#, b""), "is there twice");
    let nested = format!("{{\"w\":{}{}}}", "[".repeat(250_000), "]".repeat(250_000));
    expect_malformed(&file(&nested, b""), "its header is not valid");
    let mut bytes = file("{\"w\": }", b"");
    bytes[12] = 0xff;
    expect_malformed(&bytes, "its header is not valid");
}

#[test]
fn headers_that_are_too_large() {
    for size in [(1 << 20) + 1, 100_000_000, (1 << 40) - 1] {
        let bytes = [&u64::to_le_bytes(size)[..], b"{}"].concat();
        let found = from_bytes(&bytes);
        assert!(matches!(found, Err(Problem::Limit { most: 1_048_576, .. })), "{found:?}");
    }
    expect_malformed(
        &[&u64::to_le_bytes(1 << 20)[..], b"{}"].concat(),
        "header would have 1048576 bytes, and 2 are left",
    );
    let many = format!("{{{}", "\"w\":[".repeat(100_000));
    expect_malformed(&file(&many, b""), "its header is not valid");
}

#[test]
fn shapes_of_very_many_dimensions() {
    let shape = format!("[{}1]", "1,".repeat(100_000));
    let found = from_bytes(&file(&one("U8", &shape, "[0,1]"), &[1]));
    assert!(matches!(found, Err(Problem::Limit { found: 100_001, .. })), "{found:?}");
}

#[test]
fn what_a_file_says_of_itself() {
    let items: Vec<_> = (10..40).map(|at| format!(r#""k{at}":"{}""#, "v\\n".repeat(90))).collect();
    let header = format!(r#"{{"__metadata__":{{{}}}}}"#, items.join(","));
    let notes = from_bytes(&file(&header, b"")).unwrap().notes;
    assert_eq!(notes.len(), 20);
    assert!(notes.iter().all(|note| !note.contains('\n') && note.chars().count() < 100));
}

#[test]
fn how_weights_lie_is_told_by_the_format() {
    let layout = |items: &str| {
        from_bytes(&file(&format!(r#"{{"__metadata__":{{{items}}}}}"#), b"")).unwrap().layout
    };
    // However much else the file says of itself.
    let others: String = (10..40).map(|at| format!(r#""a{at}":"","#)).collect();
    assert_eq!(layout(&format!(r#"{others}"format":"pt""#)), Some(Layout::OutIn));
    assert_eq!(layout(r#""format":"tf""#), None);
    assert_eq!(layout(""), None);
}

#[test]
fn cut_off_anywhere() {
    let whole = fs::read(golden("pytorch/types.safetensors")).unwrap();
    for end in 0..whole.len() {
        let found = from_bytes(&whole[..end]);
        if end < 9 {
            let is_other = matches!(found, Err(Problem::Unknown { .. } | Problem::Foreign { .. }));
            assert!(is_other, "{end}: {found:?}");
        } else {
            assert!(matches!(found, Err(Problem::Malformed { .. })), "{end}: {found:?}");
        }
    }
}

proptest! {
    #[test]
    fn one_damaged_byte_never_panics(at in any::<prop::sample::Index>(), bits in 1_u8..) {
        let mut bytes = fs::read(golden("pytorch/types.safetensors")).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        let _ = from_bytes(&bytes);
    }
}
