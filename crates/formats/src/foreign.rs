//! Files that can be named and are not read: what each is, and what to do instead.
//!
//! A file is known by its first bytes, by the names of what an archive holds, by the fields of a
//! message, or by a word in its text. Nothing is unpacked but a few bytes.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use crate::Problem;
use crate::onnx::fields;
use crate::store::Part;
use crate::zipped::Zipped;

/// The name of a kind of file, and the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words(&'static str, &'static str);

/// The bytes of a text or a pickle that are searched for a word.
const SEARCHED: usize = 64 << 10;

/// The bytes of a compressed file that are unpacked.
const UNPACKED: u64 = 4 << 10;

const COPY: &str = "copy or download it again";
const MODEL: &str = "name a model file";
const EXPORT: &str = "export the network as .onnx from the program that made it";
const UNPACK: &str = "unpack it first, and name the file inside";

const EMPTY: Words = Words("an empty file", COPY);
const ZEROS: Words = Words("a file that begins with nothing but zeros", COPY);
const TEXT: Words = Words("text, such as a script, a table or settings", MODEL);
const SAVED_MODEL: Words = Words(
    "a SavedModel of TensorFlow",
    "convert it with tf2onnx: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
);
const CHECKPOINT: Words = Words(
    "a checkpoint of TensorFlow",
    "load it in Python into the model that it is of: \
     tf.train.Checkpoint(model=model).restore(PREFIX); model.save(\"model.keras\"). One of \
     TensorFlow 1 has arrays by name: r = tf.train.load_checkpoint(PREFIX); t = \
     r.get_variable_to_dtype_map(); numpy.savez(\"model.npz\", **{n: r.get_tensor(n) for n \
     in sorted(t) if t[n].is_floating})",
);
const ORBAX: Words = Words(
    "a checkpoint of Orbax",
    "save its arrays in Python: t = orbax.checkpoint.PyTreeCheckpointer().restore(FOLDER) and then \
     numpy.savez(\"model.npz\", **{\"/\".join(k): v for k, v in \
     flax.traverse_util.flatten_dict(t).items()})",
);
const DISTRIBUTED: Words = Words(
    "a distributed checkpoint of PyTorch",
    "make one file of it in Python: \
     torch.distributed.checkpoint.format_utils.dcp_to_torch_save(FOLDER, \"model.pt\")",
);
const FLAX: Words = Words(
    "MessagePack, such as parameters of Flax",
    "save its arrays in Python: p = flax.serialization.msgpack_restore(open(FILE, \"rb\").read()) \
     and then numpy.savez(\"model.npz\", **{\"/\".join(k): v for k, v in \
     flax.traverse_util.flatten_dict(p).items()})",
);
const SCIKIT_LEARN: Words = Words(
    "a pickle of scikit-learn, and a pickle is a program that runs as it is read",
    "if you trust it, load it in Python, model = joblib.load(FILE), and save its arrays: \
     numpy.savez(\"model.npz\", **{f\"coefs_{i}\": c for i, c in enumerate(model.coefs_)}, \
     **{f\"intercepts_{i}\": b for i, b in enumerate(model.intercepts_)}, \
     activation=model.activation, out_activation_=model.out_activation_, classes_=model.classes_); \
     a regressor has no classes_, and a pipeline with a scaler is saved by \
     open(\"model.onnx\", \"wb\").write(skl2onnx.to_onnx(model, X[:1].astype(\"f4\")).SerializeToString())",
);
const TORCH_PICKLE: Words = Words(
    "a Python pickle of tensors, not of torch.save, and a pickle is a program that runs as it is read",
    "if you trust it, save it in Python: torch.save(pickle.load(open(FILE, \"rb\")), \"model.pt\")",
);
const ARRAY_PICKLE: Words = Words(
    "a Python pickle, and a pickle is a program that runs as it is read",
    "if you trust it, and it is a dictionary of arrays, save them in Python: \
     numpy.savez(\"model.npz\", **pickle.load(open(FILE, \"rb\"))); of a model save the tensors: \
     torch.save(model.state_dict(), \"model.pt\")",
);
const EXPORTED: Words = Words(
    "an exported program of PyTorch, which comes with its own code",
    "save its tensors in Python: torch.save(torch.export.load(FILE).state_dict, \"model.pt\")",
);
const PACKAGE: Words = Words(
    "a package of PyTorch, which comes with its own code",
    "save its tensors in Python: torch.save(model.state_dict(), \"model.pt\")",
);
const CORE_ML: Words = Words("a model of Core ML", EXPORT);
const LFS: Words = Words(
    "a pointer of Git LFS, which stands for the model and is not it",
    "fetch the model itself: git lfs pull",
);
const PAGE: Words = Words("a web page, not a model", "download the file that the page is about");
const INDEX: Words = Words(
    "the index of a model in several files",
    "make one file of them in Python: from safetensors.torch import load_file, save_file and then \
     save_file({k: v for f in FILES for k, v in load_file(f).items()}, \"model.safetensors\")",
);
const INDEX_OF_PICKLES: Words = Words(
    "the index of a model in several files",
    "make one file of them in Python: torch.save({k: v for f in FILES for k, v in torch.load(f, \
     weights_only=True).items()}, \"model.pt\")",
);
const KERAS_JSON: Words = Words(
    "an architecture of Keras without its weights",
    "save both in Python: model.save(\"model.keras\")",
);
const GRAPH: Words = Words(
    "a frozen graph of TensorFlow",
    "convert it with tf2onnx: python -m tf2onnx.convert --graphdef FILE --inputs NAME:0 --outputs \
     NAME:0 --output model.onnx",
);
const ZIP: Words = Words("a zip archive without a model that is known", UNPACK);

