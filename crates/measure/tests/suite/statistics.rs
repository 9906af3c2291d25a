//! The statistics of given outputs are those of scikit-learn (goldens/statistics.py).

use fireclay::{Decision, TargetScaling, Task};
use fireclay_data::Targets;
use fireclay_measure::{
    ClassScores, Estimate, Evaluation, Finding, Goals, Interval, McNemarMethod, Options, Scores,
    evaluate_outputs, evaluate_weighted, mcnemar,
};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../goldens/statistics.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|number| number as f32).collect()
}

fn labels(case: &Value) -> Vec<String> {
    serde_json::from_value(case["labels"].clone()).unwrap()
}

fn options(golden: &Value) -> Options {
    serde_json::from_value(golden["options"].clone()).unwrap()
}

#[track_caller]
fn assert_near(name: &str, found: f64, expected: f64) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error < 1e-12, "{name}: {found} is not {expected}");
}

#[track_caller]
fn assert_estimate(case: &Value, name: &str, found: Estimate) {
    assert_near(name, found.value, case["measures"][name].as_f64().unwrap());
    let ends = numbers(&case["intervals"][name]);
    // Where every draw gave the same, another interval is taken.
    if ends[0] == ends[1] && found.interval == Interval::Wilson {
        assert!(found.low < ends[0] || found.high > ends[1], "{name}: {found:?}");
        return;
    }
    assert_near(&format!("{name}, low"), found.low, ends[0]);
    assert_near(&format!("{name}, high"), found.high, ends[1]);
}

#[track_caller]
fn assert_measures(case: &Value, evaluation: &Evaluation) {
    for measure in evaluation.measures() {
        assert_estimate(case, &measure.name, measure.estimate);
    }
}

#[track_caller]
fn assert_classes(case: &Value, found: &[ClassScores]) {
    for (i, scores) in found.iter().enumerate() {
        let expected = |name: &str| case["classes"][name][i].as_f64().unwrap();
        let name = |score: &str| format!("{score} of {}", scores.label);
        assert_near(&name("precision"), scores.precision.value, expected("precision"));
        assert_near(&name("recall"), scores.recall.value, expected("recall"));
        assert_estimate(case, &format!("f1 {i}"), scores.f1);
        assert_near(&name("f1"), scores.f1.value, expected("f1"));
        assert_near(&name("support"), scores.support as f64, expected("support"));
    }
}

fn classification(golden: &Value) -> Evaluation {
    let case = &golden["classification"];
    let labels = labels(case);
    let ids = numbers(&case["targets"]).into_iter().map(|id| id as u32).collect();
    let task = Task::classification(labels.clone());
    let targets = Targets::Classes { ids, labels };
    evaluate_outputs(&task, &floats(&case["outputs"]), &targets, &options(golden)).unwrap()
}

#[test]
fn classes_are_measured_as_scikit_learn_does() {
    let golden = golden();
    let case = &golden["classification"];
    let found = classification(&golden);
    assert_eq!(found.measures().len(), 13);
    assert_measures(case, &found);
    let Scores::Classification(scores) = &found.scores else { panic!("{found:?}") };
    assert_classes(case, &scores.classes);
    assert_eq!(serde_json::to_value(&scores.confusion).unwrap(), case["confusion"]);
    assert_eq!(scores.accuracy.interval, Interval::Wilson);
    assert_eq!(found.loss.interval, Interval::Bootstrap);
    assert_eq!(scores.calibration.error.interval, Interval::Spread);
    let worst: Vec<f64> = found.worst.iter().map(|row| row.row as f64).collect();
    assert_eq!(worst, numbers(&case["worst"]));
}

