//! The model that a person names: a file, or the folder of a run.

use std::error::Error;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fireclay_files::{ReadAt, RegularFile, Stretch, check_file_place};
use fireclay_formats::{Problem, not_a_model, not_an_adapter};
use fireclay_model::model_file::digest_of;
use fireclay_model::{
    Adapter, AdapterError, AdapterFileError, Model, ModelFileError, ModelFileProblem, Predictor,
};
use fireclay_terminal::quoted_path;
use serde::Deserialize;

/// The model in the folder of a run.
const MODEL: &str = "model.safetensors";
/// The adapter in the folder of a run.
const ADAPTER: &str = "adapter.safetensors";
/// What the folder of a run records of itself.
const MANIFEST: &str = "manifest.json";

/// The most bytes of it that are read.
const MOST_OF_A_MANIFEST: u64 = 64 << 20;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A folder without the file that is looked for.
    #[error("{} is a folder without {file}; {remedy}", .folder.display())]
    NotInFolder {
        /// The folder.
        folder: PathBuf,
        /// The name of the file.
        file: &'static str,
        /// What to name.
        remedy: &'static str,
    },
    /// A pipe, a device or a broken link in the place of the file.
    #[error("{}", .path.display())]
    Place {
        /// The place.
        path: PathBuf,
        /// What is there.
        source: io::Error,
    },
    /// A folder of another program.
    #[error("{}", .folder.display())]
    ForeignFolder {
        /// The folder.
        folder: PathBuf,
        /// What it is.
        source: Problem,
    },
    /// A file of another program, in words.
    #[error("{0}")]
    Foreign(String),
    /// An adapter where a model is needed.
    #[error(
        "{} is an adapter, which needs its base; name the base, and this with `--adapter {}`, or \
         make one model of both with `fireclay finetune merge`",
        .0.display(), quoted_path(.0)
    )]
    IsAdapter(PathBuf),
    /// A model file that cannot be read.
    #[error(transparent)]
    Model(#[from] ModelFileError),
    /// An adapter file that cannot be read.
    #[error(transparent)]
    Adapter(#[from] AdapterFileError),
    /// An adapter that cannot be applied to the model.
    #[error("{}", .path.display())]
    Apply {
        /// The file of the adapter.
        path: PathBuf,
        /// What is wrong.
        source: AdapterError,
    },
    /// The manifest of a run that cannot be read.
    #[error("{}", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A model that took the place of the run's own.
    #[error(
        "{}: this is not the model that the run ended with: it is {found}, {MANIFEST} has {recorded}; \
         put that one back, or copy this one out of the folder to use it",
        .path.display()
    )]
    Replaced {
        /// The file of the model.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The digest that the run recorded.
        recorded: String,
    },
}

/// Loads a model on the host, with an adapter applied to it if one is named; each is a file, or the
/// folder of a run.
///
/// # Errors
///
/// A [`LoadError`] that names the file or folder and what is wrong with it.
pub fn load(named: &Path, adapter: Option<&Path>) -> Result<Predictor, LoadError> {
    let file = file_in(named, MODEL, "name a model file, or a run that has ended")?;
    let predictor = match adapter {
        None => Predictor::load(&file).map_err(|error| explained(&file, error))?,
        Some(adapter) => load_with(&file, adapter)?,
    };
    if named.is_dir() {
        check_recorded(named, &file)?;
    }
    Ok(predictor)
}

fn load_with(base: &Path, adapter: &Path) -> Result<Predictor, LoadError> {
    let remedy = "name an adapter file, or a run of `fireclay finetune --lora`";
    let path = file_in(adapter, ADAPTER, remedy)?;
    let adapter = load_adapter(&path)?;
    let base = Model::load(base).map_err(|error| explained(base, error))?;
    let tuned = adapter.apply(&base).and_then(|tuned| Ok(Predictor::new(tuned)?));
    tuned.map_err(|source| LoadError::Apply { path, source })
}

/// The file that was named, or this one of the folder that was named.
fn file_in(named: &Path, file: &'static str, remedy: &'static str) -> Result<PathBuf, LoadError> {
    if !named.is_dir() {
        return Ok(named.to_owned());
    }
    let path = named.join(file);
    if let Err(source) = check_file_place(&path) {
        return Err(LoadError::Place { path, source });
    }
    if path.is_file() {
        return Ok(path);
    }
    let folder = named.to_owned();
    Err(match fireclay_formats::folder(named) {
        Some(source) => LoadError::ForeignFolder { folder, source },
        None => LoadError::NotInFolder { folder, file, remedy },
    })
}

/// Reads an adapter; of another file, says what it is.
///
/// # Errors
///
/// [`LoadError::Adapter`], and [`LoadError::Foreign`].
pub fn load_adapter(file: &Path) -> Result<Adapter, LoadError> {
    Adapter::load(file).map_err(|error| {
        let is_foreign =
            matches!(&error.problem, AdapterError::File(problem) if problem.may_be_foreign());
        match not_an_adapter(file) {
            Some(what) if is_foreign => LoadError::Foreign(what),
            _ => error.into(),
        }
    })
}

/// What is wrong with the file of a model, and what it is if it is something else.
pub fn explained(file: &Path, error: ModelFileError) -> LoadError {
    if !error.problem.may_be_foreign() {
        return error.into();
    }
    if fireclay_formats::open(file).is_ok_and(|file| Adapter::check(&*file).is_ok()) {
        return LoadError::IsAdapter(file.to_owned());
    }
    not_a_model(file).map_or_else(|| error.into(), LoadError::Foreign)
}

/// What is read of the manifest of a run.
#[derive(Deserialize)]
struct Manifest {
    /// Nothing until the run has ended.
    result: Option<Ending>,
}

/// What a run ended with.
#[derive(Deserialize)]
struct Ending {
    /// The digest of its model.
    model: String,
}

/// Makes sure that the model in the folder of a run is the one that the run ended with.
fn check_recorded(run: &Path, model: &Path) -> Result<(), LoadError> {
    let path = run.join(MANIFEST);
    if !path.exists() {
        return Ok(());
    }
    let manifest = read_manifest(&path).map_err(|source| LoadError::Manifest { path, source })?;
    let Some(Ending { model: recorded }) = manifest.result else { return Ok(()) };
    let file = RegularFile::open(model).map_err(ModelFileProblem::from);
    let found = file.and_then(|file| digest_of(&file));
    let found = found.map_err(|problem| ModelFileError { path: model.to_owned(), problem })?;
    let found = found.unwrap_or_else(|| "not signed".to_owned());
    if found == recorded {
        return Ok(());
    }
    Err(LoadError::Replaced { path: model.to_owned(), found, recorded })
}

fn read_manifest(path: &Path) -> Result<Manifest, Box<dyn Error + Send + Sync>> {
    let file = RegularFile::open(path)?;
    let mut text = Vec::new();
    Stretch::new(&file, 0..file.size().min(MOST_OF_A_MANIFEST)).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
