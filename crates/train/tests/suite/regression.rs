//! Numbers are learnt in a unit of their own, and predicted in that of their target.

use std::io;

use fireclay::{
    Backend, Checkpoint, Device, DeviceChoice, Huber, Loss, Mlp, Model, Predictor, Provenance,
    TargetScaling, Task,
};
use fireclay_data::Targets;
use train::evaluate::evaluate;
use train::fit::{Fitted, fit};
use train::metrics::{Measured, Meter};
use train::optimizer::{Adam, OptimizerConfig};
use train::progress::{Display, EpochReport, Progress, Silent};
use train::schedule::Length;
use train::settings::{EarlyStopping, Keep, TrainingSettings};
use train::state::State;

use crate::setup::Setup;

fn device() -> Device {
    Backend::Flex.device(DeviceChoice::Default).unwrap()
}

/// 100 points of the plane, and `unit · f(x, y) + zero` of two smooth functions.
fn surface(unit: f32, zero: f32) -> (Vec<f32>, Vec<f32>) {
    let points: Vec<f32> = (0..200).map(|i| ((i * 71 % 199) as f32 - 99.0) / 50.0).collect();
    let of = |p: &[f32]| [(p[0] * 1.5).sin() + p[1], p[0] * p[1]].map(|y| unit * y + zero);
    let values = points.chunks(2).flat_map(of).collect();
    (points, values)
}

fn names() -> Vec<String> {
    ["a", "b"].map(String::from).to_vec()
}

/// A regression whose targets are standardized by its training rows.
fn scaled(unit: f32, zero: f32) -> Setup {
    let (points, values) = surface(unit, zero);
    let targets = Targets::Values { values: values.clone(), names: names() };
    let mut setup = Setup::new(points, targets, Task::regression(names()));
    let scaling = TargetScaling::fit(&values, 2, &setup.split.train).unwrap();
    setup.task = setup.task.with_scaling(Some(scaling));
    let adam = Adam { learning_rate: 0.01, ..Adam::default() };
    setup.optimizer = OptimizerConfig::Adam(adam);
    setup.training.epochs = 20;
    setup
}

/// What is measured after each epoch.
#[derive(Default)]
struct Seen {
    training: Vec<Vec<Measured>>,
    validation: Vec<Vec<Measured>>,
}

impl Display for Seen {
    fn start(&mut self, _job: &train::job::Job<'_>, _: Length, _: &Meter) -> io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _progress: &Progress<'_>) -> io::Result<()> {
        Ok(())
    }

    fn epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        self.training.push(report.training.clone());
        self.validation.push(report.validation.measured.clone());
        Ok(())
    }

    fn wants_to_stop(&self) -> bool {
        false
    }
}

fn value(measured: &[Measured], name: &str) -> f64 {
    measured.iter().find(|measured| measured.name == name).unwrap().value
}

fn fitted(setup: &Setup) -> (Fitted, Seen) {
    let (device, mut seen) = (device(), Seen::default());
    let job = setup.job(&device);
    let mlp = Mlp::init(&setup.model, setup.seed, &device).unwrap();
    let fitted = fit(&job, State::new(&job, mlp), &mut seen, &mut Silent).unwrap();
    (fitted, seen)
}

fn model(setup: &Setup, mlp: Mlp) -> Model {
    Model { mlp, task: setup.task.clone(), input: setup.input(), provenance: Provenance::default() }
}

fn weights(mlp: &Mlp) -> Vec<f32> {
    mlp.tensors().unwrap().into_iter().flat_map(|tensor| tensor.values).collect()
}

