//! The page of a run: that everything is on it, and nothing that it was not meant to hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use fireclay::{
    Ancestor, Device, InputSpec, Mlp, MlpConfig, Model, Preprocessing, Provenance, Task,
};
use fireclay_data::{Dataset, Features, Targets};
use fireclay_report::{Options, Report, ReportError};
use tempfile::TempDir;

/// A run of the default network, with one epoch and hardly any bootstrap.
fn run(place: &TempDir, more: &[&str]) -> PathBuf {
    let out = place.path().join("runs");
    let out = out.to_str().unwrap();
    let mut words = vec![
        "train",
        "--quiet",
        "--epochs",
        "1",
        "--batch-size",
        "256",
        "--out",
        out,
        "--name",
        "first",
    ];
    words.extend(more);
    train::run(train::Args::parse_from(words)).unwrap();
    place.path().join("runs/first")
}

fn quick() -> Options {
    Options { resamples: 20, ..Options::default() }
}

fn report(folder: &Path) -> Report {
    Report::from_run(folder, &Device::flex(), &quick()).unwrap()
}

const SECTIONS: [&str; 11] = [
    "curves",
    "evaluation",
    "confusion",
    "classes",
    "calibration",
    "mistakes",
    "architecture",
    "weights",
    "timings",
    "settings",
    "origin",
];

fn sections(page: &str) -> Vec<String> {
    let starts = page.split("<section id=\"").skip(1);
    starts.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// Writes the four files of an MNIST-like set, whose images are of 4x4.
fn write_digits(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (part, rows) in [("train", 60_u8), ("t10k", 20)] {
        let images = [&[0, 0, 8, 3, 0, 0, 0, rows, 0, 0, 0, 4, 0, 0, 0, 4][..]];
        let pixels: Vec<u8> = (0..u32::from(rows) * 16).map(|i| (i * i * 31 % 251) as u8).collect();
        let labels = [&[0, 0, 8, 1, 0, 0, 0, rows][..]];
        let ids: Vec<u8> = (0..rows).map(|row| row % 3).collect();
        let images = [images.concat(), pixels].concat();
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(
            folder.join(format!("{part}-labels-idx1-ubyte")),
            [labels.concat(), ids].concat(),
        )
        .unwrap();
    }
}

#[test]
fn everything_of_a_run_is_on_its_page() {
    let place = tempfile::tempdir().unwrap();
    let folder = run(&place, &[]);
    let report = report(&folder);
    let page = report.html().unwrap();
    assert_eq!(sections(&page), SECTIONS);
    assert!(report.notes().is_empty(), "{:?}", report.notes());
    assert!(page.len() < 2_000_000, "{} bytes", page.len());

    // 48 mistakes and the weights; six plots.
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 49);
    assert_eq!(page.matches("<svg ").count(), 6);
    let names: Vec<String> = report.plots().unwrap().into_iter().map(|plot| plot.name).collect();
    let expected = ["loss", "accuracy", "learning-rate", "confusion", "classes", "reliability"];
    assert_eq!(names, expected);
    let text = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    for text in [
        "101,770 parameters in total",
        "784 → 128",
        "hidden = [128]",
        "10,000 rows of mnist (test)",
        "complete",
        manifest["result"]["model"].as_str().unwrap(),
        manifest["data"]["digest"].as_str().unwrap(),
    ] {
        assert!(page.contains(text), "{text}");
    }
    // What the page measures is what the run measured.
    let accuracy = report.evaluation().unwrap().measure("accuracy").unwrap().estimate.value;
    let of_run = manifest["result"]["metrics"]["accuracy"].as_f64().unwrap();
    assert!((accuracy - of_run).abs() < 1e-12, "{accuracy} {of_run}");

    opens_in_chromium(place.path(), &page);
}

/// A Chromium, by any of its names, or none.
fn chromium() -> Option<Command> {
    let names = ["chromium", "google-chrome", "chromium-browser"];
    let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    names.into_iter().find(is_there).map(Command::new)
}

