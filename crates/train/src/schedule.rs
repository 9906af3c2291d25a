//! Learning-rate schedules: what the base rate is multiplied by at each step.

use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluation;
use crate::metrics::Monitor;

/// How the learning rate changes over a run.
///
/// All but [`Plateau`](Self::Plateau) are pure functions of the step. Steps count from 0; a warm-up
/// rises linearly from `1/n` to 1 over its `n` steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Schedule {
    /// 1 throughout, after the warm-up.
    Constant(Constant),
    /// From 1 to `final_factor` in a straight line.
    Linear(Decay),
    /// From 1 to `final_factor` along half a cosine (Loshchilov and Hutter 2017).
    Cosine(Decay),
    /// Multiplied by `factor` every `every_epochs` epochs.
    Step(Step),
    /// Multiplied by `factor` every epoch, smoothly.
    Exponential(Exponential),
    /// Up and down again (Smith and Topin 2018), with PyTorch's cosine branches.
    OneCycle(OneCycle),
    /// Four times up and down again, each time twice as long as before: `(1 - cos(2π log2(1 + 15 t))) /
    /// 2` at the share `t` of the run (Holzmüller et al. 2024, arXiv 2407.04491).
    Coslog4,
    /// 1 in the first half of the run, then to 0 along half a cosine.
    FlatCos,
    /// Multiplied by `factor` whenever the validation loss, or what is monitored, has not improved for
    /// a while.
    Plateau(Plateau),
}

/// Settings of the constant schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Constant {
    /// Length of the warm-up in epochs; may be a fraction.
    pub warmup_epochs: f64,
}

/// Settings of the linear and cosine schedules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decay {
    /// Length of the warm-up in epochs; may be a fraction.
    pub warmup_epochs: f64,
    /// The factor reached at the end of the run, in `[0, 1]`.
    pub final_factor: f64,
}

/// Settings of the step schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// Epochs between two cuts; at least 1.
    pub every_epochs: u64,
    /// What each cut multiplies by, in `(0, 1]`.
    pub factor: f64,
}

/// Settings of the exponential schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exponential {
    /// What an epoch multiplies by, in `(0, 1]`.
    pub factor: f64,
}

/// Settings of the one-cycle schedule; defaults are PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneCycle {
    /// The factor at the first step, in `(0, 1]`.
    pub first_factor: f64,
    /// The factor at the last step, in `[0, 1]`.
    pub final_factor: f64,
    /// Share of the run spent rising to 1, in `(0, 1)`.
    pub rise: f64,
}

/// Settings of the plateau schedule; defaults are PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plateau {
    /// What each cut multiplies by, in `(0, 1)`.
    pub factor: f64,
    /// Epochs without improvement that are still tolerated.
    pub patience: u64,
    /// How much better an epoch must be to be better, as a share of the best.
    pub threshold: f64,
    /// The factor never falls below this.
    pub least: f64,
    /// What must improve on the validation split; the loss if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watched>,
}

/// What a schedule looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watched {
    /// The loss.
    #[default]
    Loss,
    /// What is monitored for early stopping and the best weights.
    Monitor,
}

impl Default for Step {
    fn default() -> Self {
        Self { every_epochs: 10, factor: 0.1 }
    }
}

impl Default for Exponential {
    fn default() -> Self {
        Self { factor: 0.95 }
    }
}

impl Default for OneCycle {
    fn default() -> Self {
        Self { first_factor: 0.04, final_factor: 4e-6, rise: 0.3 }
    }
}

impl Default for Plateau {
    fn default() -> Self {
        Self { factor: 0.1, patience: 10, threshold: 1e-4, least: 0.0, watch: None }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant(Constant::default())
    }
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Optimizer steps in an epoch; at least 1.
    pub steps_per_epoch: u64,
    /// Epochs of the run; at least 1.
    pub epochs: u64,
}

impl Length {
    /// Optimizer steps of the whole run.
    pub fn steps(self) -> u64 {
        self.steps_per_epoch.saturating_mul(self.epochs)
    }
}

/// A setting of a schedule that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("schedule: {setting} is {found:?}; it must be {expected}")]
pub struct ScheduleError {
    /// The setting at fault.
    pub setting: &'static str,
    /// Its value.
    pub found: f64,
    /// The values allowed.
    pub expected: &'static str,
}

