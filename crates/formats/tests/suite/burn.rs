//! Contract of the reader of Burn's records: what Burn wrote is read, and what a header says is
//! compared with the bytes that are there.

use crate::support::{check_logits, golden, tensor};
use ciborium::{Value, cbor};
use fireclay_formats::{
    Activation, Archive, ElementType, Kind, Layer, Layout, Network, Norm, Problem, from_bytes, read,
};
use proptest::prelude::*;

fn dense(name: &str, biased: bool) -> Layer {
    let bias = biased.then(|| format!("{name}.bias"));
    Layer::Dense { weight: format!("{name}.weight"), bias, layout: Layout::InOut }
}

fn activation(name: &str) -> Layer {
    Layer::Activation(Activation { name: name.to_owned(), constants: Default::default() })
}

fn norm(kind: Norm, name: &str) -> Layer {
    let part = |part: &str| Some(format!("{name}.{part}"));
    let statistic = |name: &str| if kind == Norm::Batch { part(name) } else { None };
    Layer::Norm {
        kind,
        scale: part("gamma"),
        shift: part("beta"),
        mean: statistic("running_mean"),
        variance: statistic("running_var"),
        epsilon: 1e-5,
    }
}

fn names(archive: &Archive) -> Vec<&str> {
    archive.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

#[test]
fn a_network_of_two_layers() {
    let archive = read(golden("burn/plain.bpk")).unwrap();
    assert_eq!(archive.kind, Kind::Burn);
    assert_eq!(archive.network, None);
    assert_eq!(names(&archive), ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]);
    let weight = tensor(&archive, "fc1.weight");
    assert_eq!((&weight.shape[..], weight.dtype), (&[784, 32][..], ElementType::F32));
    let layers = vec![dense("fc1", true), activation("relu"), dense("fc2", true)];
    check_logits(&archive, &Network { input_shape: None, layers }, "burn/plain.logits");
}

#[test]
fn norms_and_lists() {
    let archive = read(golden("burn/rich.bpk")).unwrap();
    assert_eq!(
        names(&archive),
        [
            "batch_norm.beta",
            "batch_norm.gamma",
            "batch_norm.running_mean",
            "batch_norm.running_var",
            "head.bias",
            "head.weight",
            "hidden.0.bias",
            "hidden.0.weight",
            "hidden.1.weight",
            "layer_norm.beta",
            "layer_norm.gamma"
        ]
    );
    let layers = vec![
        dense("hidden.0", true),
        norm(Norm::Batch, "batch_norm"),
        activation("relu"),
        Layer::Dropout(0.1),
        dense("hidden.1", false),
        norm(Norm::Layer, "layer_norm"),
        activation("gelu"),
        dense("head", true),
    ];
    check_logits(&archive, &Network { input_shape: None, layers }, "burn/rich.logits");
}

/// A record of this header, whose numbers begin at the next multiple of 256.
fn record(header: &Value, data: &[u8]) -> Vec<u8> {
    let mut cbor = Vec::new();
    ciborium::into_writer(header, &mut cbor).unwrap();
    let mut bytes = b"NRUB\x01\0".to_vec();
    bytes.extend(u32::try_from(cbor.len()).unwrap().to_le_bytes());
    bytes.extend(cbor);
    bytes.resize(bytes.len().next_multiple_of(256), 0);
    bytes.extend(data);
    bytes
}

fn one(dtype: Value, shape: &[u64], start: u64, end: u64) -> Value {
    let tensor = cbor!({ "dtype" => dtype, "shape" => shape, "data_offsets" => [start, end] });
    cbor!({ "tensors" => { "w" => tensor.unwrap() } }).unwrap()
}

fn f32s(shape: &[u64], start: u64, end: u64) -> Value {
    one("F32".into(), shape, start, end)
}

#[track_caller]
fn expect_malformed(bytes: &[u8], message: &str) {
    let found = from_bytes(bytes);
    let Err(Problem::Malformed { kind: "Burn", what }) = &found else { panic!("{found:?}") };
    assert!(what.contains(message), "{what}");
}

#[track_caller]
fn expect_refused(bytes: &[u8], message: &str) {
    let found = from_bytes(bytes);
    let Err(Problem::Refused { what, .. }) = &found else { panic!("{found:?}") };
    assert!(what.contains(message), "{what}");
}

