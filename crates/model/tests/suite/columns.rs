//! Models of named columns: their file, and predictions from rows by name.

use std::collections::BTreeMap;
use std::num::NonZero;

use fireclay_model::{
    Boolean, Category, Dense, Description, Field, InputError, InputSpec, MlpConfig, Model,
    ModelFileProblem as Problem, Number, Prediction, Predictor, Preprocessing, Provenance,
    RowError, Task, Value,
};
use serde_json::json;

use crate::support::{forged, initial_weights};

const COLUMNS: [&str; 3] = ["size", "colour", "pixels"];

fn input() -> InputSpec {
    let size = Number::fit([Some(1.0), Some(2.0), Some(6.0), None]);
    let colour = Category::fit([Some("red"), Some("blue"), None]);
    let pixels = Dense {
        shape: vec![2],
        preprocessing: Preprocessing::PIXELS,
        pictures: None,
        sounds: None,
    };
    InputSpec::new(vec![
        Field::new("size", size),
        Field::new("colour", colour),
        Field::new("pixels", pixels),
    ])
    .unwrap()
}

fn model(input: InputSpec) -> Model {
    let architecture = MlpConfig::new([input.width()], [5], 3).architecture().unwrap();
    let weights = initial_weights(&architecture);
    let (task, provenance) = (Task::numbered_classes(3), Provenance::default());
    let description = Description { architecture, task, input, provenance };
    Model { description, weights, encoded: BTreeMap::new() }
}

fn distribution(prediction: &Prediction) -> &[f32] {
    match prediction {
        Prediction::Class { distribution, .. } => distribution,
        other => panic!("{other:?}"),
    }
}

