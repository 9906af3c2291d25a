//! Cross-validation: a run for each fold of a table, and the mean of what they come to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::host::Model;
use fireclay::{Committee, Provenance};
use fireclay_data::Source;
use fireclay_data::tables::stem;
use fireclay_terminal::{Exit, quoted_path, row, short, table};
use serde_json::Value;

use crate::args::Args;
use crate::disk::Disk;
use crate::manifest::Manifest;
use crate::program::Ended;
use crate::run::{Changes, Prepared, RunEnd, RunOptions};
use crate::run_files::{FOLDS, MODEL};
use crate::run_folder::check_name;
use crate::settings::{Partial, Settings};

/// File of the settings of all folds, as they were before any data was read.
const SETTINGS: &str = "folds.toml";

/// The runs of a cross-validation.
struct Folds {
    /// The folder of all of them.
    folder: PathBuf,
    /// The settings of each, but for its fold.
    settings: Settings,
    count: usize,
    /// True if the models are kept as one.
    is_ensemble: bool,
}

/// The folder of an existing cross-validation, by its path or its name.
pub(crate) fn existing(args: &Args) -> Option<PathBuf> {
    let name = args.resuming.resume.as_deref()?;
    let folders = [PathBuf::from(name), args.output.out.join(name)];
    folders.into_iter().find(|folder| folder.join(SETTINGS).is_file())
}

/// Trains a model for each fold.
///
/// # Errors
///
/// A folder that exists; anything that keeps a fold from its end.
pub(crate) fn new(args: &Args, options: RunOptions, count: usize) -> Result<Ended> {
    let settings = args.new_settings()?;
    let path = match settings.source()? {
        Source::Table(table) => table.path,
        Source::Sounds(recordings) => recordings.table.path,
        _ => bail!("--folds needs a table or recordings; give one with --data"),
    };
    if count < 2 {
        bail!("--folds {count}: give at least 2");
    }
    let is_ensemble = args.table.ensemble;
    if is_ensemble
        && (settings.decision.threshold.is_some() || settings.decision.interval.is_some())
    {
        bail!(
            "--threshold and --interval are chosen for a single model; remove them, or --ensemble"
        );
    }
    if settings.data.table.test.is_some() {
        bail!("--test has no effect with --folds, which test every row once; remove it");
    }
    let name = args.output.name.clone().unwrap_or_else(|| stem(&path) + "-folds");
    check_name(&name)?;
    let folder = args.output.out.join(&name);
    if folder.exists() {
        bail!(
            "{} exists; continue it with --resume {name}, or choose another --name",
            quoted_path(&folder)
        );
    }
    let folds = Folds { folder, settings, count, is_ensemble };
    // An obstacle to the first fold is an error before anything is written.
    Prepared::new(folds.of_fold(1), RunOptions { out: folds.folder.clone(), ..options.clone() })?;
    std::fs::create_dir_all(&folds.folder)
        .with_context(|| format!("cannot make {}", quoted_path(&folds.folder)))?;
    let mut whole = folds.of_fold(1);
    whole.data.table.ensemble = is_ensemble;
    let text = whole.to_toml();
    options.disk.write_whole(&folds.folder.join(SETTINGS), text.as_bytes())?;
    folds.run(&options)
}

/// Continues a cross-validation: finished folds stay, the others are trained.
///
/// # Errors
///
/// As [`new`].
pub(crate) fn resume(folder: PathBuf, options: RunOptions) -> Result<Ended> {
    let first = folder.join(SETTINGS);
    let mut settings = Settings::merged(&[Partial::file(&first)?])?;
    let fold = settings.data.table.fold.take();
    let is_ensemble = std::mem::take(&mut settings.data.table.ensemble);
    let count = fold.as_deref().and_then(|fold| fold.split_once('/')?.1.parse().ok());
    let count = count.with_context(|| format!("{} names no fold", quoted_path(&first)))?;
    Folds { folder, settings, count, is_ensemble }.run(&options)
}

fn fold_folder(folder: &Path, fold: usize) -> PathBuf {
    folder.join(format!("fold-{fold}"))
}

impl Folds {
    /// The settings of a fold, from 1.
    fn of_fold(&self, fold: usize) -> Settings {
        let mut settings = self.settings.clone();
        settings.data.table.fold = Some(format!("{fold}/{}", self.count));
        settings
    }