/// Files that begin with these bytes.
const BEGINNINGS: &[(&[u8], Words)] = &[
    (b"GGUF", Words("a GGUF file", "start from the .safetensors or .pt that it was made of")),
    (b"lmgg", Words("a GGML file", "start from the .safetensors or .pt that it was made of")),
    (b"fmgg", Words("a GGML file", "start from the .safetensors or .pt that it was made of")),
    (b"tjgg", Words("a GGML file", "start from the .safetensors or .pt that it was made of")),
    (b"PK\x05\x06", Words("a zip archive without entries", COPY)),
    (b"RDX", Words("data of R", EXPORT)),
    (b"RDA", Words("data of R", EXPORT)),
    (b"X\n\0\0\0", Words("data of R", EXPORT)),
    (
        b"MATLAB 7.3",
        Words(
            "a file of MATLAB",
            "save its arrays in Python, whose rows and columns change places: \
             numpy.savez(\"model.npz\", **{k: v[()].T for k, v in h5py.File(FILE).items() if k[0] != \
             \"#\"})",
        ),
    ),
    (
        b"MATLAB",
        Words(
            "a file of MATLAB",
            "save its arrays in Python: numpy.savez(\"model.npz\", **{k: v for k, v in \
             scipy.io.loadmat(FILE).items() if k[0] != \"_\"}), or the network in MATLAB: \
             exportONNXNetwork(net, \"model.onnx\")",
        ),
    ),
    (b"ftrt", Words("an engine of TensorRT", "start from the .onnx that it was built from")),
    (b"RKNN", Words("a model of RKNN", "start from the .onnx that it was built from")),
    (b"CBM1", Words("a model of CatBoost, which has no layers", MODEL)),
    (b"tree\nversion=", Words("a model of LightGBM, which has no layers", MODEL)),
    (b"binf", Words("a model of XGBoost, which has no layers", MODEL)),
    (b"7767517\n", Words("a network of ncnn", EXPORT)),
    (b"\x12\x01\0\0\0\0\0\0", Words("parameters of MXNet", EXPORT)),
    (b"\x89PNG\r\n\x1a\n", Words("a PNG picture, not a model", MODEL)),
    (b"\xff\xd8\xff", Words("a JPEG picture, not a model", MODEL)),
    (b"GIF8", Words("a GIF picture, not a model", MODEL)),
    (b"II*\0", Words("a TIFF picture, not a model", MODEL)),
    (b"MM\0*", Words("a TIFF picture, not a model", MODEL)),
    (b"%PDF", Words("a PDF, not a model", MODEL)),
    (b"\x7fELF", Words("a program, not a model", MODEL)),
    (b"MZ", Words("a program, not a model", MODEL)),
    (b"\xcf\xfa\xed\xfe", Words("a program, not a model", MODEL)),
    (b"\xfe\xed\xfa\xcf", Words("a program, not a model", MODEL)),
    (b"\xca\xfe\xba\xbe", Words("a program, not a model", MODEL)),
    (b"!<arch>\n", Words("a library, not a model", MODEL)),
    (b"SQLite format 3\0", Words("a database of SQLite, not a model", MODEL)),
    (b"PAR1", Words("a table in Parquet, not a model", MODEL)),
    (b"ARROW1", Words("a table in Arrow, not a model", MODEL)),
    (b"OggS", Words("a sound, not a model", MODEL)),
    (b"ID3", Words("a sound, not a model", MODEL)),
    (b"fLaC", Words("a sound, not a model", MODEL)),
    (
        b"\0\0\x08\x01",
        Words("a data file of the IDX kind, not a model", "give its folder as --data"),
    ),
    (
        b"\0\0\x08\x03",
        Words("a data file of the IDX kind, not a model", "give its folder as --data"),
    ),
    (b"\x28\xb5\x2f\xfd", Words("a file compressed by zstd", UNPACK)),
    (b"\xfd7zXZ\0", Words("a file compressed by xz", UNPACK)),
    (b"BZh", Words("a file compressed by bzip2", UNPACK)),
    (b"\x04\x22\x4d\x18", Words("a file compressed by lz4", UNPACK)),
    (b"\x5d\0\0", Words("a file compressed by LZMA", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Words("a 7z archive", UNPACK)),
    (b"Rar!\x1a\x07", Words("a RAR archive", UNPACK)),
];

/// Files that have these bytes from another place on.
const INNER: &[(usize, &[u8], Words)] = &[
    (
        4,
        b"TFL3",
        Words(
            "a model of TensorFlow Lite",
            "convert it with tf2onnx: python -m tf2onnx.convert --tflite FILE --output model.onnx",
        ),
    ),
    (4, b"ET12", Words("a program of ExecuTorch", "start from the .pt that it was exported from")),
    (8, b"ET12", Words("a program of ExecuTorch", "start from the .pt that it was exported from")),
    (8, b"WEBP", Words("a WebP picture, not a model", MODEL)),
    (8, b"WAVE", Words("a sound, not a model", MODEL)),
    (4, b"ftyp", Words("a video or a picture, not a model", MODEL)),
    (257, b"ustar", Words("a tar archive", UNPACK)),
];

/// The number that a table of TensorFlow's checkpoints ends with.
const TABLE: &[u8] = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb";

impl From<Words> for Problem {
    fn from(Words(what, instead): Words) -> Self {
        Problem::Foreign { what, instead }
    }
}

/// Names the kind of a file that is not read, if it is known.
pub(crate) fn name(file: &Part) -> Result<Option<Words>, Problem> {
    let beginning = file.beginning()?;
    if beginning.is_empty() {
        return Ok(Some(EMPTY));
    }
    if beginning.iter().all(|&byte| byte == 0) {
        return Ok(Some(ZEROS));
    }
    let end = file.size().saturating_sub(TABLE.len() as u64)..file.size();
    if file.keep(end)? == TABLE {
        return Ok(Some(CHECKPOINT));
    }
    let words = by_beginning(beginning).or_else(|| compressed(beginning));
    let words = match words {
        Some(words) => Some(words),
        None => text(searched(file)?),
    };
    Ok(words.or_else(|| message(file)).or_else(|| packed(beginning)))
}

/// As much of a file as is searched for a word.
pub(crate) fn searched(file: &Part) -> Result<&[u8], Problem> {
    file.keep(0..file.size().min(SEARCHED as u64))
}

fn by_beginning(bytes: &[u8]) -> Option<Words> {
    if let Some((_, words)) = BEGINNINGS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(*words);
    }
    let found = INNER
        .iter()
        .find(|&&(at, magic, _)| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic)));
    found.map(|(_, _, words)| *words)
}

