//! A run that is stopped and resumed is, to the bit, the run that was left alone.
//!
//! For many settings: the same log, and the same last checkpoint, which holds weights, optimizer
//! memory, averages, schedule and best epoch.

use std::fs;
use std::io;
use std::path::Path;

use fireclay::{
    Activation, Average, Backend, Checkpoint, DeviceChoice, Ensemble, FrontPart, InputSpec, Loss,
    Mlp, Model, Norm, Parametrization, Provenance, SoundColumns, Sounds, TargetScaling, Task,
};
use fireclay_data::{Augmentation, Targets};
use train::disk::Disk;
use train::fit::{Ending, fit};
use train::job::Job;
use train::metrics::MetricChoice;
use train::optimizer::OptimizerConfig;
use train::progress::{Due, EpochReport, Keeper, Progress, Silent};
use train::run_folder::MetricsLog;
use train::schedule::Schedule;
use train::settings::{Annealed, EarlyStopping, GroupRates, Keep, Sampling, TrainingSettings};
use train::state::{Snapshot, State};

use crate::setup::Setup;

/// Keeps the log in a file and the last checkpoint in memory; stops at a step if asked to.
struct Recording<'a> {
    job: &'a Job<'a>,
    input: InputSpec,
    log: MetricsLog,
    stop_at: Option<u64>,
    kept: Option<Kept>,
}

#[derive(Clone, PartialEq)]
struct Kept {
    checkpoint: Vec<u8>,
    log: u64,
}

impl Keeper for Recording<'_> {
    fn record_steps(&mut self, progress: &Progress<'_>) -> io::Result<()> {
        self.log.write_steps(progress)
    }

    fn record_epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        self.log.write_epoch(report)
    }

    fn due(&mut self, step: u64, epoch_ended: bool) -> io::Result<Due> {
        Ok(match (self.stop_at == Some(step), epoch_ended) {
            (true, false) if stops_for_good(step) => Due::Finish,
            (true, false) => Due::Interrupt,
            (_, true) => Due::Keep,
            _ => Due::Nothing,
        })
    }

    fn keep(&mut self, snapshot: Snapshot) -> io::Result<()> {
        let model = |mlp| Model {
            mlp,
            task: self.job.task.clone(),
            input: self.input.clone(),
            provenance: Provenance::default(),
        };
        let checkpoint = snapshot.into_checkpoint(model, ()).unwrap();
        let (checkpoint, _) = checkpoint.to_bytes().unwrap();
        self.kept = Some(Kept { checkpoint, log: self.log.whole() });
        Ok(())
    }
}

/// Whether somebody who stops at this step means to be done; else it is a signal.
fn stops_for_good(step: u64) -> bool {
    step % 2 == 1
}

/// Trains from `state` with the log in `path`, of which the first bytes are true of the state.
fn train(
    job: &Job<'_>,
    state: State,
    path: &Path,
    log: u64,
    stop_at: Option<u64>,
) -> (Kept, Ending) {
    let log = MetricsLog::open(path, log, Disk::default()).unwrap();
    let dense = || InputSpec::dense(&[2], job.preprocessing.clone());
    let input = job.data().input().cloned().unwrap_or_else(dense);
    let mut recording = Recording { job, input, log, stop_at, kept: None };
    let fitted = fit(job, state, &mut Silent, &mut recording).unwrap();
    (recording.kept.unwrap(), fitted.ending)
}

