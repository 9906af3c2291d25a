//! Models measured on data sets.

use fireclay::{Device, InputSpec, Loaded, Mlp, MlpConfig, Model, Preprocessing, Provenance, Task};
use fireclay_data::{DataError, Dataset, Features, Targets};
use fireclay_measure::{
    Comparison, EvaluateError, Evaluation, MatchError, Options, Scores, evaluate_outputs,
};

fn loaded(model: &Model) -> Loaded {
    Loaded::of(model).unwrap()
}

fn evaluate(model: &Model, data: &Dataset, options: &Options) -> Result<Evaluation, EvaluateError> {
    fireclay_measure::evaluate(&loaded(model), data, options)
}

fn compare(
    first: &Model,
    second: &Model,
    data: &Dataset,
    options: &Options,
) -> Result<Comparison, EvaluateError> {
    fireclay_measure::compare(&loaded(first), &loaded(second), [data, data], options)
}

fn names(labels: &[&str]) -> Vec<String> {
    labels.iter().map(ToString::to_string).collect()
}

fn model(task: Task, seed: u64) -> Model {
    let mlp =
        Mlp::init(&MlpConfig::new([6, 6], [17], task.outputs()), seed, &Device::flex()).unwrap();
    let provenance = Provenance::default();
    let input = InputSpec::dense(&mlp.architecture().input_shape, Preprocessing::PIXELS);
    Model { mlp, task, input, provenance }
}

fn classifier(labels: &[&str], seed: u64) -> Model {
    model(Task::classification(names(labels)), seed)
}

/// 103 rows of 6x6 pixels, of the classes 0, 1, 2, 0, …
fn data(labels: &[&str]) -> Dataset {
    let pixels = (0..103 * 36).map(|i| (i * i * 31 % 251) as u8).collect();
    let ids = (0..103).map(|row| row % labels.len() as u32).collect();
    let targets = Targets::Classes { ids, labels: names(labels) };
    Dataset::new(vec![6, 6], Features::Bytes(pixels), targets).unwrap()
}

fn accuracy(evaluation: &Evaluation) -> f64 {
    evaluation.measure("accuracy").unwrap().estimate.value
}

const LABELS: [&str; 3] = ["a", "b", "c"];

#[test]
fn the_batch_size_changes_nothing() {
    let narrow = (classifier(&LABELS, 1), data(&LABELS));
    let wide = Mlp::init(&MlpConfig::new([28, 28], [128, 100], 3), 1, &Device::flex()).unwrap();
    let input = InputSpec::dense(&[28, 28], Preprocessing::PIXELS);
    let wide = Model { mlp: wide, input, ..narrow.0.clone() };
    let pixels = (0..203 * 784).map(|i: usize| (i * i * 31 % 251) as u8).collect();
    let ids = (0..203).map(|row| row % 3).collect();
    let targets = Targets::Classes { ids, labels: names(&LABELS) };
    let pictures = Dataset::new(vec![28, 28], Features::Bytes(pixels), targets).unwrap();
    for (model, data) in [narrow, (wide, pictures)] {
        let with = |batch_size| {
            let options = Options { batch_size, resamples: 50, ..Options::default() };
            evaluate(&model, &data, &options).unwrap()
        };
        let whole = with(1000);
        assert_eq!((whole.rows, whole.worst.len()), (data.len(), 20));
        for size in [0, 1, 2, 7, 32, 102, 203] {
            assert_eq!(with(size), whole, "{size}");
        }
    }
}

#[test]
fn labels_are_matched_by_name() {
    let options = Options { resamples: 5, ..Options::default() };
    let model = classifier(&LABELS, 1);
    let in_order = evaluate(&model, &data(&LABELS), &options).unwrap();
    // The same rows with their classes listed in another order.
    let same = data(&LABELS).relabelled(&names(&["c", "a", "b"])).unwrap();
    assert_eq!(evaluate(&model, &same, &options).unwrap(), in_order);
    // Of data with fewer classes, the others have no rows.
    let fewer = evaluate(&model, &data(&["b", "c"]), &options).unwrap();
    let Scores::Classification(scores) = &fewer.scores else { panic!("{fewer:?}") };
    assert_eq!(scores.classes[0].support, 0);
    assert_eq!(scores.classes[1].support, 52);
}