/// A target in another unit is learnt as well, and predicted in it.
#[test]
fn the_unit_of_a_target_changes_nothing_but_the_unit() {
    let (unit, zero) = (1000.0, 5000.0);
    let (plain, far) = (scaled(1.0, 0.0), scaled(unit, zero));
    let ((a, a_seen), (b, b_seen)) = (fitted(&plain), fitted(&far));
    let rows: Vec<&[f32]> = surface(1.0, 0.0).0.leak().chunks(2).collect();
    let predictor = |setup, fitted: Fitted| model(setup, fitted.mlp).predictor().unwrap();
    let outputs = |predictor: Predictor| {
        predictor.outputs(&rows.concat(), std::num::NonZero::<usize>::MIN).unwrap()
    };
    let (a, b) = (outputs(predictor(&plain, a)), outputs(predictor(&far, b)));
    for (a, b) in a.iter().zip(&b) {
        assert!((a * unit + zero - b).abs() < 1e-3 * unit, "{a} {b}");
    }
    let (a, b) = (a_seen.validation.last().unwrap(), b_seen.validation.last().unwrap());
    assert!(value(a, "r2") > 0.9, "{a:?}");
    for (name, unit) in
        [("loss", 1.0), ("r2", 1.0), ("mae", 1000.0), ("rmse", 1000.0), ("median-error", 1000.0)]
    {
        let (a, b) = (value(a, name) * unit, value(b, name));
        assert!((a - b).abs() < 1e-3 * a.abs(), "{name}: {a} {b}");
    }
}

/// The metrics of training equal those of the written model on the same rows.
#[test]
fn errors_are_those_of_the_written_model() {
    let setup = scaled(1000.0, 5000.0);
    let (fitted, _) = fitted(&setup);
    let device = device();
    let rows: Vec<usize> = (0..100).collect();
    let job = setup.job(&device);
    let found = evaluate(&job, &fitted.mlp, &job.rows, &rows).unwrap();
    let names: Vec<_> = found.measured.iter().map(|measured| measured.name.as_str()).collect();
    assert_eq!(names, ["loss", "mae", "rmse", "r2", "median-error"]);

    let (points, truth) = surface(1000.0, 5000.0);
    let bytes = model(&setup, fitted.mlp).to_bytes().unwrap().0;
    let predictor = Predictor::from_source(&&bytes[..]).unwrap();
    let predicted = predictor.outputs(&points, std::num::NonZero::<usize>::MIN).unwrap();
    let distance = |(p, t): (&f32, &f32)| (f64::from(*p) - f64::from(*t)).abs();
    let mae = predicted.iter().zip(&truth).map(distance).sum::<f64>() / 200.0;
    let told = found.get("mae").unwrap();
    assert!((mae - told).abs() < 1e-5 * mae, "{mae} {told}");
    // The loss is of standardized numbers.
    let loss = found.get("loss").unwrap();
    assert!(loss < 0.1 && mae > 10.0, "{loss} {mae}");
}

/// The bend of Huber's loss lies at a distance of standardized numbers.
#[test]
fn losses_are_of_standardized_numbers() {
    for (loss, least) in [(Loss::Mae, 0.01), (Loss::Huber(Huber { delta: 0.5 }), 0.001)] {
        let of = |unit, zero| {
            let setup = Setup { loss: loss.clone(), ..scaled(unit, zero) };
            value(fitted(&setup).1.validation.last().unwrap(), "loss")
        };
        let (plain, far) = (of(1.0, 0.0), of(1e5, -3e5));
        assert!(plain > least && (plain - far).abs() < 1e-2 * plain, "{loss:?}: {plain} {far}");
    }
}

