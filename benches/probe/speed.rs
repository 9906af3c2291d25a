//! The speed of a backend.

use std::io;
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::Device;
use fireclay::{CrossEntropy, Loss, Mlp, MlpConfig, Preprocessing, prepare};
use fireclay_data::{Dataset, RowSource, Split, permutation};
use serde_json::{Value, json};
use train::fit::fit;
use train::job::Job;
use train::optimizer::OptimizerConfig;
use train::progress::{Due, EpochReport, Keeper, Progress, Silent};
use train::schedule::Schedule;
use train::settings::{Settings, TrainingSettings};
use train::state::{Snapshot, State};

use crate::{sync, task};

/// Training by the loop of `train`, metrics and all: the time of the first step, and the rate of
/// the steps after a warm-up.
pub(crate) fn train(
    network: &MlpConfig,
    rows: RowSource<'_>,
    device: &Device,
    batch: usize,
    seconds: f64,
) -> Result<Value> {
    let split = Split { train: (0..55_000).collect(), validation: Vec::new() };
    let training = TrainingSettings {
        epochs: u64::MAX / 1_000_000,
        batch_size: batch,
        ..Settings::default().training
    };
    let job = Job {
        task: &task(rows.data()),
        rows,
        split: &split,
        preprocessing: &Preprocessing::PIXELS,
        loss: &Loss::CrossEntropy(CrossEntropy::default()),
        optimizer: &OptimizerConfig::default(),
        schedule: &Schedule::default(),
        training: &training,
        tuned: None,
        sounds: None,
        seed: 1,
        device,
    };
    let state = State::new(&job, Mlp::init(network, 1, device)?);
    let mut clock = Clock {
        device,
        window: Duration::from_secs_f64(seconds),
        start: Instant::now(),
        cold: None,
        warm: None,
        steps: 0,
        time: Duration::ZERO,
    };
    fit(&job, state, &mut Silent, &mut clock)?;
    let step = clock.time.as_secs_f64() / clock.steps.max(1) as f64;
    // The last batch of an epoch is short.
    let batch = 55_000.0 / 55_000_usize.div_ceil(batch) as f64;
    Ok(json!({
        "cold_s": clock.cold.map(|cold| cold.as_secs_f64()),
        "step_us": 1e6 * step,
        "samples_per_s": batch / step,
        "steps": clock.steps,
    }))
}

/// Measures a window of steps and ends the run behind it.
struct Clock<'a> {
    device: &'a Device,
    window: Duration,
    start: Instant,
    /// The time of the first step.
    cold: Option<Duration>,
    /// When the window began, and after which step.
    warm: Option<(Instant, u64)>,
    steps: u64,
    time: Duration,
}

impl Clock<'_> {
    /// Waits until the device has done everything.
    fn wait(&self) -> io::Result<()> {
        self.device.sync().map_err(|error| io::Error::other(error.to_string()))
    }
}

impl Keeper for Clock<'_> {
    fn record_steps(&mut self, _: &Progress<'_>) -> io::Result<()> {
        Ok(())
    }

    fn record_epoch(&mut self, _: &EpochReport) -> io::Result<()> {
        Ok(())
    }

    fn due(&mut self, step: u64, epoch_ended: bool) -> io::Result<Due> {
        if epoch_ended {
            return Ok(Due::Nothing);
        }
        let Some((warm, first)) = self.warm else {
            if self.cold.is_none() {
                self.wait()?;
                self.cold = Some(self.start.elapsed());
            }
            // Half a window to warm up in: kernels are tuned, caches fill, clocks rise.
            if self.start.elapsed() >= self.cold.unwrap_or_default() + self.window / 2 {
                self.wait()?;
                self.warm = Some((Instant::now(), step));
            }
            return Ok(Due::Nothing);
        };
        if warm.elapsed() < self.window {
            return Ok(Due::Nothing);
        }
        self.wait()?;
        (self.time, self.steps) = (warm.elapsed(), step - first);
        Ok(Due::Finish)
    }

    fn keep(&mut self, _: Snapshot) -> io::Result<()> {
        Ok(())
    }
}

/// Predictions, from rows on the host to logits on the host.
pub(crate) fn infer(
    network: &MlpConfig,
    data: &Dataset,
    device: &Device,
    batch: usize,
    seconds: f64,
) -> Result<Value> {
    let mlp = Mlp::init(network, 1, device)?;
    let rows: Vec<usize> = permutation(data.len(), 1, 1).into_iter().map(|r| r as usize).collect();
    let mut batches = rows.chunks_exact(batch).cycle();
    let mut call = || -> Result<Duration> {
        let rows = batches.next().unwrap_or_default();
        let start = Instant::now();
        let inputs = prepare(&Preprocessing::PIXELS, data.batch(rows, device).inputs);
        mlp.forward(inputs).try_into_vec_as::<f32>()?;
        Ok(start.elapsed())
    };
    let cold = call()?;
    let warm = Instant::now();
    while warm.elapsed().as_secs_f64() < seconds / 2.0 {
        call()?;
    }
    sync(device)?;
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds || times.len() < 3 {
        times.push(call()?.as_secs_f64());
    }
    let total: f64 = times.iter().sum();
    times.sort_by(f64::total_cmp);
    let [median, slow] =
        [0.5, 0.99].map(|share| 1e6 * times[((times.len() - 1) as f64 * share) as usize]);
    Ok(json!({
        "cold_s": cold.as_secs_f64(),
        "p50_us": median,
        "p99_us": slow,
        "samples_per_s": (batch * times.len()) as f64 / total,
        "calls": times.len(),
    }))
}
