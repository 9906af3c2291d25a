//! The forward pass on the host.

mod function;
pub(crate) mod integers;
mod layer;
#[allow(unsafe_code, reason = "vector instructions")]
mod machine;
pub(crate) mod packed;
mod product;
mod rows;
mod stage;

use std::num::NonZero;
use std::path::Path;

use fireclay_files::ReadAt;

use self::integers::Dots;
use self::layer::{HostLayer, Room};
use self::machine::Machine;
use self::product::{BLOCK, Sums};
use self::rows::Rows;
use self::stage::Stage;
use crate::model_file::{Weights, open, read_packed};
use crate::{
    Average, Committee, Description, EncodedRows, InputError, Model, ModelFileError,
    ModelFileProblem, Prediction, Preprocessing, RowError, Value, check_row,
};

/// A model made ready to predict on this machine: weights laid out for its vector instructions, and
/// adapters added to them.
///
/// Its outputs do not depend, to the bit, on the rows that are predicted together or on the number of
/// threads; on a machine with other instructions they may differ in their last digits.
///
/// ```no_run
/// use fireclay_model::{Predictor, Prediction};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let predictor = Predictor::load("runs/first/model.safetensors")?;
/// let mut session = predictor.session();
/// let image = [0.0; 784]; // raw pixels, 0 to 255: the model knows how to scale them
/// if let Prediction::Class { label, probability, .. } = session.predict(&image)? {
///     assert!(!label.is_empty() && probability > 0.0);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Predictor {
    description: Description,
    /// What precedes the first layer.
    stage: Option<Stage>,
    /// The hidden layers.
    layers: Vec<HostLayer>,
    /// The output layer, of an ensemble one for each member.
    heads: Vec<HostLayer>,
    machine: Machine,
    /// Rows that are computed together at most.
    block: usize,
    /// The models of an ensemble of models, which has no layers of its own.
    models: Vec<Predictor>,
}

/// Numbers of the widest layer for all rows that are computed together: a megabyte.
const MOST_OF_A_BLOCK: usize = 1 << 18;

impl Predictor {
    /// Makes a model ready.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`]: a tensor that the architecture needs is missing or of another shape,
    /// or one has no place.
    pub fn new(model: Model) -> Result<Self, ModelFileProblem> {
        Self::build(model.description.clone(), Weights::of(model), Machine::detect())
    }

