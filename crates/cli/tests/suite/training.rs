//! `fireclay train` and `fireclay finetune`.

use std::fs;

use serde_json::Value;

use crate::program::{DIGITS, Outcome, Place};
use crate::support::{does, json, lines, small, train};

#[test]
fn a_run_tells_how_it_goes_on_by_the_name_it_was_called_by() {
    let place = Place::new();
    let mut command = place.command(&format!("train {DIGITS} --epochs 1 --no-report"));
    let said = Outcome::of("train", command.env_remove("CARGO")).succeeded().stdout;
    assert!(said.contains("\n  fireclay train --repeat runs/idx-1\n"), "{said}");
    let mut command = place.command(&format!("train {DIGITS} --epochs 1 --no-report"));
    let said = Outcome::of("train", command.env("CARGO", "cargo")).succeeded().stdout;
    assert!(said.contains("cargo run -p fireclay-cli -- train --repeat runs/idx-2\n"), "{said}");
    assert!(!place.path("runs/idx-1/report.html").exists());
}

#[test]
fn a_run_ends_with_its_page_unless_told_not_to() {
    let place = Place::new();
    let said = does(&place, &format!("train {DIGITS} --epochs 1"));
    assert!(said.ends_with("Report: runs/idx-1/report.html\n"), "{said}");
    let page = fs::read_to_string(place.path("runs/idx-1/report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
    does(&place, &format!("train {DIGITS} --epochs 1 -q --dry-run"));
    assert!(!place.path("runs/idx-2").exists());
    let again = place.train("train --repeat runs/idx-1 --no-report");
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

#[test]
fn a_tuned_run_has_its_page_and_its_events_as_any_other() {
    let place = small();
    let tune = format!("finetune --from runs/small/model.safetensors {DIGITS} --epochs 1");
    let said = does(&place, &format!("{tune} --name plain"));
    assert!(said.ends_with("Report: runs/plain/report.html\n"), "{said}");
    let said = does(&place, &format!("{tune} --name tuned --lora rank=2 --tensorboard"));
    let (head, events) = said.trim_end().rsplit_once("\nTensorBoard events: ").unwrap();
    assert!(head.ends_with("Report: runs/tuned/report.html"), "{said}");
    assert!(events.starts_with("runs/tuned/events.out.tfevents."), "{said}");
    assert!(!fs::read(place.path(events)).unwrap().is_empty());
    for (name, words) in [("plain", "fine-tuned from"), ("tuned", "adapter of rank 2")] {
        let page = place.path("runs").join(name).join("report.html");
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains("</html>"));
        assert!(page.contains(words), "{name}: no `{words}` on the page");
    }
    let quiet = does(&place, &format!("{tune} --name quiet --no-report -q"));
    assert_eq!(quiet, "");
    assert!(!place.path("runs/quiet/report.html").exists());
    let again = does(&place, "finetune --repeat runs/plain");
    assert!(again.contains("identical"), "{again}");
    assert!(again.ends_with("Report: runs/idx-1/report.html\n"), "{again}");
}

#[test]
fn fine_tuning_is_the_program_of_its_crate() {
    let place = small();
    let line =
        format!("finetune --from runs/small/model.safetensors {DIGITS} --epochs 2 --name tuned");
    let said = does(&place, &line);
    assert!(said.contains("The head is kept"), "{said}");
    place.train("finetune").refused(&["--from"]);
    let found = json(&place, "inspect runs/tuned --json");
    let base = json(&place, "inspect runs/small --json");
    assert_eq!(found["document"]["provenance"]["parent"], base["digest"]["found"]);
    assert!(does(&place, "inspect runs/tuned").contains("  tuned from    sha256:"));
}

#[test]
fn a_base_with_its_adapter_says_what_both_made_one_say() {
    let place = small();
    let base = "runs/small/model.safetensors";
    let adapter = "runs/tuned/adapter.safetensors";
    let tune = "--epochs 3 --lr 0.02 --lora rank=2,alpha=4 --name tuned -q";
    does(&place, &format!("finetune --from {base} {DIGITS} {tune}"));
    let merge = format!("finetune merge --base {base} --adapter {adapter} --data idx:digits");
    does(&place, &format!("{merge} --to merged.safetensors"));

    let rows = "digits/t10k-images-idx3-ubyte --top-k 10 --json";
    let said = |model: &str| lines(&does(&place, &format!("predict {model} {rows}")));
    let adapted = said(&format!("{base} --adapter {adapter}"));
    assert_eq!(adapted, said("runs/tuned"));
    assert_eq!(adapted, said("runs/small --adapter runs/tuned"), "folders of runs do as well");
    assert_ne!(adapted, said(base));
    for (adapted, merged) in adapted.iter().zip(said("merged.safetensors")) {
        assert_eq!(adapted["label"], merged["label"]);
        let p = |line: &Value| line["probability"].as_f64().unwrap();
        assert!((p(adapted) - p(&merged)).abs() < 1e-5, "{adapted} {merged}");
    }

    let scores =
        |model: &str| json(&place, &format!("evaluate {model} --json"))["evaluation"].take();
    assert_eq!(scores(&format!("{base} --adapter {adapter}")), scores("runs/tuned"));
    let said = does(&place, &format!("evaluate {base} --adapter {adapter}"));
    assert!(said.starts_with(&format!("{base} with {adapter} on idx:digits")), "{said}");
    let found = json(&place, &format!("compare runs/tuned {base} --adapter {adapter} --json"));
    assert_eq!(found["comparison"]["largest_difference"], 0.0);
    let found = json(&place, &format!("compare {base} {base} --adapter {adapter} --json"));
    assert!(found["comparison"]["largest_difference"].as_f64().unwrap() > 0.0);

    train(&place, "other", "--seed 2");
    for line in [
        format!("predict runs/other {rows} --adapter {adapter}"),
        format!("evaluate runs/tuned --adapter {adapter}"),
        format!("compare {base} runs/other --adapter {adapter}"),
    ] {
        place.train(&line).refused(&[adapter, "trained on the base sha256:", "another base"]);
    }
    let predict = format!("predict {base} {rows} --adapter");
    place.train(&format!("{predict} {base}")).refused(&[base, "it is not an adapter"]);
    place.train(&format!("{predict} runs/small")).refused(&["without adapter.safetensors"]);
    place.train(&format!("{predict} gone")).refused(&["gone"]);
}
