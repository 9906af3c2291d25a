//! The model that a command line names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use fireclay::{Backend, Device, DeviceChoice, LoadError, Loaded, Model};
use fireclay_files::check_file_place;
use fireclay_predict::{explained, load_adapter};
use fireclay_terminal::{printable, quoted_path};
use train::disk::Disk;
use train::manifest::Manifest;
use train::run_files::{ADAPTER, MODEL, START};
use train::run_folder::hint_inside;
use train::verify;

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct Where {
    /// Backend to compute with [default: flex].
    #[arg(long, value_name = "NAME")]
    backend: Option<Backend>,
    /// Device to use: an index from `fireclay backends`, `cpu` or `integrated`.
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceChoice>,
}

impl Where {
    pub(crate) fn device(self) -> Result<Device> {
        let choice = self.device.unwrap_or_default();
        Ok(self.backend.unwrap_or_default().device(choice)?)
    }
}

/// The model file of what was named: a file, or the folder of a run.
pub(crate) fn file(named: &Path) -> Result<PathBuf> {
    file_in(named, MODEL, "name a model file, or a run that has ended")
}

/// The file that was named, or this one of the folder that was named.
fn file_in(named: &Path, name: &str, hint: &str) -> Result<PathBuf> {
    if !named.is_dir() {
        return Ok(named.to_owned());
    }
    let file = named.join(name);
    check_file_place(&file).with_context(|| file.display().to_string())?;
    if !file.is_file() {
        if let Some(problem) = fireclay_formats::folder(named) {
            return Err(problem).with_context(|| named.display().to_string());
        }
        if let (true, Ok(manifest)) = (name == MODEL, Manifest::load(named, &Disk::default())) {
            bail!(without_model(named, &manifest));
        }
        let inside = hint_inside(named);
        bail!("{} is a folder without {name}; {hint}{inside}", named.display());
    }
    Ok(file)
}

/// Message for a run without a model.
fn without_model(run: &Path, manifest: &Manifest) -> String {
    let program = if manifest.settings.tuning.is_some() { "finetune" } else { "train" };
    let (named, pasted) = (run.display(), quoted_path(run));
    if manifest.result.is_none() {
        return format!(
            "the run {named} has no {MODEL} yet: it has not come to its end; finish it with \
             `fireclay {program} --resume {pasted}`"
        );
    }
    format!(
        "the run {named} is finished, and its {MODEL} is gone; `fireclay {program} --resume \
         {pasted}` writes it again from the last checkpoint, and `fireclay {program} --repeat \
         {pasted}` does the whole run again"
    )
}

/// Everything in the folder of a run that its manifest contradicts; nothing of a file.
pub(crate) fn faults(named: &Path) -> Vec<String> {
    if !named.is_dir() {
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

/// Makes sure that a file of a run is what the run wrote; of a file that was named itself this is a
/// warning, as it may be meant.
fn check_run(named: &Path, file: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let found = run_of(named);
    let checked = match &found {
        Ok(Some((folder, manifest))) if name == MODEL => manifest.check_model(folder),
        // An adapter is written before the manifest says so.
        Ok(Some((folder, manifest))) if manifest.result.is_some() => {
            manifest.check_file(folder, &name, &Disk::default())
        }
        _ => Ok(()),
    };
    match checked {
        Err(error) if named.is_dir() => Err(error.into()),
        Err(error) => {
            log::warn!("{error}");
            Ok(())
        }
        Ok(()) if named.is_dir() => found.map(drop),
        Ok(()) => Ok(()),
    }
}

/// Loads the model, with an adapter applied to it if one was named: a file, or the folder of a run.
pub(crate) fn load(named: &Path, adapter: Option<&Path>, device: &Device) -> Result<Loaded> {
    let file = file(named)?;
    let loaded = match adapter {
        None => Loaded::load(&file, device).map_err(|error| explained(&file, error).into()),
        Some(adapter) => load_with(&file, adapter, device),
    };
    let loaded = loaded?;
    check_run(named, &file)?;
    Ok(loaded)
}

/// A base with an adapter: a file, or the folder of a run.
fn load_with(base: &Path, adapter: &Path, device: &Device) -> Result<Loaded> {
    let hint = "name an adapter file, or a run of `fireclay finetune --lora`";
    let file = file_in(adapter, ADAPTER, hint)?;
    check_run(adapter, &file)?;
    Loaded::load_with(base, &load_adapter(&file)?, device).map_err(|error| match error {
        LoadError::Base(error) => explained(base, error).into(),
        LoadError::Adapter(error) => Error::from(error).context(file.display().to_string()),
    })
}

/// Loads the model onto a device, for what needs its weights.
pub(crate) fn load_weights(named: &Path, device: &Device) -> Result<Model> {
    let file = file(named)?;
    let model = Model::load(&file, device).map_err(|error| explained(&file, error))?;
    check_run(named, &file)?;
    Ok(model)
}

/// What was named, as it may be shown.
pub(crate) fn shown(named: &Path, adapter: Option<&Path>) -> String {
    let name = |path: &Path| printable(&path.display().to_string(), 200);
    match adapter {
        Some(adapter) => format!("{} with {}", name(named), name(adapter)),
        None => name(named),
    }
}
