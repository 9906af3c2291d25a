//! Learning rates of groups of parameters.

use std::collections::BTreeMap;

use fireclay::{Architecture, FrontParameter, FrontPart, ParameterPath};
use serde::{Deserialize, Serialize};

use super::SettingsError;

/// What the learning rate is multiplied by, for each group of parameters of a fresh network; 1 by
/// default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupRates {
    /// Biases of linear layers.
    pub biases: f64,
    /// The learned scaling of the first layer's inputs.
    pub scaling: f64,
    /// Shares of parametric activations.
    pub activations: f64,
    /// Vectors of categories.
    pub categories: f64,
    /// Embeddings of numbers.
    pub numbers: f64,
}

impl Default for GroupRates {
    fn default() -> Self {
        Self { biases: 1.0, scaling: 1.0, activations: 1.0, categories: 1.0, numbers: 1.0 }
    }
}

impl GroupRates {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The factor of each parameter that has another than 1, by its path.
    pub(crate) fn by_path(&self, network: &Architecture) -> BTreeMap<String, f64> {
        if self.is_default() {
            return BTreeMap::new();
        }
        let all = network.trainable().into_iter().map(|(path, _)| (path, self.of(path, network)));
        all.filter(|(_, rate)| *rate != 1.0).map(|(path, rate)| (path.to_string(), rate)).collect()
    }

    fn of(&self, path: ParameterPath, network: &Architecture) -> f64 {
        match path {
            ParameterPath::Bias(_) => self.biases,
            ParameterPath::Scaling => self.scaling,
            ParameterPath::Activation(_) => self.activations,
            ParameterPath::Front(part, FrontParameter::Weight)
                if matches!(network.front.get(part), Some(FrontPart::Embedding { .. })) =>
            {
                self.categories
            }
            ParameterPath::Front(part, _)
                if matches!(network.front.get(part), Some(FrontPart::Bag { .. })) =>
            {
                1.0
            }
            ParameterPath::Front(..) => self.numbers,
            _ => 1.0,
        }
    }

    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        let all = [
            ("training.rates.biases", self.biases),
            ("training.rates.scaling", self.scaling),
            ("training.rates.activations", self.activations),
            ("training.rates.categories", self.categories),
            ("training.rates.numbers", self.numbers),
        ];
        for (setting, rate) in all {
            let holds = rate > 0.0 && rate.is_finite();
            super::in_range(holds, setting, format!("{rate:?}"), "above 0")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fireclay::MlpConfig;

    use super::*;

    #[test]
    fn each_group_has_its_factor_and_all_else_one() {
        let periodic = FrontPart::Periodic { columns: 1, frequencies: 2, width: 3, sigma: 0.1 };
        let config = MlpConfig {
            front: vec![FrontPart::Embedding { levels: 4, width: 2 }, periodic],
            scaling: true,
            parametric: true,
            ..MlpConfig::new([2], [3], 1)
        };
        let rates = GroupRates {
            biases: 0.1,
            scaling: 6.0,
            activations: 0.2,
            numbers: 0.3,
            ..GroupRates::default()
        };
        let found = rates.by_path(&config.architecture().unwrap());
        let expected = [
            ("activations.0.weight", 0.2),
            ("front.1.bias", 0.3),
            ("front.1.frequency", 0.3),
            ("front.1.phase", 0.3),
            ("front.1.weight", 0.3),
            ("layers.0.bias", 0.1),
            ("layers.1.bias", 0.1),
            ("scaling.weight", 6.0),
        ];
        assert_eq!(found, expected.map(|(path, rate)| (path.to_owned(), rate)).into());
        assert!(GroupRates { biases: f64::NAN, ..rates }.validate().is_err());
    }
}
