//! The predictions of an input, a batch at a time.

use std::path::{Path, PathBuf};

use fireclay_model::{Description, InputError, InputSpec, Prediction, UnlikelyBytes};
use fireclay_terminal::{counted, names};

use crate::columns::Columns;
use crate::error::{InputProblem, PredictError};
use crate::rows::{self, Block, Reading, Rows};
use crate::{Answer, Predicts};

/// The most rows that are predicted together.
const BATCH: usize = 4096;
/// The most numbers of all of them: 16 MiB.
const MOST_NUMBERS: usize = 4 << 20;

/// The predictions of an input, computed as they are asked for.
///
/// ```no_run
/// use std::path::Path;
///
/// use fireclay_model::Predictor;
/// use fireclay_predict::{Form, Predicting, Reading};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let predictor = Predictor::load("runs/first/model.safetensors")?;
/// for batch in Predicting::begin(Path::new("rows.csv"), &predictor, Reading::default())? {
///     for answer in batch?.answers(predictor.description()) {
///         println!("{}", answer.line(&Form::default()));
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Predicting<'a> {
    model: &'a dyn Predicts,
    input: PathBuf,
    /// The name of the input in messages.
    name: String,
    source: Source<'a>,
    /// Rows that have been predicted.
    first: usize,
    /// Whether there is nothing more.
    is_over: bool,
}

/// What rows are read from.
enum Source<'a> {
    Rows(Rows),
    Columns(Columns<'a>),
}

/// Rows that were predicted together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The input that they are of.
    pub input: PathBuf,
    /// Rows of the input before these.
    pub first: usize,
    /// Whether the input is one thing and no list, such as a picture.
    pub is_single: bool,
    /// What was done to make the rows, in order.
    pub done: Vec<String>,
    /// Raw features of each row, `[features]`; none of tables whose columns have names.
    pub rows: Vec<Vec<f32>>,
    /// Where the window of each row begins in its recording, in seconds; none of other rows.
    pub starts: Vec<f64>,
    /// The prediction of each row.
    pub predictions: Vec<Prediction>,
    /// How far the members of an ensemble are apart in each row, `[rows, names]`; empty of a model that
    /// is no ensemble.
    pub spread: Vec<f32>,
}

impl<'a> Predicting<'a> {
    /// Begins to read an input, `-` for standard input: its content says what it is. A model of named
    /// columns reads a table with a heading.
    ///
    /// # Errors
    ///
    /// A [`PredictError`] that names the input and what is wrong with it.
    pub fn begin(
        input: &Path,
        model: &'a dyn Predicts,
        reading: Reading,
    ) -> Result<Self, PredictError> {
        let description = model.description();
        let name = rows::shown(input);
        let source = if description.input.as_dense().is_some() {
            rows::read(input, description, reading).map(Source::Rows)
        } else {
            columns(input, &description.input).map(Source::Columns)
        };
        let source = source.map_err(|problem| PredictError { name: name.clone(), problem })?;
        let input = input.to_owned();
        Ok(Self { model, input, name, source, first: 0, is_over: false })
    }

    /// Predicts texts, for a model that takes a text and nothing else.
    ///
    /// # Errors
    ///
    /// [`InputProblem::NoText`] for another model.
    pub fn of_texts(texts: &[String], model: &'a dyn Predicts) -> Result<Self, PredictError> {
        let (input, name) = (PathBuf::from("text"), "--text".to_owned());
        let spec = &model.description().input;
        let Some(table) = Columns::of_texts(texts, spec) else {
            let taken: Vec<String> = spec.fields().iter().map(|field| field.name.clone()).collect();
            let problem = InputProblem::NoText { taken: names(&taken, 5) };
            return Err(PredictError { name, problem });
        };
        let source = Source::Columns(table);
        Ok(Self { model, input, name, source, first: 0, is_over: false })
    }

    /// The next batch; none after the last.
    fn next_batch(&mut self) -> Result<Option<Batch>, InputProblem> {
        let features = self.model.description().architecture.inputs();
        let most = (MOST_NUMBERS / features.max(1)).clamp(1, BATCH);
        let is_ensemble = self.model.members() > 1;
        let (is_single, done, block, predictions, spread) = match &mut self.source {
            Source::Rows(source) => {
                let block = source.next_block(most)?;
                if block.rows.is_empty() {
                    return Ok(None);
                }
                if self.first == 0
                    && let Some(doubt) = unlikely_bytes(self.model.description(), &block.rows)
                {
                    log::warn!("{}: {doubt}", self.name);
                }
                let predictions = self.model.predict(&block.rows)?;
                let spread = if is_ensemble { self.model.spread(&block.rows)? } else { None };
                (source.is_single, source.done.clone(), block, predictions, spread)
            }
            Source::Columns(table) => {
                let Some(block) = table.next_rows(most)? else { return Ok(None) };
                let values = table.values(&block);
                for unknown in table.unknown(&values) {
                    log::warn!("{}: {unknown}", self.name);
                }
                let predictions = self.model.predict_values(&table.header, &values);
                let predictions = predictions.map_err(|error| in_all_rows(error, self.first))?;
                let spread = if is_ensemble {
                    self.model.spread_of_values(&table.header, &values)?
                } else {
                    None
                };
                (table.is_single, table.done.clone(), Block::default(), predictions, spread)
            }
        };
        if !predictions.iter().all(is_finite) {
            return Err(InputProblem::NotFinite);
        }
        let first = self.first;
        self.first += predictions.len();
        log::info!("predicted {} of {}", counted(self.first as u64, "row"), self.name);
        let (input, Block { rows, starts }) = (self.input.clone(), block);
        let spread = spread.unwrap_or_default();
        Ok(Some(Batch { input, first, is_single, done, rows, starts, predictions, spread }))
    }
}

