//! The program as its users see it: exit codes, what it prints, and the files it leaves.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fireclay::{Activation, Initializer, Norm, Prediction};
use train::optimizer::OptimizerConfig;
use train::schedule::Schedule;

#[path = "support/program.rs"]
mod program;
use program::{DIGITS, Outcome, Place, Run, write_digits};

/// What a finished run leaves.
const FILES: [&str; 6] =
    [".lock", "checkpoints", "config.toml", "manifest.json", "metrics.jsonl", "model.safetensors"];
/// What of it depends on the settings alone.
const SAME: [&str; 3] = ["config.toml", "metrics.jsonl", "model.safetensors"];

/// Trains on the small set and checks what every run has in common.
fn trained(place: &Place, name: &str, line: &str) -> (Run, String) {
    warned(place, name, line, &[])
}

/// As `trained`, with a warning for each of these words.
fn warned(place: &Place, name: &str, line: &str, words: &[&str]) -> (Run, String) {
    let outcome = place.train(&format!("{DIGITS} --name {name} {line}")).warned(words);
    let run = place.run(name);
    assert_eq!(run.files(), FILES, "{line}");
    let test = run.test();
    let accuracy = 100.0 * test["accuracy"].as_f64().unwrap();
    let printed = outcome.stdout.lines().find(|line| line.starts_with("test loss ")).unwrap();
    assert!(printed.contains(&format!(" accuracy {accuracy:.2} %")), "{line}: {printed}");
    assert!(run.weights().iter().all(|weight| weight.is_finite()), "{line}");
    (run, outcome.stdout)
}

/// Tries commands that can not work: each says why, in these words, and leaves nothing behind.
fn check_refused(place: &Place, cases: &[(&str, &[&str])]) {
    let before = place.tree();
    for (line, words) in cases {
        place.train(line).refused(words);
        assert!(place.tree() == before, "{line} left something behind");
    }
}

#[test]
fn a_run_ends_with_its_test_accuracy_its_files_and_what_to_do_next() {
    let place = Place::new();
    let outcome = place.train(DIGITS).succeeded();
    let run = place.run("idx-1");
    assert_eq!(run.files(), FILES);
    let test = run.test();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let heading = [
        "idx:digits: 50 training, 10 validation and 20 test samples of 4x4",
        "16-128-10 relu, 3,466 parameters",
        "adam, learning rate 0.001, batches of 32; flex, seed 1",
    ];
    assert_eq!(lines[..3], heading);
    for (epoch, line) in (1..=5).zip(&lines[3..]) {
        assert!(line.starts_with(&format!("epoch {epoch}/5  loss 2.")), "{line}");
        assert!(line.contains("  val loss 2."), "{line}");
        assert!(line.ends_with(" s"), "{line}");
        assert!(line.len() <= 80, "{line}");
    }
    let result = format!(
        "test loss {:.4} accuracy {:.2} %",
        test["loss"].as_f64().unwrap(),
        100.0 * test["accuracy"].as_f64().unwrap()
    );
    assert_eq!(lines[8..11], [&result, "", "Saved in runs/idx-1:"]);
    let rest = lines[11..].join("\n");
    for file in &FILES[1..] {
        assert!(rest.contains(&format!("  {file} ")), "{rest}");
    }
    assert!(rest.contains("--repeat runs/idx-1"), "{rest}");
    assert!(rest.contains("Model::load(\"runs/idx-1/model.safetensors\""), "{rest}");
    assert!(rest.contains("--help"), "{rest}");
}

#[test]
fn a_network_learns_and_its_file_predicts() {
    let place = Place::new();
    let (run, _) = trained(&place, "long", "--epochs 40 --lr 0.01");
    assert!(run.test()["accuracy"].as_f64().unwrap() >= 0.95);
    let model = run.model("model.safetensors");
    let mut image = [0.0; 16];
    image[3] = 255.0;
    let found = model.predict(&[image]).unwrap().remove(0);
    let Prediction::Class { label, probability, .. } = found else { panic!("{found:?}") };
    assert_eq!(label, "3");
    assert!(probability > 0.5, "{probability}");
    assert_eq!(model.provenance.data.as_deref(), Some("idx:digits"));
    let settings = model.provenance.settings.unwrap();
    assert_eq!(settings["optimizer"]["learning_rate"], 0.01);
}

#[test]
fn the_first_look_on_the_bundled_mnist_is_about_95_per_cent() {
    let place = Place::new();
    let outcome = place.train("--recipe mnist-small").succeeded();
    let run = place.run("mnist-1");
    assert_eq!(run.files(), FILES);
    assert!(run.test()["accuracy"].as_f64().unwrap() > 0.94);
    let heading = "mnist: 55,000 training, 5,000 validation and 10,000 test samples of 28x28\n";
    assert!(outcome.stdout.starts_with(heading), "{}", outcome.stdout);
    assert_eq!(run.split("validation").len(), 2);
}

