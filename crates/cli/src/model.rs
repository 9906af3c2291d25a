//! The model that a command line names.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use fireclay::{Backend, Device, DeviceChoice, LoadError, Loaded, Model};
use fireclay_predict::{check_run, explained, load_adapter, model_file};
use fireclay_terminal::printable;
use train::disk::Disk;
use train::manifest::Manifest;
use train::run_files::{ADAPTER, FOLDS, MODEL, START};
use train::verify;

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct Where {
    /// Backend to compute with [default: flex].
    #[arg(long, value_name = "NAME")]
    backend: Option<Backend>,
    /// Device to use: an index from `fireclay backends`, `cpu` or `integrated` [default: the first].
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceChoice>,
}

impl Where {
    pub(crate) fn device(self) -> Result<Device> {
        let choice = self.device.unwrap_or_default();
        Ok(self.backend.unwrap_or_default().device(choice)?)
    }
}

/// Returns true if a folder is that of the runs of a cross-validation, and of no run itself.
pub(crate) fn is_cross_validation(folder: &Path) -> bool {
    !Manifest::path(folder).exists() && folder.join(FOLDS).is_file()
}

/// Everything in the folder of a run that its manifest contradicts; nothing of a file.
pub(crate) fn faults(named: &Path) -> Vec<String> {
    if !named.is_dir() || is_cross_validation(named) {
        return Vec::new();
    }
    match verify::folder(named, &Disk::default()) {
        Ok((_, faults)) => faults.iter().map(ToString::to_string).collect(),
        Err(error) => {
            vec![format!("{error}; nothing tells whether the files are those of the run")]
        }
    }
}

/// Warns of everything in the folder of a run that its manifest contradicts.
pub(crate) fn warn_of_faults(named: &Path) {
    for fault in faults(named) {
        log::warn!("{fault}");
    }
}

/// The folder and the manifest of the run that wrote what was named: the folder itself, or that of a
/// file that has the task and the data of the run.
pub(crate) fn run_of(named: &Path) -> Result<Option<(PathBuf, Manifest)>> {
    let name = named.file_name().unwrap_or_default().to_string_lossy();
    let folder = if named.is_dir() {
        named
    } else if [MODEL, ADAPTER, START].contains(&&*name) {
        // Of `model.safetensors` alone that is the empty path.
        named.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
    } else {
        return Ok(None);
    };
    if std::fs::symlink_metadata(Manifest::path(folder)).is_err() {
        return Ok(None);
    }
    let manifest = Manifest::load(folder, &Disk::default())?;
    Ok(Some((folder.to_owned(), manifest)))
}

/// Loads the model, with an adapter applied to it if one was named: a file, or the folder of a run.
pub(crate) fn load(named: &Path, adapter: Option<&Path>, device: &Device) -> Result<Loaded> {
    let file = model_file(named)?;
    let loaded = match adapter {
        None => Loaded::load(&file, device).map_err(|error| explained(&file, error))?,
        Some(adapter) => load_with(&file, adapter, device)?,
    };
    check_run(named, &file)?;
    Ok(loaded)
}

/// A base with an adapter: a file, or the folder of a run.
fn load_with(base: &Path, adapter: &Path, device: &Device) -> Result<Loaded> {
    let (file, adapter) = load_adapter(adapter)?;
    Loaded::load_with(base, &adapter, device).map_err(|error| match error {
        LoadError::Base(error) => explained(base, error).into(),
        LoadError::Adapter(error) => Error::from(error).context(file.display().to_string()),
    })
}

/// Loads the model onto a device, for what needs its weights.
pub(crate) fn load_weights(named: &Path, device: &Device) -> Result<Model> {
    let file = model_file(named)?;
    let model = Model::load(&file, device).map_err(|error| explained(&file, error))?;
    check_run(named, &file)?;
    Ok(model)
}

/// What was named, as it may be shown.
pub(crate) fn shown(named: &Path, adapter: Option<&Path>) -> String {
    let name = printable(&named.display().to_string(), 200);
    match adapter {
        Some(adapter) => format!("{name} with {}", shown(adapter, None)),
        None => name,
    }
}
