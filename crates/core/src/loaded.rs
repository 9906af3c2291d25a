//! A model where it computes its outputs.

use std::num::NonZero;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, TensorReadError};

use crate::preprocessing::prepare;
use crate::targets::restored;
use crate::{
    Adapter, AdapterError, Backend, Description, EncodedRows, InputError, Model, ModelFileError,
    ModelFileProblem, NetworkInput, PredictError, Prediction, Predictor, Value, check_row, host,
};

/// Rows that are computed together on a device, always as many.
///
/// A matrix product of a device may sum in another order for one row than for a hundred, so that the
/// last digits of an output depend on how many rows it is computed with. With blocks of one size, the
/// last one filled up, they do not.
const BLOCK: usize = 128;

/// A model ready to compute outputs: on the host by a [`Predictor`] where the device is the host, and
/// else on the device by Burn's operations.
///
/// Its outputs do not depend on the rows that are computed together.
#[derive(Clone, Debug)]
pub struct Loaded {
    description: Description,
    place: Runner,
}

#[derive(Clone, Debug)]
enum Runner {
    Host(Box<Predictor>),
    Device(Box<Model>),
}

impl Loaded {
    /// Reads a model file.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`] that names the file and what is wrong with it.
    pub fn load(path: &Path, device: &Device) -> Result<Self, ModelFileError> {
        if Backend::is_host(device) {
            return Ok(Self::on_host(Predictor::load(path)?));
        }
        match Model::load(path, device) {
            // The models of an ensemble are small: the host computes them everywhere.
            Err(ModelFileError { problem: ModelFileProblem::Committee { .. }, .. }) => {
                Ok(Self::on_host(Predictor::load(path)?))
            }
            model => Ok(Self::on_device(model?)),
        }
    }

    /// Reads the file of a base, and applies an adapter to it.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load), and an adapter of another base.
    pub fn load_with(path: &Path, adapter: &Adapter, device: &Device) -> Result<Self, LoadError> {
        let tuned = adapter.apply(&host::Model::load(path)?)?;
        Ok(if Backend::is_host(device) {
            Self::on_host(Predictor::new(tuned).map_err(AdapterError::from)?)
        } else {
            Self::on_device(Model::from_host(tuned, device).map_err(AdapterError::from)?)
        })
    }

    /// Of a model on a device.
    ///
    /// # Errors
    ///
    /// A device that cannot be read.
    pub fn of(model: &Model) -> Result<Self, ModelFileProblem> {
        if Backend::is_host(&model.device()) {
            return Ok(Self::on_host(model.predictor()?));
        }
        Ok(Self::on_device(model.clone()))
    }

    fn on_host(predictor: Predictor) -> Self {
        Self {
            description: predictor.description().clone(),
            place: Runner::Host(Box::new(predictor)),
        }
    }

    fn on_device(model: Model) -> Self {
        Self { description: model.description(), place: Runner::Device(Box::new(model)) }
    }

    /// Returns the description of the model, apart from its weights.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The description of each model of an ensemble of models; of any other model its own.
    pub fn models(&self) -> Vec<&Description> {
        match &self.place {
            Runner::Host(predictor) => predictor.models(),
            Runner::Device(_) => vec![&self.description],
        }
    }

    /// Number of members whose predictions are averaged; 1 of a model that is no ensemble.
    pub fn members(&self) -> usize {
        match &self.place {
            Runner::Host(predictor) => predictor.members(),
            Runner::Device(_) => self.description.architecture.members(),
        }
    }

    /// Number of raw features of a row.
    pub fn features(&self) -> usize {
        self.description.architecture.inputs()
    }

    /// Logits, or values in the unit of their target, `[rows, outputs]`, of raw features,
    /// `[rows, features]` row by row, on all cores.
    ///
    /// # Errors
    ///
    /// A number that is not finite, or a last row that lacks some; a model of named columns; a device
    /// that fails.
    pub fn outputs(&self, rows: &[f32]) -> Result<Vec<f32>, PredictError> {
        self.description.input.require_dense()?;
        match &self.place {
            Runner::Host(predictor) => {
                let threads = std::thread::available_parallelism();
                let threads = threads.unwrap_or(NonZero::<usize>::MIN);
                Ok(predictor.outputs(rows, threads)?)
            }
            Runner::Device(model) => self.outputs_on_device(model, rows),
        }
    }