/// Runs a setup once without a stop, and once with a stop at each of some steps.
fn check(setup: &Setup, what: &str, stops: impl Fn(u64) -> Vec<u64>) {
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let job = setup.job(&device);
    let folder = tempfile::tempdir().unwrap();
    let fresh = || State::new(&job, Mlp::init(&setup.model, setup.seed, &device).unwrap());

    let whole = folder.path().join("whole.jsonl");
    let (expected, _) = train(&job, fresh(), &whole, 0, None);
    let last = Checkpoint::from_bytes(&expected.checkpoint).unwrap();
    let steps = last.run()["state"]["progress"]["step"].as_u64().unwrap();

    let parts = folder.path().join("parts.jsonl");
    let (mut state, mut log) = (fresh(), 0);
    for stop in stops(steps) {
        let (kept, ending) = train(&job, state, &parts, log, Some(stop));
        let expected = if stops_for_good(stop) { Ending::Stopped } else { Ending::Interrupted };
        assert_eq!(ending, expected, "{what}: at {stop} of {steps}");
        // A process that is killed leaves lines behind that its checkpoint knows nothing of.
        let mut text = fs::read(&parts).unwrap();
        text.extend(b"{\"split\":\"training\",\"half");
        fs::write(&parts, text).unwrap();
        let checkpoint = Checkpoint::from_bytes(&kept.checkpoint).unwrap();
        (state, log) = (State::restore(&job, checkpoint).unwrap(), kept.log);
    }
    let (found, _) = train(&job, state, &parts, log, None);
    let read = |path| String::from_utf8(fs::read(path).unwrap()).unwrap();
    let (found_log, expected_log) = (read(&parts), read(&whole));
    for (found, expected) in found_log.lines().zip(expected_log.lines()) {
        assert_eq!(found, expected, "{what}: the logs differ");
    }
    assert_eq!(found_log.len(), expected_log.len(), "{what}: one log is longer");
    assert!(found.checkpoint == expected.checkpoint, "{what}: the last checkpoints differ");
}

/// A pseudo-random number below `below` for each place; fixed, so that a failure repeats.
fn pick(seed: u64, place: u64, below: u64) -> u64 {
    let mixed = (seed * 1_000_003 + place).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33) % below
}

/// One of some choices.
fn one_of<T: Clone>(choices: &[T], seed: u64, place: u64) -> T {
    choices[(pick(seed, place, 1 << 20) % choices.len() as u64) as usize].clone()
}

