//! Predictions as a table: CSV or Parquet, with a row for each prediction.

use std::io::{self, Write};

use fireclay_model::{Description, Prediction, Task, named_enum};
use fireclay_tables::{ParquetWriter, Values};

use crate::{Answer, Batch, Form};

named_enum! {
    /// The format of predictions.
    #[derive(Default)]
    pub enum Format as "format" {
        /// A line for each row, for people.
        #[default]
        Text = "text",
        /// A JSON object for each row.
        Jsonl = "jsonl",
        /// A table of rows, with a heading.
        Csv = "csv",
        /// A table of rows with types.
        Parquet = "parquet",
    }
}

/// Columns beside those of predictions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// The input, of several.
    pub inputs: bool,
    /// Where each window begins in its recording, in seconds.
    pub starts: bool,
    /// How far the members of an ensemble are apart.
    pub spread: bool,
}

/// A table of predictions that is written batch by batch.
///
/// Its columns are the input, if there are several, and the row in it, with the start of a window; then the label and its probability
/// and the probability of every label, or the labels that a multi-label model gives, joined by `;`, or the
/// value of every target with the ends of its interval. Of an ensemble, the spread of every probability or
/// value follows.
pub struct Sheet<'a, W: Write> {
    model: &'a Description,
    has: Extra,
    form: Form,
    out: Out<W>,
}

enum Out<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Parquet(ParquetWriter<W>),
}

impl<'a, W: Write> Sheet<'a, W> {
    /// Begins a table of the predictions of a model: CSV, or Parquet if `is_parquet`.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn begin(
        out: W,
        model: &'a Description,
        is_parquet: bool,
        has: Extra,
        form: Form,
    ) -> io::Result<Self> {
        let names = names(model, has);
        let out = if is_parquet {
            Out::Parquet(ParquetWriter::begin(out, names)?)
        } else {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(names)?;
            Out::Csv(Box::new(csv))
        };
        Ok(Self { model, has, form, out })
    }

    /// Writes the predictions of a batch.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let answers: Vec<Answer<'_>> = batch.answers(self.model).collect();
        let columns = self.columns(&answers);
        match &mut self.out {
            Out::Parquet(parquet) => parquet.write(columns),
            Out::Csv(csv) => {
                for row in 0..answers.len() {
                    csv.write_record(columns.iter().map(|column| cell(column, row)))?;
                }
                csv.flush()
            }
        }
    }

    /// Writes the end.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn finish(self) -> io::Result<()> {
        match self.out {
            Out::Csv(mut csv) => csv.flush(),
            Out::Parquet(parquet) => parquet.finish(),
        }
    }

    fn columns(&self, answers: &[Answer<'_>]) -> Vec<Values> {
        let mut columns = Vec::new();
        if self.has.inputs {
            let inputs = answers.iter().map(|answer| answer.input.to_string_lossy().into_owned());
            columns.push(Values::Texts(inputs.collect()));
        }
        let rows = answers.iter().map(|answer| answer.row.unwrap_or(0) as i64);
        columns.push(Values::Integers(rows.collect()));
        if self.has.starts {
            let starts = answers.iter().map(|answer| answer.start.unwrap_or(0.0) as f32);
            columns.push(Values::Numbers(starts.collect()));
        }
        match self.model.task {
            Task::Classification { .. } => {
                let labels =
                    answers.iter().map(|answer| answer.label(&self.form).unwrap_or_default());
                columns.push(Values::Texts(labels.map(str::to_owned).collect()));
                columns.push(Values::Numbers(answers.iter().map(probability).collect()));
            }
            Task::MultiLabel { .. } => {
                columns.push(Values::Texts(answers.iter().map(labels).collect()));
            }
            Task::Regression { .. } => {}
        }
        let numbers: Vec<Vec<f32>> = answers.iter().map(numbers).collect();
        let width = numbers.first().map_or(0, Vec::len);
        let of_each = (0..width).map(|place| numbers.iter().map(|row| row[place]).collect());
        columns.extend(of_each.map(Values::Numbers));
        if self.has.spread {
            let spreads = (0..self.model.task.names().len())
                .map(|place| answers.iter().map(|answer| answer.spread[place]).collect());
            columns.extend(spreads.map(Values::Numbers));
        }
        columns
    }
}

/// The names of the columns.
fn names(model: &Description, has: Extra) -> Vec<String> {
    let mut names = Vec::new();
    if has.inputs {
        names.push("input".to_owned());
    }
    names.push("row".to_owned());
    if has.starts {
        names.push("start".to_owned());
    }
    match &model.task {
        Task::Classification { labels, .. } => {
            names.extend(["label", "probability"].map(str::to_owned));
            names.extend(labels.iter().map(|label| format!("probability of {label}")));
        }
        Task::MultiLabel { labels, .. } => {
            names.push("labels".to_owned());
            names.extend(labels.iter().map(|label| format!("probability of {label}")));
        }
        Task::Regression { targets, intervals, .. } => {
            for target in targets {
                names.push(target.clone());
                if intervals.level().is_some() {
                    names.extend(["lower", "upper"].map(|end| format!("{target} {end}")));
                }
            }
        }
    }
    if has.spread {
        names.extend(model.task.names().iter().map(|name| format!("spread of {name}")));
    }
    names
}

fn probability(answer: &Answer<'_>) -> f32 {
    match answer.prediction {
        Prediction::Class { probability, .. } => *probability,
        Prediction::Labels { .. } | Prediction::Values { .. } => f32::NAN,
    }
}

fn labels(answer: &Answer<'_>) -> String {
    match answer.prediction {
        Prediction::Labels { labels, .. } => labels.join(";"),
        Prediction::Class { .. } | Prediction::Values { .. } => String::new(),
    }
}

/// The numbers of a prediction, in the order of their [names].
fn numbers(answer: &Answer<'_>) -> Vec<f32> {
    match answer.prediction {
        Prediction::Class { distribution: numbers, .. }
        | Prediction::Labels { probabilities: numbers, .. } => numbers.clone(),
        Prediction::Values { values, intervals } => {
            let ends = |place: usize| intervals.get(place).into_iter().flatten().copied();
            let targets = values.iter().enumerate();
            targets.flat_map(|(place, &value)| [value].into_iter().chain(ends(place))).collect()
        }
    }
}

/// The value of a row as text.
fn cell(column: &Values, row: usize) -> String {
    match column {
        Values::Texts(values) => values[row].clone(),
        Values::Integers(values) => values[row].to_string(),
        Values::Numbers(values) => values[row].to_string(),
    }
}
