//! A loss or parameter that is not finite: found, and traced to the step it came from.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorReadError};
use fireclay::Mlp;
use fireclay_kernels::has_finite_sum;

use crate::fit::FitError;
use crate::job::Job;
use crate::metrics::Meter;
use crate::schedule::Length;
use crate::settings::Annealed;
use crate::state::State;
use crate::step::{Stepping, gradients};

/// Makes sure that the losses since the last time, and the parameters now, are finite.
pub(crate) fn check(
    job: &Job<'_>,
    meter: &Meter,
    state: &State,
    good: Option<&State>,
    order: &[usize],
    length: Length,
) -> Result<(), FitError> {
    let bad_step = match meter.first_not_finite()? {
        Some(steps_ago) => state.progress.step - steps_ago as u64,
        // The next step would be the first to notice.
        None if first_not_finite(&state.mlp)?.is_some() => state.progress.step + 1,
        None => return Ok(()),
    };
    Err(match good {
        Some(good) => diagnose(job, good.clone(), order, bad_step, length)?,
        None => {
            let parameter = first_not_finite(&state.mlp)?;
            not_finite(job, state, length, (bad_step, parameter.unwrap_or_else(an_output), None))
        }
    })
}

/// The state from which steps are repeated if one later diverges; none if it is too large to be kept
/// twice, as vectors of many terms are.
pub(crate) fn kept(state: &State) -> Option<State> {
    let mut front = state.mlp.architecture().front.iter();
    front.all(|part| part.terms().is_none()).then(|| state.clone())
}

fn an_output() -> String {
    "an output".to_owned()
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
            let dropout = job.annealed(Annealed::Dropout, state.progress.step, length);
            let gradients = gradients(job, &mut state.clone(), rows, dropout).0;
            let gradient = gradients.first_not_finite()?;
            gradient.map_or_else(an_output, |path| format!("the gradient of {path}"))
        }
    };
    Ok(not_finite(job, &state, length, (bad_step, fault, Some(last_good))))
}

/// The error of a bad step, with its fault and the last network that was good.
fn not_finite(
    job: &Job<'_>,
    state: &State,
    length: Length,
    (step, fault, last_good): (u64, String, Option<Mlp>),
) -> FitError {
    FitError::NotFinite {
        step,
        epoch: state.progress.step.saturating_sub(1) / length.steps_per_epoch + 1,
        learning_rate: job.optimizer.learning_rate() * job.factor(state, length),
        fault,
        last_good: last_good.map(Box::new),
    }
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
    struct Sums {
        /// Of what is on a device.
        sums: Vec<Tensor<1>>,
        /// Of what is on the host.
        are_finite: bool,
    }
    impl ModuleVisitor for Sums {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            match has_finite_sum(param.val().reshape([-1])) {
                Some(is_finite) => self.are_finite &= is_finite,
                None => self.sums.push(param.val().sum()),
            }
        }
    }
    let mut found = Sums { sums: Vec::new(), are_finite: true };
    mlp.visit(&mut found);
    let Sums { sums, are_finite } = found;
    if sums.is_empty() || !are_finite {
        return Ok(are_finite);
    }
    Ok(Tensor::cat(sums, 0).try_into_vec_as::<f32>()?.iter().all(|sum| sum.is_finite()))
}