impl Schedule {
    /// Length of the warm-up in epochs; 0 of a schedule without one.
    pub fn warmup_epochs(&self) -> f64 {
        match self {
            Self::Constant(o) => o.warmup_epochs,
            Self::Linear(o) | Self::Cosine(o) => o.warmup_epochs,
            _ => 0.0,
        }
    }

    /// Names of all schedules.
    pub const NAMES: [&str; 9] = [
        "constant",
        "linear",
        "cosine",
        "step",
        "exponential",
        "one-cycle",
        "coslog4",
        "flat-cos",
        "plateau",
    ];

    /// Its name, one of [`NAMES`](Self::NAMES).
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant(_) => "constant",
            Self::Linear(_) => "linear",
            Self::Cosine(_) => "cosine",
            Self::Step(_) => "step",
            Self::Exponential(_) => "exponential",
            Self::OneCycle(_) => "one-cycle",
            Self::Coslog4 => "coslog4",
            Self::FlatCos => "flat-cos",
            Self::Plateau(_) => "plateau",
        }
    }

    /// Whether its rates depend on how long the run is.
    pub fn knows_the_end(&self) -> bool {
        matches!(
            self,
            Self::Linear(_) | Self::Cosine(_) | Self::OneCycle(_) | Self::Coslog4 | Self::FlatCos
        )
    }

    /// The factor of a step, from 0, of a run of this length. Plateau's is 1: see [`PlateauState`].
    pub fn factor(&self, step: u64, length: Length) -> f64 {
        let epoch = step as f64 / length.steps_per_epoch as f64;
        let share = (step as f64 / length.steps() as f64).min(1.0);
        match self {
            Self::Constant(o) => warmup(o.warmup_epochs, step, length).unwrap_or(1.0),
            Self::Linear(o) => o.factor(step, length, |left| left),
            Self::Cosine(o) => o.factor(step, length, cosine),
            Self::Step(o) => o.factor.powf((epoch / o.every_epochs as f64).floor()),
            Self::Exponential(o) => o.factor.powf(epoch),
            Self::OneCycle(o) => o.factor(step, length),
            // Up and down is twice half a cosine.
            Self::Coslog4 => cosine(2.0 * (1.0 + 15.0 * share).log2()),
            Self::FlatCos => cosine(2.0 - (2.0 * share).max(1.0)),
            Self::Plateau(_) => 1.0,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), ScheduleError> {
        match self {
            Self::Constant(o) => epochs(o.warmup_epochs),
            Self::Linear(o) | Self::Cosine(o) => {
                epochs(o.warmup_epochs)?;
                closed("final_factor", o.final_factor)
            }
            Self::Step(o) => {
                let every = o.every_epochs;
                require(every > 0, "every_epochs", every as f64, "at least 1")?;
                above_zero("factor", o.factor)
            }
            Self::Exponential(o) => above_zero("factor", o.factor),
            Self::Coslog4 | Self::FlatCos => Ok(()),
            Self::OneCycle(o) => {
                above_zero("first_factor", o.first_factor)?;
                closed("final_factor", o.final_factor)?;
                require(o.rise > 0.0 && o.rise < 1.0, "rise", o.rise, "above 0 and below 1")
            }
            Self::Plateau(o) => {
                require(
                    o.factor > 0.0 && o.factor < 1.0,
                    "factor",
                    o.factor,
                    "above 0 and below 1",
                )?;
                closed("threshold", o.threshold)?;
                closed("least", o.least)
            }
        }
    }
}

fn closed(setting: &'static str, found: f64) -> Result<(), ScheduleError> {
    require((0.0..=1.0).contains(&found), setting, found, "between 0 and 1")
}

fn above_zero(setting: &'static str, found: f64) -> Result<(), ScheduleError> {
    require(found > 0.0 && found <= 1.0, setting, found, "above 0 and at most 1")
}

fn epochs(found: f64) -> Result<(), ScheduleError> {
    require(found.is_finite() && found >= 0.0, "warmup_epochs", found, "0 or above")
}

fn require(
    holds: bool,
    setting: &'static str,
    found: f64,
    expected: &'static str,
) -> Result<(), ScheduleError> {
    if holds { Ok(()) } else { Err(ScheduleError { setting, found, expected }) }
}

