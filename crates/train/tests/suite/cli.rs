//! The program as its users see it: exit codes, what it prints, and the files it leaves.

use std::process::{Command, Stdio};

use fireclay::Prediction;

use crate::program::{DIGITS, Outcome, Place, write_digits};
use crate::runs::{FILES, SAME, trained, warned};

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
    let names = ["top-2", "macro-precision", "macro-recall", "macro-f1", "macro-f0.5", "auroc"];
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
        let mut words = vec!["--lr is 1e-30"];
        words.extend((size > 50).then_some("larger than the training split of 50"));
        let (_, stdout) = warned(&place, name, &format!("{still} --batch-size {size}"), &words);
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

/// `train | head -1`: the reader goes away while the run continues.
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
fn divergence_keeps_the_last_good_network() {
    let check = |line: &str, words: &[&str]| {
        let place = Place::new();
        let words = [words, &["learning rate", "runs/run/last-good.safetensors"]].concat();
        let outcome = place.train(&format!("{DIGITS} -q --name run {line}")).failed(&words);
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
fn folders_may_have_any_name() {
    let place = Place::new();
    let check = |data: &str, out: &str| {
        write_digits(&place.path(data));
        let mut command = place.command("--validation 10 --epochs 1 --name größer");
        command.args(["--data", &format!("idx:{data}"), "--out", out]);
        let outcome = Outcome::of(out, &mut command).succeeded();
        assert!(outcome.stdout.contains(&format!("Saved in {out}/größer:")), "{}", outcome.stdout);
        let again = format!(" --repeat {}\n", fireclay_terminal::quoted(&format!("{out}/größer")));
        assert!(outcome.stdout.contains(&again), "no{again} in {}", outcome.stdout);
        let config = place.path(out).join("größer/config.toml");
        let mut again = place.command("--dry-run");
        Outcome::of(out, again.arg("--config").arg(config)).succeeded();
    };
    check("my digits", "läufe von heute");
    check("a\"b'c=d", "it's 100 %");
}
