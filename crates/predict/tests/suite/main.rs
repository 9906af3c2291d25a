//! Predictions of files, as a program that depends on the library makes them.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

use std::fs;
use std::path::Path;

use fireclay_model::{
    Category, Conformal, Decision, Description, Field, InputSpec, Intervals, MlpConfig, Model,
    NamedTensor, Number, NumberScaling, Prediction, Predictor, Preprocessing, Provenance, Task,
    initial_values, transpose,
};
use fireclay_predict::{
    Batch, Extra, Form, Heading, InputProblem, LoadError, PredictError, Predicting, Reading, Sheet,
    load,
};
use fireclay_tables::{Cell, Table, read};
use serde_json::Value;

/// A network with its initial weights.
fn model(input: InputSpec, width: usize, task: Task) -> Model {
    let architecture = MlpConfig::new([width], [5], task.outputs()).architecture().unwrap();
    let tensors = architecture.tensors().into_iter();
    let weights = tensors.map(|(path, shape)| {
        let values = initial_values(&architecture, 7, path);
        let values = match shape[..] {
            [outputs, _] => transpose(&values, outputs),
            _ => values,
        };
        NamedTensor { name: path.to_string(), shape, values }
    });
    let weights = weights.collect();
    let description = Description { architecture, task, input, provenance: Provenance::default() };
    Model { description, weights, encoded: Default::default() }
}

/// A classifier of rows of three numbers.
fn classifier() -> Model {
    model(InputSpec::dense(&[3], Preprocessing::None), 3, Task::numbered_classes(4))
}

/// All batches of a file with these bytes.
fn predicted(
    bytes: &[u8],
    predictor: &Predictor,
    reading: Reading,
) -> Result<Vec<Batch>, PredictError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    fs::write(&file, bytes).unwrap();
    Predicting::begin(&file, predictor, reading)?.collect()
}

#[test]
fn rows_are_predicted_in_batches_as_they_are_together() {
    let predictor = Predictor::new(classifier()).unwrap();
    let rows: Vec<[f32; 3]> = (0..5000).map(|i| [i as f32 / 50.0, 1.5, -(i as f32)]).collect();
    let mut table = "a,b,c\n".to_owned();
    for [a, b, c] in &rows {
        table += &format!("{a},{b},{c}\n");
    }
    let batches = predicted(table.as_bytes(), &predictor, Reading::default()).unwrap();
    assert_eq!(batches.iter().map(|batch| batch.first).collect::<Vec<_>>(), [0, 4096]);
    let found: Vec<&Prediction> = batches.iter().flat_map(|batch| &batch.predictions).collect();
    let expected = predictor.predict(&rows).unwrap();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
    let last = batches[1].answers(predictor.description()).last().unwrap();
    let json = Form { json: true, top_k: 2, ..Form::default() };
    let json: Value = serde_json::from_str(&last.line(&json)).unwrap();
    assert_eq!((&json["row"], json["top"].as_array().unwrap().len()), (&4999.into(), 2));
    let Prediction::Class { label, probability, .. } = &expected[4999] else { panic!("a class") };
    assert_eq!(json["label"], **label);
    let text = last.line(&Form::default());
    assert!(text.contains(&format!(" 4999  {label} {:.2} %", 100.0 * probability)), "{text}");
    let unsure = Form { abstain: Some(1.0), ..Form::default() };
    assert!(last.line(&unsure).contains("unsure"));
}

#[test]
fn the_class_of_a_threshold_is_answered_first() {
    let decision = Decision { thresholds: vec![1e-6], ..Decision::default() };
    let task = Task::Classification { labels: vec!["no".into(), "yes".into()], decision };
    let input = InputSpec::dense(&[3], Preprocessing::None);
    let predictor = Predictor::new(model(input, 3, task)).unwrap();
    let batches = predicted(b"a,b,c\n1,2,3\n-3,0.5,2\n", &predictor, Reading::default()).unwrap();
    let mut lower = 0;
    for answer in batches[0].answers(predictor.description()) {
        let Prediction::Class { label, probability, .. } = answer.prediction else { panic!() };
        assert_eq!(label, "yes");
        lower += usize::from(*probability < 0.5);
        let line = answer.line(&Form { top_k: 2, ..Form::default() });
        assert!(line.contains(&format!("  yes {:.2} %  no ", 100.0 * probability)), "{line}");
    }
    assert!(lower > 0, "one row is yes with less than a half");
}

