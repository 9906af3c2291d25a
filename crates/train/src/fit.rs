//! The training loop.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorReadError};
use burn::train::renderer::MetricState;
use fireclay::{DropoutKey, Loss, Mlp, Preprocessing, Targets, Task, prepare};
use fireclay_data::{
    BatchTargets, Dataset, RowSource, Split, Targets as HostTargets, batches, permutation,
};

use crate::fused::Fused;
use crate::gradients::{Gradients, flat};
use crate::metrics::{Measured, Meter, MetricChoice, Moment, Observed};
use crate::optimizer::OptimizerConfig;
use crate::profile::Profile;
use crate::progress::{Due, EpochReport, Observer, Progress};
use crate::schedule::{Length, Schedule};
use crate::settings::TrainingSettings;
use crate::state::{RunProgress, State};
use crate::tuning::{Phase, Tuned};

/// Rows of a batch when nothing is trained: enough to keep a device busy, few enough to be small.
const EVALUATION_BATCH: usize = 1000;

/// Everything that training reads and does not change.
pub struct Job<'a> {
    /// The samples.
    pub rows: RowSource<'a>,
    /// Which of them train and which validate.
    pub split: &'a Split,
    /// What the outputs mean.
    pub task: &'a Task,
    /// From raw features to the network's input.
    pub preprocessing: &'a Preprocessing,
    /// What is made small.
    pub loss: &'a Loss,
    /// How the weights move.
    pub optimizer: &'a OptimizerConfig,
    /// How the learning rate changes.
    pub schedule: &'a Schedule,
    /// The loop's settings.
    pub training: &'a TrainingSettings,
    /// The network that was there before, and what is trained of it; otherwise all is.
    pub tuned: Option<Tuned<'a>>,
    /// Fixes the order of samples and the dropout masks.
    pub seed: u64,
    /// Where to compute; the loop alone turns differentiation on.
    pub device: &'a Device,
}

/// What came of training.
pub struct Fitted {
    /// The network, off the autodiff graph.
    pub mlp: Mlp,
    /// The epoch, from 1, that it is of.
    pub epoch: u64,
    /// Optimizer steps that it took.
    pub step: u64,
    /// Why training ended.
    pub ending: Ending,
    /// Where its time went.
    pub profile: Profile,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// After its last epoch.
    Complete,
    /// Early, as nothing improved any more.
    Early,
    /// Early, because the observer wanted it.
    Stopped,
    /// In the middle, to go on from the state that the observer was given.
    Interrupted,
}

/// Why training ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Something stopped being a finite number.
    #[error(
        "training diverged at step {step}, in epoch {epoch} (learning rate {learning_rate:e}): {fault} is not finite; \
         try a smaller learning rate, `--clip-norm 1` or a warm-up"
    )]
    NotFinite {
        /// Optimizer step of the run, from 1.
        step: u64,
        /// Epoch, from 1.
        epoch: u64,
        /// The learning rate of that step.
        learning_rate: f64,
        /// The first parameter, gradient, output or loss that is not finite.
        fault: String,
        /// The last network whose parameters were all finite.
        last_good: Box<Mlp>,
    },
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] TensorReadError),
    /// Progress could not be written.
    #[error("the run cannot be recorded: {0}")]
    Record(#[from] std::io::Error),
    /// There is nothing to train on.
    #[error("an epoch has no batch: {rows} training samples, batches of {batch} and --drop-last")]
    NoBatch {
        /// Training samples.
        rows: usize,
        /// Samples of a batch.
        batch: usize,
    },
}

