//! The model that a command line names.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fireclay::{Backend, Device, DeviceChoice, Model, ModelFileProblem};

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
    if !named.is_dir() {
        return Ok(named.to_owned());
    }
    let file = named.join("model.safetensors");
    if !file.is_file() {
        bail!(
            "{} is a folder without a model.safetensors; name a model file, or a run that has ended",
            named.display()
        );
    }
    Ok(file)
}

/// Loads the model.
pub(crate) fn load(named: &Path, device: &Device) -> Result<Model> {
    let file = file(named)?;
    let error = match Model::load(&file, device) {
        Ok(model) => return Ok(model),
        Err(error) => error,
    };
    let path = file.display();
    let is_foreign =
        matches!(error.problem, ModelFileProblem::Safetensors(_) | ModelFileProblem::NoDocument);
    if is_foreign && finetune::adapter::Adapter::load(&file).is_ok() {
        bail!(
            "{path} is an adapter, which needs its base; make one model of both with \
             `fireclay finetune merge --base BASE --adapter {path} --to model.safetensors`"
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
