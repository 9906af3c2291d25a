//! Whether the folder of a run is as the run left it: its manifest decides.
//!
//! Whoever shows, compares, repeats or resumes a run asks [`folder`] first, and says what it finds.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fireclay::Provenance;
use fireclay_files::{check_file_place, read_regular};
use fireclay_terminal::{counted, listed, quoted_path};
use serde::Deserialize;
use serde_json::Value;

use crate::checkpoints;
use crate::disk::{self, Disk, MOST_LOG, MOST_SETTINGS, named};
use crate::manifest::{Manifest, sha256};
use crate::place::portable;
use crate::run_files::{ADAPTER, BASE, CHECKPOINTS, CONFIG, FILES, METRICS, MODEL, START, TEACHER};
use crate::settings::{Partial, Settings};

/// Changed settings that a message names, before it counts the rest.
const MOST_CHANGES: usize = 8;

/// Something in the folder of a run that its manifest contradicts.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The settings file has other settings than the run was made with.
    #[error(
        "{} was changed since the run: {}; put that back, as manifest.json has it{}",
        path.display(),
        listed(changes, MOST_CHANGES, Change::to_string),
        if *is_tuned { "" } else { ", or use the file for a new run with --config" }
    )]
    Settings {
        /// The file.
        path: PathBuf,
        /// What differs.
        changes: Vec<Change>,
        /// Whether the run starts from another model, so that the file alone describes no run.
        is_tuned: bool,
    },
    /// The settings file cannot be read.
    #[error("{reason}; manifest.json has the settings of the run")]
    NoSettings {
        /// Why not, with the name of the file.
        reason: String,
    },
    /// A file of the run is gone.
    #[error("{} is missing: it is {what}{}", path.display(), way_out(path, what))]
    Missing {
        /// Where it was.
        path: PathBuf,
        /// What it is to the run.
        what: &'static str,
    },
    /// A file of the run is another one, or no file at all.
    #[error("{source}")]
    File {
        /// Its name in the folder.
        name: String,
        /// What is wrong with it, with its path.
        source: io::Error,
    },
    /// There is a model, and the run has not come to its end.
    #[error(
        "the run has not come to its end, so manifest.json has no digest of {}; finish the run with \
         --resume",
        path.display()
    )]
    UnrecordedModel {
        /// The model file.
        path: PathBuf,
    },
    /// The log is shorter than the newest checkpoint says, or gone.
    #[error(
        "{}: {}; put the whole file back, or remove the folder {}, and the run begins at its first \
         step with --resume {}",
        path.display(),
        disk::shortened(*found, *least),
        path.with_file_name(CHECKPOINTS).display(),
        quoted_path(path.parent().unwrap_or(path))
    )]
    Log {
        /// The log.
        path: PathBuf,
        /// Bytes that it has; none if it is gone.
        found: Option<u64>,
        /// Bytes that it had at the least.
        least: u64,
    },
    /// The model file and the manifest tell different things of the run.
    #[error("manifest.json and {} differ in {what}: one of the two was changed since the run", path.display())]
    Contradiction {
        /// The model file, or a checkpoint.
        path: PathBuf,
        /// What they differ in.
        what: String,
    },
}

/// A setting that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path, such as `optimizer.learning_rate`.
    pub setting: String,
    /// What it is now.
    pub found: String,
    /// What it was.
    pub recorded: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, found, recorded } = self;
        write!(f, "{setting} is {found} and was {recorded}")
    }
}

/// What can be done about a file that is gone.
fn way_out(path: &Path, what: &str) -> &'static str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name == MODEL {
        "; --resume writes it again from the last checkpoint, and --repeat does the whole run again"
    } else if name == CONFIG {
        "; manifest.json has them too, and --resume writes it again"
    } else if name == ADAPTER || name == METRICS || what.is_empty() {
        ""
    } else {
        "; put it back, or start a new run with `fireclay finetune --from`"
    }
}

