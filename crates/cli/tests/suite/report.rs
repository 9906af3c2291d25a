//! `fireclay compare` and `fireclay report`.

use std::fs;

use crate::program::{DIGITS, Place};
use crate::support::{does, is_plain, json, names_in, of_crate, small, train};

#[test]
fn what_is_written_replaces_nothing_that_was_not_given_up() {
    let place = small();
    let model = "runs/small/model.safetensors";
    fs::copy(place.path(model), place.path("mine.safetensors")).unwrap();
    fs::hard_link(place.path("mine.safetensors"), place.path("linked.html")).unwrap();
    fs::write(place.path("notes.html"), "mine").unwrap();
    // Its numbers lie in a file beside it, which it names.
    for name in ["beside.onnx", "beside.onnx.data"] {
        let golden = of_crate("../formats/tests/goldens/onnx/small").join(name);
        fs::copy(golden, place.path(name)).unwrap();
    }
    let before = place.tree();
    let refused = |line: &str, words: &[&str]| {
        place.train(line).refused(words);
        assert!(place.tree() == before, "{line} changed something");
    };
    let input = &["this command reads that file"];
    for force in ["", " --force"] {
        for line in [
            "report mine.safetensors --to mine.safetensors",
            "report mine.safetensors --to linked.html",
            "report runs/small --to runs/small/model.safetensors",
            "report runs/small --to ./runs/../runs/small/manifest.json",
            "report runs/small --to runs/small/checkpoints/step-00000060.safetensors",
            "report mine.safetensors --data idx:digits --to digits/t10k-labels-idx1-ubyte",
            "finetune import mine.safetensors --to linked.html",
            "finetune import beside.onnx --to beside.onnx.data",
        ] {
            refused(&format!("{line}{force}"), input);
        }
        refused(&format!("report runs/small --to digits{force}"), &["a folder"]);
        refused(&format!("report runs/small --to gone/page.html{force}"), &["gone does not exist"]);
        refused(&format!("report runs/small --plots notes.html{force}"), &["name a folder"]);
        refused(&format!("man notes.html{force}"), &["notes.html"]);
    }
    refused("report runs/small --to notes.html", &["notes.html", "--force"]);
    refused("finetune import mine.safetensors --to notes.html", &["notes.html", "--force"]);

    // By default an earlier page is replaced, and no other file.
    does(&place, "report runs/small");
    does(&place, "report runs/small");
    does(&place, "report mine.safetensors");
    fs::write(place.path("report.html"), "mine").unwrap();
    place.train("report mine.safetensors").refused(&["report.html", "--force"]);
    does(&place, "report mine.safetensors --force");
    does(&place, "report runs/small --to notes.html --force");
    does(&place, "report runs/small --to new.html --plots plots");
    place.train("report runs/small --to newer.html --plots plots").refused(&["loss.", "--force"]);
    assert!(!place.path("newer.html").exists());
    does(&place, "report runs/small --to newer.html --plots plots --force");

    does(&place, "man pages");
    fs::write(place.path("pages/fireclay-train.1"), "mine").unwrap();
    place.train("man pages").refused(&["fireclay-train.1", "--force"]);
    does(&place, "man pages --force");
    does(&place, "man pages");
    fs::write(place.path("runs/small/report.html"), "mine").unwrap();
    let found = place.train("train --resume runs/small --epochs 31");
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert!(found.stderr.contains("is not a report of fireclay"), "{}", found.stderr);
    assert_eq!(fs::read(place.path("runs/small/report.html")).unwrap(), b"mine");
}

#[test]
fn two_runs_are_compared() {
    let place = small();
    train(&place, "other", "--seed 2 --hidden 8");
    let said = does(&place, "compare runs/small runs/other");
    is_plain(&said);
    for words in
        ["McNemar", "Both predict the same for", "model.hidden", "[8]", "validation loss, first"]
    {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let same = json(&place, "compare runs/small runs/small --json");
    assert_eq!(same["comparison"]["largest_difference"], 0.0);
    assert_eq!(same["comparison"]["mcnemar"]["p_value"], 1.0);
    assert_eq!(same["runs"]["settings"], serde_json::json!({}));
    place.train("compare runs/small runs/none").refused(&["runs/none"]);
    train(&place, "few", "--classes 1,2");
    place.train("compare runs/small runs/few").refused(&["1, 2"]);
}

#[test]
fn a_report_is_one_page_that_needs_nothing_else() {
    let place = small();
    let said = does(&place, "report runs/small --plots plots");
    assert!(said.starts_with("Report: runs/small/report.html\n"), "{said}");
    let page = fs::read_to_string(place.path("runs/small/report.html")).unwrap();
    assert!(page.len() < 2_000_000);
    for outside in ["src=\"http", "href=\"http", "url(http", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let plots = ["accuracy", "classes", "confusion", "learning-rate", "loss", "reliability"];
    let files = plots.iter().flat_map(|plot| [format!("{plot}.png"), format!("{plot}.svg")]);
    assert_eq!(files.collect::<Vec<_>>(), names_in(&place.path("plots")));
    assert!(said.ends_with("Plots: 6 in plots, each as .svg and .png\n"), "{said}");
    let png = fs::read(place.path("plots/loss.png")).unwrap();
    let png = image::load_from_memory(&png).unwrap();
    assert_eq!((png.width(), png.height()), (920, 640));
    does(&place, "report runs/small/model.safetensors --to model.html");
    assert!(fs::read_to_string(place.path("model.html")).unwrap().contains("</html>"));
    place.train("report runs/none").refused(&["runs/none"]);
    place.train("report digits").refused(&["digits"]);
    place.train("report runs/small --to gone/page.html").refused(&["gone/page.html"]);
}

#[test]
fn tensorboard_gets_the_measurements_when_asked_for() {
    let place = Place::new();
    let said = does(&place, &format!("train {DIGITS} --epochs 1 --no-report --tensorboard"));
    let (_, path) = said.trim_end().rsplit_once("TensorBoard events: ").unwrap();
    assert!(path.starts_with("runs/idx-1/events.out.tfevents."), "{said}");
    let events = fs::read(place.path(path)).unwrap();
    let holds = |tag: &str| events.windows(tag.len()).any(|part| part == tag.as_bytes());
    for tag in ["loss/training", "accuracy/validation", "loss/test", "learning-rate"] {
        assert!(holds(tag), "{tag}");
    }

    // Written again, it is the same file.
    fs::remove_file(place.path(path)).unwrap();
    let said = does(&place, "report runs/idx-1 --tensorboard");
    assert!(said.ends_with(&format!("TensorBoard events: {path}\n")), "{said}");
    assert_eq!(fs::read(place.path(path)).unwrap(), events);
    let quiet = does(&place, &format!("train {DIGITS} --epochs 1 --no-report --tensorboard -q"));
    assert_eq!(quiet, "");
    let line = "report runs/idx-1/model.safetensors --tensorboard --to page.html";
    place.train(line).refused(&["--tensorboard", "folder of a run"]);
    assert!(!place.path("page.html").exists());
}
