//! Runs on the small set, and what every one of them has in common.

use serde_json::Value;

use crate::program::{DIGITS, Place, Run};

/// What a finished run leaves.
pub(crate) const FILES: [&str; 6] =
    [".lock", "checkpoints", "config.toml", "manifest.json", "metrics.jsonl", "model.safetensors"];

/// What of it depends on the settings alone.
pub(crate) const SAME: [&str; 3] = ["config.toml", "metrics.jsonl", "model.safetensors"];

/// Trains on the small set and checks what every run has in common.
pub(crate) fn trained(place: &Place, name: &str, line: &str) -> (Run, String) {
    warned(place, name, line, &[])
}

/// As `trained`, with a warning for each of these words.
pub(crate) fn warned(place: &Place, name: &str, line: &str, words: &[&str]) -> (Run, String) {
    let outcome = place.train(&format!("{DIGITS} --name {name} {line}")).warned(words);
    let run = place.run(name);
    assert_eq!(run.files(), FILES, "{line}");
    let test = run.test();
    let accuracy = 100.0 * test["accuracy"].as_f64().unwrap();
    let printed = outcome.stdout.lines().find(|line| line.starts_with("test loss ")).unwrap();
    assert!(printed.contains(&format!(" accuracy {accuracy:.2} %")), "{line}: {printed}");
    assert!(run.weights().iter().all(|weight| weight.is_finite()), "{line}");
    (run, outcome.stdout)
}

/// Tries commands that cannot work: each says why, in these words, and leaves nothing behind.
pub(crate) fn check_refused(place: &Place, cases: &[(&str, &[&str])]) {
    let before = place.tree();
    for (line, words) in cases {
        place.train(line).refused(words);
        assert!(place.tree() == before, "{line} left something behind");
    }
}

pub(crate) fn manifest(run: &Run) -> Value {
    serde_json::from_slice(&run.bytes("manifest.json")).unwrap()
}

/// A short run that is finished.
pub(crate) fn finished(place: &Place, name: &str) -> Run {
    place.train(&format!("{DIGITS} --epochs 3 --name {name}")).succeeded();
    place.run(name)
}

/// What must not depend on stops.
#[track_caller]
pub(crate) fn assert_same(found: &Run, expected: &Run) {
    for file in ["config.toml", "metrics.jsonl", "model.safetensors"] {
        assert!(found.bytes(file) == expected.bytes(file), "{file} differs");
    }
}
