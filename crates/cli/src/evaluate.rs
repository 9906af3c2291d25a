//! `fireclay evaluate`: how good a model is, each number with its interval, and gates.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use fireclay_data::RawRows;
use fireclay_measure::{
    ClassScores, Classification, Estimate, Evaluation, Importance, Measure, Options, Scores,
    evaluate, importance,
};
use fireclay_terminal::{Exit, counted, decimal, group, printable, row, say, table};
use serde::Serialize;
use serde_json::Value;

use crate::model::{self, Where};
use crate::output::{measured, percent, say_json};
use crate::rows::Rows;

const EXAMPLES: &str = "\
Examples:
  fireclay evaluate runs/mnist-1                       on the test rows of its data
  fireclay evaluate model.safetensors --data qmnist
  fireclay evaluate runs/mnist-1 --min-accuracy 0.97   exit code 1 below this accuracy
  fireclay evaluate runs/mnist-1 --min macro-f1=0.97 --max loss=0.1 --json
  fireclay evaluate runs/prices-1 --max-rmse 12.5      regression, in the target's unit

Intervals are 95 % confidence intervals: Wilson for proportions, bootstrap (1,000 draws)
otherwise. Calibration error is biased upwards, so its bootstrap spread is shown instead.
Gates compare the metric itself, not its interval.";

/// Evaluate a model: metrics with 95 % confidence intervals, per class.
#[derive(Debug, clap::Args)]
#[command(
    about = "Evaluate a model: metrics with confidence intervals, per class",
    after_help = EXAMPLES
)]
pub(crate) struct Args {
    /// Model file, or the folder of a run.
    model: PathBuf,
    /// Low-rank adapter (LoRA) to apply to the model: a file, or the folder of a run of `finetune --lora` [default: none].
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    #[command(flatten)]
    rows: Rows,
    /// Exit with code 1 if the accuracy is below this share.
    #[arg(long, value_name = "SHARE", value_parser = limit, help_heading = "Gates")]
    min_accuracy: Option<f64>,
    /// Exit with code 1 if the root mean squared error is above this value.
    #[arg(long, value_name = "NUMBER", value_parser = limit, help_heading = "Gates")]
    max_rmse: Option<f64>,
    /// Exit with code 1 if the mean absolute error is above this value.
    #[arg(long, value_name = "NUMBER", value_parser = limit, help_heading = "Gates")]
    max_mae: Option<f64>,
    /// Exit with code 1 if R² is below this value.
    #[arg(long, value_name = "NUMBER", value_parser = limit, help_heading = "Gates")]
    min_r2: Option<f64>,
    /// Exit with code 1 if a metric of the output is below this value, such as macro-f1=0.97; repeatable.
    #[arg(long, value_name = "METRIC=NUMBER", help_heading = "Gates")]
    min: Vec<Limit>,
    /// Exit with code 1 if a metric of the output is above this value, such as loss=0.1; repeatable.
    #[arg(long, value_name = "METRIC=NUMBER", help_heading = "Gates")]
    max: Vec<Limit>,
    /// Number of rows to show, of those with the largest loss.
    #[arg(long, value_name = "N", default_value_t = 10)]
    worst: usize,
    /// Measure the permutation importance of each column of a table.
    #[arg(long)]
    importance: bool,
    /// Rows per batch; affects time and memory only.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

/// `accuracy=0.97`.
#[derive(Clone, Debug)]
struct Limit {
    measure: String,
    number: f64,
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (measure, number) =
            text.split_once('=').ok_or("give it as METRIC=NUMBER, such as macro-f1=0.97")?;
        Ok(Self { measure: measure.to_owned(), number: limit(number)? })
    }
}

/// Note on the units of a model whose targets are standardized.
const UNITS: &str =
    "\nThe loss is that of standardized targets; other metrics use the target's unit.\n";

/// The number of a gate.
fn limit(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| !number.is_nan());
    number.ok_or_else(|| format!("`{text}` is not a number"))
}

