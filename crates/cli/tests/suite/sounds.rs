//! Recordings from training to prediction: folders and tables, names in parts, windows.

use std::fs;
use std::process::Command;

use crate::program::Place;
use crate::support::{built, does, json, lines, of_crate};

/// A place with the examples of the docs: 54 short recordings in `tones`, of three kinds by three
/// instruments, and a long one of four tones.
fn place() -> Place {
    let place = Place::new();
    let examples = of_crate("../../docs/examples/sounds");
    for kind in ["rising", "falling", "steady"] {
        fs::create_dir_all(place.path(&format!("tones/{kind}"))).unwrap();
        for entry in fs::read_dir(examples.join("tones").join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            fs::copy(&path, place.path(&format!("tones/{kind}/{name}"))).unwrap();
        }
    }
    fs::copy(examples.join("melody.flac"), place.path("melody.flac")).unwrap();
    place
}

const TRAIN: &str = "train --data sounds:tones --no-report --lr 0.003 --hidden 32 --mels 24 \
                     --time-columns bins:12 --trim 30";

#[test]
fn a_folder_trains_and_predicts_recordings() {
    let place = place();
    let said = does(&place, &format!("{TRAIN} --name t --epochs 60 --test 12"));
    for line in
        ["target label: classification", "features: 24 mel bands", "predict runs/t recording.wav"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    let measured = json(&place, "evaluate runs/t --json");
    assert_eq!(measured["evaluation"]["rows"], 12);
    let of_all = json(&place, "evaluate runs/t --data sounds:tones --json");
    assert_eq!(of_all["evaluation"]["rows"], 54);
    assert!(of_all["evaluation"]["scores"]["accuracy"]["value"].as_f64() > Some(0.8), "{of_all}");
    assert!(does(&place, "inspect runs/t").contains("24 mel bands (slaney), 8000 Hz"));
    // Training and prediction have the same features: a recording is predicted as its row was.
    let line = "predict runs/t tones/rising/organ_0.wav tones/steady/reed_1.wav --json";
    let found = lines(&does(&place, line));
    assert_eq!((&found[0]["label"], &found[1]["label"]), (&"rising".into(), &"steady".into()));
    let again = Command::new(built("fireclay-predict"))
        .args(line.split(' ').skip(1))
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap(), does(&place, line));
}

#[test]
fn windows_have_a_line_each_with_their_start() {
    let place = place();
    does(&place, &format!("{TRAIN} --name t --epochs 40 -q"));
    let found = lines(&does(&place, "predict runs/t melody.flac --window 0.25 --json"));
    let starts: Vec<f64> = found.iter().map(|one| one["start"].as_f64().unwrap()).collect();
    assert_eq!(starts.len(), 15, "two seconds");
    assert!(starts.iter().enumerate().all(|(at, start)| *start == 0.125 * at as f64));
    let at = |start: f64| &found[(start / 0.125) as usize]["label"];
    assert_eq!([at(0.0), at(0.5), at(1.0)], ["rising", "steady", "falling"]);
    let text = does(&place, "predict runs/t melody.flac --window 0.5 --hop 0.5");
    assert!(text.contains("melody.flac 1.500 s  "), "{text}");
    let table = does(&place, "predict runs/t melody.flac --window 0.5 --hop 0.5 --format csv");
    assert!(table.starts_with("row,start,label,probability,"), "{table}");
    place.train("predict runs/t melody.flac --hop 1").refused(&["--window"]);
    place.train("predict runs/t melody.flac --window 0").refused(&["cannot be taken"]);
}

#[test]
fn parts_of_names_and_tables_choose_the_rows() {
    let place = place();
    // The instruments are the groups, and one of them is the test.
    let line = format!("{TRAIN} --epochs 2 --pattern {{instrument}}_{{index}} --group instrument");
    let said = does(&place, &format!("{line} --name g --test instrument=reed"));
    assert!(said.contains("18 training, 18 validation and 18 test samples"), "{said}");
    place.train(&format!("{line} --name x --test instrument=lute")).refused(&["0 of 54 rows"]);
    place.train(&format!("{line} --name x --test player=me")).refused(&["player"]);
    // The same from a table beside the files, by another target.
    let mut table = "file,loud,split\n".to_owned();
    for (at, kind) in ["rising", "falling", "steady"].iter().enumerate() {
        for index in 0..6 {
            let split = if index > 4 { "test" } else { "train" };
            table += &format!("tones/{kind}/flute_{index}.wav,{}.5,{split}\n", at + index);
        }
    }
    fs::write(place.path("clips.csv"), table).unwrap();
    let line = "train --data sounds:clips.csv --target loud --test split=test --epochs 2 --no-report \
                --name r --validation 3";
    let said = does(&place, line);
    assert!(said.contains("target loud: regression"), "{said}");
    assert!(said.contains("12 training, 3 validation and 3 test samples"), "{said}");
}

#[test]
fn augmented_runs_repeat_and_tuned_ones_have_the_features_of_their_model() {
    let place = place();
    let line = "train --recipe speech --data sounds:tones --epochs 3 --no-report --name a --hidden 16 \
                --batch-size 16";
    does(&place, line);
    let said = does(&place, "train --repeat a --name b --no-report");
    assert!(said.contains("The model is identical"), "{said}");
    does(
        &place,
        "finetune --from runs/a/model.safetensors --data sounds:tones --epochs 1 --name f --no-report",
    );
    let tuned = does(&place, "inspect runs/f");
    // The line is wrapped.
    let words: Vec<&str> = tuned.split_whitespace().collect();
    assert!(words.join(" ").contains("silence trimmed at 30 dB"), "{tuned}");
}

#[test]
fn mistakes_are_named() {
    let place = place();
    fs::write(place.path("tones/loose.wav"), "RIFF").unwrap();
    place.train(TRAIN).refused(&["loose.wav is in no folder of a class", "--pattern"]);
    fs::remove_file(place.path("tones/loose.wav")).unwrap();
    fs::write(place.path("tones/steady/bad.wav"), "RIFF????WAVE").unwrap();
    place.train(TRAIN).refused(&["bad.wav", "WAV"]);
    fs::remove_file(place.path("tones/steady/bad.wav")).unwrap();
    fs::create_dir(place.path("empty")).unwrap();
    place.train("train --data sounds:empty").refused(&["no .wav or .flac file"]);
    place.train("train --mels 20").refused(&["no effect on mnist"]);
    place.train("train --augment-noise 1").refused(&["only recordings are augmented"]);
    place.train(&format!("{TRAIN} --mfcc 30")).refused(&["mfcc 30", "from 1 to 24"]);
    place.train("train --name m --epochs 1 -q --no-report --hidden none").succeeded();
    place.train("predict runs/m melody.flac").refused(&["this is a recording"]);
    place.train("predict runs/m melody.flac --window 1").refused(&["for models of recordings"]);
}
