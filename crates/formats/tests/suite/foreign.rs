//! Contract of naming: a file of a kind that is known and not read is called by its name, with a way
//! out, whatever it is called.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::support::golden;
use crate::support::zip::{Entry, archive};
use fireclay_formats::{Problem, check_name, from_bytes, read, whole_file};

#[track_caller]
fn expect(found: Result<impl std::fmt::Debug, Problem>, what: &str, instead: &str) {
    let Err(problem @ Problem::Foreign { .. }) = &found else { panic!("{what}: {found:?}") };
    let message = problem.to_string();
    assert!(message.starts_with(&format!("this is {what}")), "{message}");
    assert!(message.contains(instead), "{message}");
}

#[test]
fn files_of_other_programs() {
    for (file, what, instead) in [
        ("sklearn.joblib", "a pickle of scikit-learn", "numpy.savez"),
        ("sklearn-packed.joblib", "a pickle of scikit-learn", "coefs_"),
        ("sklearn0.pkl", "a pickle of scikit-learn", "intercepts_"),
        ("sklearn2.pkl", "a pickle of scikit-learn", "a regressor has no classes_"),
        ("sklearn5.pkl", "a pickle of scikit-learn", "activation=model.activation"),
        ("arrays.pkl", "a Python pickle, and", "numpy.savez"),
        ("tensors.pkl", "a Python pickle of tensors", "torch.save"),
        ("arrays.mat", "a file of MATLAB", "scipy.io.loadmat"),
        ("exported.pt2", "an exported program of PyTorch", "torch.export.load(FILE).state_dict"),
        ("package.pt", "a package of PyTorch", "state_dict()"),
        ("saved_model.pb", "a SavedModel of TensorFlow", "--saved-model"),
        ("model.tflite", "a model of TensorFlow Lite", "--tflite"),
        ("ckpt-1.index", "a checkpoint of TensorFlow", "tf.train.load_checkpoint"),
        ("frozen.pb", "a frozen graph of TensorFlow", "--graphdef"),
    ] {
        let bytes = fs::read(golden("foreign").join(file)).unwrap();
        expect(from_bytes(&bytes), what, instead);
    }
    let error = read(golden("pytorch/script.pt")).unwrap_err().to_string();
    assert!(error.contains("torch.jit.load(FILE).state_dict()"), "{error}");
}

#[test]
fn files_by_their_first_bytes() {
    let padded = |beginning: &[u8]| [beginning, &[7; 300]].concat();
    for (beginning, what, instead) in [
        (&b"GGUF\x03\0\0\0"[..], "a GGUF file", ".safetensors"),
        (b"\x18\0\0\0ET12", "a program of ExecuTorch", ".pt"),
        (b"PK\x05\x06\0\0", "a zip archive without entries", "download it again"),
        (b"RDX3\n", "data of R", ".onnx"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture, not a model", "name a model file"),
        (b"\xff\xd8\xff\xe0", "a JPEG picture, not a model", "name a model file"),
        (b"%PDF-1.7\n", "a PDF", "name a model file"),
        (b"\x7fELF\x02", "a program", "name a model file"),
        (b"\0\0\x08\x03", "a data file of the IDX kind", "--data"),
        (b"\x28\xb5\x2f\xfd", "a file compressed by zstd", "unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    ] {
        expect(from_bytes(&padded(beginning)), what, instead);
    }
    expect(from_bytes(b""), "an empty file", "again");
    expect(from_bytes(&[0; 4096]), "a file that begins with nothing but zeros", "again");
    // One byte more or less, and nothing is known of it.
    for beginning in [&b"GGU"[..], b"\x18\0\0\0TFL2", b"\xff\xd8"] {
        let found = from_bytes(&padded(beginning));
        assert!(matches!(found, Err(Problem::Unknown { .. })), "{found:?}");
    }
}

#[test]
fn what_is_compressed_is_looked_into() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    expect(from_bytes(&gzip(b"X\n\0\0\0\x02")), "data of R", ".onnx");
    let pickle = fs::read(golden("foreign/sklearn2.pkl")).unwrap();
    expect(from_bytes(&gzip(&pickle)), "a pickle of scikit-learn", "coefs_");
    expect(from_bytes(&gzip(b"anything")), "a file compressed by gzip", "unpack it first");
    // Of a bomb only a little is unpacked.
    expect(from_bytes(&gzip(&vec![0; 50_000_000])), "a file compressed by gzip", "unpack");
}

#[test]
fn archives_by_the_names_in_them() {
    for (name, what) in [
        ("a/saved_model.pb", "a SavedModel"),
        ("m.mlpackage/Data/com.apple.CoreML/model.mlmodel", "a model of Core ML"),
        ("[Content_Types].xml", "a document of an office program"),
        ("model.onnx", "a zip archive without a model that is known"),
    ] {
        expect(from_bytes(&archive(&[Entry::stored(name, b"a")])), what, "");
    }
}

/// Field `number` of a message, of these bytes.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for mut value in [number << 3 | 2, bytes.len() as u64] {
        while value >= 0x80 {
            encoded.push(value as u8 | 0x80);
            value >>= 7;
        }
        encoded.push(value as u8);
    }
    [encoded, bytes.to_vec()].concat()
}

