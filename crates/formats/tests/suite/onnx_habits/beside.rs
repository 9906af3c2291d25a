//! Numbers in files beside the model, and constants in odd places.

use std::fs;
use std::path::Path;

use fireclay_formats::{Archive, Layer, Norm, from_bytes, read};

use super::{beside, check, layers, small};
use crate::support::onnx::{Model, bytes, element, float, model, node, numbers};
use crate::support::tensor;

#[test]
fn numbers_lie_in_a_file_beside_the_model() {
    let (archive, _) = check("beside", "scaled");
    let whole = read(small("scaled.onnx")).unwrap();
    let find = |archive: &Archive| tensor(archive, "linear.weight").clone();
    assert_eq!(find(&archive), find(&whole));
    let files: Vec<_> = archive.files.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(files, ["beside.onnx.data"]);
    assert!(whole.files.is_empty());
    // Without a folder there is no file beside.
    let alone = from_bytes(&fs::read(small("beside.onnx")).unwrap()).unwrap_err().to_string();
    assert!(alone.contains("only a model read by its path has a folder"), "{alone}");
}

/// Reads a model with a file of 100 bytes beside it.
fn read_beside(folder: &Path, model: &Model) -> Result<Archive, String> {
    let path = folder.join("model.onnx");
    fs::write(&path, model.bytes()).unwrap();
    read(&path).map_err(|error| error.to_string())
}

#[test]
fn files_beside_the_model_lie_within_its_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("folder");
    fs::create_dir_all(folder.join("inner")).unwrap();
    for path in [folder.join("w"), folder.join("inner/w"), outer.path().join("secret")] {
        fs::write(path, [0; 100]).unwrap();
    }
    assert!(read_beside(&folder, &beside("w", 4, 48)).is_ok());
    // However a file within it is written, it is one.
    for location in ["inner/w", "./inner/w", "./inner/./w", "inner/../inner/w"] {
        let archive = read_beside(&folder, &beside(location, 52, 48)).unwrap();
        assert_eq!(archive.files, [folder.canonicalize().unwrap().join("inner/w")], "{location}");
    }
    let absolute = outer.path().join("secret").display().to_string();
    for location in ["../secret", &absolute, "./../secret", "inner/../../secret", ""] {
        let said = read_beside(&folder, &beside(location, 0, 48)).unwrap_err();
        assert!(said.contains("outside the folder of the model"), "{said}");
    }
    let said = read_beside(&folder, &beside("weights", 0, 48)).unwrap_err();
    assert!(said.contains("in the file \"weights\", which is missing"), "{said}");
    let said = read_beside(&folder, &beside("inner", 0, 48)).unwrap_err();
    assert!(said.contains("no regular file"), "{said}");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("link")).unwrap();
        let said = read_beside(&folder, &beside("link", 0, 48)).unwrap_err();
        assert!(said.contains("a link to outside the folder"), "{said}");
        std::os::unix::fs::symlink(folder.join("w"), folder.join("within")).unwrap();
        assert!(read_beside(&folder, &beside("within", 0, 48)).is_ok());
    }
    for (offset, length) in [(53, 48), (u64::MAX, 48), (0, 47), (0, 4800)] {
        let said = read_beside(&folder, &beside("w", offset, length)).unwrap_err();
        assert!(said.contains("tensor \"w\" needs 48 bytes"), "{said}");
    }
}

#[test]
fn tensors_that_share_a_file_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w"), [0; 48]).unwrap();
    let mut shared = beside("w", 0, 48);
    let mut nodes = vec![node("Gemm", &["x", "w"], &["y0"], &[])];
    for at in 0..20 {
        let name = format!("v{at}");
        let entry = |key: &str, value: &str| {
            bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat())
        };
        // Other spellings of its path do not allow for more.
        let location = format!("{}w", "./".repeat(at));
        let place = [entry("location", &location), element(14, 1)].concat();
        shared = shared.initializer(numbers(&name, &[3], 1, &place));
        nodes.push(node("Add", &[&format!("y{at}"), &name], &[&format!("y{}", at + 1)], &[]));
    }
    let said = read_beside(folder.path(), &shared.nodes(&nodes).outputs(&["y20"])).unwrap_err();
    assert!(said.contains("that tensors share in a file beside the model"), "{said}");
}

#[test]
fn constants_cast_like_a_value_stay_what_they_are() {
    let constant =
        |name: &str, number| node("Constant", &[], &[name], &[float("value_float", number)]);
    let like =
        |name: &str, value: &str, output: &str| node("CastLike", &[name, value], &[output], &[]);
    let bounded = |first: &str, value: &str| {
        model(&[
            node("Gemm", &["x", "w"], &["h"], &[]),
            constant("low", -0.5),
            constant("high", 2.0),
            node("Greater", &["h", "low"], &["g"], &[]),
            like(first, value, "a"),
            like("high", "h", "b"),
            node("Clip", &["h", "a", "b"], &["y"], &[]),
        ])
        .tensor("w", &[4, 3], &[0.5; 12])
    };
    let Layer::Activation(found) = &layers(&bounded("low", "h"))[1] else { panic!() };
    let expected = [("min".to_owned(), -0.5), ("max".to_owned(), 2.0)].into();
    assert_eq!((found.name.as_str(), &found.constants), ("hard-tanh", &expected));
    // A bound that becomes a truth value is another.
    assert!(from_bytes(&bounded("low", "g").bytes()).is_err());
    let (_, network) = check("like", "like");
    let norms = |layer: &&Layer| matches!(layer, Layer::Norm { kind: Norm::Rms, .. });
    assert_eq!(network.layers.iter().filter(norms).count(), 1);
}

#[test]
fn factors_that_are_expanded_to_the_samples_are_those_of_a_norm() {
    let (_, network) = check("bare", "bare");
    assert!(matches!(network.layers[1], Layer::Norm { kind: Norm::Layer, .. }));
}