#[test]
fn the_same_settings_give_the_same_bytes() {
    let place = Place::new();
    let line = "--hidden 12,8 --activation tanh --norm batch --dropout 0.2 --input-dropout 0.1 \
                --optimizer sgd --momentum 0.9 --schedule cosine --epochs 3 --stratified --ema 0.9";
    let (first, _) = trained(&place, "first", &format!("{line} --seed 7"));
    let (again, _) = trained(&place, "again", &format!("{line} --seed 7"));
    place.train("--config runs/first/config.toml --name repeated").succeeded();
    let repeated = place.run("repeated");
    for run in [&again, &repeated] {
        for file in SAME {
            assert!(run.bytes(file) == first.bytes(file), "{file}: {:?}", run.path);
        }
    }
    let (other, _) = trained(&place, "other", &format!("{line} --seed 8"));
    assert_ne!(other.weights(), first.weights());

    // One thread or several.
    for threads in ["1", "2"] {
        let name = format!("threads-{threads}");
        let mut command = place.command(&format!("--config runs/first/config.toml --name {name}"));
        Outcome::of(&name, command.env("RAYON_NUM_THREADS", threads)).succeeded();
        let bytes = place.run(&name).bytes("model.safetensors");
        assert!(bytes == first.bytes("model.safetensors"), "{threads} threads");
    }
}

#[test]
fn layers_of_settings_override_each_other_in_order() {
    let place = Place::new();
    let file = "[data]\nsource = \"idx:digits\"\nvalidation = 0.2\n\n\
                [model]\nhidden = [6]\n\n[training]\nepochs = 3\nbatch_size = 20\n";
    fs::write(place.path("mine.toml"), file).unwrap();
    let line = "--recipe mnist-small --config mine.toml --epochs 1 --set training.batch_size=25 \
                --set model.activation=gelu";
    place.train(line).succeeded();
    let config = place.run("idx-1").config();
    let check = |section: &str, key: &str, expected: toml::Value| {
        assert_eq!(config[section][key], expected, "{section}.{key}");
    };
    check("optimizer", "learning_rate", 0.004.into()); // the recipe's
    check("optimizer", "beta2", 0.999.into()); // a default
    check("schedule", "name", "cosine".into()); // the recipe's
    check("model", "hidden", vec![6].into()); // the file's
    check("data", "validation", 0.2.into()); // the file's
    check("training", "epochs", 1.into()); // a flag's
    check("training", "batch_size", 25.into()); // --set, over the file
    check("model", "activation", "gelu".into()); // --set
}

