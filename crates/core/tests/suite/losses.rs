//! Every loss against an independent formula and against PyTorch, in f64.

use std::fs;
use std::path::Path;

use crate::support::{device, tensor, values};
use burn::tensor::{Int, Tensor, TensorData};
use fireclay::{CrossEntropy, Huber, Loss, LossError, Quantile, TargetTensor, Task};
use safetensors::SafeTensors;
use serde::Deserialize;

#[track_caller]
fn assert_close(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= 1e-12 * expected.abs().max(1.0), "{name}[{i}]: {found} != {expected}");
    }
}

/// The losses written out over plain numbers, with the sums in the naive order.
#[test]
fn agree_with_the_textbook() {
    let device = device();
    let (rows, width) = (4, 3);
    let z: Vec<f64> = (0..rows * width).map(|i| ((i * 7 % 11) as f64 - 5.0) * 0.6).collect();
    let t: Vec<f64> = (0..rows * width).map(|i| f64::from(u8::from(i % 2 == 0))).collect();
    let classes = [2usize, 0, 1, 1];
    let weights = [0.5, 2.0, 1.25];
    let logits = || tensor(z.clone(), [rows, width], &device);
    let numbers = TargetTensor::Values(tensor(t.clone(), [rows, width], &device));
    let row_mean = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
        let row = |r: usize| (0..width).map(|c| f(z[r * width + c], t[r * width + c])).sum::<f64>();
        (0..rows).map(|r| row(r) / width as f64).collect()
    };

    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let bce = row_mean(&|z, t| -t * sigmoid(z).ln() - (1.0 - t) * (1.0 - sigmoid(z)).ln());
    assert_close("bce", &values(Loss::BinaryCrossEntropy.rows(logits(), &numbers)), &bce);
    let mse = row_mean(&|z, t| (z - t).powi(2));
    assert_close("mse", &values(Loss::Mse.rows(logits(), &numbers)), &mse);
    let mae = row_mean(&|z, t| (z - t).abs());
    assert_close("mae", &values(Loss::Mae.rows(logits(), &numbers)), &mae);
    let huber = row_mean(&|z, t| match (z - t).abs() {
        r if r <= 0.7 => r * r / 2.0,
        r => 0.7 * (r - 0.35),
    });
    let loss = Loss::Huber(Huber { delta: 0.7 });
    assert_close("huber", &values(loss.rows(logits(), &numbers)), &huber);

    // Three quantiles of one target.
    let quantiles = vec![0.1, 0.5, 0.8];
    let truth: Vec<f64> = (0..rows).map(|r| t[r * width] - 0.5).collect();
    let pinball = |r: usize, c: usize| match truth[r] - z[r * width + c] {
        residual if residual >= 0.0 => quantiles[c] * residual,
        residual => (quantiles[c] - 1.0) * residual,
    };
    let expected: Vec<f64> =
        (0..rows).map(|r| (0..width).map(|c| pinball(r, c)).sum::<f64>() / width as f64).collect();
    let targets = TargetTensor::Values(tensor(truth.clone(), [rows, 1], &device));
    let loss = Loss::Quantile(Quantile { quantiles: quantiles.clone() });
    assert_close("quantile", &values(loss.rows(logits(), &targets)), &expected);

    let log_softmax = |r: usize, c: usize| {
        let row = &z[r * width..(r + 1) * width];
        row[c] - row.iter().map(|z| z.exp()).sum::<f64>().ln()
    };
    let smoothed: Vec<f64> = (0..rows)
        .map(|r| {
            let target = |c: usize| 0.9 * f64::from(u8::from(c == classes[r])) + 0.1 / width as f64;
            -(0..width).map(|c| weights[c] * target(c) * log_softmax(r, c)).sum::<f64>()
        })
        .collect();
    let ids = TensorData::new(classes.map(|c| c as i64).to_vec(), [rows]);
    let targets = TargetTensor::Classes(Tensor::<1, Int>::from_data(ids, &device));
    let loss = Loss::CrossEntropy(CrossEntropy {
        label_smoothing: 0.1,
        class_weights: Some(weights.to_vec()),
    });
    assert_close("cross-entropy", &values(loss.rows(logits(), &targets)), &smoothed);
    let total: f64 = classes.iter().map(|&c| weights[c]).sum();
    let mean = smoothed.iter().sum::<f64>() / total;
    assert_close("mean", &values(loss.mean(logits(), &targets)), &[mean]);
}

