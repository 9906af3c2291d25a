//! What a model decides by, from training to prediction: calibration, thresholds, intervals.

use std::fmt::Write;
use std::fs;

use fireclay::Task;

use crate::program::Place;
use crate::support::{does, json, lines};

/// Customers, a quarter of whom leave, more of them the older their contract is.
fn customers(rows: usize) -> String {
    let mut text = "age,plan,spent,left\n".to_owned();
    for i in 0..rows {
        let (age, noise) = ((i * 37) % 101, (i * 7919) % 211);
        let plan = ["basic", "full"][(i * 13) % 2];
        let leaves = 2 * age + 60 * ((i * 13) % 2) + noise > 380;
        let answer = if leaves { "yes" } else { "no" };
        writeln!(text, "{age},{plan},{}.25,{answer}", (i * 53) % 89).unwrap();
    }
    text
}

/// Prices that grow with a size, with errors in proportion to them.
fn prices(rows: usize, least: i64) -> String {
    let mut text = "size,room,price\n".to_owned();
    for i in 0..rows as i64 {
        let (size, noise) = ((i * 37) % 101, (i * 7919) % 200 - 100);
        let price = 100 + 10 * size + (100 + 10 * size) * noise / 400 + least;
        writeln!(text, "{size},{},{price}", (i * 53) % 7).unwrap();
    }
    text
}

fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("customers.csv"), customers(1000)).unwrap();
    fs::write(place.path("prices.csv"), prices(1000, 0)).unwrap();
    place
}

const CUSTOMERS: &str =
    "train --data customers.csv --target left --no-report --epochs 12 --lr 0.01 --validation 200";
const PRICES: &str =
    "train --data prices.csv --target price --no-report --epochs 12 --lr 0.01 --validation 200";

#[test]
fn a_classifier_is_calibrated_and_decides_by_its_threshold() {
    let place = place();
    let decision = "--calibrate --threshold recall=0.9 --class-weights balanced";
    let said = does(&place, &format!("{CUSTOMERS} {decision} --sampling balanced --name c"));
    for part in ["temperature ", "calibration error ", "threshold of \"yes\" "] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let run = place.run("c");
    let config = fs::read_to_string(run.path.join("config.toml")).unwrap();
    let loss = config.split("[loss]").nth(1).unwrap();
    assert!(
        loss.contains("class_weights = [") && !config.contains("\"balanced\"\nclass"),
        "{config}"
    );
    let model = run.model("model.safetensors");
    let Task::Classification { labels, decision } = &model.task else { panic!("{:?}", model.task) };
    assert_eq!(labels, &["no", "yes"]);
    assert!(decision.temperature.is_some_and(|t| t != 1.0), "{decision:?}");
    let threshold = f64::from(decision.thresholds[0]);
    assert!(model.provenance.metrics.contains_key("validation loss after calibration"));

    let answers = lines(&does(&place, "predict runs/c customers.csv --top-k 2 --json"));
    assert_eq!(answers.len(), 1000);
    for answer in &answers {
        let top = answer["top"].as_array().unwrap();
        let yes = top.iter().find(|one| one["label"] == "yes").unwrap();
        let expected = if yes["probability"].as_f64().unwrap() >= threshold { "yes" } else { "no" };
        assert_eq!((&answer["label"], &top[0]["label"]), (&expected.into(), &expected.into()));
    }
    // The test rows alone, as training measured them.
    let measured = json(&place, "evaluate runs/c --json");
    let accuracy = measured["evaluation"]["scores"]["accuracy"]["value"].as_f64().unwrap();
    assert!((accuracy - model.provenance.metrics["test accuracy"]).abs() < 1e-6, "{measured}");
    let loss = measured["evaluation"]["loss"]["value"].as_f64().unwrap();
    // Training weighs the classes.
    assert!(loss > 0.0 && measured["evaluation"]["scores"]["ranking"]["auroc"].is_object());
    let inspected = does(&place, "inspect runs/c");
    assert!(inspected.contains("temperature ") && inspected.contains("yes from "), "{inspected}");
    let repeated = does(&place, "train --repeat c --name again --no-report");
    assert!(repeated.contains("The model is identical"), "{repeated}");
}

#[test]
fn a_regression_predicts_intervals_in_the_unit_of_its_target() {
    let place = place();
    let learned = "--quantiles 0.1,0.5,0.9 --interval 0.9 --target-transform log --name p";
    let said = does(&place, &format!("{PRICES} {learned}"));
    assert!(
        said.contains("intervals of 90 %, from the errors of 200 validation samples"),
        "{said}"
    );
    let task = place.run("p").model("model.safetensors").task;
    assert!(task.is_logarithmic() && task.outputs() == 3, "{task:?}");
    let answers = lines(&does(&place, "predict runs/p prices.csv --json"));
    let text = prices(1000, 0);
    let truth = text.lines().skip(1).map(|line| line.rsplit_once(',').unwrap().1.parse::<f64>());
    let mut within = 0;
    for (answer, truth) in answers.iter().zip(truth) {
        let (value, bounds) = (answer["values"]["price"].as_f64(), &answer["intervals"]["price"]);
        let [lower, upper] = ["lower", "upper"].map(|end| bounds[end].as_f64().unwrap());
        assert!(0.0 < lower && lower <= value.unwrap() && value.unwrap() <= upper, "{answer}");
        let truth = truth.unwrap();
        within += usize::from(lower <= truth && truth <= upper);
    }
    assert!((850..=950).contains(&within), "{within} of 1000");
    let measured = json(&place, "evaluate runs/p --json");
    let scores = &measured["evaluation"]["scores"];
    assert_eq!(scores["intervals"]["level"], 0.9);
    let coverage = &scores["intervals"]["coverage"];
    assert!(coverage["low"].as_f64() <= Some(0.9) && coverage["high"].as_f64() >= Some(0.9));
    assert!(scores["rmse"]["value"].as_f64().unwrap() > 10.0, "in the unit: {scores}");
    let line = does(&place, "predict runs/p prices.csv").lines().next().unwrap().to_owned();
    assert!(line.contains("price ") && line.contains(" to "), "{line}");
    let inspected = does(&place, "inspect runs/p");
    assert!(inspected.contains("natural logarithms") && inspected.contains("90 %"), "{inspected}");
    let repeated = does(&place, "train --repeat p --name again --no-report");
    assert!(repeated.contains("The model is identical"), "{repeated}");
}