/// A file compressed by gzip or zlib, by what is in it.
fn compressed(bytes: &[u8]) -> Option<Words> {
    let mut inside = Vec::new();
    let words = match bytes {
        [0x1f, 0x8b, 8, ..] => {
            // What can be read of it is enough, and it may be cut off.
            let _ = flate2::read::GzDecoder::new(bytes).take(UNPACKED).read_to_end(&mut inside);
            Words("a file compressed by gzip", UNPACK)
        }
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            let _ = flate2::read::ZlibDecoder::new(bytes).take(UNPACKED).read_to_end(&mut inside);
            Words("a file compressed by zlib", UNPACK)
        }
        _ => return None,
    };
    if is_pickle(&inside) {
        return Some(pickle(&inside));
    }
    if [&b"RDX"[..], b"RDA", b"X\n\0\0\0"].iter().any(|magic| inside.starts_with(magic)) {
        return Some(Words("data of R", EXPORT));
    }
    Some(words)
}

/// Returns true if bytes begin as a pickle of any protocol does.
fn is_pickle(bytes: &[u8]) -> bool {
    if matches!(bytes, [0x80, 2..=5, ..]) {
        return true;
    }
    // Before protocol 2 there is no mark: a collection, or the name of a class on two lines.
    match bytes {
        [b'(', b'd' | b'l', b'p' | b'q', ..] | [b'}' | b']', b'q', 0, ..] => true,
        [b'c', rest @ ..] => {
            let mut lines = rest.splitn(3, |&byte| byte == b'\n');
            let names = (lines.next(), lines.next(), lines.next());
            matches!(names, (Some(module), Some(class), Some(_)) if is_name(module) && is_name(class))
        }
        _ => false,
    }
}

