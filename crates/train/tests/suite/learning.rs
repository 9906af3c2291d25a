//! Weights of rows and classes, rows drawn by weight, and quantiles: what they mean for a run.

use fireclay::{
    Backend, CrossEntropy, Decision, Device, DeviceChoice, Loss, Mlp, Model, Provenance,
    TargetScaling, Task,
};
use fireclay_data::{Split, Targets};
use train::evaluate::evaluate;
use train::fit::fit;
use train::job::Job;
use train::progress::Silent;
use train::settings::Sampling;
use train::state::State;

use crate::setup::Setup;

fn device() -> Device {
    Backend::Flex.device(DeviceChoice::Default).unwrap()
}

fn fitted(setup: &Setup) -> Mlp {
    let device = device();
    let job = setup.job(&device);
    let mlp = Mlp::init(&setup.model, setup.seed, &device).unwrap();
    fit(&job, State::new(&job, mlp), &mut Silent, &mut Silent).unwrap().mlp
}

fn numbers(mlp: &Mlp) -> Vec<f32> {
    mlp.tensors().unwrap().into_iter().flat_map(|tensor| tensor.values).collect()
}

#[track_caller]
fn assert_near(found: &Mlp, expected: &Mlp) {
    for (found, expected) in numbers(found).iter().zip(numbers(expected)) {
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
}

/// All training rows in one batch, so that their order does not count.
fn whole(setup: Setup) -> Setup {
    let mut setup = setup;
    setup.training.batch_size = 1000;
    setup.training.epochs = 20;
    setup.split = Split { train: (0..80).collect(), validation: (80..100).collect() };
    setup
}

fn regression() -> Setup {
    let points: Vec<f32> = (0..200).map(|i| ((i * 71 % 199) as f32 - 99.0) / 50.0).collect();
    let values: Vec<f32> = points.chunks(2).map(|p| p[0] + p[1] * p[0]).collect();
    let names = vec!["sum".to_owned()];
    let targets = Targets::Values { values, names: names.clone() };
    let mut setup = Setup::new(points, targets, Task::regression(names));
    setup.optimizer = toml::from_str("name = \"sgd\"\nlearning_rate = 0.1").unwrap();
    setup
}

/// A row of weight 2 is two rows of weight 1, and one of weight 0 is none: in the steps of a fused
/// chain, in those by differentiation, and in the loss of the validation rows.
#[test]
fn a_weight_is_a_number_of_rows() {
    let kinds: [fn() -> Setup; 2] = [Setup::classes, regression];
    for (kind, clip_norm) in kinds.into_iter().flat_map(|kind| [(kind, None), (kind, Some(1e9))]) {
        let weight = |row: usize| row % 3;
        let repeated = |rows: std::ops::Range<usize>| -> Vec<usize> {
            rows.flat_map(|row| vec![row; weight(row)]).collect()
        };
        let mut weighted = whole(kind());
        weighted.training.clip_norm = clip_norm;
        let weights = (0..100).map(|row| weight(row) as f32).collect();
        weighted.data = weighted.data.with_weights(weights).unwrap();
        let mut plain = whole(kind());
        plain.training.clip_norm = clip_norm;
        plain.split = Split { train: repeated(0..80), validation: repeated(80..100) };
        let (found, expected) = (fitted(&weighted), fitted(&plain));
        assert_near(&found, &expected);
        let device = device();
        let loss = |setup: &Setup| {
            let job = setup.job(&device);
            evaluate(&job, &expected, &job.rows, &setup.split.validation).unwrap().get("loss")
        };
        let (found, expected) = (loss(&weighted).unwrap(), loss(&plain).unwrap());
        assert!((found - expected).abs() < 1e-6 * expected, "{found} {expected}");
    }
}

/// Weights of classes are those of their rows: in the gradient of the mean that PyTorch computes.
#[test]
fn the_weight_of_a_class_is_that_of_its_rows() {
    for clip_norm in [None, Some(1e9)] {
        let of_class = [0.5, 3.0, 1.0];
        let mut by_class = whole(Setup::classes());
        by_class.training.clip_norm = clip_norm;
        by_class.loss = Loss::CrossEntropy(CrossEntropy {
            class_weights: Some(of_class.to_vec()),
            ..CrossEntropy::default()
        });
        let mut by_row = whole(Setup::classes());
        by_row.training.clip_norm = clip_norm;
        let Targets::Classes { ids, .. } = by_row.data.targets() else { unreachable!() };
        let weights = ids.iter().map(|&id| of_class[id as usize] as f32).collect();
        by_row.data = by_row.data.clone().with_weights(weights).unwrap();
        assert_near(&fitted(&by_class), &fitted(&by_row));
    }
}

/// A batch of rows that all weigh nothing leaves the weights as they are, and finite.
#[test]
fn rows_without_weight_move_nothing() {
    let mut setup = Setup::classes();
    setup.training.batch_size = 1;
    setup.split = Split { train: vec![0, 1], validation: vec![2] };
    let mut weights = vec![0.0; 100];
    weights[0] = 1.0;
    setup.data = setup.data.with_weights(weights).unwrap();
    let found = fitted(&setup);
    let alone = Setup { split: Split { train: vec![0], validation: vec![2] }, ..setup };
    assert_near(&found, &fitted(&alone));
}

#[test]
fn drawn_rows_depend_on_seed_and_epoch_alone() {
    for sampling in [Sampling::Balanced, Sampling::Weighted] {
        let setup = |seed: u64| {
            let mut setup = Setup::classes();
            let weights = (0..100).map(|row| (row % 4) as f32).collect();
            setup.data = setup.data.with_weights(weights).unwrap();
            setup.training.sampling = sampling;
            Setup { seed, ..setup }
        };
        let [first, same, other] = [1, 1, 2].map(|seed| fitted(&setup(seed)));
        assert_eq!(numbers(&first), numbers(&same));
        assert_ne!(numbers(&first), numbers(&other));
    }
}

fn scaled(task: Task, data: &Targets, split: &Split, is_logarithmic: bool) -> Task {
    let Targets::Values { values, .. } = data else { unreachable!() };
    let scaling = if is_logarithmic {
        TargetScaling::fit_logarithm(values, 1, &split.train)
    } else {
        TargetScaling::fit(values, 1, &split.train)
    };
    task.with_scaling(Some(scaling.unwrap()))
}

/// Of a target that does not depend on the features, the quantiles are those of the target.
#[test]
fn quantiles_are_those_of_the_rows() {
    for is_logarithmic in [false, true] {
        let points = vec![0.0; 2000];
        let values: Vec<f32> = (0..1000).map(|i| 1.0 + (i * 7 % 1000) as f32).collect();
        let names = vec!["y".to_owned()];
        let targets = Targets::Values { values, names: names.clone() };
        let task = Task::regression(names).with_quantiles(vec![0.1, 0.5, 0.9]);
        let mut setup = Setup::new(points, targets, task);
        setup.task = scaled(setup.task.clone(), setup.data.targets(), &setup.split, is_logarithmic);
        setup.optimizer = toml::from_str("name = \"adam\"\nlearning_rate = 0.01").unwrap();
        setup.schedule = toml::from_str("name = \"linear\"").unwrap();
        setup.training.epochs = 60;
        let mlp = fitted(&setup);
        let (task, input) = (setup.task.clone(), setup.input());
        let model = Model { mlp, task, input, provenance: Provenance::default() };
        let found = model.predict(&[[0.0, 0.0]]).unwrap();
        let [fireclay::Prediction::Values { values, intervals }] = &found[..] else {
            panic!("{found:?}")
        };
        let [low, high] = intervals[0];
        for (found, expected) in [(low, 100.0), (values[0], 500.0), (high, 900.0)] {
            assert!((found - expected).abs() < 40.0, "{found} {expected}, {is_logarithmic}");
        }
    }
}

/// The accuracy of a task with a threshold is that of its answers, and its order is left as it is.
#[test]
fn metrics_are_those_of_the_answers() {
    let points: Vec<f32> = (0..200).map(|i| ((i * 71 % 199) as f32 - 99.0) / 50.0).collect();
    let ids: Vec<u32> = points.chunks(2).map(|p| u32::from(p[0] + p[1] > 0.4)).collect();
    let labels = ["no", "yes"].map(String::from).to_vec();
    let targets = Targets::Classes { ids: ids.clone(), labels: labels.clone() };
    let mut setup = Setup::new(points.clone(), targets, Task::classification(labels.clone()));
    setup.training.metrics = vec!["auroc".parse().unwrap(), "average-precision".parse().unwrap()];
    let (mlp, device) = (fitted(&setup), device());
    let rows: Vec<usize> = (0..100).collect();
    let job = setup.job(&device);
    let before = evaluate(&job, &mlp, &job.rows, &rows).unwrap();
    let decision = Decision { temperature: Some(0.5), thresholds: vec![0.9] };
    let task = Task::Classification { labels, decision };
    let judged = Job { task: &task, ..setup.job(&device) };
    let after = evaluate(&judged, &mlp, &judged.rows, &rows).unwrap();
    let (input, provenance) = (setup.input(), Provenance::default());
    let model = Model { mlp, task: task.clone(), input, provenance };
    let points: Vec<&[f32]> = points.chunks(2).collect();
    let answers = model.predict(&points).unwrap();
    let is_right = |(answer, id): (&fireclay::Prediction, &u32)| matches!(answer, fireclay::Prediction::Class { class, .. } if *class == *id as usize);
    let right = answers.iter().zip(&ids).filter(|&pair| is_right(pair)).count();
    assert!((after.get("accuracy").unwrap() - right as f64 / 100.0).abs() < 1e-9);
    assert_ne!(before.get("accuracy"), after.get("accuracy"));
    assert_ne!(before.get("loss"), after.get("loss"));
    for name in ["auroc", "average-precision"] {
        let (before, after) = (before.get(name).unwrap(), after.get(name).unwrap());
        assert!((before - after).abs() < 1e-3, "{name}: {before} {after}");
    }
}
