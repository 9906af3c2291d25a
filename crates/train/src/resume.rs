//! Which run is to go on, or to be repeated, and with which settings.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::nearest;

use crate::args::Args;
use crate::checkpoints::Every;
use crate::disk::Disk;
use crate::manifest::Manifest;
use crate::run_folder::config;
use crate::settings::{Layer, Settings};

/// A run that is there already.
pub(crate) enum Found {
    /// It goes on.
    Resume {
        /// Its folder.
        folder: PathBuf,
    },
    /// It is done once more, in another folder.
    Repeat {
        /// Its folder.
        folder: PathBuf,
        /// What it was and came to.
        manifest: Box<Manifest>,
    },
}

/// The run that `--resume` or `--repeat` names, if either is given.
pub(crate) fn find(args: &Args, disk: &Disk) -> Result<Option<Found>> {
    if let Some(name) = &args.resume {
        let folder = folder(&args.out, name, disk)?;
        return Ok(Some(Found::Resume { folder }));
    }
    let Some(name) = &args.repeat else { return Ok(None) };
    let folder = folder(&args.out, name, disk)?;
    let manifest = Box::new(manifest(&folder, disk)?);
    if manifest.result.is_none() {
        bail!(
            "{} has not come to its end, so there is nothing to compare with; finish it with \
             --resume {}",
            folder.display(),
            folder.display()
        );
    }
    if manifest.result.as_ref().is_some_and(|result| result.stopped) {
        bail!(
            "{} was stopped from the dashboard, which nothing would do again; finish it with \
             --resume {}",
            folder.display(),
            folder.display()
        );
    }
    Ok(Some(Found::Repeat { folder, manifest }))
}

impl Found {
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Resume { folder } | Self::Repeat { folder, .. } => folder,
        }
    }

    /// How often its checkpoints were written, if its manifest says so.
    pub(crate) fn pace(&self, disk: &Disk) -> Vec<Every> {
        let last = |manifest: &Manifest| Some(manifest.sessions.last()?.checkpoint_every.clone());
        let found = match self {
            // One that can not be read is told of where it is needed.
            Self::Resume { folder } => Manifest::load(folder, disk).ok().as_ref().and_then(last),
            Self::Repeat { manifest, .. } => last(manifest),
        };
        found.unwrap_or_default()
    }

    /// The run's own settings, with what the command line changes in them.
    pub(crate) fn settings(&self, args: &Args) -> Result<Settings> {
        let folder = self.folder();
        let path = config(folder);
        let own = Layer::file(&path)
            .with_context(|| format!("{} is not the folder of a run", folder.display()))?;
        let before = Settings::from_layers(&[own])?;
        // Below the flags lie all of the run's settings, not the defaults.
        let mut layers = vec![Layer::file(&path)?];
        layers.extend(args.layers()?);
        let settings = Settings::from_layers(&layers)?;
        let differences = settings.differences(&before);
        if !differences.is_empty() {
            let lines = differences
                .iter()
                .map(|(setting, wanted, has)| format!("\n  {setting} is {has}, not {wanted}"));
            bail!(
                "{} goes on with the settings that it began with, and the command line asks for \
                 others:{}\nThe number of epochs, the backend and the device may change; for \
                 anything else start a new run, with --config {}",
                folder.display(),
                lines.collect::<String>(),
                path.display()
            );
        }
        if matches!(self, Self::Repeat { .. }) && settings.training.epochs != before.training.epochs
        {
            bail!("a run is repeated with as many epochs as it had: {}", before.training.epochs);
        }
        Ok(settings)
    }
}

/// The folder of a run by its path, its name, or as `latest`.
fn folder(out: &Path, name: &str, disk: &Disk) -> Result<PathBuf> {
    if name == "latest" {
        let runs = runs(out, disk);
        return runs
            .into_iter()
            .max_by(|a, b| started(&a.1).cmp(started(&b.1)))
            .map(|(path, _)| path)
            .with_context(|| format!("there is no run in {}", out.display()));
    }
    let path = PathBuf::from(name);
    let below = out.join(name);
    match [path, below].into_iter().find(|path| path.is_dir()) {
        Some(folder) => Ok(folder),
        None => {
            let names: Vec<String> = runs(out, disk)
                .iter()
                .filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned()))
                .collect();
            let hint = nearest(name, names.iter().map(String::as_str))
                .map_or(String::new(), |name| format!(", did you mean `{name}`?"));
            bail!("there is no run `{name}`, nor in {}{hint}", out.display())
        }
    }
}

fn manifest(folder: &Path, disk: &Disk) -> Result<Manifest> {
    Manifest::load(folder, disk).with_context(|| {
        format!("{} is not the folder of a run that can be repeated", folder.display())
    })
}

/// The runs in a folder that can be read.
fn runs(out: &Path, disk: &Disk) -> Vec<(PathBuf, Manifest)> {
    let entries = std::fs::read_dir(out).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let path = entry.path();
            Manifest::load(&path, disk).ok().map(|manifest| (path, manifest))
        })
        .collect()
}

/// When work on a run last began.
fn started(manifest: &Manifest) -> &str {
    manifest.sessions.last().map_or("", |session| &session.started)
}