impl Fault {
    /// Whether a run must not continue with it.
    fn keeps_from_going_on(&self) -> bool {
        match self {
            Self::Settings { changes, .. } => changes.iter().any(|change| !may_change(change)),
            Self::NoSettings { .. } => true,
            Self::Missing { path, .. } => {
                [START, BASE, TEACHER].iter().any(|name| path.ends_with(name))
            }
            Self::File { name, source } => {
                name != METRICS || source.kind() == io::ErrorKind::InvalidInput
            }
            Self::Log { .. } => true,
            Self::UnrecordedModel { .. } | Self::Contradiction { .. } => false,
        }
    }

    /// Whether the run cannot be done again with it, whatever became of its results.
    fn keeps_from_repeating(&self) -> bool {
        match self {
            Self::Settings { .. } | Self::NoSettings { .. } => true,
            Self::File { name, .. } => [START, BASE, TEACHER].contains(&name.as_str()),
            Self::Log { .. } => false,
            _ => self.keeps_from_going_on(),
        }
    }
}

/// Whether a run may continue with another value, as when it was killed between writing the two files.
fn may_change(change: &Change) -> bool {
    ["training.epochs", "backend", "device"].contains(&change.setting.as_str())
}

/// The manifest of a run, and everything in its folder that contradicts it.
///
/// The contents of model files are held to the digests in them by whoever loads them.
///
/// # Errors
///
/// A manifest that is missing or is none: nothing is known of the folder then.
pub fn folder(folder: &Path, disk: &Disk) -> io::Result<(Manifest, Vec<Fault>)> {
    let manifest = Manifest::load(folder, disk)?;
    let found = faults(folder, &manifest, disk);
    Ok((manifest, found))
}

/// Makes sure that a run can go on, or be done again; the faults that do not keep it from that.
///
/// # Errors
///
/// The first that does.
pub(crate) fn before_work(
    folder: &Path,
    manifest: &Manifest,
    is_repeat: bool,
    disk: &Disk,
) -> Result<Vec<Fault>, Fault> {
    let mut others = Vec::new();
    for fault in faults(folder, manifest, disk) {
        let is_in_the_way =
            if is_repeat { fault.keeps_from_repeating() } else { fault.keeps_from_going_on() };
        if is_in_the_way {
            return Err(fault);
        }
        others.push(fault);
    }
    Ok(others)
}

/// The fault of a file of a run that is not there.
pub(crate) fn missing(folder: &Path, name: &str) -> Option<Fault> {
    let path = folder.join(name);
    (!path.exists()).then(|| Fault::Missing { path, what: role(name) })
}

/// Everything in the folder of a run that its manifest contradicts.
fn faults(folder: &Path, manifest: &Manifest, disk: &Disk) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut sound = Vec::new();
    for name in FILES {
        match check_file_place(&folder.join(name)) {
            Ok(()) => sound.push(name),
            Err(error) => {
                let source = named(&folder.join(name))(error);
                found.push(Fault::File { name: name.to_owned(), source });
            }
        }
    }
    if sound.contains(&CONFIG) {
        found.extend(of_settings(folder, manifest));
    }
    if sound.contains(&MODEL) {
        found.extend(of_model(folder, manifest));
    }
    for name in manifest.files.keys().filter(|name| sound.contains(&name.as_str())) {
        // Of a run that was killed at its end the adapter may be newer than the manifest.
        if name == ADAPTER && manifest.result.is_none() {
            continue;
        }
        found.extend(of_file(folder, manifest.check_file(folder, name, disk), name));
    }
    found.extend(of_checkpoints(folder, manifest));
    let is_short = found.iter().any(|fault| matches!(fault, Fault::Log { .. }));
    if sound.contains(&METRICS) && !is_short {
        found.extend(of_log(folder, manifest));
    }
    found
}