/// Opens the page in headless Chromium: no error, and all sections.
///
/// Where there is none it is skipped, but for the CI on Linux, which `.ci/run` gives one.
fn opens_in_chromium(place: &Path, page: &str) {
    let path = place.join("report.html");
    fs::write(&path, page).unwrap();
    let Some(mut chromium) = chromium() else {
        let is_needed = cfg!(target_os = "linux") && std::env::var_os("CI").is_some();
        assert!(!is_needed, "there is no chromium to open the page in");
        println!("skipped: there is no chromium to open the page in");
        return;
    };
    let output = chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", place.join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", path.display()))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(!log.contains("CONSOLE"), "{log}");
    assert_eq!(sections(&String::from_utf8_lossy(&output.stdout)), SECTIONS);
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    write_digits(&place.path().join("digits"));
    let source = format!("idx:{}", place.path().join("digits").display());
    let folder = run(&place, &["--data", &source, "--validation", "10", "--norm", "batch"]);
    let page = report(&folder).html().unwrap();
    assert!(page.contains("default-src 'none'"));
    // The namespace of SVG is a name; nothing is fetched from it.
    let without_names = page.replace("http://www.w3.org/2000/svg", "");
    for address in ["http:", "https:", "url(", "@import", "<script", "<iframe", "src=\"/"] {
        assert!(!without_names.contains(address), "{address}");
    }
    assert!(page.contains("batch norm"));
    // The same run gives the same page.
    assert_eq!(report(&folder).html().unwrap(), page);
}

#[test]
fn what_is_missing_is_said() {
    let place = tempfile::tempdir().unwrap();
    let digits = place.path().join("digits");
    write_digits(&digits);
    let source = format!("idx:{}", digits.display());
    let folder = run(&place, &["--data", &source, "--validation", "10"]);
    fs::remove_dir_all(&digits).unwrap();
    let without_data = report(&folder);
    assert!(without_data.notes()[0].contains("was not measured"), "{:?}", without_data.notes());
    let left = ["curves", "architecture", "weights", "timings", "settings", "origin"];
    assert_eq!(sections(&without_data.html().unwrap()), left);

    fs::remove_file(folder.join("model.safetensors")).unwrap();
    fs::remove_file(folder.join("metrics.jsonl")).unwrap();
    fs::remove_dir_all(folder.join("checkpoints")).unwrap();
    let notes = report(&folder).notes().join("\n");
    for words in ["model.safetensors is missing", "--repeat", "metrics.jsonl is missing"] {
        assert!(notes.contains(words), "{notes}");
    }
    let manifest = folder.join("manifest.json");
    let text = fs::read(&manifest).unwrap();
    let mut text: serde_json::Value = serde_json::from_slice(&text).unwrap();
    text["result"] = serde_json::Value::Null;
    fs::write(&manifest, text.to_string()).unwrap();
    let unfinished = report(&folder);
    assert!(unfinished.notes()[0].contains("not finished"), "{:?}", unfinished.notes());
    assert_eq!(sections(&unfinished.html().unwrap()), ["timings", "settings", "origin"]);

    fs::write(folder.join("metrics.jsonl"), "{\"split\":\n").unwrap();
    let damaged = Report::from_run(&folder, &Device::flex(), &quick());
    assert!(matches!(damaged, Err(ReportError::Log { line: 1, .. })), "{damaged:?}");
    let none = Report::from_run(place.path(), &Device::flex(), &quick());
    assert!(matches!(none, Err(ReportError::Read { .. })), "{none:?}");
}

#[test]
fn a_page_of_many_classes_is_not_a_book() {
    let classes = 3000;
    let task = Task::numbered_classes(classes);
    let mlp = Mlp::init(&MlpConfig::new([4, 4], [], classes), 1, &Device::flex()).unwrap();
    let targets = Targets::Classes { ids: (0..100).collect(), labels: task.names().to_vec() };
    let data = Dataset::new(vec![4, 4], Features::Bytes(vec![9; 1600]), targets).unwrap();
    let provenance = Provenance::default();
    let input = InputSpec::dense(&[4, 4], Preprocessing::PIXELS);
    let model = Model { mlp, task, input, provenance };
    let page = Report::from_model("many", &model, Some(("rows", &data)), &quick()).unwrap();
    let page = page.html().unwrap();
    assert!(page.len() < 200_000, "{} bytes", page.len());
    assert!(page.contains("The table shows the 200 lowest F1 scores of 3,000."));
    assert!(page.contains("The confusion matrix is omitted: 3,000 classes do not fit the page."));
}