/// A setup that differs from its neighbours in most of what a run can do.
fn varied(i: u64) -> (Setup, String) {
    let points: Vec<f32> = (0..200).map(|i| ((i * 71 % 199) as f32 - 99.0) / 50.0).collect();
    let mut setup = match i % 3 {
        0 => Setup::classes(),
        1 => {
            let labels: Vec<String> = ["right", "high"].map(String::from).to_vec();
            let values = points.iter().map(|&x| u8::from(x > 0.0)).collect();
            let targets = Targets::MultiLabel { values, labels: labels.clone() };
            Setup::new(points, targets, Task::multi_label(labels))
        }
        _ => {
            let names = vec!["sum".to_owned()];
            let values: Vec<f32> = points.chunks(2).map(|p| p[0] + p[1] * p[0]).collect();
            let targets = Targets::Values { values: values.clone(), names: names.clone() };
            let mut setup = Setup::new(points, targets, Task::regression(names.clone()));
            let train = &setup.split.train;
            let scaling = match one_of(&["none", "standardize", "log"], i, 15) {
                "none" => None,
                "log" => {
                    let values: Vec<f32> = values.iter().map(|value| value.exp()).collect();
                    let scaling = TargetScaling::fit_logarithm(&values, 1, train).unwrap();
                    let targets = Targets::Values { values, names };
                    setup.data = setup.data.with_targets(targets).unwrap();
                    Some(scaling)
                }
                _ => Some(TargetScaling::fit(&values, 1, train).unwrap()),
            };
            setup.task = setup.task.with_scaling(scaling);
            if one_of(&[false, true], i, 17) {
                setup.task = setup.task.with_quantiles(vec![0.1, 0.5, 0.9]);
                setup.loss = Loss::default_for(&setup.task);
                setup.model.outputs = setup.task.outputs();
            }
            setup
        }
    };
    if let (Loss::CrossEntropy(loss), true) = (&mut setup.loss, one_of(&[false, true], i, 18)) {
        loss.class_weights = Some(vec![1.0, 2.5, 0.5]);
    }
    if one_of(&[false, true], i, 19) {
        let weights = (0..setup.data.len()).map(|row| (row * 7 % 5) as f32 / 2.0).collect();
        setup.data = setup.data.with_weights(weights).unwrap();
    }
    let samplings = match (i % 3, setup.data.weights()) {
        (0, _) => [Sampling::Shuffle, Sampling::Balanced],
        (_, Some(_)) => [Sampling::Shuffle, Sampling::Weighted],
        _ => [Sampling::Shuffle; 2],
    };
    let optimizer = OptimizerConfig::NAMES[i as usize % OptimizerConfig::NAMES.len()];
    let momentum = if optimizer == "sgd" { "\nmomentum = 0.9" } else { "" };
    setup.optimizer =
        toml::from_str(&format!("name = \"{optimizer}\"\nlearning_rate = 0.01{momentum}")).unwrap();
    let schedule = one_of(&Schedule::NAMES, i, 1);
    let watch = if schedule == "plateau" { "\nwatch = \"monitor\"\npatience = 0" } else { "" };
    setup.schedule = toml::from_str(&format!("name = \"{schedule}\"{watch}")).unwrap();
    setup.model.activation = one_of(&[Activation::Relu, Activation::Tanh, Activation::Gelu], i, 2);
    setup.model.norm = one_of(&[Norm::None, Norm::Batch, Norm::Layer], i, 3);
    setup.model.dropout = one_of(&[0.0, 0.3], i, 4);
    setup.model.input_dropout = one_of(&[0.0, 0.1], i, 5);
    setup.model.hidden = one_of(&[vec![8], vec![8, 8], vec![]], i, 6);
    let of_classes = [
        MetricChoice::Precision,
        MetricChoice::Recall,
        MetricChoice::Auroc,
        MetricChoice::AveragePrecision,
    ];
    let metrics = match i % 3 {
        0 => one_of(&[vec![], of_classes.to_vec(), vec![MetricChoice::TopK(2)]], i, 7),
        1 => one_of(&[vec![], vec![MetricChoice::FBeta(1.0), MetricChoice::LearningRate]], i, 7),
        _ => vec![MetricChoice::LearningRate],
    };
    let monitors = match i % 3 {
        0 => ["loss", "accuracy", "macro-f1"],
        1 => ["loss", "average-precision", "macro-recall"],
        _ => ["loss", "r2", "rmse"],
    };
    setup.training = TrainingSettings {
        epochs: 3,
        // Of 80 rows: 80, 27, 5 or 2 steps an epoch; metrics are measured every 50.
        batch_size: one_of(&[1, 3, 16, 40], i, 8),
        accumulate: one_of(&[1, 1, 2], i, 9),
        drop_last: one_of(&[false, true], i, 10),
        clip_norm: one_of(&[None, Some(0.5)], i, 11),
        ema: one_of(&[None, Some(0.9)], i, 12),
        early_stopping: one_of(
            &[None, None, Some(EarlyStopping { patience: 1, min_improvement: 1e-3 })],
            i,
            13,
        ),
        keep: one_of(&[Keep::Auto, Keep::Best], i, 14),
        monitor: one_of(&monitors, i, 16).parse().unwrap(),
        sampling: one_of(&samplings, i, 20),
        metrics,
        ..setup.training
    };
    let training = &setup.training;
    let what = format!(
        "setup {i}: {optimizer}, {schedule}, {}, norm {}, dropout {}, batches of {} x {}, \
         ema {:?}, early stopping {}, by {}, {:?}, {}, {}weights, loss {:?}, scaling {:?}",
        setup.task.kind(),
        setup.model.norm,
        setup.model.dropout,
        training.batch_size,
        training.accumulate,
        training.ema,
        training.early_stopping.is_some(),
        training.monitor,
        training.metrics,
        training.sampling.name(),
        if setup.data.weights().is_some() { "" } else { "no " },
        setup.loss,
        setup.task.scaling(),
    );
    (setup, what)
}

#[test]
fn seventy_two_kinds_of_runs_go_on_as_if_never_stopped() {
    for i in 0..72 {
        let (setup, what) = varied(i);
        check(&setup, &what, |steps| {
            let mut stops: Vec<u64> =
                (0..3).map(|n| 1 + pick(i, 100 + n, 1 << 20) % (steps - 1).max(1)).collect();
            stops.sort_unstable();
            stops.dedup();
            stops
        });
    }
}

