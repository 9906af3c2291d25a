//! `manifest.json`: enough about a run to repeat it, and what became of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fireclay::Backend;
use fireclay_files::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoints::Every;
use crate::disk::{Disk, MOST_MANIFEST, named};
use crate::place::Place;
use crate::run_files::{MANIFEST, MODEL};
use crate::settings::Settings;
use crate::verify::metadata;

/// The version of Burn that this program is built on.
pub const BURN: &str = "0.22.1";

/// What a run is, where it ran, and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document.
    pub version: u32,
    /// What the run is determined by.
    pub settings: Settings,
    /// What it learns from.
    pub data: DataSummary,
    /// What its settings and data make likely to go wrong, as it was said before the first step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// SHA-256 of the models in its folder that it starts from, and of its adapter, by file name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The program's and the machine's part, start by start.
    pub sessions: Vec<Session>,
    /// What came of it; none before the end.
    pub result: Option<Outcome>,
}

/// What a run learns from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSummary {
    /// The source's name.
    pub source: String,
    /// Digest of all samples, training and test.
    pub digest: String,
    /// Training samples.
    pub training: usize,
    /// Validation samples.
    pub validation: usize,
    /// Test samples.
    pub test: usize,
    /// Where the folder of the source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Where the rows that are replayed come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
}

/// Where the rows that are replayed come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Digest of all samples, training and test; none if no row of them is trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Where the folder of the source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl DataSummary {
    /// Whether a run learns the same from both, wherever they lie and whatever they are called.
    pub fn is_same(&self, other: &Self) -> bool {
        let facts = |of: &Self| (of.digest.clone(), of.training, of.validation, of.test);
        facts(self) == facts(other)
    }
}

/// One process that worked on a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// The command line.
    pub command: Vec<String>,
    /// The program and what it was built with.
    pub program: Build,
    /// The machine.
    pub host: Host,
    /// The backend and its device.
    pub backend: String,
    /// When it began, in UTC.
    pub started: String,
    /// The step that it began after.
    pub from_step: u64,
    /// How often checkpoints were written, which is where a rollback goes.
    #[serde(default)]
    pub checkpoint_every: Vec<Every>,
    /// Epochs that the run was to have, which schedules depend on.
    #[serde(default)]
    pub epochs: u64,
    /// How it ended; none of one that was killed, and of one under way.
    pub ended: Option<SessionEnd>,
    /// Divergences after which it went back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
}

/// How a session ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionEnd {
    /// When, in UTC.
    pub at: String,
    /// `complete`, the signal that stopped it, or the error.
    pub reason: String,
}

/// A divergence after which a run went back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rollback {
    /// What happened.
    pub reason: String,
    /// The step that it went back to.
    pub to_step: u64,
    /// What the learning rate is multiplied by from there on.
    pub rate_factor: f64,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Final metrics by name.
    pub metrics: BTreeMap<String, f64>,
    /// The epoch of the weights that were kept.
    pub epoch: u64,
    /// Digest of the model.
    pub model: String,
    /// SHA-256 of `metrics.jsonl`; older runs have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Whether somebody ended the run before its time, from the dashboard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

/// How a program was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Version of Fireclay.
    pub fireclay: String,
    /// Version of Burn.
    pub burn: String,
    /// The compiler.
    pub rustc: String,
    /// Commit of the sources, if they were a repository.
    pub commit: Option<String>,
    /// Backends compiled in.
    pub backends: Vec<String>,
    /// Whether it is a release build.
    pub release: bool,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Operating system and architecture.
    pub platform: String,
    /// The processor's name, where the system tells it.
    pub cpu: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
}

