use super::*;

fn named(bytes: &[u8]) -> Option<&'static str> {
    name(&Part::from(bytes.to_vec())).unwrap().map(|words| words.0)
}

#[test]
fn texts_are_told_by_a_word() {
    for (text, what) in [
        ("version https://git-lfs.example/spec/v1\noid sha256:0\n", LFS.0),
        ("\u{feff}  <!DOCTYPE html><html></html>", PAGE.0),
        ("<html lang=en>", PAGE.0),
        ("<?xml version=\"1.0\"?><PMML version=\"4\"/>", "a model in PMML"),
        ("<?xml version=\"1.0\"?><net name=\"a\"><layers/></net>", "a network of OpenVINO"),
        ("<svg/>", "XML, not a model"),
        ("{\"metadata\": {}, \"weight_map\": {}}", INDEX.0),
        ("{\"class_name\": \"Sequential\"}", KERAS_JSON.0),
        ("{\"learner\": {}}", "a model of XGBoost, which has no layers"),
        ("[1, 2]", "JSON, not a model"),
        ("{\"model_type\": \"bert\"}", "the settings of a model without its weights"),
        ("model_checkpoint_path: \"a\"", CHECKPOINT.0),
        ("(dp0\nVa\n", ARRAY_PICKLE.0),
        ("ccopy_reg\n_reconstructor\np0\n(csklearn.neural_network\n", SCIKIT_LEARN.0),
        ("lr: 1e-3\n", TEXT.0),
        ("Größe", TEXT.0),
        ("c a\nb\nc\n", TEXT.0),
    ] {
        assert_eq!(named(text.as_bytes()), Some(what), "{text}");
    }
    assert_eq!(named(b"\xff\xfeh\0i\0"), Some(TEXT.0));
    assert_eq!(named(b"a\0b"), None);
    // A character that the searched part cuts in two.
    let long = format!("a{}", "ä".repeat(SEARCHED));
    assert_eq!(named(long.as_bytes()), Some(TEXT.0));
}

#[test]
fn files_without_content() {
    assert_eq!(named(b""), Some(EMPTY.0));
    assert_eq!(named(&[0; 5000]), Some(ZEROS.0));
    assert_eq!(named(b"\0\0\0\x01"), None);
}

#[test]
fn maps_of_messagepack() {
    assert_eq!(named(b"\x81\xa6params\x80"), Some(FLAX.0));
    assert_eq!(named(b"\xde\x00\x20\xd9\x03abc"), Some(FLAX.0));
    for bytes in [&b"\x80"[..], b"\x81\xa6par", b"\x81\xa1\x01", b"\x81\x01", b"\x90\xa1a"] {
        assert_eq!(named(bytes), None, "{bytes:?}");
    }
}

#[test]
fn parts_are_told_by_their_names() {
    let of = |name: &str| part(Path::new(name));
    for (name, number, count) in [
        ("a/model-00001-of-00003.safetensors", 1, 3),
        ("pytorch_model-00012-of-00012.bin", 12, 12),
        ("a-b-00002-of-00004.keras.h5", 2, 4),
    ] {
        let found = of(name);
        let is_it = matches!(found, Some(Problem::Part { number: n, count: c, .. }) if (n, c) == (number, count));
        assert!(is_it, "{name}: {found:?}");
    }
    for name in [
        "model.safetensors",
        "model-00001-of-00001.safetensors",
        "one-of-two.pt",
        "1-of-3.pt",
        "model-1-of-3.pt",
        "model-000x1-of-00003.pt",
    ] {
        assert!(of(name).is_none(), "{name}");
    }
    let words = of("ck.data-00000-of-00001").unwrap().to_string();
    assert!(words.contains("a checkpoint of TensorFlow"), "{words}");
}
