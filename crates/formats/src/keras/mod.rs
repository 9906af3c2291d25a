//! Models and weights of Keras.
//!
//! Four kinds of file: `.keras` (a zip archive of a configuration in JSON and weights in HDF5), the
//! `.weights.h5` of Keras 3, and the `.h5` of `model.save` and of `model.save_weights` of Keras 1
//! and 2, which Keras 3 still writes. A configuration names classes and functions, which Keras looks
//! up and calls. Here the names of the layers that a perceptron needs are known, and every other is
//! refused: nothing is looked up, nothing is called.

mod config;
mod loss;
mod network;
mod weights;

use crate::hdf5::File;
use crate::store::Part;
use crate::zipped::Zipped;
use crate::{Archive, Kind, Problem, Tensor};

use config::Model;
use network::network;
use weights::{StoredArray, tensors};

/// The name in messages.
const KIND: &str = "Keras";

const CONFIG: &str = "config.json";
const METADATA: &str = "metadata.json";
const WEIGHTS: &str = "model.weights.h5";

/// Bytes of a configuration; one of a hundred layers has 70 kB.
const LARGEST_CONFIG: u64 = 512 << 10;

/// Bytes of weights that are deflated; Keras stores them as they are.
const MOST_PACKED: u64 = 1 << 30;

/// Returns true if an archive is a `.keras` file.
pub(crate) fn is_keras(zip: &Zipped<'_>) -> bool {
    let weights = zip.names().iter().any(|name| name.starts_with("model.weights"));
    weights && zip.names().contains(&CONFIG)
}

/// Reads a `.keras` file.
///
/// # Errors
///
/// A [`Problem`] if it is damaged, or if its model is not a chain of known layers.
pub(crate) fn from_zip(zip: &Zipped<'_>) -> Result<Archive, Problem> {
    if !zip.names().contains(&WEIGHTS) {
        let why = "only weights in one HDF5 file are read; save it with model.save(\"name.keras\")";
        return Err(Problem::refused(format!("a Keras model without {WEIGHTS}"), why));
    }
    let version = if zip.names().contains(&METADATA) {
        config::version(&json(&zip.read(METADATA)?, METADATA)?)
    } else {
        None
    };
    let config = json(&zip.read(CONFIG)?, CONFIG)?;
    let model = Model::of(&config, is_old(version.as_deref(), false))?;
    let bytes = zip.part(WEIGHTS)?.in_memory("the size in bytes of packed weights", MOST_PACKED)?;
    let file = File::open(&bytes)?;
    let stored = weights::of_model(&file, &model)?;
    archive(Kind::Keras, &file, stored, Some((&model, &config["compile_config"]["loss"])), version)
}

/// Reads weights in HDF5, with the model if it is there.
///
/// # Errors
///
/// As [`from_zip`].
pub(crate) fn from_hdf5(bytes: &Part) -> Result<Archive, Problem> {
    let file = File::open(bytes)?;
    let kind = Kind::KerasHdf5;
    if let Some(config) = file.text("", "model_config")? {
        let version = weights::legacy_version(&file, "model_weights")?;
        let config = json(config.as_bytes(), "model_config")?;
        let model = Model::of(&config, is_old(version.as_deref(), true))?;
        let stored = weights::legacy(&file, "model_weights", Some(&model))?;
        let training = match file.text("", "training_config")? {
            Some(training) => json(training.as_bytes(), "training_config")?,
            None => serde_json::Value::Null,
        };
        return archive(kind, &file, stored, Some((&model, &training["loss"])), version);
    }
    if weights::is_legacy(&file)? {
        let version = weights::legacy_version(&file, "")?;
        let stored = weights::legacy(&file, "", None)?;
        return archive(kind, &file, stored, None, version);
    }
    let stored = weights::of_paths(&file)?;
    if stored.is_empty() {
        let why = "only weights and models of Keras are read from HDF5; save the arrays in Python: \
                   a = {}; h5py.File(FILE).visititems(lambda n, d: a.update({n: d[()]}) if \
                   isinstance(d, h5py.Dataset) else None); numpy.savez(\"model.npz\", **a)";
        return Err(Problem::refused("an HDF5 file without weights of Keras", why));
    }
    archive(kind, &file, stored, None, None)
}

/// Returns true if a version is before 3, in which some functions have another meaning; `unsaid` if
/// the file does not say.
fn is_old(version: Option<&str>, unsaid: bool) -> bool {
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    major.map_or(unsaid, |major| major < 3)
}

/// JSON that is not too large to be kept as a tree.
fn json(bytes: &[u8], what: &str) -> Result<serde_json::Value, Problem> {
    let found = bytes.len() as u64;
    if found > LARGEST_CONFIG {
        let what = "the number of bytes of a Keras configuration";
        return Err(Problem::Limit { what, found, most: LARGEST_CONFIG });
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::malformed(KIND, format!("{what} is not JSON ({error})")))
}

fn archive(
    kind: Kind,
    file: &File<'_>,
    stored: Vec<StoredArray>,
    model: Option<(&Model, &serde_json::Value)>,
    version: Option<String>,
) -> Result<Archive, Problem> {
    let mut notes = Vec::new();
    if let Some(version) = version {
        notes.push(format!("written by Keras {version}"));
    }
    notes.extend(weights::left_out(file));
    let mut tensors: Vec<Tensor> = tensors(file, stored)?;
    if tensors.is_empty() {
        return Err(Problem::malformed(KIND, "it has no weights"));
    }
    let Some((model, loss)) = model else {
        return Ok(Archive { notes, ..Archive::new(kind, tensors) });
    };
    let mut network = network(model, &mut tensors, &mut notes)?;
    let task = loss::task(loss, &mut network, &tensors, &mut notes);
    Ok(Archive { network: Some(network), task, notes, ..Archive::new(kind, tensors) })
}
