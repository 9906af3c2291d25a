//! When which parameters are trained, and how fast.

use std::collections::BTreeMap;

use clap::ValueEnum;
use fireclay::{Architecture, ParameterPath};
use train::optimizer::OptimizerConfig;
use train::settings::{Partial, SettingsError};
use train::tuning::Phase;

use crate::pattern::{Pattern, PatternError};

/// What the learning rate of the second part of [`Strategy::LpFt`] is multiplied by.
const TUNING_FACTOR: f64 = 0.1;

/// The settings of a run without other settings: a rate three times Adam's usual one, that
/// falls to zero along a cosine. `cargo xtask bench-tuning` measured it against others.
pub(crate) fn usual() -> Result<Partial, SettingsError> {
    let text = "[optimizer]\nlearning_rate = 0.003\n[schedule]\nname = \"cosine\"\n";
    Partial::of_defaults(text)
}

/// An order in which the parts of a network are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// The head for half of the epochs, then everything at a tenth of the learning rate, so that an
    /// untrained head does not spoil the body (Kumar et al. 2022, arXiv 2202.10054).
    LpFt,
    /// Only the head (a linear probe).
    Probe,
    /// Everything from the first step.
    Full,
}

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// These alone are trained, if there are any.
    pub train: Vec<Pattern>,
    /// These are not.
    pub freeze: Vec<Pattern>,
    /// The learning rates of some; the last that names a parameter holds.
    pub rates: Vec<(Pattern, f64)>,
    /// Gives the learning rate of all others.
    pub optimizer: OptimizerConfig,
    /// What each layer's rate is multiplied by to get that of the layer below.
    pub decay: Option<f64>,
    /// The order of head and body.
    pub strategy: Option<Strategy>,
    /// Epochs after which the next layer, from the head down, is trained too.
    pub unfreeze_every: Option<u64>,
    /// Epochs of the run.
    pub epochs: u64,
}

/// Why nothing can be trained so.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PlanError {
    /// A pattern names nothing.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A learning rate is that of frozen parameters alone.
    #[error("--lr {pattern}={rate}: everything that `{pattern}` names is frozen")]
    RateOfFrozen {
        /// The pattern.
        pattern: Pattern,
        /// The rate.
        rate: f64,
    },
    /// Two orders were asked for.
    #[error("--unfreeze-every is an order of its own; leave out --strategy")]
    TwoOrders,
    /// The head alone is to be trained, and it is frozen.
    #[error("--strategy probe trains the head alone, and the head is frozen")]
    FrozenHead,
    /// The head alone is to be trained, and what was asked for concerns the rest.
    #[error(
        "--strategy probe trains the head alone, so --lora and --lr-decay would change nothing; leave \
         them out, or take --strategy full"
    )]
    IdleInProbe,
    /// There are too few epochs for the two parts of an order.
    #[error("--strategy lp-ft needs at least --epochs 2: the head first, then the rest")]
    OneEpoch,
    /// One of the two parts of an order is frozen.
    #[error(
        "--strategy lp-ft trains the head first and then the rest, and {part} is frozen; take --strategy \
         full"
    )]
    FrozenPart {
        /// The head, or the rest.
        part: &'static str,
    },
    /// Every parameter is frozen.
    #[error("nothing is left to train: --freeze names every parameter that --train does")]
    Nothing,
    /// A learning rate is too far from that of the optimizer.
    #[error(
        "the learning rate of {path} would be {factor:e} times that of the optimizer; change --lr or \
         --lr-decay"
    )]
    Rate {
        /// The parameter.
        path: ParameterPath,
        /// What the optimizer's rate would be multiplied by.
        factor: f64,
    },
    /// The run ends before its last layer is trained.
    #[error(
        "--unfreeze-every {every}epoch reaches the last layer in epoch {needed}; give at least \
         --epochs {needed}"
    )]
    FewEpochs {
        /// Epochs between two layers.
        every: u64,
        /// Epochs that are needed.
        needed: u64,
    },
}

/// What the learning rate of each trained parameter is multiplied by.
type Factors = BTreeMap<ParameterPath, f64>;