#[test]
fn what_is_all_right_may_still_be_wrong_at_times() {
    let labels = vec!["a".to_owned(), "b".to_owned()];
    let task = Task::classification(labels.clone());
    let (ids, outputs): (Vec<u32>, Vec<[f32; 2]>) =
        (0..60).map(|row| if row % 2 == 0 { (0, [2.0, 0.0]) } else { (1, [0.0, 2.0]) }).unzip();
    let targets = Targets::Classes { ids, labels };
    let found = evaluate_outputs(&task, &outputs.concat(), &targets, &Options::default()).unwrap();
    let Scores::Classification(scores) = &found.scores else { panic!("{found:?}") };
    assert_eq!(scores.macro_average.f1.value, 1.0);
    assert_eq!(scores.macro_average.f1.low, scores.accuracy.low);
    let [first, _] = &scores.classes[..] else { panic!("{found:?}") };
    assert!(first.f1.low < 1.0 && first.f1.low > first.precision.low, "{first:?}");
    assert_eq!(first.f1.interval, Interval::Wilson);
}

#[test]
fn labels_are_measured_as_scikit_learn_does() {
    let golden = golden();
    let case = &golden["multi_label"];
    let labels = labels(case);
    let values = numbers(&case["targets"]).into_iter().map(|value| value as u8).collect();
    let task = Task::multi_label(labels.clone());
    let targets = Targets::MultiLabel { values, labels };
    let outputs = floats(&case["outputs"]);
    let found = evaluate_outputs(&task, &outputs, &targets, &options(&golden)).unwrap();
    assert_measures(case, &found);
    let Scores::MultiLabel(scores) = &found.scores else { panic!("{found:?}") };
    assert_classes(case, &scores.labels);
}

#[test]
fn numbers_are_measured_as_scikit_learn_does() {
    let golden = golden();
    let case = &golden["regression"];
    let names = labels(case);
    let task = Task::regression(names.clone());
    let targets = Targets::Values { values: floats(&case["targets"]), names };
    let outputs = floats(&case["outputs"]);
    let found = evaluate_outputs(&task, &outputs, &targets, &options(&golden)).unwrap();
    assert_measures(case, &found);
    let Scores::Regression(scores) = &found.scores else { panic!("{found:?}") };
    for (i, target) in scores.targets.iter().enumerate() {
        assert_estimate(case, &format!("mae {i}"), target.mae);
        assert_estimate(case, &format!("rmse {i}"), target.rmse);
        assert_estimate(case, &format!("r2 {i}"), target.r2);
        assert_estimate(case, &format!("median-error {i}"), target.median_error);
    }
}

#[test]
fn mcnemars_test_is_scipys() {
    for row in golden()["mcnemar"].as_array().unwrap() {
        let [first, second, p]: [f64; 3] = numbers(row).try_into().unwrap();
        let found = mcnemar(5, first as usize, second as usize, 7);
        assert_near(&format!("{first}, {second}"), found.p_value, p);
        assert_eq!(found.method == McNemarMethod::Exact, first + second < 25.0);
    }
}

#[test]
fn an_evaluation_is_read_as_it_was_written() {
    let found = classification(&golden());
    let text = serde_json::to_string(&found).unwrap();
    assert!(text.contains(r#""task":"classification""#));
    assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), found);
}

#[test]
fn two_classes_are_measured_at_their_threshold() {
    let golden = golden();
    let case = &golden["binary"];
    let labels = labels(case);
    let threshold = case["threshold"].as_f64().unwrap() as f32;
    let decision = Decision { thresholds: vec![threshold], ..Decision::default() };
    let task = Task::Classification { labels: labels.clone(), decision };
    let ids = numbers(&case["targets"]).into_iter().map(|id| id as u32).collect();
    let targets = Targets::Classes { ids, labels };
    let outputs = floats(&case["outputs"]);
    let found = evaluate_outputs(&task, &outputs, &targets, &options(&golden)).unwrap();
    assert_measures(case, &found);
    assert!(found.measure("auroc").is_some() && found.measure("average-precision").is_some());
}

