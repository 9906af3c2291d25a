//! `fireclay predict`: what a model says of pictures, arrays and tables.

mod blocks;
mod decode;
mod digit;
mod grey;
mod input;
mod light;
mod picture;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fireclay::{Model, Prediction, Task};
use serde_json::{Value, json};

use self::input::Rows;
use self::picture::Fit;
use crate::model::{self, Where};
use crate::output::{printable, say, wrapped};

const EXAMPLES: &str = "\
Examples:
  fireclay predict runs/mnist-1 seven.png             a drawing or a photo of a digit
  fireclay predict model.safetensors *.jpg --top-k 3  the three most probable labels of each
  fireclay predict base.safetensors seven.png --adapter runs/tuned/adapter.safetensors
  fireclay predict runs/mnist-1 seven.png --show      draw in the terminal what the model sees
  fireclay predict model.safetensors t10k-images-idx3-ubyte --json
  cat rows.csv | fireclay predict model.safetensors - --abstain 0.9

A picture of another size than the model's is made like those of MNIST if the model reads 28x28:
uneven light is taken off, bright paper becomes black and ink white, and the ink is cut out, scaled
to 20x20 and centred by its mass. What was done is said. Photos should show one character on paper
and nothing else. IDX, NPY and CSV hold raw numbers, as in training.";

/// Say what a model makes of pictures (PNG, JPEG), arrays (IDX, NPY) and tables (CSV).
#[derive(Debug, clap::Args)]
#[command(
    about = "Say what a model makes of pictures, arrays and tables",
    after_help = EXAMPLES
)]
pub(crate) struct Args {
    /// A model file, or the folder of a run.
    model: PathBuf,
    /// Files to predict, or `-` for standard input.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Apply this low-rank adapter, which `finetune --lora` wrote, to the model, its base.
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// Name this many labels, the most probable first.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,
    /// Name no label if the most probable is less probable than this.
    #[arg(long, value_name = "PROBABILITY", value_parser = probability)]
    abstain: Option<f32>,
    /// How pictures are made to fit.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    fit: Fit,
    /// Draw what the model sees as blocks in the terminal.
    #[arg(long, conflicts_with = "json")]
    show: bool,
    /// As JSON: an object a line, one for each row.
    #[arg(long)]
    json: bool,
    #[arg(from_global)]
    quiet: bool,
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

/// Rows that are predicted together.
const BATCH: usize = 4096;

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let device = args.at.device()?;
    let model = model::load(&args.model, args.adapter.as_deref(), &device)?;
    if args.abstain.is_some() && !matches!(model.task, Task::Classification { .. }) {
        bail!("--abstain is for classifiers; this model is for {}", model.task.kind());
    }
    for input in &args.inputs {
        let name = printable(&input.display().to_string(), 200);
        let rows = input::read(input, &model, args.fit)?;
        if let Some(warning) = train::warnings::of_rows(&model.preprocessing, &rows.features) {
            log::warn!("{name}: {warning}");
        }
        let mut first = 0;
        for batch in rows.features.chunks(BATCH) {
            let predicted = model.predict(batch).with_context(|| name.clone())?;
            let mut lines = Vec::with_capacity(batch.len());
            for (i, prediction) in predicted.iter().enumerate() {
                check_finite(prediction).with_context(|| name.clone())?;
                let answer = Answer { args, model: &model, prediction };
                let row = (!rows.is_single).then_some(first + i);
                lines.push(match args.json {
                    true => answer.json(&name, row, &rows).to_string(),
                    false => answer.text(&name, row, &rows, &batch[i]),
                });
            }
            first += batch.len();
            log::info!("predicted {first} of {} rows of {name}", rows.features.len());
            say(&lines.join("\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
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

/// What is said of a row.
struct Answer<'a> {
    args: &'a Args,
    model: &'a Model,
    prediction: &'a Prediction,
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
        ranked.truncate(self.args.top_k as usize);
        ranked
    }

    fn text(&self, name: &str, row: Option<usize>, rows: &Rows, features: &[f32]) -> String {
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
        if !self.args.quiet && !rows.done.is_empty() && row.is_none_or(|row| row == 0) {
            text += &format!("\n{}", wrapped(&rows.done.join("; ")));
        }
        if self.args.show {
            let shape = &self.model.mlp.config().input_shape;
            let drawn = blocks::blocks(shape, features);
            text += &format!("\n{}", drawn.as_deref().unwrap_or("  not a picture"));
        }
        text
    }

    fn json(&self, name: &str, row: Option<usize>, rows: &Rows) -> Value {
        let top: Vec<Value> = self
            .ranked()
            .iter()
            .map(|(label, probability)| json!({ "label": label, "probability": probability }))
            .collect();
        let mut answer = json!({ "input": name, "row": row });
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
            if !rows.done.is_empty() {
                answer.insert("done".to_owned(), json!(rows.done));
            }
        }
        answer
    }
}