#[test]
fn messages_by_their_fields() {
    let core_ml = [b"\x08\x07".to_vec(), field(2, &field(1, b"")), field(500, b"")].concat();
    expect(from_bytes(&core_ml), "a model of Core ML", ".onnx");
    let caffe = [field(1, b"net"), field(100, &field(1, b"fc"))].concat();
    expect(from_bytes(&caffe), "a network of Caffe", ".onnx");
    // A model of ONNX begins as a SavedModel does.
    let onnx = [b"\x08\x07".to_vec(), field(2, b"somebody"), field(7, b"")].concat();
    let found = from_bytes(&onnx);
    assert!(!matches!(found, Err(Problem::Foreign { .. } | Problem::Unknown { .. })), "{found:?}");
}

#[test]
fn folders_that_hold_a_model() {
    for (file, what) in [
        ("saved_model.pb", "a SavedModel of TensorFlow"),
        ("_METADATA", "a checkpoint of Orbax"),
        ("__0_0.distcp", "a distributed checkpoint of PyTorch"),
        ("model.safetensors.index.json", "the index of a model in several files"),
        ("model.safetensors", "a folder; name the model file in it"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file), b"").unwrap();
        expect(whole_file(folder.path()), what, "");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(whole_file(folder.path()), Err(Problem::NotAFile)));
}

#[test]
fn one_part_of_several_is_no_model() {
    let whole = golden("pytorch/plain.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("model-00001-of-00002.safetensors");
    fs::copy(&whole, &part).unwrap();
    let error = read(&part).unwrap_err().to_string();
    assert!(
        error.contains("this is part 1 of 2 of a model") && error.contains("save_file"),
        "{error}"
    );
    let only = folder.path().join("model-00001-of-00001.safetensors");
    fs::copy(&whole, &only).unwrap();
    assert_eq!(read(&only).unwrap(), read(&whole).unwrap());
}

/// A message that is cut is cut between two characters.
#[test]
fn what_is_unknown_is_shown_whole() {
    for (bytes, shown) in [
        (&b"\x01\x02 abc"[..], "it begins with the bytes 01 02 20 61 62 63"),
        (b"\xc3\x28\0", "it begins with the bytes c3 28 00"),
        ("\u{1}aaaaaaaaaaaaaa\u{e4}b".as_bytes(), "it begins with the bytes 01 61 61 61"),
    ] {
        let message = from_bytes(bytes).unwrap_err().to_string();
        assert!(message.contains(shown), "{message}");
        assert!(!message.contains('\u{fffd}'), "{message}");
    }
}

#[test]
fn parts_lead_to_what_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    for (part, instead) in [
        ("model-00001-of-00002.safetensors", "load_file(f)"),
        ("pytorch_model-00002-of-00002.bin", "torch.load(f, weights_only=True)"),
    ] {
        let problem = check_name(&folder.path().join(part)).unwrap_err();
        assert!(matches!(problem, Problem::Part { count: 2, .. }), "{problem}");
        assert!(problem.to_string().contains(instead), "{problem}");
    }
    let index =
        |file: &str| from_bytes(format!(r#"{{"weight_map": {{"w": "{file}"}}}}"#).as_bytes());
    expect(
        index("a-00001-of-00002.bin"),
        "the index of a model",
        "torch.load(f, weights_only=True)",
    );
    expect(index("a-00001-of-00002.safetensors"), "the index of a model", "load_file(f)");
}

#[test]
fn parts_of_a_saved_model_and_of_a_checkpoint_are_told_by_what_is_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let variables = folder.path().join("variables");
    fs::create_dir(&variables).unwrap();
    let parts = ["v.data-00000-of-00001", "v.index", "v.meta"].map(|name| variables.join(name));
    for part in &parts {
        fs::write(part, b"").unwrap();
    }
    let print = folder.path().join("fingerprint.pb");
    assert!(check_name(&print).is_ok());
    let named = |path: &Path| check_name(path).map_err(|problem| problem.to_string());
    for part in &parts {
        assert!(named(part).unwrap_err().contains("restore(PREFIX)"));
    }
    expect(whole_file(&variables), "a checkpoint of TensorFlow", "restore(PREFIX)");
    fs::write(folder.path().join("saved_model.pb"), b"").unwrap();
    for part in parts.iter().chain([&print]) {
        assert!(named(part).unwrap_err().contains("tf2onnx.convert --saved-model"));
    }
    expect(whole_file(&variables), "a SavedModel of TensorFlow", "tf2onnx.convert");
    assert!(named(&variables.join("other.index")).is_ok());
}