    /// As [`outputs`](Self::outputs), of rows that the input of the model has encoded from the columns
    /// of a table.
    ///
    /// # Errors
    ///
    /// A number that is not finite, or rows of another input; a device that fails.
    pub fn outputs_of_encoded(&self, rows: &EncodedRows) -> Result<Vec<f32>, PredictError> {
        match &self.place {
            Runner::Host(predictor) => Ok(predictor.outputs_of_encoded(rows)?),
            Runner::Device(model) => {
                rows.check(&self.description.input)?;
                let forward = |rows| restored(&model.task, model.mlp.forward(rows));
                Ok(self.in_blocks(rows, &model.device(), forward)?)
            }
        }
    }

    fn outputs_on_device(&self, model: &Model, rows: &[f32]) -> Result<Vec<f32>, PredictError> {
        let features = self.features();
        for (at, row) in rows.chunks(features).enumerate() {
            check_row(at, row, features)?;
        }
        let rows = EncodedRows::of_dense(rows.to_vec(), features);
        Ok(self.in_blocks(&rows, &model.device(), |rows| model.forward(rows))?)
    }

    /// The outputs of checked rows, by a function of `[BLOCK, features]` on the device.
    fn in_blocks(
        &self,
        rows: &EncodedRows,
        device: &Device,
        forward: impl Fn(NetworkInput) -> Tensor<2>,
    ) -> Result<Vec<f32>, TensorReadError> {
        let (features, device) = (self.features(), device.clone().without_autodiff());
        let count = rows.len();
        let mut outputs = Vec::with_capacity(count.next_multiple_of(BLOCK));
        for start in (0..count).step_by(BLOCK) {
            let end = count.min(start + BLOCK);
            let mut block = rows.dense[start * features..end * features].to_vec();
            block.resize(BLOCK * features, 0.0);
            let columns = Tensor::from_data(TensorData::new(block, [BLOCK, features]), &device);
            // Rows that do not exist have no terms.
            let places: Vec<usize> = (start..start + BLOCK).collect();
            let terms = rows.sparse.iter().map(|all| all.only(&places)).collect();
            outputs.extend(forward(NetworkInput { columns, terms }).try_into_vec_as::<f32>()?);
        }
        // Without the rows that filled the last block up.
        outputs.truncate(outputs.len() / count.next_multiple_of(BLOCK).max(1) * count);
        Ok(outputs)
    }

    /// Predicts rows of raw features.
    ///
    /// # Errors
    ///
    /// A row of another width, or with a number that is not finite; a device that fails.
    pub fn predict(&self, rows: &[impl AsRef<[f32]>]) -> Result<Vec<Prediction>, PredictError> {
        for (at, row) in rows.iter().enumerate() {
            check_row(at, row.as_ref(), self.features())?;
        }
        let rows: Vec<f32> = rows.iter().flat_map(|row| row.as_ref()).copied().collect();
        Ok(self.description.task.predictions(self.outputs(&rows)?))
    }

    /// How far the members of an ensemble are apart: the standard deviation over them of each
    /// probability, or of each value in the unit of its target, `[rows, names]`; none of a model that is
    /// no ensemble.
    ///
    /// # Errors
    ///
    /// As for [`predict`](Self::predict).
    pub fn spread(&self, rows: &[impl AsRef<[f32]>]) -> Result<Option<Vec<f32>>, PredictError> {
        match &self.place {
            Runner::Host(predictor) => Ok(predictor.spread(rows)?),
            Runner::Device(model) => {
                for (at, row) in rows.iter().enumerate() {
                    check_row(at, row.as_ref(), self.features())?;
                }
                let rows: Vec<f32> = rows.iter().flat_map(|row| row.as_ref()).copied().collect();
                let rows = EncodedRows::of_dense(rows, self.features());
                Ok(self.spread_on_device(model, &rows, |NetworkInput { columns, .. }| {
                    model.mlp.forward_members(prepare(model.input.preprocessing(), columns))
                })?)
            }
        }
    }

