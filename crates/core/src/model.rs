//! A network together with what it takes to use it.

use std::collections::BTreeMap;

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use serde::{Deserialize, Serialize};

use crate::{Mlp, Pictures, Preprocessing, Task};

/// A trained network with its preprocessing and the meaning of its outputs: what a model file holds.
///
/// It reads raw features, such as pixel bytes from 0 to 255; nobody has to remember how they were
/// scaled in training.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network.
    pub mlp: Mlp,
    /// What the outputs mean.
    pub task: Task,
    /// From raw features to the network's input.
    pub preprocessing: Preprocessing,
    /// What the pictures looked like that it was trained on, if they were pictures and it is known.
    pub pictures: Option<Pictures>,
    /// Where the model comes from.
    pub provenance: Provenance,
}

/// Where a model comes from. Everything is optional and nothing depends on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Program and version that wrote the file.
    pub program: String,
    /// Name of the data it was trained on.
    pub data: Option<String>,
    /// Settings it was trained with.
    pub settings: Option<serde_json::Value>,
    /// Digest of the model it was fine-tuned from.
    pub parent: Option<String>,
    /// That model and those before it, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Ancestor>,
    /// Final metrics by name, such as `test accuracy`.
    pub metrics: BTreeMap<String, f64>,
}

/// A model that another was fine-tuned from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ancestor {
    /// Digest of the model, or of the bytes of a file that is not one of ours.
    pub digest: String,
    /// What wrote it.
    pub program: String,
    /// Name of the data it was trained on.
    pub data: Option<String>,
}

impl Provenance {
    /// Without the metrics that JSON has no number for.
    pub(crate) fn with_finite_metrics(mut self) -> Self {
        self.metrics.retain(|_, value| value.is_finite());
        self
    }
}

/// What a model says of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// Of a classifier.
    Class {
        /// Index of the most probable class.
        class: usize,
        /// Its label.
        label: String,
        /// Its probability.
        probability: f32,
        /// Probability of every class, by index; sums to 1.
        distribution: Vec<f32>,
    },
    /// Of a multi-label model: the probability of every label, by index.
    Labels {
        /// The labels with a probability of at least one half.
        labels: Vec<String>,
        /// Probability of every label, by index.
        probabilities: Vec<f32>,
    },
    /// Of a regression model: a number per target, by index.
    Values(Vec<f32>),
}

impl Model {
    /// Logits or values of raw features: `[batch, features] → [batch, outputs]`.
    pub fn forward(&self, raw: Tensor<2>) -> Tensor<2> {
        self.mlp.forward(self.preprocessing.apply(raw))
    }

    /// Number of raw features of a row.
    pub fn features(&self) -> usize {
        self.mlp.config().inputs()
    }

    /// The device that holds the parameters.
    pub fn device(&self) -> Device {
        self.mlp.layers[0].weight.val().device()
    }

    /// Predicts rows of raw features, all in one batch.
    ///
    /// # Errors
    ///
    /// A row of another width, or with a number that is not finite; a device that fails.
    pub fn predict(&self, rows: &[impl AsRef<[f32]>]) -> Result<Vec<Prediction>, PredictError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let outputs = self.forward(self.upload(rows)?);
        let outputs = match self.task {
            Task::Classification { .. } => softmax(outputs, 1),
            Task::MultiLabel { .. } => sigmoid(outputs),
            Task::Regression { .. } => outputs,
        };
        let values = outputs.try_into_vec_as::<f32>()?;
        Ok(values.chunks_exact(self.task.outputs()).map(|row| self.prediction(row)).collect())
    }

    fn upload(&self, rows: &[impl AsRef<[f32]>]) -> Result<Tensor<2>, PredictError> {
        let expected = self.features();
        let mut values = Vec::with_capacity(rows.len() * expected);
        for (row, features) in rows.iter().map(AsRef::as_ref).enumerate() {
            if features.len() != expected {
                return Err(PredictError::Width { row, found: features.len(), expected });
            }
            if let Some(feature) = features.iter().position(|value| !value.is_finite()) {
                return Err(PredictError::NotFinite { row, feature, found: features[feature] });
            }
            values.extend_from_slice(features);
        }
        let device = self.device().without_autodiff();
        Ok(Tensor::from_data(TensorData::new(values, [rows.len(), expected]), &device))
    }

    fn prediction(&self, row: &[f32]) -> Prediction {
        match &self.task {
            Task::Classification { labels } => {
                let best =
                    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
                Prediction::Class {
                    class: best,
                    label: labels[best].clone(),
                    probability: row[best],
                    distribution: row.to_vec(),
                }
            }
            Task::MultiLabel { labels } => {
                let likely = labels.iter().zip(row).filter(|(_, p)| **p >= 0.5);
                Prediction::Labels {
                    labels: likely.map(|(label, _)| label.clone()).collect(),
                    probabilities: row.to_vec(),
                }
            }
            Task::Regression { .. } => Prediction::Values(row.to_vec()),
        }
    }
}

/// Why rows can not be predicted.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// A row does not have as many features as the model takes.
    #[error("row {row} has {found} features; this model takes {expected}")]
    Width {
        /// The row, from 0.
        row: usize,
        /// Its features.
        found: usize,
        /// The model's features.
        expected: usize,
    },
    /// A feature is not a finite number.
    #[error("row {row}: feature {feature} is {found}; features must be finite numbers")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The feature, from 0.
        feature: usize,
        /// Its value.
        found: f32,
    },
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] TensorReadError),
}
