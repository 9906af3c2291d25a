//! Model files of version 2: networks layer by layer, and weights in encodings.

use std::collections::BTreeMap;
use std::num::NonZero;

use fireclay_model::{
    Activation, Architecture, Conformal, Decision, Description, EncodedMatrix, Encoding,
    HiddenLayer, InputSpec, Intervals, MlpConfig, Model, ModelFileProblem as Problem, Norm,
    NormPosition, Numbers, ParameterPath, Prediction, Predictor, Preprocessing, Provenance, Scales,
    Skip, SkipPosition, TargetScaling, Task, TaskError,
};
use proptest::prelude::*;

use crate::support::{forged, initial_weights};

fn model(architecture: Architecture) -> Model {
    let weights = initial_weights(&architecture);
    let task = Task::numbered_classes(architecture.outputs);
    let input = InputSpec::dense(&architecture.input_shape, Preprocessing::None);
    let description = Description { architecture, task, input, provenance: Provenance::default() };
    Model { description, weights, encoded: BTreeMap::new() }
}

fn bytes(model: &Model) -> Vec<u8> {
    model.unwritten().to_bytes().unwrap().0
}

fn version(bytes: &[u8]) -> u64 {
    let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    let document = &metadata.metadata().as_ref().unwrap()["fireclay"];
    serde_json::from_str::<serde_json::Value>(document).unwrap()["version"].as_u64().unwrap()
}

/// A network whose layers differ in everything.
fn mixed() -> Architecture {
    let first = HiddenLayer { activation: Activation::Gelu, bias: false, ..HiddenLayer::new(5) };
    let second = HiddenLayer {
        activation: Activation::Tanh,
        norm: Norm::Batch,
        norm_position: NormPosition::AfterActivation,
        dropout: 0.25,
        ..HiddenLayer::new(7)
    };
    let third = HiddenLayer {
        activation: Activation::LeakyRelu,
        leaky_slope: 0.3,
        norm: Norm::Layer,
        norm_position: NormPosition::Input,
        norm_epsilon: 1e-3,
        skip: Some(Skip { span: 2, position: SkipPosition::BeforeActivation }),
        ..HiddenLayer::new(5)
    };
    let base = MlpConfig { output_bias: false, ..MlpConfig::new([2, 3], [], 4) };
    Architecture { hidden: vec![first, second, third], ..base.architecture().unwrap() }
}

#[test]
fn networks_are_written_in_the_oldest_version_that_can_describe_them() {
    let alike = MlpConfig { norm: Norm::Batch, residual: true, ..MlpConfig::new([4], [4, 6], 3) };
    // RMS norms are younger than version 1.
    let rms = MlpConfig { norm: Norm::Rms, ..MlpConfig::new([4], [4, 6], 3) };
    let networks =
        [(alike.architecture().unwrap(), 1), (mixed(), 2), (rms.architecture().unwrap(), 2)];
    for (network, expected) in networks {
        let model = model(network);
        let written = bytes(&model);
        assert_eq!(version(&written), expected);
        let back = Model::from_bytes(&written).unwrap();
        assert_eq!(back, model);
        assert_eq!(bytes(&back), written, "one model, one file");
    }
}

#[test]
fn the_short_way_describes_networks_whose_layers_are_alike() {
    let alike = [
        MlpConfig::new([3], [], 2),
        MlpConfig { norm: Norm::Layer, dropout: 0.5, ..MlpConfig::new([3], [4, 4], 2) },
        MlpConfig { residual: true, ..MlpConfig::new([4], [4, 5, 5], 2) },
        MlpConfig { output_bias: false, ..MlpConfig::new([3], [4], 2) },
    ];
    for config in alike {
        let network = config.architecture().unwrap();
        assert_eq!(MlpConfig::from(&network), config);
    }
    let config = MlpConfig::from(&mixed());
    assert_eq!(config.layers.len(), 3);
    assert_eq!(config.architecture().unwrap(), mixed());
}

#[test]
fn what_changes_nothing_is_written_as_it_was() {
    let idle = [
        MlpConfig { residual: true, ..MlpConfig::new([4], [3], 2) },
        MlpConfig { norm: Norm::Batch, dropout: 0.5, ..MlpConfig::new([4], [], 2) },
    ];
    for config in idle {
        let network = config.architecture().unwrap();
        assert_eq!(MlpConfig::from(&network), config);
        let other = Architecture { outputs: 5, ..network.clone() };
        assert_eq!(MlpConfig::from(&other), MlpConfig { outputs: 5, ..config.clone() });
        let written = bytes(&model(network));
        assert_eq!(bytes(&Model::from_bytes(&written).unwrap()), written);
    }
}