impl Plan {
    /// The phases of the run.
    ///
    /// # Errors
    ///
    /// A pattern that names nothing, nothing left to train, something that would change nothing, or
    /// too few epochs for the order.
    pub fn phases(&self, network: &Architecture) -> Result<Vec<Phase>, PlanError> {
        let phases = self.in_order(network)?;
        for (pattern, rate) in &self.rates {
            let paths = pattern.paths(network)?;
            let is_trained = paths
                .iter()
                .any(|path| phases.iter().any(|phase| phase.rates.contains_key(&path.to_string())));
            if !is_trained {
                return Err(PlanError::RateOfFrozen { pattern: pattern.clone(), rate: *rate });
            }
        }
        Ok(phases)
    }

    fn in_order(&self, network: &Architecture) -> Result<Vec<Phase>, PlanError> {
        let told = self.told(network)?;
        let rates = self.factors(network, &told)?;
        let head = paths_of("head", network)?;
        let probe: Factors =
            rates.iter().filter(|(path, _)| head.contains(path)).map(|(p, r)| (*p, *r)).collect();
        match (self.unfreeze_every, self.strategy) {
            (Some(_), Some(_)) => Err(PlanError::TwoOrders),
            (Some(every), None) => self.unfreezing(network, &rates, every),
            (None, None | Some(Strategy::Full)) => Ok(vec![phase(0, rates)]),
            (None, Some(Strategy::Probe)) if probe.is_empty() => Err(PlanError::FrozenHead),
            (None, Some(Strategy::Probe)) if network.lora.is_some() || self.decay.is_some() => {
                Err(PlanError::IdleInProbe)
            }
            (None, Some(Strategy::Probe)) => Ok(vec![phase(0, probe)]),
            (None, Some(Strategy::LpFt)) => self.head_first(probe, rates, &told),
        }
    }

    /// The head for half of the epochs, then everything.
    fn head_first(
        &self,
        probe: Factors,
        rates: Factors,
        told: &Factors,
    ) -> Result<Vec<Phase>, PlanError> {
        if self.epochs < 2 {
            return Err(PlanError::OneEpoch);
        }
        if probe.is_empty() || probe.len() == rates.len() {
            let part = if probe.is_empty() { "the head" } else { "the rest" };
            return Err(PlanError::FrozenPart { part });
        }
        let slower = rates.into_iter().map(|(path, factor)| {
            // A rate that was asked for holds in both.
            let is_told = told.contains_key(&path);
            (path, if is_told { factor } else { factor * TUNING_FACTOR })
        });
        let slower = slower.collect();
        Ok(vec![phase(self.epochs / 2, probe), phase(0, slower)])
    }

    /// What the learning rate of each parameter is multiplied by to get the one that was asked for.
    fn told(&self, network: &Architecture) -> Result<Factors, PlanError> {
        let mut told = BTreeMap::new();
        for (pattern, rate) in &self.rates {
            for path in pattern.paths(network)? {
                let factor = rate / self.optimizer.learning_rate_of(path, network);
                told.insert(path, factor);
            }
        }
        Ok(told)
    }

    /// What the learning rate of each trained parameter is multiplied by: what was asked for, less
    /// for each layer further down.
    fn factors(&self, network: &Architecture, told: &Factors) -> Result<Factors, PlanError> {
        let mut trained = match (&self.train[..], &network.lora) {
            ([], None) => paths_of("all", network)?,
            // Of a network with adapters the rest is the base, which stays.
            ([], Some(_)) => [paths_of("adapters", network)?, paths_of("head", network)?].concat(),
            (patterns, _) => paths_of_all(patterns, network)?,
        };
        let frozen = paths_of_all(&self.freeze, network)?;
        trained.retain(|path| !frozen.contains(path));
        if trained.is_empty() {
            return Err(PlanError::Nothing);
        }
        let layers = network.hidden.len();
        let mut rates = BTreeMap::new();
        for path in trained {
            let depth = layers.saturating_sub(path.layer());
            let decay = self.decay.unwrap_or(1.0).powi(i32::try_from(depth).unwrap_or(i32::MAX));
            let factor = decay * told.get(&path).copied().unwrap_or(1.0);
            if factor == 0.0 || !factor.is_finite() {
                return Err(PlanError::Rate { path, factor });
            }
            rates.insert(path, factor);
        }
        Ok(rates)
    }