    /// Reads a model file.
    ///
    /// # Errors
    ///
    /// A [`ModelFileError`] that names the file and what is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let result = open(path).and_then(|file| Self::from_source(&file));
        result.map_err(|problem| ModelFileError { path: path.to_owned(), problem })
    }

    /// Reads the bytes of a model file.
    ///
    /// # Errors
    ///
    /// A [`ModelFileProblem`], as for [`load`](Self::load).
    pub fn from_source(file: &dyn ReadAt) -> Result<Self, ModelFileProblem> {
        let machine = Machine::detect();
        match read_packed(file, machine.widest_panel()) {
            Ok((description, weights)) => Self::build(description, weights, machine),
            Err(ModelFileProblem::Committee { .. }) => {
                Self::of_committee(Committee::from_source(file)?)
            }
            Err(problem) => Err(problem),
        }
    }

    /// Makes an ensemble of models ready.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), of the first model at fault.
    pub fn of_committee(committee: Committee) -> Result<Self, ModelFileProblem> {
        let description = committee.description();
        let models = committee.into_models().into_iter().map(Self::new);
        let (layers, heads) = (Vec::new(), Vec::new());
        Ok(Self {
            description,
            stage: None,
            layers,
            heads,
            machine: Machine::detect(),
            block: BLOCK,
            models: models.collect::<Result<_, _>>()?,
        })
    }

    fn build(
        description: Description,
        mut weights: Weights,
        machine: Machine,
    ) -> Result<Self, ModelFileProblem> {
        description.validate()?;
        let architecture = &description.architecture;
        let input = &description.input;
        let is_raw = input.as_dense().is_some() && *input.preprocessing() == Preprocessing::None;
        let stage = Stage::new(architecture, &mut weights)?;
        let layers: Vec<HostLayer> = (0..architecture.hidden.len())
            .map(|i| HostLayer::new(architecture, i, &mut weights, machine, !is_raw))
            .collect::<Result<_, _>>()?;
        let heads = HostLayer::heads(architecture, &mut weights, machine, !is_raw)?;
        weights.finish()?;
        let widest = architecture.inputs().max(architecture.front_width());
        let widest = layers.iter().chain(&heads).map(HostLayer::outputs).fold(widest, usize::max);
        let block = (MOST_OF_A_BLOCK / widest).clamp(1, BLOCK);
        Ok(Self { description, stage, layers, heads, machine, block, models: Vec::new() })
    }

    /// Returns the description of the model, apart from its weights.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Number of members whose predictions are averaged: the models of an ensemble of models, or the
    /// members of an [`Ensemble`](crate::Ensemble); 1 of any other model.
    pub fn members(&self) -> usize {
        self.models.len().max(self.description.architecture.members())
    }

    /// The description of each model of an ensemble of models; of any other model its own.
    pub fn models(&self) -> Vec<&Description> {
        if self.models.is_empty() {
            return vec![&self.description];
        }
        self.models.iter().map(Self::description).collect()
    }

    /// Raw features of a row.
    pub fn features(&self) -> usize {
        self.description.architecture.inputs()
    }

    /// Logits or values of a row.
    pub fn outputs_of_a_row(&self) -> usize {
        self.description.architecture.outputs
    }

    /// Room to predict rows one after the other; each thread has its own.
    pub fn session(&self) -> Session<'_> {
        Session::new(self, self.description.input.preprocessing())
    }

    /// Logits, or values in the unit of their target, `[rows, outputs]`, of raw features,
    /// `[rows, features]` row by row, on as many threads.
    ///
    /// # Errors
    ///
    /// A [`RowError`]: a number is not finite, or the last row lacks some; a model of named columns.
    pub fn outputs(&self, rows: &[f32], threads: NonZero<usize>) -> Result<Vec<f32>, RowError> {
        self.description.input.require_dense()?;
        let (features, outputs) = (self.features(), self.outputs_of_a_row());
        let count = rows.len() / features;
        if let Some(last) = rows.chunks(features).nth(count) {
            check_row(count, last, features)?;
        }
        let mut results = vec![0.0; count * outputs];
        // Whole blocks for each thread, the first of them for this one.
        let share = count.div_ceil(threads.get()).next_multiple_of(self.block).max(self.block);
        let (here, there) = results.split_at_mut((share * outputs).min(count * outputs));
        let (of_here, of_there) = rows.split_at((share * features).min(rows.len()));
        if there.is_empty() {
            self.fill(0, of_here, here)?;
            return Ok(results);
        }
        let filled = std::thread::scope(|scope| {
            let parts = of_there.chunks(share * features).zip(there.chunks_mut(share * outputs));
            let parts = parts.enumerate().map(|(part, (rows, results))| {
                std::thread::Builder::new()
                    .spawn_scoped(scope, move || self.fill((part + 1) * share, rows, results))
            });
            let parts = parts.collect::<std::io::Result<Vec<_>>>().ok()?;
            // Of several errors the first row's.
            let first = self.fill(0, of_here, here);
            Some(parts.into_iter().fold(first, |before, part| match part.join() {
                Ok(filled) => before.and(filled),
                Err(panic) => std::panic::resume_unwind(panic),
            }))
        });
        // This thread does it all where the system refuses another one.
        filled.unwrap_or_else(|| self.fill(0, rows, &mut results))?;
        Ok(results)
    }

    /// Checks rows, the first of which has `first` others before it, and computes their outputs.
    fn fill(&self, first: usize, rows: &[f32], results: &mut [f32]) -> Result<(), RowError> {
        let (features, outputs) = (self.features(), self.outputs_of_a_row());
        let mut session = self.session();
        let blocks = rows.chunks(self.block * features);
        let mut at = first;
        for (rows, results) in blocks.zip(results.chunks_mut(self.block * outputs)) {
            for row in rows.chunks_exact(features) {
                check_row(at, row, features)?;
                at += 1;
            }
            results.copy_from_slice(session.run(Rows::of_dense(rows, features)));
        }
        Ok(())
    }

    /// Predicts rows of raw features.
    ///
    /// # Errors
    ///
    /// A [`RowError`]: a row of another width, or with a number that is not finite; a model of named
    /// columns.
    pub fn predict(&self, rows: &[impl AsRef<[f32]>]) -> Result<Vec<Prediction>, RowError> {
        self.description.input.require_dense()?;
        for (at, row) in rows.iter().enumerate() {
            check_row(at, row.as_ref(), self.features())?;
        }
        let raw: Vec<f32> = rows.iter().flat_map(|row| row.as_ref()).copied().collect();
        Ok(self.predictions(self.session(), Rows::of_dense(&raw, self.features())))
    }

    /// Predicts rows by the names of their columns, which may come in any order.
    ///
    /// # Errors
    ///
    /// An [`InputError`]: a column that the model takes is missing, or a value is not one of its
    /// column.
    pub fn predict_values<'a>(
        &self,
        columns: &[impl AsRef<str>],
        rows: &[impl AsRef<[Value<'a>]>],
    ) -> Result<Vec<Prediction>, InputError> {
        let encoded = self.description.input.encoder(columns)?.encode_rows(rows)?;
        Ok(self.description.task.predictions(self.outputs_of_checked(&encoded)))
    }

    /// Logits, or values in the unit of their target, `[rows, outputs]`, of rows that the input has
    /// encoded.
    ///
    /// # Errors
    ///
    /// A [`RowError`]: rows of another input, or a number that is not finite.
    pub fn outputs_of_encoded(&self, rows: &EncodedRows) -> Result<Vec<f32>, RowError> {
        rows.check(&self.description.input)?;
        Ok(self.outputs_of_checked(rows))
    }

    /// As [`outputs_of_encoded`](Self::outputs_of_encoded), of rows that have been checked.
    fn outputs_of_checked(&self, rows: &EncodedRows) -> Vec<f32> {
        if !self.models.is_empty() {
            let width = self.outputs_of_a_row();
            let mut models = self.outputs_of_models(rows);
            let mut outputs = vec![0.0; models.len() / self.models.len()];
            let rows = models.chunks_exact_mut(self.models.len() * width);
            let average = Average::of(&self.description.task);
            rows.zip(outputs.chunks_exact_mut(width)).for_each(|(of_models, outputs)| {
                average.combine(of_models, outputs);
            });
            return outputs;
        }
        let mut session = Session::new(self, &Preprocessing::None);
        let blocks = Rows::of_encoded(rows).blocks(self.block);
        blocks.flat_map(|block| session.run(block).to_vec()).collect()
    }

    /// The outputs of each model of an ensemble of models, `[rows, models, outputs]`, each from its own
    /// part of the rows.
    fn outputs_of_models(&self, rows: &EncodedRows) -> Vec<f32> {
        let outputs = self.outputs_of_a_row();
        let mut all = vec![0.0; rows.len() * self.models.len() * outputs];
        let (mut column, mut text) = (0, 0);
        for (at, model) in self.models.iter().enumerate() {
            let input = &model.description.input;
            let (columns, texts) =
                (column..column + input.width(), text..text + input.texts().count());
            (column, text) = (columns.end, texts.end);
            let found = model.outputs_of_checked(&rows.part(columns, texts));
            let places = all.chunks_exact_mut(self.models.len() * outputs);
            for (row, found) in places.zip(found.chunks_exact(outputs)) {
                row[at * outputs..][..outputs].copy_from_slice(found);
            }
        }
        all
    }

    /// How far the members of an ensemble are apart in rows of raw features: the standard deviation of
    /// each probability over them, or of each value in the unit of its target, `[rows, names]`; none of
    /// a model that is no ensemble.
    ///
    /// # Errors
    ///
    /// As for [`predict`](Self::predict).
    pub fn spread(&self, rows: &[impl AsRef<[f32]>]) -> Result<Option<Vec<f32>>, RowError> {
        self.description.input.require_dense()?;
        for (at, row) in rows.iter().enumerate() {
            check_row(at, row.as_ref(), self.features())?;
        }
        let raw: Vec<f32> = rows.iter().flat_map(|row| row.as_ref()).copied().collect();
        Ok(self.spreads(self.session(), Rows::of_dense(&raw, self.features())))
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
    ) -> Result<Option<Vec<f32>>, InputError> {
        let encoded = self.description.input.encoder(columns)?.encode_rows(rows)?;
        if !self.models.is_empty() {
            let outputs = self.outputs_of_models(&encoded);
            return Ok(Some(self.description.task.spread(outputs, self.models.len())));
        }
        let session = Session::new(self, &Preprocessing::None);
        Ok(self.spreads(session, Rows::of_encoded(&encoded)))
    }

    /// The spread of rows that have been checked.
    fn spreads(&self, mut session: Session<'_>, rows: Rows<'_>) -> Option<Vec<f32>> {
        self.description.architecture.ensemble?;
        let (task, count) = (&self.description.task, self.heads.len());
        let mut all = Vec::new();
        for block in rows.blocks(self.block) {
            let numbers = session.run(block).len() * count;
            let mut members = session.members[..numbers].to_vec();
            task.restore(&mut members);
            all.extend(members);
        }
        Some(task.spread(all, count))
    }

    /// Predicts rows that have been checked.
    fn predictions(&self, mut session: Session<'_>, rows: Rows<'_>) -> Vec<Prediction> {
        let task = &self.description.task;
        let mut predictions = Vec::with_capacity(rows.count);
        for block in rows.blocks(self.block) {
            for outputs in session.run(block).chunks_exact(self.outputs_of_a_row()) {
                let mut outputs = outputs.to_vec();
                task.finish(&mut outputs);
                predictions.push(task.prediction(&outputs));
            }
        }
        predictions
    }
}

