//! How the columns of a table become inputs of the network.

use clap::ValueEnum;
use fireclay::{FrontChoice, InputSpec, PeriodicEmbedding, Preprocessing};
use fireclay_data::Dataset;
use serde::{Deserialize, Serialize};

use super::{Settings, SettingsError};

/// How the columns of a table become inputs of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingSettings {
    /// Length of the learned vector of each level of a category.
    pub categories: usize,
    /// What becomes of numbers.
    pub numbers: NumberEmbedding,
    /// Frequencies of a periodic embedding.
    pub frequencies: usize,
    /// Numbers that a periodic embedding makes of one.
    pub width: usize,
    /// Standard deviation of the frequencies at first.
    pub sigma: f64,
}

/// What becomes of numbers before the first layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum NumberEmbedding {
    /// Encoded numbers as they are.
    #[default]
    None,
    /// A learned combination of cosines of learned frequencies, and the number itself (PBLD).
    Periodic,
}

impl Default for EmbeddingSettings {
    /// Those of RealMLP-TD (Holzmüller et al. 2024, arXiv 2407.04491), without periodic embeddings.
    fn default() -> Self {
        Self {
            categories: 8,
            numbers: NumberEmbedding::default(),
            frequencies: 16,
            width: 4,
            sigma: 0.1,
        }
    }
}

impl EmbeddingSettings {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The front stage that is wanted.
    fn choice(&self) -> FrontChoice {
        let Self { categories, numbers, frequencies, width, sigma } = *self;
        let periodic = PeriodicEmbedding { frequencies, width, sigma };
        let numbers = (numbers == NumberEmbedding::Periodic).then_some(periodic);
        FrontChoice { categories, numbers }
    }

    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        let sizes = [
            ("embedding.categories", self.categories, 1, "at least 1"),
            ("embedding.frequencies", self.frequencies, 1, "at least 1"),
            ("embedding.width", self.width, 2, "at least 2"),
        ];
        for (setting, found, least, expected) in sizes {
            super::in_range(found >= least, setting, found, expected)?;
        }
        let sigma = self.sigma;
        let is_positive = sigma > 0.0 && sigma.is_finite();
        super::in_range(is_positive, "embedding.sigma", format!("{sigma:?}"), "above 0")
    }
}

impl Settings {
    /// Gives a fresh network the front stage for its data, unless it has one already.
    pub(super) fn embed(&mut self, data: &Dataset) {
        if self.model.front.is_empty() && self.tuning.is_none() {
            let choice = self.embedding.choice();
            let dense = || InputSpec::dense(data.shape(), Preprocessing::None).front(&choice);
            self.model.front = data.input().map_or_else(dense, |input| input.front(&choice));
        }
    }
}
