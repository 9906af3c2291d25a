//! Which run is killed when, and what must be left of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Args;
use super::document::{hexadecimal, logged_steps, step_of, whole_document};
use super::place::{Kill, PACE, Place, fresh};
use super::tally::{Fault, Tally};

/// Steps that a kill may cost: a checkpoint is begun when the one before it is on disk, so a run is
/// at most two of them ahead.
const DEAREST: u64 = 14;
/// Epochs of the run that only serves to measure how long one takes.
const TRIAL_EPOCHS: u32 = 5;
/// An undisturbed run is this many stretches long. The time to a kill is on average 0.65 stretches,
/// and part of what is trained in it is lost.
const STRETCHES: u32 = 14;
/// The longest time from a change that was waited for to the kill.
const JUST_AFTER: Duration = Duration::from_millis(3);

/// The result of a run that nobody disturbs.
pub(super) struct Whole {
    pub(super) took: Duration,
    /// Steps that its log has lines of.
    pub(super) steps: BTreeSet<u64>,
    pub(super) config: Vec<u8>,
    pub(super) metrics: Vec<u8>,
    pub(super) model: Vec<u8>,
    pub(super) manifest: Value,
}

impl Whole {
    /// Reads the folder of a finished run.
    fn read(folder: &Path, took: Duration) -> Result<Self> {
        let metrics = read(folder, "metrics.jsonl")?;
        Ok(Self {
            took,
            steps: logged_steps(&metrics),
            config: read(folder, "config.toml")?,
            metrics,
            model: read(folder, "model.safetensors")?,
            manifest: serde_json::from_slice(&read(folder, "manifest.json")?)?,
        })
    }

    pub(super) fn last_step(&self) -> u64 {
        self.steps.last().copied().unwrap_or(0)
    }
}

/// Everything that the kills need.
pub(super) struct Harness {
    place: Place,
    kills: usize,
    pub(super) epochs: u32,
    /// Until the manifest of a run is there.
    pub(super) start_up: Duration,
    pub(super) whole: Whole,
    random: Xorshift,
    /// Number of the last run that was started.
    run: usize,
    /// Digests of the checkpoints of each step.
    digests: BTreeMap<u64, String>,
    pub(super) tally: Tally,
}

/// The run that is being killed.
pub(super) struct Victim {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// Temporary files that were there before.
    pub(super) temporary: BTreeSet<PathBuf>,
    /// The step of the newest checkpoint after the last kill.
    pub(super) newest: u64,
    /// Bytes of the log after the last kill.
    pub(super) log: usize,
    /// Starts that the manifest knew of after the last kill.
    pub(super) sessions: usize,
}

/// The state of a run's folder.
#[derive(Default)]
pub(super) struct Found {
    /// There is a manifest: the run began.
    pub(super) began: bool,
    /// There is a model.
    pub(super) model: bool,
    /// The manifest has the result.
    pub(super) result: Value,
    pub(super) sessions: usize,
    /// Bytes of the log, and the last step that it has a whole line of.
    pub(super) log: usize,
    pub(super) log_step: u64,
    /// The step of the newest whole checkpoint.
    pub(super) newest: Option<u64>,
    /// The latest step of a checkpoint that was being written.
    pub(super) unfinished: u64,
}

impl Harness {
    /// Measures the machine and does the run that the others must equal.
    pub(super) fn new(place: Place, args: &Args) -> Result<Self> {
        let (took, first) = place.whole("trial", TRIAL_EPOCHS)?;
        let epoch = took.saturating_sub(first).as_secs_f64() / f64::from(TRIAL_EPOCHS);
        let epochs = (f64::from(args.seconds_per_run) / epoch).ceil().clamp(1.0, 1e6) as u32;
        let (took, second) = place.whole("whole", epochs)?;
        let whole = Whole::read(&place.run("whole"), took)?;
        whole_document(&whole.model).context("the model of the undisturbed run")?;
        Ok(Self {
            place,
            kills: args.kills,
            epochs,
            start_up: first.max(second),
            whole,
            random: Xorshift::new(args.seed),
            run: 0,
            digests: BTreeMap::new(),
            tally: Tally::default(),
        })
    }

    pub(super) fn kills_left(&self) -> usize {
        self.kills - self.tally.kills()
    }