    /// As [`spread`](Self::spread), of rows by the names of their columns.
    ///
    /// # Errors
    ///
    /// As for [`predict_values`](Self::predict_values).
    pub fn spread_of_values<'a>(
        &self,
        columns: &[impl AsRef<str>],
        rows: &[impl AsRef<[Value<'a>]>],
    ) -> Result<Option<Vec<f32>>, ValuesError> {
        match &self.place {
            Runner::Host(predictor) => Ok(predictor.spread_of_values(columns, rows)?),
            Runner::Device(model) => {
                let encoded = self.description.input.encoder(columns)?.encode_rows(rows)?;
                Ok(self.spread_on_device(model, &encoded, |rows| model.mlp.forward_members(rows))?)
            }
        }
    }

    /// The spread of checked rows, whose members' outputs are those of `forward`.
    fn spread_on_device(
        &self,
        model: &Model,
        rows: &EncodedRows,
        forward: impl Fn(NetworkInput) -> Tensor<2>,
    ) -> Result<Option<Vec<f32>>, TensorReadError> {
        let members = self.members();
        if members == 1 {
            return Ok(None);
        }
        let forward = |rows| restored(&model.task, forward(rows));
        let outputs = self.in_blocks(rows, &model.device(), forward)?;
        Ok(Some(self.description.task.spread(outputs, members)))
    }

    /// Predicts rows by the names of their columns, which may come in any order; for any model.
    ///
    /// # Errors
    ///
    /// A column that the model takes is missing, or a value is not one of its column; a device that
    /// fails.
    pub fn predict_values<'a>(
        &self,
        columns: &[impl AsRef<str>],
        rows: &[impl AsRef<[Value<'a>]>],
    ) -> Result<Vec<Prediction>, ValuesError> {
        match &self.place {
            Runner::Host(predictor) => Ok(predictor.predict_values(columns, rows)?),
            Runner::Device(model) => {
                let encoded = self.description.input.encoder(columns)?.encode_rows(rows)?;
                // Encoded rows are prepared already, and outputs go back to the unit of their target.
                let forward = |rows| restored(&model.task, model.mlp.forward(rows));
                let outputs = self.in_blocks(&encoded, &model.device(), forward)?;
                Ok(self.description.task.predictions(outputs))
            }
        }
    }
}

/// Why rows of named columns cannot be predicted.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// The columns or a value do not fit.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] TensorReadError),
}

/// Why a model cannot be loaded with an adapter.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file of the base.
    #[error(transparent)]
    Base(#[from] ModelFileError),
    /// The adapter.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputSpec, Mlp, MlpConfig, Preprocessing, Provenance, TargetScaling, Task};

    #[test]
    fn rows_by_name_are_the_same_on_a_device_as_on_the_host() {
        let device = Device::flex();
        let (mean, deviation) = (vec![50.0], vec![8.0]);
        let scaling = Some(TargetScaling { mean, deviation, logarithm: false });
        let model = Model {
            mlp: Mlp::init(&MlpConfig::new([2], [3], 1), 1, &device).unwrap(),
            task: Task::regression(vec!["y".to_owned()]).with_scaling(scaling),
            input: InputSpec::dense(&[2], Preprocessing::Scale { scale: 0.5 }),
            provenance: Provenance::default(),
        };
        let rows = [[Value::Dense(&[3.0, -1.0])], [Value::Dense(&[0.5, 2.0])]];
        let values = |loaded: &Loaded| -> Vec<f32> {
            let predictions = loaded.predict_values(&[InputSpec::FEATURES], &rows).unwrap();
            predictions
                .into_iter()
                .flat_map(|prediction| match prediction {
                    Prediction::Values { values, .. } => values,
                    _ => Vec::new(),
                })
                .collect()
        };
        let host = values(&Loaded::on_host(model.predictor().unwrap()));
        let found = values(&Loaded::on_device(model));
        assert_eq!(found.len(), 2);
        for (found, host) in found.iter().zip(&host) {
            assert!((found - host).abs() < 1e-4 && *host > 30.0, "{found} {host}");
        }
    }
}
