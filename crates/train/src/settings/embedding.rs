//! How the columns of a table become inputs of the network.

use std::path::PathBuf;

use clap::ValueEnum;
use fireclay::{Activation, FrontChoice, InputSpec, PeriodicEmbedding, Preprocessing, TextBag};
use fireclay_data::Dataset;
use serde::{Deserialize, Serialize};

use super::{Settings, SettingsError};
use crate::vectors;

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
    /// Length of the learned vector of each term of a text.
    #[serde(skip_serializing_if = "is_default_width")]
    pub texts: usize,
    /// The function of the sum of these vectors.
    #[serde(skip_serializing_if = "is_default_activation")]
    pub text_activation: Activation,
    /// The file of vectors of words from which those of terms start, as long as they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<PathBuf>,
}

fn is_default_width(width: &usize) -> bool {
    *width == TextBag::default().width
}

fn is_default_activation(activation: &Activation) -> bool {
    *activation == TextBag::default().activation
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
        let TextBag { width: texts, activation: text_activation } = TextBag::default();
        Self {
            texts,
            text_activation,
            vectors: None,
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
        let &Self { categories, numbers, frequencies, width, sigma, .. } = self;
        let periodic = PeriodicEmbedding { frequencies, width, sigma };
        let numbers = (numbers == NumberEmbedding::Periodic).then_some(periodic);
        let texts = TextBag { width: self.texts, activation: self.text_activation };
        FrontChoice { categories, numbers, texts }
    }

    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        let sizes = [
            ("embedding.categories", self.categories, 1, "at least 1"),
            ("embedding.frequencies", self.frequencies, 1, "at least 1"),
            ("embedding.width", self.width, 2, "at least 2"),
            ("embedding.texts", self.texts, 1, "at least 1"),
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
    ///
    /// # Errors
    ///
    /// A file of vectors that cannot be read, or that data without a text does not need.
    pub(super) fn embed(&mut self, data: &Dataset) -> Result<(), SettingsError> {
        if self.model.front.is_empty() && self.tuning.is_none() {
            if let Some(path) = &self.embedding.vectors {
                if data.input().is_none_or(|input| input.texts().next().is_none()) {
                    return Err(SettingsError::NoText);
                }
                self.embedding.texts = vectors::width(path)?;
            }
            let choice = self.embedding.choice();
            let dense = || InputSpec::dense(data.shape(), Preprocessing::None).front(&choice);
            self.model.front = data.input().map_or_else(dense, |input| input.front(&choice));
        }
        Ok(())
    }
}
