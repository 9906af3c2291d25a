//! A finished run that is done once more, and compared.

use crate::program;
use std::fs;

use serde_json::Value;

use crate::program::{DIGITS, Place};
use crate::runs::{assert_same, finished, manifest};

#[test]
fn a_repeated_run_is_compared_with_the_first() {
    let place = Place::new();
    let run = finished(&place, "run");
    let outcome = place.train("--repeat run --name again").succeeded();
    assert!(outcome.stdout.contains("identical"), "{}", outcome.stdout);
    assert_same(&place.run("again"), &run);

    let mut text = manifest(&run);
    text["result"]["model"] = "sha256:other".into();
    fs::write(run.path.join("manifest.json"), text.to_string()).unwrap();
    let outcome = place.train("--repeat run");
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("DIFFERS") && outcome.stdout.contains("sha256:other"));

    text["result"] = Value::Null;
    fs::write(run.path.join("manifest.json"), text.to_string()).unwrap();
    place.train("--repeat run").refused(&["has not come to its end", "--resume"]);
    fs::write(run.path.join("manifest.json"), "{").unwrap();
    place.train("--repeat run").refused(&["manifest.json"]);
}

#[test]
fn a_repeated_run_is_compared_with_the_file_that_is_there_too() {
    let place = Place::new();
    let run = finished(&place, "run");
    place.train(&format!("{DIGITS} --epochs 3 --seed 9 --name other")).succeeded();
    let whole = run.bytes("model.safetensors");
    let check = |words: &[&str]| {
        let outcome = place.train("--repeat run");
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        let said = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(said.contains(word), "no `{word}` in: {said}");
        }
        assert!(!said.contains("is identical"), "{said}");
    };
    let model = run.path.join("model.safetensors");
    fs::write(&model, place.run("other").bytes("model.safetensors")).unwrap();
    check(&["DIFFERS from the file", "that file was replaced"]);
    fs::remove_file(&model).unwrap();
    let said = place.train("--repeat run").succeeded().stdout;
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = "is identical to that of the run that was repeated. Its own file, \
                 runs/run/model.safetensors, is gone";
    assert!(said.contains(words), "{said}");
    fs::write(&model, whole).unwrap();
    let mut text = manifest(&run);
    text["result"]["model"] = "sha256:other".into();
    fs::write(run.path.join("manifest.json"), text.to_string()).unwrap();
    check(&["is the one in runs/run/model.safetensors", "DIFFERS", "sha256:other"]);
}

#[test]
fn what_can_not_come_to_the_same_is_not_repeated() {
    let place = Place::new();
    let refused = |line: &str, words: &[&str]| drop(place.train(line).failed(words));
    place.train(&format!("{DIGITS} --epochs 2 --schedule cosine --name run")).succeeded();
    place.train("--resume run --epochs 3").succeeded();
    refused("--repeat run", &["given more epochs on its way", "cosine"]);
    place.train(&format!("{DIGITS} --epochs 2 --name constant")).succeeded();
    place.train("--resume constant --epochs 3").succeeded();
    place.train("--repeat constant --name same").succeeded();

    let run = place.run("constant");
    let mut text = manifest(&run);
    text["result"]["stopped"] = true.into();
    let whole = run.bytes("manifest.json");
    fs::write(run.path.join("manifest.json"), text.to_string()).unwrap();
    refused("--repeat constant", &["stopped from the dashboard", "--resume runs/constant"]);
    fs::write(run.path.join("manifest.json"), whole).unwrap();

    let config = run.path.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("seed = 1", "seed = 2")).unwrap();
    refused("--repeat constant", &["config.toml was changed", "seed is 2 and was 1", "--config"]);
    fs::write(&config, text).unwrap();

    let file = place.path("digits/train-images-idx3-ubyte");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    refused("--repeat constant", &["the data is not what this run learns from"]);
}

#[test]
fn a_run_of_another_version_is_compared_by_its_weights() {
    let place = Place::new();
    let run = finished(&place, "run");
    // An older version wrote nothing of pictures, and had another number.
    let mut model = run.model("model.safetensors");
    let rewrite = |model: &fireclay::Model| {
        let (bytes, digest) = model.to_bytes().unwrap();
        fs::write(run.path.join("model.safetensors"), bytes).unwrap();
        let mut text = manifest(&run);
        text["result"]["model"] = digest.into();
        text["result"].as_object_mut().unwrap().remove("log");
        fs::write(run.path.join("manifest.json"), text.to_string()).unwrap();
    };
    model.input = model.input.with_pictures(None);
    model.provenance.program = "fireclay 0.0.9".to_owned();
    rewrite(&model);
    let said = |outcome: &program::Outcome| {
        outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let same = said(&place.train("--repeat run").succeeded());
    let words = "The weights are identical to those of the run that was repeated. What the file \
                 says beside them differs in pictures, provenance.program";
    assert!(same.contains(words), "{same}");
    // Another preprocessing is another model.
    let shape = &model.mlp.architecture().input_shape;
    model.input = fireclay::InputSpec::dense(shape, fireclay::Preprocessing::None);
    rewrite(&model);
    let other = place.train("--repeat run");
    assert_eq!(other.code, Some(1), "{}", other.stderr);
    assert!(said(&other).contains("The model DIFFERS"), "{}", other.stdout);
}
