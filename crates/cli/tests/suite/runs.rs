//! The folder of a run that somebody changed: every command that reads it says so.

use crate::program;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::program::{DIGITS, Outcome, Place};

/// A place with two runs, `small` and `other`, of different seeds.
fn place() -> Place {
    let place = Place::new();
    for (name, seed) in [("small", 1), ("other", 2)] {
        let line = format!("--epochs 2 --hidden 8 --seed {seed} --name {name} -q --no-report");
        place.train(&format!("train {DIGITS} {line}")).succeeded();
    }
    place
}

/// Everything that was said, in one line.
fn said(outcome: &Outcome) -> String {
    let all = format!("{} {}", outcome.stdout, outcome.stderr);
    all.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_says(place: &Place, line: &str, words: &[&str]) -> String {
    let said = said(&place.train(line));
    for word in words {
        assert!(said.contains(word), "{line}: no `{word}` in: {said}");
    }
    said
}

fn file(place: &Place, name: &str) -> PathBuf {
    place.path("runs/small").join(name)
}

fn edit(place: &Place, name: &str, from: &str, to: &str) {
    let path = file(place, name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "no `{from}` in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_run_as_it_was_left_is_called_sound_by_all() {
    let place = place();
    let found = assert_says(&place, "inspect runs/small --strict", &["No anomalies."]);
    assert!(!found.contains("changed"), "{found}");
    for line in ["evaluate runs/small", "report runs/small", "compare runs/small runs/other"] {
        place.train(line).succeeded();
    }
}

#[test]
fn a_settings_file_that_was_changed_is_not_believed() {
    let place = place();
    edit(&place, "config.toml", "learning_rate = 0.001", "learning_rate = 0.5");
    let words =
        "config.toml was changed since the run: optimizer.learning_rate is 0.5 and was 0.001";
    for line in ["inspect runs/small", "evaluate runs/small", "compare runs/other runs/small"] {
        assert_says(&place, line, &[words]);
    }
    assert_eq!(place.train("inspect runs/small --strict").code, Some(1));
    for line in ["train --resume small --epochs 4", "train --repeat small"] {
        place.train(line).refused(&[words, "--config"]);
    }
    // Settings that differ are those of the runs.
    let table = place.train("compare runs/other runs/small --json");
    let table: Value = serde_json::from_str(&table.stdout).unwrap();
    assert_eq!(table["runs"]["settings"], serde_json::json!({ "seed": ["2", "1"] }));
    assert!(table["runs"]["faults"][1][0].as_str().unwrap().contains(words), "{table}");
    place.train("report runs/small").warned(&[words]);
    let page = fs::read_to_string(file(&place, "report.html")).unwrap();
    assert!(page.contains(words) && page.contains("learning_rate = 0.001"));
    assert!(!page.contains("learning_rate = 0.5"));
    // Only the name of the data may change: its digest decides.
    edit(&place, "config.toml", "learning_rate = 0.5", "learning_rate = 0.001");
    edit(&place, "config.toml", "idx:digits", "idx:elsewhere");
    assert_says(&place, "inspect runs/small --strict", &["No anomalies."]);
}

#[test]
fn settings_that_were_changed_in_both_files_contradict_the_model() {
    let place = place();
    edit(&place, "config.toml", "learning_rate = 0.001", "learning_rate = 0.5");
    edit(&place, "manifest.json", "\"learning_rate\": 0.001", "\"learning_rate\": 0.5");
    let words = ["differ in the settings: optimizer.learning_rate is 0.001 in the model"];
    for line in ["inspect runs/small", "report runs/small", "compare runs/other runs/small"] {
        assert_says(&place, line, &words);
    }
}

#[test]
fn results_and_logs_that_were_changed_are_named() {
    let place = place();
    let log = fs::read_to_string(file(&place, "metrics.jsonl")).unwrap();
    let whole = fs::read_to_string(file(&place, "manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&whole).unwrap();
    let commands = ["inspect runs/small", "report runs/small", "evaluate runs/small"];

    edit(&place, "metrics.jsonl", "\"loss\":2.", "\"loss\":0.");
    for line in commands {
        assert_says(&place, line, &["metrics.jsonl: this is not the log that the run wrote"]);
    }
    let first = log.lines().next().unwrap();
    fs::write(file(&place, "metrics.jsonl"), format!("{first}\n")).unwrap();
    for line in commands {
        assert_says(&place, line, &["metrics.jsonl", "it was shortened"]);
    }
    // Nothing of the run is changed by a start that comes to nothing.
    place.train("train --resume small --epochs 4").refused(&["metrics.jsonl", "it was shortened"]);
    assert_eq!(fs::read_to_string(file(&place, "manifest.json")).unwrap(), whole);
    // Of runs without a digest of their log the last line tells.
    manifest["result"]["log"].take();
    fs::remove_dir_all(file(&place, "checkpoints")).unwrap();
    fs::write(file(&place, "manifest.json"), manifest.to_string()).unwrap();
    assert_says(&place, "inspect runs/small", &["last line is not that of the test rows"]);
    fs::write(file(&place, "metrics.jsonl"), log).unwrap();
    assert_says(&place, "inspect runs/small", &["No anomalies."]);

    manifest["result"]["metrics"]["accuracy"] = 0.999.into();
    fs::write(file(&place, "manifest.json"), manifest.to_string()).unwrap();
    for line in commands {
        assert_says(&place, line, &["differ in the test accuracy", "manifest.json has as 0.999"]);
    }
}

#[test]
fn a_foreign_or_missing_manifest_and_a_foreign_checkpoint_are_named() {
    let place = place();
    let other = |name: &str| place.path("runs/other").join(name);
    let checkpoint = "checkpoints/step-00000004.safetensors";
    let own = fs::read(file(&place, checkpoint)).unwrap();
    fs::copy(other(checkpoint), file(&place, checkpoint)).unwrap();
    assert_says(
        &place,
        "inspect runs/small",
        &["step-00000004", "settings or the data of the run"],
    );
    fs::write(file(&place, checkpoint), own).unwrap();

    fs::copy(other("manifest.json"), file(&place, "manifest.json")).unwrap();
    let words = ["seed is 1 and was 2", "not the model that the run ended with"];
    assert_says(&place, "inspect runs/small", &words);
    fs::remove_file(file(&place, "manifest.json")).unwrap();
    for line in ["inspect runs/small", "evaluate runs/small"] {
        assert_says(&place, line, &["manifest.json", "nothing tells whether the files are"]);
    }
    place.train("compare runs/small runs/other").refused(&["without its manifest"]);
    place.train("train --resume small").refused(&["has no manifest.json", "put it back"]);
}

#[test]
fn a_finished_run_without_its_model_has_a_way_out() {
    let place = place();
    let model = file(&place, "model.safetensors");
    let whole = fs::read(&model).unwrap();
    fs::remove_file(&model).unwrap();
    let words = ["is gone", "`fireclay train --resume runs/small`", "--repeat runs/small"];
    for line in ["inspect runs/small", "evaluate runs/small", "compare runs/other runs/small"] {
        place.train(line).refused(&words);
    }
    place.train("report runs/small").warned(&["model.safetensors is missing"]);
    assert_says(
        &place,
        "train --repeat small --no-report",
        &["is identical", "copy this one there"],
    );
    place.train("train --resume small -q --no-report").succeeded();
    assert!(fs::read(&model).unwrap() == whole);
    place.train("train --resume small").refused(&["is finished"]);
}

#[test]
fn a_tuned_run_goes_on_by_either_program_wherever_its_data_lies() {
    let place = place();
    program::write_digits(&place.path("old"));
    let line =
        "finetune --from runs/small/model.safetensors --lora rank=2 --epochs 1 -q --no-report";
    let line = format!("{line} {DIGITS} --replay 0.5 --replay-data idx:old --name tuned");
    place.train(&line).succeeded();
    for folder in ["old", "digits"] {
        fs::rename(place.path(folder), place.path(&format!("moved-{folder}"))).unwrap();
    }
    let data = "--data idx:moved-digits --replay-data idx:moved-old -q --no-report";
    place.train(&format!("train --repeat tuned {data}")).succeeded();
    for (program, epochs) in [("train", 2), ("finetune", 3)] {
        let line = format!("{program} --resume tuned --epochs {epochs}");
        place.train(&format!("{line} {data}")).succeeded();
    }
    let alone = "train --replay-data idx:old";
    place.train(alone).refused(&["--replay-data idx:old", "in `finetune` alone"]);
    place
        .train(&format!("train --resume small --epochs 3 {data}"))
        .refused(&["replays no other data"]);
    // What the run starts from is named, with what to do.
    for name in ["base.safetensors", "start.safetensors"] {
        let path = place.path("runs/tuned").join(name);
        fs::rename(&path, place.path("kept")).unwrap();
        let words =
            [&format!("runs/tuned/{name} is missing")[..], "put it back", "finetune --from"];
        for line in ["train --repeat tuned", "finetune --resume tuned --epochs 4"] {
            place.train(line).refused(&words);
        }
        fs::rename(place.path("kept"), path).unwrap();
    }
    // A finetune run is checked as a whole before it begins, too.
    let line = line.replace("idx:old", "idx:moved-old").replace("idx:digits", "idx:moved-digits");
    for (name, words) in [("..", "not a name"), ("tuned", "exists already")] {
        let line = line.replace("--name tuned", &format!("--name {name} --dry-run"));
        place.train(&line).refused(&["cannot make the run folder", words]);
    }
    let scratch =
        line.replace("--name tuned", &format!("--name {} --baseline scratch", "x".repeat(250)));
    place.train(&scratch).refused(&["at most 255"]);
}
