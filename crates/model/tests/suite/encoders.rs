//! Encoders of columns, held to scikit-learn by `goldens/encoders.py`; and a file with all of them.

use std::collections::BTreeMap;

use fireclay_model::{
    Boolean, Category, Date, DateFormat, Detail, Field, FieldKind, InputSpec, Model, Number,
    NumberEncoding, Prediction, Predictor, Value,
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Golden {
    columns: BTreeMap<String, Vec<f64>>,
    numbers: Vec<NumberCase>,
    texts: Vec<Option<String>>,
    values: Vec<String>,
    categories: Vec<CategoryCase>,
    dates: DateCase,
}

#[derive(Deserialize)]
struct NumberCase {
    column: String,
    encoding: NumberEncoding,
    values: Vec<f64>,
    encoded: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct CategoryCase {
    encoding: fireclay_model::CategoryEncoding,
    least: Option<usize>,
    order: Option<Vec<String>>,
    encoded: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct DateCase {
    format: DateFormat,
    values: Vec<String>,
    encoded: Vec<Vec<f64>>,
}

fn path(file: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file)
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(path("goldens/encoders.json")).unwrap()).unwrap()
}

fn assert_encoded(kind: impl Into<FieldKind>, values: &[Value<'_>], golden: &[Vec<f64>]) {
    let input = InputSpec::new(vec![Field::new("x", kind)]).unwrap();
    let encoder = input.encoder(&["x"]).unwrap();
    assert_eq!(values.len(), golden.len());
    for (&value, golden) in values.iter().zip(golden) {
        let found = encoder.encode(0, &[value]).unwrap().dense;
        assert_eq!(found.len(), golden.len(), "{input:?}");
        for (&found, golden) in found.iter().zip(golden) {
            let distance = (f64::from(found) - golden).abs();
            assert!(
                distance <= 1e-6 * golden.abs().max(1.0),
                "{value:?}: {found} {golden} {input:?}"
            );
        }
    }
}

#[test]
fn numbers_are_encoded_as_by_scikit_learn() {
    let golden = golden();
    for case in &golden.numbers {
        let training = golden.columns[&case.column].iter().map(|&number| Some(number));
        let number = Number::fit_as(case.encoding, training, Detail::default());
        let values: Vec<Value<'_>> = case.values.iter().map(|&x| Value::Number(x)).collect();
        assert_encoded(number, &values, &case.encoded);
    }
}

#[test]
fn categories_are_encoded_as_by_scikit_learn() {
    let golden = golden();
    let values = golden.values.iter().map(|text| Value::Text(text));
    let values: Vec<Value<'_>> = values.chain([Value::Missing]).collect();
    for case in &golden.categories {
        let training = golden.texts.iter().map(Option::as_deref);
        let category = match &case.order {
            Some(order) => Category::fit_ordered(order.clone(), training),
            None => Category::fit_as(case.encoding, training, case.least.unwrap()),
        };
        assert_encoded(category, &values, &case.encoded);
    }
}

#[test]
fn dates_are_encoded_by_their_parts() {
    let DateCase { format, values, encoded } = golden().dates;
    let date = Date::fit(format, values.iter().map(|text| Some(text.as_str())));
    let values: Vec<Value<'_>> = values.iter().map(|text| Value::Text(text)).collect();
    assert_encoded(date, &values, &encoded);
}

/// An input with every kind of field and encoding that version 3 added.
fn input() -> InputSpec {
    let numbers = [Some(1.0), Some(2.0), Some(4.0), Some(2.5), Some(9.0), None];
    let mut fields: Vec<Field> = NumberEncoding::ALL
        .iter()
        .map(|&encoding| {
            let detail = Detail { quantiles: 4, bins: 3 };
            Field::new(encoding.name(), Number::fit_as(encoding, numbers, detail))
        })
        .collect();
    fields.push(Field::new("boolean", Boolean { missing: true }));
    let texts = [Some("b"), Some("a"), Some("b"), None, Some("a"), Some("c")];
    for &encoding in fireclay_model::CategoryEncoding::ALL {
        let category = Category::fit_as(encoding, texts, 2);
        fields.push(Field::new(encoding.name(), category));
    }
    let dates = [Some("31.12.2023 23:59"), Some("1.3.2024"), Some("29.02.2024 6:30"), None];
    fields.push(Field::new("date", Date::fit(DateFormat::DayMonthYear, dates)));
    InputSpec::new(fields).unwrap()
}

/// Rows of [`input`], as `goldens/read_columns_v3.py` has them.
fn rows(input: &InputSpec) -> Vec<Vec<Value<'static>>> {
    let rows = [
        [Value::Number(2.25), Value::Text("no"), Value::Text("b"), Value::Text("1.3.2024 18:00")],
        [Value::Number(-3.0), Value::Text("TRUE"), Value::Text("c"), Value::Text("15.01.2024")],
        [Value::Number(12.5), Value::Boolean(true), Value::Text("a"), Value::Missing],
        [Value::Missing, Value::Missing, Value::Missing, Value::Text("01/05/2024 00:00:30")],
    ];
    let rows = rows.into_iter().map(|[number, boolean, text, date]| {
        let fields = input.fields().iter().map(|field| match field.kind {
            FieldKind::Number(_) => number,
            FieldKind::Boolean(_) => boolean,
            FieldKind::Category(_) => text,
            _ => date,
        });
        fields.collect()
    });
    rows.collect()
}

/// A file of each released version stays here for good; `goldens/read_columns_v3.py` read this one by
/// its specification alone, in NumPy, and wrote the probabilities of these rows.
#[test]
fn columns_of_version_3_keep_loading() {
    let predictor = Predictor::load(path("fixtures/columns-v3.safetensors")).unwrap();
    let input = &predictor.description().input;
    assert_eq!(*input, self::input());
    let golden = std::fs::read(path("goldens/columns-v3-probabilities.json")).unwrap();
    let golden: Vec<Vec<f64>> = serde_json::from_slice(&golden).unwrap();
    let names: Vec<&String> = input.fields().iter().map(|field| &field.name).collect();
    let found = predictor.predict_values(&names, &rows(input)).unwrap();
    assert_eq!(found.len(), golden.len());
    for (found, golden) in found.iter().zip(&golden) {
        let Prediction::Class { distribution, .. } = found else { panic!("{found:?}") };
        for (&found, golden) in distribution.iter().zip(golden) {
            assert!((f64::from(found) - golden).abs() < 1e-6, "{found} {golden}");
        }
    }
}

#[test]
fn files_with_an_encoding_that_cannot_be_are_refused() {
    let bytes = std::fs::read(path("fixtures/columns-v3.safetensors")).unwrap();
    for (field, place, lie, expected) in [
        ("robust", "/takes/scaling/range", json!(-1.0), "the range is -1"),
        ("min-max", "/takes/scaling/minimum", json!(99.0), "the maximum is 9"),
        ("quantile", "/takes/scaling/quantiles", json!([]), "its quantiles must be"),
        ("quantile", "/takes/scaling/quantiles", json!([2.0, 1.0]), "its quantiles must be"),
        ("piecewise-linear", "/takes/scaling/edges", json!([1.0, 1.0]), "its edges must be"),
        ("none", "/takes/scaling/kind", json!("logarithm"), "unknown variant"),
        ("none", "/takes/scaling/base", json!(2.0), "unknown field"),
        ("binary", "/takes/values", json!(["a", "b", "c"]), "has 3 categories"),
        ("binary", "/takes/encoding", json!("hash"), "unknown variant"),
        ("ordered", "/takes/values", json!(["a", "a"]), "occurs twice"),
        ("index", "/takes/values", json!(["b", "a"]), "not sorted"),
        ("boolean", "/takes/words", json!([]), "unknown field"),
        ("date", "/takes/format", json!("year"), "unknown variant"),
        ("date", "/takes/parts", json!([]), "needs parts"),
        ("date", "/takes/parts", json!([{"part": "hour"}, {"part": "hour"}]), "needs parts"),
        ("date", "/takes/parts/0/deviation", json!(-1.0), "the deviation is -1"),
        ("date", "/takes/parts", json!([{"part": "month", "mean": 1.0}]), "unknown field"),
    ] {
        let forged = crate::support::forged(&bytes, |document| {
            let fields = document["input"]["fields"].as_array_mut().unwrap();
            let entry = fields.iter_mut().find(|entry| entry["name"] == field).unwrap();
            let (parent, key) = place.rsplit_once('/').unwrap();
            match entry.pointer_mut(parent).unwrap() {
                serde_json::Value::Object(object) => drop(object.insert(key.into(), lie.clone())),
                other => panic!("{other}"),
            }
        });
        let problem = Model::from_bytes(&forged).unwrap_err().to_string();
        assert!(problem.contains(expected), "{field} {place}: {problem}");
    }
}