    /// Starts a run and kills it until it is finished; it finishes in peace when no kill is left.
    pub(super) fn cut_a_run_through(&mut self) -> Result<()> {
        let mut victim = self.next_victim();
        let mut line = fresh(&victim.name, self.epochs);
        let mut began = false;
        let kills_before = self.tally.kills();
        loop {
            let kill = self.next_kill(&victim, began);
            let end = self.place.go(&line, (self.kills_left() > 0).then_some(kill))?;
            let found = self.examine(&mut victim, end.code.is_none())?;
            if !end.complaint.is_empty() || end.code.is_some_and(|code| code != 0) {
                let message = format!("{line}: code {:?}: {}", end.code, end.complaint);
                return self.fault(Fault::Refused, &victim, message);
            }
            if end.code == Some(0) || !found.result.is_null() {
                self.compare(&victim, &found)?;
                let kills = self.tally.kills() - kills_before;
                println!("{}: finished after {kills} kills", victim.name);
                return Ok(());
            }
            if found.began {
                began = true;
                line = format!("--resume runs/{} {PACE}", victim.name);
                continue;
            }
            self.check_that_it_never_began(&victim)?;
            victim = self.next_victim();
            line = fresh(&victim.name, self.epochs);
        }
    }

    fn next_victim(&mut self) -> Victim {
        self.run += 1;
        let name = format!("cut-{}", self.run);
        Victim {
            folder: self.place.run(&name),
            name,
            temporary: BTreeSet::new(),
            newest: 0,
            log: 0,
            sessions: 0,
        }
    }

    /// The next kill, of a run that has not begun or has come to some step.
    ///
    /// Half of the kills come at any instant up to 1.3 stretches. As some phases are short, the
    /// others come just after a change of the folder of a new run, of that of the checkpoints, or
    /// of the model of a run that has little to do.
    fn next_kill(&mut self, victim: &Victim, began: bool) -> Kill {
        let stretch = self.whole.took / STRETCHES;
        let share = victim.newest as f64 / self.whole.last_step().max(1) as f64;
        let left = self.whole.took.mul_f64((1.0 - share).max(0.0));
        let (time, change) = if !began {
            (self.start_up, victim.folder.clone())
        } else if left < stretch {
            (left + 4 * self.start_up, victim.folder.join("model.safetensors"))
        } else {
            (stretch + self.start_up, victim.folder.join("checkpoints"))
        };
        let time = time.mul_f64(1.3 * self.random.share());
        if self.random.share() < 0.5 {
            return Kill { time, change: None, more: Duration::ZERO };
        }
        // What comes once in a run is waited for from the start.
        let time = if began && left >= stretch { time } else { Duration::ZERO };
        Kill { time, change: Some(change), more: JUST_AFTER.mul_f64(self.random.share()) }
    }

    /// A run without a manifest must be refused with a message.
    fn check_that_it_never_began(&mut self, victim: &Victim) -> Result<()> {
        let end = self.place.go(&format!("--resume runs/{} {PACE}", victim.name), None)?;
        let is_clear = end.complaint.starts_with("error: ") && !end.complaint.contains("panicked");
        if end.code == Some(2) && is_clear {
            return Ok(());
        }
        let message = format!(
            "has no manifest, and --resume ends with code {:?} and says: {}",
            end.code, end.complaint
        );
        self.fault(Fault::Refused, victim, message)
    }

    /// A finished run must have come to what the undisturbed one came to.
    fn compare(&mut self, victim: &Victim, found: &Found) -> Result<()> {
        self.tally.finished += 1;
        for (file, expected) in
            [("model.safetensors", &self.whole.model), ("metrics.jsonl", &self.whole.metrics)]
        {
            let is_same = fs::read(victim.folder.join(file)).is_ok_and(|bytes| bytes == *expected);
            if !is_same {
                self.tally.faults.push((Fault::Different, format!("{}: {file}", victim.name)));
            }
        }
        if found.result != self.whole.manifest["result"] {
            return self.fault(Fault::Different, victim, format!("result {}", found.result));
        }
        Ok(())
    }

    /// Looks at every file of a run, and counts the kill if there was one.
    fn examine(&mut self, victim: &mut Victim, was_killed: bool) -> Result<Found> {
        let mut found = Found::default();
        let metrics = fs::read(victim.folder.join("metrics.jsonl")).unwrap_or_default();
        found.log = metrics.len();
        found.log_step = logged_steps(&metrics).last().copied().unwrap_or(0);
        for path in files_below(&victim.folder)? {
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            if is_temporary(&path) {
                if victim.temporary.insert(path) {
                    self.tally.temporary += 1;
                    let step = whole_document(&bytes).ok().and_then(|document| step_of(&document));
                    found.unfinished = found.unfinished.max(step.unwrap_or(0));
                }
                continue;
            }
            if let Err(error) = self.check_file(&path, &bytes, &metrics, &mut found) {
                let file = path.strip_prefix(&victim.folder).unwrap_or(&path);
                let message = format!("{}: {error:#}", file.display());
                self.fault(Fault::Corrupt, victim, message)?;
            }
        }
        let newest = found.newest.unwrap_or(0);
        if newest < victim.newest {
            let message = format!(
                "there was a checkpoint of step {}, and the newest whole one is of step {newest}",
                victim.newest
            );
            self.fault(Fault::Lost, victim, message)?;
        }
        if was_killed && self.tally.count(victim, &found) {
            let (least, most) = self.redone(victim, &found);
            if least > DEAREST {
                let message = format!("{least} steps are lost, more than {DEAREST}");
                self.fault(Fault::Lost, victim, message)?;
            }
            self.tally.redone.push((least, most));
        }
        (victim.newest, victim.log, victim.sessions) = (newest, found.log, found.sessions);
        Ok(found)
    }

