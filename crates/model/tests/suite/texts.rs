//! Texts: encodings held to scikit-learn by `goldens/texts.py`, and models that take them.

use std::collections::{BTreeMap, BTreeSet};

use fireclay_model::{
    Activation, Description, Encoder, Field, FrontPart, InputError, InputSpec, MlpConfig, Model,
    NamedTensor, Number, Predictor, Provenance, RowError, SparseRows, Task, TermPlaces, Text,
    TextEncoding, TextFit, Value, rng,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    training: Vec<String>,
    encoding: TextEncoding,
    terms: Vec<String>,
    texts: Vec<String>,
    encoded: Vec<BTreeMap<String, f64>>,
}

fn fitted(encoding: &TextEncoding, texts: &[&str]) -> Text {
    let mut fit = TextFit::new(encoding);
    texts.iter().for_each(|text| fit.add(Some(text)));
    fit.finish(usize::MAX)
}

fn terms(text: &Text) -> &[String] {
    match &text.places {
        TermPlaces::Vocabulary { terms } => terms.terms(),
        TermPlaces::Hash { .. } => panic!("no vocabulary"),
    }
}

#[test]
fn terms_and_their_weights_are_those_of_scikit_learn() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/texts.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() > 6);
    for case in cases {
        let training: Vec<&str> = case.training.iter().map(String::as_str).collect();
        let text = fitted(&case.encoding, &training);
        assert_eq!(terms(&text), case.terms, "{:?}", case.encoding);
        let input = InputSpec::new(vec![Field::new("x", text.clone())]).unwrap();
        let encoder = input.encoder(&["x"]).unwrap();
        for (row, golden) in case.texts.iter().zip(&case.encoded) {
            let encoded = encoder.encode(0, &[Value::Text(row)]).unwrap();
            let (places, values) = encoded.sparse[0].row(0);
            let found = places.iter().map(|&place| &terms(&text)[place as usize]);
            let names: BTreeSet<&String> = found.clone().collect();
            assert_eq!(names, golden.keys().collect(), "{row:?}");
            for (name, &value) in found.zip(values) {
                let distance = (f64::from(value) - golden[name]).abs();
                assert!(distance <= 1e-6, "{row:?}, {name:?}: {value} {}", golden[name]);
            }
        }
    }
}

const TEXTS: [&str; 6] =
    ["good tea", "bad tea, bad cup", "", "the cup was good", "unknown", "tea tea tea"];

/// A model of a text, a number and another text, whose weights are drawn.
fn model() -> Model {
    let review = fitted(&TextEncoding::default(), &TEXTS);
    let hashed = TextEncoding { buckets: Some(50), ..TextEncoding::default() };
    let title = fitted(&hashed, &TEXTS);
    let fields = vec![
        Field::new("review", review.clone()),
        Field::new("price", Number::fit([Some(1.0), Some(3.0)])),
        Field::new("title", title),
    ];
    let input = InputSpec::new(fields).unwrap();
    let bag = |terms, activation| FrontPart::Bag { terms, width: 4, activation };
    let front = vec![
        bag(review.terms(), Activation::Relu),
        FrontPart::Pass { columns: 1 },
        bag(50, Activation::Identity),
    ];
    let architecture = MlpConfig { front, ..MlpConfig::new([1], [5], 3) }.architecture().unwrap();
    let weights = architecture.tensors().into_iter().enumerate().map(|(at, (path, shape))| {
        let mut rng = rng::generator(7, rng::Purpose::Weights, at as u64);
        let count = shape.iter().product();
        let values = (0..count).map(|_| rng::normal(&mut rng) as f32).collect();
        NamedTensor { name: path.to_string(), shape, values }
    });
    let (weights, task) = (weights.collect(), Task::numbered_classes(3));
    let description = Description { architecture, task, input, provenance: Provenance::default() };
    Model { description, weights, encoded: BTreeMap::new() }
}

fn rows() -> Vec<[Value<'static>; 3]> {
    let texts = TEXTS.iter().cycle().zip(TEXTS.iter().rev().cycle());
    let rows = texts.take(700).enumerate();
    rows.map(|(i, (review, title))| {
        [Value::Text(review), Value::Number((i % 5) as f64), Value::Text(title)]
    })
    .collect()
}

fn tensor<'a>(model: &'a Model, name: &str) -> &'a [f32] {
    &model.weights.iter().find(|tensor| tensor.name == name).unwrap().values
}

/// `activation(sum of value * weight + bias)` in double precision.
fn bag(model: &Model, part: usize, rows: &SparseRows, row: usize, relu: bool) -> Vec<f64> {
    let weight = tensor(model, &format!("front.{part}.weight"));
    let bias = tensor(model, &format!("front.{part}.bias"));
    let mut sums: Vec<f64> = bias.iter().map(|&bias| f64::from(bias)).collect();
    let (places, values) = rows.row(row);
    for (&place, &value) in places.iter().zip(values) {
        let vector = &weight[place as usize * sums.len()..];
        sums.iter_mut().zip(vector).for_each(|(sum, &w)| *sum += f64::from(value) * f64::from(w));
    }
    if relu {
        sums.iter_mut().for_each(|sum| *sum = sum.max(0.0));
    }
    sums
}