#[test]
fn a_wide_input_and_a_long_skip_take_little_room() {
    let mut network = MlpConfig::new([100_000], vec![1; 500], 2).architecture().unwrap();
    let last = network.hidden.last_mut().unwrap();
    last.skip = Some(Skip { span: 499, position: SkipPosition::Output });
    let predictor = Predictor::new(model(network)).unwrap();
    // 500 rows of 100,000 numbers for 32 rows each would be 6 GB.
    assert_eq!(predictor.session().outputs(&vec![1.0; 100_000]).unwrap().len(), 2);
}

#[test]
fn a_model_that_cannot_be_is_refused_and_not_written() {
    let good = model(MlpConfig::new([4], [3], 2).architecture().unwrap());
    let mut short = good.clone();
    short.weights[0].values.pop();
    assert!(matches!(short.unwritten().to_bytes(), Err(Problem::Count { .. })));
    assert!(matches!(Predictor::new(short), Err(Problem::Count { .. })));
    let mut skipping = good.clone();
    let skip = Skip { span: 9, position: SkipPosition::Output };
    skipping.description.architecture.hidden[0].skip = Some(skip);
    assert!(matches!(Predictor::new(skipping), Err(Problem::Config(_))));
    let mut unnamed = good;
    unnamed.description.task = Task::numbered_classes(1);
    assert!(matches!(Predictor::new(unnamed), Err(Problem::Outputs { .. })));
}

#[test]
fn what_a_network_cannot_be_is_refused() {
    let skip = |span, hidden: &[usize]| {
        let mut network = MlpConfig::new([4], hidden, 2).architecture().unwrap();
        network.hidden.last_mut().unwrap().skip =
            Some(Skip { span, position: SkipPosition::Output });
        network.validate().unwrap_err().to_string()
    };
    assert!(skip(0, &[4]).contains("spans 0 layers; it can span 1 to 1"));
    assert!(skip(3, &[4, 4]).contains("spans 3 layers; it can span 1 to 2"));
    assert!(skip(2, &[4, 5]).contains("adds 4 numbers to 5"));
    let both = MlpConfig { layers: vec![HiddenLayer::new(3)], ..MlpConfig::new([4], [3], 2) };
    assert!(both.architecture().unwrap_err().to_string().contains("leave one of them out"));
    let layers = vec![HiddenLayer::new(3)];
    let both = MlpConfig { layers, dropout: 0.5, ..MlpConfig::new([4], [], 2) };
    let error = both.architecture().unwrap_err().to_string();
    assert!(error.contains("dropout goes for the layers of hidden"), "{error}");
}

/// Clears what stands behind the last code of each row.
fn clean(mut bytes: Vec<u8>, inputs: usize, bits: usize) -> Vec<u8> {
    let used = inputs * bits % 8;
    if used > 0 {
        let rows = bytes.chunks_mut((inputs * bits).div_ceil(8));
        rows.for_each(|row| *row.last_mut().unwrap() &= (1 << used) - 1);
    }
    bytes
}

/// Codes that depend on their place.
fn numbers(encoding: Encoding, outputs: usize, inputs: usize) -> Numbers {
    let count = outputs * inputs;
    let codes = |bytes: usize| (0..bytes).map(|i| (i * 37 % 251) as u8).collect::<Vec<_>>();
    let scales = |group: usize| Scales {
        group,
        values: (0..outputs * inputs.div_ceil(group)).map(|i| 0.01 * (i + 1) as f32).collect(),
    };
    match encoding {
        Encoding::F16 => {
            Numbers::F16((0..count).map(|i| 0x3000 + (i * 91 % 0xFFF) as u16).collect())
        }
        Encoding::Bf16 => {
            Numbers::Bf16((0..count).map(|i| 0x3E00 + (i * 7 % 0xFF) as u16).collect())
        }
        Encoding::Int8 { group } => Numbers::Int8 {
            codes: codes(count).into_iter().map(u8::cast_signed).collect(),
            scales: scales(group),
        },
        Encoding::Int4 { group } => Numbers::Int4 {
            codes: clean(codes(outputs * inputs.div_ceil(2)), inputs, 4),
            scales: scales(group),
        },
        Encoding::Codebook { bits } => Numbers::Codebook {
            bits,
            codes: clean(
                codes(outputs * (inputs * usize::from(bits)).div_ceil(8)),
                inputs,
                usize::from(bits),
            ),
            book: (0..1 << bits).map(|i| 0.1 * i as f32 - 0.7).collect(),
        },
        Encoding::Sparse => {
            let kept = clean(codes(outputs * inputs.div_ceil(8)), inputs, 1);
            let count: u32 = kept.iter().map(|byte| byte.count_ones()).sum();
            Numbers::Sparse { kept, values: (0..count).map(|i| 0.05 * i as f32 - 1.0).collect() }
        }
    }
}

