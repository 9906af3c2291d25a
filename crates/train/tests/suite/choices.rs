//! Every choice of network, optimizer, schedule and loop does what it says.

use std::fs;

use fireclay::{Activation, Initializer, Norm};
use train::optimizer::OptimizerConfig;
use train::schedule::Schedule;

use crate::program::{DIGITS, Place};
use crate::runs::{check_refused, trained, warned};

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
            ("schedule", "name", names(&Schedule::NAMES, i)),
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
    let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
    let ensemble = table("members = 3\naverage = \"softmax\"");
    let rates =
        table("biases = 0.5\nscaling = 1.0\nactivations = 1.0\ncategories = 1.0\nnumbers = 1.0");
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
        ("--parametrization ntk", "model", "parametrization", "ntk".into()),
        ("--members 3", "model", "ensemble", ensemble.into()),
        ("--numeric-embedding periodic", "embedding", "numbers", "periodic".into()),
        ("--embedding 4 --numeric-embedding periodic", "embedding", "categories", 4.into()),
        ("--set training.rates.biases=0.5", "training", "rates", rates.into()),
        ("--stratified", "data", "stratified", true.into()),
        ("--keep last", "training", "keep", "last".into()),
        ("--monitor accuracy --keep best", "training", "monitor", "accuracy".into()),
        ("--backend ndarray", "backend", "", "ndarray".into()),
    ];
    for (i, (line, section, key, expected)) in cases.into_iter().enumerate() {
        if line.contains("ndarray") && !fireclay::Backend::NdArray.is_compiled() {
            continue;
        }
        let words: &[&str] = match key {
            "monitor" => &["10 validation rows choose the epoch"],
            _ => &[],
        };
        let (run, _) = warned(&place, &format!("run-{i}"), &format!("{line} --epochs 1"), words);
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
    let still = "--optimizer sgd --lr 1e-30 --epochs 1";
    let initial = warned(&place, "initial", still, &["--lr is 1e-30"]).0.weights();
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
    let few = "10 validation rows choose the epoch";
    let line = format!("{still} --patience 2");
    let (run, stdout) = warned(&place, "patient", &line, &[few, "--lr is 1e-30"]);
    let ending = "Stopped early: the validation loss no longer improved.\n\
         The model is that of epoch 1, the best by validation loss.\n";
    assert!(stdout.contains("epoch  3/50  "), "{stdout}");
    assert!(!stdout.contains("epoch  4/50"), "{stdout}");
    assert!(stdout.contains(ending), "{stdout}");
    assert_eq!(run.split("validation").len(), 3);
    assert_eq!((&run.test()["epoch"], &run.test()["step"]), (&1.into(), &2.into()));

    // Every epoch improves, but not by so much.
    let moving = "--epochs 20 --patience 2 --min-improvement 100";
    let (run, _) = warned(&place, "demanding", moving, &[few]);
    assert_eq!(run.split("validation").len(), 3);

    // The last weights instead, and the sentence about stopping is a line of its own.
    let last = format!("{still} --patience 1 --keep last");
    let (_, stdout) = warned(&place, "last", &last, &["--lr is 1e-30"]);
    let line = stdout.lines().find(|line| line.starts_with("Stopped early")).unwrap();
    assert!(!line.contains("test loss"), "{line}");

    // The best of a run that gets worse: the epoch with the lowest validation loss.
    let worse = "--optimizer sgd --lr 20 --epochs 6 --keep best";
    let (run, stdout) = warned(&place, "worse", worse, &[few]);
    let losses: Vec<f64> =
        run.split("validation").iter().map(|line| line["loss"].as_f64().unwrap()).collect();
    let best = 1 + (0..6).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
    assert!(
        stdout
            .contains(&format!("The model is that of epoch {best}, the best by validation loss.")),
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
