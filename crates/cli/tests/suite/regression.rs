//! A regression from a folder of numbers to a page.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::Place;
use crate::support::{does, is_plain, json, lines};

/// Features of a row; `price` and `slope` are smooth functions of them, far from zero and small.
fn row(i: usize) -> ([f32; 3], [f32; 2]) {
    let x = [0, 1, 2].map(|k| ((i * (37 + 11 * k) + 13 * k) % 1009) as f32 / 504.0 - 1.0);
    let price = 5000.0 + 1000.0 * (x[0] + x[1] * x[2]);
    (x, [price, 0.01 * (x[1] - x[0])])
}

/// Writes 200 rows to train on and 50 to test with.
fn write_numbers(folder: &Path) {
    write_with(folder, |targets| targets);
}

/// The same rows with targets made of theirs.
fn write_with(folder: &Path, change: fn([f32; 2]) -> [f32; 2]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("labels.txt"), "price\nslope\n").unwrap();
    for (part, rows) in [("train", 0..200), ("test", 200..250)] {
        let (features, targets): (Vec<_>, Vec<_>) = rows.map(row).unzip();
        let targets: Vec<[f32; 2]> = targets.into_iter().map(change).collect();
        let write = |kind: &str, values: &[f32], columns: usize| {
            let sizes = [values.len() / columns, columns].map(|size| (size as u32).to_be_bytes());
            let values = values.iter().flat_map(|value| value.to_be_bytes());
            let bytes: Vec<u8> =
                [0, 0, 0x0D, 2].into_iter().chain(sizes.concat()).chain(values).collect();
            fs::write(folder.join(format!("{part}-{kind}-idx2-float")), bytes).unwrap();
        };
        write("features", features.as_flattened(), 3);
        write("targets", targets.as_flattened(), 2);
    }
}

pub(crate) const TRAIN: &str = "train --config numbers.toml";

/// Settings that each test changes as it needs.
const SETTINGS: &str = "\
[data]
source = \"idx:numbers\"
validation = 40
[model]
hidden = [16]
[optimizer]
learning_rate = 0.01
[training]
epochs = 30
";

pub(crate) fn place() -> Place {
    let place = Place::new();
    write_numbers(&place.path("numbers"));
    fs::write(place.path("numbers.toml"), SETTINGS).unwrap();
    place
}

fn value(found: &Value, name: &str) -> f64 {
    let measures = found["measures"].as_array().unwrap();
    let measure = measures.iter().find(|measure| measure["name"] == name);
    measure.unwrap()["estimate"]["value"].as_f64().unwrap()
}

#[test]
fn numbers_are_learnt_and_told_in_their_unit() {
    let place = place();
    let said = does(&place, &format!("{TRAIN} --name a --monitor rmse --patience 30"));
    for words in [
        "other metrics use the target's unit",
        " rmse ",
        "the best by validation rmse",
        "median-error",
    ] {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let run = place.run("a");
    let config = run.config();
    assert_eq!(config["data"]["target_scaling"].as_str(), Some("standardize"));
    assert_eq!(config["training"]["monitor"].as_str(), Some("rmse"));
    let test = run.test();
    for name in ["loss", "mae", "rmse", "r2", "median-error"] {
        assert!(test[name].is_f64(), "{name}: {test}");
    }

    let said = does(&place, "evaluate runs/a");
    is_plain(&said);
    for words in ["price", "slope", "median-error", "The loss is that of standardized targets"] {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let found = json(&place, "evaluate runs/a --json");
    assert!(value(&found, "r2") > 0.9, "{found}");
    for name in ["loss", "mae", "rmse", "r2", "median-error"] {
        let (evaluated, trained) = (value(&found, name), test[name].as_f64().unwrap());
        assert!(
            (evaluated - trained).abs() < 1e-4 * evaluated.abs(),
            "{name} {evaluated} {trained}"
        );
    }
    let prices = &found["evaluation"]["scores"]["targets"][0];
    let price_error = prices["mae"]["value"].as_f64().unwrap();
    assert!(price_error > 1.0 && price_error < 300.0, "{prices}");

    for (line, code, words) in [
        ("evaluate runs/a --max-rmse 1e6", 0, "met     rmse at most 1000000"),
        ("evaluate runs/a --max-rmse 0.001", 1, "NOT MET rmse at most 0.001"),
        ("evaluate runs/a --min-r2 0.5 --max-mae 1000", 0, "met     mae at most 1000"),
        ("evaluate runs/a --max median-error=0", 1, "NOT MET median-error at most 0"),
    ] {
        let outcome = place.train(line);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(code), ""), "{line}");
        assert!(outcome.stdout.contains(words), "{line}: {}", outcome.stdout);
    }
    place.train("evaluate runs/a --min-accuracy 0.5").refused(&["there is no metric `accuracy`"]);
}