#[test]
fn a_goal_out_of_reach_is_said_and_leaves_one_half() {
    let place = place();
    // Of a label that each row of features has and has not.
    let mut text = "x,y\n".to_owned();
    (0..400).for_each(|i| writeln!(text, "{},{}", i % 7, ["a", "b"][(i / 7) % 2]).unwrap());
    fs::write(place.path("noise.csv"), text).unwrap();
    let line = "train --data noise.csv --target y --no-report --epochs 2 --validation 100 \
                --threshold precision=1 --name n";
    place.train(line).warned(&[
        "validation rows that are training rows too, features and target: 100 of 100",
        "test rows that are training rows too, features and target: 80 of 80",
        "no threshold of \"b\" meets precision=1 on the validation samples; it stays 0.5",
    ]);
    let task = place.run("n").model("model.safetensors").task;
    assert_eq!(task.decision().unwrap().thresholds, [0.5]);
}

#[test]
fn what_cannot_be_chosen_or_learned_is_refused_before_training() {
    let place = place();
    fs::write(place.path("signed.csv"), prices(100, -200)).unwrap();
    let signed = "train --data signed.csv --target price --no-report";
    for (line, said) in [
        (format!("{CUSTOMERS} --interval 0.9"), &["--interval", "classification"][..]),
        (format!("{PRICES} --calibrate"), &["--calibrate", "regression"]),
        (format!("{PRICES} --threshold f1"), &["--threshold", "regression"]),
        (format!("{CUSTOMERS} --threshold f2"), &["f2", "balanced"]),
        (format!("{} --calibrate", CUSTOMERS.replace("200", "0")), &["validation samples"]),
        (format!("{PRICES} --interval 0.999"), &["at least 999", "are 200"]),
        (format!("{CUSTOMERS} --class-weights yess=2"), &["yess", "did you mean `yes`?"]),
        (format!("{PRICES} --class-weights balanced"), &["--class-weights", "regression"]),
        (format!("{CUSTOMERS} --sampling weighted"), &["--sampling weighted", "weights"]),
        (format!("{CUSTOMERS} --target-transform log"), &["--target-transform", "classification"]),
        (format!("{PRICES} --quantiles 0.9,0.1"), &["rising order"]),
        (format!("{CUSTOMERS} --loss quantile"), &["quantile", "classification"]),
        (format!("{signed} --target-transform log"), &["logarithm", "above 0"]),
    ] {
        place.train(&line).refused(said);
    }
    assert!(!place.path("runs").exists());
}

/// The adapter of a tuned model has what the model decides by, and a model that is tuned again does not
/// keep what was chosen for the one before.
#[test]
fn tuned_models_have_decisions_of_their_own() {
    let place = place();
    let line = format!("{CUSTOMERS} --calibrate --threshold f1 --name base");
    does(&place, &line.replace("--epochs 12", "--epochs 4"));
    let tune = "finetune --from runs/base/model.safetensors --data customers.csv --target left \
                --no-report --epochs 2 --validation 200 --lora rank=2";
    does(&place, &format!("{tune} --threshold balanced --name tuned"));
    let task = place.run("tuned").model("model.safetensors").task;
    let decision = task.decision().unwrap();
    assert!(decision.temperature.is_none() && decision.thresholds.len() == 1, "{decision:?}");
    let whole = does(&place, "predict runs/tuned customers.csv --json");
    let line = "predict runs/tuned/base.safetensors customers.csv --json \
                --adapter runs/tuned/adapter.safetensors";
    assert_eq!(lines(&does(&place, line)), lines(&whole));
    does(&place, &format!("{tune} --name plain"));
    let task = place.run("plain").model("model.safetensors").task;
    assert_eq!(task, task.clone().undecided());
}

#[test]
fn weights_of_a_column_count_in_training_and_evaluation() {
    let place = place();
    let weighted = |text: String| {
        let mut lines = text.lines().enumerate();
        let (_, heading) = lines.next().unwrap();
        let rows = lines.map(|(i, line)| format!("{line},{}\n", (i * 31 % 5) as f32 / 2.0));
        format!("{heading},weight\n") + &rows.collect::<String>()
    };
    fs::write(place.path("weighted.csv"), weighted(prices(1000, 0))).unwrap();
    let line = PRICES.replace("prices.csv", "weighted.csv") + " --weight weight";
    for sampling in ["shuffle", "weighted"] {
        does(&place, &format!("{line} --sampling {sampling} --name {sampling}"));
        let model = place.run(sampling).model("model.safetensors");
        let measured = json(&place, &format!("evaluate runs/{sampling} --json"));
        let loss = measured["evaluation"]["loss"]["value"].as_f64().unwrap();
        let of_run = model.provenance.metrics["test loss"];
        assert!((loss - of_run).abs() < 1e-5 * loss, "{loss} {of_run}");
        let repeated =
            does(&place, &format!("train --repeat {sampling} --name {sampling}-2 --no-report"));
        assert!(repeated.contains("The model is identical"), "{repeated}");
    }
}
