//! A disk that fails: at every operation of a short run, with every kind of error.
//!
//! However it fails, the run says so, what was whole before is whole after, and the run can go on
//! from there to the same end.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use fireclay::Checkpoint;
use fireclay_terminal::Exit;
use train::checkpoints::{path_of, steps_in};
use train::disk::{Disk, Operation};
use train::{Args, run_on};

use crate::program::write_digits;

/// How an operation fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// With this error of the system.
    Error(i32),
    /// Half of what is to be written is, and then the disk is full.
    ShortWrite,
}

// As Linux, macOS and the BSDs have them.
const EIO: i32 = 5;
const EACCES: i32 = 13;
const ENOSPC: i32 = 28;

const FAULTS: [Fault; 4] =
    [Fault::Error(ENOSPC), Fault::Error(EIO), Fault::Error(EACCES), Fault::ShortWrite];

/// A disk whose n-th operation fails, and every one after it: what is broken stays broken. Counts
/// the operations.
fn failing(at: usize, fault: Fault) -> (Disk, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let disk = Disk::with(move |operation| {
        if counted.fetch_add(1, Ordering::SeqCst) < at {
            return Ok(());
        }
        match (fault, operation) {
            (Fault::Error(code), _) => Err(io::Error::from_raw_os_error(code)),
            (Fault::ShortWrite, Operation::Write(file, bytes)) => {
                file.write_all(&bytes[..bytes.len() / 2])?;
                Err(io::Error::from_raw_os_error(ENOSPC))
            }
            (Fault::ShortWrite, _) => Ok(()),
        }
    });
    (disk, count)
}

/// Settings of a run of 12 steps.
const SHORT: &str = "--epochs 6 --hidden 4";

/// A run with a checkpoint every 3 steps, in a folder of its own.
fn train(folder: &Path, line: &str, disk: Disk) -> anyhow::Result<Exit> {
    let digits = folder.join("digits");
    let settings = format!("train --validation 10 --quiet --checkpoint-every 3steps {line}");
    let mut words: Vec<String> = settings.split_whitespace().map(str::to_owned).collect();
    words.extend(["--out".to_owned(), folder.join("runs").display().to_string()]);
    words.extend(["--data".to_owned(), format!("idx:{}", digits.display())]);
    run_on(Args::parse_from(words), disk)
}

/// Every checkpoint with a final name is whole.
fn check_whole(run: &Path) {
    let folder = run.join("checkpoints");
    for step in steps_in(&folder).unwrap() {
        Checkpoint::load(path_of(&folder, step)).unwrap();
    }
    let entries = fs::read_dir(&folder).into_iter().flatten();
    for entry in entries.chain(fs::read_dir(run).into_iter().flatten()) {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().ends_with(".tmp"), "{name:?} was left behind");
    }
}

/// The disk works again: the run continues to the same end, or is there.
#[track_caller]
fn goes_on(folder: &Path, run: &Path, whole: &Path) {
    let name = run.display();
    if let Err(error) = train(folder, &format!("--resume {name}"), Disk::default()) {
        // All but the last flush had been done.
        let text = format!("{error:#}");
        assert!(text.contains("is finished"), "{name} cannot go on: {text}");
    }
    for file in ["model.safetensors", "metrics.jsonl", "config.toml"] {
        let read = |run: &Path| fs::read(run.join(file)).unwrap();
        assert!(read(run) == read(whole), "{name}: {file} differs");
    }
}

