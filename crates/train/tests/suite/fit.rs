//! The loop, on data small enough to check by reasoning.

use std::io;

use burn::module::Module;
use fireclay::{Backend, CrossEntropy, Device, DeviceChoice, Loss, Mlp, Task};
use fireclay_data::Targets;
use train::evaluate::evaluate;
use train::fit::{Ending, FitError, Fitted, fit};
use train::job::Job;
use train::metrics::{Measured, Meter};
use train::optimizer::{OptimizerConfig, Sgd};
use train::progress::{Display, EpochReport, Progress, Silent};
use train::schedule::Length;
use train::settings::{EarlyStopping, Keep, TrainingSettings};
use train::state::State;

use crate::setup::Setup;

impl Setup {
    fn fit(&self) -> (Result<Fitted, FitError>, Seen) {
        let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
        let mut seen = Seen::default();
        let mlp = Mlp::init(&self.model, self.seed, &device).unwrap();
        let job = self.job(&device);
        let fitted = fit(&job, State::new(&job, mlp), &mut seen, &mut Silent);
        (fitted, seen)
    }

    pub(crate) fn weights(&self) -> Vec<f32> {
        weights(&self.fit().0.unwrap().mlp)
    }
}

fn weights(mlp: &Mlp) -> Vec<f32> {
    mlp.tensors().unwrap().into_iter().flat_map(|tensor| tensor.values).collect()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} != {expected}");
    }
}

/// Records every call.
#[derive(Default)]
struct Seen {
    samples: Vec<usize>,
    training: Vec<Vec<Measured>>,
    validation: Vec<f64>,
    finishes: bool,
}

impl Display for Seen {
    fn start(&mut self, _job: &Job<'_>, _length: Length, _meter: &Meter) -> io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _progress: &Progress<'_>) -> io::Result<()> {
        Ok(())
    }

    fn epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        self.samples.push(report.samples);
        self.training.push(report.training.clone());
        self.validation.extend(report.validation.get("loss"));
        Ok(())
    }

    /// Asks for the end while the first epoch is validated.
    fn wants_to_stop(&self) -> bool {
        self.finishes && !self.validation.is_empty()
    }
}

#[test]
fn learns_and_repeats_to_the_bit() {
    let setup = Setup {
        training: TrainingSettings { epochs: 30, ..Setup::classes().training },
        ..Setup::classes()
    };
    let (fitted, seen) = setup.fit();
    assert!(seen.training[29][1].value > 0.9, "{:?}", seen.training[29]);
    assert!(seen.validation[29] < seen.validation[0] / 2.0, "{:?}", seen.validation);
    assert_eq!(weights(&fitted.unwrap().mlp), setup.weights());
    assert_ne!(Setup { seed: 2, ..setup }.weights(), Setup::classes().weights());
}

#[test]
fn a_stop_asked_for_during_validation_takes_no_further_step() {
    let setup = Setup::classes();
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let job = setup.job(&device);
    let state = State::new(&job, Mlp::init(&setup.model, setup.seed, &device).unwrap());
    let mut seen = Seen { finishes: true, ..Seen::default() };
    let fitted = fit(&job, state, &mut seen, &mut Silent).unwrap();
    assert_eq!((fitted.ending, fitted.epoch), (Ending::Stopped, 1));
    assert_eq!(fitted.step, job.steps_per_epoch());
    assert_eq!(seen.validation.len(), 1);
}

/// 80 rows in batches of 16 are 5 steps; of 24, 3 and a short one that is kept or dropped.
#[test]
fn every_sample_is_seen_once_an_epoch() {
    let samples = |batch_size, drop_last| {
        let mut setup = Setup::classes();
        setup.training = TrainingSettings { batch_size, drop_last, ..setup.training };
        setup.fit().1.samples
    };
    assert_eq!(samples(16, false), [80, 80, 80]);
    assert_eq!(samples(24, false), [80, 80, 80]);
    assert_eq!(samples(24, true), [72, 72, 72]);
    assert_eq!(samples(1000, false), [80, 80, 80]);
    let mut setup = Setup::classes();
    setup.training = TrainingSettings { batch_size: 81, drop_last: true, ..setup.training };
    assert!(matches!(setup.fit().0, Err(FitError::NoBatch { rows: 80, batch: 81 })));
}

/// Four batches of 5 averaged are one batch of 20, the short last ones too, whatever the weights.
#[test]
fn accumulated_batches_are_one_large_batch() {
    let weighted = CrossEntropy { class_weights: Some(vec![0.2, 1.0, 3.0]), label_smoothing: 0.1 };
    for loss in [Loss::CrossEntropy(CrossEntropy::default()), Loss::CrossEntropy(weighted)] {
        let weights = |batch_size, accumulate| {
            let mut setup = Setup { loss: loss.clone(), ..Setup::classes() };
            setup.training = TrainingSettings { batch_size, accumulate, ..setup.training };
            setup.weights()
        };
        assert_close(&weights(5, 4), &weights(20, 1));
        assert_close(&weights(7, 3), &weights(21, 1));
    }
}

