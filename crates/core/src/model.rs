//! A network together with what it takes to use it.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use fireclay_files::ReadAt;
use fireclay_model::model_file::{Unwritten, Weights, open, read_network};
use fireclay_model::{Description, RowError, check_row};

use crate::mlp::unreadable;
use crate::targets::restored;
use crate::{
    Adapter, AdapterError, Checkpoint, InputSpec, Mlp, ModelFileError, ModelFileProblem,
    NetworkInput, Prediction, Predictor, Provenance, Task,
};

/// A trained network on a device, with its preprocessing and the meaning of its outputs.
///
/// It reads raw features, such as pixel bytes from 0 to 255; nobody has to remember how they were
/// scaled in training. On the host alone, without Burn, it is a [`fireclay_model::Model`].
#[derive(Clone, Debug)]
pub struct Model {
    /// The network.
    pub mlp: Mlp,
    /// The meaning of the outputs.
    pub task: Task,
    /// The input for one row, and its encoding for the network.
    pub input: InputSpec,
    /// Where the model comes from.
    pub provenance: Provenance,
}

impl Model {
    /// Calibrated logits, or values in the unit of their target, `[batch, outputs]`, of rows: raw features,
    /// `[batch, features]`, of a [dense](InputSpec::as_dense) input, and what an encoder makes of any
    /// other.
    pub fn forward(&self, rows: impl Into<NetworkInput>) -> Tensor<2> {
        restored(&self.task, self.network_outputs(rows))
    }

    /// As [`forward`](Self::forward), with values as the network gives them: standardised where the
    /// task has a [scaling](Task::scaling).
    pub fn network_outputs(&self, rows: impl Into<NetworkInput>) -> Tensor<2> {
        self.mlp.forward(rows.into().prepared(self.input.preprocessing()))
    }

    /// Number of raw features of a row.
    pub fn features(&self) -> usize {
        self.mlp.architecture().inputs()
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
        let mut outputs = self.forward(self.upload(rows)?).try_into_vec_as::<f32>()?;
        let rows = outputs.chunks_exact_mut(self.task.outputs());
        let predictions = rows.map(|row| {
            self.task.finish(row);
            self.task.prediction(row)
        });
        Ok(predictions.collect())
    }

    fn upload(&self, rows: &[impl AsRef<[f32]>]) -> Result<Tensor<2>, RowError> {
        self.input.require_dense()?;
        let expected = self.features();
        let mut values = Vec::with_capacity(rows.len() * expected);
        for (row, features) in rows.iter().map(AsRef::as_ref).enumerate() {
            check_row(row, features, expected)?;
            values.extend_from_slice(features);
        }
        let device = self.device().without_autodiff();
        Ok(Tensor::from_data(TensorData::new(values, [rows.len(), expected]), &device))
    }

    /// The model made ready to predict on the host.
    ///
    /// # Errors
    ///
    /// As for [`to_host`](Self::to_host).
    pub fn predictor(&self) -> Result<Predictor, ModelFileProblem> {
        Predictor::new(self.to_host()?)
    }

    /// Returns its description, apart from its weights.
    pub fn description(&self) -> Description {
        Description {
            architecture: self.mlp.architecture().clone(),
            task: self.task.clone(),
            input: self.input.clone(),
            provenance: self.provenance.clone(),
        }
    }

    /// Copies it to the host.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Parameters`] if the device cannot be read.
    pub fn to_host(&self) -> Result<fireclay_model::Model, ModelFileProblem> {
        let weights = self.mlp.tensors().map_err(unreadable)?;
        let description = self.description();
        Ok(fireclay_model::Model { description, weights, encoded: BTreeMap::new() })
    }

    /// The tuned model that an adapter makes of this one, its base.
    ///
    /// # Errors
    ///
    /// As [`Adapter::apply`]; the base cannot be read from its device.
    pub fn with_adapter(&self, adapter: &Adapter) -> Result<Self, AdapterError> {
        let tuned = adapter.apply(&self.to_host()?)?;
        Ok(Self::from_host(tuned, &self.device())?)
    }

    /// Puts a model onto a device.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`]: a tensor that the architecture needs is missing or of another shape,
    /// or one has no place.
    pub fn from_host(
        model: fireclay_model::Model,
        device: &Device,
    ) -> Result<Self, ModelFileProblem> {
        Self::build(model.description.clone(), Weights::of(model), device)
    }

    /// Puts the model of a checkpoint onto a device, and leaves the tensors of its run.
    ///
    /// # Errors
    ///
    /// As for [`from_host`](Self::from_host).
    pub fn from_checkpoint(
        checkpoint: Checkpoint,
        device: &Device,
    ) -> Result<(Self, Checkpoint), ModelFileProblem> {
        let (description, weights, run) = checkpoint.into_network();
        Ok((Self::build(description, weights, device)?, run))
    }

    /// Reads a model file onto a device.
    ///
    /// The file may come from a stranger: nothing in it is executed, every size is checked against
    /// the bytes present before anything is allocated for it, and the digest must be right.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`] that names the file and what is wrong with it.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let result = open(path).and_then(|file| Self::from_source(&file, device));
        result.map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    /// Reads the bytes of a model file onto a device.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`], as for [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, ModelFileProblem> {
        Self::from_source(&bytes, device)
    }

    /// As [`from_bytes`](Self::from_bytes), of bytes that are read where they are needed: beside the
    /// parameters on the device only one of them is ever in memory.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub fn from_source(file: &dyn ReadAt, device: &Device) -> Result<Self, ModelFileProblem> {
        let (description, weights) = read_network(file)?;
        Self::build(description, weights, device)
    }

    fn build(
        description: Description,
        mut weights: Weights,
        device: &Device,
    ) -> Result<Self, ModelFileProblem> {
        let Description { architecture, task, input, provenance } = description;
        let mlp = Mlp::build(&architecture, device, &mut |path, shape| weights.take(path, shape))?;
        weights.finish()?;
        Ok(Self { mlp, task, input, provenance })
    }

    /// Writes a model file: to a sibling first, flushed to disk and then renamed, so that `path`
    /// holds either what it held before or the whole model. Returns the model's digest.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`]: the device cannot be read, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<String, ModelFileError> {
        self.unwritten().save(path)
    }

    /// The bytes of a model file, the same for the same model, and the digest in it.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Parameters`] if the parameters cannot be read from the device.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, String), ModelFileProblem> {
        self.unwritten().to_bytes()
    }

    /// The digest in its model file.
    ///
    /// # Errors
    ///
    /// As for [`to_bytes`](Self::to_bytes).
    pub fn digest(&self) -> Result<String, ModelFileProblem> {
        self.unwritten().digest()
    }

    fn unwritten(&self) -> Unwritten<'static> {
        let (description, weights) = (self.description(), self.mlp.lazy());
        Unwritten { description, weights, encodings: BTreeMap::new() }
    }
}

/// Why rows cannot be predicted.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// A row is not one of the model's.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] TensorReadError),
}
