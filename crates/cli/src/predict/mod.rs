//! `fireclay predict`: what a model says of pictures, arrays and tables.

mod blocks;
mod columns;
mod container;
mod decode;
mod digit;
mod foreign;
mod grey;
mod input;
mod light;
mod marks;
mod picture;
mod pixels;
mod rows;
mod sheet;
mod table;
mod waiting;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::{Description, Loaded, Prediction, Task};
use fireclay_terminal::Exit;
use serde_json::{Value, json};

use self::columns::Columns;
use self::input::Reading;
use self::table::Heading;
use crate::model::{self, Where};
use crate::output::{printable, say_to_reader, wrapped};

const EXAMPLES: &str = "\
Examples:
  fireclay predict runs/mnist-1 seven.png             a drawing or photo of a digit
  fireclay predict model.safetensors *.jpg --top-k 3  the three most probable labels
  fireclay predict base.safetensors seven.png --adapter runs/tuned/adapter.safetensors
  fireclay predict runs/mnist-1 seven.png --show      draw the model's input in the terminal
  fireclay predict model.safetensors t10k-images-idx3-ubyte --json
  cat rows.csv | fireclay predict model.safetensors - --abstain 0.9

A picture is converted to look like the training pictures, as recorded in the model. For MNIST,
uneven light is removed, bright paper becomes black and ink white, frames and lines are removed, and
the ink is scaled to 20x20 and centred by its mass. A picture that already looks so is unchanged.
Each conversion is printed. A photo should show one character on paper. IDX, NPY and CSV hold raw
numbers, as in training, and may be compressed with gzip or zstd. An unreadable input is reported on
standard error, the others are predicted, and the exit code is 2.";

/// Predict pictures (PNG, JPEG, BMP, GIF, WebP, TIFF), arrays (IDX, NPY) and tables (CSV).
#[derive(Debug, clap::Args)]
#[command(
    about = "Predict pictures, arrays and tables",
    after_help = EXAMPLES
)]
pub(crate) struct Args {
    /// Model file, or the folder of a run.
    model: PathBuf,
    /// Files to predict; `-` is standard input.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Low-rank adapter of `finetune --lora` to apply to the model, its base.
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// Number of labels to print, the most probable first [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// Print no label if the highest probability is below this.
    #[arg(long, value_name = "PROBABILITY", value_parser = probability)]
    abstain: Option<f32>,
    /// Treat the first line of a table as a heading.
    #[arg(long, conflicts_with = "no_header")]
    header: bool,
    /// Treat the first line of a table as a row.
    #[arg(long)]
    no_header: bool,
    /// Draw the model's input in the terminal.
    #[arg(long, conflicts_with = "json")]
    show: bool,
    /// Print JSON, one object per row and line.
    #[arg(long)]
    json: bool,
    #[arg(from_global)]
    quiet: bool,
    /// How pictures are read.
    #[command(flatten)]
    pictures: picture::Options,
    /// Where to compute.
    #[command(flatten)]
    at: Where,
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("give a probability from 0 to 1, such as 0.9".to_owned()),
    }
}

/// The most rows that are predicted together, and the most numbers of all of them.
const BATCH: usize = 4096;
const MOST_NUMBERS: usize = 4 << 20;

/// How many rows are predicted together.
fn batch(model: &Loaded) -> usize {
    (MOST_NUMBERS / model.features().max(1)).clamp(1, BATCH)
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let device = args.at.device()?;
    let model = model::load(&args.model, args.adapter.as_deref(), &device)?;
    if args.top_k.is_some() && matches!(model.description().task, Task::Regression { .. }) {
        bail!("--top-k is for labels; this model is for regression, so leave it out");
    }
    if args.abstain.is_some() && !matches!(model.description().task, Task::Classification { .. }) {
        bail!(
            "--abstain is for classifiers; this model is for {}",
            model.description().task.kind()
        );
    }
    let heading = match (args.header, args.no_header) {
        (true, _) => Heading::Yes,
        (_, true) => Heading::No,
        _ => Heading::Auto,
    };
    let reading = Reading { pictures: args.pictures, heading };
    let mut failed = 0;
    let is_dense = model.description().input.as_dense().is_some();
    for input in &args.inputs {
        let predicted = if is_dense {
            predict(input, args, &model, reading)
        } else {
            predict_columns(input, args, &model)
        };
        match predicted {
            Ok(()) => {}
            // The only one is the error of the program.
            Err(error) if args.inputs.len() == 1 => return Err(error),
            Err(error) => {
                fireclay_terminal::tell(error.as_ref());
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} inputs could not be predicted", args.inputs.len());
    }
    Ok(Exit::Done)
}

/// Predicts the rows of an input, and says what they are as they come.
fn predict(input: &Path, args: &Args, model: &Loaded, reading: Reading) -> Result<()> {
    let name = printable(&input.display().to_string(), 200);
    let mut rows = input::read(input, model.description(), reading)?;
    let mut first = 0;
    loop {
        let batch = rows.next(batch(model)).with_context(|| name.clone())?;
        if batch.is_empty() {
            return Ok(());
        }
        let warning = train::warnings::of_rows(model.description().input.preprocessing(), &batch);
        if let Some(warning) = warning.filter(|_| first == 0) {
            log::warn!("{name}: {warning}");
        }
        let predicted = model.predict(&batch).with_context(|| name.clone())?;
        let mut lines = Vec::with_capacity(batch.len());
        for (i, prediction) in predicted.iter().enumerate() {
            check_finite(prediction).with_context(|| name.clone())?;
            let done = &rows.done;
            let answer = Answer { args, model: model.description(), prediction, done };
            let row = (!rows.is_single).then_some(first + i);
            lines.push(answer.line(input, row, &batch[i]));
        }
        first += batch.len();
        log::info!("predicted {first} rows of {name}");
        if !say_to_reader(&lines.join("\n"))? {
            return Ok(());
        }
    }
}

/// As [`predict`], for a model that takes named columns.
fn predict_columns(input: &Path, args: &Args, model: &Loaded) -> Result<()> {
    let name = printable(&input.display().to_string(), 200);
    let mut table = columns::read(input, &model.description().input)?;
    let mut first = 0;
    loop {
        let Columns { header, done, .. } = &table;
        let (header, done) = (header.clone(), done.clone());
        let batch = table.next_rows(batch(model)).with_context(|| name.clone())?;
        if batch.is_empty() {
            return Ok(());
        }
        let rows = table.values(&batch);
        for unknown in table.unknown(&rows) {
            log::warn!("{name}: {unknown}");
        }
        let predicted =
            model.predict_values(&header, &rows).map_err(|error| columns::counted(error, first));
        let mut lines = Vec::with_capacity(batch.len());
        for (i, prediction) in predicted.with_context(|| name.clone())?.iter().enumerate() {
            check_finite(prediction).with_context(|| name.clone())?;
            let answer = Answer { args, model: model.description(), prediction, done: &done };
            lines.push(answer.line(input, Some(first + i), &[]));
        }
        first += batch.len();
        log::info!("predicted {first} rows of {name}");
        if !say_to_reader(&lines.join("\n"))? {
            return Ok(());
        }
    }
}

fn check_finite(prediction: &Prediction) -> Result<()> {
    let numbers = match prediction {
        Prediction::Class { distribution, .. } => distribution,
        Prediction::Labels { probabilities, .. } => probabilities,
        Prediction::Values(values) => values,
    };
    if numbers.iter().all(|number| number.is_finite()) {
        return Ok(());
    }
    bail!("the network's outputs are not numbers; `fireclay inspect` may say why")
}

/// The answer for a row.
struct Answer<'a> {
    args: &'a Args,
    model: &'a Description,
    prediction: &'a Prediction,
    /// What was done to make the rows.
    done: &'a [String],
}