/// The loss and accuracy of an epoch do not depend on how its rows fall into batches.
#[test]
fn numbers_do_not_depend_on_batches() {
    let still = |batch_size| {
        let mut setup = Setup::classes();
        // Weights that do not move, so that each batch sees the same network.
        setup.optimizer = OptimizerConfig::Sgd(Sgd { learning_rate: 1e-30, ..Sgd::default() });
        setup.training.batch_size = batch_size;
        setup.training.metrics = ["top-2", "macro-precision", "macro-recall", "macro-f1", "auroc"]
            .map(|m| m.parse().unwrap())
            .to_vec();
        setup.fit().1.training.remove(0)
    };
    let whole = still(80);
    assert_eq!(whole.len(), 7);
    for batch_size in [1, 7, 33] {
        for (found, expected) in still(batch_size).iter().zip(&whole) {
            assert!((found.value - expected.value).abs() < 1e-6, "{found} {expected}");
        }
    }
}

#[test]
fn early_stopping_ends_the_run_and_gives_back_the_best() {
    let mut setup = Setup::classes();
    // Far too large a rate: it gets worse sooner or later.
    setup.optimizer = OptimizerConfig::Sgd(Sgd { learning_rate: 8.0, ..Sgd::default() });
    setup.training.epochs = 200;
    setup.training.early_stopping = Some(EarlyStopping { patience: 3, min_improvement: 0.0 });
    let (fitted, seen) = setup.fit();
    let fitted = fitted.unwrap();
    let best = seen.validation.iter().copied().fold(f64::INFINITY, f64::min);
    let best_epoch = 1 + seen.validation.iter().position(|&loss| loss == best).unwrap() as u64;
    assert_eq!(fitted.ending, Ending::Early);
    assert_eq!(fitted.epoch, best_epoch);
    assert_eq!(seen.validation.len() as u64, best_epoch + 3);

    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let job = setup.job(&device);
    let again = evaluate(&job, &fitted.mlp, &job.rows, &setup.split.validation).unwrap();
    assert_eq!(again.get("loss"), Some(best), "the weights are those of the best epoch");

    setup.training.keep = Keep::Last;
    assert_eq!(setup.fit().0.unwrap().epoch, best_epoch + 3);
}

#[test]
fn an_average_of_weights_lags_behind_them() {
    let mut setup = Setup::classes();
    let last = setup.weights();
    let start = weights(&Mlp::init(&setup.model, 1, &Device::flex()).unwrap());
    setup.training.ema = Some(1e-9);
    assert_close(&setup.weights(), &last);
    setup.training.ema = Some(1.0 - 1e-9);
    assert_close(&setup.weights(), &start);
}

#[test]
fn labels_and_numbers_are_learnt_too() {
    let points: Vec<f32> = (0..200).map(|i| ((i * 71 % 199) as f32 - 99.0) / 50.0).collect();
    let names: Vec<String> = ["a", "b"].map(String::from).to_vec();
    let values = points.iter().map(|x| u8::from(*x > 0.0)).collect();
    let task = Task::multi_label(names.clone());
    let mut setup =
        Setup::new(points.clone(), Targets::MultiLabel { values, labels: names.clone() }, task);
    setup.training.epochs = 30;
    let seen = setup.fit().1;
    assert!(seen.training[29][1].value > 0.95, "{:?}", seen.training[29]);

    let values = points.chunks(2).flat_map(|p| [p[0] + p[1], p[0] - 2.0 * p[1]]).collect();
    let task = Task::regression(names.clone());
    let mut setup = Setup::new(points, Targets::Values { values, names }, task);
    setup.optimizer = OptimizerConfig::Sgd(Sgd { learning_rate: 0.05, ..Sgd::default() });
    setup.training.epochs = 30;
    let seen = setup.fit().1;
    assert!(seen.validation[29] < 0.1, "{:?}", seen.validation);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_with_its_cause() {
    let mut setup = Setup::classes();
    setup.optimizer = OptimizerConfig::Sgd(Sgd { learning_rate: 1e30, ..Sgd::default() });
    let (result, seen) = setup.fit();
    let Err(FitError::NotFinite { step, epoch, learning_rate, fault, last_good, .. }) = result
    else {
        panic!("it went on")
    };
    assert_eq!((epoch, learning_rate), (1, 1e30));
    assert!((2..=6).contains(&step), "{step}");
    assert!(fault.contains("layers."), "{fault}");
    assert!(weights(last_good.as_ref().unwrap()).iter().all(|weight| weight.is_finite()));
    assert!(seen.samples.is_empty(), "no epoch is reported");
}

/// Frozen parameters keep their bytes: no step, no decay.
#[test]
fn what_has_no_gradient_is_left_alone() {
    let mut setup = Setup::classes();
    setup.optimizer = OptimizerConfig::AdamW(Default::default());
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let mut mlp = Mlp::init(&setup.model, 1, &device).unwrap();
    let before = mlp.tensors().unwrap();
    mlp.layers[0] = mlp.layers[0].clone().no_grad();
    let job = setup.job(&device);
    let after =
        fit(&job, State::new(&job, mlp), &mut Silent, &mut Silent).unwrap().mlp.tensors().unwrap();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before == after, before.name.starts_with("layers.0"), "{}", before.name);
    }
}
