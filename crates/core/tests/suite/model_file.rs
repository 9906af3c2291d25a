//! The model file: what is written is read, and nothing else is.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use fireclay::{
    Activation, Centre, Checkpoint, Ink, InputError, InputSpec, Mlp, MlpConfig, Model,
    ModelFileProblem as Problem, NamedTensor, Norm, Pictures, Placement, Prediction, Preprocessing,
    Provenance, Task,
};
use proptest::prelude::*;
use serde_json::json;

fn model(config: MlpConfig) -> Model {
    let task = Task::numbered_classes(config.outputs);
    let mlp = Mlp::init(&config, 5, &Device::flex()).unwrap();
    let provenance = Provenance { program: "test".to_owned(), ..Provenance::default() };
    let input = InputSpec::dense(&mlp.architecture().input_shape, Preprocessing::PIXELS);
    Model { mlp, task, input, provenance }
}

fn small() -> Model {
    model(MlpConfig { norm: Norm::Batch, ..MlpConfig::new([2, 3], [4], 3) })
}

fn read(bytes: &[u8]) -> Result<Model, Problem> {
    Model::from_bytes(bytes, &Device::flex())
}

/// The file with its header changed; the digest and the data stay.
fn with_header(bytes: &[u8], change: impl Fn(String) -> String) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = change(String::from_utf8(bytes[8..8 + length].to_vec()).unwrap());
    let mut changed = (header.len() as u64).to_le_bytes().to_vec();
    changed.extend(header.into_bytes());
    changed.extend(&bytes[8 + length..]);
    changed
}

#[test]
fn what_is_written_is_read() {
    for config in [
        MlpConfig::new([6], [], 2),
        MlpConfig::new([2, 3], [4, 5], 3),
        MlpConfig { norm: Norm::Batch, ..MlpConfig::new([6], [4], 3) },
        MlpConfig { norm: Norm::Layer, residual: true, ..MlpConfig::new([6], [6], 3) },
        MlpConfig { norm: Norm::Rms, ..MlpConfig::new([6], [4], 3) },
    ] {
        let model = model(config);
        let (bytes, digest) = model.to_bytes().unwrap();
        let back = read(&bytes).unwrap();
        assert_eq!(back.mlp.architecture(), model.mlp.architecture());
        assert_eq!(back.mlp.tensors().unwrap(), model.mlp.tensors().unwrap());
        assert_eq!(back.task, model.task);
        assert_eq!(back.input, model.input);
        assert_eq!(back.provenance, model.provenance);
        assert_eq!(back.to_bytes().unwrap(), (bytes, digest), "one model, one file");
    }
}

#[test]
fn a_slope_is_written_where_it_is_not_the_usual_one() {
    let config = MlpConfig { activation: Activation::LeakyRelu, ..MlpConfig::new([1], [1], 1) };
    let usual = model(config.clone()).to_bytes().unwrap().0;
    assert!(!String::from_utf8_lossy(&usual).contains("leaky_slope"));
    let config = MlpConfig { leaky_slope: 0.25, ..config };
    let written = read(&model(config.clone()).to_bytes().unwrap().0).unwrap();
    assert_eq!(
        (written.mlp.architecture(), written.mlp.architecture().hidden[0].activation_in_words()),
        (&config.architecture().unwrap(), "leaky-relu with slope 0.25".to_owned())
    );
    // -2 times 1, bent, times 1: -0.5.
    let one = |name: &str, _: &[usize]| Ok::<_, ()>(vec![f32::from(name.ends_with("weight"))]);
    let mlp =
        fireclay::Mlp::from_tensors(&config.architecture().unwrap(), &Device::flex(), one).unwrap();
    let input = burn::Tensor::<2>::from_floats([[-2.0], [3.0]], &Device::flex());
    assert_eq!(mlp.forward(input).try_into_vec_as::<f32>().unwrap(), [-0.5, 3.0]);
}