    fn run(&self, options: &RunOptions) -> Result<Ended> {
        let mut results = Vec::new();
        for fold in 1..=self.count {
            options.console.say(&format!("fold {fold} of {}", self.count))?;
            match self.result(fold, options)? {
                Ok(metrics) => results.push(metrics),
                Err(signal) => {
                    let folder = quoted_path(&self.folder);
                    let program = &options.program;
                    options.console.say(&format!("continue with {program} --resume {folder}"))?;
                    return Ok(Ended { code: Exit::Signal(signal), result: None });
                }
            }
        }
        let summary = Summary::of(&results);
        let json = serde_json::to_vec_pretty(&summary)?;
        options.disk.write_whole(&self.folder.join(FOLDS), &json)?;
        options.console.say(&format!("\n{}", summary.in_words()))?;
        if self.is_ensemble {
            let path = self.folder.join(MODEL);
            let (bytes, digest) = self.ensemble(&summary)?.to_bytes()?;
            options.disk.write_whole(&path, &bytes)?;
            let path = quoted_path(&path);
            options.console.say(&format!("Ensemble of {} models: {path}, {digest}", self.count))?;
        }
        options.console.say(&format!("Saved in {}", quoted_path(&self.folder)))?;
        Ok(Ended { code: Exit::Done, result: None })
    }

    /// The models of all folds as one. It records no data, since each row of the table trained most of
    /// its models.
    fn ensemble(&self, summary: &Summary) -> Result<Committee> {
        let folders = (1..=self.count).map(|fold| fold_folder(&self.folder, fold).join(MODEL));
        let models = folders.map(Model::load).collect::<Result<Vec<_>, _>>()?;
        let mut settings = models[0].description.provenance.settings.clone();
        let table = settings.as_mut().and_then(|settings| settings.pointer_mut("/data/table"));
        if let Some(table) = table.and_then(Value::as_object_mut) {
            table.remove("fold");
        }
        let means = summary.0.iter();
        let metrics = means.map(|(name, spread)| (format!("mean test {name}"), spread.mean));
        let provenance = Provenance {
            program: Provenance::PROGRAM.to_owned(),
            settings,
            metrics: metrics.collect(),
            ..Provenance::default()
        };
        Ok(Committee::new(models, provenance)?)
    }

    /// What a fold came to on its test rows, or the signal that stopped it.
    fn result(
        &self,
        fold: usize,
        options: &RunOptions,
    ) -> Result<Result<BTreeMap<String, f64>, i32>> {
        let folder = fold_folder(&self.folder, fold);
        let manifest = Manifest::load(&folder, &Disk::default()).ok();
        if let Some(result) = manifest.as_ref().and_then(|manifest| manifest.result.as_ref()) {
            return Ok(Ok(result.metrics.clone()));
        }
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let options = RunOptions { out: self.folder.clone(), name, ..options.clone() };
        let prepared = if manifest.is_some() {
            Prepared::resume(&folder.to_string_lossy(), &Changes::default(), options)?
        } else {
            Prepared::new(self.of_fold(fold), options)?
        };
        Ok(match prepared.run()? {
            RunEnd::Finished(finished) => Ok(finished.test.by_name()),
            RunEnd::Interrupted { signal } => Err(signal),
        })
    }
}

/// What all folds came to, by metric.
#[derive(Debug, serde::Serialize)]
struct Summary(BTreeMap<String, Spread>);

/// A metric over the folds.
#[derive(Debug, PartialEq, serde::Serialize)]
struct Spread {
    mean: f64,
    /// Standard deviation, divided by one less than the number of folds.
    deviation: f64,
    /// The metric of each fold.
    folds: Vec<f64>,
}

impl Summary {
    fn of(results: &[BTreeMap<String, f64>]) -> Self {
        let names = results.first().into_iter().flat_map(BTreeMap::keys);
        let spreads = names.filter_map(|name| {
            let folds = results.iter().map(|result| result.get(name).copied());
            Some((name.clone(), Spread::of(folds.collect::<Option<Vec<f64>>>()?)))
        });
        Self(spreads.collect())
    }

    fn in_words(&self) -> String {
        let mut rows = vec![row!["test metric", "mean", "deviation", "folds"]];
        rows.extend(self.0.iter().map(|(name, spread)| {
            let folds: Vec<String> = spread.folds.iter().map(|&value| short(value)).collect();
            row![name, short(spread.mean), short(spread.deviation), folds.join(" ")]
        }));
        table(&rows)
    }
}

impl Spread {
    fn of(folds: Vec<f64>) -> Self {
        let count = folds.len() as f64;
        let mean = folds.iter().sum::<f64>() / count;
        let squares: f64 = folds.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        Self { mean, deviation, folds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_that_of_a_sample() {
        // numpy: a = [1, 2, 6]; a.mean(), a.std(ddof=1)
        let found = Spread::of(vec![1.0, 2.0, 6.0]);
        assert_eq!((found.mean, found.deviation), (3.0, 7.0_f64.sqrt()));
    }
}
