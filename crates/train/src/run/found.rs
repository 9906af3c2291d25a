//! Which run is to go on, or to be repeated, with which settings, and on what data.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::nearest;
use fireclay_files::run::runs_inside;
use fireclay_terminal::{hint_of_runs, quoted_path};

use super::{Changes, RunOptions};
use crate::disk::Disk;
use crate::manifest::Manifest;
use crate::run_files::{LOCK, MANIFEST};
use crate::run_folder::{config, never_began};
use crate::settings::{Partial, Settings};

/// An existing run.
pub(super) enum Found {
    /// It is resumed.
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

/// The run that is to be resumed, by its path, its name, or as `latest`.
pub(super) fn to_resume(name: &str, options: &RunOptions) -> Result<Found> {
    let folder = folder(&options.out, name, &options.disk)?;
    check_began(&folder)?;
    Ok(Found::Resume { folder })
}

/// The finished run that is to be repeated, named in the same ways.
pub(super) fn to_repeat(name: &str, options: &RunOptions) -> Result<Found> {
    let folder = folder(&options.out, name, &options.disk)?;
    let manifest = Box::new(manifest(&folder, &options.disk)?);
    let Some(result) = &manifest.result else {
        bail!(
            "{} has not come to its end, so there is nothing to compare with; finish it with `{}`",
            folder.display(),
            options.resume(&folder)
        );
    };
    if result.stopped {
        bail!(
            "{} was stopped from the dashboard, which nothing would do again; finish it with `{}`",
            folder.display(),
            options.resume(&folder)
        );
    }
    Ok(Found::Repeat { folder, manifest })
}

/// Refuses the folder of a run that has no manifest, which is written before the first step.
fn check_began(folder: &Path) -> Result<()> {
    let manifest = Manifest::path(folder);
    if std::fs::symlink_metadata(&manifest).is_ok() {
        return Ok(());
    }
    let named = folder.display();
    if never_began(folder) && folder.join(LOCK).exists() {
        bail!(
            "{named} has no {MANIFEST}: the run was killed before its first step, so there is \
             nothing to resume; start it again with the same --name, which takes this folder"
        );
    }
    let config = config(folder);
    if config.exists() {
        let is_tuned = Partial::file(&config).is_ok_and(|own| own.table.contains_key("tuning"));
        let new = new_run(&config, is_tuned);
        bail!("{named} has no {MANIFEST}, so the run cannot be resumed; put it back, or {new}");
    }
    bail!(no_run(folder))
}

/// How to start a new run with the settings of a run; those of a tuned model come from the flags of
/// `finetune`, as the parameters by name are those of its start.
fn new_run(config: &Path, is_tuned: bool) -> String {
    if is_tuned {
        "start a new run with --from".to_owned()
    } else {
        format!("start a new run with --config {}", quoted_path(config))
    }
}

/// Message for a folder that is no run.
fn no_run(folder: &Path) -> String {
    let hint = hint_of_runs(&runs_inside(folder));
    format!("{} is not the folder of a run{hint}", folder.display())
}

impl Found {
    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Resume { folder } | Self::Repeat { folder, .. } => folder,
        }
    }

    /// Its manifest, if it can be read; whoever needs it reads it again and reports the error.
    pub(super) fn manifest(&self, disk: &Disk) -> Option<Manifest> {
        match self {
            Self::Resume { folder } => Manifest::load(folder, disk).ok(),
            Self::Repeat { manifest, .. } => Some(manifest.as_ref().clone()),
        }
    }

    /// The run's own settings with the changes in them, and what its data is called.
    ///
    /// Data may move: what it was called in the beginning, which is in the manifest, stays.
    pub(super) fn settings(
        &self,
        changes: &Changes,
        manifest: Option<&Manifest>,
    ) -> Result<(Settings, DataNames)> {
        let folder = self.folder();
        let own = own_settings(folder, manifest)?;
        let before = Settings::merged(std::slice::from_ref(&own))?;
        // Below the changes lie all of the run's settings, not the defaults.
        let parts = [&[own][..], &changes.settings].concat();
        let mut settings = Settings::merged(&parts)?;
        let is_told = changes.data.is_some() || settings.data.source != before.data.source;
        let told = is_told.then(|| std::mem::take(&mut settings.data.source));
        settings.data.source.clone_from(&before.data.source);
        let differences = settings.differences(&before);
        if !differences.is_empty() {
            let lines = differences
                .iter()
                .map(|(setting, wanted, has)| format!("\n  {setting} is {has}, not {wanted}"));
            bail!(
                "{} resumes with its own settings, and the command line has others:{}\nOnly the number \
                 of epochs, the backend, the device and the folder of the data may change; for \
                 anything else {}",
                folder.display(),
                lines.collect::<String>(),
                new_run(&config(folder), before.tuning.is_some())
            );
        }
        if matches!(self, Self::Repeat { .. }) && settings.training.epochs != before.training.epochs
        {
            bail!("a run is repeated with as many epochs as it had: {}", before.training.epochs);
        }
        let names = DataNames {
            own: settings.data.source.clone(),
            told,
            replayed: replayed(&mut settings).cloned(),
        };
        if let Some(mut first) = manifest.map(|manifest| manifest.settings.clone()) {
            settings.data.source.clone_from(&first.data.source);
            if let (Some(own), Some(first)) = (replayed(&mut settings), replayed(&mut first)) {
                own.clone_from(first);
            }
        }
        Ok((settings, names))
    }
}

/// The settings of a run: its file, or what its manifest has of them if the file is gone.
fn own_settings(folder: &Path, manifest: Option<&Manifest>) -> Result<Partial> {
    let path = config(folder);
    let is_gone = std::fs::symlink_metadata(&path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if let Some(manifest) = manifest.filter(|_| is_gone) {
        return Ok(Partial::text(MANIFEST, &manifest.settings.to_file())?);
    }
    Partial::file(&path).with_context(|| no_run(folder))
}

/// What the data of a run is called.
pub(super) struct DataNames {
    /// In its config.toml, which may have been changed by hand since.
    pub(super) own: String,
    /// On the command line.
    pub(super) told: Option<String>,
    /// Rows that are replayed, in its config.toml.
    pub(super) replayed: Option<String>,
}

/// The source of the rows that are replayed.
fn replayed(settings: &mut Settings) -> Option<&mut String> {
    Some(&mut settings.tuning.as_mut()?.replay.as_mut()?.source)
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
            bail!("there is no run `{name}`, neither at this path nor in {}{hint}", out.display())
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
