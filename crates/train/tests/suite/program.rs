//! The built program in a folder of its own, with a small data set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fireclay::{Backend, DeviceChoice, Model};
use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder with `digits`: 60 training and 20 test images of 4x4 in ten classes.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a command came to.
pub(crate) struct Outcome {
    /// The command, for messages.
    pub(crate) line: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The folder of a run.
pub(crate) struct Run {
    pub(crate) path: PathBuf,
}

/// The program of the package that is tested.
const PROGRAM: &str = match (
    option_env!("CARGO_BIN_EXE_train"),
    option_env!("CARGO_BIN_EXE_finetune"),
    option_env!("CARGO_BIN_EXE_fireclay"),
) {
    (Some(program), ..) | (_, Some(program), _) | (.., Some(program)) => program,
    (None, None, None) => panic!("the package has no program"),
};

/// Arguments that make the small data set the run's.
pub(crate) const DIGITS: &str = "--data idx:digits --validation 10";

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_digits(&folder.path().join("digits"));
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with these words as arguments, here.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(line.split_whitespace());
        self.settle(&mut command);
        command
    }

    /// Runs a command here, and keeps its caches here too.
    pub(crate) fn settle(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("home"))
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
    }

    pub(crate) fn train(&self, line: &str) -> Outcome {
        Outcome::of(line, &mut self.command(line))
    }

    /// Every file and folder here with its bytes; not the caches that graphics drivers keep.
    pub(crate) fn tree(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path == self.path("home") {
                    continue;
                }
                if path.is_dir() {
                    found.insert(path.clone(), Vec::new());
                    folders.push(path);
                } else {
                    let bytes = fs::read(&path).unwrap();
                    found.insert(path, bytes);
                }
            }
        }
        found
    }

    pub(crate) fn run(&self, name: &str) -> Run {
        Run { path: self.path("runs").join(name) }
    }
}

impl Outcome {
    pub(crate) fn of(line: &str, command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            line: line.to_owned(),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The run went to its end.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.line);
        self
    }

    /// The run went to its end, and gave one warning for each of these words and no other.
    pub(crate) fn warned(self, words: &[&str]) -> Self {
        let Self { line, code, stderr, .. } = &self;
        assert_eq!(*code, Some(0), "{line}: {stderr}");
        let found: Vec<&str> = stderr.lines().collect();
        assert_eq!(found.len(), words.len(), "{line}: {stderr}");
        for (said, word) in found.iter().zip(words) {
            assert!(said.starts_with("warning: ") && said.contains(word), "{line}: {said}");
        }
        self
    }

    /// The program said why not, in these words, and nothing else.
    pub(crate) fn refused(self, words: &[&str]) -> Self {
        let Self { line, code, stdout, stderr } = &self;
        assert_eq!(*code, Some(2), "{line}: {stderr}");
        assert_eq!(stdout, "", "{line}");
        self.failed(words)
    }

    /// As `refused`, but a run may have begun.
    pub(crate) fn failed(self, words: &[&str]) -> Self {
        let Self { line, code, stderr, .. } = &self;
        assert_eq!(*code, Some(2), "{line}: {stderr}");
        assert!(stderr.starts_with("error: "), "{line}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{line}: no `{word}` in: {stderr}");
        }
        for noise in ["panicked", "backtrace", "\u{1b}"] {
            assert!(!stderr.contains(noise), "{line}: {stderr}");
        }
        assert!(!repeats_itself(stderr), "{line}: says it twice: {stderr}");
        self
    }
}

/// Whether a clause of a chain of causes is there twice: `a: because b: because b`.
fn repeats_itself(message: &str) -> bool {
    let clauses: Vec<&str> = message.trim_end().split(": ").filter(|c| c.len() > 10).collect();
    (1..clauses.len()).any(|i| clauses[..i].contains(&clauses[i]))
}

impl Run {
    /// Names of everything in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn bytes(&self, file: &str) -> Vec<u8> {
        let path = self.path.join(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn config(&self) -> toml::Table {
        String::from_utf8(self.bytes("config.toml")).unwrap().parse().unwrap()
    }

    /// The lines of `metrics.jsonl`.
    pub(crate) fn metrics(&self) -> Vec<Value> {
        let text = String::from_utf8(self.bytes("metrics.jsonl")).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole: {text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines of one split.
    pub(crate) fn split(&self, split: &str) -> Vec<Value> {
        self.metrics().into_iter().filter(|line| line["split"] == split).collect()
    }

    /// The one line of the test split.
    pub(crate) fn test(&self) -> Value {
        let mut lines = self.split("test");
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    pub(crate) fn model(&self, file: &str) -> Model {
        let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
        Model::load(self.path.join(file), &device).unwrap()
    }

    /// All parameters of the model, one after another.
    pub(crate) fn weights(&self) -> Vec<f32> {
        let tensors = self.model("model.safetensors").mlp.tensors().unwrap();
        tensors.into_iter().flat_map(|tensor| tensor.values).collect()
    }
}

/// Writes the four files of an MNIST-like set: in an image of class `c`, pixel `c` is bright; no test
/// image is a training image.
pub(crate) fn write_digits(folder: &Path) {
    const SIDE: usize = 4;
    const CLASSES: usize = 10;
    fs::create_dir_all(folder).unwrap();
    for (part, rows) in [("train", 60_usize), ("t10k", 20)] {
        let pixel = |row: usize, place: usize| match place == row % CLASSES {
            true => 255 - (row % 7 * 10) as u8,
            false => ((row * 7 + place * 13 + rows / 2 + 30) % 40) as u8,
        };
        let side = [0, 0, 0, SIDE as u8];
        let count = [0, 0, 0, rows as u8];
        let mut images = [[0, 0, 8, 3], count, side, side].concat();
        images
            .extend((0..rows).flat_map(|row| (0..SIDE * SIDE).map(move |place| pixel(row, place))));
        let mut labels = [[0, 0, 8, 1], count].concat();
        labels.extend((0..rows).map(|row| (row % CLASSES) as u8));
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}