/// The factor within a warm-up, or none after it.
fn warmup(epochs: f64, step: u64, length: Length) -> Option<f64> {
    let steps = warmup_steps(epochs, length);
    (step < steps).then(|| (step + 1) as f64 / steps as f64)
}

fn warmup_steps(epochs: f64, length: Length) -> u64 {
    (epochs * length.steps_per_epoch as f64).round() as u64
}

/// Falls from 1 to 0 along half a cosine as `left` falls from 1 to 0.
fn cosine(left: f64) -> f64 {
    (1.0 - (std::f64::consts::PI * left).cos()) / 2.0
}

impl Decay {
    fn factor(&self, step: u64, length: Length, shape: fn(f64) -> f64) -> f64 {
        if let Some(factor) = warmup(self.warmup_epochs, step, length) {
            return factor;
        }
        let start = warmup_steps(self.warmup_epochs, length);
        let span = length.steps().saturating_sub(start).saturating_sub(1).max(1);
        let left = 1.0 - (step.saturating_sub(start) as f64 / span as f64).min(1.0);
        self.final_factor + (1.0 - self.final_factor) * shape(left)
    }
}

/// A value on the way from one to another, along half a cosine.
fn between(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * cosine(1.0 - share)
}

impl OneCycle {
    fn factor(&self, step: u64, length: Length) -> f64 {
        let last = length.steps().saturating_sub(1).max(1) as f64;
        let peak = (self.rise * length.steps() as f64 - 1.0).max(0.0);
        let step = (step as f64).min(last);
        if step <= peak && peak > 0.0 {
            between(self.first_factor, 1.0, step / peak)
        } else {
            between(1.0, self.final_factor, (step - peak) / (last - peak).max(1.0))
        }
    }
}

/// What the plateau schedule remembers from epoch to epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlateauState {
    factor: f64,
    /// None before the first epoch.
    best: Option<f64>,
    waited: u64,
}

impl Default for PlateauState {
    fn default() -> Self {
        Self { factor: 1.0, best: None, waited: 0 }
    }
}

impl PlateauState {
    /// The factor now; 1 for every other schedule.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Takes note of what was found on the validation split after an epoch.
    pub(crate) fn observe(&mut self, schedule: &Schedule, monitor: Monitor, found: &Evaluation) {
        let Schedule::Plateau(o) = schedule else { return };
        let watched = match o.watch.unwrap_or_default() {
            Watched::Loss => Monitor::Loss,
            Watched::Monitor => monitor,
        };
        let value = found.get(&watched.to_string()).unwrap_or(f64::NAN);
        self.take_note(o, watched.more_is_better(), value);
    }