/// A gate, and whether it was met.
#[derive(Debug, Serialize)]
struct Gate {
    measure: String,
    /// Whether the measure must not be less; else it must not be more.
    is_minimum: bool,
    limit: f64,
    value: f64,
    is_met: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let model = model::load(&args.model, args.adapter.as_deref(), &args.at.device()?)?;
    model::warn_of_faults(&args.model);
    let (name, data) =
        args.rows.load(model.description(), args.adapter.as_deref().unwrap_or(&args.model))?;
    let options =
        Options { batch_size: args.batch_size as usize, worst: args.worst, ..Options::default() };
    let evaluation = evaluate(&model, &data, &options)?;
    let gates = args.gates(&evaluation)?;
    let worst: Vec<usize> = evaluation.worst.iter().map(|row| row.row).collect();
    let raw = data.raw_rows(&worst)?;
    let importance =
        if args.importance { importance(&model, &data, &options)? } else { Vec::new() };
    if args.json {
        say_json(&serde_json::json!({
            "model": args.model, "adapter": args.adapter, "data": name, "evaluation": evaluation,
            "measures": evaluation.measures(), "gates": gates, "importance": importance,
            "worst_rows": raw.as_ref().map(named),
        }))?;
    } else {
        let heading = format!(
            "{} on {}: {}\n",
            model::shown(&args.model, args.adapter.as_deref()),
            printable(&name, 100),
            counted(evaluation.rows as u64, "row")
        );
        let is_scaled = model.description().task.scaling().is_some();
        let unit = if is_scaled { UNITS } else { "" };
        let needed = needed(&importance);
        say(&(heading
            + &text(&evaluation)
            + &raw_rows(&evaluation, raw.as_ref())
            + &needed
            + unit
            + &said(&gates)))?;
    }
    let is_met = gates.iter().all(|gate| gate.is_met);
    Ok(Exit::of_gate(is_met))
}

impl Args {
    fn gates(&self, evaluation: &Evaluation) -> Result<Vec<Gate>> {
        let named = [
            ("accuracy", self.min_accuracy, true),
            ("r2", self.min_r2, true),
            ("rmse", self.max_rmse, false),
            ("mae", self.max_mae, false),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, limit, is_minimum)| limit.map(|limit| (name, limit, is_minimum)));
        let least = self.min.iter().map(|limit| (limit.measure.as_str(), limit.number, true));
        let most = self.max.iter().map(|limit| (limit.measure.as_str(), limit.number, false));
        let all = named.chain(least).chain(most);
        all.map(|(name, limit, is_minimum)| gate(evaluation, name, limit, is_minimum)).collect()
    }
}

fn gate(evaluation: &Evaluation, name: &str, limit: f64, is_minimum: bool) -> Result<Gate> {
    let Some(measure) = evaluation.measure(name) else {
        let names: Vec<String> = evaluation.measures().into_iter().map(|m| m.name).collect();
        let nearest = fireclay::nearest(name, names.iter().map(String::as_str));
        let hint = nearest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default();
        bail!("there is no metric `{name}`{hint}; there are {}", names.join(", "));
    };
    if measure.is_share && !(0.0..=1.0).contains(&limit) {
        let hint = if (1.0..=100.0).contains(&limit) {
            format!(", such as {} for {limit} %", limit / 100.0)
        } else {
            String::new()
        };
        bail!(
            "the limit of {name} is {limit}; {name} is a share, so give a number from 0 to 1{hint}"
        );
    }
    let value = measure.estimate.value;
    let is_met = if is_minimum { value >= limit } else { value <= limit };
    Ok(Gate { measure: name.to_owned(), is_minimum, limit, value, is_met })
}

fn said(gates: &[Gate]) -> String {
    let lines = gates.iter().map(|Gate { measure, is_minimum, limit, value, is_met }| {
        let verdict = if *is_met { "met    " } else { "NOT MET" };
        let sign = if *is_minimum { "at least" } else { "at most" };
        format!("{verdict} {measure} {sign} {limit}: it is {value:.6}\n")
    });
    lines.collect()
}

/// How much the model needs each column.
fn needed(importance: &[Importance]) -> String {
    if importance.is_empty() {
        return String::new();
    }
    let mut rows = vec![row!["column", "growth of the loss", "deviation"]];
    rows.extend(importance.iter().map(|Importance { column, growth, deviation }| {
        vec![printable(column, 40), decimal(*growth), decimal(*deviation)]
    }));
    format!("\n{}", table(&rows))
}

/// Everything measured, in words.
fn text(evaluation: &Evaluation) -> String {
    let mut text = measures(&evaluation.measures());
    match &evaluation.scores {
        Scores::Classification(scores) => {
            text += &classes(&scores.classes);
            text += &confusion(scores);
        }
        Scores::MultiLabel(scores) => text += &classes(&scores.labels),
        Scores::Regression(scores) => {
            let mut rows = vec![row!["target", "r2", "rmse", "mae", "median-error"]];
            rows.extend(scores.targets.iter().map(|target| {
                let errors = [target.r2, target.rmse, target.mae, target.median_error];
                let errors = errors.map(|estimate| decimal(estimate.value));
                std::iter::once(printable(&target.name, 30)).chain(errors).collect()
            }));
            text += &format!("\n{}", table(&rows));
        }
    }
    text + &worst(evaluation)
}

/// Names, numbers and intervals.
pub(crate) fn measures(all: &[Measure]) -> String {
    let mut rows = vec![row!["metric", "value", "95 % interval", ""]];
    rows.extend(all.iter().map(|measure| {
        let Estimate { value, low, high, interval } = measure.estimate;
        let [value, low, high] = [value, low, high].map(|value| measured(value, measure.is_share));
        vec![measure.name.clone(), value, format!("{low} to {high}"), interval.name().to_owned()]
    }));
    table(&rows)
}