/// Trains from a state to the end of the run.
///
/// # Errors
///
/// A [`FitError`]; whatever was reported before it stays true.
pub fn fit(
    job: &Job<'_>,
    mut state: State,
    observer: &mut dyn Observer,
) -> Result<Fitted, FitError> {
    let length = job.length()?;
    let mut meter = Meter::new(job.task, &job.training.measured());
    let mut profile = Profile { batches: job.rows.in_words(), ..Profile::default() };
    observer.start(job, length, &meter)?;

    while let Some(epoch) = job.next_epoch(&state) {
        let started = Instant::now();
        let order = job.order(epoch);
        let first = state.progress.step - (epoch - 1) * length.steps_per_epoch;
        state.enter(job, epoch, first == 0);
        let mut good = state.clone();
        meter.start(job.moment(&state, epoch, length))?;
        meter.resume(state.take_meter(), job.moment(&state, epoch, length))?;
        let mut stepping = Stepping::new(job, length, state);
        profile.separate = stepping.fused.as_ref().err().cloned();
        for rows in job.steps().skip(first as usize).map(|range| &order[range]) {
            meter.record(profile.steps.on(|| stepping.step(rows)));
            let at = stepping.progress().step;
            if meter.is_due() || at.is_multiple_of(length.steps_per_epoch) {
                let moment = profile.metrics.on(|| {
                    let state = stepping.state();
                    check(job, &meter, state, &good, &order, length)?;
                    good = state.clone();
                    let moment = job.moment(state, epoch, length);
                    meter.measure(moment)?;
                    Ok::<_, FitError>(moment)
                })?;
                let samples = (moment.step * job.rows_per_step()).min(job.samples_per_epoch());
                let seconds = started.elapsed().as_secs_f64();
                let fresh = samples - (first as usize * job.rows_per_step());
                observer.progress(&Progress {
                    epoch,
                    step: at,
                    moment,
                    samples,
                    speed: fresh as f64 / seconds,
                    meter: &meter,
                })?;
            }
            match observer.due(at, false)? {
                Due::Nothing => {}
                due => {
                    // A state that has diverged is not one to go on from.
                    let state = stepping.state();
                    check(job, &meter, state, &good, &order, length)?;
                    profile.checkpoints.on(|| keep(observer, state, &mut meter))?;
                    let ending = match due {
                        Due::Interrupt => Ending::Interrupted,
                        Due::Finish => Ending::Stopped,
                        _ => continue,
                    };
                    return Ok(job.fitted(stepping.into_state(), epoch, ending, profile));
                }
            }
        }
        state = stepping.into_state();
        let moment = job.moment(&state, epoch, length);
        let training = meter.finish(moment)?;
        let seconds = started.elapsed().as_secs_f64();
        let model = state.model();
        let validation =
            profile.validation.on(|| evaluate(job, &model, &job.rows, &job.split.validation))?;
        if validation.get("loss").is_some_and(|loss| !loss.is_finite()) {
            return Err(FitError::NotFinite {
                step: state.progress.step,
                epoch,
                learning_rate: moment.learning_rate,
                fault: "the validation loss".to_owned(),
                last_good: Box::new(state.mlp.valid()),
            });
        }
        state.plateau.observe(job.schedule, job.training.monitor, &validation);
        let improved = state.best.observe(job.training, &validation, &model, epoch);
        state.progress.epochs = epoch;
        let samples = job.samples_per_epoch();
        let step = state.progress.step;
        observer.epoch(&EpochReport {
            epoch,
            step,
            samples,
            seconds,
            training,
            validation,
            improved,
        })?;
        meter.start(moment)?;
        let due = observer.due(step, true)?;
        if matches!(due, Due::Keep | Due::Interrupt) {
            profile.checkpoints.on(|| keep(observer, &state, &mut meter))?;
        }
        if due == Due::Interrupt {
            return Ok(job.fitted(state, epoch, Ending::Interrupted, profile));
        }
    }
    let epochs = state.progress.epochs;
    let ending = if epochs < length.epochs { Ending::Early } else { Ending::Complete };
    Ok(job.fitted(state, epochs, ending, profile))
}

/// Hands the state to whoever keeps it.
fn keep(observer: &mut dyn Observer, state: &State, meter: &mut Meter) -> Result<(), FitError> {
    Ok(observer.keep(state.snapshot(meter)?)?)
}

/// A state on its way through some steps.
struct Stepping<'a> {
    job: &'a Job<'a>,
    length: Length,
    state: State,
    /// Where the steps are one operation, or why they are not; the state may be behind it.
    fused: Result<Fused, String>,
    is_behind: bool,
    /// Where the weights are pulled to, by path.
    anchors: BTreeMap<String, Tensor<1>>,
}

impl<'a> Stepping<'a> {
    fn new(job: &'a Job<'a>, length: Length, state: State) -> Self {
        let fused = Fused::new(job, &state);
        Self { job, length, state, fused, is_behind: false, anchors: job.anchors() }
    }

