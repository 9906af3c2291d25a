//! `manifest.json`: enough about a run to repeat it, and what became of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fireclay::Backend;
use serde::{Deserialize, Serialize};

use crate::checkpoints::Every;
use crate::disk::{Disk, named};
use crate::settings::Settings;

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
}

/// One process that worked on a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// The command line.
    pub command: Vec<String>,
    /// The program and what it was built with.
    pub program: Program,
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
    /// Whether somebody ended the run before its time, from the dashboard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

/// A program and what it was built with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
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
        folder.join("manifest.json")
    }

    /// Reads the manifest of a run.
    ///
    /// # Errors
    ///
    /// The file system's; `InvalidData` if it is not one.
    pub fn load(folder: &Path, disk: &Disk) -> io::Result<Self> {
        let path = Self::path(folder);
        let read = || {
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            serde_json::from_slice(&disk.read(&path)?).map_err(invalid)
        };
        read().map_err(named(&path))
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
            program: Program::this(),
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

impl Program {
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