fn of_settings(folder: &Path, manifest: &Manifest) -> Option<Fault> {
    if let Some(missing) = missing(folder, CONFIG) {
        return Some(missing);
    }
    let path = folder.join(CONFIG);
    let read = Partial::file(&path).and_then(|part| Settings::merged(&[part]));
    match read {
        Ok(settings) => {
            let changes = changes(&settings, &manifest.settings);
            let is_tuned = manifest.settings.tuning.is_some();
            (!changes.is_empty()).then_some(Fault::Settings { path, changes, is_tuned })
        }
        Err(error) => Some(Fault::NoSettings { reason: error.to_string() }),
    }
}

/// What differs between settings as they are found and as they were; the name of the data may.
pub(crate) fn changes(found: &Settings, recorded: &Settings) -> Vec<Change> {
    let mut found = found.clone();
    found.data.source.clone_from(&recorded.data.source);
    let replayed = recorded.tuning.as_ref().and_then(|tuning| tuning.replay.clone());
    if let (Some(tuning), Some(was)) = (&mut found.tuning, replayed)
        && let Some(replay) = &mut tuning.replay
    {
        replay.source = was.source;
    }
    let all = found.all_differences(recorded);
    all.into_iter().map(|(setting, found, recorded)| Change { setting, found, recorded }).collect()
}

/// What a file of a run is to it.
fn role(name: &str) -> &'static str {
    match name {
        START => "the model that the run starts from",
        TEACHER => "the teacher of the run",
        BASE => "the model that was given to the run, before its head and adapters",
        ADAPTER => "what the run added to its base",
        MODEL => "the model that the run ended with",
        METRICS => "the log of the run",
        CONFIG => "the settings of the run",
        _ => "",
    }
}

fn of_file(folder: &Path, checked: io::Result<()>, name: &str) -> Option<Fault> {
    let source = checked.err()?;
    if source.kind() == io::ErrorKind::NotFound {
        return Some(Fault::Missing { path: folder.join(name), what: role(name) });
    }
    Some(Fault::File { name: name.to_owned(), source })
}

fn of_model(folder: &Path, manifest: &Manifest) -> Option<Fault> {
    let path = folder.join(MODEL);
    let Some(result) = &manifest.result else {
        return path.exists().then_some(Fault::UnrecordedModel { path });
    };
    if let Some(fault) = of_file(folder, manifest.check_model(folder), MODEL) {
        return Some(fault);
    }
    let document = document(&path)?;
    let provenance: Provenance = serde_json::from_value(document["provenance"].clone()).ok()?;
    let differs = result.metrics.iter().find(|(name, value)| {
        let in_model = provenance.metrics.get(&format!("test {name}"));
        in_model.is_some_and(|in_model| in_model != *value)
    });
    if let Some((name, value)) = differs {
        let what = format!("the test {name}, which manifest.json has as {value}");
        return Some(Fault::Contradiction { path, what });
    }
    let settings: Settings = serde_json::from_value(provenance.settings?).ok()?;
    let settings = settings_of_model(settings);
    let changes = changes(&settings, &settings_of_model(manifest.settings.clone()));
    let what = changes.first()?;
    let what = format!("the settings: {} is {} in the model", what.setting, what.found);
    Some(Fault::Contradiction { path, what })
}

/// Settings as a model has them, whatever version wrote it.
fn settings_of_model(mut settings: Settings) -> Settings {
    settings.data.source = portable(&settings.data.source);
    settings
}