    /// One optimizer step on these rows: forward, loss, backward, update.
    fn step(&mut self, rows: &[usize]) -> Observed {
        let Self { job, state, .. } = self;
        let factor = job.factor(state, self.length);
        let observed = match &mut self.fused {
            Ok(fused) => {
                self.is_behind = true;
                fused.step(job, state, rows, factor)
            }
            Err(_) => {
                let (mut gradients, observed) = gradients(job, state, rows);
                if let Some(tuned) = job.tuned.filter(|_| !self.anchors.is_empty()) {
                    gradients.pull(&flat(&state.mlp), &self.anchors, tuned.tuning.l2_sp);
                }
                if let Some(most) = job.training.clip_norm {
                    gradients.clip_norm(most);
                }
                state.mlp = state.optimizer.step(state.mlp.take(), gradients, factor);
                observed
            }
        };
        self.state.progress.step += 1;
        if self.state.average.is_some() {
            let State { mlp, average: Some(average), .. } = self.state() else {
                unreachable!("there is an average")
            };
            average.update(mlp);
        }
        observed
    }

    fn progress(&self) -> RunProgress {
        self.state.progress
    }

    /// The state after the last step.
    fn state(&mut self) -> &mut State {
        if let (Ok(fused), true) = (&self.fused, self.is_behind) {
            fused.settle(&mut self.state);
            self.is_behind = false;
        }
        &mut self.state
    }

    fn into_state(mut self) -> State {
        self.state();
        self.state
    }
}

/// The mean gradient of these rows, one batch of them at a time.
fn gradients(job: &Job<'_>, state: &mut State, rows: &[usize]) -> (Gradients, Observed) {
    let weight = job.weight(rows);
    let mut sum = Gradients::default();
    let mut parts = Vec::new();
    for (part, rows) in rows.chunks(job.training.batch_size).enumerate() {
        let (raw, targets) = batch(&job.rows, rows);
        let inputs = prepare(job.preprocessing, raw.clone());
        let pass = state.progress.step * job.training.accumulate as u64 + part as u64;
        let outputs = state.mlp.forward_train(inputs, DropoutKey { seed: job.seed, step: pass });
        let wanted = targets.clone().standardized(job.task);
        let mut losses = job.loss.rows(outputs.clone(), &wanted);
        if let Some(tuned) = &job.tuned {
            let weights = job.loss.row_weights(&losses, &targets);
            losses = tuned.with_teacher(losses, weights, &outputs, raw, job.task);
        }
        // Differentiating the loss of each row differentiates their sum.
        let shares = losses.clone().div_scalar(weight);
        sum.accumulate(Gradients::of(&shares, &state.mlp));
        parts.push(Observed { losses, outputs, targets }.detached().restored(job.task));
    }
    let observed = Observed::joined(parts).unwrap_or_else(|| unreachable!("a step has rows"));
    (sum, observed)
}

/// Measures a network on some rows of a data set, in batches.
///
/// # Errors
///
/// The device's, when it cannot be read.
pub fn evaluate(
    job: &Job<'_>,
    mlp: &Mlp,
    source: &RowSource<'_>,
    rows: &[usize],
) -> Result<Evaluation, TensorReadError> {
    let of_outputs =
        |choice: &MetricChoice| !matches!(choice, MetricChoice::LearningRate | MetricChoice::Speed);
    let choices: Vec<MetricChoice> =
        job.training.measured().into_iter().filter(of_outputs).collect();
    let mut meter = Meter::new(job.task, &choices);
    let moment =
        Moment { step: 0, steps: rows.len().div_ceil(EVALUATION_BATCH), learning_rate: 0.0 };
    if rows.is_empty() {
        return Ok(Evaluation { measured: Vec::new(), states: Vec::new() });
    }
    meter.start(moment)?;
    for rows in rows.chunks(EVALUATION_BATCH) {
        let (raw, targets) = batch(source, rows);
        let outputs = mlp.forward(prepare(job.preprocessing, raw));
        let losses = job.loss.rows(outputs.clone(), &targets.clone().standardized(job.task));
        meter.record(Observed { losses, outputs, targets }.restored(job.task));
        if meter.is_due() {
            meter.measure(moment)?;
        }
    }
    Ok(Evaluation { measured: meter.finish(moment)?, states: meter.states() })
}

