//! `cargo xtask crash`: kills `train` again and again and looks at what is left.
//!
//! Nothing here uses the program's own readers: a fault in one would hide the damage it causes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::process;

/// Kill `train` at random instants, resume it, and check every file.
///
/// A small run is first trained without interruption. Then the same run is killed (SIGKILL) at a
/// random instant, resumed and killed again, until it finishes after some 20 to 40 kills; further runs
/// follow until all kills are dealt. Half of the kills come at any instant, the others just after a
/// write: the start of a run, a checkpoint, the model at the end.
///
/// After each kill, an independent reader checks every file of the run folder. Each checkpoint must be
/// whole, down to its digest. The log must be a beginning of the uninterrupted run's. Every other file
/// must be whole or absent, and only a later checkpoint may replace one on disk. At the end, model and
/// log must equal those of the uninterrupted run, byte for byte.
///
/// The exit code is 0 if all of this held, and else 1; the folder is then kept.
///
/// After the build, `cargo xtask crash --kills 40` takes about 20 seconds, and `--kills 300` 90.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of kills
    #[arg(long, value_name = "N", default_value_t = 40)]
    kills: usize,

    /// Seed of the kill instants; their place in a run still depends on the machine
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Approximate length of the uninterrupted run
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    seconds_per_run: u32,

    /// Keep the run folders even without a finding
    #[arg(long)]
    keep: bool,
}

/// Flags of every run besides its name and its epochs: much of what a checkpoint must carry.
const SETTINGS: &str = "--data idx:digits --validation 60 --hidden 24,16 --dropout 0.2 \
    --norm batch --optimizer adamw --schedule cosine --ema 0.99 --patience 50 \
    --metrics precision,auroc --batch-size 8";
/// Flags of every start.
const PACE: &str = "--checkpoint-every 7steps --quiet";
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
/// Faults that are printed in full.
const SHOWN: usize = 10;

