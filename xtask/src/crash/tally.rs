//! The counts, and their table.

use std::fmt::{Display, Formatter};
use std::time::Duration;

use super::harness::{Found, Victim};

/// Faults that are printed in full.
const SHOWN: usize = 10;

/// A thing that must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A file is neither whole nor absent.
    Corrupt,
    /// A checkpoint that was on disk is gone, and there is none after it.
    Lost,
    /// A finished run has come to something else.
    Different,
    /// The program ended with an error, or complained, or took a run that never began.
    Refused,
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "corrupt files",
            Self::Lost => "lost checkpoints",
            Self::Different => "results different",
            Self::Refused => "wrong endings",
        })
    }
}

/// The counts.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) finished: usize,
    pub(super) before_the_manifest: usize,
    pub(super) before_the_first_checkpoint: usize,
    pub(super) in_start_up: usize,
    pub(super) in_training: usize,
    pub(super) at_the_end: usize,
    pub(super) checkpoints: usize,
    pub(super) temporary: usize,
    /// Steps that each kill cost a run that had begun, at least and at most.
    pub(super) redone: Vec<(u64, u64)>,
    pub(super) faults: Vec<(Fault, String)>,
}

impl Tally {
    pub(super) fn kills(&self) -> usize {
        self.before_the_manifest
            + self.before_the_first_checkpoint
            + self.in_start_up
            + self.in_training
            + self.at_the_end
    }

    /// Counts a kill by what it left; returns whether it left a run that has to be resumed.
    pub(super) fn count(&mut self, victim: &Victim, found: &Found) -> bool {
        let phase = if !found.began {
            &mut self.before_the_manifest
        } else if found.model {
            &mut self.at_the_end
        } else if found.newest.is_none() {
            &mut self.before_the_first_checkpoint
        } else if found.sessions == victim.sessions {
            &mut self.in_start_up
        } else {
            &mut self.in_training
        };
        *phase += 1;
        found.began && found.result.is_null()
    }

    /// Prints the table, and the first faults.
    pub(super) fn print(&self, took: Duration) {
        let (least, most): (Vec<u64>, Vec<u64>) = self.redone.iter().copied().unzip();
        let (least, most) = (median_and_greatest(least), median_and_greatest(most));
        let kinds = [Fault::Corrupt, Fault::Lost, Fault::Different, Fault::Refused];
        let counts = [
            ("kills", self.kills()),
            ("  before the manifest: the run never began", self.before_the_manifest),
            ("  before the first checkpoint", self.before_the_first_checkpoint),
            ("  in the start-up of a resumed run", self.in_start_up),
            ("  in training", self.in_training),
            ("  with the model on disk", self.at_the_end),
            ("runs finished", self.finished),
            ("checkpoints checked", self.checkpoints),
            ("temporary files left", self.temporary),
        ];
        println!();
        for (name, count) in counts {
            println!("{name:<48}  {count:>6}");
        }
        println!("{:<48}  {:>6} to {}", "steps redone after a kill: median", least.0, most.0);
        println!("{:<48}  {:>6} to {}", "  greatest", least.1, most.1);
        for kind in kinds {
            let count = self.faults.iter().filter(|fault| fault.0 == kind).count();
            println!("{:<48}  {count:>6}  must be 0", kind.to_string());
        }
        println!("{:<48}  {:>6.1}", "seconds", took.as_secs_f64());
        if !self.faults.is_empty() {
            println!("\n{} faults, the first of them:", self.faults.len());
        }
        for (kind, message) in self.faults.iter().take(SHOWN) {
            println!("  {kind}: {message}");
        }
    }
}

/// The median and the greatest of these numbers; 0 if there are none.
fn median_and_greatest(mut numbers: Vec<u64>) -> (u64, u64) {
    numbers.sort_unstable();
    let median = numbers.get(numbers.len() / 2).copied().unwrap_or(0);
    (median, numbers.last().copied().unwrap_or(0))
}
