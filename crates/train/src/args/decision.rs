//! The flags of choices on the validation samples after training.

use fireclay_measure::ThresholdGoal;

use super::flags::Flags;

/// Choices on the validation samples after training, which the model stores.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Calibration and thresholds")]
pub struct DecisionArgs {
    /// Calibrate probabilities by a temperature chosen on the validation samples.
    #[arg(long)]
    pub calibrate: bool,
    /// Choose the decision threshold of the second of two classes, or of each label, on the validation samples: f1, balanced, precision=P, recall=R or cost=C (one missed positive costs C false alarms) [default: 0.5].
    #[arg(long, value_name = "GOAL")]
    pub threshold: Option<ThresholdGoal>,
    /// Predict intervals of this coverage for regression, such as 0.9, by conformal prediction on the validation samples [default: none].
    #[arg(long, value_name = "SHARE")]
    pub interval: Option<f64>,
}

impl DecisionArgs {
    /// Adds these settings.
    pub fn add_to(&self, flags: &mut Flags) {
        flags.on("decision.calibrate", self.calibrate);
        flags.text("decision.threshold", self.threshold);
        flags.number("decision.interval", self.interval);
    }
}