/// `goldens/losses.py` computed these with PyTorch.
#[test]
fn agree_with_pytorch() {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        loss: Loss,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/losses.safetensors");
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases = &header.metadata().as_ref().unwrap()["cases"];
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |name: String| -> Vec<f64> {
        let view = golden.tensor(&name).unwrap();
        view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let device = device().autodiff();
    assert!(cases.len() >= 8);
    for Case { name, loss } in cases {
        let logits = golden.tensor(&format!("{name}/logits")).unwrap();
        let shape: [usize; 2] = logits.shape().try_into().unwrap();
        let logits = tensor(numbers(format!("{name}/logits")), shape, &device).require_grad();
        let targets = match golden.tensor(&format!("{name}/classes")) {
            Ok(view) => {
                let ids = view.data().chunks_exact(8);
                let ids: Vec<i64> =
                    ids.map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
                TargetTensor::Classes(Tensor::from_data(TensorData::new(ids, [shape[0]]), &device))
            }
            Err(_) => {
                TargetTensor::Values(tensor(numbers(format!("{name}/values")), shape, &device))
            }
        };
        let mean = loss.mean(logits.clone(), &targets);
        let gradient = logits.grad(&mean.backward()).unwrap();
        let rows = values(loss.rows(logits, &targets));
        assert_close(&format!("{name} rows"), &rows, &numbers(format!("{name}/rows")));
        assert_close(&format!("{name} mean"), &values(mean), &numbers(format!("{name}/mean")));
        let expected = numbers(format!("{name}/gradient"));
        assert_close(&format!("{name} gradient"), &values(gradient), &expected);
    }
}

#[test]
fn a_loss_of_another_task_or_out_of_range_is_refused() {
    let classes = Task::numbered_classes(3);
    let error = Loss::Mse.validate(&classes).unwrap_err();
    assert!(matches!(error, LossError::WrongTask { usual: "cross-entropy", .. }), "{error}");
    let with = |label_smoothing, class_weights| {
        Loss::CrossEntropy(CrossEntropy { label_smoothing, class_weights }).validate(&classes)
    };
    assert!(with(0.1, Some(vec![1.0, 2.0, 3.0])).is_ok());
    assert!(matches!(
        with(1.0, None),
        Err(LossError::BadSetting { setting: "label_smoothing", .. })
    ));
    assert!(matches!(
        with(0.0, Some(vec![1.0])),
        Err(LossError::ClassWeights { found: 1, expected: 3 })
    ));
    assert!(matches!(
        with(0.0, Some(vec![1.0, f64::NAN, 1.0])),
        Err(LossError::BadSetting { setting: "class_weights", .. })
    ));
    let regression = Task::regression(vec!["y".to_owned()]);
    let spread = regression.clone().with_quantiles(vec![0.1, 0.9]);
    let quantile = |quantiles: &[f64]| Loss::Quantile(Quantile { quantiles: quantiles.to_vec() });
    assert_eq!(quantile(&[0.1, 0.9]).validate(&spread), Ok(()));
    assert_eq!(Loss::default_for(&spread), quantile(&[0.1, 0.9]));
    for (loss, task) in
        [(Loss::Mse, &spread), (quantile(&[0.1]), &spread), (quantile(&[0.1, 0.9]), &regression)]
    {
        assert!(matches!(loss.validate(task), Err(LossError::OtherQuantiles { .. })), "{loss:?}");
    }
    assert!(matches!(quantile(&[0.9, 0.1]).validate(&spread), Err(LossError::Quantiles(_))));
    assert!(Loss::Huber(Huber { delta: 0.0 }).validate(&regression).is_err());
}