/// Returns true if a line can be the name of a module or a class of Python.
fn is_name(line: &[u8]) -> bool {
    line.len() > 1 && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(byte))
}

/// Names the kind of a pickle by the names at its beginning.
pub(crate) fn pickle(bytes: &[u8]) -> Words {
    if holds(bytes, b"sklearn") {
        SCIKIT_LEARN
    } else if holds(bytes, b"torch") {
        TORCH_PICKLE
    } else {
        ARRAY_PICKLE
    }
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// Names the kind of a text by its beginning.
fn text(bytes: &[u8]) -> Option<Words> {
    if is_pickle(bytes) {
        return Some(pickle(bytes));
    }
    let is_wide = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if is_wide && bytes.len().is_multiple_of(2) && holds(&bytes[..bytes.len().min(64)], b"\0") {
        return Some(TEXT);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // A character that is cut where the search ends.
        Err(error) if error.error_len().is_none() && bytes.len() == SEARCHED => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if text.contains(|c: char| c.is_control() && !['\n', '\r', '\t', '\u{c}'].contains(&c)) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start();
    Some(match text.chars().next() {
        Some('<') => markup(text),
        Some('{' | '[') => json(text),
        _ if text.starts_with("version https://git-lfs") => LFS,
        _ if text.starts_with("model_checkpoint_path:") => CHECKPOINT,
        _ if text.starts_with("node {") => Words(
            "a graph of TensorFlow in text",
            "save the model in Python: model.save(\"model.keras\")",
        ),
        _ => TEXT,
    })
}

fn markup(text: &str) -> Words {
    let is_page = ["<!doctype html", "<html", "<head", "<body"]
        .iter()
        .any(|word| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)));
    if is_page {
        PAGE
    } else if text.contains("<PMML") {
        Words("a model in PMML", EXPORT)
    } else if text.contains("<net ") {
        Words("a network of OpenVINO", "start from the .onnx or .pt that it was made of")
    } else if text.contains("<html") {
        PAGE
    } else {
        Words("XML, not a model", MODEL)
    }
}