    /// PyTorch's `ReduceLROnPlateau` with a relative threshold; its share of a negative number, as R2
    /// may be, is that of the number without its sign.
    fn take_note(&mut self, o: &Plateau, more_is_better: bool, value: f64) {
        let is_better = match self.best {
            None if more_is_better => !value.is_nan(),
            Some(best) if more_is_better => value > best + best.abs() * o.threshold,
            best => value < best.unwrap_or(f64::INFINITY) * (1.0 - o.threshold),
        };
        if is_better {
            self.best = Some(value);
            self.waited = 0;
            return;
        }
        self.waited += 1;
        if self.waited > o.patience {
            self.factor = (self.factor * o.factor).max(o.least);
            self.waited = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Length = Length { steps_per_epoch: 10, epochs: 10 };

    #[track_caller]
    fn check(schedule: Schedule, expected: &[(u64, f64)]) {
        schedule.validate().unwrap();
        for &(step, expected) in expected {
            let found = schedule.factor(step, LENGTH);
            assert!((found - expected).abs() < 1e-9, "step {step}: {found} != {expected}");
        }
    }

    #[test]
    fn each_takes_the_values_that_its_definition_says() {
        let warm = Constant { warmup_epochs: 0.5 };
        check(Schedule::Constant(warm), &[(0, 0.2), (3, 0.8), (4, 1.0), (5, 1.0), (99, 1.0)]);
        let decay = Decay { warmup_epochs: 1.0, final_factor: 0.1 };
        check(Schedule::Linear(decay.clone()), &[(0, 0.1), (9, 1.0), (10, 1.0), (99, 0.1)]);
        let middle = Decay { warmup_epochs: 0.1, final_factor: 0.0 };
        check(Schedule::Cosine(middle), &[(0, 1.0), (1, 1.0), (50, 0.5), (99, 0.0), (200, 0.0)]);
        let step = Step { every_epochs: 3, factor: 0.5 };
        check(Schedule::Step(step), &[(0, 1.0), (29, 1.0), (30, 0.5), (60, 0.25)]);
        check(
            Schedule::Exponential(Exponential { factor: 0.5 }),
            &[(0, 1.0), (10, 0.5), (5, 0.5f64.sqrt())],
        );
    }

    /// `torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=100)`, by its documented formula:
    /// rising to step 29, then falling to step 99.
    #[test]
    fn one_cycle_is_pytorchs() {
        let at_15 = 1.0 + (0.04 - 1.0) / 2.0 * (1.0 + (std::f64::consts::PI * 15.0 / 29.0).cos());
        check(
            Schedule::OneCycle(OneCycle::default()),
            &[(0, 0.04), (15, at_15), (29, 1.0), (99, 4e-6)],
        );
    }

    /// `0.5 - 0.5 cos(2π log2(1 + 15 t))`, as the authors' program has it: 0 at `t = 0`, 1/15, 3/15 and
    /// 7/15, and 1 halfway in the logarithm.
    #[test]
    fn coslog4_has_four_peaks_and_flat_cos_falls_in_the_second_half() {
        let length = Length { steps_per_epoch: 15, epochs: 10 };
        for (step, expected) in [(0, 0.0), (10, 0.0), (30, 0.0), (70, 0.0)] {
            assert!((Schedule::Coslog4.factor(step, length) - expected).abs() < 1e-9, "{step}");
        }
        let t = 4.0 / 150.0;
        let expected = 0.5 - 0.5 * (std::f64::consts::TAU * f64::log2(1.0 + 15.0 * t)).cos();
        assert!((Schedule::Coslog4.factor(4, length) - expected).abs() < 1e-9);
        let peaks = (1..149).filter(|&step| {
            let [before, here, after] =
                [step - 1, step, step + 1].map(|step| Schedule::Coslog4.factor(step, length));
            before < here && here >= after
        });
        assert_eq!(peaks.count(), 4);
        check(Schedule::FlatCos, &[(0, 1.0), (50, 1.0), (75, 0.5), (100, 0.0), (200, 0.0)]);
    }

    #[test]
    fn a_warm_up_as_long_as_the_run_is_no_division_by_zero() {
        for warmup_epochs in [0.0, 10.0, 1000.0] {
            let decay = Decay { warmup_epochs, final_factor: 0.0 };
            for schedule in [Schedule::Linear(decay.clone()), Schedule::Cosine(decay.clone())] {
                assert!((0..200).all(|step| (0.0..=1.0).contains(&schedule.factor(step, LENGTH))));
            }
        }
        let one = Length { steps_per_epoch: 1, epochs: 1 };
        for name in Schedule::NAMES {
            let schedule: Schedule = toml::from_str(&format!("name = \"{name}\"")).unwrap();
            assert!(schedule.factor(0, one).is_finite(), "{name}");
            assert_eq!(schedule.name(), name);
        }
    }

    #[test]
    fn plateau_cuts_after_its_patience() {
        let schedule =
            Plateau { factor: 0.5, patience: 1, threshold: 0.0, least: 0.3, ..Plateau::default() };
        let mut state = PlateauState::default();
        let factors = [1.0, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8].map(|loss| {
            state.take_note(&schedule, false, loss);
            state.factor()
        });
        assert_eq!(factors, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3]);
    }

    #[test]
    fn plateau_may_wait_for_more() {
        let schedule = Plateau { factor: 0.5, patience: 0, threshold: 0.1, ..Plateau::default() };
        let mut state = PlateauState::default();
        // R2 begins below 0; an improvement of less than a tenth is none.
        let factors = [-5.0, -4.9, -4.0, 0.5, 0.54, 0.6].map(|r2| {
            state.take_note(&schedule, true, r2);
            state.factor()
        });
        assert_eq!(factors, [1.0, 0.5, 0.5, 0.5, 0.25, 0.25]);
    }
}
