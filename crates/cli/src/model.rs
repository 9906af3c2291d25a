//! The model that a command line names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::{Adapter, Backend, Device, DeviceChoice, Model, ModelFileProblem};

use crate::output::printable;

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct Where {
    /// Compute with this backend.
    #[arg(long, value_name = "NAME")]
    backend: Option<Backend>,
    /// Use this device of it: a number, `cpu` or `integrated`.
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
    file_in(named, "model.safetensors", "name a model file, or a run that has ended")
}

/// The file that was named, or this one of the folder that was named.
fn file_in(named: &Path, name: &str, hint: &str) -> Result<PathBuf> {
    if !named.is_dir() {
        return Ok(named.to_owned());
    }
    let file = named.join(name);
    if !file.is_file() {
        bail!("{} is a folder without {name}; {hint}", named.display());
    }
    Ok(file)
}

/// Loads the model, with an adapter applied to it if one was named: a file, or the folder of a run.
pub(crate) fn load(named: &Path, adapter: Option<&Path>, device: &Device) -> Result<Model> {
    let model = whole(named, device)?;
    let Some(named) = adapter else { return Ok(model) };
    let hint = "name an adapter file, or a run of `fireclay finetune --lora`";
    let file = file_in(named, "adapter.safetensors", hint)?;
    Adapter::load(&file)?.apply(&model).with_context(|| file.display().to_string())
}

/// What was named, as it may be shown.
pub(crate) fn shown(named: &Path, adapter: Option<&Path>) -> String {
    let name = |path: &Path| printable(&path.display().to_string(), 200);
    match adapter {
        Some(adapter) => format!("{} with {}", name(named), name(adapter)),
        None => name(named),
    }
}

fn whole(named: &Path, device: &Device) -> Result<Model> {
    let file = file(named)?;
    let error = match Model::load(&file, device) {
        Ok(model) => return Ok(model),
        Err(error) => error,
    };
    let path = file.display();
    let is_foreign =
        matches!(error.problem, ModelFileProblem::Safetensors(_) | ModelFileProblem::NoDocument);
    if is_foreign && Adapter::load(&file).is_ok() {
        bail!(
            "{path} is an adapter, which needs its base; name the base, and this with \
             `--adapter {path}`, or make one model of both with `fireclay finetune merge`"
        );
    }
    if is_foreign && let Ok(archive) = fireclay_formats::read(&file) {
        bail!(
            "{path} is a {} file, not a model of Fireclay; make one of it with \
             `fireclay finetune import {path} --to model.safetensors`",
            archive.kind.name()
        );
    }
    Err(error.into())
}