/// The model with the weights of a layer in an encoding, and the same with those weights as `f32`.
fn encoded(network: &Architecture, layer: usize, encoding: Encoding) -> (Model, Model) {
    let [inputs, outputs] = network.sizes(layer);
    let matrix = EncodedMatrix { outputs, inputs, numbers: numbers(encoding, outputs, inputs) };
    let path = ParameterPath::Weight(layer);
    let mut plain = model(network.clone());
    let mut small = plain.clone();
    let at = plain.weights.iter().position(|tensor| tensor.name == path.to_string()).unwrap();
    plain.weights[at].values = matrix.decode();
    small.weights.remove(at);
    small.encoded.insert(path, matrix);
    (small, plain)
}

fn encodings() -> Vec<Encoding> {
    let mut all = vec![Encoding::F16, Encoding::Bf16, Encoding::Sparse];
    all.extend([1, 4, 5, 100].map(|group| Encoding::Int8 { group }));
    all.extend([1, 3, 100].map(|group| Encoding::Int4 { group }));
    all.extend((1..=8).map(|bits| Encoding::Codebook { bits }));
    all
}

#[test]
fn every_encoding_is_written_read_and_computed_with() {
    let network = MlpConfig::new([9], [13, 8], 3).architecture().unwrap();
    let rows: Vec<f32> = (0..9 * 40).map(|i| (i % 13) as f32 - 6.0).collect();
    let outputs = |model: &Model| {
        Predictor::new(model.clone()).unwrap().outputs(&rows, NonZero::<usize>::MIN).unwrap()
    };
    for encoding in encodings() {
        for layer in 0..3 {
            let (small, plain) = encoded(&network, layer, encoding);
            let written = bytes(&small);
            assert_eq!(version(&written), 2);
            let back = Model::from_bytes(&written).unwrap();
            assert_eq!(back, small, "{encoding:?}");
            assert_eq!(bytes(&back), written, "one model, one file");
            fireclay_model::model_file::check(&written.as_slice()).unwrap();
            let by_file = Predictor::from_source(&written.as_slice()).unwrap();
            let by_file = by_file.outputs(&rows, NonZero::<usize>::MIN).unwrap();
            assert_eq!(by_file, outputs(&back));
            // With integers, what a layer reads is rounded to 8 bits.
            let is_rounded = matches!(encoding, Encoding::Int8 { .. } | Encoding::Int4 { .. });
            let expected = outputs(&plain);
            let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let most = if is_rounded { 0.02 * largest } else { 0.0 };
            for (found, expected) in by_file.iter().zip(&expected) {
                assert!((found - expected).abs() <= most, "{encoding:?} {found} {expected}");
            }
            safetensors::SafeTensors::deserialize(&written).unwrap();
        }
    }
}

#[test]
fn a_file_in_an_encoding_is_refused_when_a_byte_is_wrong() {
    let network = MlpConfig::new([9], [5], 3).architecture().unwrap();
    for encoding in encodings() {
        let written = bytes(&encoded(&network, 0, encoding).0);
        for at in 0..written.len() {
            let mut wrong = written.clone();
            wrong[at] ^= 0x10;
            if let Ok(model) = Model::from_bytes(&wrong) {
                // Space that fills the header up may be another, as JSON has it.
                assert_eq!(bytes(&model), written, "{encoding:?} {at}");
            }
            assert!(Model::from_bytes(&written[..at]).is_err());
        }
    }
}