#[test]
fn quantiles_are_measured_by_their_pinball_loss_and_coverage() {
    let golden = golden();
    let case = &golden["quantiles"];
    let names = labels(case);
    let deviation = floats(&case["deviation"]);
    let scaling = TargetScaling { mean: vec![0.0; 2], deviation, logarithm: false };
    let task = Task::regression(names.clone())
        .with_quantiles(numbers(&case["quantiles"]))
        .with_scaling(Some(scaling));
    let targets = Targets::Values { values: floats(&case["targets"]), names };
    let outputs = floats(&case["outputs"]);
    let found = evaluate_outputs(&task, &outputs, &targets, &options(&golden)).unwrap();
    assert_eq!(found.measures().len(), 7);
    assert_measures(case, &found);
}

#[test]
fn rows_count_as_much_as_they_weigh() {
    let golden = golden();
    let cases = golden["weighted"].as_array().unwrap();
    let kinds: [fn(Vec<String>) -> Task; 3] =
        [Task::classification, Task::multi_label, Task::regression];
    for (case, task) in cases.iter().zip(kinds) {
        let (names, values) = (labels(case), floats(&case["targets"]));
        let task = task(names.clone());
        let targets = match task {
            Task::Classification { .. } => {
                let ids = values.iter().map(|&id| id as u32).collect();
                Targets::Classes { ids, labels: names }
            }
            Task::MultiLabel { .. } => {
                let values = values.iter().map(|&value| value as u8).collect();
                Targets::MultiLabel { values, labels: names }
            }
            Task::Regression { .. } => Targets::Values { values, names },
        };
        let (outputs, weights) = (floats(&case["outputs"]), floats(&case["weights"]));
        let options = options(&golden);
        let found = evaluate_weighted(&task, &outputs, &targets, Some(&weights), &options).unwrap();
        for measure in found.measures() {
            if !["calibration-error", "top-2", "top-3"].contains(&measure.name.as_str()) {
                assert_estimate(case, &measure.name, measure.estimate);
            }
        }
        let ones = vec![1.0; weights.len()];
        let equal = evaluate_weighted(&task, &outputs, &targets, Some(&ones), &options).unwrap();
        assert_eq!(equal, evaluate_outputs(&task, &outputs, &targets, &options).unwrap());
        let doubled: Vec<f32> = weights.iter().map(|weight| 2.0 * weight).collect();
        let same = evaluate_weighted(&task, &outputs, &targets, Some(&doubled), &options).unwrap();
        for (found, expected) in same.measures().iter().zip(found.measures()) {
            assert_near(&found.name, found.estimate.value, expected.estimate.value);
        }
    }
}

#[test]
fn the_loss_of_logarithms_is_that_of_the_network() {
    let golden = golden();
    let case = &golden["logarithms"];
    let scaling = TargetScaling { mean: vec![2.0], deviation: vec![0.5], logarithm: true };
    let names = vec!["price".to_owned()];
    let task = Task::regression(names.clone()).with_scaling(Some(scaling));
    let targets = Targets::Values { values: floats(&case["targets"]), names };
    let outputs = floats(&case["outputs"]);
    let found = evaluate_outputs(&task, &outputs, &targets, &Options::of_numbers()).unwrap();
    assert_near("loss", found.loss.value, case["loss"].as_f64().unwrap());
}

