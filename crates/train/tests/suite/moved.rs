//! Data that lies elsewhere than when the run began.

use crate::program;
use std::fs;

use crate::program::{DIGITS, Place, write_digits};
use crate::runs::{assert_same, finished, manifest};

/// The program in another working folder.
fn elsewhere(place: &Place, folder: &str, line: &str) -> program::Outcome {
    fs::create_dir_all(place.path(folder)).unwrap();
    let mut command = place.command(line);
    program::Outcome::of(line, command.current_dir(place.path(folder)))
}

#[test]
fn data_that_moved_is_found_or_named_and_its_digest_decides() {
    let place = Place::new();
    let run = finished(&place, "run");
    place.train(&format!("{DIGITS} --epochs 8 --name longer")).succeeded();
    place.train(&format!("{DIGITS} --epochs 4 --name four")).succeeded();
    let path = run.path.display().to_string();

    // From another folder, to the same bits.
    elsewhere(&place, "else/where", &format!("--resume {path} --epochs 4")).succeeded();
    assert_same(&run, &place.run("four"));
    fs::rename(place.path("digits"), place.path("moved")).unwrap();
    let gone = place.path("digits").display().to_string();
    let words = ["cannot find the data", gone.as_str(), "not there", "--data PATH"];
    place.train("--resume run --epochs 5").failed(&words);
    place.train("--repeat four").failed(&words);
    place.train("--resume run --epochs 5 --data idx:moved").succeeded();
    // It is known now where it is.
    elsewhere(&place, "else", &format!("--resume {path} --epochs 6")).succeeded();
    let again = place.train("--repeat four --data idx:moved --name again").succeeded();
    assert!(again.stdout.contains("identical"), "{}", again.stdout);
    assert_same(&place.run("again"), &place.run("four"));

    // Both are moved, as one folder.
    fs::create_dir(place.path("project")).unwrap();
    for name in ["runs", "moved"] {
        fs::rename(place.path(name), place.path("project").join(name)).unwrap();
    }
    place.train("--resume run --out project/runs --epochs 7").succeeded();
    // Other data of the same name is not taken for it.
    write_digits(&place.path("project/digits"));
    let file = place.path("project/digits/train-images-idx3-ubyte");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    elsewhere(&place, "project", "--resume run --epochs 8").succeeded();
    let moved = program::Run { path: place.path("project/runs/run") };
    assert_same(&moved, &program::Run { path: place.path("project/runs/longer") });
    elsewhere(&place, "project", "--resume run --epochs 9 --data idx:digits")
        .failed(&["the data is not what this run learns from", "idx:digits: other data"]);
    // Back at its old name it is found from the run, wherever the program runs.
    let back = place.path("project/digits");
    fs::rename(&back, place.path("other")).unwrap();
    fs::rename(place.path("project/moved"), &back).unwrap();
    elsewhere(&place, "else", "--resume ../project/runs/run --epochs 9").succeeded();
    fs::rename(&back, place.path("elsewhere")).unwrap();
    fs::rename(place.path("other"), &back).unwrap();
    elsewhere(&place, "project", "--resume run --epochs 10")
        .failed(&["the data is not what this run", "digits: other data"]);
}

#[test]
fn a_run_without_a_place_finds_its_data_and_a_settings_file_may_name_it() {
    let place = Place::new();
    let run = finished(&place, "run");
    let config = run.path.join("config.toml");
    // As older versions wrote it.
    let forget = || {
        let mut text = manifest(&run);
        text["data"].as_object_mut().unwrap().remove("place").unwrap();
        fs::write(run.path.join("manifest.json"), text.to_string()).unwrap();
    };
    forget();
    let path = run.path.display().to_string();
    elsewhere(&place, "else", &format!("--resume {path} --epochs 4")).succeeded();
    forget();
    fs::rename(place.path("digits"), place.path("moved")).unwrap();
    place.train("--resume run --epochs 5").failed(&["cannot find the data"]);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("idx:digits", "idx:moved")).unwrap();
    place.train("--resume run --epochs 5").succeeded();
    place.train("--data idx:moved --validation 10 --epochs 5 --name five").succeeded();
    assert_eq!(run.weights(), place.run("five").weights());
    // It keeps the name that its data had in the beginning, and with it its digest.
    assert_eq!(run.config()["data"]["source"].as_str(), Some("idx:digits"));

    let line = format!("--config {} --epochs 1 --name again", config.display());
    elsewhere(&place, "else", &line).succeeded();
    let file = "[data]\nsource = \"idx:moved\"\nvalidation = 10\n[training]\nepochs = 1\n";
    fs::write(place.path("mine.toml"), file).unwrap();
    elsewhere(&place, "else", "--config ../mine.toml --name mine").succeeded();
}

#[test]
fn a_model_does_not_depend_on_where_its_data_lies() {
    let (one, two) = (Place::new(), Place::new());
    for place in [&one, &two] {
        let digits = place.path("digits").display().to_string();
        let line = format!("--data idx:{digits} --validation 10 --epochs 2 --name run");
        place.train(&line).succeeded();
    }
    assert!(one.run("run").bytes("model.safetensors") == two.run("run").bytes("model.safetensors"));
    let folder = one.path("").display().to_string();
    for file in ["model.safetensors", "checkpoints/step-00000004.safetensors"] {
        let bytes = one.run("run").bytes(file);
        let is_there = bytes.windows(folder.len()).any(|window| window == folder.as_bytes());
        assert!(!is_there, "{file} has {folder} in it");
    }
}