#[test]
fn metrics_jsonl_has_a_line_for_every_measurement() {
    let place = Place::new();
    let (run, _) = trained(&place, "run", "--batch-size 10 --epochs 3");
    let found: Vec<_> = run
        .metrics()
        .iter()
        .map(|line| {
            let loss = line["loss"].as_f64().unwrap();
            assert!(loss.is_finite() && loss > 0.0, "{line}");
            assert!((0.0..=1.0).contains(&line["accuracy"].as_f64().unwrap()), "{line}");
            (
                format!("{} {}", line["split"].as_str().unwrap(), line["span"].as_str().unwrap()),
                line["epoch"].as_u64().unwrap(),
                line["step"].as_u64().unwrap(),
            )
        })
        .collect();
    let of_epoch = |epoch| {
        let step = 5 * epoch;
        [
            ("training steps", epoch, step),
            ("training epoch", epoch, step),
            ("validation epoch", epoch, step),
        ]
    };
    let mut expected = [of_epoch(1), of_epoch(2), of_epoch(3)].concat();
    expected.push(("test epoch", 3, 15));
    let expected = expected.into_iter().map(|(what, epoch, step)| (what.to_owned(), epoch, step));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn more_metrics_are_measured_on_every_split() {
    let place = Place::new();
    let names = ["top-2", "precision", "recall", "f-1", "f-0.5", "auroc"];
    let line = format!(
        "--metrics {},learning-rate,speed --schedule linear --lr 0.01 --batch-size 25 --epochs 4",
        names.join(",")
    );
    let (run, stdout) = trained(&place, "run", &line);
    for line in run.metrics() {
        for name in names {
            // The area under a curve is known at the end of an epoch only.
            if line["span"] == "steps" && name == "auroc" {
                continue;
            }
            let value = line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
            assert!((0.0..=1.0).contains(&value), "{name}: {line}");
        }
        assert!(line["top-2"].as_f64() >= line["accuracy"].as_f64(), "{line}");
        let is_training = line["split"] == "training";
        assert_eq!(line.get("speed").is_some(), is_training, "{line}");
        assert_eq!(line.get("learning-rate").is_some(), is_training, "{line}");
    }
    for line in run.split("training") {
        assert!(line["speed"].as_f64().unwrap() > 0.0, "{line}");
    }
    // The last of eight steps ends the straight line at zero; the second is a seventh below the top.
    let rates: Vec<f64> =
        run.split("training").iter().map(|line| line["learning-rate"].as_f64().unwrap()).collect();
    assert!((rates[0] - 0.01 * 6.0 / 7.0).abs() < 1e-9, "{rates:?}");
    assert_eq!(rates[0], rates[1], "the epoch's is that of its last step");
    assert!(rates[7].abs() < 1e-9, "{rates:?}");
    assert!(stdout.contains(" top-2 ") && stdout.contains(" auroc "), "{stdout}");
}

#[test]
fn numbers_are_right_over_an_epoch_for_any_batch_size() {
    // A rate so small that no weight moves: every epoch measures the same network.
    let place = Place::new();
    let still = "--optimizer sgd --lr 1e-30 --epochs 1 --metrics recall,top-3";
    let measured = |name: &str, size: usize| {
        let words: &[&str] =
            if size > 50 { &["larger than the training split of 50"] } else { &[] };
        let (_, stdout) = warned(&place, name, &format!("{still} --batch-size {size}"), words);
        let line = stdout.lines().find(|line| line.starts_with("epoch")).unwrap().to_owned();
        // Without the seconds at its end.
        line.rsplit_once("  ").unwrap().0.to_owned()
    };
    let whole = measured("whole", 50);
    assert!(whole.contains("recall"), "{whole}");
    for (name, size) in [("short", 7), ("single", 1), ("uneven", 32), ("larger", 1000)] {
        assert_eq!(measured(name, size), whole, "batches of {size}");
    }
}

#[test]
fn piped_output_is_plain_lines() {
    let place = Place::new();
    for colours in ["CLICOLOR_FORCE", "FORCE_COLOR", "NO_COLOR"] {
        let mut command = place.command(&format!("{DIGITS} --epochs 2"));
        let outcome = Outcome::of(colours, command.env(colours, "1")).succeeded();
        assert!(!outcome.stdout.contains(['\u{1b}', '\r', '\u{8}']), "{:?}", outcome.stdout);
        assert!(outcome.stdout.ends_with('\n'));
        assert!(outcome.stdout.lines().all(|line| line.trim_end() == line), "{}", outcome.stdout);
    }
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let place = Place::new();
    for (line, name) in [("-q", "idx-1"), ("--quiet", "idx-2")] {
        let outcome = place.train(&format!("{DIGITS} --epochs 1 {line}")).succeeded();
        assert_eq!(outcome.stdout, "");
        assert_eq!(place.run(name).files(), FILES);
    }
    place.train(&format!("{DIGITS} -q --epochs 0")).refused(&["training.epochs"]);
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
fn list_backends_is_a_table_of_all() {
    let place = Place::new();
    let outcome = place.train("--list-backends");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut lines = outcome.stdout.lines();
    assert_eq!(lines.next(), Some("backend   compiled in  devices"));
    let rows: Vec<Vec<&str>> =
        lines.map(|line| line.splitn(3, "  ").map(str::trim).collect()).collect();
    let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let expected = ["flex", "ndarray", "wgpu", "vulkan", "metal", "webgpu", "cuda", "rocm"];
    assert_eq!(names, expected);
    assert!(outcome.stdout.contains("flex      yes          0: CPU\n"), "{}", outcome.stdout);
    for backend in fireclay::Backend::ALL.iter().filter(|backend| !backend.is_compiled()) {
        let row = format!("{backend:<9} no           build with --features {backend}\n");
        assert!(outcome.stdout.contains(&row), "{}", outcome.stdout);
    }
    let tables = place.path("runs");
    assert!(!tables.exists());
}

#[test]
fn slips_on_the_command_line_are_named() {
    let cases: &[(&str, &[&str])] = &[
        ("--backend felx", &["`felx`", "`flex`", "wgpu"]),
        ("--activation sigmod", &["`sigmod`", "did you mean `sigmoid`"]),
        ("--norm bach", &["`bach`", "did you mean `batch`"]),
        ("--initializer he-unifrom", &["did you mean `he-uniform`"]),
        ("--optimizer adm", &["'adm'", "adam"]),
        ("--schedule cosin", &["'cosin'", "cosine"]),
        ("--loss mes", &["'mes'", "mse"]),
        ("--keep bets", &["'bets'", "best"]),
        ("--recipe mnits", &["`mnits`", "mnist-small"]),
        ("--data mnits", &["`mnits`", "did you mean `mnist`"]),
        ("--data idx:", &["idx:FOLDER"]),
        ("--data ./digits", &["`./digits` is a folder", "idx:./digits"]),
        ("--data digits", &["`digits` is a folder", "idx:digits"]),
        ("--data rows.csv", &["`rows.csv` is a path, and nothing is there"]),
        ("--data digits/train-images-idx3-ubyte", &["is a file", "idx:FOLDER"]),
        ("--hidden 300;100", &["300;100", "300,100 or none"]),
        ("--hidden 3x", &["`3x`", "300,100 or none"]),
        ("--hidden 300,,100", &["300,100 or none"]),
        ("--metrics acuracy", &["`acuracy`", "top-5", "auroc"]),
        ("--metrics top-0", &["`top-0`"]),
        ("--metrics f--1", &["`f--1`"]),
        ("--device gpu", &["`gpu`", "integrated"]),
        ("--validation many", &["`many`", "number of samples"]),
        ("--epochs many", &["'many'", "--epochs"]),
        ("--seed many", &["'many'", "--seed"]),
        ("--nmae first", &["--nmae", "--name"]),
        ("first", &["'first'"]),
        ("--tui --quiet", &["--tui", "--quiet"]),
        ("--set seed", &["PATH=VALUE"]),
        ("--set optimiser.name=sgd", &["--set optimiser.name=sgd", "did you mean `optimizer`"]),
        ("--set model.hiden=[3]", &["did you mean `hidden`"]),
        ("--set seed=many", &["--set seed=many", "seed"]),
    ];
    check_refused(&Place::new(), cases);
}

#[test]
fn settings_out_of_range_are_named() {
    let cases: &[(&str, &[&str])] = &[
        ("--hidden 0", &["hidden", "at least 1"]),
        ("--dropout 1", &["dropout is 1", "below 1"]),
        ("--dropout nan", &["dropout is NaN"]),
        ("--input-dropout=-0.1", &["input_dropout is -0.1"]),
        ("--lr 0", &["learning_rate is 0", "above 0"]),
        ("--lr body=1e-3", &["--lr body=1e-3:", "`finetune`"]),
        ("--lr=-1", &["learning_rate is -1"]),
        ("--lr nan", &["learning_rate is NaN"]),
        ("--lr inf", &["learning_rate is inf"]),
        ("--weight-decay=-1", &["weight_decay is -1", "0 or above"]),
        ("--optimizer sgd --momentum 1", &["momentum is 1", "below 1"]),
        ("--optimizer sgd --nesterov", &["momentum", "above 0", "nesterov"]),
        ("--warmup-epochs=-1", &["warmup_epochs is -1"]),
        ("--schedule step --set schedule.every_epochs=0", &["every_epochs is 0"]),
        ("--epochs 0", &["training.epochs is 0", "at least 1"]),
        ("--batch-size 0", &["training.batch_size is 0", "at least 1"]),
        ("--accumulate 0", &["training.accumulate is 0", "at least 1"]),
        ("--clip-norm 0", &["training.clip_norm is 0", "above 0"]),
        ("--clip-norm inf", &["training.clip_norm is inf"]),
        ("--ema 1", &["training.ema is 1", "below 1"]),
        ("--patience 0", &["patience is 0", "at least 1"]),
        ("--patience 1 --min-improvement nan", &["min_improvement is NaN"]),
        ("--set model.hidden=[1000000000000000000]", &["too large"]),
    ];
    check_refused(&Place::new(), cases);
}

#[test]
fn settings_that_contradict_the_data_or_each_other_are_named() {
    let cases: &[(&str, &[&str])] = &[
        ("--metrics top-11", &["top-11", "10"]),
        ("--loss mse", &["mse", "classification", "cross-entropy"]),
        ("--label-smoothing 1", &["label_smoothing is 1", "below 1"]),
        ("--set model.outputs=11", &["model.outputs is 11", "10"]),
        ("--set model.input_shape=[5]", &["model.input_shape is [5]", "[4, 4]"]),
        // A setting of another optimizer or schedule than the one that is chosen.
        ("--momentum 0.9", &["`momentum`", "--optimizer NAME", "learning_rate, beta1"]),
        ("--nesterov", &["`nesterov`", "--optimizer NAME", "learning_rate, beta1"]),
        ("--schedule step --warmup-epochs 1", &["`warmup_epochs`", "step"]),
        ("--drop-last --batch-size 51", &["50 training samples", "51", "--drop-last"]),
        ("--tui", &["--tui", "terminal"]),
    ];
    let cases: Vec<(String, &[&str])> =
        cases.iter().map(|(line, words)| (format!("{DIGITS} {line}"), *words)).collect();
    let cases: Vec<(&str, &[&str])> =
        cases.iter().map(|(line, words)| (&line[..], *words)).collect();
    check_refused(&Place::new(), &cases);

    let cases: &[(&str, &[&str])] = &[
        ("--data idx:digits", &["5000", "60", "--validation"]),
        ("--data idx:digits --validation 60", &["60"]),
        ("--data idx:digits --validation 0.999", &["60"]),
        ("--data idx:digits --set data.validation=1.5", &["1.5"]),
        ("--data idx:digits --validation 0 --patience 2", &["validation", "early stopping"]),
        ("--data idx:digits --validation 0 --keep best", &["validation", "--keep best"]),
        ("--data idx:digits --validation 0 --schedule plateau", &["validation", "plateau"]),
    ];
    check_refused(&Place::new(), cases);
}

#[test]
fn a_data_set_of_one_class_has_nothing_to_tell_apart() {
    let place = Place::new();
    for part in ["train", "t10k"] {
        let path = place.path(&format!("digits/{part}-labels-idx1-ubyte"));
        let mut labels = fs::read(&path).unwrap();
        labels[8..].fill(0);
        fs::write(&path, labels).unwrap();
    }
    warned(&place, "run", "--metrics top-1,learning-rate", &["class 0, so there is nothing"]);
    for metric in ["precision", "recall", "f-1", "auroc"] {
        let line = format!("{DIGITS} --metrics {metric}");
        check_refused(&place, &[(&line, &[metric, "class"])]);
    }
}

/// `train | head -1`: the reader goes away while the run goes on.
#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let place = Place::new();
    let mut command = place.command(&format!("{DIGITS} --epochs 20 --batch-size 1"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code().is_some_and(|code| code != 101), "{:?}", output.status);
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(stderr.matches("Broken pipe").count() <= 1, "{stderr}");
}

#[test]
fn a_fault_in_a_settings_file_is_named_with_the_file() {
    let check = |text: &str, words: &[&str]| {
        let place = Place::new();
        fs::write(place.path("mine.toml"), text).unwrap();
        let words = [&["mine.toml"], words].concat();
        check_refused(&place, &[("--config mine.toml", &words)]);
    };
    check("[training]\nepoch = 3\n", &["`epoch`", "training", "did you mean `epochs`"]);
    check("[trainin]\nepochs = 3\n", &["`trainin`", "did you mean `training`"]);
    check("[optimizer]\nlearning_rat = 0.1\n", &["did you mean `learning_rate`"]);
    check("[optimizer]\nlearning_rate = \"fast\"\n", &["\"fast\"", "optimizer"]);
    check("[training]\nepochs = -1\n", &["-1", "epochs"]);
    check("[training]\nepochs = 2.5\n", &["2.5", "epochs"]);
    check("[model]\nactivation = \"sigmod\"\n", &["did you mean `sigmoid`"]);
    check("[optimizer]\nname = \"adm\"\n", &["`adm`", "`adam`"]);
    check("[data]\nvalidation = \"lots\"\n", &["validation"]);
    check("[optimizer\n", &["line 1"]);
    check_refused(&Place::new(), &[("--config mine.toml", &["mine.toml", "No such file"])]);
}

#[test]
fn unusable_data_is_named() {
    let images = "digits/train-images-idx3-ubyte";
    let labels = "digits/train-labels-idx1-ubyte";
    let check = |file: &str, spoil: fn(&mut Vec<u8>), words: &[&str]| {
        let place = Place::new();
        let mut bytes = fs::read(place.path(file)).unwrap();
        spoil(&mut bytes);
        fs::write(place.path(file), bytes).unwrap();
        let words = [&[file], words].concat();
        check_refused(&place, &[(DIGITS, &words)]);
    };
    check(images, |bytes| bytes.truncate(500), &["500 bytes", "cut off"]);
    check(images, |bytes| bytes.truncate(3), &["cut off"]);
    check(images, |bytes| bytes.clear(), &["cut off"]);
    check(images, |bytes| bytes.push(0), &["bytes follow"]);
    check(images, |bytes| bytes[0] = 0x89, &["starts with"]);
    check(images, |bytes| bytes[2] = 0x0d, &["element type"]);
    check(images, |bytes| bytes[4] = 0x7f, &["cut off"]);
    check(labels, |bytes| bytes[7] = 59, &["bytes follow"]);

    let place = Place::new();
    let words: &[&str] = &["nowhere", "No such file"];
    check_refused(&place, &[("--data idx:nowhere", words), ("--data idx:digits/nowhere", words)]);
    fs::remove_file(place.path(labels)).unwrap();
    check_refused(&place, &[(DIGITS, &["train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"])]);
}

#[test]
fn a_backend_that_can_not_be_used_says_what_there_is() {
    let place = Place::new();
    check_refused(&place, &[("--device 7", &["flex", "`7`", "0: CPU"])]);
    check_refused(&place, &[("--device integrated", &["flex", "`integrated`", "0: CPU"])]);
    for backend in fireclay::Backend::ALL.iter().filter(|backend| !backend.is_compiled()) {
        let feature = format!("--features {backend}");
        let words: &[&str] = &["not compiled", &feature];
        check_refused(&place, &[(&format!("{DIGITS} --backend {backend}"), words)]);
    }
}

/// Drivers of the machine's graphics may print what they like, so that only part is checked.
#[cfg(target_os = "linux")]
#[test]
fn a_graphics_device_that_is_not_there_is_a_quick_error() {
    if !fireclay::Backend::Wgpu.is_compiled() {
        return;
    }
    let place = Place::new();
    let hide = [
        ("VK_ICD_FILENAMES", "/nonexistent"),
        ("VK_DRIVER_FILES", "/nonexistent"),
        ("VK_LOADER_DRIVERS_DISABLE", "*"),
        ("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent"),
        ("LIBGL_DRIVERS_PATH", "/nonexistent"),
    ];
    let check = |line: &str, environment: &[(&str, &str)], words: &[&str]| {
        let before = place.tree();
        let started = Instant::now();
        let mut command = place.command(&format!("{DIGITS} --backend wgpu {line}"));
        let outcome = Outcome::of(line, command.envs(environment.iter().copied()));
        assert!(started.elapsed() < Duration::from_secs(2), "{line}: {:?}", started.elapsed());
        assert_eq!((outcome.code, &*outcome.stdout), (Some(2), ""), "{}", outcome.stderr);
        let last = outcome.stderr.lines().last().unwrap();
        assert!(last.starts_with("error: backend wgpu has no device"), "{}", outcome.stderr);
        assert!(words.iter().all(|word| last.contains(word)), "{last}");
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        assert!(place.tree() == before, "{line} left something behind");
    };
    check("--device 99", &[], &["`99`"]);
    check("", &hide, &["none", "--backend flex"]);
    check("--device 0", &hide, &["`0`", "none"]);
}

#[test]
fn a_folder_that_can_not_be_written_is_named() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    let check = |out: &str| {
        let line = format!("{DIGITS} --epochs 1 --out {out}");
        check_refused(&place, &[(&line, &[out, "--out"])]);
    };
    check("file");
    check("file/below");
    if cfg!(target_os = "linux") {
        check("/proc/fireclay");
    }
}

#[test]
fn divergence_keeps_the_last_good_network() {
    let check = |line: &str, words: &[&str]| {
        let place = Place::new();
        let words = [words, &["learning rate", "runs/run/last-good.safetensors"]].concat();
        let outcome = place.train(&format!("{DIGITS} --name run {line}")).failed(&words);
        assert!(!outcome.stdout.contains("Saved in"), "{}", outcome.stdout);
        let run = place.run("run");
        let files = run.files();
        assert!(files.iter().any(|file| file == "last-good.safetensors"), "{line}: {files:?}");
        assert!(files.iter().all(|file| file != "model.safetensors"), "{line}: {files:?}");
        let good = run.model("last-good.safetensors").mlp.tensors().unwrap();
        assert!(good.iter().all(|t| t.values.iter().all(|value| value.is_finite())), "{line}");
        assert_eq!(run.split("test").len(), 0);
    };
    check("--optimizer sgd --lr 1e30", &["diverged", "step 2,", "epoch 1", "layers.", "1e30"]);
    check("--optimizer sgd --lr 1e300 --hidden 8,8 --batch-size 1", &["epoch 1", "layers."]);
    // The one step of the first epoch spoils the weights, and its own loss is still good.
    check("--optimizer sgd --lr 1e300 --batch-size 50 --epochs 3", &["layers.", "1e300"]);
    check("--optimizer sgd --lr 1e300 --batch-size 50 --epochs 1", &["layers.", "1e300"]);
    // Finite weights whose network overflows.
    check("--optimizer sgd --lr 1e38 --batch-size 50 --epochs 1", &["not finite", "1e38"]);
}

#[cfg(unix)]
#[test]
fn a_full_disk_fails_the_run_and_leaves_nothing_half_written() {
    let place = Place::new();
    // A limit on the size of a file fails writes as a full disk does, once its signal is ignored.
    let check = |blocks: u32, line: &str, words: &[&str], files: &[&str]| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let name = format!("limit-{blocks}");
        let line = format!("{DIGITS} --name {name} {line}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_train")]).args(line.split_whitespace());
        place.settle(&mut command);
        let outcome = Outcome::of(&line, &mut command).failed(words);
        assert!(!outcome.stdout.contains("Saved in"), "{}", outcome.stdout);
        let run = place.run(&name);
        assert_eq!(run.files(), files, "{line}");
        run.metrics();
    };
    let files = [".lock", "checkpoints", "config.toml", "manifest.json", "metrics.jsonl"];
    let words = ["runs/limit-8/checkpoints/step-", "File too large", "--resume runs/limit-8"];
    check(8, "--epochs 2", &words, &files);
    let words = ["runs/limit-9/model.safetensors", "File too large"];
    let files = [".lock", "config.toml", "manifest.json", "metrics.jsonl"];
    check(9, "--epochs 2 --checkpoint-every never", &words, &files);
    let words = ["runs/limit-7", "metrics.jsonl", "File too large"];
    check(7, "--epochs 100 --hidden none --checkpoint-every never", &words, &files);
}