#[test]
fn columns_are_found_by_name_and_encoded_as_they_were_fitted() {
    let model = model(input());
    let predictor = Predictor::new(model.clone()).unwrap();
    let row = [Value::Number(6.0), Value::Text("blue"), Value::Dense(&[0.0, 255.0])];
    let by_name = predictor.predict_values(&COLUMNS, &[row]).unwrap();
    // The same numbers, encoded by hand, through the same network without any encoding.
    let deviation = (14.0f64 / 3.0).sqrt();
    let encoded = [(3.0 / deviation) as f32, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let mut bare = model;
    bare.description.input = InputSpec::dense(&[7], Preprocessing::None);
    let bare = Predictor::new(bare).unwrap().predict(&[encoded]).unwrap();
    assert_eq!(by_name, bare);
    // In another order, beside columns that the model does not take.
    let columns = ["pixels", "weather", "colour", "size"];
    let others = [Value::Dense(&[0.0, 255.0]), Value::Text("rain"), row[1], row[0]];
    assert_eq!(predictor.predict_values(&columns, &[others]).unwrap(), by_name);
    let missing = [Value::Missing, Value::Missing, Value::Dense(&[0.0, 255.0])];
    let missing = predictor.predict_values(&COLUMNS, &[missing]).unwrap();
    assert_ne!(distribution(&missing[0]), distribution(&by_name[0]));
}

#[test]
fn rows_of_a_dense_input_are_the_same_by_name() {
    let mut dense = model(input());
    dense.description.input =
        InputSpec::dense(&[7], Preprocessing::Normalize { scale: 2.0, mean: 1.0, deviation: 3.0 });
    let predictor = Predictor::new(dense).unwrap();
    let row = [0.5, 1.0, -2.0, 3.0, 0.0, 0.25, 7.0];
    let by_name = predictor.predict_values(&[InputSpec::FEATURES], &[[Value::Dense(&row)]]);
    assert_eq!(by_name.unwrap(), predictor.predict(&[row]).unwrap());
}

#[test]
fn rows_without_names_are_refused() {
    let predictor = Predictor::new(model(input())).unwrap();
    let row = [0.0; 7];
    let named = |error: RowError| matches!(error, RowError::Named { fields } if fields == COLUMNS);
    assert!(named(predictor.predict(&[row]).unwrap_err()));
    assert!(named(predictor.outputs(&row, NonZero::<usize>::MIN).unwrap_err()));
    assert!(named(predictor.session().outputs(&row).unwrap_err()));
    let missing = predictor.predict_values(&["size"], &[[Value::Missing]]).unwrap_err();
    assert!(matches!(missing, InputError::MissingColumns { missing, .. } if missing.len() == 2));
}

#[test]
fn a_file_keeps_the_columns() {
    let model = model(input());
    let bytes = model.unwritten().to_bytes().unwrap().0;
    assert_eq!(Model::from_bytes(&bytes).unwrap(), model);
    let document = document(&bytes);
    assert_eq!(document["version"], 2);
    assert_eq!(
        document["input"]["fields"][1],
        json!({"name": "colour", "takes": {"kind": "category", "values": ["blue", "red"], "missing": true}})
    );
    assert!(document.get("preprocessing").is_none());
}

#[test]
fn files_with_an_input_that_cannot_be_are_refused() {
    let bytes = model(input()).unwritten().to_bytes().unwrap().0;
    let fields = "/input/fields";
    for (place, lie, expected) in [
        ("/input", json!({"fields": []}), "no field"),
        ("/input/fields/0/name", json!("colour"), "two fields"),
        ("/input/fields/0/takes/deviation", json!(-1.0), "the deviation is -1"),
        ("/input/fields/0/takes/kind", json!("sound"), "unknown variant"),
        (
            "/input/fields/0/takes",
            json!({"kind": "number", "mean": 0.0, "deviation": 1.0}),
            "missing field",
        ),
        ("/input/fields/1/takes/values", json!(["red", "blue"]), "not sorted"),
        ("/input/fields/1/takes/values", json!(["a", "b", "c"]), "shape [8]"),
        ("/input/fields/1/takes/values", json!([]), "has no categories"),
        ("/input/fields/2/takes/shape", json!([usize::MAX, 2]), "impossible shape"),
    ] {
        let forged = forged(&bytes, |document| *document.pointer_mut(place).unwrap() = lie.clone());
        let problem = Model::from_bytes(&forged).unwrap_err().to_string();
        assert!(problem.contains(expected), "{place}: {problem}");
    }
    for place in [fields, "/input/fields/0/takes", "/input/fields/0", "/input"] {
        let forged = forged(&bytes, |document| {
            let mut part = document.pointer_mut(place).unwrap();
            if part.is_array() {
                part = &mut part[0];
            }
            part["further"] = json!(1);
        });
        let problem = Model::from_bytes(&forged).unwrap_err().to_string();
        assert!(problem.contains("unknown field `further`"), "{place}: {problem}");
    }
    for change in [
        |document: &mut serde_json::Value| document["preprocessing"] = json!({"kind": "none"}),
        |document: &mut serde_json::Value| drop(document.as_object_mut().unwrap().remove("input")),
    ] {
        let problem = Model::from_bytes(&forged(&bytes, change)).unwrap_err();
        assert!(matches!(&problem, Problem::Document(_)), "{problem}");
        assert!(problem.to_string().contains("either `preprocessing`"), "{problem}");
    }
}

/// A program of version 2 would not know such a field, so no file has it under that number.
#[test]
fn version_3_is_for_what_version_2_does_not_have() {
    let fields = vec![Field::new("paid", Boolean { missing: true })];
    let model = model(InputSpec::new(fields).unwrap());
    let bytes = model.unwritten().to_bytes().unwrap().0;
    assert_eq!(document(&bytes)["version"], 3);
    assert_eq!(Model::from_bytes(&bytes).unwrap(), model);
    let older = forged(&bytes, |document| document["version"] = json!(2));
    let problem = Model::from_bytes(&older).unwrap_err();
    assert!(matches!(problem, Problem::NotInVersion { version: 2, .. }), "{problem}");
    let newer = forged(&bytes, |document| document["version"] = json!(5));
    let problem = Model::from_bytes(&newer).unwrap_err();
    assert!(matches!(problem, Problem::Version { found: 5, newest: 4 }), "{problem}");
}

fn document(bytes: &[u8]) -> serde_json::Value {
    let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    serde_json::from_str(&metadata.metadata().as_ref().unwrap()["fireclay"]).unwrap()
}

/// A file of each released version stays here for good; `goldens/read_columns_v2.py` read this one by
/// its specification alone, in NumPy, and wrote the probabilities of
/// these rows.
#[test]
fn columns_of_version_2_keep_loading() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let predictor = Predictor::load(tests.join("fixtures/columns-v2.safetensors")).unwrap();
    let golden = std::fs::read(tests.join("goldens/columns-v2-probabilities.json")).unwrap();
    let golden: Vec<Vec<f64>> = serde_json::from_slice(&golden).unwrap();
    let columns = ["pixels", "size", "weather", "colour"];
    let rows = [
        [Value::Dense(&[0.0, 255.0]), Value::Number(6.0), Value::Missing, Value::Text("blue")],
        [Value::Dense(&[17.0, 3.0]), Value::Missing, Value::Missing, Value::Text("red")],
        [Value::Dense(&[200.0, 90.0]), Value::Number(-2.5), Value::Missing, Value::Text("green")],
        [Value::Dense(&[1.0, 2.0]), Value::Number(3.0), Value::Text("rain"), Value::Missing],
    ];
    let found = predictor.predict_values(&columns, &rows).unwrap();
    assert_eq!(found.len(), golden.len());
    for (found, golden) in found.iter().zip(&golden) {
        for (&found, golden) in distribution(found).iter().zip(golden) {
            assert!((f64::from(found) - golden).abs() < 1e-6, "{found} {golden}");
        }
    }
}
