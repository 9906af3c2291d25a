//! The statistics of given outputs are those of scikit-learn (goldens/statistics.py).

use fireclay::Task;
use fireclay_data::Targets;
use fireclay_measure::{
    ClassScores, Estimate, Evaluation, Interval, McNemarMethod, Options, Scores, evaluate_outputs,
    mcnemar,
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
    assert_eq!(found.measures().len(), 11);
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