#[test]
fn intervals_follow_their_value() {
    let conformal = Some(Conformal { level: 0.9, margins: vec![2.0] });
    let intervals = Intervals { quantiles: Vec::new(), conformal };
    let targets = vec!["price".to_owned()];
    let task = Task::Regression { targets, scaling: None, intervals };
    let input = InputSpec::dense(&[3], Preprocessing::None);
    let predictor = Predictor::new(model(input, 3, task)).unwrap();
    let batches = predicted(b"a,b,c\n1,2,3\n", &predictor, Reading::default()).unwrap();
    let answer = batches[0].answers(predictor.description()).next().unwrap();
    let Prediction::Values { values, intervals } = answer.prediction else { panic!() };
    let (value, [low, high]) = (values[0], intervals[0]);
    assert_eq!([low, high], [value - 2.0, value + 2.0]);
    let line = answer.line(&Form::default());
    assert!(line.contains(&format!("price {value} ({low} to {high})")), "{line}");
    let json: Value =
        serde_json::from_str(&answer.line(&Form { json: true, ..Form::default() })).unwrap();
    assert_eq!(json["level"], 0.9);
    assert_eq!(json["intervals"]["price"]["upper"].as_f64().unwrap() as f32, high);
}

/// The predictions of a file as CSV and as Parquet, read back.
fn sheets(predictor: &Predictor, bytes: &[u8]) -> [Table; 2] {
    let folder = tempfile::tempdir().unwrap();
    let batches = predicted(bytes, predictor, Reading::default()).unwrap();
    [("rows.csv", false), ("rows.parquet", true)].map(|(name, is_parquet)| {
        let path = folder.path().join(name);
        let file = fs::File::create(&path).unwrap();
        let form = Form { abstain: Some(0.9), ..Form::default() };
        let sheet = Sheet::begin(file, predictor.description(), is_parquet, Extra::default(), form);
        let mut sheet = sheet.unwrap();
        batches.iter().for_each(|batch| sheet.write(batch).unwrap());
        sheet.finish().unwrap();
        read(&path).unwrap().table
    })
}

#[test]
fn predictions_are_tables_of_both_formats() {
    let predictor = Predictor::new(classifier()).unwrap();
    let rows: Vec<[f32; 3]> = (0..5000).map(|i| [i as f32, -1.5, (i % 7) as f32]).collect();
    let lines = rows.iter().map(|[a, b, c]| format!("{a},{b},{c}\n"));
    let table = format!("a,b,c\n{}", lines.collect::<String>());
    let expected = predictor.predict(&rows).unwrap();
    let names = ["row", "label", "probability"].map(str::to_owned).into_iter();
    let names: Vec<String> = names.chain((0..4).map(|i| format!("probability of {i}"))).collect();
    for sheet in sheets(&predictor, table.as_bytes()) {
        assert_eq!((sheet.names(), sheet.rows()), (names.clone(), 5000));
        for (row, expected) in expected.iter().enumerate() {
            let Prediction::Class { label, probability, distribution, .. } = expected else {
                panic!()
            };
            let cells: Vec<Cell<'_>> =
                sheet.columns().iter().map(|column| column.cells.get(row)).collect();
            let is_sure = *probability >= 0.9;
            assert_eq!(cells[0].number(), Some(row as f64));
            assert_eq!(cells[1].text(), if is_sure { label.as_str() } else { "" });
            let numbers: Vec<f32> =
                cells[2..].iter().map(|cell| cell.number().unwrap() as f32).collect();
            assert_eq!(numbers, [&[*probability], &distribution[..]].concat());
        }
    }
}

#[test]
fn predicted_values_have_the_names_of_their_targets() {
    let intervals = Intervals {
        quantiles: Vec::new(),
        conformal: Some(Conformal { level: 0.9, margins: vec![2.0, 0.5] }),
    };
    let targets = vec!["price, $".to_owned(), "size".to_owned()];
    let task = Task::Regression { targets, scaling: None, intervals };
    let predictor = Predictor::new(model(InputSpec::dense(&[3], Preprocessing::None), 3, task));
    let names =
        ["row", "price, $", "price, $ lower", "price, $ upper", "size", "size lower", "size upper"];
    for sheet in sheets(&predictor.unwrap(), b"a,b,c\n1,2,3\n4,5,6\n") {
        assert_eq!(sheet.names(), names);
        let numbers = |row: usize| -> Vec<f64> {
            sheet.columns().iter().map(|column| column.cells.get(row).number().unwrap()).collect()
        };
        let [row, value, low, high, ..] = numbers(1)[..] else { panic!() };
        assert_eq!((row, (value - low).round(), (high - value).round()), (1.0, 2.0, 2.0));
    }
}

