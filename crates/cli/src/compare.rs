//! `fireclay compare`: two models on the same rows, and their runs side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fireclay::Description;
use fireclay_measure::{Comparison, McNemar, McNemarMethod, Options, compare};
use fireclay_report::Log;
use fireclay_terminal::{Exit, counted, decimal, group, printable, row, say, table};
use serde::Serialize;
use train::disk::Disk;
use train::manifest::Manifest;

use crate::model::{self, Where};
use crate::output::{measured, say_json, signed, wrapped};
use crate::rows::Rows;

const EXAMPLES: &str = "\
Examples:
  fireclay compare runs/mnist-1 runs/mnist-2
  fireclay compare runs/mnist-1 other.safetensors --data qmnist --json

The default data is that of the first model.
McNemar's test compares the two error rates on the same rows: exactly if the models differ on fewer
than 25 rows, otherwise by chi-square. For folders of runs, differing settings and learning curves
are also shown.";

/// Compare two models on the same rows, and their runs if they are the folders of runs.
#[derive(Debug, clap::Args)]
#[command(
    about = "Compare two models on the same rows",
    after_help = EXAMPLES
)]
pub(crate) struct Args {
    /// Model file, or the folder of a run.
    first: PathBuf,
    /// Model to compare with: a file, or the folder of a run.
    second: PathBuf,
    /// Low-rank adapter (LoRA) to apply to the second model; to measure the effect of the adapter, give its base model as both [default: none].
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    #[command(flatten)]
    rows: Rows,
    /// Number of rows to show, of those with different predictions.
    #[arg(long, value_name = "N", default_value_t = 10)]
    changed: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

/// Note on the units of two models of which the first has standardized targets.
const UNITS_OF_FIRST: &str = "\n  Losses use targets as the first model standardizes them; all other metrics use the unit\n  of the targets.\n";

/// What differs between two runs.
#[derive(Debug, Serialize)]
struct Runs {
    /// What their manifests contradict, of the first and of the second.
    faults: [Vec<String>; 2],
    /// Settings by path, in the first and in the second; only those that differ.
    settings: BTreeMap<String, [Option<String>; 2]>,
    /// Losses on the validation rows after each epoch, of the first and of the second.
    validation_loss: [Vec<(f64, f64)>; 2],
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let device = args.at.device()?;
    let first = model::load(&args.first, None, &device)?;
    let adapter = args.adapter.as_deref();
    let second = model::load(&args.second, adapter, &device)?;
    let task = first.description().task.clone();
    let (name, data) = args.rows.load(first.description(), &args.first)?;
    let options = Options { worst: args.changed, ..Options::default() };
    // Each model of a table has encodings of its own.
    let input = second.description().input.clone();
    let others = if data.input().is_none_or(|of_first| *of_first == input) {
        None
    } else {
        let reading = Description { input, ..first.description().clone() };
        Some(args.rows.load(&reading, &args.first)?.1)
    };
    let rows = [&data, others.as_ref().unwrap_or(&data)];
    let comparison = compare(&first, &second, rows, &options)?;
    // With an adapter the second is no longer what its run made.
    let named = [&args.first, &args.second];
    let are_runs = named.iter().all(|named| named.is_dir() && !model::is_cross_validation(named));
    let are_runs = are_runs && adapter.is_none();
    let runs = are_runs.then(|| runs(&args.first, &args.second)).transpose()?;
    if args.json {
        say_json(&serde_json::json!({
            "first": args.first, "second": args.second, "adapter": adapter, "data": name,
            "comparison": comparison, "runs": runs,
        }))?;
        return Ok(Exit::Done);
    }
    let first = model::shown(&args.first, None);
    let second = model::shown(&args.second, adapter);
    let mut text = format!(
        "first   {first}\nsecond  {second}\non {}: {}\n",
        printable(&name, 100),
        counted(comparison.rows as u64, "row")
    );
    text += &compared(&comparison);
    if task.scaling().is_some() {
        text += UNITS_OF_FIRST;
    }
    if let Some(runs) = &runs {
        text += &of_runs(runs);
    }
    say(&text)?;
    Ok(Exit::Done)
}

fn compared(comparison: &Comparison) -> String {
    let mut rows = vec![row!["metric", "first", "second", "difference"]];
    for first in comparison.first.measures() {
        let Some(second) = comparison.second.measure(&first.name) else { continue };
        let (a, b) = (first.estimate.value, second.estimate.value);
        let difference =
            if first.is_share { format!("{:+.2} points", 100.0 * (b - a)) } else { signed(b - a) };
        let [a, b] = [a, b].map(|value| measured(value, first.is_share));
        rows.push(vec![first.name.clone(), a, b, difference]);
    }
    let mut text = table(&rows);
    let loss = comparison.loss_difference;
    let verdict = if loss.low > 0.0 || loss.high < 0.0 { "beyond" } else { "within" };
    text += &format!(
        "\n  Loss of the second less that of the first, row by row: {},\n  \
         95 % interval {} to {} ({}): {verdict} chance.\n",
        signed(loss.value),
        signed(loss.low),
        signed(loss.high),
        loss.interval.name()
    );
    if let Some(test) = comparison.mcnemar {
        text += &mcnemar(test);
    }
    if let Some(agreement) = comparison.agreement {
        text += &format!(
            "  Both predict the same for {:.2} % of the rows, 95 % interval {:.2} to {:.2} %.\n",
            100.0 * agreement.value,
            100.0 * agreement.low,
            100.0 * agreement.high
        );
    }
    text += &format!(
        "  The largest difference of any output is {}.\n",
        decimal(comparison.largest_difference)
    );
    text + &changed(comparison)
}

fn mcnemar(test: McNemar) -> String {
    let method = match test.method {
        McNemarMethod::Exact => "exact",
        McNemarMethod::ChiSquare => "chi-square",
    };
    let verdict = if test.p_value < 0.05 { "beyond" } else { "within" };
    let text = format!(
        "Only the first is right on {}, only the second on {}, both on {}, neither on {}: \
         McNemar's test ({method}) gives p {}, {verdict} chance at 5 %.",
        counted(test.only_first as u64, "row"),
        group(test.only_second as u64),
        group(test.both as u64),
        group(test.neither as u64),
        if test.p_value < 1e-4 { "< 0.0001".to_owned() } else { format!("= {:.4}", test.p_value) }
    );
    wrapped(&text) + "\n"
}

fn changed(comparison: &Comparison) -> String {
    if comparison.changed.is_empty() {
        return "  Both predict the same for every row that is shown.\n".to_owned();
    }
    let mut rows = vec![row!["changed row", "true", "first", "second", "loss"]];
    rows.extend(comparison.changed.iter().map(|changed| {
        let answers = [&changed.truth, &changed.first, &changed.second];
        let [truth, first, second] = answers.map(|text| printable(text, 18));
        let loss = format!("{:+.4}", changed.loss_difference);
        vec![changed.row.to_string(), truth, first, second, loss]
    }));
    format!("\n{}", table(&rows))
}

fn runs(first: &Path, second: &Path) -> Result<Runs> {
    let [a, b] = [settings(first)?, settings(second)?];
    let mut differing = BTreeMap::new();
    for path in a.keys().chain(b.keys()) {
        let values = [a.get(path).cloned(), b.get(path).cloned()];
        if values[0] != values[1] {
            differing.insert(path.clone(), values);
        }
    }
    let [a, b] = [Log::load(first)?, Log::load(second)?];
    Ok(Runs {
        faults: [first, second].map(model::faults),
        settings: differing,
        validation_loss: [a, b].map(|log| log.curves("loss").validation),
    })
}

/// The settings that a run was made with, by path: its settings file may have been changed since.
fn settings(run: &Path) -> Result<BTreeMap<String, String>> {
    let manifest = Manifest::load(run, &Disk::default());
    let manifest = manifest.context("cannot tell the settings of a run without its manifest")?;
    Ok(manifest.settings.flat())
}

fn of_runs(runs: &Runs) -> String {
    let mut rows = vec![row!["setting", "first", "second"]];
    rows.extend(runs.settings.iter().map(|(path, values)| {
        let [first, second] = values.each_ref().map(|value| value.as_deref().unwrap_or("-"));
        vec![printable(path, 40), printable(first, 26), printable(second, 26)]
    }));
    let mut text = String::new();
    for (run, faults) in ["first", "second"].into_iter().zip(&runs.faults) {
        for fault in faults {
            text += &format!("\n{}\n", wrapped(&printable(&format!("{run}: {fault}"), 1000)));
        }
    }
    text += &match rows.len() {
        1 => "\n  The settings are the same.\n".to_owned(),
        _ => format!("\n{}", table(&rows)),
    };
    text + &curves(&runs.validation_loss)
}

/// Validation losses side by side, if any were measured.
fn curves(losses: &[Vec<(f64, f64)>; 2]) -> String {
    let last = losses[0].len().max(losses[1].len());
    if last == 0 {
        return String::new();
    }
    // Of a long run some epochs are enough, the last among them.
    let step = last.div_ceil(20);
    let mut rows = vec![row!["epoch", "validation loss, first", "second"]];
    rows.extend((0..last).filter(|i| (last - 1 - i).is_multiple_of(step)).map(|i| {
        let points = losses.each_ref().map(|curve| curve.get(i));
        let epoch = points[0].or(points[1]).map_or(0.0, |(epoch, _)| *epoch);
        let [first, second] =
            points.map(|point| point.map_or(String::new(), |(_, loss)| decimal(*loss)));
        vec![format!("{epoch:.0}"), first, second]
    }));
    format!("\n{}", table(&rows))
}
