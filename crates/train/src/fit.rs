//! The training loop.

use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::TensorReadError;
use fireclay::Mlp;
use fireclay_data::{DataError, Dataset};
use fireclay_terminal::counted;

use crate::divergence::{check, kept};
use crate::evaluate::evaluate;
use crate::job::Job;
use crate::metrics::{Meter, Moment};
use crate::profile::Profile;
use crate::progress::{Display, Due, EpochReport, Keeper, Progress};
use crate::schedule::Length;
use crate::state::State;
use crate::step::Stepping;

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
    /// Early, because somebody asked for the end.
    Stopped,
    /// In the middle, to be resumed from the state that the keeper was given.
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
        /// The last network whose parameters were all finite, if it was kept.
        last_good: Option<Box<Mlp>>,
    },
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] TensorReadError),
    /// Progress could not be written.
    #[error("the run cannot be recorded: {0}")]
    Record(#[from] std::io::Error),
    /// Rows that stay on disk could not be read.
    #[error("rows cannot be read")]
    Rows(#[source] Arc<DataError>),
    /// There is nothing to train on.
    #[error(
        "an epoch has no batch: {}, batches of {batch} and --drop-last",
        counted(*.rows as u64, "training sample")
    )]
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
    display: &mut dyn Display,
    keeper: &mut dyn Keeper,
) -> Result<Fitted, FitError> {
    let length = job.length()?;
    let meter = Meter::new(job.task, &job.training.measured());
    display.start(job, length, &meter)?;
    let profile = Profile { batches: job.rows.in_words(), ..Profile::default() };
    let mut run = Loop { job, length, meter, display, keeper, profile };
    while let Some(epoch) = job.next_epoch(&state) {
        let started = Instant::now();
        let mut ending;
        (state, ending) = run.train(epoch, state, started)?;
        if ending.is_none() {
            ending = run.validate(epoch, &mut state, started)?;
        }
        if let Some(ending) = ending {
            return Ok(Fitted::of(job, state, epoch, ending, run.profile));
        }
    }
    let epochs = state.progress.epochs;
    let ending = if epochs < length.epochs { Ending::Early } else { Ending::Complete };
    Ok(Fitted::of(job, state, epochs, ending, run.profile))
}

/// What the epochs of a run share.
struct Loop<'a> {
    job: &'a Job<'a>,
    length: Length,
    meter: Meter,
    display: &'a mut dyn Display,
    keeper: &'a mut dyn Keeper,
    profile: Profile,
}