#[test]
fn the_line_of_the_issue_just_works() {
    let place = Place::new();
    let line = "--hidden 300,100 --activation sigmoid --dropout 0.2 --optimizer sgd --momentum 0.9";
    let (run, stdout) = trained(&place, "run", line);
    assert!(stdout.contains("16-300-100-10 sigmoid"), "{stdout}");
    assert_eq!(run.config()["optimizer"]["momentum"], 0.9.into());
}

#[test]
fn every_choice_of_network_optimizer_and_schedule_trains() {
    let place = Place::new();
    let names = |all: &[&'static str], i: usize| all[i % all.len()];
    let norms: Vec<_> = Norm::ALL.iter().map(|choice| choice.name()).collect();
    let initializers: Vec<_> = Initializer::ALL.iter().map(|choice| choice.name()).collect();
    // 17 activations: all other lists go round in the meantime.
    assert!(Activation::ALL.len() >= initializers.len());
    for (i, activation) in Activation::ALL.iter().enumerate() {
        let choices = [
            ("model", "activation", activation.name()),
            ("model", "norm", names(&norms, i)),
            ("model", "initializer", names(&initializers, i)),
            ("optimizer", "name", names(&OptimizerConfig::NAMES, i)),
            ("schedule", "name", names(&Schedule::NAMES, i + i / 7)),
        ];
        let [(.., activation), (.., norm), (.., initializer), (.., optimizer), (.., schedule)] =
            choices;
        let line = format!(
            "--hidden 8,8 --residual --epochs 2 --activation {activation} --norm {norm} \
             --initializer {initializer} --optimizer {optimizer} --schedule {schedule}"
        );
        let (run, _) = trained(&place, &format!("run-{i}"), &line);
        let config = run.config();
        for (section, key, expected) in choices {
            assert_eq!(config[section][key], expected.into(), "{line}");
        }
    }
}

#[test]
fn every_flag_of_a_choice_reaches_it() {
    let place = Place::new();
    let cases = [
        ("--hidden none", "model", "hidden", toml::Value::Array(Vec::new())),
        ("--loss cross-entropy", "loss", "name", "cross-entropy".into()),
        ("--label-smoothing 0.1", "loss", "label_smoothing", 0.1.into()),
        ("--weight-decay 0.01", "optimizer", "weight_decay", 0.01.into()),
        ("--optimizer sgd --momentum 0.5 --nesterov", "optimizer", "nesterov", true.into()),
        ("--optimizer rmsprop --momentum 0.5", "optimizer", "momentum", 0.5.into()),
        ("--set optimizer.beta1=0.8", "optimizer", "beta1", 0.8.into()),
        ("--warmup-epochs 0.5", "schedule", "warmup_epochs", 0.5.into()),
        ("--preprocessing normalize", "data", "preprocessing", "normalize".into()),
        ("--preprocessing standardize", "data", "preprocessing", "standardize".into()),
        ("--preprocessing none --norm batch", "data", "preprocessing", "none".into()),
        ("--stratified", "data", "stratified", true.into()),
        ("--keep last", "training", "keep", "last".into()),
        ("--monitor accuracy --keep best", "training", "monitor", "accuracy".into()),
        ("--backend ndarray", "backend", "", "ndarray".into()),
    ];
    for (i, (line, section, key, expected)) in cases.into_iter().enumerate() {
        if line.contains("ndarray") && !fireclay::Backend::NdArray.is_compiled() {
            continue;
        }
        let (run, _) = trained(&place, &format!("run-{i}"), &format!("{line} --epochs 1"));
        let config = run.config();
        let found = if key.is_empty() { &config[section] } else { &config[section][key] };
        assert_eq!(*found, expected, "{line}");
    }
}

#[test]
fn a_validation_share_and_none_at_all() {
    let place = Place::new();
    let check = |share: &str, training: usize, validation: usize, words: &[&str]| {
        let name = format!("share-{share}");
        let line = format!("--data idx:digits --validation {share} --epochs 1 --name {name}");
        let outcome = place.train(&line).warned(words);
        let heading = format!("{training} training, {validation} validation and 20 test samples");
        assert!(outcome.stdout.contains(&heading), "{}", outcome.stdout);
        assert_eq!(outcome.stdout.contains("  val loss"), validation > 0, "{}", outcome.stdout);
        assert_eq!(place.run(&name).split("validation").is_empty(), validation == 0);
    };
    check("0", 60, 0, &[]);
    check("1", 59, 1, &["fewer rows (1) than there are classes (10)"]);
    check("59", 1, 59, &["there is nothing to tell apart"]);
    check("0.25", 45, 15, &[]);
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

    // Bits and not bytes.
    for part in ["train", "t10k"] {
        let path = place.path(&format!("digits/{part}-images-idx3-ubyte"));
        let mut images = fs::read(&path).unwrap();
        images[16..].iter_mut().for_each(|pixel| *pixel = u8::from(*pixel > 100));
        fs::write(&path, images).unwrap();
    }
    for (name, line, words) in [
        ("bits", "", &["divides them by 255"][..]),
        ("normalized", "--preprocessing normalize", &["divides them by 255"]),
        ("raw", "--preprocessing none", &[]),
    ] {
        warned(&place, name, &format!("--epochs 1 {line}"), words);
    }
    // Classes without rows: nothing has the last of these labels.
    fs::write(place.path("digits/labels.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nit's\n").unwrap();
    let line = "--epochs 1 --preprocessing none --loss cross-entropy \
                --set loss.class_weights=[1,1,1,1,1,1,1,1,1,1,3]";
    let words = ["no training row has class 'it'", "class_weights has a weight for class 'it'"];
    let line = format!("{line} --validation 11");
    place.train(&format!("--data idx:digits --name absent {line}")).warned(&words);
}

/// Root mean square of the differences.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
    (squares.sum::<f64>() / a.len() as f64).sqrt()
}

#[test]
fn accumulated_batches_are_one_large_batch() {
    let place = Place::new();
    let steps = "--optimizer sgd --lr 0.5 --epochs 3";
    let weights =
        |name: &str, line: &str| trained(&place, name, &format!("{steps} {line}")).0.weights();
    let large = weights("large", "--batch-size 20");
    let parts = weights("parts", "--batch-size 5 --accumulate 4");
    assert!(distance(&large, &parts) < 1e-6);
    assert!(distance(&large, &weights("small", "--batch-size 5")) > 1e-3);
}

#[test]
fn clipping_and_averaging_hold_the_weights_back() {
    let place = Place::new();
    let weights = |name: &str, line: &str| trained(&place, name, line).0.weights();
    let step = "--optimizer sgd --lr 1 --epochs 1 --batch-size 50";
    let initial = weights("initial", "--optimizer sgd --lr 1e-30 --epochs 1");
    let free = distance(&weights("free", step), &initial);
    let clipped = distance(&weights("clipped", &format!("{step} --clip-norm 0.001")), &initial);
    // One step of a gradient of norm 0.001, over all the weights.
    let expected = 0.001 / (initial.len() as f64).sqrt();
    assert!((clipped / expected - 1.0).abs() < 1e-2, "{clipped} against {expected}");
    assert!(free > 10.0 * clipped);
    let averaged = distance(&weights("averaged", &format!("{step} --ema 0.9")), &initial);
    assert!((averaged / free - 0.1).abs() < 1e-3, "{averaged} against {free}");
}

#[test]
fn patience_stops_early_and_the_best_epoch_is_kept() {
    let place = Place::new();
    // Nothing moves, so nothing improves after the first epoch.
    let still = "--optimizer sgd --lr 1e-30 --epochs 50 --batch-size 25";
    let (run, stdout) = trained(&place, "patient", &format!("{still} --patience 2"));
    let ending =
        "Stopped early for want of improvement.\nThe model is that of epoch 1, the best.\n";
    assert!(stdout.contains("epoch  3/50  "), "{stdout}");
    assert!(!stdout.contains("epoch  4/50"), "{stdout}");
    assert!(stdout.contains(ending), "{stdout}");
    assert_eq!(run.split("validation").len(), 3);
    assert_eq!((&run.test()["epoch"], &run.test()["step"]), (&1.into(), &2.into()));

    // Every epoch improves, but not by so much.
    let moving = "--epochs 20 --patience 2 --min-improvement 100";
    let (run, _) = trained(&place, "demanding", moving);
    assert_eq!(run.split("validation").len(), 3);

    // The last weights instead, and the sentence about stopping is a line of its own.
    let (_, stdout) = trained(&place, "last", &format!("{still} --patience 1 --keep last"));
    let line = stdout.lines().find(|line| line.starts_with("Stopped early")).unwrap();
    assert!(!line.contains("test loss"), "{line}");

    // The best of a run that gets worse: the epoch with the lowest validation loss.
    let worse = "--optimizer sgd --lr 20 --epochs 6 --keep best";
    let (run, stdout) = trained(&place, "worse", worse);
    let losses: Vec<f64> =
        run.split("validation").iter().map(|line| line["loss"].as_f64().unwrap()).collect();
    let best = 1 + (0..6).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
    assert!(
        stdout.contains(&format!("The model is that of epoch {best}, the best.")),
        "{losses:?}"
    );
    assert_eq!(run.test()["epoch"], best);
}

#[test]
fn some_classes_are_learned_alone() {
    let place = Place::new();
    let (run, said) = trained(&place, "some", "--classes 7,2,5 --stratified");
    assert!(said.starts_with("idx:digits: 8 training, 10 validation and 6 test samples"), "{said}");
    assert_eq!(run.model("model.safetensors").task.names(), ["2", "5", "7"]);
    check_refused(&place, &[(&format!("{DIGITS} --classes 2,x"), &["label `x`", "0, 1, 2"])]);
}

#[test]
fn a_profile_says_where_the_time_went_and_how_steps_are_made() {
    let place = Place::new();
    let (_, said) = trained(&place, "fused", "--profile");
    assert!(said.ends_with("A step is one fused operation.\n"), "{said}");
    for part in ["steps", "metrics", "validation", "checkpoints"] {
        assert!(said.contains(&format!("\n  {part} ")), "no {part} in:\n{said}");
    }
    let (_, said) = trained(&place, "separate", "--profile --dropout 0.1");
    assert!(said.contains("separate operations") && said.contains("there is dropout"), "{said}");
}

#[test]
fn drop_last_leaves_the_short_batch_out() {
    let place = Place::new();
    let steps = |name: &str, line: &str| {
        let line = format!("--batch-size 32 --epochs 2 {line}");
        trained(&place, name, &line).0.test()["step"].as_u64().unwrap()
    };
    assert_eq!(steps("kept", ""), 4);
    assert_eq!(steps("dropped", "--drop-last"), 2);
    // The short batch alone, not every batch of a step that is not full.
    assert_eq!(steps("accumulated", "--drop-last --accumulate 2"), 2);
}

#[test]
fn folders_may_have_any_name() {
    let place = Place::new();
    let check = |data: &str, out: &str| {
        write_digits(&place.path(data));
        let mut command = place.command("--validation 10 --epochs 1 --name größer");
        command.args(["--data", &format!("idx:{data}"), "--out", out]);
        let outcome = Outcome::of(out, &mut command).succeeded();
        assert!(outcome.stdout.contains(&format!("Saved in {out}/größer:")), "{}", outcome.stdout);
        let again = format!(" --repeat {}\n", train::quoted(&format!("{out}/größer")));
        assert!(outcome.stdout.contains(&again), "no{again} in {}", outcome.stdout);
        let config = place.path(out).join("größer/config.toml");
        let mut again = place.command("--dry-run");
        Outcome::of(out, again.arg("--config").arg(config)).succeeded();
    };
    check("my digits", "läufe von heute");
    check("a\"b'c=d", "it's 100 %");
}