/// A predictor with room for a block of rows.
#[derive(Clone, Debug)]
pub struct Session<'p> {
    predictor: &'p Predictor,
    /// The preprocessing of the rows.
    preprocessing: &'p Preprocessing,
    room: Room,
    /// Prepared rows, if something precedes the first layer.
    prepared: Vec<f32>,
    /// The outputs of each member of an ensemble, `[rows, members, outputs]`.
    members: Vec<f32>,
}

impl<'p> Session<'p> {
    fn new(predictor: &'p Predictor, preprocessing: &'p Preprocessing) -> Self {
        let Predictor { description, stage, layers, heads, block, .. } = predictor;
        let all: Vec<&HostLayer> = layers.iter().chain(heads.first()).collect();
        let room = Room::new(&all, description.architecture.front_width(), *block);
        let prepared = if stage.is_some() { predictor.features() * block } else { 0 };
        let is_ensemble = description.architecture.ensemble.is_some();
        let members =
            if is_ensemble { block * heads.len() * predictor.outputs_of_a_row() } else { 0 };
        let (prepared, members) = (vec![0.0; prepared], vec![0.0; members]);
        Self { predictor, preprocessing, room, prepared, members }
    }

    /// Logits, or values in the unit of their target, of one row of raw features. No memory is taken after the first rows.
    ///
    /// # Errors
    ///
    /// A [`RowError`]: a row of another width, or with a number that is not finite; a model of named
    /// columns.
    pub fn outputs(&mut self, row: &[f32]) -> Result<&[f32], RowError> {
        self.predictor.description.input.require_dense()?;
        check_row(0, row, self.predictor.features())?;
        Ok(self.run(Rows::of_dense(row, self.predictor.features())))
    }