#[test]
fn a_run_that_goes_on_survives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_digits(&folder.path().join("digits"));
    train(folder.path(), &format!("{SHORT} --name whole"), Disk::default()).unwrap();
    let whole = folder.path().join("runs/whole");
    // Stopped in the middle by a disk that failed there.
    let run = folder.path().join("runs/run");
    let stopped = || {
        let _ = fs::remove_dir_all(&run);
        let (disk, _) = failing(40, Fault::Error(EIO));
        train(folder.path(), &format!("{SHORT} --name run"), disk).unwrap_err();
        assert!(!steps_in(&run.join("checkpoints")).unwrap().is_empty());
    };
    stopped();
    let (disk, count) = failing(usize::MAX, Fault::Error(EIO));
    train(folder.path(), &format!("--resume {}", run.display()), disk).unwrap();
    for at in 0..count.load(Ordering::SeqCst) {
        stopped();
        let (disk, _) = failing(at, Fault::Error(EIO));
        let line = format!("--resume {}", run.display());
        assert!(train(folder.path(), &line, disk).is_err(), "{at} did not fail");
        check_whole(&run);
        goes_on(folder.path(), &run, &whole);
    }
}

#[test]
fn a_run_survives_a_disk_that_fails_at_any_operation() {
    let folder = tempfile::tempdir().unwrap();
    write_digits(&folder.path().join("digits"));
    let (disk, count) = failing(usize::MAX, Fault::Error(EIO));
    train(folder.path(), &format!("{SHORT} --name whole"), disk).unwrap();
    let operations = count.load(Ordering::SeqCst);
    assert!(operations > 40, "{operations}");
    let whole = folder.path().join("runs/whole");

    for fault in FAULTS {
        for at in 0..operations {
            let name = format!("{fault:?}-{at}").replace(['(', ')'], "-");
            let run = folder.path().join("runs").join(&name);
            let (disk, _) = failing(at, fault);
            let result = train(folder.path(), &format!("{SHORT} --name {name}"), disk);
            let Err(error) = result else {
                // Only a short write can find nothing left to write.
                assert!(matches!(fault, Fault::ShortWrite), "{name} did not fail");
                continue;
            };
            let text = format!("{error:#}");
            assert!(text.contains(&name), "the error names a file of the run: {text}");
            if !run.exists() {
                continue;
            }
            check_whole(&run);
            if run.join("manifest.json").exists() {
                goes_on(folder.path(), &run, &whole);
            }
            fs::remove_dir_all(&run).unwrap();
        }
    }
}

/// Going back is several operations: checkpoints removed, the manifest written.
#[test]
fn a_run_that_goes_back_survives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_digits(&folder.path().join("digits"));
    let line = "--hidden 16,16,16,16 --activation identity --batch-size 5 --epochs 3 --lr 1 \
                --optimizer sgd --momentum 0.9 --warmup-epochs 5 --on-divergence rollback:40";
    let (disk, count) = failing(usize::MAX, Fault::Error(EIO));
    train(folder.path(), &format!("{line} --name whole"), disk).unwrap();
    let whole = folder.path().join("runs/whole");
    let manifest = fs::read_to_string(whole.join("manifest.json")).unwrap();
    assert!(manifest.matches("rate_factor").count() >= 4, "{manifest}");
    let run = folder.path().join("runs/run");
    for at in 0..count.load(Ordering::SeqCst) {
        let (disk, _) = failing(at, Fault::Error(EIO));
        train(folder.path(), &format!("{line} --name run"), disk).unwrap_err();
        if run.join("manifest.json").exists() {
            goes_on(folder.path(), &run, &whole);
        }
        let _ = fs::remove_dir_all(&run);
    }
}

#[test]
fn a_folder_that_goes_away_under_a_run_fails_it() {
    let folder = tempfile::tempdir().unwrap();
    write_digits(&folder.path().join("digits"));
    let run = folder.path().join("runs/gone");
    let doomed = run.clone();
    let count = AtomicUsize::new(0);
    let disk = Disk::with(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) == 20 {
            fs::remove_dir_all(&doomed).unwrap();
        }
        Ok(())
    });
    let error = train(folder.path(), &format!("{SHORT} --name gone"), disk).unwrap_err();
    assert!(format!("{error:#}").contains("gone"), "{error:#}");
    assert!(!run.exists());
}
