//! Ensembles of models: their file, and predictions as the mean of their models'.

use std::collections::BTreeMap;

use fireclay_model::{
    Category, Committee, Decision, Description, Field, InputSpec, MlpConfig, Model,
    ModelFileProblem as Problem, Number, Prediction, Predictor, Provenance, TargetScaling, Task,
    Value,
};
use serde_json::json;

use crate::support::{forged, initial_weights};

/// An input of two columns, as two folds fit it: to other numbers, and to other categories.
fn inputs() -> [InputSpec; 2] {
    [(1.0, &["red", "blue"][..]), (4.0, &["red", "green", "blue"])].map(|(low, colours)| {
        let colours = Category::fit(colours.iter().map(|&colour| Some(colour)));
        let size = Number::fit([Some(low), Some(9.0)]);
        InputSpec::new(vec![Field::new("size", size), Field::new("colour", colours)]).unwrap()
    })
}

fn model(input: InputSpec, task: Task, factor: f32) -> Model {
    let architecture = MlpConfig::new([input.width()], [5], task.outputs()).architecture().unwrap();
    let mut weights = initial_weights(&architecture);
    weights.iter_mut().flat_map(|tensor| &mut tensor.values).for_each(|value| *value *= factor);
    let description = Description { architecture, task, input, provenance: Provenance::default() };
    Model { description, weights, encoded: BTreeMap::new() }
}

/// Two classifiers, of which the second is calibrated.
fn classifiers() -> Vec<Model> {
    let [first, second] = inputs();
    let temperature = Decision { temperature: Some(2.0), ..Decision::default() };
    let labels = vec!["no".to_owned(), "yes".to_owned()];
    let calibrated = Task::Classification { labels: labels.clone(), decision: temperature };
    vec![model(first, Task::classification(labels), 1.0), model(second, calibrated, -2.0)]
}

