//! A step of the loop that tunes a wide network: all of it, its head alone, or adapters of rank 8.

#[allow(dead_code, reason = "shared with the other benchmarks")]
mod support;

use std::io;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use fireclay::{
    CrossEntropy, Device, InputSpec, Lora, Loss, Mlp, MlpConfig, Model, Preprocessing, Provenance,
    Task,
};
use fireclay_data::{Dataset, RowSource, Split};
use train::fit::fit;
use train::job::Job;
use train::optimizer::OptimizerConfig;
use train::progress::{Due, EpochReport, Keeper, Progress, Silent};
use train::schedule::Schedule;
use train::settings::Settings;
use train::state::{Snapshot, State};
use train::tuning::{Phase, Start, Tuned, Tuning};

const BATCH: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let data = support::mnist()?;
    let device = Device::flex();
    let network = MlpConfig::new([28, 28], [2048, 2048], 10);
    let lora = Lora { layers: vec![1], rank: 8, alpha: 16.0, dropout: 0.0, rank_stabilized: false };
    let plain = Mlp::init(&network, 1, &device)?;
    let adapted = plain.clone().with_adapters(lora, 1)?;
    let mut group = support::group(&mut criterion, "fine_tuning/784-2048-2048-10");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(10);
    for (name, mlp, trained) in [
        ("full", &plain, &["layers."][..]),
        ("head", &plain, &["layers.2."]),
        ("lora-8", &adapted, &["adapters.", "layers.2."]),
    ] {
        let paths = mlp
            .architecture()
            .trainable()
            .into_iter()
            .map(|(path, _)| path.to_string())
            .filter(|path| trained.iter().any(|prefix| path.starts_with(prefix)));
        let rates = paths.map(|path| (path, 1.0)).collect();
        let tuning = Tuning {
            start: String::new(),
            l2_sp: 0.0,
            keep_statistics: false,
            distillation: None,
            replay: None,
            baseline: None,
            phases: vec![Phase { epochs: 0, rates }],
        };
        let model = Model {
            mlp: mlp.clone(),
            task: Task::numbered_classes(10),
            input: InputSpec::dense(&mlp.architecture().input_shape, Preprocessing::PIXELS),
            provenance: Provenance::default(),
        };
        let start = Start { model, teacher: None, base: None };
        let tuned = Tuned { tuning: &tuning, start: &start };
        group.bench_function(BenchmarkId::new(name, BATCH), |bencher| {
            bencher.iter_custom(|steps| train(&data, &device, tuned, steps));
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Measures training for some steps.
fn train(data: &Dataset, device: &Device, tuned: Tuned<'_>, steps: u64) -> Duration {
    let split = Split { train: (0..55_000).collect(), validation: Vec::new() };
    let mut training = Settings::default().training;
    (training.epochs, training.batch_size) = (u64::MAX / 1_000_000, BATCH);
    let job = Job {
        rows: RowSource::gathered(data, device),
        split: &split,
        task: &tuned.start.model.task,
        preprocessing: tuned.start.model.input.preprocessing(),
        loss: &Loss::CrossEntropy(CrossEntropy::default()),
        optimizer: &OptimizerConfig::default(),
        schedule: &Schedule::default(),
        training: &training,
        tuned: Some(tuned),
        sounds: None,
        seed: 1,
        device,
    };
    let state = State::new(&job, tuned.start.model.mlp.clone());
    let mut clock = Clock { steps, start: None, time: Duration::ZERO };
    if let Err(error) = fit(&job, state, &mut Silent, &mut clock) {
        unreachable!("the network learns: {error}");
    }
    clock.time
}

/// Times the steps after the first, which makes ready, and ends the run behind them.
struct Clock {
    steps: u64,
    start: Option<Instant>,
    time: Duration,
}

impl Keeper for Clock {
    fn record_steps(&mut self, _: &Progress<'_>) -> io::Result<()> {
        Ok(())
    }

    fn record_epoch(&mut self, _: &EpochReport) -> io::Result<()> {
        Ok(())
    }

    fn due(&mut self, step: u64, _: bool) -> io::Result<Due> {
        let start = *self.start.get_or_insert_with(Instant::now);
        if step <= self.steps {
            return Ok(Due::Nothing);
        }
        self.time = start.elapsed();
        Ok(Due::Finish)
    }

    fn keep(&mut self, _: Snapshot) -> io::Result<()> {
        Ok(())
    }
}