/// What was measured on some rows.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// The numbers, the loss first; none if there were no rows.
    pub measured: Vec<Measured>,
    /// The same for Burn's dashboard.
    pub states: Vec<MetricState>,
}

impl Evaluation {
    /// The number of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.measured.iter().find(|measured| measured.name == name).map(|measured| measured.value)
    }

    /// All numbers by name.
    pub fn by_name(&self) -> BTreeMap<String, f64> {
        self.measured.iter().map(|measured| (measured.name.clone(), measured.value)).collect()
    }
}

/// Makes sure that the losses since the last time, and the parameters now, are finite.
fn check(
    job: &Job<'_>,
    meter: &Meter,
    state: &State,
    good: &State,
    order: &[usize],
    length: Length,
) -> Result<(), FitError> {
    let bad_step = match meter.first_not_finite()? {
        Some(steps_ago) => state.progress.step - steps_ago as u64,
        // The next step would be the first to notice.
        None if first_not_finite(&state.mlp)?.is_some() => state.progress.step + 1,
        None => return Ok(()),
    };
    Err(diagnose(job, good.clone(), order, bad_step, length)?)
}

/// Repeats the steps since `good` to find the first step and parameter at fault.
///
/// The loop reads losses seldom, so it learns of a bad one late; steps repeat to the bit.
fn diagnose(
    job: &Job<'_>,
    good: State,
    order: &[usize],
    bad_step: u64,
    length: Length,
) -> Result<FitError, FitError> {
    let mut steps: Vec<&[usize]> = job.steps().map(|range| &order[range]).collect();
    steps.drain(..(good.progress.step % length.steps_per_epoch) as usize);
    let mut steps = steps.into_iter();
    let mut last_good = good.mlp.valid();
    let mut stepping = Stepping::new(job, length, good);
    while stepping.progress().step + 1 < bad_step {
        let Some(rows) = steps.next() else { break };
        stepping.step(rows);
        let mlp = stepping.state().mlp.valid();
        if first_not_finite(&mlp)?.is_none() {
            last_good = mlp;
        }
    }
    let state = stepping.into_state();
    let fault = match first_not_finite(&state.mlp)? {
        Some(parameter) => parameter,
        None => {
            let rows = steps.next().unwrap_or_default();
            let gradient = gradients(job, &mut state.clone(), rows).0.first_not_finite()?;
            gradient.map_or("an output".to_owned(), |path| format!("the gradient of {path}"))
        }
    };
    Ok(FitError::NotFinite {
        step: bad_step,
        epoch: state.progress.step.saturating_sub(1) / length.steps_per_epoch + 1,
        learning_rate: job.optimizer.learning_rate() * job.factor(&state, length),
        fault,
        last_good: Box::new(last_good),
    })
}

/// The first parameter, by path, that is not finite.
fn first_not_finite(mlp: &Mlp) -> Result<Option<String>, TensorReadError> {
    let mlp = mlp.valid();
    if is_surely_finite(&mlp)? {
        return Ok(None);
    }
    let bad = mlp.tensors()?.into_iter().find(|t| !t.values.iter().all(|value| value.is_finite()));
    Ok(bad.map(|tensor| tensor.name))
}

/// Whether all sums are finite, which they are not if a parameter is not; one number of each is read
/// back from the device.
fn is_surely_finite(mlp: &Mlp) -> Result<bool, TensorReadError> {
    struct Sums(Vec<Tensor<1>>);
    impl ModuleVisitor for Sums {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().sum());
        }
    }
    let mut sums = Sums(Vec::new());
    mlp.visit(&mut sums);
    Ok(Tensor::cat(sums.0, 0).try_into_vec_as::<f32>()?.iter().all(|sum| sum.is_finite()))
}

/// What is right of the rows of a batch, as losses take it.
pub fn targets(batch: BatchTargets) -> Targets {
    match batch {
        BatchTargets::Classes(classes) => Targets::Classes(classes),
        BatchTargets::Values(values) => Targets::Values(values),
    }
}

/// Raw features, `[batch, features]`, and what is right.
fn batch(source: &RowSource<'_>, rows: &[usize]) -> (Tensor<2>, Targets) {
    let batch = source.batch(rows);
    (batch.inputs, targets(batch.targets))
}

