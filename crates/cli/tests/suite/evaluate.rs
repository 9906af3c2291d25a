//! `fireclay evaluate`, and which model and data it means.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{DIGITS, Outcome};
use crate::support::{does, is_plain, json, mnist, of_crate, small, train};

#[test]
fn a_model_is_measured_and_gates_are_kept() {
    let place = mnist();
    let said = does(place, "evaluate runs/mnist");
    is_plain(&said);
    for words in
        ["mnist (test): 10,000 rows", "accuracy", "Wilson", "bootstrap", "macro-f1", "true \\ pred"]
    {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let found = json(place, "evaluate runs/mnist --json");
    let manifest = json_file(&place.path("runs/mnist/manifest.json"));
    let accuracy = found["evaluation"]["scores"]["accuracy"]["value"].as_f64().unwrap();
    let trained = manifest["result"]["metrics"]["accuracy"].as_f64().unwrap();
    assert!((accuracy - trained).abs() < 1e-6, "{accuracy} {trained}");

    let place = small();
    for (line, code, words) in [
        ("evaluate runs/small --min-accuracy 0.01", 0, "met     accuracy at least 0.01"),
        ("evaluate runs/small --max loss=0", 1, "NOT MET loss at most 0:"),
        ("evaluate runs/small --min macro-f1=0 --max loss=100", 0, "met     loss at most 100"),
        (
            "evaluate runs/small --data idx:digits --split train --classes 1,2",
            0,
            "(train, classes 1, 2): 12 rows",
        ),
    ] {
        let outcome = place.train(line);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(code), ""), "{line}");
        assert!(outcome.stdout.contains(words), "{line}: {}", outcome.stdout);
    }
    let share = ["accuracy is a share, so give a number from 0 to 1, such as 0.97 for 97 %"];
    place.train("evaluate runs/small --min-accuracy 97").refused(&share);
    place.train("evaluate runs/small --min accuracy=nan").refused(&["is not a number"]);
    place.train("evaluate runs/small --min acuracy=1").refused(&["did you mean `accuracy`?"]);
    place.train("evaluate runs/small --data mnits").refused(&["mnist"]);
    place.train("evaluate runs/small --data idx:gone").refused(&["gone"]);
    let any = |size: u32| json(&place, &format!("evaluate runs/small --json --batch-size {size}"));
    assert_eq!(
        any(1)["evaluation"]["scores"]["confusion"],
        any(7)["evaluation"]["scores"]["confusion"]
    );
}

