//! Where the runs are, and how one is started and killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::process;

/// Flags of every run besides its name and its epochs: much of what a checkpoint must carry.
const SETTINGS: &str = "--data idx:digits --validation 60 --hidden 24,16 --dropout 0.2 \
    --norm batch --optimizer adamw --schedule cosine --ema 0.99 --patience 50 \
    --metrics precision,auroc --batch-size 8";
/// Flags of every start.
pub(super) const PACE: &str = "--checkpoint-every 7steps --quiet";

/// The folder that all runs are in, with a copy of the program.
pub(super) struct Place {
    folder: PathBuf,
    program: PathBuf,
}

impl Place {
    /// Fills the folder. The copy stays what it is when somebody builds meanwhile.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let built = process::built("train")?;
        let program = folder.join(built.file_name().context("the program has a name")?);
        fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
        write_digits(&folder.join("digits"))?;
        Ok(Self { folder: folder.to_owned(), program })
    }

    /// Where the run of this name is.
    pub(super) fn run(&self, name: &str) -> PathBuf {
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
    pub(super) fn go(&self, line: &str, kill: Option<Kill>) -> Result<End> {
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
    pub(super) fn whole(&self, name: &str, epochs: u32) -> Result<(Duration, Duration)> {
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
pub(super) struct Kill {
    /// After this time,
    pub(super) time: Duration,
    /// and after this file or folder has changed, if there is one,
    pub(super) change: Option<PathBuf>,
    /// and after this time more.
    pub(super) more: Duration,
}

impl Kill {
    /// Returns a sign that differs after a change.
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

/// The end of a process.
pub(super) struct End {
    /// Its exit code; none if it was killed.
    pub(super) code: Option<i32>,
    /// The text on its standard error.
    pub(super) complaint: String,
}

/// The command line of a new run.
pub(super) fn fresh(name: &str, epochs: u32) -> String {
    format!("{SETTINGS} --epochs {epochs} {PACE} --name {name}")
}

/// Height and width of an image.
const SIDE: u32 = 8;
const CLASSES: u32 = 10;

/// Writes the four files of an MNIST-like set: in an image of class `c`, pixel `c` is bright.
fn write_digits(folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    for (part, rows) in [("train", 600_u32), ("t10k", 100)] {
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

/// A pixel of an image. The noise hides the bright one now and then, so that there is something to
/// learn.
fn pixel(row: u32, place: u32) -> u8 {
    if place == row % CLASSES {
        255 - (row % 23 * 11) as u8
    } else {
        (row.wrapping_mul(2_654_435_761).rotate_left(place) % 160) as u8
    }
}