    /// Returns the steps that a kill costs, at least and at most.
    fn redone(&self, victim: &Victim, found: &Found) -> (u64, u64) {
        if found.sessions == victim.sessions {
            return (0, 0);
        }
        let newest = found.newest.unwrap_or(0);
        // A log that did not grow is that of the start before.
        let logged = if found.log == victim.log { 0 } else { found.log_step };
        let least = logged.max(found.unfinished).saturating_sub(newest);
        // The next line of the log was not written yet.
        let next = self.whole.steps.range(logged.max(newest) + 1..).next();
        let most = next.map_or(DEAREST, |next| (next - newest).min(DEAREST));
        (least, most.max(least))
    }

    /// Checks one file of a run, and notes what it shows.
    fn check_file(
        &mut self,
        path: &Path,
        bytes: &[u8],
        metrics: &[u8],
        found: &mut Found,
    ) -> Result<()> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name {
            ".lock" => ensure!(bytes.is_empty(), "it is not empty"),
            "config.toml" => ensure!(bytes == self.whole.config, "{}", unlike(bytes)),
            "manifest.json" => {
                let manifest: Value = serde_json::from_slice(bytes)?;
                for part in ["version", "settings", "data"] {
                    let is_same = manifest[part] == self.whole.manifest[part];
                    ensure!(is_same, "its {part} is not that of the undisturbed run");
                }
                let sessions = manifest["sessions"].as_array().context("it has no sessions")?;
                (found.began, found.sessions) = (true, sessions.len());
                found.result = manifest["result"].clone();
            }
            // Lines past the newest checkpoint are written again, and must come out the same.
            "metrics.jsonl" => {
                ensure!(self.whole.metrics.starts_with(bytes), "{}", unlike(bytes));
            }
            "model.safetensors" => {
                found.model = true;
                whole_document(bytes)?;
            }
            _ => {
                let step = name.strip_prefix("step-").and_then(|n| n.strip_suffix(".safetensors"));
                let step: u64 = step.context("nobody knows of such a file")?.parse()?;
                self.tally.checkpoints += 1;
                self.check_checkpoint(step, bytes, metrics)?;
                found.newest = found.newest.max(Some(step));
            }
        }
        Ok(())
    }

    /// Checks a checkpoint of this step against itself, its log, and others of the same step.
    fn check_checkpoint(&mut self, step: u64, bytes: &[u8], metrics: &[u8]) -> Result<()> {
        let document = whole_document(bytes)?;
        ensure!(step_of(&document) == Some(step), "it is of step {:?}", step_of(&document));
        let log = document["run"]["record"]["log"].as_u64().context("it has no length of a log")?;
        let log = metrics.get(..usize::try_from(log)?).with_context(|| {
            format!("it counts on {log} bytes of log, and there are {}", metrics.len())
        })?;
        ensure!(log.is_empty() || log.ends_with(b"\n"), "its log ends within a line");
        let digest = hexadecimal(&Sha256::digest(bytes));
        let known = self.digests.entry(step).or_insert_with(|| digest.clone());
        ensure!(*known == digest, "it is not what it was, or what it is in another run");
        Ok(())
    }

    fn fault(&mut self, kind: Fault, victim: &Victim, message: String) -> Result<()> {
        let message = format!("{}: {message}", victim.name);
        println!("{kind}: {message}");
        self.tally.faults.push((kind, message));
        ensure!(self.tally.faults.len() < 1000, "1000 faults are enough");
        Ok(())
    }
}

/// Describes the fault of a file that should be the undisturbed run's.
fn unlike(bytes: &[u8]) -> String {
    format!("its {} bytes are not those of the undisturbed run", bytes.len())
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let path = folder.join(name);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The files in a folder and in its folders; none if it is not there.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop().filter(|folder| folder.exists()) {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// Returns true if a file has the name of one that was not given its own name yet.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with(".fireclay-") && name.ends_with(".tmp")
}

/// Marsaglia's xorshift generator; all that it must do is scatter instants.
struct Xorshift(u64);

impl Xorshift {
    fn new(seed: u64) -> Self {
        // Never 0, and different seeds differ in many bits.
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).max(1))
    }

    /// A number from 0 up to 1.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