const HOSTILE: &str = "\"'><img src=x onerror=alert(1)></style></svg><script>alert(2)</script>&";

/// No tag or attribute of [`HOSTILE`] is markup.
#[track_caller]
fn assert_harmless(page: &str) {
    assert!(page.contains("&lt;script&gt;alert(2)"), "it is not there at all");
    for markup in ["<script", "<img src=x", "onerror=alert(1)></style>", "\"'><img"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert_eq!(page.matches("</style>").count(), 1);
    assert_eq!(page.matches("</svg>").count(), page.matches("<svg ").count());
}

#[test]
fn names_from_strangers_are_text() {
    let labels: Vec<String> = (0..3).map(|i| format!("{HOSTILE}{i}")).collect();
    let (features, rows) = (vec![9; 30 * 16], 30);
    let ids = (0..rows).map(|row| row % 3).collect();
    let mlp = Mlp::init(&MlpConfig::new([4, 4], [5], 3), 1, &Device::flex()).unwrap();
    let ancestor = Ancestor {
        digest: HOSTILE.to_owned(),
        program: HOSTILE.to_owned(),
        data: Some(HOSTILE.to_owned()),
    };
    let provenance = Provenance {
        program: HOSTILE.to_owned(),
        data: Some(HOSTILE.to_owned()),
        parent: Some(HOSTILE.to_owned()),
        ancestors: vec![ancestor],
        ..Provenance::default()
    };
    let classes = Targets::Classes { ids, labels: labels.clone() };
    let several = Targets::MultiLabel { values: vec![1; 90], labels: labels.clone() };
    let numbers = Targets::Values { values: vec![1.0; 90], names: labels.clone() };
    for (task, targets) in [
        (Task::classification(labels.clone()), classes),
        (Task::multi_label(labels.clone()), several),
        (Task::regression(labels), numbers),
    ] {
        // Rows that are pictures, and rows that are none.
        for shape in [vec![4, 4], vec![16]] {
            let model = Model {
                mlp: mlp.clone(),
                task: task.clone(),
                input: InputSpec::dense(&mlp.architecture().input_shape, Preprocessing::PIXELS),
                provenance: provenance.clone(),
            };
            let features = Features::Bytes(features.clone());
            let data = Dataset::new(shape, features, targets.clone()).unwrap();
            let report =
                Report::from_model(HOSTILE, &model, Some((HOSTILE, &data)), &quick()).unwrap();
            assert_harmless(&report.html().unwrap());
            for plot in report.plots().unwrap() {
                assert!(!plot.svg.contains("<img") && !plot.svg.contains("<script"));
            }
        }
    }
}

#[test]
fn what_a_manifest_says_is_text() {
    let place = tempfile::tempdir().unwrap();
    write_digits(&place.path().join("digits"));
    let source = format!("idx:{}", place.path().join("digits").display());
    let folder = run(&place, &["--data", &source, "--validation", "10"]);
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let session = &mut manifest["sessions"][0];
    session["command"] = serde_json::json!([HOSTILE]);
    session["started"] = HOSTILE.into();
    session["backend"] = HOSTILE.into();
    session["host"]["cpu"] = HOSTILE.into();
    session["ended"]["reason"] = HOSTILE.into();
    manifest["data"]["source"] = "ü".repeat(20).into();
    fs::write(&path, manifest.to_string()).unwrap();
    fs::write(folder.join("config.toml"), HOSTILE).unwrap();
    assert_harmless(&report(&folder).html().unwrap());
}

/// A process that was killed worked for nobody knows how long.
#[test]
fn with_a_session_of_unknown_length_no_speed_is_told() {
    let place = tempfile::tempdir().unwrap();
    write_digits(&place.path().join("digits"));
    let source = format!("idx:{}", place.path().join("digits").display());
    let folder = run(&place, &["--data", &source, "--validation", "10"]);
    assert!(report(&folder).html().unwrap().contains(" per second"));
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut killed = manifest["sessions"][0].clone();
    killed["ended"] = serde_json::Value::Null;
    manifest["sessions"].as_array_mut().unwrap().insert(0, killed);
    fs::write(&path, manifest.to_string()).unwrap();
    assert!(!report(&folder).html().unwrap().contains(" per second"));
}