    /// Predicts one row of raw features.
    ///
    /// # Errors
    ///
    /// As for [`outputs`](Self::outputs).
    pub fn predict(&mut self, row: &[f32]) -> Result<Prediction, RowError> {
        let task = &self.predictor.description.task;
        let mut outputs = self.outputs(row)?.to_vec();
        task.finish(&mut outputs);
        Ok(task.prediction(&outputs))
    }

    /// The outputs of at most a block of rows, which have been checked.
    fn run(&mut self, rows: Rows<'_>) -> &[f32] {
        self.predictor.machine.run(self, rows);
        let Self { predictor, room, members, .. } = self;
        let width = predictor.outputs_of_a_row();
        let outputs = &mut room.rows_mut(predictor.layers.len() + 1)[..rows.count * width];
        if let Some(ensemble) = predictor.description.architecture.ensemble {
            let rows = members.chunks_exact_mut(predictor.heads.len() * width);
            for (members, outputs) in rows.zip(outputs.chunks_exact_mut(width)) {
                ensemble.average.combine(members, outputs);
            }
        }
        predictor.description.task.restore(outputs);
        outputs
    }

    /// Prepares rows for the layers of a member.
    fn enter(&mut self, member: usize, rows: Rows<'_>) {
        let Self { predictor, preprocessing, room, prepared, .. } = self;
        let Some(stage) = &predictor.stage else {
            let room = &mut room.rows_mut(0)[..rows.dense.len()];
            room.copy_from_slice(rows.dense);
            preprocessing.apply(room);
            return;
        };
        let dense = &mut prepared[..rows.dense.len()];
        if member == 0 {
            dense.copy_from_slice(rows.dense);
            preprocessing.apply(dense);
        }
        stage.apply(member, Rows { dense, ..rows }, room.rows_mut(0));
    }

