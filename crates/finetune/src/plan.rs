//! When which parameters are trained, and how fast.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::ValueEnum;
use fireclay::MlpConfig;
use train::tuning::Phase;

use crate::pattern::Pattern;

/// What the learning rate of the second part of [`Recipe::LpFt`] is multiplied by.
const TUNING_FACTOR: f64 = 0.1;

/// An order in which the parts of a network are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Recipe {
    /// The head for half of the epochs, then everything at a tenth of the rate (Kumar et al. 2022,
    /// arXiv 2202.10054): what the body has learned is not spoiled by a head that knows nothing.
    LpFt,
    /// The head alone (a linear probe).
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
    /// The learning rate of all others.
    pub rate: f64,
    /// What each layer's rate is multiplied by to get that of the layer below.
    pub decay: Option<f64>,
    /// The order.
    pub recipe: Option<Recipe>,
    /// Epochs after which the next layer, from the head down, is trained too.
    pub unfreeze_every: Option<u64>,
    /// Epochs of the run.
    pub epochs: u64,
}

impl Plan {
    /// The phases of the run.
    ///
    /// # Errors
    ///
    /// A pattern that names nothing, nothing left to train, or too few epochs for the order.
    pub fn phases(&self, model: &MlpConfig) -> Result<Vec<Phase>> {
        let rates = self.rates(model)?;
        let head: Vec<String> = "head".parse::<Pattern>()?.paths(model)?;
        let only = |keep: &dyn Fn(&str) -> bool, factor: f64| -> BTreeMap<String, f64> {
            let kept = rates.iter().filter(|(path, _)| keep(path));
            kept.map(|(path, rate)| (path.clone(), rate * factor)).collect()
        };
        let is_head = |path: &str| head.iter().any(|head| head == path);
        if let Some(every) = self.unfreeze_every {
            if self.recipe.is_some() {
                bail!("--unfreeze-every is an order of its own; leave out --recipe");
            }
            return self.unfreezing(model, &rates, every);
        }
        let phase = |epochs, rates| Phase { epochs, rates };
        match self.chosen_recipe() {
            Recipe::Full => Ok(vec![phase(0, rates)]),
            Recipe::Probe => {
                let rates = only(&is_head, 1.0);
                if rates.is_empty() {
                    bail!("--recipe probe trains the head alone, and the head is frozen");
                }
                Ok(vec![phase(0, rates)])
            }
            Recipe::LpFt => {
                let probe = only(&is_head, 1.0);
                if self.epochs < 2 {
                    bail!(
                        "--recipe lp-ft needs at least --epochs 2: the head first, then the rest"
                    );
                }
                if probe.is_empty() || probe.len() == rates.len() {
                    bail!(
                        "--recipe lp-ft trains the head first and then the rest, and {} is frozen; \
                         take --recipe full",
                        if probe.is_empty() { "the head" } else { "the rest" }
                    );
                }
                Ok(vec![phase(self.epochs / 2, probe), phase(0, only(&|_| true, TUNING_FACTOR))])
            }
        }
    }

    /// The order that is taken if none was asked for: with nothing else said the head comes first.
    pub fn chosen_recipe(&self) -> Recipe {
        let Self { train, freeze, rates, decay, recipe, .. } = self;
        let is_told =
            !train.is_empty() || !freeze.is_empty() || !rates.is_empty() || decay.is_some();
        recipe.unwrap_or(if is_told || self.epochs < 2 { Recipe::Full } else { Recipe::LpFt })
    }

