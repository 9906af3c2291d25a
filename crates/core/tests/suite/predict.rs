//! Prediction, from raw features to a named answer.

use burn::tensor::{Device, Tensor};
use fireclay::{
    InputSpec, Loaded, Mlp, MlpConfig, Model, PredictError, Prediction, Preprocessing, Provenance,
    RowError, TargetScaling, Task, prepare,
};

/// One output per input: `z = w x + b` with these weights, `[outputs, inputs]`.
fn linear(weight: &[f32], bias: &[f32], task: Task, preprocessing: Preprocessing) -> Model {
    let config = MlpConfig::new([weight.len() / bias.len()], [], bias.len());
    let take = |name: &str, _: &[usize]| {
        Ok::<_, ()>(if name.ends_with("weight") { weight.to_vec() } else { bias.to_vec() })
    };
    let mlp = Mlp::from_tensors(&config.architecture().unwrap(), &Device::flex(), take).unwrap();
    let input = InputSpec::dense(&mlp.architecture().input_shape, preprocessing);
    Model { mlp, task, input, provenance: Provenance::default() }
}

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_classifier_names_the_most_probable_class() {
    let task = Task::classification(labels(&["cat", "dog", "hen"]));
    let weight = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    let model = linear(&weight, &[0.0, 0.0, 0.0], task, Preprocessing::Scale { scale: 0.5 });
    let rows = [[2.0, 0.0], [0.0, 4.0]];
    let found = model.predict(&rows).unwrap();
    let e = std::f32::consts::E;
    let Prediction::Class { class: 0, label, probability, distribution } = &found[0] else {
        panic!("{found:?}")
    };
    assert_eq!(label, "cat");
    assert!((probability - e / (e + 2.0)).abs() < 1e-6);
    assert!((distribution.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert!(matches!(&found[1], Prediction::Class { label, .. } if label == "dog"));
    assert_eq!(model.predict(&Vec::<Vec<f32>>::new()).unwrap(), []);
}

#[test]
fn labels_and_values_are_read_off_the_outputs() {
    let identity = [1.0, 0.0, 0.0, 1.0];
    let task = Task::multi_label(labels(&["red", "round"]));
    let model = linear(&identity, &[0.0, 0.0], task, Preprocessing::None);
    let found = model.predict(&[[3.0, -3.0]]).unwrap();
    assert!(matches!(&found[0], Prediction::Labels { labels, .. } if labels == &["red"]));

    let task = Task::regression(labels(&["x", "y"]));
    let standard = Preprocessing::Standardize { mean: vec![1.0, 5.0], deviation: vec![2.0, 0.0] };
    let model = linear(&identity, &[0.0, 0.5], task, standard);
    assert_eq!(model.predict(&[[5.0, 9.0]]).unwrap(), found_values(2.0, 0.5));
    assert_eq!(model.predictor().unwrap().predict(&[[5.0, 9.0]]).unwrap(), found_values(2.0, 0.5));

    // Standardized outputs come back in the unit of their target, whoever computes them.
    let (mean, deviation) = (vec![100.0, -1.0], vec![10.0, 4.0]);
    let scaling = Some(TargetScaling { mean, deviation, logarithm: false });
    let task = Task::regression(labels(&["x", "y"])).with_scaling(scaling);
    let model = Model { task, ..model };
    let expected = found_values(120.0, 1.0);
    assert_eq!(model.predict(&[[5.0, 9.0]]).unwrap(), expected);
    assert_eq!(model.predictor().unwrap().predict(&[[5.0, 9.0]]).unwrap(), expected);
    let raw = || Tensor::<2>::from_floats([[5.0, 9.0]], &Device::flex());
    assert_eq!(model.forward(raw()).try_into_vec_as::<f32>().unwrap(), [120.0, 1.0]);
    assert_eq!(model.network_outputs(raw()).try_into_vec_as::<f32>().unwrap(), [2.0, 0.5]);
    let loaded = Loaded::of(&model).unwrap();
    assert_eq!(loaded.outputs(&[5.0, 9.0, 5.0, 9.0]).unwrap(), [120.0, 1.0, 120.0, 1.0]);
    let predictor = model.predictor().unwrap();
    assert_eq!(predictor.session().predict(&[5.0, 9.0]).unwrap(), expected[0]);
}

fn found_values(x: f32, y: f32) -> [Prediction; 1] {
    [Prediction::Values { values: vec![x, y], intervals: Vec::new() }]
}

#[test]
fn a_row_that_does_not_fit_is_named() {
    let task = Task::numbered_classes(2);
    let model = linear(&[1.0, 0.0, 0.0, 1.0], &[0.0, 0.0], task, Preprocessing::None);
    let error = model.predict(&[vec![1.0, 2.0], vec![1.0]]).unwrap_err();
    assert!(
        matches!(error, PredictError::Row(RowError::Width { row: 1, found: 1, expected: 2 })),
        "{error}"
    );
    let error = model.predict(&[[1.0, f32::NAN]]).unwrap_err();
    assert!(
        matches!(error, PredictError::Row(RowError::NotFinite { row: 0, feature: 1, .. })),
        "{error}"
    );
}

#[test]
fn preprocessing_is_what_it_says() {
    let device = Device::flex();
    let apply = |preprocessing: Preprocessing| {
        let x = Tensor::from_data([[0.0, 127.5], [255.0, 51.0]], &device);
        prepare(&preprocessing, x).try_into_vec_as::<f32>().unwrap()
    };
    let close = |found: Vec<f32>, expected: [f32; 4]| {
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-5), "{found:?}");
    };
    close(apply(Preprocessing::None), [0.0, 127.5, 255.0, 51.0]);
    close(apply(Preprocessing::PIXELS), [0.0, 0.5, 1.0, 0.2]);
    let normal = Preprocessing::Normalize { scale: 1.0 / 255.0, mean: 0.5, deviation: 0.25 };
    close(apply(normal), [-2.0, 0.0, 2.0, -1.2]);
    let standard =
        Preprocessing::Standardize { mean: vec![55.0, 51.0], deviation: vec![100.0, 0.0] };
    close(apply(standard), [-0.55, 0.0, 2.0, 0.0]);
}
