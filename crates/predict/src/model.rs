//! The model that a person names: a file, or the folder of a run.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fireclay_files::run::{ADAPTER, MANIFEST, MODEL, runs_inside};
use fireclay_files::{RegularFile, check_file_place, read_regular, sha256};
use fireclay_formats::{Problem, not_a_model, not_an_adapter};
use fireclay_model::model_file::digest_of;
use fireclay_model::{
    Adapter, AdapterError, AdapterFileError, Model, ModelFileError, ModelFileProblem, Predictor,
};
use fireclay_terminal::{hint_of_runs, quoted_path};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The most bytes of a manifest that are read.
const MOST_OF_A_MANIFEST: u64 = 64 << 20;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A folder without the file that is looked for.
    #[error(
        "{} is a folder without {file}; {remedy}{}",
        .folder.display(), hint_of_runs(&runs_inside(.folder))
    )]
    NotInFolder {
        /// The folder.
        folder: PathBuf,
        /// The name of the file.
        file: &'static str,
        /// What to name.
        remedy: &'static str,
    },
    /// A run that has not come to its end.
    #[error(
        "the run {} has no {MODEL} yet: it has not come to its end; finish it with `fireclay {program} \
         --resume {}`",
        .run.display(), quoted_path(.run)
    )]
    Unfinished {
        /// The folder of the run.
        run: PathBuf,
        /// The command that trained it, `train` or `finetune`.
        program: &'static str,
    },
    /// A finished run whose model is gone.
    #[error(
        "the run {} is finished, and its {MODEL} is gone; `fireclay {program} --resume {pasted}` writes \
         it again from the last checkpoint, and `fireclay {program} --repeat {pasted}` does the whole \
         run again",
        .run.display(), pasted = quoted_path(.run)
    )]
    Gone {
        /// The folder of the run.
        run: PathBuf,
        /// The command that trained it, `train` or `finetune`.
        program: &'static str,
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
        source: ManifestProblem,
    },
    /// A file that took the place of the run's own.
    #[error(
        "{}: this is not the {} it is {found}, {MANIFEST} has {recorded}; put that one back{}",
        .path.display(),
        if *.is_model { "model that the run ended with:" } else { "file that the run wrote:" },
        if *.is_model { ", or copy this one out of the folder to use it" } else { "" }
    )]
    Replaced {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The digest that the run recorded.
        recorded: String,
        /// Whether it is the model of the run.
        is_model: bool,
    },
    /// A file of a run that cannot be read.
    #[error("{}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}

/// What is wrong with the manifest of a run.
#[derive(Debug, thiserror::Error)]
pub enum ManifestProblem {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is cut off, or something else.
    #[error(
        "this is no whole manifest of a run ({0}); put the whole file back, or name the model file \
         instead of its folder"
    )]
    Malformed(#[from] serde_json::Error),
}

/// Loads a model on the host, with an adapter applied to it if one is named; each is a file, or the
/// folder of a run.
///
/// # Errors
///
/// A [`LoadError`] that names the file or folder and what is wrong with it.
pub fn load(named: &Path, adapter: Option<&Path>) -> Result<Predictor, LoadError> {
    let file = model_file(named)?;
    let predictor = match adapter {
        None => Predictor::load(&file).map_err(|error| explained(&file, error))?,
        Some(adapter) => load_with(&file, adapter)?,
    };
    check_run(named, &file)?;
    Ok(predictor)
}

fn load_with(base: &Path, named: &Path) -> Result<Predictor, LoadError> {
    let (path, adapter) = load_adapter(named)?;
    let base = Model::load(base).map_err(|error| explained(base, error))?;
    let tuned = adapter.apply(&base).and_then(|tuned| Ok(Predictor::new(tuned)?));
    tuned.map_err(|source| LoadError::Apply { path, source })
}