    /// Keeps the outputs of a member for a block of rows.
    fn keep(&mut self, member: usize, count: usize) {
        let Self { predictor, room, members, .. } = self;
        let width = predictor.outputs_of_a_row();
        let outputs = room.rows(predictor.layers.len() + 1)[..count * width].chunks_exact(width);
        let rows = members.chunks_exact_mut(predictor.heads.len() * width);
        for (row, outputs) in rows.zip(outputs) {
            row[member * width..][..width].copy_from_slice(outputs);
        }
    }
}

/// Computes the outputs of a block of rows, and leaves them where the last layer writes; those of an
/// ensemble are kept member by member.
#[inline(always)]
fn run<S: Sums, D: Dots>(session: &mut Session<'_>, rows: Rows<'_>) {
    let predictor = session.predictor;
    let is_ensemble = predictor.description.architecture.ensemble.is_some();
    for (member, head) in predictor.heads.iter().enumerate() {
        session.enter(member, rows);
        let room = &mut session.room;
        for (i, layer) in predictor.layers.iter().chain([head]).enumerate() {
            layer.forward::<S, D>(i, rows.count, room);
        }
        if is_ensemble {
            session.keep(member, rows.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputSpec, MlpConfig, NamedTensor, Provenance, Task};

    fn model(config: MlpConfig) -> Model {
        let architecture = config.architecture().unwrap();
        let tensors = architecture.tensors().into_iter().enumerate();
        let weights = tensors.map(|(seed, (path, shape))| {
            let mut rng = crate::rng::generator(seed as u64, crate::rng::Purpose::Weights, 0);
            let count = shape.iter().product();
            let values = (0..count).map(|_| crate::rng::normal(&mut rng) as f32).collect();
            NamedTensor { name: path.to_string(), shape, values }
        });
        let weights = weights.collect();
        let task = Task::numbered_classes(config.outputs);
        let input = InputSpec::dense(&architecture.input_shape, Preprocessing::None);
        let provenance = Provenance::default();
        let description = Description { architecture, task, input, provenance };
        Model { description, weights, encoded: Default::default() }
    }

    #[test]
    fn every_kind_of_machine_computes_the_same() {
        for (inputs, hidden, zeros) in [(784, 128, 5), (61, 77, 1), (300, 513, 2), (1, 1, 1)] {
            let model = model(MlpConfig::new([inputs], [hidden], 10));
            let value =
                |i: usize| if i.is_multiple_of(zeros) { (i % 97) as f32 - 40.0 } else { 0.0 };
            let rows: Vec<f32> = (0..50 * inputs).map(value).collect();
            let outputs = |machine| {
                let weights = Weights::of(model.clone());
                let predictor = Predictor::build(model.description.clone(), weights, machine);
                predictor.unwrap().outputs(&rows, NonZero::<usize>::MIN).unwrap()
            };
            let machines = Machine::all();
            let plain = outputs(Machine::Plain);
            let largest = plain.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            for &machine in &machines {
                let found = outputs(machine);
                for (found, plain) in found.iter().zip(&plain) {
                    assert!((found - plain).abs() <= 1e-5 * largest, "{machine:?} {found} {plain}");
                }
            }
            // All but the plainest round alike.
            let fused: Vec<_> = machines.iter().skip(1).map(|&machine| outputs(machine)).collect();
            assert!(fused.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
}