/// Kills runs until the kills are dealt, and prints what was found.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !cfg!(unix) {
        bail!("`cargo xtask crash` runs on Unix only: elsewhere there is no SIGKILL");
    }
    ensure!(args.kills > 0, "--kills must be at least 1");
    process::run("cargo build --locked -p train")?;
    let began = Instant::now();
    let folder = tempfile::Builder::new().prefix("fireclay-crash-").tempdir()?;
    let place = Place::new(folder.path())?;
    let mut harness = Harness::new(place, args)?;
    println!(
        "undisturbed: {} epochs, {} steps, {:.1} s, of which {:.3} s before the first step",
        harness.epochs,
        harness.whole.last_step(),
        harness.whole.took.as_secs_f64(),
        harness.start_up.as_secs_f64()
    );
    while harness.kills_left() > 0 {
        harness.cut_a_run_through()?;
    }
    let tally = harness.tally;
    tally.print(began.elapsed());
    if args.keep || !tally.faults.is_empty() {
        println!("the runs are kept in {}", folder.keep().display());
    }
    Ok(if tally.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The folder that all runs are in, with a copy of the program.
struct Place {
    folder: PathBuf,
    program: PathBuf,
}

impl Place {
    /// Fills the folder. The copy stays what it is when somebody builds meanwhile.
    fn new(folder: &Path) -> Result<Self> {
        let built = process::built("train")?;
        let program = folder.join(built.file_name().context("the program has a name")?);
        fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
        write_digits(&folder.join("digits"))?;
        Ok(Self { folder: folder.to_owned(), program })
    }

    /// Where the run of this name is.
    fn run(&self, name: &str) -> PathBuf {
        self.folder.join("runs").join(name)
    }

    /// Starts the program on this command line; `line` is split at blanks.
    fn start(&self, line: &str) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .args(line.split_whitespace())
            .current_dir(&self.folder)
            .env("HOME", self.folder.join("home"))
            .env("XDG_CACHE_HOME", self.folder.join("home"))
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// Starts the program and waits for its end, or kills it.
    fn go(&self, line: &str, kill: Option<Kill>) -> Result<End> {
        let was = kill.as_ref().map(Kill::sign);
        let mut child = self.start(line)?;
        if let (Some(kill), Some(was)) = (kill, was) {
            kill.wait_for_it(was, &mut child)?;
            child.kill()?;
        }
        let output = child.wait_with_output()?;
        // No code means a signal, and nobody sends one but this function.
        let code = output.status.code();
        Ok(End { code, complaint: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
    }

    /// Does a run that nobody disturbs; returns how long it took, and how long until its manifest
    /// was there.
    fn whole(&self, name: &str, epochs: u32) -> Result<(Duration, Duration)> {
        let manifest = self.run(name).join("manifest.json");
        let began = Instant::now();
        let mut child = self.start(&fresh(name, epochs))?;
        while !manifest.exists() && child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_micros(500));
        }
        let start_up = began.elapsed();
        let output = child.wait_with_output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the undisturbed run failed: {}", complaint.trim());
        Ok((began.elapsed(), start_up))
    }
}

/// When a process is killed.
struct Kill {
    /// After this time,
    time: Duration,
    /// and after this file or folder has changed, if there is one,
    change: Option<PathBuf>,
    /// and after this time more.
    more: Duration,
}

impl Kill {
    /// What differs after a change.
    fn sign(&self) -> Option<SystemTime> {
        fs::metadata(self.change.as_ref()?).ok()?.modified().ok()
    }

    /// Waits for the instant, or until the process has ended by itself.
    fn wait_for_it(&self, mut was: Option<SystemTime>, child: &mut Child) -> Result<()> {
        if !self.time.is_zero() {
            std::thread::sleep(self.time);
            was = self.sign();
        }
        while self.change.is_some() && self.sign() == was && child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(self.more);
        Ok(())
    }
}

/// How a process ended.
struct End {
    /// Its exit code; none if it was killed.
    code: Option<i32>,
    /// What it said on its standard error.
    complaint: String,
}

/// The command line of a new run.
fn fresh(name: &str, epochs: u32) -> String {
    format!("{SETTINGS} --epochs {epochs} {PACE} --name {name}")
}

/// Writes the four files of an MNIST-like set: in an image of class `c`, pixel `c` is bright.
fn write_digits(folder: &Path) -> Result<()> {
    const SIDE: u32 = 8;
    const CLASSES: u32 = 10;
    fs::create_dir(folder)?;
    for (part, rows) in [("train", 600_u32), ("t10k", 100)] {
        // The noise hides the bright pixel now and then, so that there is something to learn.
        let pixel = |row: u32, place: u32| match place == row % CLASSES {
            true => 255 - (row % 23 * 11) as u8,
            false => (row.wrapping_mul(2_654_435_761).rotate_left(place) % 160) as u8,
        };
        let size = [rows, SIDE, SIDE].map(u32::to_be_bytes).concat();
        let mut images = [vec![0, 0, 8, 3], size].concat();
        images.extend((0..rows).flat_map(|row| (0..SIDE * SIDE).map(move |at| pixel(row, at))));
        let mut labels = [[0, 0, 8, 1], rows.to_be_bytes()].concat();
        labels.extend((0..rows).map(|row| (row % CLASSES) as u8));
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images)?;
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels)?;
    }
    Ok(())
}

/// What a run comes to when nobody disturbs it.
struct Whole {
    took: Duration,
    /// Steps that its log has lines of.
    steps: BTreeSet<u64>,
    config: Vec<u8>,
    metrics: Vec<u8>,
    model: Vec<u8>,
    manifest: Value,
}

impl Whole {
    /// Reads the folder of a finished run.
    fn read(folder: &Path, took: Duration) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let metrics = read("metrics.jsonl")?;
        Ok(Self {
            took,
            steps: logged_steps(&metrics),
            config: read("config.toml")?,
            metrics,
            model: read("model.safetensors")?,
            manifest: serde_json::from_slice(&read("manifest.json")?)?,
        })
    }

    fn last_step(&self) -> u64 {
        self.steps.last().copied().unwrap_or(0)
    }
}