impl Job<'_> {
    /// The samples on the host.
    pub fn data(&self) -> &Dataset {
        self.rows.data()
    }

    /// How long the run is.
    ///
    /// # Errors
    ///
    /// [`FitError::NoBatch`] if an epoch has no step.
    pub fn length(&self) -> Result<Length, FitError> {
        let steps = self.steps_per_epoch();
        if steps == 0 {
            return Err(FitError::NoBatch {
                rows: self.split.train.len(),
                batch: self.training.batch_size,
            });
        }
        Ok(Length { steps_per_epoch: steps, epochs: self.training.epochs })
    }

    /// The epoch that comes next, from 1; none if the run is at its end.
    fn next_epoch(&self, state: &State) -> Option<u64> {
        let done = state.progress.epochs;
        let since = self.tuned.map_or(0, |tuned| tuned.tuning.epochs_before_last());
        let is_exhausted = state.best.is_exhausted(self.training, done, since);
        let goes_on = done < self.training.epochs && !is_exhausted;
        goes_on.then_some(done + 1)
    }

    /// Whether training that goes on from this state has nothing to do.
    pub fn is_at_its_end(&self, state: &State) -> bool {
        self.next_epoch(state).is_none()
    }

    /// What training comes to if it ends with this state.
    fn fitted(&self, state: State, epoch: u64, ending: Ending, profile: Profile) -> Fitted {
        let step = state.progress.step;
        match &state.best.mlp {
            Some(mlp) if self.training.keeps_best() && ending != Ending::Interrupted => {
                let epoch = state.best.epoch;
                let step = epoch * self.steps_per_epoch();
                Fitted { mlp: mlp.clone(), epoch, step, ending, profile }
            }
            _ => Fitted { mlp: state.model(), epoch, step, ending, profile },
        }
    }

    fn rows_per_step(&self) -> usize {
        self.training.batch_size * self.training.accumulate
    }

    /// The places in an epoch's order that each step takes.
    fn steps(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let (rows, batch) = (self.split.train.len(), self.training.batch_size);
        let short = if self.training.drop_last { rows % batch } else { 0 };
        batches(rows - short, self.rows_per_step(), false)
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps().count() as u64
    }

    /// Samples that an epoch trains on.
    pub fn samples_per_epoch(&self) -> usize {
        self.steps().map(|range| range.len()).sum()
    }

    /// The rows of the training split in the order of an epoch, from 1.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let train = &self.split.train;
        permutation(train.len(), self.seed, epoch).into_iter().map(|i| train[i as usize]).collect()
    }

    /// What is trained in an epoch, from 1, if not everything, and whether it is the first so.
    pub(crate) fn phase(&self, epoch: u64) -> Option<(&Phase, bool)> {
        self.tuned?.tuning.phase(epoch)
    }

    /// The start of every parameter below the output layer, if weights are pulled there.
    fn anchors(&self) -> BTreeMap<String, Tensor<1>> {
        let pulled = self.tuned.filter(|tuned| tuned.tuning.l2_sp > 0.0);
        let Some(Tuned { start, .. }) = pulled else { return BTreeMap::new() };
        let head = format!("layers.{}.", start.model.mlp.layers.len() - 1);
        let mut anchors = flat(&start.model.mlp);
        anchors.retain(|path, _| !path.starts_with(&head));
        anchors
    }

    /// What the summed losses of these rows are divided by.
    pub(crate) fn weight(&self, rows: &[usize]) -> f64 {
        match self.data().targets() {
            HostTargets::Classes { ids, .. } => {
                rows.iter().map(|&row| self.loss.class_weight(ids[row] as usize)).sum()
            }
            _ => rows.len() as f64,
        }
    }

    /// What the base learning rate is multiplied by at the next step.
    fn factor(&self, state: &State, length: Length) -> f64 {
        self.schedule.factor(state.progress.step, length) * state.rate_factor()
    }

    fn moment(&self, state: &State, epoch: u64, length: Length) -> Moment {
        let step = (state.progress.step - (epoch - 1) * length.steps_per_epoch) as usize;
        let steps = length.steps_per_epoch as usize;
        let last = state.progress.step.saturating_sub(1);
        let factor = self.schedule.factor(last, length) * state.rate_factor();
        Moment { step, steps, learning_rate: self.optimizer.learning_rate() * factor }
    }
}