/// A file of each released version stays here for good; this one is of format version 2.
/// `goldens/read_model_v2.py` read it by its specification alone, in NumPy, and wrote the logits.
#[test]
fn version_2_keeps_loading() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let predictor = Predictor::load(tests.join("fixtures/model-v2.safetensors")).unwrap();
    let golden = std::fs::read(tests.join("goldens/model-v2-logits.safetensors")).unwrap();
    let golden = safetensors::SafeTensors::deserialize(&golden).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let words = golden.tensor(name).unwrap().data().as_chunks::<4>().0;
        words.iter().map(|&word| f32::from_le_bytes(word)).collect()
    };
    let found = predictor.outputs(&floats("rows"), NonZero::<usize>::MIN).unwrap();
    let expected = floats("logits");
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let most = 1e-5 * expected.abs().max(1.0);
        assert!((found - expected).abs() <= most, "{found} {expected}");
    }
    let model = Model::load(tests.join("fixtures/model-v2.safetensors")).unwrap();
    let file = std::fs::read(tests.join("fixtures/model-v2.safetensors")).unwrap();
    assert_eq!(bytes(&model), file, "one model, one file");
}

#[test]
fn encodings_that_contradict_their_tensors_are_refused() {
    let network = MlpConfig::new([9], [5], 3).architecture().unwrap();
    let read = |encoding, change: fn(&mut serde_json::Value)| {
        let written = bytes(&encoded(&network, 0, encoding).0);
        assert!(Model::from_bytes(&forged(&written, |_| ())).is_ok());
        Model::from_bytes(&forged(&written, change)).unwrap_err()
    };
    let int8 = Encoding::Int8 { group: 4 };
    let error = read(int8, |d| drop(d.as_object_mut().unwrap().remove("encodings")));
    assert!(
        matches!(&error, Problem::Dtype { found, expected, .. } if found == "I8" && expected == "F32"),
        "{error}"
    );
    let error = read(int8, |d| d["encodings"]["layers.0.weight"]["group"] = 2.into());
    assert!(
        matches!(&error, Problem::Shape { name, .. } if name == "layers.0.weight.scales"),
        "{error}"
    );
    let error = read(int8, |d| d["encodings"]["layers.0.weight"]["kind"] = "int5".into());
    assert!(matches!(&error, Problem::Document(_)), "{error}");
    let error = read(int8, |d| d["version"] = 1.into());
    assert!(matches!(&error, Problem::Document(_)), "{error}");
    let error = read(Encoding::Int4 { group: 4 }, |d| {
        d["encodings"]["layers.0.weight"] = serde_json::json!({ "kind": "codebook", "bits": 4 });
    });
    assert!(
        matches!(&error, Problem::MissingTensor { name, .. } if name == "layers.0.weight.codebook"),
        "{error}"
    );
    let error = read(Encoding::F16, |d| {
        d["encodings"]["layers.7.weight"] = serde_json::json!({ "kind": "f16" });
    });
    assert!(matches!(&error, Problem::EncodedPath { path: ParameterPath::Weight(7) }), "{error}");
    let error = read(Encoding::Codebook { bits: 3 }, |d| d["run"] = serde_json::json!({}));
    assert!(matches!(&error, Problem::EncodedPath { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_changed_bytes_make_it_panic(
        which in 0usize..16,
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let network = MlpConfig::new([9], [5], 3).architecture().unwrap();
        let mut written = bytes(&encoded(&network, 0, encodings()[which % encodings().len()]).0);
        for (at, byte) in changes {
            let length = written.len();
            written[at % length] = byte;
        }
        let _ = Predictor::from_source(&written.as_slice());
        let _ = fireclay_model::model_file::check(&written.as_slice());
    }
}

/// A regression with standardized targets, on an architecture that version 1 could describe.
fn regression() -> Model {
    let mut model = model(MlpConfig::new([3], [4], 2).architecture().unwrap());
    let (mean, deviation) = (vec![5000.0, -0.5], vec![1000.0, 0.25]);
    let scaling = Some(TargetScaling { mean, deviation, logarithm: false });
    let targets = vec!["price".to_owned(), "slope".to_owned()];
    model.description.task = Task::regression(targets).with_scaling(scaling);
    model
}

#[test]
fn a_target_scaling_is_of_version_2_and_turned_back() {
    let scaled = regression();
    let written = bytes(&scaled);
    assert_eq!(version(&written), 2);
    let read = Model::from_bytes(&written).unwrap();
    assert_eq!(read, scaled);
    assert_eq!(bytes(&read), written);
    let rows: Vec<f32> = (0..30).map(|i| (i % 7) as f32 - 3.0).collect();
    let outputs = |model: &Model| {
        let predictor = Predictor::new(model.clone()).unwrap();
        predictor.outputs(&rows, NonZero::<usize>::MIN).unwrap()
    };
    let mut plain = scaled.clone();
    plain.description.task = Task::regression(scaled.description.task.names().to_vec());
    assert_eq!(version(&bytes(&plain)), 1, "without one it is as older programs wrote it");
    let mut expected = outputs(&plain);
    for row in expected.chunks_exact_mut(2) {
        row[0] = row[0] * 1000.0 + 5000.0;
        row[1] = row[1] * 0.25 - 0.5;
    }
    assert_eq!(outputs(&read), expected);
}

#[test]
fn a_target_scaling_that_cannot_be_is_refused() {
    let written = bytes(&regression());
    let with = |pointer: &str, value: serde_json::Value| {
        let forged = forged(&written, |document| {
            *document.pointer_mut(pointer).unwrap() = value.clone();
        });
        Model::from_bytes(&forged).unwrap_err()
    };
    for (pointer, value) in [
        ("/task/scaling/deviation/0", serde_json::json!(0.0)),
        ("/task/scaling/deviation/1", serde_json::json!(-1.0)),
        ("/task/scaling/deviation", serde_json::json!([1.0])),
        ("/task/scaling/mean", serde_json::json!([1.0, 2.0, 3.0])),
        ("/task/scaling/mean/0", serde_json::json!(1e300)),
    ] {
        let error = with(pointer, value);
        assert!(matches!(error, Problem::Task(TaskError::Scaling(_))), "{pointer}: {error}");
    }
    for (pointer, value) in [
        // What JSON writes of NaN.
        ("/task/scaling/mean/0", serde_json::json!(null)),
        ("/task/scaling", serde_json::json!({ "mean": [0.0, 0.0] })),
        (
            "/task/scaling",
            serde_json::json!({ "mean": [0.0, 0.0], "deviation": [1.0, 1.0], "unit": "m" }),
        ),
        ("/task/kind", serde_json::json!("multi-label")),
    ] {
        let error = with(pointer, value);
        assert!(matches!(error, Problem::Document(_)), "{pointer}: {error}");
    }
}

/// A program that reads version 1 alone would misread such a file, so none has that number.
#[test]
fn version_1_has_no_target_scaling() {
    let mut plain = regression();
    plain.description.task = Task::regression(plain.description.task.names().to_vec());
    let forged = forged(&bytes(&plain), |document| {
        let scaling = serde_json::json!({ "mean": [0.0, 0.0], "deviation": [1.0, 1.0] });
        document["task"]["scaling"] = scaling;
    });
    let error = Model::from_bytes(&forged).unwrap_err();
    assert!(
        matches!(error, Problem::NotInVersion { version: 1, part: "a target scaling" }),
        "{error}"
    );
    // A regression that an older program wrote.
    let old = include_bytes!("../fixtures/regression-v1.safetensors");
    let model = Model::from_bytes(old).unwrap();
    assert_eq!(model.description.task, Task::regression(vec!["sum".to_owned()]));
    assert_eq!(bytes(&model), old);
}

#[test]
fn decisions_and_intervals_are_of_version_3_and_used() {
    let rows: Vec<f32> = (0..30).map(|i| (i % 7) as f32 - 3.0).collect();
    let outputs = |model: &Model| {
        let predictor = Predictor::new(model.clone()).unwrap();
        predictor.outputs(&rows, NonZero::<usize>::MIN).unwrap()
    };
    let mut plain = model(MlpConfig::new([3], [4], 2).architecture().unwrap());
    plain.description.task = Task::numbered_classes(2);
    let mut decided = plain.clone();
    let decision = Decision { temperature: Some(2.0), thresholds: vec![0.9] };
    decided.description.task =
        Task::Classification { labels: plain.description.task.names().to_vec(), decision };
    let written = bytes(&decided);
    assert_eq!((version(&bytes(&plain)), version(&written)), (1, 3));
    assert_eq!(Model::from_bytes(&written).unwrap(), decided);
    let halved: Vec<f32> = outputs(&plain).into_iter().map(|logit| logit / 2.0).collect();
    assert_eq!(outputs(&decided), halved);
    let predictor = Predictor::new(decided).unwrap();
    for prediction in predictor.predict(&rows.chunks(3).collect::<Vec<_>>()).unwrap() {
        let Prediction::Class { class, probability, distribution, .. } = prediction else {
            panic!("{prediction:?}")
        };
        assert_eq!(class, usize::from(distribution[1] >= 0.9));
        assert_eq!(probability, distribution[class]);
    }
    let older = forged(&written, |document| document["version"] = serde_json::json!(2));
    let error = Model::from_bytes(&older).unwrap_err();
    assert!(matches!(error, Problem::NotInVersion { version: 2, .. }), "{error}");
}

#[test]
fn quantiles_rise_in_the_unit_of_their_target() {
    let mut of_quantiles = model(MlpConfig::new([3], [4], 3).architecture().unwrap());
    let (mean, deviation) = (vec![1.0], vec![0.5]);
    let scaling = TargetScaling { mean, deviation, logarithm: true };
    let conformal = Some(Conformal { level: 0.8, margins: vec![0.25] });
    let intervals = Intervals { quantiles: vec![0.1, 0.5, 0.9], conformal };
    let targets = vec!["price".to_owned()];
    of_quantiles.description.task = Task::Regression { targets, scaling: Some(scaling), intervals };
    let written = bytes(&of_quantiles);
    assert_eq!(version(&written), 3);
    let read = Model::from_bytes(&written).unwrap();
    assert_eq!(read, of_quantiles);
    let mut plain = of_quantiles;
    plain.description.task = Task::numbered_classes(3);
    let rows: Vec<Vec<f32>> = (0..10).map(|i| vec![(i % 7) as f32 - 3.0, 1.0, 0.5]).collect();
    let plain = Predictor::new(plain).unwrap();
    let found = Predictor::new(read).unwrap().predict(&rows).unwrap();
    for (row, found) in rows.iter().zip(found) {
        let mut expected: Vec<f32> = plain.outputs(row, NonZero::<usize>::MIN).unwrap();
        expected.sort_by(f32::total_cmp);
        let expected: Vec<f32> = expected.iter().map(|x| (x * 0.5 + 1.0).exp()).collect();
        let Prediction::Values { values, intervals } = found else { panic!("{found:?}") };
        assert_eq!(values, [expected[1]]);
        let [low, high] = intervals[0];
        assert!((low / expected[0] - (-0.25f32).exp()).abs() < 1e-6, "{low} {expected:?}");
        assert!((high / expected[2] - 0.25f32.exp()).abs() < 1e-6, "{high} {expected:?}");
    }
}

#[test]
fn decisions_and_intervals_that_cannot_be_are_refused() {
    let mut decided = model(MlpConfig::new([3], [4], 2).architecture().unwrap());
    let decision = Decision { temperature: Some(2.0), thresholds: vec![0.5] };
    decided.description.task =
        Task::Classification { labels: vec!["a".into(), "b".into()], decision };
    let mut spread = decided.clone();
    let conformal = Some(Conformal { level: 0.8, margins: vec![0.25] });
    let intervals = Intervals { quantiles: vec![0.1, 0.9], conformal };
    spread.description.task =
        Task::Regression { targets: vec!["price".to_owned()], scaling: None, intervals };
    for (model, pointer, value) in [
        (&decided, "/task/decision/temperature", serde_json::json!(0.0)),
        (&decided, "/task/decision/thresholds", serde_json::json!([0.5, 0.5])),
        (&decided, "/task/decision/thresholds/0", serde_json::json!(1.5)),
        (&spread, "/task/intervals/quantiles", serde_json::json!([0.9, 0.1])),
        (&spread, "/task/intervals/quantiles/0", serde_json::json!(0.0)),
        (&spread, "/task/intervals/conformal/level", serde_json::json!(1.0)),
        (&spread, "/task/intervals/conformal/margins", serde_json::json!([])),
    ] {
        let forged = forged(&bytes(model), |document| {
            *document.pointer_mut(pointer).unwrap() = value.clone();
        });
        let error = Model::from_bytes(&forged).unwrap_err();
        assert!(matches!(error, Problem::Task(_)), "{pointer}: {error}");
    }
}