fn json(text: &str) -> Words {
    if has_key(text, "weight_map") && text.contains(".bin\"") {
        INDEX_OF_PICKLES
    } else if has_key(text, "weight_map") {
        INDEX
    } else if has_key(text, "modelTopology") || has_key(text, "weightsManifest") {
        Words("a model of TensorFlow.js", "save the model in Python: model.save(\"model.keras\")")
    } else if has_key(text, "class_name") {
        KERAS_JSON
    } else if has_key(text, "learner") {
        Words("a model of XGBoost, which has no layers", MODEL)
    } else if has_key(text, "model_type") || has_key(text, "architectures") {
        Words("the settings of a model without its weights", "name the file of weights beside it")
    } else {
        Words("JSON, not a model", MODEL)
    }
}

/// Returns true if a text of JSON, which may be cut off, has a key of this name anywhere.
fn has_key(text: &str, key: &str) -> bool {
    text.contains(&format!("\"{key}\""))
}

/// Names the kind of a message of Protocol Buffers by its fields.
fn message(file: &Part) -> Option<Words> {
    let found = fields(file, None)?;
    if found.iter().any(|number| (200..4000).contains(number)) && found.contains(&2) {
        return Some(CORE_ML);
    }
    if found.contains(&100) {
        return Some(Words("a network of Caffe", EXPORT));
    }
    if found == BTreeSet::from([1, 2])
        && has_inside(file, 2, &[2])
        && fields(file, Some(1)).is_none()
    {
        return Some(SAVED_MODEL);
    }
    if found.contains(&1)
        && found.iter().all(|number| (1..=4).contains(number))
        && has_inside(file, 1, &[1, 2])
    {
        return Some(GRAPH);
    }
    None
}

/// A map of MessagePack whose first key is a text.
fn packed(bytes: &[u8]) -> Option<Words> {
    let rest = match bytes {
        [0x81..=0x8f, rest @ ..] | [0xde, _, _, rest @ ..] | [0xdf, _, _, _, _, rest @ ..] => rest,
        _ => return None,
    };
    let (length, rest) = match rest {
        [first @ 0xa1..=0xbf, rest @ ..] => (usize::from(first - 0xa0), rest),
        [0xd9, length, rest @ ..] => (usize::from(*length), rest),
        _ => return None,
    };
    let key = std::str::from_utf8(rest.get(..length)?).ok()?;
    let is_plain = !key.is_empty() && !key.contains(char::is_control);
    is_plain.then_some(FLAX)
}

/// Returns true if field `number` is a message that has all of these fields.
fn has_inside(file: &Part, number: u64, all: &[u64]) -> bool {
    fields(file, Some(number)).is_some_and(|inner| all.iter().all(|one| inner.contains(one)))
}

/// Names the kind of a zip archive that nothing here reads.
pub(crate) fn zip(zipped: &Zipped<'_>) -> Words {
    let names = zipped.names();
    if any_ends(names, "archive_format") && any_has(names, "/models/")
        || any_ends(names, "serialized_exported_program.json")
    {
        EXPORTED
    } else if any_has(names, ".data/extern_modules") {
        PACKAGE
    } else if any_ends(names, "saved_model.pb") {
        SAVED_MODEL
    } else if any_has(names, "com.apple.CoreML") {
        CORE_ML
    } else if any_ends(names, "[Content_Types].xml") {
        Words("a document of an office program, not a model", MODEL)
    } else if any_ends(names, "META-INF/MANIFEST.MF") {
        Words("a program, not a model", MODEL)
    } else {
        ZIP
    }
}