#[test]
fn pictures_are_kept_and_a_file_without_them_has_no_word_of_them() {
    let none = small();
    let (bytes, _) = none.to_bytes().unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("pictures"));
    let config =
        MlpConfig { input_shape: vec![28, 28], ..MlpConfig::from(none.mlp.architecture()) };
    let placement = Placement::Centred { side: 24, by: Centre::Box };
    let pictures = Pictures { ink: Ink::DarkOnBright, placement, darkest: 0, brightest: 1 };
    let mut some = model(config);
    some.input = some.input.with_pictures(Some(pictures));
    let (bytes, _) = some.to_bytes().unwrap();
    let back = read(&bytes).unwrap();
    assert_eq!(back.input.pictures(), Some(pictures));
    assert_eq!(back.to_bytes().unwrap().0, bytes);
    for (field, lie) in [
        ("/pictures/placement/side", json!(29)),
        ("/pictures/brightest", json!(0)),
        ("/architecture/input_shape", json!([392, 2])),
    ] {
        let forged =
            forged(&bytes, |document| *document.pointer_mut(field).unwrap() = lie.clone(), None);
        assert!(matches!(read(&forged), Err(Problem::Input(InputError::Pictures(_)))), "{field}");
    }
    for lie in [json!("white"), json!({ "ink": "bright-on-dark" })] {
        let forged = forged(&bytes, |document| document["pictures"] = lie.clone(), None);
        assert!(matches!(read(&forged), Err(Problem::Document(_))), "{lie}");
    }
}

#[test]
fn names_and_layout_are_pytorchs() {
    let (bytes, _) = small().to_bytes().unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut shapes: Vec<_> =
        file.tensors().into_iter().map(|(n, v)| (n, v.shape().to_vec())).collect();
    shapes.sort();
    let expected = [
        ("layers.0.bias", vec![4]),
        ("layers.0.weight", vec![4, 6]),
        ("layers.1.bias", vec![3]),
        ("layers.1.weight", vec![3, 4]),
        ("norms.0.bias", vec![4]),
        ("norms.0.running_mean", vec![4]),
        ("norms.0.running_var", vec![4]),
        ("norms.0.weight", vec![4]),
    ];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_owned(), shape)));
}

/// A file of each released version stays here for good; this one is of format version 1.
/// `goldens/read_model.py` read it with Python's `safetensors` and PyTorch and wrote the logits.
#[test]
fn version_1_keeps_loading() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let model = Model::load(tests.join("fixtures/model-v1.safetensors"), &Device::flex()).unwrap();
    let golden = fs::read(tests.join("goldens/model-v1-logits.safetensors")).unwrap();
    let golden = safetensors::SafeTensors::deserialize(&golden).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let view = golden.tensor(name).unwrap();
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let (pixels, expected) = (floats("pixels"), floats("logits"));
    let rows: Vec<&[f32]> = pixels.chunks_exact(784).collect();
    let input = burn::tensor::TensorData::new(pixels.clone(), [rows.len(), 784]);
    let logits = model.forward(burn::tensor::Tensor::from_data(input, &Device::flex()));
    let logits = logits.try_into_vec_as::<f32>().unwrap();
    assert_eq!(logits.len(), expected.len());
    for (found, expected) in logits.iter().zip(&expected) {
        assert!(
            (found - expected).abs() <= 1e-5 * expected.abs().max(1.0),
            "{found} != {expected}"
        );
    }
    // What PyTorch makes of the first ten digits of the MNIST test set, 7210414959.
    let predictions = model.predict(&rows[..10]).unwrap();
    let labels = predictions.iter().map(|prediction| match prediction {
        Prediction::Class { label, .. } => label.as_str(),
        _ => "not a class",
    });
    assert_eq!(labels.collect::<String>(), "7210414969");
}