#[test]
fn a_model_predicts_in_the_unit_of_its_targets() {
    let place = place();
    does(&place, &format!("{TRAIN} --name a -q --no-report --epochs 60"));
    let said = does(&place, "inspect runs/a/model.safetensors");
    for words in
        ["version 2", "regression: price, slope", "by mean and deviation: price", ", slope "]
    {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let (features, [price, slope]) = row(207);
    let text = features.map(|x| x.to_string()).join(",");
    fs::write(place.path("row.csv"), format!("{text}\n")).unwrap();
    let found = lines(&does(&place, "predict runs/a row.csv --json"));
    let values = ["price", "slope"].map(|name| found[0]["values"][name].as_f64().unwrap());
    assert!((values[0] - f64::from(price)).abs() < 400.0, "{values:?} {price}");
    assert!((values[1] - f64::from(slope)).abs() < 0.004, "{values:?} {slope}");
    // The rows of the folder itself.
    let found = lines(&does(&place, "predict runs/a numbers/test-features-idx2-float --json"));
    assert_eq!(found.len(), 50);

    does(&place, &format!("{TRAIN} --name b -q --seed 2 --tensorboard"));
    let said = does(&place, "compare runs/a runs/b");
    assert!(
        said.contains("median-error") && said.contains("the first model standardizes"),
        "{said}"
    );
    let page = fs::read_to_string(place.path("runs/b/report.html")).unwrap();
    for words in ["median error", "standardized targets", "Root mean squared error", "Targets"] {
        assert!(page.contains(words), "no `{words}` in the page");
    }
    let events = fs::read_dir(place.path("runs/b")).unwrap().flatten();
    let events = events.map(|entry| entry.path()).find(|path| {
        path.file_name().unwrap().to_string_lossy().starts_with("events.out.tfevents")
    });
    let events = fs::read(events.unwrap()).unwrap();
    let has = |tag: &[u8]| events.windows(tag.len()).any(|window| window == tag);
    assert!(has(b"rmse/validation") && has(b"median-error/test"));
}

#[test]
fn a_run_goes_on_and_is_repeated_with_its_scaling() {
    let place = place();
    let line = "--schedule plateau --set schedule.watch=monitor --monitor r2 --keep best -q";
    does(&place, &format!("{TRAIN} --name whole --no-report {line}"));
    does(&place, &format!("{TRAIN} --name part --no-report {line} --epochs 12"));
    does(&place, "train --resume part --epochs 30 -q --no-report");
    does(&place, "train --repeat whole --name again -q --no-report");
    let model = |name: &str| place.run(name).bytes("model.safetensors");
    assert!(model("part") == model("whole") && model("again") == model("whole"));
    // A rate that is halved until the run comes to an end.
    let line = "--optimizer sgd --lr 1e38 --hidden 8,8,8 --activation softplus --no-report \
                --on-divergence rollback:140 --checkpoint-every 1epoch";
    let train = |line: &str| place.train(line).warned(&["learning rate is 1e38"]);
    train(&format!("{TRAIN} {line} --name far --epochs 4"));
    train(&format!("{TRAIN} {line} --name near --epochs 2"));
    train("train --resume near --epochs 4 --no-report");
    train("train --repeat far --name further --no-report");
    assert!(place.run("far").model("model.safetensors").task.scaling().is_some());
    assert!(model("near") == model("far") && model("further") == model("far"));
    let told = |name: &str| place.run(name).bytes("metrics.jsonl");
    assert!(told("near") == told("far") && told("further") == told("far"));
}

#[test]
fn what_does_not_fit_is_refused_with_what_does() {
    let place = place();
    let train =
        |line: &str| place.train(&format!("train --data idx:numbers --validation 40 {line}"));
    train("--monitor accuracy")
        .refused(&["does not fit a regression task", "rmse, r2, median-error"]);
    train("--monitor rsme").refused(&["unknown metric `rsme`", "mae, rmse, r2"]);
    train("--metrics rmse").refused(&["measured in every run"]);
    train("--loss cross-entropy").refused(&["does not fit a regression task"]);
    let digits =
        |line: &str| place.train(&format!("train --data idx:digits --validation 10 {line}"));
    digits("--monitor rmse").refused(&["does not fit a classification task", "loss, accuracy"]);
    digits("--target-scaling none").refused(&["--target-scaling", "classification task"]);
    // Without scaling a network has to give thousands by itself, and its file is as it was before.
    does(&place, &format!("{TRAIN} --name plain --target-scaling none -q --no-report"));
    assert!(place.run("plain").model("model.safetensors").task.scaling().is_none());
    assert!(does(&place, "inspect runs/plain/model.safetensors").contains("version 1"));
}

/// A tenth of 200 rows is held out, since 5,000 would be more than a fifth of them.
#[test]
fn what_is_said_of_a_regression_is_true_of_it() {
    let place = place();
    let said = does(
        &place,
        "train --data idx:numbers --epochs 2 --norm rms --residual --hidden 4,4 --name a",
    );
    for words in ["180 training, 20 validation", "3-4-4-2 relu, rms norm, 1 skip connection, "] {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    assert!(said.contains("Next:") && !said.contains("mnist"), "{said}");
    assert_eq!(place.run("a").config()["data"]["validation"].as_float(), Some(0.1));
    let page = fs::read_to_string(place.path("runs/a/report.html")).unwrap();
    assert!(page.contains("2 regression targets"));
    assert!(page.contains("The rows with the largest loss, worst first"));
    let said = does(&place, "evaluate runs/a --worst 3");
    assert!(said.contains("worst row") && !said.contains("probability"), "{said}");
    let line = format!("{TRAIN} --no-report --patience 30 --min-improvement 1e6 --name b");
    let said = does(&place, &line);
    let words = "The model is that of epoch 1, the last that improved the validation loss by more than 1000000.";
    assert!(said.contains(words), "{said}");
    fs::write(place.path("row.csv"), "1,2,3\n").unwrap();
    for (line, words) in [
        ("train --data idx:numbers --label-smoothing 0.1", "--label-smoothing) is for classes"),
        ("train --data idx:numbers --classes price", "data is for regression; leave out"),
        (
            "train --data idx:numbers --validation 0 --monitor rmse",
            "--monitor rmse needs validation",
        ),
        ("predict runs/a/model.safetensors row.csv --top-k 2", "--top-k is for labels"),
    ] {
        place.train(line).failed(&[words]);
    }
}

#[test]
fn a_constant_target_is_warned_of_and_learnt() {
    let place = place();
    let folder = place.path("numbers");
    for (part, rows) in [("train", 200_u32), ("test", 50)] {
        let values = (0..rows).flat_map(|row| [row as f32 % 7.0, 3.5]);
        let values = values.flat_map(f32::to_be_bytes);
        let sizes = [rows, 2].map(u32::to_be_bytes).concat();
        let bytes: Vec<u8> = [0, 0, 0x0D, 2].into_iter().chain(sizes).chain(values).collect();
        fs::write(folder.join(format!("{part}-targets-idx2-float")), bytes).unwrap();
    }
    let outcome = place.train(&format!("{TRAIN} --name a --no-report"));
    let outcome = outcome.warned(&["the same value of slope"]);
    assert_eq!(outcome.code, Some(0));
    let model = place.run("a").model("model.safetensors");
    let scaling = model.task.scaling().unwrap();
    assert_eq!((scaling.mean[1], scaling.deviation[1]), (3.5, 1.0));
}

#[test]
fn a_tuned_model_keeps_the_scaling_of_outputs_that_it_keeps() {
    let place = place();
    does(&place, &format!("{TRAIN} --name base -q --no-report"));
    let base = place.run("base").model("model.safetensors").task;
    let tune = "finetune --from runs/base/model.safetensors --data idx:numbers --validation 40 --epochs 2 --no-report";
    let said = does(&place, &format!("{tune} --name kept"));
    assert!(said.contains("the scaling of its targets too"), "{said}");
    assert!(said.contains("on the test samples  rmse ") && said.contains("tuned"), "{said}");
    assert_eq!(place.run("kept").model("model.safetensors").task, base);
    let import = "finetune import runs/base/model.safetensors --to copy.safetensors";
    let said = does(&place, &format!("{import} --data idx:numbers"));
    assert!(said.contains("idx:numbers: 50 test samples, rmse "), "{said}");
    place.train(&format!("{tune} --target-scaling none --name no")).failed(&["--fresh-head"]);
    // Other rows have another mean, to which new outputs are fitted.
    let said = does(&place, &format!("{tune} --fresh-head --seed 9 --name fresh"));
    assert!(said.contains("standardized on the training rows"), "{said}");
    let fresh = place.run("fresh").model("model.safetensors").task;
    assert_ne!(fresh.scaling().unwrap().mean, base.scaling().unwrap().mean);
    // New names are new outputs, beside one that is kept with its own scaling.
    fs::write(place.path("numbers/labels.txt"), "cost\nslope\n").unwrap();
    let said = does(&place, &format!("{tune} --seed 9 --name mixed"));
    assert!(said.contains("weights kept of slope; these keep the scaling"), "{said}");
    let mixed = place.run("mixed").model("model.safetensors").task;
    let (mixed, base) = (mixed.scaling().unwrap(), base.scaling().unwrap());
    assert_eq!((mixed.mean[1], mixed.deviation[1]), (base.mean[1], base.deviation[1]));
    assert_eq!(mixed.mean[0], fresh.scaling().unwrap().mean[0]);
}

#[test]
fn adapters_and_teachers_know_of_the_scaling() {
    let place = place();
    does(&place, &format!("{TRAIN} --name base -q --no-report"));
    let tune = "finetune --from runs/base/model.safetensors --data idx:numbers --validation 40 --epochs 2 -q --no-report";
    does(&place, &format!("{tune} --lora rank=2 --name lora"));
    does(
        &place,
        "finetune merge --base runs/base/model.safetensors --adapter runs/lora/adapter.safetensors --to merged.safetensors -q",
    );
    let measured = |line: &str| {
        value(&json(&place, &format!("evaluate {line} --data idx:numbers --json")), "rmse")
    };
    let whole = measured("runs/lora");
    let beside = measured("runs/base --adapter runs/lora/adapter.safetensors");
    let merged = measured("merged.safetensors");
    assert_eq!(whole, beside);
    assert!((whole - merged).abs() < 1e-3 * whole, "{whole} {merged}");
    // A teacher whose targets are in another unit teaches the same.
    does(
        &place,
        &format!("{TRAIN} --name plain -q --no-report --target-scaling none --lr 0.05 --epochs 60"),
    );
    does(
        &place,
        &format!("{tune} --teacher runs/plain/model.safetensors --alpha 1 --name taught --lr 1e-4"),
    );
    let taught = measured("runs/taught");
    assert!(taught < 2.0 * measured("runs/base").max(measured("runs/plain")), "{taught}");
}

/// Fine-tunes `runs/base` on a folder.
fn tune(place: &Place, data: &str, line: &str) -> String {
    let from = "finetune --from runs/base/model.safetensors --validation 40 --no-report";
    does(place, &format!("{from} --data idx:{data} {line}"))
}

fn r2(place: &Place, run: &str) -> f64 {
    place.run(run).test()["r2"].as_f64().unwrap()
}

/// Standardized, targets in another unit are what the network was trained for.
#[test]
fn targets_in_another_unit_are_met_with_another_scaling() {
    let place = place();
    does(&place, &format!("{TRAIN} --name base -q --no-report"));
    let base = place.run("base").model("model.safetensors");
    // The first target in another unit, and the second as it was.
    write_with(&place.path("other"), |[price, slope]| [145.0 * price - 9000.0, slope]);
    let said = tune(&place, "other", "--epochs 2 --name other");
    assert!(said.contains("start, new scaling"), "{said}");
    let said: Vec<&str> = said.split_whitespace().collect();
    let said = said.join(" ");
    let words = "The head is kept: price, slope; the scaling is refitted to the new targets, which differ: \
                 price (mean 4968.1665, deviation 680.9628 before, ";
    assert!(said.contains(words) && !said.contains("slope (mean"), "{said}");
    let other = place.run("other").model("start.safetensors");
    assert_eq!(other.mlp.tensors().unwrap(), base.mlp.tensors().unwrap());
    let (before, after) = (base.task.scaling().unwrap(), other.task.scaling().unwrap());
    assert!((after.deviation[0] / before.deviation[0] - 145.0).abs() < 0.1, "{after:?}");
    assert_eq!(after.deviation[1], before.deviation[1]);
    tune(&place, "numbers", "--epochs 2 --name same -q");
    let (other, same) = (r2(&place, "other"), r2(&place, "same"));
    assert!(same > 0.9 && (other - same).abs() < 1e-3, "{other} {same}");
}

/// Targets that the network knows nothing of, in whatever scaling.
#[test]
fn a_head_that_knows_less_than_the_mean_starts_at_zero() {
    let place = place();
    does(&place, &format!("{TRAIN} --name base -q --no-report"));
    write_with(&place.path("turned"), |[price, slope]| [-price, -slope]);
    let said = tune(&place, "turned", "--epochs 1 --name turned");
    assert!(said.contains("its weights start at zero; its targets are standardized"), "{said}");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("and the mean of the targets one of 1.0"), "{said}");
    // Outputs of the mean explain nothing.
    let start = said.split("start, new head ").nth(1).unwrap();
    let r2: f64 = start.split(' ').nth(2).unwrap().parse().unwrap();
    assert!(r2.abs() < 0.1, "{said}");
}

#[test]
fn a_fresh_network_beside_a_tuned_one_is_that_of_the_program_that_trains() {
    let place = place();
    does(&place, &format!("{TRAIN} --name base -q --no-report"));
    write_with(&place.path("other"), |[price, slope]| [145.0 * price, 3.0 - slope]);
    tune(&place, "other", "--epochs 3 --baseline scratch --name a");
    let flags =
        "--data idx:other --validation 40 --hidden 16 --epochs 3 --lr 0.003 --schedule cosine";
    does(&place, &format!("train {flags} --name b -q --no-report"));
    let [scratch, fresh] = ["a-scratch", "b"].map(|run| place.run(run).bytes("model.safetensors"));
    assert!(scratch == fresh);
}

#[test]
fn rows_with_the_same_targets_are_replayed_beside_the_kept_head() {
    let place = place();
    does(&place, &format!("{TRAIN} --name base -q --no-report"));
    let said =
        tune(&place, "numbers", "--epochs 2 --replay 0.5 --replay-data idx:numbers --name a");
    for words in
        ["The head is kept: price, slope", "240 training", "the old task, idx:numbers", "r2"]
    {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    // Without replay a new unit leaves the old one to the old head.
    write_with(&place.path("other"), |[price, slope]| [145.0 * price, slope]);
    let said = tune(&place, "other", "--epochs 2 --replay-data idx:numbers --name b");
    assert!(said.contains("after, with the old head on the tuned body"), "{said}");
    fs::write(place.path("other/labels.txt"), "cost\nslope\n").unwrap();
    let line =
        "finetune --from runs/base/model.safetensors --data idx:other --validation 40 --replay 0.5";
    let refused = place.train(&format!("{line} --replay-data idx:numbers")).failed(&[
        "--replay: ",
        "regression of price, slope",
        "regression of cost, slope",
        "only classes can be joined",
    ]);
    assert!(!refused.stderr.contains("--head"), "{}", refused.stderr);
}

#[test]
fn targets_without_names_are_those_of_the_model_by_place() {
    let place = place();
    does(&place, &format!("{TRAIN} --name base -q --no-report"));
    let named = json(&place, "evaluate runs/base --json");
    fs::remove_file(place.path("numbers/labels.txt")).unwrap();
    let found = json(&place, "evaluate runs/base/model.safetensors --data idx:numbers --json");
    assert_eq!(value(&found, "rmse"), value(&named, "rmse"));
    let said = tune(&place, "numbers", "--epochs 1 --name a");
    assert!(said.contains("are matched by place"), "{said}");
    assert!(said.contains("The head is kept: price, slope"), "{said}");
    assert_eq!(place.run("a").model("model.safetensors").task.names(), ["price", "slope"]);
}

#[test]
fn labels_that_are_only_numbers_are_places_for_every_command() {
    let place = Place::new();
    let digits = "--data idx:digits --validation 10 --no-report -q";
    does(&place, &format!("train {digits} --hidden 16 --epochs 30 --lr 0.01 --name numbered"));
    let of_numbers = json(&place, "evaluate runs/numbered --json");
    // The numbers of the model are places, and the names those of the data.
    let names = ["nil", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    fs::write(place.path("digits/labels.txt"), names.join("\n")).unwrap();
    let model = "runs/numbered/model.safetensors";
    let of_names = json(&place, &format!("evaluate {model} --data idx:digits --json"));
    assert_eq!(value(&of_names, "accuracy"), value(&of_numbers, "accuracy"));
    let tune = "finetune --data idx:digits --validation 10 --no-report --epochs 1";
    let said = does(&place, &format!("{tune} --from {model} --name named"));
    assert!(said.contains("The head is kept: nil, one") && said.contains("by place"), "{said}");
    assert_eq!(place.run("named").model("model.safetensors").task.names(), names);
    let line = format!("compare {model} runs/named --data idx:digits --json");
    assert!(json(&place, &line)["comparison"].is_object());
    // Rename the outputs of a Fireclay model, and change nothing else.
    let import = "finetune import runs/numbered/model.safetensors --to words.safetensors";
    does(&place, &format!("{import} --labels digits/labels.txt --data idx:digits"));
    let base = place.run("numbered").model("model.safetensors");
    let renamed = fireclay::Model::load(place.path("words.safetensors"), &base.device()).unwrap();
    assert_eq!(renamed.task.names(), names);
    assert_eq!(renamed.mlp.tensors().unwrap(), base.mlp.tensors().unwrap());
    // Names that do not fit are refused before anything is written.
    fs::write(place.path("digits/labels.txt"), names.join("\n").replace("nine", "9")).unwrap();
    let line = format!("finetune import {model} --to late.safetensors --data idx:digits");
    place.train(&line).failed(&["--data idx:digits", "--labels FILE"]);
    assert!(!place.path("late.safetensors").exists());
    fs::write(place.path("few.txt"), "a\nb\n").unwrap();
    let line = format!("finetune import {model} --to late.safetensors --labels few.txt");
    place.train(&line).failed(&["2 lines", "10 outputs"]);
}