fn any_ends(names: &[&str], end: &str) -> bool {
    names.iter().any(|name| name.ends_with(end))
}

fn any_has(names: &[&str], part: &str) -> bool {
    names.iter().any(|name| name.contains(part))
}

/// The error of what is opened and is a folder, if anything is known of it.
pub(crate) fn opened_folder(path: &Path) -> Option<Words> {
    const MODELS: [&str; 9] =
        [".safetensors", ".pt", ".pth", ".bin", ".keras", ".h5", ".onnx", ".npz", ".bpk"];
    folder(path).or_else(|| {
        let has_model = names_in(path).any(|name| MODELS.iter().any(|end| name.ends_with(end)));
        has_model.then_some(Words("a folder", "name the model file in it"))
    })
}

/// Names the kind of a folder that programs keep a model in.
pub(crate) fn folder(path: &Path) -> Option<Words> {
    if has(path, "saved_model.pb") {
        return Some(SAVED_MODEL);
    }
    if ["_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt"].iter().any(|name| has(path, name)) {
        return Some(ORBAX);
    }
    if has(path, "Manifest.json") && has(path, "Data/com.apple.CoreML") {
        return Some(CORE_ML);
    }
    if names_in(path).any(|name| name.ends_with(".distcp")) {
        return Some(DISTRIBUTED);
    }
    if names_in(path).any(|name| name.contains(".data-") && name.contains("-of-")) {
        return Some(of_checkpoint(path));
    }
    if names_in(path).any(|name| name.ends_with(".bin.index.json")) {
        return Some(INDEX_OF_PICKLES);
    }
    names_in(path).any(|name| name.ends_with(".index.json")).then_some(INDEX)
}

/// Names the owner of a checkpoint of TensorFlow in this folder: a SavedModel has one of its own.
fn of_checkpoint(folder: &Path) -> Words {
    let whole = folder.parent().map(|above| above.join("saved_model.pb"));
    if whole.is_some_and(|whole| whole.exists()) { SAVED_MODEL } else { CHECKPOINT }
}

/// The names in a folder. It may have any number of files; those of a model are few.
fn names_in(path: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().take(1000);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn has(folder: &Path, name: &str) -> bool {
    folder.join(name).exists()
}

/// A number as `model-00001-of-00002` has them.
fn of_five_digits(digits: &str) -> Option<u32> {
    let is_number = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// The error of a file that its name calls one part of several.
pub(crate) fn part(path: &Path) -> Option<Problem> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().unwrap_or(Path::new(""));
    if name.contains(".data-") && name.contains("-of-") {
        return Some(of_checkpoint(folder).into());
    }
    if name == "fingerprint.pb" && has(folder, "saved_model.pb") {
        return Some(SAVED_MODEL.into());
    }
    if let Some((prefix, "index" | "meta")) = name.rsplit_once('.')
        && has(folder, &format!("{prefix}.data-00000-of-00001"))
    {
        return Some(of_checkpoint(folder).into());
    }
    let stem = name.split('.').next()?;
    let (before, count) = stem.rsplit_once("-of-")?;
    let (_, number) = before.rsplit_once('-')?;
    let (number, count) = (of_five_digits(number)?, of_five_digits(count)?);
    let is_pickle = [".bin", ".pt", ".pth"].iter().any(|end| name.ends_with(end));
    let Words(_, instead) = if is_pickle { INDEX_OF_PICKLES } else { INDEX };
    (count > 1).then_some(Problem::Part { number, count, instead })
}

#[cfg(test)]
mod tests;