#[test]
fn each_way_to_be_wrong_has_its_own_error() {
    let (good, _) = small().to_bytes().unwrap();
    let swap = |from: &'static str, to: &'static str| {
        assert!(String::from_utf8_lossy(&good).contains(from), "{from}");
        read(&with_header(&good, |header| header.replace(from, to))).map(drop).unwrap_err()
    };
    assert!(matches!(read(b"").unwrap_err(), Problem::Safetensors(_)));
    assert!(matches!(read(b"not a model file at all").unwrap_err(), Problem::Safetensors(_)));
    assert!(matches!(swap("\"fireclay\"", "\"firebrick\""), Problem::NoDocument));
    let version = swap(r#"\"version\":1"#, r#"\"version\":5"#);
    assert!(matches!(version, Problem::Version { found: 5, newest: 4 }), "{version}");
    assert!(matches!(swap(r#"\"version\":1"#, r#"\"version\":0"#), Problem::Version { .. }));
    assert!(matches!(swap(r#"\"hidden\":[4]"#, r#"\"hidden\":4"#), Problem::Document(_)));
    let twice = swap(r#"\"hidden\":[4]"#, r#"\"hidden\":[4],\"hidden\":[4]"#);
    assert!(matches!(twice, Problem::Document(_)), "{twice}");
    assert!(matches!(swap(r#"\"hidden\":[4]"#, r#"\"hidden\":[5]"#), Problem::Digest { .. }));
    assert!(matches!(swap("layers.1.bias", "layers.1.bios"), Problem::Digest { .. }));

    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(read(&flipped).unwrap_err(), Problem::Digest { .. }));
}

/// A document that contradicts the tensors, under a digest that is right.
#[test]
fn a_consistent_lie_is_found_too() {
    let forge = |change: fn(&mut serde_json::Value), rename: Option<(&str, &str)>| {
        let (bytes, _) = small().to_bytes().unwrap();
        read(&forged(&bytes, change, rename)).map(drop).unwrap_err()
    };
    let nothing: fn(&mut serde_json::Value) = |_| ();
    let error = forge(nothing, Some(("layers.1.bias", "layers.1.bios")));
    assert!(
        matches!(&error, Problem::MissingTensor { nearest: Some(n), .. } if n == "layers.1.bios"),
        "{error}"
    );
    // What has a default in settings has none here.
    let without = |field: &str, change| {
        let error = forge(change, None);
        assert!(error.to_string().contains(&format!("missing field `{field}`")), "{error}");
    };
    without("activation", |d| {
        drop(d["architecture"].as_object_mut().unwrap().remove("activation"));
    });
    without("norm", |d| drop(d["architecture"].as_object_mut().unwrap().remove("norm")));
    without("residual", |d| drop(d["architecture"].as_object_mut().unwrap().remove("residual")));
    let error = forge(|d| d["architecture"]["norm"] = "none".into(), None);
    assert!(matches!(error, Problem::UnusedTensor { .. }), "{error}");
    let error = forge(|d| d["architecture"]["hidden"] = vec![5].into(), None);
    assert!(matches!(error, Problem::Shape { .. }), "{error}");
    let error = forge(|d| d["architecture"]["hidden"] = vec![u64::MAX / 8].into(), None);
    assert!(matches!(error, Problem::Config(_)), "{error}");
    // 16 TiB of weights, which are not in the file: refused without an attempt to allocate them.
    let error = forge(|d| d["architecture"]["hidden"] = vec![1u64 << 40].into(), None);
    assert!(matches!(error, Problem::Shape { .. } | Problem::Config(_)), "{error}");
    let error = forge(|d| d["architecture"]["hidden"] = vec![4; 100_000].into(), None);
    assert!(matches!(error, Problem::MissingTensor { .. } | Problem::Shape { .. }), "{error}");
    let error = forge(|d| d["task"]["labels"] = vec!["only one"].into(), None);
    assert!(matches!(error, Problem::Outputs { names: 1, outputs: 3 }), "{error}");
    let error =
        forge(|d| d["preprocessing"] = serde_json::json!({"kind": "scale", "scale": 1e300}), None);
    assert!(matches!(error, Problem::Input(_) | Problem::Document(_)), "{error}");
}

/// Rewrites a file with a changed document or a renamed tensor, and the digest that fits.
fn forged(
    bytes: &[u8],
    change: impl Fn(&mut serde_json::Value),
    rename: Option<(&str, &str)>,
) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    let text = &header.metadata().as_ref().unwrap()["fireclay"];
    let mut document: serde_json::Value = serde_json::from_str(text).unwrap();
    change(&mut document);
    let text = document.to_string();
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let mut tensors: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| match rename {
            Some((from, to)) if name == from => (to.to_owned(), view),
            _ => (name, view),
        })
        .collect();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(text.as_bytes());
    for (name, view) in &tensors {
        field(name.as_bytes());
        let shape: Vec<u8> = view.shape().iter().flat_map(|&s| (s as u64).to_le_bytes()).collect();
        field(&shape);
        field(view.data());
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let metadata = std::collections::HashMap::from([
        ("fireclay".to_owned(), text),
        ("fireclay_digest".to_owned(), format!("sha256:{digest}")),
    ]);
    safetensors::serialize(tensors, Some(metadata)).unwrap()
}

/// Found by fuzzing: the tensors came in the order of a hash map, another at each reading.
#[test]
fn a_checkpoint_that_is_read_is_written_as_it_was() {
    let tensor = |name: &str, values: Vec<f32>| NamedTensor {
        name: name.to_owned(),
        shape: vec![values.len()],
        values,
    };
    let run = [
        tensor("b", vec![]),
        tensor("a", vec![]),
        tensor("d", vec![f32::NAN]),
        tensor("c", vec![1.0]),
    ];
    let checkpoint =
        Checkpoint::new(small().to_host().unwrap(), serde_json::json!({"step": 3}), run);
    let written = checkpoint.to_bytes().unwrap();
    let back = Checkpoint::from_bytes(&written.0).unwrap();
    assert_eq!(back.to_bytes().unwrap(), written);
    let names: Vec<_> = back.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "d", "c"], "the order of the file");
}

/// Found with a crafted file: each tensor was looked for among all of them, which took a minute here.
#[test]
fn a_deep_network_takes_no_longer_than_its_size() {
    let start = std::time::Instant::now();
    let deep = MlpConfig::new([1], vec![1; 20_000], 1);
    let (bytes, _) = model(deep).to_bytes().unwrap();
    read(&bytes).unwrap();
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

/// Found by reading: the search for a similar name took more than a hundred times the memory of the
/// name. Names this long are alike in nothing, so only memory and time can tell that it is skipped.
#[test]
fn no_long_name_is_suggested() {
    let (bytes, _) = model(MlpConfig::new([1], [], 1)).to_bytes().unwrap();
    for (length, suggested) in [(100, true), (1_000_000, false)] {
        let long = format!("layers.0.bias{}", "s".repeat(length));
        let forged = forged(&bytes, |_| (), Some(("layers.0.bias", &long)));
        match read(&forged).map(drop).unwrap_err() {
            Problem::MissingTensor { name, nearest } => {
                assert_eq!(name, "layers.0.bias");
                assert_eq!(nearest, suggested.then_some(long));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_file_cut_anywhere_or_with_any_header_bit_flipped_never_loads_as_another_model() {
    let original = small();
    let (good, _) = original.to_bytes().unwrap();
    for end in 0..good.len() {
        assert!(read(&good[..end]).is_err(), "cut at {end}");
    }
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    for bit in 0..8 * header {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // What is outside tensors and document, such as padding, may differ in an equal model.
        if let Ok(model) = read(&bytes) {
            assert_eq!(model.to_bytes().unwrap().0, good, "bit {bit}");
        }
    }
}

#[test]
fn a_save_is_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let digest = small().save(&path).unwrap();
    assert!(digest.starts_with("sha256:") && digest.len() == 71);
    let before = fs::read(&path).unwrap();
    model(MlpConfig::new([6], [9], 3)).save(&path).unwrap();
    assert_ne!(fs::read(&path).unwrap(), before, "an old file is replaced");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no sibling is left");

    let below_a_file = path.join("model.safetensors");
    let error = small().save(&below_a_file).unwrap_err();
    assert!(error.to_string().starts_with(&below_a_file.display().to_string()), "{error}");
    let onto_a_folder = small().save(folder.path()).unwrap_err();
    assert!(matches!(onto_a_folder.problem, Problem::Io(_)), "{onto_a_folder}");
}

#[test]
fn a_folder_that_is_missing_is_told_without_the_file_beside() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("gone/model.safetensors");
    let error = small().save(&path).unwrap_err().to_string();
    let expected = format!("{}: ", path.display());
    let why = error.strip_prefix(&expected).unwrap();
    assert!(why.contains("os error") && !why.contains(".tmp"), "{error}");
}

#[test]
fn what_is_not_a_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let load = |path: &Path| Model::load(path, &Device::flex()).map(drop).unwrap_err().problem;
    assert!(matches!(load(folder.path()), Problem::NotAFile));
    assert!(matches!(load(&folder.path().join("absent")), Problem::Io(_)));
    #[cfg(unix)]
    assert!(matches!(load(Path::new("/dev/zero")), Problem::NotAFile));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn no_header_makes_it_panic(header in "[ -~]{0,200}", data in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.into_bytes());
        bytes.extend(data);
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn no_changed_bytes_make_it_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (mut bytes, _) = small().to_bytes().unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes);
    }
}