    /// The head first, then one layer more each time.
    fn unfreezing(
        &self,
        network: &Architecture,
        rates: &Factors,
        every: u64,
    ) -> Result<Vec<Phase>, PlanError> {
        let mut phases: Vec<Phase> = Vec::new();
        for layers in 1..=network.hidden.len() + 1 {
            let paths = paths_of(&format!("last:{layers}"), network)?;
            let reached = rates.iter().filter(|(path, _)| paths.contains(path));
            let rates: Factors = reached.map(|(path, rate)| (*path, *rate)).collect();
            let is_new = phases.last().is_none_or(|last| last.rates.len() < rates.len());
            if is_new && !rates.is_empty() {
                phases.push(phase(every, rates));
            }
        }
        let needed = every.saturating_mul(phases.len().saturating_sub(1) as u64).saturating_add(1);
        if self.epochs < needed {
            return Err(PlanError::FewEpochs { every, needed });
        }
        Ok(phases)
    }
}

/// A phase with these learning rates, by path as settings have them.
fn phase(epochs: u64, factors: Factors) -> Phase {
    let rates = factors.into_iter().map(|(path, factor)| (path.to_string(), factor)).collect();
    Phase { epochs, rates }
}

/// The parameters that a pattern names.
fn paths_of(pattern: &str, network: &Architecture) -> Result<Vec<ParameterPath>, PatternError> {
    pattern.parse::<Pattern>()?.paths(network)
}