impl Answer<'_> {
    /// The label, unless it is not probable enough.
    fn label(&self) -> Option<&str> {
        match self.prediction {
            Prediction::Class { label, probability, .. }
                if self.args.abstain.is_none_or(|least| *probability >= least) =>
            {
                Some(label)
            }
            _ => None,
        }
    }

    /// Labels with their probabilities, the most probable first; equal ones by index.
    fn ranked(&self) -> Vec<(&str, f32)> {
        let probabilities = match self.prediction {
            Prediction::Class { distribution, .. } => distribution,
            Prediction::Labels { probabilities, .. } => probabilities,
            Prediction::Values(_) => return Vec::new(),
        };
        let names = self.model.task.names().iter().map(String::as_str);
        let mut ranked: Vec<_> = names.zip(probabilities.iter().copied()).collect();
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        ranked.truncate(self.args.top_k.unwrap_or(1) as usize);
        ranked
    }

    /// What is printed of a row; its features are drawn if they are a picture.
    fn line(&self, input: &Path, row: Option<usize>, features: &[f32]) -> String {
        if self.args.json {
            self.json(input, row).to_string()
        } else {
            self.text(&printable(&input.display().to_string(), 200), row, features)
        }
    }

    fn text(&self, name: &str, row: Option<usize>, features: &[f32]) -> String {
        let row_name = row.map_or(name.to_owned(), |row| format!("{name} {row}"));
        let share =
            |(label, p): &(&str, f32)| format!("{} {:.2} %", printable(label, 40), 100.0 * p);
        let ranked = self.ranked().iter().map(share).collect::<Vec<_>>().join("  ");
        let said = match self.prediction {
            Prediction::Class { .. } if self.label().is_none() => format!("unsure ({ranked})"),
            Prediction::Class { .. } => ranked,
            Prediction::Labels { labels, .. } if labels.is_empty() => format!("none ({ranked})"),
            Prediction::Labels { labels, .. } => format!("{} ({ranked})", labels.join(", ")),
            Prediction::Values(values) => {
                let named = self.model.task.names().iter().zip(values);
                let value =
                    |(name, value): (&String, &f32)| format!("{} {value}", printable(name, 40));
                named.map(value).collect::<Vec<_>>().join("  ")
            }
        };
        let mut text = format!("{row_name}  {said}");
        if !self.args.quiet && !self.done.is_empty() && row.is_none_or(|row| row == 0) {
            text += &format!("\n{}", wrapped(&self.done.join("; ")));
        }
        if self.args.show {
            let shape = &self.model.architecture.input_shape;
            let drawn = blocks::blocks(shape, features);
            text += &format!("\n{}", drawn.as_deref().unwrap_or("  not a picture"));
        }
        text
    }

    fn json(&self, input: &Path, row: Option<usize>) -> Value {
        let top: Vec<Value> = self
            .ranked()
            .iter()
            .map(|(label, probability)| json!({ "label": label, "probability": probability }))
            .collect();
        let mut answer = json!({ "input": input.to_string_lossy(), "row": row });
        let more = match self.prediction {
            Prediction::Class { class, probability, .. } => json!({
                "label": self.label(), "class": class, "probability": probability,
                "abstained": self.label().is_none(), "top": top,
            }),
            Prediction::Labels { labels, .. } => json!({ "labels": labels, "top": top }),
            Prediction::Values(values) => {
                let named =
                    self.model.task.names().iter().cloned().zip(values.iter().map(|v| json!(v)));
                json!({ "values": named.collect::<serde_json::Map<_, _>>() })
            }
        };
        if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
            answer.extend(more);
            if !self.done.is_empty() {
                answer.insert("done".to_owned(), json!(self.done));
            }
        }
        answer
    }
}