fn layer(model: &Model, i: usize, x: &[f64]) -> Vec<f64> {
    let weight = tensor(model, &format!("layers.{i}.weight")).chunks_exact(x.len());
    let bias = tensor(model, &format!("layers.{i}.bias"));
    let dot = |row: &[f32]| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>();
    weight.zip(bias).map(|(row, &bias)| dot(row) + f64::from(bias)).collect()
}

const COLUMNS: [&str; 3] = ["review", "price", "title"];

fn encoder(model: &Model) -> Encoder<'_> {
    model.description.input.encoder(&COLUMNS).unwrap()
}

#[test]
fn bags_stand_beside_columns_in_the_order_of_the_fields() {
    let model = model();
    let encoded = encoder(&model).encode_rows(&rows()).unwrap();
    let predictor = Predictor::new(model.clone()).unwrap();
    let found = predictor.outputs_of_encoded(&encoded).unwrap();
    for (row, found) in found.chunks_exact(3).enumerate().take(30) {
        let mut x = bag(&model, 0, &encoded.sparse[0], row, true);
        x.push(f64::from(encoded.dense[row]));
        x.extend(bag(&model, 2, &encoded.sparse[1], row, false));
        let hidden: Vec<f64> = layer(&model, 0, &x).into_iter().map(|x| x.max(0.0)).collect();
        for (found, expected) in found.iter().zip(layer(&model, 1, &hidden)) {
            let distance = (f64::from(*found) - expected).abs();
            assert!(distance <= 1e-5 * expected.abs().max(1.0), "{row}: {found} {expected}");
        }
    }
}

#[test]
fn predictions_of_texts_do_not_depend_on_other_rows_and_survive_the_file() {
    let model = model();
    let bytes = model.unwritten().to_bytes().unwrap().0;
    let predictor = Predictor::from_source(&bytes).unwrap();
    let together = predictor.predict_values(&COLUMNS, &rows()).unwrap();
    let other = Predictor::new(model).unwrap();
    for (row, expected) in rows().into_iter().zip(&together).step_by(13) {
        assert_eq!(&other.predict_values(&COLUMNS, &[row]).unwrap()[0], expected);
    }
}

#[test]
fn texts_and_bags_that_do_not_fit_are_refused() {
    let good = model();
    let mut bad = good.clone();
    bad.description.architecture.front.pop();
    bad.description.architecture.front.push(FrontPart::Bag {
        terms: 49,
        width: 4,
        activation: Activation::Relu,
    });
    let error = Predictor::new(bad).unwrap_err().to_string();
    assert!(error.contains("50") && error.contains("49"), "{error}");
    let predictor = Predictor::new(good.clone()).unwrap();
    let mut encoded = encoder(&good).encode_rows(&rows()[..2]).unwrap();
    encoded.sparse.pop();
    let found = predictor.outputs_of_encoded(&encoded);
    assert_eq!(found, Err(RowError::Texts { found: 1, expected: 2 }));
    let mut far = SparseRows::default();
    far.push([(1, 1.0)]);
    far.push([(50, 1.0)]);
    encoded.sparse.push(far);
    assert_eq!(predictor.outputs_of_encoded(&encoded), Err(RowError::Terms { text: 1 }));
    let number = [Value::Number(1.0), Value::Number(1.0), Value::Missing];
    let error = predictor.predict_values(&COLUMNS, &[number]).unwrap_err();
    assert!(matches!(error, InputError::Value { ref column, .. } if column == "review"), "{error}");
}

#[test]
fn a_text_alone_has_no_dense_columns() {
    let text = fitted(&TextEncoding::default(), &TEXTS);
    let terms = text.terms();
    let input = InputSpec::new(vec![Field::new("review", text)]).unwrap();
    assert_eq!(input.width(), 0);
    let front = vec![FrontPart::Bag { terms, width: 2, activation: Activation::Relu }];
    let architecture = MlpConfig { front, ..MlpConfig::new([0], [], 2) }.architecture().unwrap();
    let weights = architecture.tensors().into_iter().map(|(path, shape)| {
        let values = vec![0.25; shape.iter().product()];
        NamedTensor { name: path.to_string(), shape, values }
    });
    let (weights, task) = (weights.collect(), Task::numbered_classes(2));
    let description = Description { architecture, task, input, provenance: Provenance::default() };
    let model = Model { description, weights, encoded: BTreeMap::new() };
    let bytes = model.unwritten().to_bytes().unwrap().0;
    let predictor = Predictor::from_source(&bytes).unwrap();
    let rows = [[Value::Text("good tea")], [Value::Missing]];
    assert_eq!(predictor.predict_values(&["review"], &rows).unwrap().len(), 2);
    // A network without a text has columns.
    assert!(MlpConfig::new([0], [], 2).architecture().is_err());
}