fn of_checkpoints(folder: &Path, manifest: &Manifest) -> Vec<Fault> {
    let at = folder.join(CHECKPOINTS);
    let mut found = Vec::new();
    let steps = match checkpoints::steps_in(&at) {
        Ok(steps) => steps,
        Err(error) => {
            let source = named(&at)(error);
            return vec![Fault::File { name: CHECKPOINTS.to_owned(), source }];
        }
    };
    for (i, &step) in steps.iter().enumerate() {
        let path = checkpoints::path_of(&at, step);
        if let Err(error) = check_file_place(&path) {
            let name = format!("{CHECKPOINTS}/step-{step:08}.safetensors");
            let message = format!("{error}; remove it, and the checkpoint before it serves");
            let source = named(&path)(io::Error::new(error.kind(), message));
            found.push(Fault::File { name, source });
            continue;
        }
        let Some(document) = document(&path) else { continue };
        let record = &document["run"]["record"];
        let is_other = |key: &str, is: &str| record[key].as_str().is_some_and(|was| was != is);
        if is_other("settings", &manifest.settings.digest())
            || is_other("data", &manifest.data.digest)
        {
            let what = "the settings or the data of the run".to_owned();
            found.push(Fault::Contradiction { path, what });
        } else if let (0, Some(most)) = (i, record["log"].as_u64()) {
            found.extend(shortened(folder, most));
        }
    }
    found
}

/// Whether the log has fewer bytes than the newest checkpoint speaks of.
fn shortened(folder: &Path, least: u64) -> Option<Fault> {
    let path = folder.join(METRICS);
    // What is no file is a fault of its own.
    check_file_place(&path).ok()?;
    let found = path.metadata().ok().map(|metadata| metadata.len());
    (found.unwrap_or(0) < least).then_some(Fault::Log { path, found, least })
}

fn of_log(folder: &Path, manifest: &Manifest) -> Option<Fault> {
    let path = folder.join(METRICS);
    let result = manifest.result.as_ref()?;
    let text = match read_regular(&path, MOST_LOG) {
        Ok(text) => text,
        Err(error) => return of_file(folder, Err(named(&path)(error)), METRICS),
    };
    let what = other_log(&text, result.log.as_deref())?;
    let source = named(&path)(io::Error::new(io::ErrorKind::InvalidData, what));
    Some(Fault::File { name: METRICS.to_owned(), source })
}

/// Why a log is not the one that a finished run wrote, if it is not.
fn other_log(text: &[u8], recorded: Option<&str>) -> Option<String> {
    if let Some(recorded) = recorded {
        let found = sha256(text);
        let what = format!(
            "this is not the log that the run wrote: it is {found}, manifest.json has {recorded}"
        );
        return (found != recorded).then_some(what);
    }
    // Older runs have no digest of it; their last line is that of the test rows.
    let last = text.strip_suffix(b"\n").and_then(|text| text.rsplit(|&byte| byte == b'\n').next());
    let last = last.and_then(|line| serde_json::from_slice::<Value>(line).ok());
    let is_whole = last.is_some_and(|line| line["split"] == "test");
    (!is_whole)
        .then(|| "its last line is not that of the test rows, so it was shortened".to_owned())
}

/// The metadata of one of our own files, without its tensors.
pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    /// Bytes of the longest header, as of the library that reads it.
    const MOST: u64 = 100_000_000;
    #[derive(Deserialize)]
    struct Header {
        #[serde(default, rename = "__metadata__")]
        metadata: Metadata,
    }
    check_file_place(path)?;
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| {
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let size = counted(size, "byte");
        let what = format!("it has {size}, fewer than a whole file; remove it, and continue");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })?;
    let length = u64::from_le_bytes(length).min(MOST);
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text)?;
    let header: Header = serde_json::from_slice(&text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(header.metadata)
}

/// What stands above the tensors of one of our own files.
#[derive(Default, Deserialize)]
pub(crate) struct Metadata {
    /// The digest that the file gives itself, which whoever loads it checks.
    #[serde(default, rename = "fireclay_digest")]
    pub(crate) digest: Option<String>,
    /// What it says of itself, as JSON.
    #[serde(default, rename = "fireclay")]
    pub(crate) document: Option<String>,
}

/// What a model file or a checkpoint says of itself, if it can be read.
pub(crate) fn document(path: &Path) -> Option<Value> {
    let text = metadata(path).ok()?.document?;
    let is_short = text.len() as u64 <= 16 * MOST_SETTINGS;
    is_short.then(|| serde_json::from_str(&text).ok()).flatten()
}