#[test]
fn a_model_is_measured_on_the_classes_that_it_was_trained_on() {
    let place = small();
    train(&place, "high", "--classes 5,6,7,8,9");
    let found = json(&place, "evaluate runs/high --json");
    assert_eq!(
        (&found["data"], &found["evaluation"]["rows"]),
        (&"idx:digits (test, classes 5, 6, 7, 8, 9)".into(), &10.into())
    );
    // Five other digits are no places, though they are five as well.
    place
        .train("evaluate runs/high --classes 0,1,2,3,4")
        .refused(&["labels of the data are not those of the model"]);
    place.train("report runs/high --classes 5").refused(&["remove --split"]);
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_is_measured_on_its_own_data_wherever_that_is() {
    let place = small();
    let expected = json(&place, "evaluate runs/small --json")["measures"].take();
    let elsewhere = |line: &str| {
        let mut command = place.command(line);
        Outcome::of(line, command.current_dir(place.path("else")))
    };
    fs::create_dir(place.path("else")).unwrap();
    for named in ["../runs/small", "../runs/small/model.safetensors"] {
        let said = elsewhere(&format!("evaluate {named} --json")).succeeded().stdout;
        let found: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(found["measures"], expected, "{named}");
    }
    let quiet = elsewhere("report ../runs/small").succeeded();
    assert!(quiet.stdout.contains("../runs/small/report.html"), "{}", quiet.stdout);

    fs::rename(place.path("digits"), place.path("moved")).unwrap();
    let words = ["cannot find the data", "digits: not there", "--data PATH"];
    place.train("evaluate runs/small").refused(&words);
    let found = json(&place, "evaluate runs/small --data idx:moved --json")["measures"].take();
    assert_eq!(found, expected);
    does(&place, "report runs/small --data idx:moved --to page.html");
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(!page.contains("was not measured"));
    // Other rows under the same name are not the run's.
    crate::program::write_digits(&place.path("digits"));
    let file = place.path("digits/t10k-images-idx3-ubyte");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let words = ["the data is not what this run learns from", "digits: other data"];
    place.train("evaluate runs/small").refused(&words);
    place.train("report runs/small --data idx:digits --to other.html").refused(&words);
    assert!(!place.path("other.html").exists());
    let found = place.train("report runs/small");
    assert!(found.stderr.contains("The model was not measured"), "{}", found.stderr);
    does(&place, "evaluate runs/small --data idx:digits");
}

#[test]
fn a_model_that_was_replaced_is_not_that_of_the_run() {
    let place = small();
    train(&place, "other", "--seed 2");
    let model = place.path("runs/small/model.safetensors");
    fs::copy(place.path("runs/other/model.safetensors"), &model).unwrap();
    let words = ["runs/small/model.safetensors", "not the model that the run ended with"];
    for line in ["evaluate runs/small", "report runs/small", "compare runs/other runs/small"] {
        place.train(line).refused(&words);
    }
    let found = place.train("evaluate runs/small/model.safetensors");
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert!(words.iter().all(|word| found.stderr.contains(word)), "{}", found.stderr);

    let tune = "--epochs 1 --lora rank=2 --name tuned -q --no-report";
    does(&place, &format!("finetune --from runs/other/model.safetensors {DIGITS} {tune}"));
    does(&place, "report runs/tuned");
    fs::copy(place.path("runs/tuned/start.safetensors"), place.path("runs/tuned/base.safetensors"))
        .unwrap();
    let words = "runs/tuned/base.safetensors: this is not the file that the run wrote";
    place.train("report runs/tuned").warned(&[words]);
}

#[test]
fn a_folder_of_runs_names_the_run_that_is_in_it() {
    let place = small();
    fs::rename(place.path("runs"), place.path("my runs")).unwrap();
    for command in ["report", "evaluate", "inspect", "predict"] {
        let input = if command == "predict" { Some("digits/t10k-images-idx3-ubyte") } else { None };
        let mut program = place.command(command);
        program.arg("my runs").args(input);
        Outcome::of(command, &mut program).refused(&["did you mean 'my runs/small'?"]);
    }
    for kind in ["safetensors", "model"] {
        let file = place.path(&format!("a {kind}.pt"));
        let golden = of_crate("../formats/tests/goldens/pytorch/plain.pt");
        fs::copy(golden, &file).unwrap();
        let mut program = place.command("evaluate");
        let words = format!("finetune import 'a {kind}.pt' --to");
        Outcome::of(kind, program.arg(format!("a {kind}.pt"))).refused(&[&words]);
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_told_of_at_once() {
    let place = small();
    let fifo = |path: &str| {
        let path = place.path(path);
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    };
    fifo("pipe");
    for line in ["evaluate pipe", "inspect pipe", "report pipe", "finetune import pipe --to x"] {
        place.train(line).refused(&["pipe", "regular file"]);
    }
    place.train(&format!("finetune --from pipe {DIGITS}")).failed(&["pipe", "regular file"]);
    for file in ["model.safetensors", "metrics.jsonl", "manifest.json", "config.toml"] {
        let path = format!("runs/small/{file}");
        fs::rename(place.path(&path), place.path("kept")).unwrap();
        fifo(&path);
        let said = place.train("inspect runs/small");
        let said = (said.stdout + &said.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&format!("{file}: this is a named pipe")), "{said}");
        let line = "report runs/small";
        if file == "config.toml" {
            // The settings of the run are in its manifest.
            place.train(line).warned(&["config.toml: this is a named pipe"]);
        } else {
            place.train(line).refused(&[file, "a named pipe"]);
        }
        if file == "model.safetensors" {
            for line in ["evaluate runs/small", "compare runs/small runs/small"] {
                place.train(line).refused(&[file, "a named pipe"]);
            }
        }
        fs::rename(place.path("kept"), place.path(&path)).unwrap();
    }
}
