//! Command lines, settings and data that cannot be: each says why, and leaves nothing behind.

use std::fs;
use std::time::{Duration, Instant};

use crate::program::{DIGITS, Outcome, Place};
use crate::runs::{check_refused, warned};

#[test]
fn slips_on_the_command_line_are_named() {
    let cases: &[(&str, &[&str])] = &[
        ("--backend felx", &["`felx`", "`flex`", "wgpu"]),
        ("--activation sigmod", &["'sigmod'", "'sigmoid'"]),
        ("--norm bach", &["'bach'", "'batch'"]),
        ("--initializer he-unifrom", &["'he-unifrom'", "'he-uniform'"]),
        ("--optimizer adm", &["'adm'", "adam"]),
        ("--schedule cosin", &["'cosin'", "cosine"]),
        ("--loss mes", &["'mes'", "mse"]),
        ("--keep bets", &["'bets'", "best"]),
        ("--recipe mnits", &["`mnits`", "mnist-small"]),
        ("--data mnits", &["`mnits`", "did you mean `mnist`"]),
        ("--data idx:", &["idx:FOLDER"]),
        ("--data rows.csv --target y", &["cannot use the table rows.csv"]),
        ("--data digits/train-images-idx3-ubyte", &["an IDX file", "its folder"]),
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
        ("--nesterov", &["`nesterov` (--nesterov)", "--optimizer NAME", "learning_rate, beta1"]),
        ("--optimizer adam --momentum 0.9", &["adam has no `momentum` (--momentum), it has"]),
        (
            "--loss mse --label-smoothing 0.1",
            &["loss mse has no `label_smoothing` (--label-smoothing); remove it"],
        ),
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
        ("--data idx:digits --validation 5000", &["5000", "60", "--validation"]),
        ("--data idx:digits --validation 60", &["60"]),
        ("--data idx:digits --validation 0.999", &["60"]),
        ("--data idx:digits --set data.validation=1.5", &["1.5"]),
        ("--data idx:digits --validation 0 --patience 2", &["validation", "early stopping"]),
        ("--data idx:digits --validation 0 --keep best", &["validation", "--keep best"]),
        (
            "--data idx:digits --validation 0 --monitor loss",
            &["--monitor loss needs validation samples; give --validation, or leave it out"],
        ),
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
    for metric in ["macro-precision", "macro-recall", "macro-f1", "auroc"] {
        let line = format!("{DIGITS} --metrics {metric}");
        check_refused(&place, &[(&line, &[metric, "class"])]);
    }
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
    check(images, |bytes| bytes.truncate(500), &["ends at byte 500", "cut off"]);
    check(images, |bytes| bytes.truncate(3), &["cut off"]);
    check(images, |bytes| bytes.clear(), &["cut off"]);
    check(images, |bytes| bytes.push(0), &["bytes follow"]);
    check(images, |bytes| bytes[0] = 0x89, &["starts with"]);
    check(images, |bytes| bytes[2] = 0x0b, &["element type"]);
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
