//! What is checked before the first step, by a run and by a dry run alike.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fs;

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/program.rs"]
mod program;
use program::{DIGITS, Outcome, Place};

/// A run and a dry run of the same settings are refused in the same words, and leave nothing.
fn refused(place: &Place, line: &[&str], words: &[&str]) {
    let before = place.tree();
    let said = [&[][..], &["--dry-run"]].map(|more| {
        let mut command = place.command(DIGITS);
        let outcome = Outcome::of(&line.join(" "), command.args(line).args(more));
        outcome.refused(words).stderr
    });
    assert_eq!(said[0], said[1]);
    assert!(place.tree() == before, "{line:?} left something behind");
}

#[test]
fn a_name_is_one_that_every_system_can_have() {
    let place = Place::new();
    let long = "x".repeat(256);
    for (name, words) in [
        ("..", "`..` is not a name but a place"),
        (".", "`.` is not a name"),
        ("", "the name is empty"),
        ("a/b", "a name has no `/`"),
        ("a\\b", "a name has no `\\`"),
        ("../up", "a name has no `/`"),
        ("a\nb", "\\u{a}, which does not show"),
        ("a\u{1b}[2Jb", "\\u{1b}"),
        ("a\u{202e}b", "\\u{202e}"),
        ("a.", "ends in a dot"),
        ("a ", "ends in a space"),
        ("latest", "what --resume calls the last run"),
        (&long, "has 256 bytes; at most 255"),
    ] {
        refused(&place, &["--name", name], &["--name", words]);
    }
    fs::create_dir_all(place.path("runs/taken/sub")).unwrap();
    refused(&place, &["--name", "taken"], &["runs/taken", "there already", "--name"]);
    refused(&place, &["--out", "digits/train-images-idx3-ubyte/x"], &["is not a folder", "--out"]);
}

#[test]
fn what_cannot_be_held_is_refused_before_it_is_taken() {
    let place = Place::new();
    let memory = ["of memory", "are free", "--hidden"];
    refused(&place, &["--hidden", "1000000000"], &memory);
    refused(&place, &["--hidden", "4000000000,4000000000"], &[]);
    refused(&place, &["--hidden", "200000,200000", "--optimizer", "sgd"], &memory);
    refused(&place, &["--drop-last", "--batch-size", "51"], &["--drop-last"]);
    refused(&place, &["--tui"], &["--tui needs a terminal"]);
    // A batch is never larger than the training split.
    let line = format!("{DIGITS} --batch-size 4294967295 --epochs 1 --dry-run");
    place.train(&line).warned(&["larger than the training split"]);
}

#[test]
fn a_dry_run_warns_as_a_run_does() {
    let place = Place::new();
    let words = ["each batch has 1 of 50 training rows"];
    let line = format!("{DIGITS} --norm batch --batch-size 1 --epochs 1");
    place.train(&line).warned(&words);
    place.train(&format!("{line} --dry-run")).warned(&words);
    place.train(&format!("{line} --dry-run -q")).succeeded();
}

#[test]
fn the_folder_of_a_run_that_never_began_is_taken_again() {
    let place = Place::new();
    let folder = place.path("runs/run");
    let line = format!("{DIGITS} --epochs 1 --name run");
    fs::create_dir_all(&folder).unwrap();
    for name in [".lock", "config.toml", "start.safetensors", ".fireclay-12-3.tmp"] {
        fs::write(folder.join(name), "half").unwrap();
    }
    place.train("--resume run").refused(&["killed before its first step", "the same --name"]);
    place.train(&format!("{line} --dry-run")).succeeded();
    // Anything else in it is somebody's.
    for name in ["notes.txt", "metrics.jsonl", "checkpoints"] {
        fs::write(folder.join(name), "mine").unwrap();
        refused(&place, &["--epochs", "1", "--name", "run"], &["runs/run"]);
        fs::remove_file(folder.join(name)).unwrap();
    }
    // As long as a process works on it, it is begun.
    let lock = fs::File::options().append(true).open(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    place.train(&line).refused(&["another process is working on this run"]);
    drop(lock);
    place.train(&line).succeeded();
    let files = place.run("run").files();
    assert!(!files.iter().any(|name| name.starts_with("start") || name.ends_with(".tmp")));
    place.train("--resume run").refused(&["is finished"]);
    // One that is empty has nothing to lose.
    fs::create_dir_all(place.path("runs/empty")).unwrap();
    place.train("--resume empty").refused(&["not the folder of a run"]);
    place.train(&format!("{DIGITS} --epochs 1 --name empty")).succeeded();
}
