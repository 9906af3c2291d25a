//! Places with trained runs, and what is asked of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::program::{DIGITS, Place};

/// A place with a run on MNIST, `runs/mnist`, that tells pictures; trained once for all tests.
pub(crate) fn mnist() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::new();
        place.train("train --name mnist --no-report -q").succeeded();
        place
    })
}

/// A place with a run on the small set, `runs/small`.
pub(crate) fn small() -> Place {
    let place = Place::new();
    train(&place, "small", "");
    place
}

pub(crate) fn train(place: &Place, name: &str, line: &str) {
    let line = format!("train {DIGITS} --name {name} --no-report -q --epochs 30 --lr 0.01 {line}");
    place.train(&line).succeeded();
}

/// A program of the workspace, which Cargo builds for the tests of its own package: `cargo test
/// --workspace` has all of them.
#[track_caller]
pub(crate) fn built(program: &str) -> PathBuf {
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let path = Path::new(env!("CARGO_BIN_EXE_fireclay")).with_file_name(name);
    assert!(path.is_file(), "{} is missing: test the whole workspace", path.display());
    path
}

pub(crate) fn does(place: &Place, line: &str) -> String {
    place.train(line).succeeded().stdout
}

pub(crate) fn json(place: &Place, line: &str) -> Value {
    serde_json::from_str(&does(place, line)).unwrap()
}

/// JSON, an object a line.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn of_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every line fits a terminal of 80 columns, and moves no cursor.
#[track_caller]
pub(crate) fn is_plain(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}