/// Everything that the kills need.
struct Harness {
    place: Place,
    kills: usize,
    epochs: u32,
    /// Until the manifest of a run is there.
    start_up: Duration,
    whole: Whole,
    random: Xorshift,
    /// Number of the last run that was started.
    run: usize,
    /// Digests of the checkpoints of each step.
    digests: BTreeMap<u64, String>,
    tally: Tally,
}

/// The run that is being killed.
struct Victim {
    name: String,
    folder: PathBuf,
    /// Temporary files that were there before.
    temporary: BTreeSet<PathBuf>,
    /// The step of the newest checkpoint after the last kill.
    newest: u64,
    /// Bytes of the log after the last kill.
    log: usize,
    /// Starts that the manifest knew of after the last kill.
    sessions: usize,
}

/// What is in the folder of a run.
#[derive(Default)]
struct Found {
    /// There is a manifest: the run began.
    began: bool,
    /// There is a model.
    model: bool,
    /// The manifest has the result.
    result: Value,
    sessions: usize,
    /// Bytes of the log, and the last step that it has a whole line of.
    log: usize,
    log_step: u64,
    /// The step of the newest whole checkpoint.
    newest: Option<u64>,
    /// The latest step of a checkpoint that was being written.
    unfinished: u64,
}

impl Harness {
    /// Measures the machine and does the run that the others must equal.
    fn new(place: Place, args: &Args) -> Result<Self> {
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

    fn kills_left(&self) -> usize {
        self.kills - self.tally.kills()
    }

    /// Starts a run and kills it until it is finished; it finishes in peace when no kill is left.
    fn cut_a_run_through(&mut self) -> Result<()> {
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
                return self.fault(Kind::Refused, &victim, message);
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
        self.fault(Kind::Refused, victim, message)
    }

    /// A finished run must have come to what the undisturbed one came to.
    fn compare(&mut self, victim: &Victim, found: &Found) -> Result<()> {
        self.tally.finished += 1;
        for (file, expected) in
            [("model.safetensors", &self.whole.model), ("metrics.jsonl", &self.whole.metrics)]
        {
            let is_same = fs::read(victim.folder.join(file)).is_ok_and(|bytes| bytes == *expected);
            if !is_same {
                self.tally.faults.push((Kind::Different, format!("{}: {file}", victim.name)));
            }
        }
        if found.result != self.whole.manifest["result"] {
            return self.fault(Kind::Different, victim, format!("result {}", found.result));
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
                self.fault(Kind::Corrupt, victim, message)?;
            }
        }
        let newest = found.newest.unwrap_or(0);
        if newest < victim.newest {
            let message = format!(
                "there was a checkpoint of step {}, and the newest whole one is of step {newest}",
                victim.newest
            );
            self.fault(Kind::Lost, victim, message)?;
        }
        if was_killed && self.tally.count(victim, &found) {
            let (least, most) = self.redone(victim, &found);
            if least > DEAREST {
                let message = format!("{least} steps are lost, more than {DEAREST}");
                self.fault(Kind::Lost, victim, message)?;
            }
            self.tally.redone.push((least, most));
        }
        (victim.newest, victim.log, victim.sessions) = (newest, found.log, found.sessions);
        Ok(found)
    }

    /// How many steps a kill costs, at least and at most.
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

    /// Checks one file of a run, and takes down what it tells.
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

    fn fault(&mut self, kind: Kind, victim: &Victim, message: String) -> Result<()> {
        let message = format!("{}: {message}", victim.name);
        println!("{kind}: {message}");
        self.tally.faults.push((kind, message));
        ensure!(self.tally.faults.len() < 1000, "1000 faults are enough");
        Ok(())
    }
}

/// What is wrong with a file that should be the undisturbed run's.
fn unlike(bytes: &[u8]) -> String {
    format!("its {} bytes are not those of the undisturbed run", bytes.len())
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

/// Whether a file has the name of one that was not given its own name yet.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with(".fireclay-") && name.ends_with(".tmp")
}