fn numbers(predictor: &Predictor, row: &[Value<'_>]) -> Vec<f32> {
    match predictor.predict_values(&["colour", "size"], &[row]).unwrap().remove(0) {
        Prediction::Class { distribution, .. } => distribution,
        Prediction::Labels { probabilities, .. } => probabilities,
        Prediction::Values { values, .. } => values,
    }
}

/// The prediction of a row is the mean of the models' predictions, and its spread their deviation.
#[track_caller]
fn check_mean(models: &[Model], row: &[Value<'_>]) {
    let committee = Committee::new(models.to_vec(), Provenance::default()).unwrap();
    let (bytes, _) = committee.to_bytes().unwrap();
    assert_eq!(Committee::from_source(&&bytes[..]).unwrap(), committee);
    let whole = Predictor::from_source(&&bytes[..]).unwrap();
    assert_eq!(whole.members(), 2);
    let each: Vec<Vec<f32>> =
        models.iter().map(|model| numbers(&Predictor::new(model.clone()).unwrap(), row)).collect();
    assert_ne!(each[0], each[1]);
    let spread = whole.spread_of_values(&["colour", "size"], &[row]).unwrap().unwrap();
    for (at, found) in numbers(&whole, row).into_iter().enumerate() {
        let (a, b) = (each[0][at], each[1][at]);
        let size = a.abs().max(b.abs()).max(1.0);
        assert!((found - (a + b) / 2.0).abs() < 1e-5 * size, "{found}: {a} and {b}");
        let deviation = (a - b).abs() / 2.0;
        assert!((spread[at] - deviation).abs() < 1e-5 * size, "{} {deviation}", spread[at]);
    }
}

#[test]
fn predictions_are_the_mean_of_the_models() {
    let row = [Value::Text("green"), Value::Number(2.5)];
    check_mean(&classifiers(), &row);
    let labels = || Task::multi_label(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    let [first, second] = inputs();
    check_mean(&[model(first, labels(), 1.0), model(second, labels(), -3.0)], &row);
    // Values are averaged in the unit of their target, whatever each model was scaled by.
    let [first, second] = inputs();
    let prices = |mean, logarithm| {
        let scaling = TargetScaling { mean: vec![mean], deviation: vec![2.0], logarithm };
        Task::regression(vec!["price".to_owned()]).with_scaling(Some(scaling))
    };
    check_mean(
        &[model(first, prices(3.0, true), 1.0), model(second, prices(4.0, true), -1.0)],
        &row,
    );
}

#[test]
fn rows_that_are_encoded_are_those_by_name() {
    let committee = Committee::new(classifiers(), Provenance::default()).unwrap();
    let input = committee.description().input;
    let widths = inputs().map(|input| input.width());
    assert_eq!(input.width(), widths.iter().sum::<usize>());
    assert_eq!(input.columns(), ["size", "colour"]);
    let whole = Predictor::of_committee(committee).unwrap();
    let rows = [[Value::Number(2.0), Value::Text("red")], [Value::Number(7.0), Value::Text("?")]];
    let encoded = input.encoder(&["size", "colour"]).unwrap().encode_rows(&rows).unwrap();
    let outputs = whole.outputs_of_encoded(&encoded).unwrap();
    let by_name = whole.predict_values(&["size", "colour"], &rows).unwrap();
    assert_eq!(whole.description().task.predictions(outputs), by_name);
    let missing = whole.predict_values(&["size"], &[[Value::Number(2.0)]]).unwrap_err();
    assert!(missing.to_string().contains("missing: \"colour\"; the model takes \"size\""));
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let problem = |models: Vec<Model>| match Committee::new(models, Provenance::default()) {
        Err(Problem::Member { member, problem }) => (member, problem),
        other => panic!("{other:?}"),
    };
    let [first, second] = <[Model; 2]>::try_from(classifiers()).unwrap();
    assert_eq!(problem(vec![first.clone()]).0, 1);
    let other = Task::classification(vec!["no".to_owned(), "maybe".to_owned()]);
    let other = model(second.description.input.clone(), other, 1.0);
    assert_eq!(problem(vec![first.clone(), other]), (1, "has another task than the first"));
    let size = second.description.input.fields()[..1].to_vec();
    let narrow = model(InputSpec::new(size).unwrap(), second.description.task.clone(), 1.0);
    assert_eq!(problem(vec![first, narrow]), (1, "takes other columns than the first"));
}

#[test]
fn files_that_are_no_ensemble_are_refused() {
    let committee = Committee::new(classifiers(), Provenance::default()).unwrap();
    let (bytes, _) = committee.to_bytes().unwrap();
    // Whatever needs one network says so.
    let error = Model::from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, Problem::Committee { members: 2 }), "{error}");
    fireclay_model::model_file::check(&&bytes[..]).unwrap();
    let problem = |change: fn(&mut serde_json::Value)| {
        Predictor::from_source(&&forged(&bytes, change)[..]).unwrap_err()
    };
    let old = problem(|document| document["version"] = json!(3));
    assert!(matches!(old, Problem::NotInVersion { version: 3, .. }), "{old}");
    let fewer = problem(|document| document["ensemble"] = json!([]));
    assert!(matches!(fewer, Problem::UnusedTensor { .. }), "{fewer}");
    let other = problem(|document| document["ensemble"][1]["task"]["labels"] = json!(["a", "b"]));
    assert!(matches!(other, Problem::Member { member: 1, .. }), "{other}");
    let run = problem(|document| document["ensemble"][0]["run"] = json!({}));
    assert!(run.to_string().contains("neither `run`"), "{run}");
    let nested = json!({ "version": 4, "ensemble": [] });
    let nested = forged(&bytes, |document| document["ensemble"][0] = nested.clone());
    let nested = Predictor::from_source(&&nested[..]).unwrap_err();
    assert!(matches!(nested, Problem::Committee { members: 0 }), "{nested}");
}
