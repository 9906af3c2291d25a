//! What is checked before the first step, by a run and by a dry run alike.

use std::fs;

use crate::program::{DIGITS, Outcome, Place};
use crate::runs::{FILES, check_refused, trained, warned};

/// A run and a dry run of the same settings are refused in the same words, and leave nothing.
fn refused(place: &Place, line: &[&str], words: &[&str]) {
    let before = place.tree();
    let said = [&[][..], &["--dry-run"]].map(|more| {
        let mut command = place.command(DIGITS);
        let outcome = Outcome::of(&line.join(" "), command.args(line).args(more));
        outcome.refused(words).stderr
    });
    // How much memory is free may change in between.
    let [run, dry_run] = said.map(|text| text.replace(|c: char| c.is_ascii_digit(), "#"));
    assert_eq!(run, dry_run);
    assert!(place.tree() == before, "{line:?} left something behind");
}

#[test]
fn a_name_is_one_that_every_system_can_have() {
    let place = Place::new();
    let long = "x".repeat(256);
    for (name, words) in [
        ("..", "`..` is not a name but a place"),
        (".", "`.` is not a name"),
        ("", "the name is empty"),
        ("a/b", "a name has no `/`"),
        ("a\\b", "a name has no `\\`"),
        ("../up", "a name has no `/`"),
        ("a\nb", "\\u{a}, which does not show"),
        ("a\u{1b}[2Jb", "\\u{1b}"),
        ("a\u{202e}b", "\\u{202e}"),
        ("a.", "ends in a dot"),
        ("a ", "ends in a space"),
        ("latest", "what --resume calls the last run"),
        (&long, "has 256 bytes; at most 255"),
    ] {
        refused(&place, &["--name", name], &["--name", words]);
    }
    fs::create_dir_all(place.path("runs/taken/sub")).unwrap();
    refused(&place, &["--name", "taken"], &["runs/taken", "exists already", "--name"]);
    refused(&place, &["--out", "digits/train-images-idx3-ubyte/x"], &["is not a folder", "--out"]);
}

#[test]
fn what_cannot_be_held_is_refused_before_it_is_taken() {
    let place = Place::new();
    let memory = ["of memory", "are free", "--hidden"];
    refused(&place, &["--hidden", "1000000000"], &memory);
    refused(&place, &["--hidden", "4000000000,4000000000"], &[]);
    refused(&place, &["--hidden", "200000,200000", "--optimizer", "sgd"], &memory);
    refused(&place, &["--drop-last", "--batch-size", "51"], &["--drop-last"]);
    refused(&place, &["--tui"], &["--tui needs a terminal"]);
    // A batch is never larger than the training split.
    let line = format!("{DIGITS} --batch-size 4294967295 --epochs 1 --dry-run");
    place.train(&line).warned(&["larger than the training split"]);
}

#[test]
fn a_dry_run_shows_what_a_plateau_watches() {
    let place = Place::new();
    for (line, watched) in [("", "loss"), (" --set schedule.watch=monitor", "monitor")] {
        let line = format!("{DIGITS} --schedule plateau --dry-run{line}");
        let settings: toml::Table = place.train(&line).succeeded().stdout.parse().unwrap();
        assert_eq!(settings["schedule"]["watch"].as_str(), Some(watched), "{line}");
    }
}

#[test]
fn a_dry_run_warns_as_a_run_does() {
    let place = Place::new();
    let words = ["each batch has 1 of 50 training rows"];
    let line = format!("{DIGITS} --norm batch --batch-size 1 --epochs 1");
    place.train(&line).warned(&words);
    place.train(&format!("{line} --dry-run")).warned(&words);
    place.train(&format!("{line} --dry-run -q")).succeeded();
}