#[test]
fn problems_have_their_facts() {
    let predictor = Predictor::new(classifier()).unwrap();
    let problem = |bytes: &[u8], heading: Heading| {
        let reading = Reading { heading, ..Reading::default() };
        predicted(bytes, &predictor, reading).unwrap_err().problem
    };
    let wide = problem(b"1,2,3\n1,2,3,4\n", Heading::Auto);
    assert!(matches!(wide, InputProblem::Table(_)), "{wide}");
    assert!(matches!(problem(b"", Heading::Auto), InputProblem::Empty));
    let foreign = problem(b"%PDF-1.7 and more", Heading::Auto);
    assert!(matches!(foreign, InputProblem::Foreign(_)), "{foreign}");
    let idx = problem(&[0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 7], Heading::Auto);
    assert!(matches!(&idx, InputProblem::Width { row: Some(2), expected: 3, .. }), "{idx}");
    let gone = Predicting::begin(Path::new("gone.csv"), &predictor, Reading::default());
    let gone = gone.err().unwrap();
    assert!(gone.name == "gone.csv" && matches!(gone.problem, InputProblem::Stream(_)));
}

#[test]
fn a_row_of_named_columns_is_counted_over_all_batches() {
    let scaling = NumberScaling::Standardize { mean: 2.0, deviation: 4.0 };
    let size = Number { scaling, missing: false };
    let colour = Category::fit([Some("blue"), Some("red")]);
    let input = InputSpec::new(vec![Field::new("size", size), Field::new("colour", colour)]);
    let input = input.unwrap();
    let width = input.width();
    let task = Task::regression(vec!["price".to_owned()]);
    let predictor = Predictor::new(model(input, width, task)).unwrap();
    let table = "colour,size\n".to_owned() + &"red,1\n".repeat(5000);
    let batches = predicted(table.as_bytes(), &predictor, Reading::default()).unwrap();
    assert_eq!(batches.iter().map(|batch| batch.predictions.len()).sum::<usize>(), 5000);
    let broken = table + "red,big\n";
    let error = predicted(broken.as_bytes(), &predictor, Reading::default()).unwrap_err();
    assert!(
        error.problem.to_string().starts_with("row 5000, column \"size\""),
        "{}",
        error.problem
    );
}

#[test]
fn a_run_is_held_to_its_manifest() {
    let run = tempfile::tempdir().unwrap();
    let file = run.path().join("model.safetensors");
    let missing = load(run.path(), None);
    assert!(matches!(missing, Err(LoadError::NotInFolder { .. })), "{missing:?}");
    let digest = classifier().unwritten().save(&file).unwrap();
    assert!(load(run.path(), None).is_ok());
    let manifest = |digest: &str| {
        let text = format!(r#"{{"result": {{"model": "{digest}", "more": 1}}}}"#);
        fs::write(run.path().join("manifest.json"), text).unwrap();
    };
    manifest(&digest);
    assert!(load(run.path(), None).is_ok());
    manifest("sha256:0");
    let replaced = load(run.path(), None);
    assert!(matches!(replaced, Err(LoadError::Replaced { .. })), "{replaced:?}");
    // A file that was named itself may be meant.
    assert!(load(&file, None).is_ok());
    fs::write(run.path().join("manifest.json"), r#"{"result": nu"#).unwrap();
    let broken = load(run.path(), None).unwrap_err();
    let LoadError::Manifest { source, .. } = &broken else { panic!("{broken}") };
    assert!(source.to_string().contains("or name the model file"), "{source}");
    // Without the model the manifest tells why.
    fs::remove_file(&file).unwrap();
    let settings = r#""settings": {"tuning": {"phases": []}}"#;
    for (text, words) in [
        (r#"{"result": null}"#.to_owned(), "finish it with `fireclay train --resume"),
        (format!("{{{settings}}}"), "finish it with `fireclay finetune --resume"),
        (r#"{"result": {"model": "sha256:0"}}"#.to_owned(), "`fireclay train --repeat"),
    ] {
        fs::write(run.path().join("manifest.json"), text).unwrap();
        let missing = load(run.path(), None).unwrap_err().to_string();
        assert!(missing.contains(words), "{missing}");
    }
    let above = load(run.path().parent().unwrap(), None).unwrap_err().to_string();
    assert!(above.contains("is a folder without model.safetensors"), "{above}");
}