/// The parameters that some patterns name.
fn paths_of_all(
    patterns: &[Pattern],
    network: &Architecture,
) -> Result<Vec<ParameterPath>, PatternError> {
    let found: Result<Vec<_>, _> = patterns.iter().map(|pattern| pattern.paths(network)).collect();
    Ok(found?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fireclay::Lora;
    use fireclay::MlpConfig;
    use train::optimizer::Muon;

    fn network() -> Architecture {
        MlpConfig::new([4], [3, 3], 2).architecture().unwrap()
    }

    fn plan() -> Plan {
        Plan { epochs: 6, ..Plan::default() }
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn trained(phase: &Phase) -> Vec<&str> {
        phase.rates.keys().map(String::as_str).collect()
    }

    #[test]
    fn with_nothing_said_everything_is_trained_from_the_first_step() {
        for (epochs, network) in [
            (6, network()),
            (1, network()),
            (6, MlpConfig::new([4], [], 2).architecture().unwrap()),
        ] {
            let phases = Plan { epochs, ..plan() }.phases(&network).unwrap();
            assert_eq!(phases.len(), 1);
            assert_eq!(phases[0].rates.len(), network.trainable().len());
            assert!(phases[0].rates.values().all(|&rate| rate == 1.0));
        }
    }

    #[test]
    fn by_the_strategy_lp_ft_the_head_comes_first() {
        let plan = Plan { strategy: Some(Strategy::LpFt), ..plan() };
        let phases = plan.phases(&network()).unwrap();
        assert_eq!(phases.len(), 2);
        assert_eq!(phases[0].epochs, 3);
        assert_eq!(trained(&phases[0]), ["layers.2.bias", "layers.2.weight"]);
        assert_eq!(phases[1].rates.len(), 6);
        assert!(phases[1].rates.values().all(|&rate| rate == 0.1));
    }

    #[test]
    fn what_is_frozen_is_not_there() {
        let plan = Plan { freeze: patterns(&["all-but-head"]), ..plan() };
        let phases = plan.phases(&network()).unwrap();
        assert_eq!(phases.len(), 1);
        assert_eq!(trained(&phases[0]), ["layers.2.bias", "layers.2.weight"]);
        let plan = Plan { train: patterns(&["biases"]), freeze: patterns(&["layers.1"]), ..plan };
        assert_eq!(
            trained(&plan.phases(&network()).unwrap()[0]),
            ["layers.0.bias", "layers.2.bias"]
        );
    }

    #[test]
    fn rates_by_group_and_by_depth() {
        let rates = vec![("body".parse().unwrap(), 1e-4), ("layers.1.bias".parse().unwrap(), 5e-4)];
        let phases = Plan { rates, ..plan() }.phases(&network()).unwrap();
        let of = |path: &str| phases[0].rates[path];
        assert!((of("layers.0.weight") - 0.1).abs() < 1e-12);
        assert!((of("layers.1.bias") - 0.5).abs() < 1e-12);
        assert_eq!(of("layers.2.weight"), 1.0);
        let phases = Plan { decay: Some(0.5), ..plan() }.phases(&network()).unwrap();
        assert_eq!(phases[0].rates["layers.0.weight"], 0.25);
        assert_eq!(phases[0].rates["layers.2.weight"], 1.0);
    }

    #[test]
    fn a_rate_that_was_asked_for_holds() {
        let rates = vec![("body".parse().unwrap(), 5e-4)];
        let plan = Plan { rates, decay: Some(0.5), ..plan() };
        let phases = plan.phases(&network()).unwrap();
        assert!((phases[0].rates["layers.0.weight"] - 0.125).abs() < 1e-12, "decayed twice");
        let plan = Plan { decay: None, strategy: Some(Strategy::LpFt), ..plan };
        let phases = plan.phases(&network()).unwrap();
        assert!((phases[1].rates["layers.0.weight"] - 0.5).abs() < 1e-12);
        assert_eq!(phases[1].rates["layers.2.weight"], TUNING_FACTOR);
        // Muon steps the head, biases and norms by AdamW, at a rate of its own.
        let muon = Muon { learning_rate: 0.02, adam_learning_rate: 1e-3, ..Muon::default() };
        let rates = vec![("all".parse().unwrap(), 0.01)];
        let plan = Plan { optimizer: OptimizerConfig::Muon(muon), rates, ..Plan::default() };
        let phases = plan.phases(&network()).unwrap();
        let of = |path: &str| phases[0].rates[path];
        assert_eq!(
            [of("layers.0.weight"), of("layers.0.bias"), of("layers.2.weight")],
            [0.5, 10.0, 10.0]
        );
    }

    #[test]
    fn layers_thaw_from_the_head_down() {
        let phases = Plan { unfreeze_every: Some(2), ..plan() }.phases(&network()).unwrap();
        let counts: Vec<_> = phases.iter().map(|phase| (phase.epochs, phase.rates.len())).collect();
        assert_eq!(counts, [(2, 2), (2, 4), (2, 6)]);
        let short = Plan { unfreeze_every: Some(2), epochs: 4, ..plan() }.phases(&network());
        assert!(short.unwrap_err().to_string().contains("--epochs 5"));
    }

    #[test]
    fn of_a_network_with_adapters_the_base_stays() {
        let lora =
            Lora { layers: vec![0], rank: 2, alpha: 4.0, dropout: 0.0, rank_stabilized: false };
        let network = Architecture { lora: Some(lora), ..network() };
        let phases = Plan { strategy: Some(Strategy::Full), ..plan() }.phases(&network).unwrap();
        let expected = ["adapters.0.a", "adapters.0.b", "layers.2.bias", "layers.2.weight"];
        assert_eq!(trained(&phases[0]), expected);
    }

    #[test]
    fn what_can_not_be_is_said() {
        let words = |plan: Plan| plan.phases(&network()).unwrap_err().to_string();
        let freeze = |texts: &[&str]| Plan { freeze: patterns(texts), ..plan() };
        assert!(words(freeze(&["all"])).contains("nothing is left"));
        assert!(words(freeze(&["layers.7"])).contains("names no parameter"));
        let strategy = Some(Strategy::LpFt);
        assert!(words(Plan { strategy, ..freeze(&["head"]) }).contains("the head is frozen"));
        assert!(words(Plan { strategy, epochs: 1, ..plan() }).contains("--epochs 2"));
        assert!(
            words(Plan { strategy: Some(Strategy::Probe), ..freeze(&["head"]) }).contains("frozen")
        );
        let rates = vec![("head".parse().unwrap(), 1e-4)];
        assert!(words(Plan { rates, ..freeze(&["head"]) }).contains("is frozen"));
        let (rates, strategy) = (vec![("body".parse().unwrap(), 1e-4)], Some(Strategy::Probe));
        assert!(words(Plan { rates, strategy, ..plan() }).contains("is frozen"));
        assert!(words(Plan { decay: Some(0.5), strategy, ..plan() }).contains("--lr-decay"));
        let rate = "the learning rate of layers.0.weight would be 0e0 times";
        assert!(words(Plan { decay: Some(1e-200), ..plan() }).contains(rate));
        let forever = Plan { unfreeze_every: Some(u64::MAX), ..plan() };
        assert!(words(forever).contains("--epochs"));
    }
}