    /// What the learning rate of each trained parameter is multiplied by.
    fn rates(&self, model: &MlpConfig) -> Result<BTreeMap<String, f64>> {
        let all = |patterns: &[Pattern]| -> Result<Vec<String>> {
            let found: Result<Vec<_>, _> =
                patterns.iter().map(|pattern| pattern.paths(model)).collect();
            Ok(found?.concat())
        };
        let named =
            |text: &str| -> Result<Vec<String>> { Ok(text.parse::<Pattern>()?.paths(model)?) };
        let mut trained = match (&self.train[..], &model.lora) {
            ([], None) => named("all")?,
            // Of a network with adapters the rest is the base, which stays.
            ([], Some(_)) => [named("adapters")?, named("head")?].concat(),
            (patterns, _) => all(patterns)?,
        };
        let frozen = all(&self.freeze)?;
        trained.retain(|path| !frozen.contains(path));
        if trained.is_empty() {
            bail!("nothing is left to train: --freeze names every parameter that --train does");
        }
        let layers = model.hidden.len();
        let mut rates = BTreeMap::new();
        for path in &trained {
            let layer = path.split('.').nth(1).and_then(|part| part.parse().ok()).unwrap_or(layers);
            let depth = layers.saturating_sub(layer);
            let decay = self.decay.unwrap_or(1.0).powi(i32::try_from(depth).unwrap_or(i32::MAX));
            rates.insert(path.clone(), decay);
        }
        for (pattern, rate) in &self.rates {
            let paths = pattern.paths(model)?;
            if !paths.iter().any(|path| rates.contains_key(path)) {
                bail!("--lr {pattern}={rate}: everything that `{pattern}` names is frozen");
            }
            for path in paths {
                rates.entry(path).and_modify(|factor| *factor = rate / self.rate);
            }
        }
        Ok(rates)
    }

    /// The head first, then one layer more each time.
    fn unfreezing(
        &self,
        model: &MlpConfig,
        rates: &BTreeMap<String, f64>,
        every: u64,
    ) -> Result<Vec<Phase>> {
        let mut phases: Vec<Phase> = Vec::new();
        for layers in 1..=model.hidden.len() + 1 {
            let paths = format!("last:{layers}").parse::<Pattern>()?.paths(model)?;
            let reached = rates.iter().filter(|(path, _)| paths.contains(path));
            let rates: BTreeMap<String, f64> =
                reached.map(|(path, rate)| (path.clone(), *rate)).collect();
            let is_new = phases.last().is_none_or(|last| last.rates.len() < rates.len());
            if is_new && !rates.is_empty() {
                phases.push(Phase { epochs: every, rates });
            }
        }
        let needed = every.saturating_mul(phases.len().saturating_sub(1) as u64) + 1;
        if self.epochs < needed {
            bail!(
                "--unfreeze-every {every}epoch reaches the last layer in epoch {needed}; give at \
                 least --epochs {needed}"
            );
        }
        Ok(phases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fireclay::Lora;

    fn network() -> MlpConfig {
        MlpConfig::new([4], [3, 3], 2)
    }

    fn plan() -> Plan {
        Plan { rate: 1e-3, epochs: 6, ..Plan::default() }
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn trained(phase: &Phase) -> Vec<&str> {
        phase.rates.keys().map(String::as_str).collect()
    }

    #[test]
    fn with_nothing_said_the_head_comes_first() {
        let phases = plan().phases(&network()).unwrap();
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
        let network = MlpConfig { lora: Some(lora), ..network() };
        let phases = Plan { recipe: Some(Recipe::Full), ..plan() }.phases(&network).unwrap();
        let expected = ["adapters.0.a", "adapters.0.b", "layers.2.bias", "layers.2.weight"];
        assert_eq!(trained(&phases[0]), expected);
    }

    #[test]
    fn what_can_not_be_is_said() {
        let words = |plan: Plan| plan.phases(&network()).unwrap_err().to_string();
        let freeze = |texts: &[&str]| Plan { freeze: patterns(texts), ..plan() };
        assert!(words(freeze(&["all"])).contains("nothing is left"));
        assert!(words(freeze(&["layers.7"])).contains("names no parameter"));
        let recipe = Some(Recipe::LpFt);
        assert!(words(Plan { recipe, ..freeze(&["head"]) }).contains("the head is frozen"));
        assert!(words(Plan { recipe, epochs: 1, ..plan() }).contains("--epochs 2"));
        assert!(
            words(Plan { recipe: Some(Recipe::Probe), ..freeze(&["head"]) }).contains("frozen")
        );
        let rates = vec![("head".parse().unwrap(), 1e-4)];
        assert!(words(Plan { rates, ..freeze(&["head"]) }).contains("is frozen"));
    }
}