/// The most classes that are listed in the terminal; --json has all.
const MOST_CLASSES: usize = 70;

fn classes(classes: &[ClassScores]) -> String {
    let mut rows = vec![row!["class", "precision", "recall", "f1", "support"]];
    rows.extend(classes.iter().take(MOST_CLASSES).map(|class| {
        let scores = [class.precision, class.recall, class.f1];
        let [precision, recall, f1] = scores.map(|estimate| percent(estimate.value));
        vec![printable(&class.label, 30), precision, recall, f1, group(class.support as u64)]
    }));
    let more = classes.len().saturating_sub(MOST_CLASSES);
    let more =
        if more > 0 { format!("  and {more} more; --json has them\n") } else { String::new() };
    format!("\n{}{more}", table(&rows))
}

/// The widest matrix that 80 columns have room for.
const MOST_CONFUSED: usize = 12;

/// The confusion matrix: a row for what is, a column for what was said.
fn confusion(scores: &Classification) -> String {
    let labels: Vec<String> =
        scores.classes.iter().map(|class| printable(&class.label, 5)).collect();
    if labels.len() > MOST_CONFUSED {
        return pairs(scores);
    }
    let mut rows = vec![vec!["true \\ pred".to_owned()]];
    rows[0].extend(labels.iter().map(|label| format!("{label:>4}")));
    rows.extend(scores.confusion.iter().zip(&labels).map(|(counts, label)| {
        let counts = counts.iter().map(|&count| match count {
            0 => "   ·".to_owned(),
            _ => format!("{count:>4}"),
        });
        std::iter::once(label.clone()).chain(counts).collect()
    }));
    format!("\n{}", table(&rows))
}

/// The most frequent confusions, where a matrix is too wide.
fn pairs(scores: &Classification) -> String {
    let mut wrong: Vec<(usize, usize, usize)> = Vec::new();
    for (truth, counts) in scores.confusion.iter().enumerate() {
        let of = counts.iter().enumerate().filter(|(said, count)| *said != truth && **count > 0);
        wrong.extend(of.map(|(said, &count)| (count, truth, said)));
    }
    wrong.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut rows = vec![row!["true", "predicted", "rows"]];
    rows.extend(wrong.iter().take(15).map(|&(count, truth, said)| {
        let labels = [truth, said].map(|class| &scores.classes[class].label);
        let [truth, said] = labels.map(|label| printable(label, 30));
        vec![truth, said, group(count as u64)]
    }));
    format!("\n{}", table(&rows))
}

/// The columns that are shown of a row, and the characters of a cell.
const MOST_COLUMNS: usize = 8;
const MOST_OF_A_CELL: usize = 16;

/// The rows with the largest loss as the file of their table has them.
fn raw_rows(evaluation: &Evaluation, raw: Option<&RawRows>) -> String {
    let Some(RawRows { columns, cells }) = raw.filter(|raw| !raw.cells.is_empty()) else {
        return String::new();
    };
    let mut rows = vec![row!["worst row"]];
    rows[0].extend(columns.iter().take(MOST_COLUMNS).map(|name| printable(name, MOST_OF_A_CELL)));
    rows.extend(evaluation.worst.iter().zip(cells).map(|(row, cells)| {
        let cells = cells.iter().take(MOST_COLUMNS).map(|cell| printable(cell, MOST_OF_A_CELL));
        std::iter::once(row.row.to_string()).chain(cells).collect()
    }));
    let more = columns.len().saturating_sub(MOST_COLUMNS);
    let more = if more > 0 {
        format!("  and {more} more columns; --json has them\n")
    } else {
        String::new()
    };
    format!("\n{}{more}", table(&rows))
}

/// Rows as objects, by the names of their columns.
fn named(RawRows { columns, cells }: &RawRows) -> Vec<serde_json::Map<String, Value>> {
    let objects = cells.iter().map(|cells| {
        columns.iter().cloned().zip(cells.iter().cloned().map(Value::String)).collect()
    });
    objects.collect()
}

fn worst(evaluation: &Evaluation) -> String {
    if evaluation.worst.is_empty() {
        return String::new();
    }
    let mut rows = vec![row!["worst row", "loss", "true", "predicted"]];
    rows.extend(evaluation.worst.iter().map(|row| {
        vec![
            row.row.to_string(),
            decimal(row.loss),
            printable(&row.truth, 20),
            printable(&row.predicted, 20),
        ]
    }));
    if evaluation.worst.iter().any(|row| row.probability.is_some()) {
        rows[0].push("probability".to_owned());
        for (cells, row) in rows[1..].iter_mut().zip(&evaluation.worst) {
            cells.push(row.probability.map_or(String::new(), percent));
        }
    }
    format!("\n{}", table(&rows))
}