#[test]
fn every_type_of_numbers() {
    let native = cbor!({ "Bool" => "Native" }).unwrap();
    for (dtype, width, expected) in [
        (Value::from("F64"), 8, ElementType::F64),
        ("F32".into(), 4, ElementType::F32),
        ("Flex32".into(), 4, ElementType::F32),
        ("F16".into(), 2, ElementType::F16),
        ("BF16".into(), 2, ElementType::Bf16),
        ("I64".into(), 8, ElementType::I64),
        ("I32".into(), 4, ElementType::I32),
        ("I16".into(), 2, ElementType::I16),
        ("I8".into(), 1, ElementType::I8),
        ("U64".into(), 8, ElementType::U64),
        ("U32".into(), 4, ElementType::U32),
        ("U16".into(), 2, ElementType::U16),
        ("U8".into(), 1, ElementType::U8),
        ("Bool".into(), 1, ElementType::Bool),
        (native, 1, ElementType::Bool),
    ] {
        let archive = from_bytes(&record(&one(dtype, &[2], 0, 2 * width), &[0; 16])).unwrap();
        assert_eq!(archive.tensors[0].dtype, expected);
    }
    let wide = cbor!({ "Bool" => "U32" }).unwrap();
    let quantised = cbor!({ "QFloat" => { "value" => "Q8S", "level" => "Tensor" } }).unwrap();
    for (dtype, name) in
        [(wide, r#""Bool""#), (quantised, r#""QFloat""#), ("I128".into(), r#""I128""#)]
    {
        let message = format!(r#"the tensor "w" is of type {name}"#);
        expect_refused(&record(&one(dtype, &[1], 0, 4), &[0; 4]), &message);
    }
}

#[test]
fn what_a_record_says_of_itself() {
    let header = cbor!({
        "tensors" => {},
        "metadata" => { "producer" => "burn", "a\nb" => "c".repeat(200) },
        "scalars" => { "epoch" => { "UInt" => 3 } },
        "later" => [1, 2],
    });
    let archive = from_bytes(&record(&header.unwrap(), b"")).unwrap();
    assert!(archive.tensors.is_empty());
    let long = format!("metadata a b: {}…", "c".repeat(80));
    let scalars = "left out: numbers that are no tensors";
    assert_eq!(archive.notes, [long.as_str(), "metadata producer: burn", scalars]);
}

#[test]
fn places_that_are_not_there() {
    let file = |shape: &[u64], start, end| record(&f32s(shape, start, end), &[0; 8]);
    assert!(from_bytes(&file(&[2], 0, 8)).is_ok());
    assert!(from_bytes(&file(&[0], 8, 8)).is_ok());
    assert!(from_bytes(&file(&[], 4, 8)).is_ok());
    expect_malformed(&file(&[3], 0, 12), "12 bytes are expected");
    expect_malformed(&file(&[2], 4, 12), "8 bytes are expected");
    expect_malformed(&file(&[1], 12, 16), "it points to byte");
    expect_malformed(&file(&[1], 8, 4), "is from byte 8 to 4");
    expect_malformed(&file(&[1], u64::MAX - 4, u64::MAX), "is from byte 18446744073709551611");
    expect_malformed(&file(&[1], 0, u64::MAX), "bytes are expected");
    expect_malformed(&file(&[1], 0, 8), "of shape [1] and type f32 has 8 bytes");
    expect_malformed(&file(&[3], 0, 8), "of shape [3] and type f32 has 8 bytes");
    expect_malformed(&file(&[u64::MAX, 2], 0, 8), "has 8 bytes");
    expect_malformed(&file(&[1; 9], 0, 4), "at most 8 sizes");
    let tensor = |start: u64, end: u64| {
        cbor!({ "dtype" => "F32", "shape" => [2], "data_offsets" => [start, end] }).unwrap()
    };
    let header = cbor!({ "tensors" => { "a" => tensor(4, 12), "b" => tensor(0, 8) } });
    expect_malformed(&record(&header.unwrap(), &[0; 16]), "two tensors share bytes");
    let header = cbor!({ "tensors" => { "b" => tensor(8, 16), "a" => tensor(0, 8) } });
    let archive = from_bytes(&record(&header.unwrap(), &[0; 16])).unwrap();
    assert_eq!(names(&archive), ["b", "a"]);
}

#[test]
fn headers_that_are_not_valid() {
    let tensor = || cbor!({ "dtype" => "F32", "shape" => [0], "data_offsets" => [0, 0] }).unwrap();
    let twice = Value::Map(vec![("w".into(), tensor()), ("w".into(), tensor())]);
    let header = cbor!({ "tensors" => twice }).unwrap();
    expect_malformed(&record(&header, b""), "w is there twice");
    let type_of = |dtype: Value| record(&one(dtype, &[0], 0, 0), b"");
    expect_malformed(&type_of(Value::Null), "a type of numbers");
    expect_malformed(&type_of(Value::Map(vec![])), "a type without a name");
    let two = cbor!({ "Bool" => "U8", "QFloat" => 1 }).unwrap();
    expect_malformed(&type_of(two), "a type with two names");
    for header in [
        Value::Null,
        cbor!({}).unwrap(),
        cbor!({ "tensors" => [] }).unwrap(),
        cbor!({ "tensors" => { "w" => 1 } }).unwrap(),
        cbor!({ "tensors" => { 1 => tensor() } }).unwrap(),
        cbor!({ "tensors" => { "w" => { "dtype" => "F32", "shape" => [0] } } }).unwrap(),
        cbor!({ "tensors" => {}, "metadata" => 1 }).unwrap(),
        f32s(&[0], 0, 0).into_map().map(|map| Value::Array(vec![Value::Map(map)])).unwrap(),
    ] {
        expect_malformed(&record(&header, b""), "its header is not valid");
    }
    let negative = cbor!({ "dtype" => "F32", "shape" => [-1], "data_offsets" => [0, 0] }).unwrap();
    let header = cbor!({ "tensors" => { "w" => negative } }).unwrap();
    expect_malformed(&record(&header, b""), "its header is not valid");
    let mut deep = Value::Null;
    (0..100).for_each(|_| deep = Value::Array(vec![deep.clone()]));
    expect_malformed(
        &record(&cbor!({ "tensors" => {}, "x" => deep }).unwrap(), b""),
        "nests more than 16 deep",
    );
}

#[test]
fn other_versions_and_sizes() {
    let whole = record(&f32s(&[1], 0, 4), &[0; 4]);
    for version in [0, 2, 0xff] {
        let mut bytes = whole.clone();
        bytes[4] = version;
        expect_refused(&bytes, &format!("it is of version {version}"));
    }
    let mut bytes = whole.clone();
    bytes[8] = 0x11;
    let found = from_bytes(&bytes);
    assert!(matches!(found, Err(Problem::Limit { most: 1_048_576, .. })), "{found:?}");
    bytes[8] = 1;
    expect_malformed(&bytes, "bytes are expected at byte 10");
    // A length in the header that its bytes are not enough for, of text and of a list.
    for lie in [b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let header = [b"\xa1\x67tensors\xa1", &lie[..]].concat();
        let size = [u8::try_from(header.len()).unwrap(), 0, 0, 0];
        let bytes = [b"NRUB\x01\0", &size[..], &header].concat();
        expect_malformed(&bytes, "its header is not valid");
        let bytes = [b"NRUB\x01\0\x09\0\0\0", &lie[..]].concat();
        expect_malformed(&bytes, "its header is not valid");
    }
    expect_malformed(b"NRUB\x01\0\x02\0\0\0\xa1\x67", "it ends too early");
    expect_malformed(b"NRUB\x01\0\x01\0\0\0\xfc", "it is not CBOR at byte 0");
    for end in 4..whole.len() {
        let found = from_bytes(&whole[..end]);
        assert!(matches!(found, Err(Problem::Malformed { .. })), "{end}: {found:?}");
    }
}

proptest! {
    #[test]
    fn one_damaged_byte_never_panics(at in any::<prop::sample::Index>(), bits in 1_u8..) {
        let header = cbor!({
            "tensors" => {
                "a" => { "dtype" => "F32", "shape" => [1, 2], "data_offsets" => [0, 8], "id" => 7 },
                "b" => { "dtype" => { "Bool" => "U8" }, "shape" => [3], "data_offsets" => [8, 11] },
            },
            "metadata" => { "producer" => "burn" },
        });
        let mut bytes = record(&header.unwrap(), &[0; 11]);
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        let _ = from_bytes(&bytes);
    }
}
