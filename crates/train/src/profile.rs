//! Where the time of a run goes.

use std::fmt;
use std::time::{Duration, Instant};

pub use crate::fused::Obstacle;

/// What training has spent, part by part.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Optimizer steps, with the gathering of their batches.
    pub steps: Spent,
    /// Reading losses and outputs back, and measuring them.
    pub metrics: Spent,
    /// The validation split.
    pub validation: Spent,
    /// Handing the state to the checkpoint's writer.
    pub checkpoints: Spent,
    /// Why a step is made of separate operations; `None` if it is a single one.
    pub separate: Option<Obstacle>,
    /// How batches come to a device with memory of its own.
    pub batches: Option<&'static str>,
}

/// Time spent on something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// In all.
    pub time: Duration,
    /// How often it was done.
    pub times: u64,
}

impl Spent {
    /// Does something and counts it.
    pub(crate) fn on<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.time += start.elapsed();
        self.times += 1;
        result
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("steps", self.steps),
            ("metrics", self.metrics),
            ("validation", self.validation),
            ("checkpoints", self.checkpoints),
        ];
        let total: f64 = parts.iter().map(|(_, spent)| spent.time.as_secs_f64()).sum();
        writeln!(f, "Where the time of training went:")?;
        for (name, Spent { time, times }) in parts {
            let seconds = time.as_secs_f64();
            let share = if total > 0.0 { 100.0 * seconds / total } else { 0.0 };
            let each = if times > 0 { 1e6 * seconds / times as f64 } else { 0.0 };
            let times = fireclay_terminal::group(times);
            writeln!(
                f,
                "  {name:<12} {seconds:>8.3} s {share:>5.1} %  {times:>9} x {each:>9.1} µs"
            )?;
        }
        match &self.separate {
            None => write!(f, "A step is one fused operation.")?,
            Some(why) => write!(f, "A step is made of separate operations: {why}.")?,
        }
        match self.batches {
            None => Ok(()),
            Some(how) => write!(f, "\nA batch is {how}."),
        }
    }
}