/// Begins to read a table of named columns, in a file or in a stream.
fn columns<'a>(input: &Path, spec: &'a InputSpec) -> Result<Columns<'a>, InputProblem> {
    if input.is_file() {
        return Ok(Columns::open(input, spec)?);
    }
    Ok(Columns::begin(rows::opened(input)?.stream, spec)?)
}

impl Iterator for Predicting<'_> {
    type Item = Result<Batch, PredictError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let batch = self.next_batch().transpose();
        self.is_over = !matches!(batch, Some(Ok(_)));
        batch
            .map(|batch| batch.map_err(|problem| PredictError { name: self.name.clone(), problem }))
    }
}

impl Batch {
    /// The answers for the rows, of the model that predicted them.
    pub fn answers<'b>(&'b self, model: &'b Description) -> impl Iterator<Item = Answer<'b>> {
        let names = self.spread.len() / self.predictions.len().max(1);
        self.predictions.iter().enumerate().map(move |(at, prediction)| Answer {
            input: &self.input,
            row: (!self.is_single).then_some(self.first + at),
            start: self.starts.get(at).copied(),
            features: self.rows.get(at).map(Vec::as_slice).unwrap_or_default(),
            prediction,
            spread: &self.spread[at * names..(at + 1) * names],
            model,
            done: &self.done,
        })
    }
}

/// Whether rows are unlikely the pixel bytes that the preprocessing of a model takes.
fn unlikely_bytes(model: &Description, rows: &[Vec<f32>]) -> Option<UnlikelyBytes> {
    let preprocessing = model.input.preprocessing();
    if !preprocessing.divides_by_255() {
        return None;
    }
    let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
    for &value in rows.iter().flatten().filter(|value| value.is_finite()) {
        (least, most) = (least.min(value), most.max(value));
    }
    // Nothing but zeros is a black picture, and nothing finite has no range.
    if least < most { preprocessing.unlikely_bytes(least, most) } else { None }
}

/// A problem that counts the rows of all batches, not those of one.
fn in_all_rows(problem: InputProblem, before: usize) -> InputProblem {
    match problem {
        InputProblem::Values(InputError::Value { row, column, problem }) => {
            InputError::Value { row: row + before, column, problem }.into()
        }
        problem => problem,
    }
}

fn is_finite(prediction: &Prediction) -> bool {
    let (numbers, ends) = match prediction {
        Prediction::Class { distribution, .. } => (distribution, &[][..]),
        Prediction::Labels { probabilities, .. } => (probabilities, &[][..]),
        Prediction::Values { values, intervals } => (values, intervals.as_slice()),
    };
    numbers.iter().chain(ends.as_flattened()).all(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use fireclay_model::{InputSpec, MlpConfig, Preprocessing, Provenance, Task};

    use super::*;

    #[test]
    fn rows_are_doubted_by_those_of_their_numbers_that_are_finite() {
        let task = Task::numbered_classes(4);
        let model = Description {
            architecture: MlpConfig::new([3], [5], task.outputs()).architecture().unwrap(),
            task,
            input: InputSpec::dense(&[3], Preprocessing::PIXELS),
            provenance: Provenance::default(),
        };
        let doubt = |row: [f32; 3]| unlikely_bytes(&model, &[row.to_vec()]);
        const INF: f32 = f32::INFINITY;
        for row in [[INF; 3], [INF, 7.0, -INF], [f32::NAN; 3], [0.0; 3], [0.0, 3.0, 255.0]] {
            assert_eq!(doubt(row), None, "{row:?}");
        }
        assert_eq!(doubt([0.0, 0.5, INF]), Some(UnlikelyBytes::DividedTwice));
        let beyond = UnlikelyBytes::BeyondBytes { least: 3.0, most: 900.0 };
        assert_eq!(doubt([-INF, 3.0, 900.0]), Some(beyond));
    }
}