impl Manifest {
    /// Where it is in the folder of a run.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(MANIFEST)
    }

    /// Reads the manifest of a run.
    ///
    /// # Errors
    ///
    /// The file system's; `InvalidData` if it is not one.
    pub fn load(folder: &Path, disk: &Disk) -> io::Result<Self> {
        let path = Self::path(folder);
        let bytes = disk.read(&path, MOST_MANIFEST).map_err(named(&path))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let what =
                format!("this is no whole manifest of a run ({error}); put the whole file back");
            named(&path)(io::Error::new(io::ErrorKind::InvalidData, what))
        })
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn save(&self, folder: &Path, disk: &Disk) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        disk.write_whole(&Self::path(folder), &text)
    }

    /// Makes sure that a file in the folder of the run is the one that it started from or wrote.
    ///
    /// # Errors
    ///
    /// The file system's; `InvalidData` for another file. A file that was not recorded is fine.
    pub fn check_file(&self, folder: &Path, name: &str, disk: &Disk) -> io::Result<()> {
        let Some(recorded) = self.files.get(name) else { return Ok(()) };
        let path = folder.join(name);
        let found = sha256(&disk.read(&path, u64::MAX).map_err(named(&path))?);
        if found == *recorded {
            return Ok(());
        }
        let message = format!(
            "this is not the file that the run wrote: it is {found}, manifest.json has {recorded}; \
             put that one back"
        );
        Err(named(&path)(io::Error::new(io::ErrorKind::InvalidData, message)))
    }

    /// Makes sure that the model file in the folder of the run is the one that it ended with.
    ///
    /// # Errors
    ///
    /// The file system's; `InvalidData` for another model. The model of a run that has not come to
    /// its end is fine.
    pub fn check_model(&self, folder: &Path) -> io::Result<()> {
        let Some(result) = &self.result else { return Ok(()) };
        let path = folder.join(MODEL);
        let found = metadata(&path).map_err(named(&path))?.digest;
        let found = found.unwrap_or_else(|| "not signed".to_owned());
        if found == result.model {
            return Ok(());
        }
        let recorded = &result.model;
        let message = format!(
            "this is not the model that the run ended with: it is {found}, manifest.json has \
             {recorded}; put that one back, or copy this one out of the folder to use it"
        );
        Err(named(&path)(io::Error::new(io::ErrorKind::InvalidData, message)))
    }

    /// The last time that the run went back.
    pub fn last_rollback(&self) -> Option<&Rollback> {
        self.sessions.iter().rev().find_map(|session| session.rollbacks.last())
    }

    /// Ends the session under way.
    pub fn end_session(&mut self, reason: &str) {
        if let Some(session) = self.sessions.last_mut() {
            session.ended = Some(SessionEnd { at: now(), reason: reason.to_owned() });
        }
    }
}

impl Session {
    /// One that begins now.
    pub fn begin(
        backend: Backend,
        device: &str,
        from_step: u64,
        checkpoint_every: Vec<Every>,
        epochs: u64,
    ) -> Self {
        Self {
            command: std::env::args().collect(),
            program: Build::this(),
            host: Host::this(),
            backend: format!("{backend}: {device}"),
            started: now(),
            from_step,
            checkpoint_every,
            epochs,
            ended: None,
            rollbacks: Vec::new(),
        }
    }
}

impl Build {
    /// This one.
    pub fn this() -> Self {
        let compiled = Backend::ALL.iter().filter(|backend| backend.is_compiled());
        Self {
            fireclay: env!("CARGO_PKG_VERSION").to_owned(),
            burn: BURN.to_owned(),
            rustc: env!("FIRECLAY_RUSTC").to_owned(),
            commit: option_env!("FIRECLAY_COMMIT").map(str::to_owned),
            backends: compiled.map(ToString::to_string).collect(),
            release: !cfg!(debug_assertions),
        }
    }
}

impl Host {
    /// This one.
    pub fn this() -> Self {
        Self {
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// `sha256:` and the digest of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// The processor's name as Linux has it.
fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The time now in UTC, to the millisecond; later is greater, as text too.
fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_burn_is_that_of_the_workspace() {
        let manifest = include_str!("../../../Cargo.toml");
        assert!(manifest.contains(&format!("burn = {{ version = \"={BURN}\"")), "{BURN}");
    }
}