#[test]
fn temperatures_have_the_lowest_loss() {
    let golden = golden();
    let names = |count: usize| (0..count).map(|name| name.to_string()).collect::<Vec<_>>();
    let [classes, several] = [0, 1].map(|at| &golden["temperatures"][at]);
    let ids = numbers(&classes["targets"]).into_iter().map(|id| id as u32).collect();
    let values = numbers(&several["targets"]).into_iter().map(|value| value as u8).collect();
    for (case, task, targets) in [
        (classes, Task::classification(names(3)), Targets::Classes { ids, labels: names(3) }),
        (several, Task::multi_label(names(2)), Targets::MultiLabel { values, labels: names(2) }),
    ] {
        let goals = Goals { calibrate: true, ..Goals::default() };
        let found = goals.decide(&task, &floats(&case["outputs"]), &targets, None).unwrap();
        let [Finding::Temperature { temperature, loss, error }] = found.findings[..] else {
            panic!("{found:?}")
        };
        let expected = case["temperature"].as_f64().unwrap();
        // The search of the reference ends where the loss no longer changes.
        assert!((f64::from(temperature) / expected - 1.0).abs() < 1e-6, "{temperature} {expected}");
        assert_eq!(found.task.decision().unwrap().temperature, Some(temperature));
        for (found, expected) in loss.into_iter().zip(numbers(&case["losses"])) {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
        assert!(loss[1] < loss[0] && error[1] < error[0], "{loss:?} {error:?}");
    }
}

#[test]
fn thresholds_are_the_best_for_their_goal() {
    let golden = golden();
    let case = &golden["thresholds"];
    let labels = vec!["no".to_owned(), "yes".to_owned()];
    let ids: Vec<u32> = numbers(&case["targets"]).into_iter().map(|id| id as u32).collect();
    let values = ids.iter().map(|&id| id as u8).collect();
    let one = vec!["yes".to_owned()];
    let logits = floats(&case["outputs"]);
    let pairs: Vec<f32> = logits.iter().flat_map(|&logit| [0.0, logit]).collect();
    let of_classes =
        (Task::classification(labels.clone()), Targets::Classes { ids, labels }, pairs);
    let of_labels =
        (Task::multi_label(one.clone()), Targets::MultiLabel { values, labels: one }, logits);
    for (task, targets, outputs) in [of_classes, of_labels] {
        for (goal, expected) in case["best"].as_object().unwrap() {
            let goals = Goals { threshold: Some(goal.parse().unwrap()), ..Goals::default() };
            let found = goals.decide(&task, &outputs, &targets, None).unwrap();
            let [Finding::Threshold { score, .. }] = found.findings[..] else {
                panic!("{found:?}")
            };
            let measured =
                evaluate_outputs(&found.task, &outputs, &targets, &Options::of_numbers()).unwrap();
            let scores = match &measured.scores {
                Scores::Classification(scores) => &scores.classes[1],
                Scores::MultiLabel(scores) => &scores.labels[0],
                Scores::Regression(_) => panic!("{measured:?}"),
            };
            let (precision, recall) = (scores.precision.value, scores.recall.value);
            let expected = expected.as_f64().unwrap();
            match goal.as_str() {
                // What is shown is what the goal is about; the best is the other of the two.
                "precision=0.8" => {
                    assert!(precision >= 0.8 && (score - precision).abs() < 1e-12);
                    assert_near(goal, recall, expected);
                }
                "recall=0.9" => {
                    assert!(recall >= 0.9 && (score - recall).abs() < 1e-12);
                    assert_near(goal, precision, expected);
                }
                goal => assert_near(goal, score, expected),
            }
        }
    }
}

#[test]
fn conformal_intervals_cover_new_rows_as_often_as_they_say() {
    let names = vec!["y".to_owned()];
    let task = Task::regression(names.clone());
    let noise = |row: u64| ((row * 2_654_435_761 % 1000) as f32 / 1000.0).powi(2) - 0.3;
    let rows = |range: std::ops::Range<u64>| {
        let values: Vec<f32> = range.map(noise).collect();
        (vec![0.0; values.len()], Targets::Values { values, names: names.clone() })
    };
    let (outputs, targets) = rows(0..400);
    let goals = Goals { interval: Some(0.9), ..Goals::default() };
    let decided = goals.decide(&task, &outputs, &targets, None).unwrap();
    let (outputs, targets) = rows(400..1000);
    let found = evaluate_outputs(&decided.task, &outputs, &targets, &Options::default()).unwrap();
    let coverage = found.measure("coverage").unwrap().estimate;
    assert!(coverage.low <= 0.9 && 0.9 <= coverage.high, "{coverage:?}");
    let found = evaluate_outputs(&task, &outputs, &targets, &Options::default()).unwrap();
    assert!(found.measure("coverage").is_none());
}