/// Networks for tables: a front stage, a learned scaling, members, and rates of groups.
#[test]
fn networks_with_a_front_stage_and_members_go_on_as_if_never_stopped() {
    for i in 0..12 {
        let (mut setup, what) = varied(i);
        let periodic = FrontPart::Periodic { columns: 1, frequencies: 3, width: 3, sigma: 0.3 };
        setup.model.front = vec![periodic, FrontPart::Embedding { levels: 2, width: 2 }];
        setup.model.scaling = one_of(&[true, false], i, 20);
        setup.model.parametric = one_of(&[true, false], i, 21);
        setup.model.parametrization = one_of(Parametrization::ALL, i, 22);
        let ensemble = Ensemble { members: 3, average: Average::of(&setup.task) };
        setup.model.ensemble = one_of(&[Some(ensemble), None], i, 23);
        setup.training.anneal = one_of(
            &[vec![], vec![Annealed::Dropout], vec![Annealed::Dropout, Annealed::WeightDecay]],
            i,
            24,
        );
        setup.training.rates = GroupRates { biases: 0.1, numbers: 0.5, ..GroupRates::default() };
        check(&setup, &what, |steps| vec![1 + pick(i, 124, 1 << 20) % (steps - 1).max(1)]);
    }
}

/// Texts, alone and beside columns: a step moves only the vectors of terms that its rows have.
#[test]
fn networks_of_texts_go_on_as_if_never_stopped() {
    for i in 0..18 {
        let (setup, what) = varied(i);
        let activations = [Activation::Relu, Activation::Identity, Activation::Tanh];
        let setup = setup.with_texts(one_of(&[true, false], i, 30), one_of(&activations, i, 31));
        check(&setup, &what, |steps| vec![1 + pick(i, 130, 1 << 20) % (steps - 1).max(1)]);
    }
}

/// The same where a step is one operation, which keeps the vectors while it runs.
#[test]
fn fused_steps_of_texts_go_on_as_if_never_stopped() {
    for (i, name) in ["sgd", "adam", "adamw"].into_iter().enumerate() {
        let mut setup = Setup::classes().with_texts(i == 0, Activation::Relu);
        let momentum = if name == "sgd" { "\nmomentum = 0.9" } else { "" };
        setup.optimizer =
            toml::from_str(&format!("name = \"{name}\"\nlearning_rate = 0.01{momentum}")).unwrap();
        setup.training.ema = [None, Some(0.9), None][i];
        setup.training.batch_size = 3;
        check(&setup, name, |steps| vec![2, 5, steps / 2, steps - 1]);
    }
}

/// Augmentation of rows that have a band and two columns, in fused steps and in others.
#[test]
fn augmented_runs_go_on_as_if_never_stopped() {
    let columns = SoundColumns::Bins { count: 2 };
    let sounds = Sounds { mels: 1, columns, ..Sounds::of_rate(8_000) };
    let augment = Augmentation { shift: 0.5, gain: 0.5, noise: 0.1, ..Augmentation::default() };
    let mut fused = Setup { sounds: Some(sounds), ..Setup::classes() };
    fused.training.augment = augment;
    check(&fused, "augmented, fused", |steps| (1..steps).collect());
    for i in 0..6 {
        let (mut setup, what) = varied(i);
        setup.sounds = Some(sounds);
        setup.training.augment = augment;
        check(&setup, &what, |steps| vec![1 + pick(i, 130, 1 << 20) % (steps - 1).max(1)]);
    }
    // It does change the weights.
    let plain = Setup { sounds: Some(sounds), ..Setup::classes() };
    assert_ne!(plain.weights(), fused.weights());
}

#[test]
fn a_stop_after_every_single_step_changes_nothing() {
    let (mut setup, what) = varied(0);
    setup.training.batch_size = 7;
    setup.training.epochs = 2;
    check(&setup, &what, |steps| (1..steps).collect());
}

/// Guards the tests above: they compare something that does change.
#[test]
fn a_state_that_is_not_the_same_leads_elsewhere() {
    let (setup, _) = varied(0);
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let job = setup.job(&device);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    let fresh = |seed| State::new(&job, Mlp::init(&setup.model, seed, &device).unwrap());
    let (expected, _) = train(&job, fresh(1), &path, 0, None);
    let (other, _) = train(&job, fresh(2), &path, 0, None);
    assert!(other.checkpoint != expected.checkpoint);
    let (same, _) = train(&job, fresh(1), &path, 0, None);
    assert!(same == expected);
}