#[test]
fn settings_that_move_nothing_are_warned_of() {
    let place = Place::new();
    let words = [
        "--lr is 1e-46: single precision rounds such steps away",
        "--clip-norm is 1e-300: gradients are cut to nearly nothing",
        "--dropout is 0.99999: nearly every unit",
        "--warmup-epochs is 1000000.0: the run ends at the beginning of the warm-up",
    ];
    let line = format!(
        "{DIGITS} --epochs 1 --lr 1e-46 --clip-norm 1e-300 --dropout 0.99999 --schedule cosine \
         --warmup-epochs 1000000 --dry-run"
    );
    place.train(&line).warned(&words);
    let usual =
        "--lr 0.01 --clip-norm 1 --dropout 0.5 --schedule cosine --warmup-epochs 1 --dry-run";
    place.train(&format!("{DIGITS} --epochs 5 {usual}")).succeeded();
}

#[test]
fn the_folder_of_a_run_that_never_began_is_taken_again() {
    let place = Place::new();
    let folder = place.path("runs/run");
    let line = format!("{DIGITS} --epochs 1 --name run");
    fs::create_dir_all(&folder).unwrap();
    for name in [".lock", "config.toml", "start.safetensors", ".fireclay-12-3.tmp"] {
        fs::write(folder.join(name), "half").unwrap();
    }
    place.train("--resume run").refused(&["killed before its first step", "the same --name"]);
    place.train(&format!("{line} --dry-run")).succeeded();
    // Anything else in it is somebody's.
    for name in ["notes.txt", "metrics.jsonl", "checkpoints"] {
        fs::write(folder.join(name), "mine").unwrap();
        refused(&place, &["--epochs", "1", "--name", "run"], &["runs/run"]);
        fs::remove_file(folder.join(name)).unwrap();
    }
    // As long as a process works on it, it is begun.
    let lock = fs::File::options().append(true).open(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    place.train(&line).refused(&["another process is working on this run"]);
    drop(lock);
    place.train(&line).succeeded();
    let files = place.run("run").files();
    assert!(!files.iter().any(|name| name.starts_with("start") || name.ends_with(".tmp")));
    place.train("--resume run").refused(&["is finished"]);
    // One that is empty has nothing to lose.
    fs::create_dir_all(place.path("runs/empty")).unwrap();
    place.train("--resume empty").refused(&["not the folder of a run"]);
    place.train(&format!("{DIGITS} --epochs 1 --name empty")).succeeded();
}

#[test]
fn runs_are_numbered_and_a_name_is_used_once() {
    let place = Place::new();
    let quick = format!("{DIGITS} --epochs 1 --hidden none");
    fs::create_dir_all(place.path("runs/idx-2")).unwrap();
    for expected in ["idx-1", "idx-3"] {
        let outcome = place.train(&quick).succeeded();
        assert!(outcome.stdout.contains(&format!("Saved in runs/{expected}:")));
        assert_eq!(place.run(expected).files(), FILES);
    }
    let line = format!("{quick} --out elsewhere/deep --name first");
    place.train(&line).succeeded();
    assert!(place.path("elsewhere/deep/first/model.safetensors").is_file());

    let taken = ["elsewhere/deep/first", "--name"];
    check_refused(&place, &[(&line, &taken)]);
    // A name is one folder: it does not lead out of the folder of runs.
    let (up, below) = (format!("{quick} --name ../up"), format!("{quick} --name a/b"));
    let words: &[&str] = &["--name"];
    check_refused(&place, &[(&up, words), (&below, words)]);
}

#[test]
fn a_dry_run_prints_the_settings_and_writes_nothing() {
    let place = Place::new();
    let before = place.tree();
    let line = format!("{DIGITS} --hidden 7 --dry-run");
    let outcome = place.train(&line).succeeded();
    assert!(place.tree() == before);
    let table: toml::Table = outcome.stdout.parse().unwrap();
    assert_eq!(table["model"]["hidden"], vec![7].into());
    assert_eq!(table["model"]["outputs"], 10.into());
    assert_eq!(table["loss"]["name"], "cross-entropy".into());

    // What it prints is what a run writes, and a settings file.
    trained(&place, "real", "--hidden 7 --epochs 5");
    assert_eq!(place.run("real").config(), table);
    fs::write(place.path("printed.toml"), &outcome.stdout).unwrap();
    let again = place.train("--config printed.toml --dry-run").succeeded();
    assert_eq!(again.stdout, outcome.stdout);

    // Without arguments: the tutorial, which the recipe writes out.
    let [tutorial, recipe] =
        ["--dry-run", "--recipe mnist --dry-run"].map(|line| place.train(line).succeeded().stdout);
    let [tutorial, recipe]: [toml::Table; 2] = [&tutorial, &recipe].map(|t| t.parse().unwrap());
    assert_eq!(recipe, tutorial);
    assert_eq!(tutorial["data"]["source"], "mnist".into());
}

#[test]
fn what_is_likely_to_go_wrong_is_said_before_the_first_step() {
    let place = Place::new();
    let one_row = "the layers below the output learn nothing";
    for (i, (line, words)) in [
        ("--norm batch --batch-size 1", &[one_row][..]),
        ("--norm batch --batch-size 1 --accumulate 8", &[one_row]),
        (
            "--norm batch --batch-size 7",
            &["the last batch of each epoch has 1 row (50 rows in batches of 7)"],
        ),
        ("--norm batch --batch-size 7 --drop-last", &[]),
        ("--norm batch --batch-size 5", &[]),
        ("--norm layer --batch-size 1", &[]),
        ("--norm layer --hidden 4,1", &["hidden layer 1 has 1 unit"]),
        ("--hidden none --norm batch --batch-size 1", &["so --norm changes nothing"]),
        (
            "--hidden none --dropout 0.5 --activation tanh",
            &["so --dropout and --activation changes"],
        ),
        ("--hidden none", &[]),
        ("--residual", &["--residual changes nothing"]),
        ("--residual --hidden 8,8", &[]),
        ("--batch-size 51", &["larger than the training split of 50"]),
        ("--preprocessing standardize", &[]),
        ("--input-dropout 0.1 --hidden none", &[]),
        ("--preprocessing none", &["range from 0 to 255, and --preprocessing none leaves them so"]),
        ("--lr 3", &["the learning rate is 3.0, and a step of adam is then far larger"]),
        ("--lr 20 --optimizer sgd", &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let (run, _) = warned(&place, &format!("run-{i}"), &format!("--epochs 1 {line}"), words);
        let manifest: serde_json::Value =
            serde_json::from_slice(&run.bytes("manifest.json")).unwrap();
        let recorded = manifest["warnings"].as_array().map_or(0, Vec::len);
        assert_eq!(recorded, words.len(), "{line}: {}", manifest["warnings"]);
    }
    place.train(&format!("{DIGITS} --epochs 1 -q --norm batch --batch-size 1")).succeeded();

    let long = format!("{DIGITS} --epochs 4000000000 --batch-size 1 --dry-run");
    place
        .train(&long)
        .warned(&["200,000,000,000 steps: at 10,000 steps a second it takes 231 days"]);

    // Bits and not bytes, of which rows of one class are the same.
    let same = "the test split shares 20 rows of 20 with the training split";
    for part in ["train", "t10k"] {
        let path = place.path(&format!("digits/{part}-images-idx3-ubyte"));
        let mut images = fs::read(&path).unwrap();
        images[16..].iter_mut().for_each(|pixel| *pixel = u8::from(*pixel > 100));
        fs::write(&path, images).unwrap();
    }
    for (name, line, words) in [
        ("bits", "", &["divides them by 255", same][..]),
        ("normalized", "--preprocessing normalize", &["divides them by 255", same]),
        ("raw", "--preprocessing none", &[same]),
    ] {
        warned(&place, name, &format!("--epochs 1 {line}"), words);
    }
    // Classes without rows: nothing has the last of these labels.
    fs::write(place.path("digits/labels.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nit's\n").unwrap();
    let line = "--epochs 1 --preprocessing none --loss cross-entropy \
                --set loss.class_weights=[1,1,1,1,1,1,1,1,1,1,3]";
    let words =
        ["no training row has class 'it'", "class_weights has a weight for class 'it'", same];
    let line = format!("{line} --validation 11");
    place.train(&format!("--data idx:digits --name absent {line}")).warned(&words);
}
