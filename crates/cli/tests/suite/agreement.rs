//! What the commands say of one model on the same rows is the same, to the last digit printed.

use std::fs;

use fireclay_terminal::short;
use serde_json::Value;

use crate::program::{DIGITS, Place};
use crate::regression;
use crate::support::{does, json, small};

/// The row of a printed table that begins with these words.
#[track_caller]
fn row<'a>(text: &'a str, start: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.trim_start().strip_prefix(start));
    found.unwrap_or_else(|| panic!("no row `{start}` in: {text}"))
}

fn page(place: &Place, run: &str) -> String {
    fs::read_to_string(place.path("runs").join(run).join("report.html")).unwrap()
}

/// Value and ends of the interval of a measure.
fn estimate(evaluated: &Value, name: &str) -> [f64; 3] {
    let measures = evaluated["measures"].as_array().unwrap();
    let measure = measures.iter().find(|measure| measure["name"] == name).unwrap();
    ["value", "low", "high"].map(|key| measure["estimate"][key].as_f64().unwrap())
}

#[test]
fn of_a_classifier() {
    let place = small();
    let tune = "finetune --from runs/small/model.safetensors --epochs 2 --lr 1e-4 --name tuned";
    let said = does(&place, &format!("{tune} {DIGITS}"));
    for (run, start) in [("small", "start"), ("tuned", "tuned")] {
        let evaluated = json(&place, &format!("evaluate runs/{run} --json"));
        let [value, low, high] = estimate(&evaluated, "accuracy").map(|share| 100.0 * share);
        let words = format!("{value:.2} % ({low:.2} to {high:.2})");
        assert!(row(&said, start).contains(&words), "{run}: no `{words}` in: {said}");
        let shown = does(&place, &format!("evaluate runs/{run}"));
        let words = format!("{low:.2} % to {high:.2} %");
        assert!(row(&shown, "accuracy").contains(&words), "no `{words}` in: {shown}");
        does(&place, &format!("report runs/{run} -q"));
        let words = format!("{low:.2} to {high:.2} %");
        assert!(page(&place, run).contains(&words), "{run}: no `{words}` on the page");
    }
}

#[test]
fn of_a_regression() {
    let place = regression::place();
    does(&place, &format!("{} --name first -q", regression::TRAIN));
    let tune = "finetune --from runs/first/model.safetensors --data idx:numbers --name tuned";
    let said = does(&place, &format!("{tune} --epochs 2 --lr 1e-4"));
    for (run, start) in [("first", "start"), ("tuned", "tuned")] {
        let evaluated = json(&place, &format!("evaluate runs/{run} --json"));
        does(&place, &format!("report runs/{run} -q"));
        let page = page(&place, run);
        for name in ["rmse", "mae", "r2"] {
            let [value, ..] = estimate(&evaluated, name);
            let words = format!("  {}", short(value));
            assert!(row(&said, start).contains(&words), "{name} of {run}: {words} in {said}");
            let words = format!(">{value:.4}<");
            assert!(page.contains(&words), "{name} of {run}: no `{words}` on the page");
        }
    }
}