/// The steps of the whole lines of a log. That of the test is of the weights that were kept, and
/// may be smaller than those before it.
fn logged_steps(metrics: &[u8]) -> BTreeSet<u64> {
    let end = metrics.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    let lines = metrics[..end].split(|&byte| byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok()?["step"].as_u64()).collect()
}

/// The step of a checkpoint by its document.
fn step_of(document: &Value) -> Option<u64> {
    document["run"]["state"]["progress"]["step"].as_u64()
}

/// Reads a file as docs/model-file.md specifies it; returns its document if all of it is there.
fn whole_document(bytes: &[u8]) -> Result<Value> {
    let (length, rest) = bytes.split_first_chunk().context("it has less than 8 bytes")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (header, data) = rest.split_at_checked(length).context("its header is cut off")?;
    let mut header: BTreeMap<String, Value> =
        serde_json::from_slice(header).context("its header is no JSON")?;
    let metadata = header.remove("__metadata__").context("it has no metadata")?;
    let document = metadata["fireclay"].as_str().context("it has no document")?;
    let mut covered = Vec::new();
    let mut hash = Sha256::new();
    add_field(&mut hash, document.as_bytes());
    // In the order of the bytes of the names, as the map is.
    for (name, tensor) in &header {
        let shape = numbers(&tensor["shape"]).context("a shape is no list of numbers")?;
        let offsets = numbers(&tensor["data_offsets"]).context("offsets are no numbers")?;
        let [begin, end] = offsets[..] else { bail!("{name} has {} offsets", offsets.len()) };
        let (from, to) = (usize::try_from(begin)?, usize::try_from(end)?);
        let values = data.get(from..to).with_context(|| format!("{name} is cut off"))?;
        ensure!(tensor["dtype"] == "F32", "{name} is no F32");
        let size = shape.iter().try_fold(4_u64, |size, &axis| size.checked_mul(axis));
        ensure!(size == Some(end - begin), "{name} has {} bytes", end - begin);
        covered.push((from, to));
        add_field(&mut hash, name.as_bytes());
        add_field(&mut hash, &shape.iter().flat_map(|axis| axis.to_le_bytes()).collect::<Vec<_>>());
        add_field(&mut hash, values);
    }
    covered.sort_unstable();
    let end = covered.iter().try_fold(0, |end, &(from, to)| (from == end).then_some(to));
    ensure!(end == Some(data.len()), "its tensors do not cover its data");
    let digest = format!("sha256:{}", hexadecimal(&hash.finalize()));
    ensure!(metadata["fireclay_digest"] == digest.as_str(), "its digest is not {digest}");
    serde_json::from_str(document).context("its document is no JSON")
}

/// Adds a field of the digest, with its length before it.
fn add_field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn numbers(value: &Value) -> Option<Vec<u64>> {
    value.as_array()?.iter().map(Value::as_u64).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A file is neither whole nor absent.
    Corrupt,
    /// A checkpoint that was on disk is gone, and there is none after it.
    Lost,
    /// A finished run has come to something else.
    Different,
    /// The program ended with an error, or complained, or took a run that never began.
    Refused,
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "corrupt files",
            Self::Lost => "lost checkpoints",
            Self::Different => "results different",
            Self::Refused => "wrong endings",
        })
    }
}

/// What was counted.
#[derive(Default)]
struct Tally {
    finished: usize,
    before_the_manifest: usize,
    before_the_first_checkpoint: usize,
    in_start_up: usize,
    in_training: usize,
    at_the_end: usize,
    checkpoints: usize,
    temporary: usize,
    /// Steps that each kill cost a run that had begun, at least and at most.
    redone: Vec<(u64, u64)>,
    faults: Vec<(Kind, String)>,
}

impl Tally {
    fn kills(&self) -> usize {
        self.before_the_manifest
            + self.before_the_first_checkpoint
            + self.in_start_up
            + self.in_training
            + self.at_the_end
    }