/// Returns the model file of what was named: a file, or the folder of a run.
///
/// # Errors
///
/// A [`LoadError`] for a folder without one; of a run it says why.
pub fn model_file(named: &Path) -> Result<PathBuf, LoadError> {
    let found = file_in(named, MODEL, "name a model file, or a run that has ended");
    let Err(LoadError::NotInFolder { .. }) = &found else { return found };
    let Ok(Manifest { settings, result, .. }) = read_manifest(named) else { return found };
    let program = if settings.tuning.is_some() { "finetune" } else { "train" };
    let run = named.to_owned();
    Err(match result {
        None => LoadError::Unfinished { run, program },
        Some(_) => LoadError::Gone { run, program },
    })
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

/// Reads the adapter that was named, a file or the folder of a run, and returns it with its file.
///
/// # Errors
///
/// A [`LoadError`]; of another file it says what it is.
pub fn load_adapter(named: &Path) -> Result<(PathBuf, Adapter), LoadError> {
    let remedy = "name an adapter file, or a run of `fireclay finetune --lora`";
    let file = file_in(named, ADAPTER, remedy)?;
    check_run(named, &file)?;
    let adapter = Adapter::load(&file).map_err(|error| {
        let is_foreign =
            matches!(&error.problem, AdapterError::File(problem) if problem.may_be_foreign());
        match not_an_adapter(&file) {
            Some(what) if is_foreign => LoadError::Foreign(what),
            _ => error.into(),
        }
    })?;
    Ok((file, adapter))
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
#[derive(Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    settings: RunSettings,
    /// SHA-256 of files that the run started from or wrote.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Nothing until the run has ended.
    result: Option<Ending>,
}

/// What is read of the settings of a run.
#[derive(Default, Deserialize)]
struct RunSettings {
    /// The model that it starts from, if it does.
    tuning: Option<IgnoredAny>,
}

/// What a run ended with.
#[derive(Deserialize)]
struct Ending {
    /// The digest of its model.
    model: String,
}

/// Makes sure that a file of a run, its model or its adapter, is what the run wrote; of a file that was
/// named itself this is a warning, as it may be meant.
///
/// # Errors
///
/// [`LoadError::Manifest`] and [`LoadError::Replaced`] of a run that was named.
pub fn check_run(named: &Path, file: &Path) -> Result<(), LoadError> {
    if named.is_dir() {
        return check_recorded(named, file);
    }
    // Of `model.safetensors` alone the folder is the empty path.
    let folder = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    if let Err(error @ LoadError::Replaced { .. }) = check_recorded(folder, file) {
        log::warn!("{error}");
    }
    Ok(())
}

/// Makes sure that a file in the folder of a run is the one that the run recorded, if it did.
fn check_recorded(run: &Path, file: &Path) -> Result<(), LoadError> {
    let path = run.join(MANIFEST);
    if std::fs::symlink_metadata(&path).is_err() {
        return Ok(());
    }
    let manifest = read_manifest(run).map_err(|source| LoadError::Manifest { path, source })?;
    // An adapter is written before the manifest says so.
    let Some(Ending { model }) = &manifest.result else { return Ok(()) };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let is_model = name == MODEL;
    let recorded = if is_model { Some(model) } else { manifest.files.get(&*name) };
    let Some(recorded) = recorded.cloned() else { return Ok(()) };
    let found = if is_model { digest_of_model(file)? } else { digest_of_bytes(file)? };
    if found == recorded {
        return Ok(());
    }
    Err(LoadError::Replaced { path: file.to_owned(), found, recorded, is_model })
}

/// The digest in a model file.
fn digest_of_model(path: &Path) -> Result<String, LoadError> {
    let file = RegularFile::open(path).map_err(ModelFileProblem::from);
    let found = file.and_then(|file| digest_of(&file));
    let found = found.map_err(|problem| ModelFileError { path: path.to_owned(), problem })?;
    Ok(found.unwrap_or_else(|| "not signed".to_owned()))
}

/// The digest over the bytes of a file.
fn digest_of_bytes(path: &Path) -> Result<String, LoadError> {
    let hash = read_regular(path, u64::MAX).and_then(|bytes| sha256(&bytes));
    let hash = hash.map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    Ok(format!("sha256:{hash}"))
}

fn read_manifest(run: &Path) -> Result<Manifest, ManifestProblem> {
    Ok(serde_json::from_slice(&read_regular(&run.join(MANIFEST), MOST_OF_A_MANIFEST)?)?)
}