#[test]
fn numbers_are_places() {
    let options = Options { resamples: 5, ..Options::default() };
    let numbered = classifier(&["0", "1", "2"], 1);
    let named = evaluate(&classifier(&LABELS, 1), &data(&LABELS), &options).unwrap();
    let found = evaluate(&numbered, &data(&LABELS), &options).unwrap();
    assert_eq!(accuracy(&found), accuracy(&named));
    let others = [
        (&LABELS, ["x", "b", "c"]),
        (&["5", "6", "7"], ["0", "1", "2"]),
        (&["0", "1", "2"], ["5", "6", "7"]),
    ];
    for (known, found) in others {
        let other = evaluate(&classifier(known, 1), &data(&found), &options);
        let Err(EvaluateError::Targets(MatchError::Labels { source, .. })) = other else {
            panic!("{known:?} and {found:?} are matched");
        };
        assert!(matches!(source, DataError::UnknownLabel { .. }));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let options = Options::default();
    let values = Targets::Values { values: vec![0.0; 2], names: names(&["y"]) };
    let numbers = Dataset::new(vec![36], Features::Bytes(vec![0; 72]), values.clone()).unwrap();
    let found = evaluate(&classifier(&LABELS, 1), &numbers, &options);
    assert!(matches!(
        found,
        Err(EvaluateError::Targets(MatchError::Task {
            found: "regression",
            expected: "classification"
        }))
    ));
    let narrow = Dataset::new(vec![5], Features::Bytes(vec![0; 10]), values).unwrap();
    let regression = model(Task::regression(names(&["y"])), 1);
    let found = evaluate(&regression, &narrow, &options);
    assert!(matches!(found, Err(EvaluateError::Features { found: 5, expected: 36 })));
    let other = model(Task::regression(names(&["z"])), 1);
    let found = evaluate(&other, &numbers, &options);
    assert!(matches!(found, Err(EvaluateError::Targets(MatchError::Names { .. }))));
    // Of several sigmoids for one class of many there is a way out.
    let labels = MatchError::Task { found: "classification", expected: "multi-label" };
    assert!(labels.to_string().contains("again with --task classification"), "{labels}");
}

#[test]
fn a_model_with_very_many_outputs_is_refused() {
    let task = Task::numbered_classes(30_000);
    let targets = Targets::Classes { ids: vec![0], labels: task.names().to_vec() };
    let found = evaluate_outputs(&task, &[0.0; 30_000], &targets, &Options::default());
    assert!(matches!(found, Err(EvaluateError::TooManyOutputs { found: 30_000, .. })), "{found:?}");
}

#[test]
fn a_model_that_gives_nan_is_refused() {
    let mut model = classifier(&LABELS, 1);
    let shape = &model.mlp.architecture().input_shape;
    model.input = InputSpec::dense(shape, Preprocessing::Scale { scale: f32::MAX });
    let found = evaluate(&model, &data(&LABELS), &Options::default());
    assert!(matches!(found, Err(EvaluateError::NotFinite { row: 0, .. })), "{found:?}");
}

#[test]
fn models_are_compared_row_by_row() {
    let options = Options { resamples: 50, ..Options::default() };
    let (a, b, data) = (classifier(&LABELS, 1), classifier(&LABELS, 2), data(&LABELS));
    let found = compare(&a, &b, &data, &options).unwrap();
    assert_eq!(found.first, evaluate(&a, &data, &options).unwrap());
    assert_eq!(found.second, evaluate(&b, &data, &options).unwrap());
    let test = found.mcnemar.unwrap();
    assert_eq!(test.both + test.only_first + test.only_second + test.neither, 103);
    assert_eq!((test.both + test.only_first) as f64 / 103.0, accuracy(&found.first));
    assert_eq!((test.both + test.only_second) as f64 / 103.0, accuracy(&found.second));
    assert!(found.largest_difference > 0.0 && !found.changed.is_empty());
    let same = compare(&a, &a, &data, &options).unwrap();
    assert_eq!((same.largest_difference, same.agreement.unwrap().value), (0.0, 1.0));
    assert_eq!((same.mcnemar.unwrap().p_value, same.changed.len()), (1.0, 0));
}