impl Loop<'_> {
    /// Takes the steps of an epoch that are left; an ending, if the run ends within the epoch.
    fn train(
        &mut self,
        epoch: u64,
        mut state: State,
        started: Instant,
    ) -> Result<(State, Option<Ending>), FitError> {
        let (job, length) = (self.job, self.length);
        let order = job.order(epoch);
        let first = state.progress.step - (epoch - 1) * length.steps_per_epoch;
        state.enter(job, epoch, first == 0);
        let mut good = kept(&state);
        self.meter.start(job.moment(&state, epoch, length))?;
        self.meter.resume(state.take_meter(), job.moment(&state, epoch, length))?;
        let mut stepping = Stepping::new(job, length, state);
        self.profile.separate = stepping.fused.as_ref().err().cloned();
        for rows in job.steps().skip(first as usize).map(|range| &order[range]) {
            self.meter.record(self.profile.steps.on(|| stepping.step(rows)));
            check_rows(job.data())?;
            let at = stepping.progress().step;
            if self.meter.is_due() || at.is_multiple_of(length.steps_per_epoch) {
                let state = stepping.state();
                let moment = self.measure(epoch, state, good.as_ref(), &order)?;
                good = kept(state);
                self.report(epoch, at, moment, first, started)?;
            }
            let due = self.due(at, false)?;
            if due != Due::Nothing {
                // A state that has diverged is not to be resumed.
                let state = stepping.state();
                check(job, &self.meter, state, good.as_ref(), &order, length)?;
                if let Some(ending) = self.obey(due, state)? {
                    return Ok((stepping.into_state(), Some(ending)));
                }
            }
        }
        Ok((stepping.into_state(), None))
    }

    /// Measures the steps since the last time, which must not have diverged.
    fn measure(
        &mut self,
        epoch: u64,
        state: &State,
        good: Option<&State>,
        order: &[usize],
    ) -> Result<Moment, FitError> {
        let Self { job, length, meter, profile, .. } = self;
        profile.metrics.on(|| {
            check(job, meter, state, good, order, *length)?;
            let moment = job.moment(state, epoch, *length);
            meter.measure(moment)?;
            Ok(moment)
        })
    }

    /// Shows how far the epoch is; `first` of its steps were taken before this process began.
    fn report(
        &mut self,
        epoch: u64,
        step: u64,
        moment: Moment,
        first: u64,
        started: Instant,
    ) -> Result<(), FitError> {
        let rows = self.job.rows_per_step();
        let samples = (moment.step * rows).min(self.job.samples_per_epoch());
        let fresh = samples - (first as usize * rows);
        let speed = fresh as f64 / started.elapsed().as_secs_f64();
        let meter = &self.meter;
        let progress = Progress { epoch, step, moment, samples, speed, meter };
        self.display.progress(&progress)?;
        Ok(self.keeper.record_steps(&progress)?)
    }

    /// Ends an epoch: measures it on the validation rows, and does what is due.
    fn validate(
        &mut self,
        epoch: u64,
        state: &mut State,
        started: Instant,
    ) -> Result<Option<Ending>, FitError> {
        let job = self.job;
        let moment = job.moment(state, epoch, self.length);
        let training = self.meter.finish(moment)?;
        let seconds = started.elapsed().as_secs_f64();
        let model = state.model();
        let rows = &job.split.validation;
        let validation = self.profile.validation.on(|| evaluate(job, &model, &job.rows, rows))?;
        if validation.get("loss").is_some_and(|loss| !loss.is_finite()) {
            return Err(FitError::NotFinite {
                step: state.progress.step,
                epoch,
                learning_rate: moment.learning_rate,
                fault: "the validation loss".to_owned(),
                last_good: Some(Box::new(state.mlp.valid())),
            });
        }
        state.plateau.observe(job.schedule, job.training.monitor, &validation);
        let improved = state.best.observe(job.training, &validation, &model, epoch);
        state.progress.epochs = epoch;
        let (step, samples) = (state.progress.step, job.samples_per_epoch());
        let report = EpochReport { epoch, step, samples, seconds, training, validation, improved };
        self.display.epoch(&report)?;
        self.keeper.record_epoch(&report)?;
        self.meter.start(moment)?;
        let due = self.due(step, true)?;
        self.obey(due, state)
    }

    /// What is due after a step or an epoch, the end included that the display may ask for.
    fn due(&mut self, step: u64, epoch_ended: bool) -> Result<Due, FitError> {
        let due = self.keeper.due(step, epoch_ended)?;
        Ok(if self.display.wants_to_stop() { due.max(Due::Finish) } else { due })
    }

    /// Does what is due: keeps the state if anything is, and says whether the run ends here.
    fn obey(&mut self, due: Due, state: &State) -> Result<Option<Ending>, FitError> {
        if due == Due::Nothing {
            return Ok(None);
        }
        let Self { keeper, meter, profile, .. } = self;
        profile.checkpoints.on(|| Ok::<_, FitError>(keeper.keep(state.snapshot(meter)?)?))?;
        Ok(match due {
            Due::Nothing | Due::Keep => None,
            Due::Finish => Some(Ending::Stopped),
            Due::Interrupt => Some(Ending::Interrupted),
        })
    }
}

/// Stops at rows that could not be read, before a state that has seen zeros instead is kept.
fn check_rows(data: &Dataset) -> Result<(), FitError> {
    data.failure().map_or(Ok(()), |error| Err(FitError::Rows(error)))
}

impl Fitted {
    /// What training comes to if it ends with this state.
    fn of(job: &Job<'_>, state: State, epoch: u64, ending: Ending, profile: Profile) -> Self {
        let step = state.progress.step;
        match &state.best.mlp {
            Some(mlp) if job.training.keeps_best() && ending != Ending::Interrupted => {
                let epoch = state.best.epoch;
                let step = epoch * job.steps_per_epoch();
                Self { mlp: mlp.clone(), epoch, step, ending, profile }
            }
            _ => Self { mlp: state.model(), epoch, step, ending, profile },
        }
    }
}
