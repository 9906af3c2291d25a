//! Stopping and going on, with the program as its users have it: signals, kills, damaged
//! checkpoints, refusals.

use crate::program;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fireclay::{Backend, DeviceChoice, Model};
use serde_json::Value;

use crate::program::{DIGITS, Place, Run, write_digits};
use crate::runs::{assert_same, finished, manifest};

/// Some thousands of steps, a few seconds: long enough to be stopped in the middle, also where a
/// signal takes its time.
const LONG: &str = "--batch-size 2 --epochs 240 --norm batch --dropout 0.1 --ema 0.9 \
                    --checkpoint-every 50steps";

/// Starts the program and lets it run.
fn start(place: &Place, line: &str) -> Child {
    let mut command = place.command(line);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until something holds, for at most half a minute.
#[track_caller]
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "no {what} after half a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Steps of the checkpoints of a run, oldest first.
fn steps(run: &Run) -> Vec<u64> {
    let mut steps = train::checkpoints::steps_in(&run.path.join("checkpoints")).unwrap();
    steps.reverse();
    steps
}

fn checkpoint(run: &Run, step: u64) -> PathBuf {
    train::checkpoints::path_of(&run.path.join("checkpoints"), step)
}

/// Sends a signal by its name.
fn send(signal: &str, child: &Child) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_killed_and_a_stopped_run_end_as_if_left_alone() {
    let place = Place::new();
    place.train(&format!("{DIGITS} {LONG} --name whole")).succeeded();
    let cut = place.run("cut");

    let mut child = start(&place, &format!("{DIGITS} {LONG} --name cut"));
    wait_for("checkpoint", || steps(&cut).last().is_some_and(|&step| step >= 200));
    child.kill().unwrap();
    child.wait().unwrap();

    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let before = steps(&cut).pop().unwrap();
        let child = start(&place, "--resume latest --checkpoint-every 50steps");
        wait_for("checkpoint", || steps(&cut).last().is_some_and(|&step| step > before));
        let asked = Instant::now();
        send(signal, &child);
        let output = child.wait_with_output().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!(output.status.code(), Some(code));
        let text = String::from_utf8(output.stdout).unwrap();
        let ending = format!("Stopped by SIG{} after step ", &signal[1..]);
        assert!(text.contains(&ending) && text.ends_with("--resume runs/cut\n"), "{text}");
        let reason =
            manifest(&cut)["sessions"].as_array().unwrap().last().unwrap()["ended"].clone();
        assert_eq!(reason["reason"], format!("SIG{}", &signal[1..]));
    }

    // What a process leaves that is killed while it writes.
    let left = [cut.path.join(".fireclay-x.tmp"), cut.path.join("checkpoints/.fireclay-y.tmp")];
    left.iter().for_each(|path| fs::write(path, "half a file").unwrap());
    place.train("--resume cut").succeeded();
    assert!(left.iter().all(|path| !path.exists()));
    assert_same(&cut, &place.run("whole"));
    let sessions = manifest(&cut)["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 4);
    // The killed one could not say so.
    assert!(sessions[0]["ended"].is_null() && sessions[3]["ended"]["reason"] == "complete");
    // The last two and that of the best epoch.
    let left = steps(&cut);
    assert!(left.len() <= 3 && left.last() == Some(&6000), "{left:?}");
}

#[test]
fn a_batch_systems_warning_writes_a_checkpoint_and_the_run_goes_on() {
    let place = Place::new();
    let run = place.run("run");
    let line = LONG.replace("50steps", "never");
    let child = start(&place, &format!("{DIGITS} {line} --name run"));
    wait_for("measurement", || {
        run.path.join("metrics.jsonl").metadata().is_ok_and(|m| m.len() > 0)
    });
    send("-USR1", &child);
    wait_for("checkpoint", || !steps(&run).is_empty());
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn a_run_is_worked_on_by_one_process_and_a_dead_one_holds_nothing() {
    let place = Place::new();
    let run = place.run("run");
    let mut child = start(&place, &format!("{DIGITS} {LONG} --name run"));
    wait_for("checkpoint", || !steps(&run).is_empty());
    place.train("--resume run").failed(&["runs/run cannot be resumed", "another process"]);
    child.kill().unwrap();
    child.wait().unwrap();
    place.train("--resume run").succeeded();
}

#[test]
fn what_would_change_the_mathematics_is_refused_with_the_difference() {
    let place = Place::new();
    let run = finished(&place, "run");
    let before = place.tree();
    let check = |line: &str, words: &[&str]| {
        place.train(line).refused(words);
        assert!(place.tree() == before, "{line} changed something");
    };
    let lr = "optimizer.learning_rate is 0.001, not 0.5";
    check("--resume run --lr 0.5 --seed 3", &[lr, "seed is 1, not 3", "--config"]);
    check("--resume run --hidden 3", &["model.hidden is [128], not [3]"]);
    check("--resume run --batch-size 7", &["training.batch_size is 32, not 7"]);
    check("--resume run --optimizer sgd", &["optimizer.name"]);
    check("--resume run --data mnist --epochs 9", &["the data is not what this run", "mnist"]);
    check("--resume run", &["finished, after 3 epochs", "--epochs 6"]);
    if cfg!(feature = "ndarray") {
        check("--resume run --backend ndarray", &["finished"]);
    }
    let rum = ["no run `rum`, neither at this path nor in runs", "did you mean `run`?"];
    check("--resume rum", &rum);
    check("--resume latest --out elsewhere", &["there is no run in elsewhere"]);
    check("--resume digits", &["digits is not the folder of a run"]);
    check("--repeat run --lr 0.5", &[lr]);
    check("--repeat run --epochs 4", &["as many epochs as it had: 3"]);
    check("--deterministic --backend wgpu", &["last digits", "--backend flex"]);
    let pace = "--deterministic --on-divergence rollback";
    check(pace, &["depends on time", "--checkpoint-every 1epoch"]);
    for line in ["--checkpoint-every 3weeks", "--on-divergence sit", "--resume a --repeat b"] {
        assert_eq!(place.train(line).code, Some(2), "{line}");
    }

    // Other pixels under the same name.
    let file = place.path("digits/train-images-idx3-ubyte");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    place.train("--resume run --epochs 9").failed(&["the data is not what this run learns from"]);
    write_digits(&place.path("digits"));
    // Settings changed by hand.
    let config = run.path.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("learning_rate = 0.001", "learning_rate = 0.5")).unwrap();
    place.train("--resume run --epochs 9").refused(&[
        "runs/run/config.toml was changed",
        "optimizer.learning_rate is 0.5 and was 0.001",
        "--config",
    ]);
}

#[test]
fn settings_that_are_gone_are_written_again_from_the_manifest() {
    let place = Place::new();
    let run = finished(&place, "run");
    let config = run.path.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::remove_file(&config).unwrap();
    place.train("--repeat run").succeeded();
    let ended = place.train("--resume run");
    assert!(ended.stderr.contains("error: the run runs/run is finished"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
    fs::remove_file(&config).unwrap();
    place.train("--resume run --epochs 5").warned(&["config.toml is missing"]);
    let longer = fs::read_to_string(&config).unwrap();
    assert_eq!(longer, text.replace("epochs = 3", "epochs = 5"));
    place.train(&format!("{DIGITS} --epochs 5 --name longer")).succeeded();
    assert_same(&run, &place.run("longer"));
}

#[test]
fn a_finished_run_that_is_extended_equals_a_longer_one() {
    let place = Place::new();
    let run = finished(&place, "run");
    place.train("--resume run --epochs 5").succeeded();
    place.train(&format!("{DIGITS} --epochs 5 --name longer")).succeeded();
    assert_same(&run, &place.run("longer"));
}

#[cfg(feature = "ndarray")]
#[test]
fn another_backend_may_go_on() {
    let place = Place::new();
    let run = finished(&place, "run");
    place.train("--resume run --epochs 4 --backend ndarray").succeeded();
    assert_eq!(run.split("validation").len(), 4);
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_serves() {
    let place = Place::new();
    let expected = finished(&place, "whole");
    let run = finished(&place, "run");
    // As if the run had not been finished.
    let unfinished = || {
        let mut text = manifest(&run);
        text["result"] = Value::Null;
        fs::write(run.path.join("manifest.json"), text.to_string()).unwrap();
        let _ = fs::remove_file(run.path.join("model.safetensors"));
    };
    let damage = |step: u64| {
        let path = checkpoint(&run, step);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(path, bytes).unwrap();
    };
    unfinished();
    assert_eq!(steps(&run), [4, 6]);
    damage(6);
    let outcome = place.train("--resume run");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let name = "step-00000006.safetensors: the file is damaged";
    assert!(outcome.stderr.contains(name), "{}", outcome.stderr);
    assert_same(&run, &expected);

    unfinished();
    damage(6);
    damage(4);
    let outcome = place.train("--resume run");
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("no checkpoint in runs/run/checkpoints is whole"));
    assert!(outcome.stderr.contains("remove the folder runs/run/checkpoints"));
    // Without any there is the beginning.
    fs::remove_dir_all(run.path.join("checkpoints")).unwrap();
    place.train("--resume run").succeeded();
    assert_same(&run, &expected);
    // A log that lost lines cannot be continued.
    unfinished();
    fs::write(run.path.join("metrics.jsonl"), "").unwrap();
    let words =
        ["metrics.jsonl", "it was shortened", "put the whole file back", "--resume runs/run"];
    place.train("--resume run").failed(&words);
    fs::remove_file(run.path.join("metrics.jsonl")).unwrap();
    let words = ["metrics.jsonl: it is missing, and had ", "put the whole file back"];
    place.train("--resume run").failed(&words);
    // A manifest that is cut off, which no name of a model file helps.
    let manifest = run.path.join("manifest.json");
    fs::write(&manifest, &fs::read(&manifest).unwrap()[..40]).unwrap();
    let said = place.train("--resume run").failed(&["no whole manifest of a run"]).stderr;
    assert!(!said.contains("model file"), "{said}");
}

#[test]
fn a_report_of_the_run_before_it_was_resumed_is_removed() {
    let place = Place::new();
    let run = finished(&place, "run");
    let report = run.path.join("report.html");
    let page = "<!DOCTYPE html>\n<html><title>run - Fireclay</title></html>\n";
    for (text, is_kept) in [(page, false), ("my notes", true)] {
        fs::write(&report, text).unwrap();
        place.train("--resume run").refused(&["is finished"]);
        assert!(report.exists(), "nothing was resumed");
        let epochs = 4 + u32::from(is_kept);
        place.train(&format!("--resume run --epochs {epochs}")).succeeded();
        assert_eq!(report.exists(), is_kept, "{text}");
    }
}

#[test]
fn the_last_two_checkpoints_and_the_best_are_kept_and_each_is_a_model() {
    let place = Place::new();
    // A rate that soon does harm: the best epoch is an early one.
    let line = "--epochs 30 --optimizer sgd --lr 3 --momentum 0.9 --keep best --name run";
    place.train(&format!("{DIGITS} {line}")).warned(&["10 validation rows choose the epoch"]);
    let run = place.run("run");
    let validation = run.split("validation");
    let losses: Vec<f64> = validation.iter().map(|line| line["loss"].as_f64().unwrap()).collect();
    let best =
        1 + (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap() as u64;
    assert!(best < 29, "this test wants an early best epoch, not {best}");
    assert_eq!(steps(&run), [2 * best, 58, 60]);
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let kept = run.weights();
    let load = |path: &Path| -> Vec<f32> {
        let tensors = Model::load(path, &device).unwrap().mlp.tensors().unwrap();
        tensors.into_iter().flat_map(|tensor| tensor.values).collect()
    };
    assert_eq!(load(&checkpoint(&run, 2 * best)), kept);
    assert_ne!(load(&checkpoint(&run, 60)), kept);
}

/// The program, which must come to its end at once.
fn at_once(place: &Place, line: &str) -> program::Outcome {
    let mut child = start(place, line);
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("{line}: it hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    program::Outcome {
        line: line.to_owned(),
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let place = Place::new();
    let run = finished(&place, "run");
    type Damage = fn(&Path);
    let kinds: [(&str, Damage); 4] = [
        ("a named pipe", |path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a device", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("a link to a file that does not exist", |path| {
            std::os::unix::fs::symlink("nowhere", path).unwrap();
        }),
    ];
    for (kind, make) in kinds {
        for file in [".lock", "config.toml", "manifest.json", "metrics.jsonl", "model.safetensors"]
        {
            let path = run.path.join(file);
            fs::rename(&path, place.path("kept")).unwrap();
            make(&path);
            at_once(&place, "--resume run --epochs 9").failed(&[file, kind]);
            if ["config.toml", "manifest.json"].contains(&file) {
                at_once(&place, "--repeat run").failed(&[file, kind]);
            }
            if file == "config.toml" {
                at_once(&place, "--config runs/run/config.toml").failed(&[file, kind]);
            }
            let _ = fs::remove_dir(&path);
            let _ = fs::remove_file(&path);
            fs::rename(place.path("kept"), &path).unwrap();
        }
        let path = checkpoint(&run, steps(&run).pop().unwrap());
        fs::rename(&path, place.path("kept")).unwrap();
        make(&path);
        at_once(&place, "--resume run --epochs 9").failed(&["step-", kind, "remove it"]);
        let _ = fs::remove_dir(&path);
        let _ = fs::remove_file(&path);
        fs::rename(place.path("kept"), &path).unwrap();
    }
    place.train("--resume run --epochs 4").succeeded();
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket.toml")).unwrap();
    at_once(&place, "--config socket.toml").failed(&["socket.toml", "a socket"]);
    let large = fs::File::create(place.path("large.toml")).unwrap();
    large.set_len(1 << 40).unwrap();
    at_once(&place, "--config large.toml").failed(&["large.toml", "at most"]);
    place.train("--resume runs").failed(&["did you mean runs/run?"]);
}

#[test]
fn a_run_that_diverges_goes_back_with_half_the_rate() {
    let place = Place::new();
    // Far too high a rate; halved often enough it is none.
    let line = "--hidden 8,8,8 --activation softplus --optimizer sgd --lr 1e38 --epochs 3 \
                --schedule one-cycle --set schedule.first_factor=0.001 \
                --on-divergence rollback:120";
    let outcome =
        place.train(&format!("{DIGITS} {line} --name run")).warned(&["learning rate is 1e38"]);
    assert!(outcome.stdout.contains("back to step 0 with the learning rate times 5e-1"));
    let run = place.run("run");
    let sessions = manifest(&run)["sessions"].clone();
    let rollbacks = sessions[0]["rollbacks"].as_array().unwrap();
    assert!(rollbacks.len() > 10 && rollbacks.len() <= 120, "{}", rollbacks.len());
    assert!(rollbacks[0]["reason"].as_str().unwrap().contains("layers."));
    // Each step once, though some were taken often.
    let steps: Vec<u64> = run
        .split("training")
        .iter()
        .filter(|line| line["span"] == "steps")
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [2, 4, 6]);

    let line = "--optimizer sgd --lr 1e300 --on-divergence rollback:2 --name short";
    place.train(&format!("{DIGITS} -q {line}")).failed(&["diverged", "last-good"]);
    let sessions = manifest(&place.run("short"))["sessions"].clone();
    assert_eq!(sessions[0]["rollbacks"].as_array().unwrap().len(), 2);
    assert!(sessions[0]["ended"]["reason"].as_str().unwrap().contains("diverged"));
}

/// Its rate rises until the loss is no number, however often it is halved.
const DIVERGING: &str = "--hidden 16,16,16,16 --activation identity --batch-size 5 --epochs 6 \
                         --optimizer sgd --lr 1 --momentum 0.9 --warmup-epochs 5 \
                         --on-divergence rollback:40 --checkpoint-every 4steps";

#[test]
fn a_rollback_that_comes_to_nothing_goes_further_back() {
    let place = Place::new();
    place.train(&format!("{DIGITS} {DIVERGING} --name run")).succeeded();
    let run = place.run("run");
    let text = manifest(&run);
    let back: Vec<u64> = text["sessions"][0]["rollbacks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rollback| rollback["to_step"].as_u64().unwrap())
        .collect();
    assert!(back.len() > 3 && back.windows(2).all(|pair| pair[0] != pair[1]), "{back:?}");
    assert!(back.windows(2).any(|pair| pair[0] == pair[1] + 4), "{back:?}");
    // With the pace of the run, by which it went back.
    place.train("--repeat run --name again").succeeded();
    assert_same(&place.run("again"), &run);

    // Killed after the last checkpoint, or before it.
    let log = run.bytes("metrics.jsonl");
    for without_last in [false, true] {
        let mut text = text.clone();
        text["result"] = Value::Null;
        fs::write(run.path.join("manifest.json"), text.to_string()).unwrap();
        fs::remove_file(run.path.join("model.safetensors")).unwrap();
        if without_last {
            fs::remove_file(checkpoint(&run, steps(&run).pop().unwrap())).unwrap();
        }
        place.train("--resume run").succeeded();
        assert!(run.bytes("metrics.jsonl") == log, "{without_last}");
        assert_same(&run, &place.run("again"));
        assert_eq!(manifest(&run)["sessions"][1]["checkpoint_every"][0], "4steps");
    }
}

#[test]
fn threads_and_checkpoints_change_no_bit() {
    let place = Place::new();
    let line = "--epochs 4 --hidden 32,16 --norm layer --dropout 0.2 --metrics precision,auroc";
    let run = |name: &str, threads: &str, pace: &str| {
        let line =
            format!("{DIGITS} {line} --deterministic --checkpoint-every {pace} --name {name}");
        let mut command = place.command(&line);
        program::Outcome::of(&line, command.env("RAYON_NUM_THREADS", threads)).succeeded();
        place.run(name)
    };
    let first = run("first", "1", "never");
    for (name, threads, pace) in
        [("two", "2", "1steps"), ("four", "4", "1epoch"), ("eight", "8", "3steps")]
    {
        assert_same(&run(name, threads, pace), &first);
    }
}

/// A run of five epochs that a program wrote which knew no monitors but the loss and the accuracy, and
/// the model that this program came to after twelve.
#[test]
fn a_run_of_an_older_program_goes_on_as_it_would_have() {
    let place = Place::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/run-before-monitors");
    let folder = place.path("runs/before");
    fs::create_dir_all(folder.join("checkpoints")).unwrap();
    let files = ["config.toml", "manifest.json", "metrics.jsonl", "model.safetensors"];
    for file in files.into_iter().chain(["checkpoints/step-00000050.safetensors"]) {
        fs::copy(fixture.join(file), folder.join(file)).unwrap();
    }
    place.train("--resume before --epochs 12 -q").succeeded();
    let run = place.run("before");
    let expected = Run { path: fixture };
    let weights = |model: Model| {
        let tensors = model.mlp.tensors().unwrap().into_iter();
        tensors.flat_map(|tensor| tensor.values).collect::<Vec<f32>>()
    };
    let expected = weights(expected.model("expected.safetensors"));
    // On the machine that made them the bits are the same; others may round otherwise.
    for (found, expected) in run.weights().iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    assert_eq!(run.weights().len(), expected.len());
    assert_eq!(run.split("validation").len(), 12);
}