    /// Counts a kill by what it left; returns whether it left a run that has to go on.
    fn count(&mut self, victim: &Victim, found: &Found) -> bool {
        let phase = if !found.began {
            &mut self.before_the_manifest
        } else if found.model {
            &mut self.at_the_end
        } else if found.newest.is_none() {
            &mut self.before_the_first_checkpoint
        } else if found.sessions == victim.sessions {
            &mut self.in_start_up
        } else {
            &mut self.in_training
        };
        *phase += 1;
        found.began && found.result.is_null()
    }

    /// Prints the table, and the first faults.
    fn print(&self, took: Duration) {
        let of_kind = |kind| self.faults.iter().filter(|fault| fault.0 == kind).count();
        let (least, most): (Vec<u64>, Vec<u64>) = self.redone.iter().copied().unzip();
        let (least, most) = (median_and_greatest(least), median_and_greatest(most));
        let kinds = [Kind::Corrupt, Kind::Lost, Kind::Different, Kind::Refused];
        let counts = [
            ("kills", self.kills()),
            ("  before the manifest: the run never began", self.before_the_manifest),
            ("  before the first checkpoint", self.before_the_first_checkpoint),
            ("  in the start-up of a resumed run", self.in_start_up),
            ("  in training", self.in_training),
            ("  with the model on disk", self.at_the_end),
            ("runs finished", self.finished),
            ("checkpoints checked", self.checkpoints),
            ("temporary files left", self.temporary),
        ];
        println!();
        for (name, count) in counts {
            println!("{name:<48}  {count:>6}");
        }
        println!("{:<48}  {:>6} to {}", "steps redone after a kill: median", least.0, most.0);
        println!("{:<48}  {:>6} to {}", "  greatest", least.1, most.1);
        for kind in kinds {
            println!("{:<48}  {:>6}  must be 0", kind.to_string(), of_kind(kind));
        }
        println!("{:<48}  {:>6.1}", "seconds", took.as_secs_f64());
        if !self.faults.is_empty() {
            println!("\n{} faults, the first of them:", self.faults.len());
        }
        for (kind, message) in self.faults.iter().take(SHOWN) {
            println!("  {kind}: {message}");
        }
    }
}

/// The median and the greatest of these numbers; 0 if there are none.
fn median_and_greatest(mut numbers: Vec<u64>) -> (u64, u64) {
    numbers.sort_unstable();
    let median = numbers.get(numbers.len() / 2).copied().unwrap_or(0);
    (median, numbers.last().copied().unwrap_or(0))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file by hand: two tensors, listed in another order than their data is in.
    fn tiny(digest: &str) -> Vec<u8> {
        let header = format!(
            r#"{{"__metadata__":{{"fireclay":"{{\"version\":1}}","fireclay_digest":"{digest}"}},"a":{{"dtype":"F32","shape":[1],"data_offsets":[8,12]}},"b":{{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}}}  "#
        );
        let data = [1.5_f32, -2.0, 0.25].map(f32::to_le_bytes).concat();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    }

    /// By Python's hashlib.
    const DIGEST: &str = "sha256:ae311d28f3da27a5eb07170ad1293e98ebdef2d97049d20e1d8d1b16a27f7916";

    #[test]
    fn a_whole_file_passes() {
        let document = whole_document(&tiny(DIGEST)).unwrap();
        assert_eq!(document["version"], 1);
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_found() {
        let whole = tiny(DIGEST);
        for length in 0..whole.len() {
            assert!(whole_document(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(whole_document(&[&whole[..], b"x"].concat()).is_err(), "a byte too many");
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            assert!(whole_document(&flipped).is_err(), "byte {place}");
        }
    }

    #[test]
    fn the_steps_of_a_log_are_those_of_its_whole_lines() {
        assert_eq!(logged_steps(b""), BTreeSet::new());
        assert_eq!(logged_steps(b"{\"step\":7}"), BTreeSet::new());
        let log = b"{\"step\":7}\n{\"step\":14}\n{\"step\":7}\n{\"step\":2";
        assert_eq!(logged_steps(log), BTreeSet::from([7, 14]));
    }
}