/// Early stopping by R2, of which more is better, and by the errors, of which less is.
#[test]
fn any_metric_may_be_monitored() {
    for (name, more) in [("r2", true), ("rmse", false), ("mae", false), ("median-error", false)] {
        let mut setup = scaled(1000.0, 5000.0);
        setup.optimizer = OptimizerConfig::Adam(Adam { learning_rate: 0.3, ..Adam::default() });
        setup.training = TrainingSettings {
            epochs: 100,
            keep: Keep::Best,
            monitor: name.parse().unwrap(),
            early_stopping: Some(EarlyStopping { patience: 2, min_improvement: 0.0 }),
            ..setup.training
        };
        let (fitted, seen) = fitted(&setup);
        let values: Vec<f64> = seen.validation.iter().map(|m| value(m, name)).collect();
        let better = |a: &f64, b: &f64| if more { a.total_cmp(b) } else { b.total_cmp(a) };
        let best = values.iter().copied().max_by(better).unwrap();
        let epoch = 1 + values.iter().position(|&value| value == best).unwrap() as u64;
        assert_eq!(fitted.epoch, epoch, "{name}: {values:?}");
        assert_eq!(values.len() as u64, epoch + 2, "{name}: {values:?}");
        // Of 5000 units an improvement of 10^6 is none, and one epoch is as good as the next.
        setup.training.early_stopping = Some(EarlyStopping { patience: 2, min_improvement: 1e6 });
        let (fitted, seen) = self::fitted(&setup);
        assert_eq!((fitted.epoch, seen.validation.len()), (1, 3), "{name}");
    }
}

/// A metric that nobody asked for is measured if it is monitored.
#[test]
fn what_is_monitored_is_measured() {
    let mut setup = Setup::classes();
    setup.training.monitor = "macro-f1".parse().unwrap();
    setup.training.keep = Keep::Best;
    let (fitted, seen) = fitted(&setup);
    let values: Vec<f64> = seen.validation.iter().map(|m| value(m, "macro-f1")).collect();
    let best = values.iter().copied().fold(0.0, f64::max);
    let epoch = 1 + values.iter().position(|&value| value == best).unwrap() as u64;
    assert_eq!(fitted.epoch, epoch, "{values:?}");
}

/// The setup of the fixtures, which a program without target scaling made: a checkpoint in the middle
/// of an epoch, and the model that the run ended with.
fn before_scaling() -> Setup {
    let points: Vec<f32> = (0..200).map(|i| ((i * 71 % 199) as f32 - 99.0) / 50.0).collect();
    let names = vec!["sum".to_owned()];
    let values = points.chunks(2).map(|p| p[0] + p[1] * p[0]).collect();
    let targets = Targets::Values { values, names: names.clone() };
    let mut setup = Setup::new(points, targets, Task::regression(names));
    setup.optimizer = OptimizerConfig::Adam(Adam { learning_rate: 0.01, ..Adam::default() });
    let plateau = "name = \"plateau\"\npatience = 0\nfactor = 0.5\nthreshold = 0.3";
    setup.schedule = toml::from_str(plateau).unwrap();
    setup.training = TrainingSettings {
        epochs: 6,
        batch_size: 1,
        ema: Some(0.9),
        early_stopping: Some(EarlyStopping { patience: 4, min_improvement: 1e-3 }),
        keep: Keep::Best,
        ..setup.training
    };
    setup
}

#[test]
fn a_run_from_before_scaling_goes_on_as_it_was() {
    let (setup, device) = (before_scaling(), device());
    let job = setup.job(&device);
    let checkpoint = include_bytes!("../fixtures/regression-before-scaling-step-140.safetensors");
    let expected = include_bytes!("../../../model/tests/fixtures/regression-v1.safetensors");
    let expected = Model::from_bytes(expected, &device).unwrap();
    assert_eq!(expected.task, setup.task);
    let state = State::restore(&job, Checkpoint::from_bytes(checkpoint).unwrap()).unwrap();
    let mut seen = Seen::default();
    let fitted = fit(&job, state, &mut seen, &mut Silent).unwrap();
    assert_eq!(fitted.epoch, 5);
    // On the machine that made them the bits are the same; others may round otherwise.
    for (found, expected) in weights(&fitted.mlp).iter().zip(weights(&expected.mlp)) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    // Of the epoch under way it has the losses, and not all rows: no error is reported for it.
    let told =
        |epoch: usize| seen.training[epoch].iter().map(|m| m.name.clone()).collect::<Vec<_>>();
    assert_eq!(told(0), ["loss"]);
    assert_eq!(told(1), ["loss", "mae", "rmse", "r2", "median-error"]);
    assert_eq!(
        model(&setup, expected.mlp.clone()).to_bytes().unwrap().1,
        expected.digest().unwrap()
    );
}
