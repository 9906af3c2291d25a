//! From the command line to a tuned model: read, swap the head, freeze, train, compare.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fireclay::{Device, Lora, MlpConfig, Model, ModelFileError, ModelFileProblem};
use fireclay_data::{Dataset, TrainTest};
use train::disk::Disk;
use train::tuning::{Distillation, Phase, Replay, Start, Tuning};
use train::{Ended, Finished, Prepared, fitted_to, group, load_with_bar, only, task};

use crate::adapter::Adapter;
use crate::args::{Args, Baseline, Command, Tune};
use crate::forgetting::forgetting;
use crate::head::{Head, Swapped, swap};
use crate::import::{Imported, Options, import, rebuilt};
use crate::merge::{descendant, fits, run_import, run_merge};
use crate::pattern::Pattern;
use crate::plan::{Plan, Recipe};
use crate::score::accuracy;
use crate::table::{row, table};
use crate::words;

/// Does what the command line asks for.
///
/// # Errors
///
/// Anything that keeps it from its end; the message names what to do.
pub fn run(args: Args) -> Result<ExitCode> {
    Ok(run_to_end(args)?.code)
}

/// As [`run`], and what came of the run, if there was one.
///
/// # Errors
///
/// As [`run`].
pub fn run_to_end(mut args: Args) -> Result<Ended> {
    let without_run = |code| Ended { code, result: None };
    match &args.command {
        Some(Command::Import(import)) => return run_import(import).map(without_run),
        Some(Command::Merge(merge)) => return run_merge(merge).map(without_run),
        None => {}
    }
    if args.train.list_backends {
        return train::run_to_end(args.train, Disk::default());
    }
    let recipe = args.take_recipe()?;
    if args.train.resume.is_some() || args.train.repeat.is_some() {
        return go_on(args);
    }
    tune(args, recipe)
}

/// Reads a model, makes it fit the data, trains what was named, and compares.
fn tune(mut args: Args, recipe: Option<Recipe>) -> Result<Ended> {
    let Some(from) = args.tune.from.clone() else {
        bail!(
            "say with --from which model to start from, or with --resume which run to go on with"
        );
    };
    // Read before anything is loaded: a slip is told at once.
    let options = args.options()?;
    let is_quiet = args.train.quiet;
    let again = args.train.clone();
    let tune = std::mem::take(&mut args.tune);
    let rates = args
        .train
        .group_rates()
        .map(|(pattern, rate)| Ok((pattern.parse::<Pattern>()?, rate)))
        .collect::<Result<Vec<_>>>()?;
    let mut prepared = Prepared::new(args.train, Disk::default())?;
    let imported = import(&from, &options, prepared.device())?;
    say(is_quiet, &format!("{}\n{}", from.display(), words::placed(&imported)))?;
    let base = base(&imported, prepared.data())?;
    let swapped = new_head(&base, &tune, prepared.data(), prepared.settings().seed)?;
    say(is_quiet, &words::head(&swapped))?;
    let mut model = swapped.model.clone();
    if let Some(lora) = &tune.lora {
        let lora = on_layers(lora, &tune.lora_on, model.mlp.config())?;
        model.mlp = model.mlp.with_adapters(lora, prepared.settings().seed)?;
    }
    let settings = prepared.settings();
    let plan = Plan {
        train: tune.train.clone(),
        freeze: tune.freeze.clone(),
        rates,
        rate: settings.optimizer.learning_rate(),
        decay: tune.lr_decay.map(decay).transpose()?,
        recipe,
        unfreeze_every: tune.unfreeze_every,
        epochs: settings.training.epochs,
    };
    let phases = plan.phases(model.mlp.config())?;
    say(is_quiet, &words::phases(model.mlp.config(), &phases, plan.rate))?;
    model.provenance = descendant(imported.origin.clone(), &base.provenance);
    let teacher = tune
        .teacher
        .as_ref()
        .map(|path| with_shape(teacher(path, &options, prepared.device())?, prepared.data()));
    let teacher = teacher.transpose()?;
    let trained = words::trained(model.mlp.config(), &phases);
    let tuning = tuning(&tune, phases, teacher.is_some());
    let has_adapters = model.mlp.config().lora.is_some();
    let start = Start { model: model.clone(), teacher, base: has_adapters.then(|| base.clone()) };
    prepared.start_from(start, tuning)?;

    let data = prepared.data().clone();
    let Ended { code, result } = prepared.run()?;
    let Some(finished) = result else { return Ok(Ended { code, result: None }) };
    if has_adapters {
        say(is_quiet, &save_adapter(&base, &finished)?)?;
    }
    let scratch = match tune.baseline {
        Some(Baseline::Scratch) => from_scratch(again, &model, &finished)?,
        None => None,
    };
    let all = group(model.mlp.config().parameters() as u64);
    let start = if swapped.is_same { "start" } else { "start, new head" };
    let trained = format!("{} of {all}", group(trained as u64));
    let mut rows = vec![(start, &model, String::new(), String::new())];
    rows.push(("tuned", &finished.model, trained, format!("{:.1} s", finished.seconds)));
    if let Some(scratch) = &scratch {
        rows.push(("from scratch", &scratch.model, all, format!("{:.1} s", scratch.seconds)));
    }
    say(is_quiet, &compared(&rows, &fitted_to(data, &model.task)?.test)?)?;
    if let Some(source) = &tune.replay_data {
        let old = only(load_with_bar(&source.parse()?)?, &tune.replay_classes)?;
        say(is_quiet, &forgetting(&base, &finished.model, source, old)?)?;
    }
    Ok(Ended { code, result: Some(finished) })
}

/// Goes on with a run, or repeats it.
fn go_on(args: Args) -> Result<Ended> {
    let is_quiet = args.train.quiet;
    if args.tune.from.is_some() {
        bail!("a run that goes on starts from what it started from; leave out --from");
    }
    let prepared = Prepared::new(args.train, Disk::default())?;
    let start = prepared.start().cloned();
    let data = prepared.data().clone();
    let Ended { code, result } = prepared.run()?;
    if let (Some(finished), Some(Start { model: start, base, .. })) = (&result, start) {
        let time = format!("{:.1} s", finished.seconds);
        let rows = [
            ("start", &start, String::new(), String::new()),
            ("tuned", &finished.model, String::new(), time),
        ];
        say(is_quiet, &compared(&rows, &fitted_to(data, &start.task)?.test)?)?;
        if let Some(base) = base {
            say(is_quiet, &save_adapter(&base, finished)?)?;
        }
    }
    Ok(Ended { code, result })
}

/// The adapter, in the folder of a run.
const ADAPTER: &str = "adapter.safetensors";

/// The model in the file, with the data's shape of a sample.
fn base(imported: &Imported, data: &TrainTest) -> Result<Model> {
    let model = imported.model.clone();
    if model.mlp.config().lora.is_some() {
        bail!(
            "this model has adapters; make it a plain one first, with `finetune merge --adapter FILE \
             --to FILE`"
        );
    }
    with_shape(model, data)
}

/// A model whose samples have the shape of the data's, if they are as many numbers.
fn with_shape(model: Model, data: &TrainTest) -> Result<Model> {
    fits(&model, data.train.width())?;
    let config = model.mlp.config().clone();
    let shape = data.train.shape().to_vec();
    Ok(rebuilt(model, MlpConfig { input_shape: shape, ..config })?)
}

/// A teacher: one of ours, or else a file that is read as the start is.
fn teacher(path: &Path, options: &Options, device: &Device) -> Result<Model> {
    match Model::load(path, device) {
        Err(ModelFileError {
            problem: ModelFileProblem::NoDocument | ModelFileProblem::Safetensors(_),
            ..
        }) => Ok(import(path, options, device)?.model),
        result => Ok(result?),
    }
}

/// The base with the output layer that was asked for.
fn new_head(base: &Model, tune: &Tune, data: &TrainTest, seed: u64) -> Result<Swapped> {
    let wanted = task(data.train.targets());
    // Rows that are replayed have the old labels.
    let usual = if tune.replay.is_some() { Head::Both } else { Head::Data };
    let head = tune.head.clone().unwrap_or(usual);
    swap(base, head.task(&base.task, &wanted)?, tune.fresh_head, seed)
}

/// The table of how often models are right on the same rows; each with its name, what was trained
/// of it, and the time. Empty if there is nothing to be right about.
fn compared(models: &[(&str, &Model, String, String)], test: &Dataset) -> Result<String> {
    let mut rows = vec![row!["", "accuracy on the test samples, 95 % interval", "trained", "time"]];
    for (name, model, trained, time) in models {
        let Some(found) = accuracy(model, test)? else { return Ok(String::new()) };
        rows.push(row![name, found, trained, time]);
    }
    Ok(format!("\n{}", table(&rows)))
}

/// The adapters on the layers that are named, by default all below the output.
fn on_layers(lora: &Lora, patterns: &[Pattern], model: &MlpConfig) -> Result<Lora> {
    let last = model.hidden.len();
    let mut layers: Vec<usize> = Vec::new();
    for pattern in patterns {
        let paths = pattern.paths(model)?;
        let weights = paths.iter().filter(|path| path.ends_with(".weight"));
        let parts = weights.filter_map(|path| path.strip_prefix("layers.")?.split('.').next());
        layers.extend(parts.filter_map(|part| part.parse::<usize>().ok()));
    }
    if patterns.is_empty() {
        layers = (0..last).collect();
    }
    if layers.is_empty() {
        bail!("no layer is left for an adapter: name some with --lora-on");
    }
    layers.sort_unstable();
    layers.dedup();
    Ok(Lora { layers, ..lora.clone() })
}

fn decay(factor: f64) -> Result<f64> {
    if factor > 0.0 && factor <= 1.0 {
        return Ok(factor);
    }
    bail!("--lr-decay is {factor}; it must be above 0 and at most 1")
}

fn tuning(tune: &Tune, phases: Vec<Phase>, has_teacher: bool) -> Tuning {
    let replay = tune.replay.zip(tune.replay_data.clone());
    Tuning {
        start: String::new(),
        l2_sp: tune.l2_sp.unwrap_or(0.0),
        keep_statistics: tune.keep_statistics,
        distillation: has_teacher.then(|| Distillation {
            teacher: String::new(),
            temperature: tune.temperature,
            alpha: tune.alpha,
        }),
        replay: replay.map(|(fraction, source)| Replay {
            source,
            fraction,
            classes: tune.replay_classes.clone(),
        }),
        phases,
    }
}

/// Writes the adapter into the folder of the run, where its base is.
fn save_adapter(base: &Model, finished: &Finished) -> Result<String> {
    let adapter = Adapter::between(base, &finished.model)?;
    let path = finished.folder.join(ADAPTER);
    fireclay::model_file::write_whole(&path, &adapter.to_bytes()?)
        .with_context(|| path.display().to_string())?;
    Ok(format!(
        "\nThe adapter, {} numbers, is in {path}; its base is in {folder}/base.safetensors. \
         Make one plain model of both with:\n  \
         finetune merge --base {folder}/base.safetensors --adapter {path} --to merged.safetensors",
        group(adapter.parameters() as u64),
        path = path.display(),
        folder = finished.folder.display(),
    ))
}

/// Trains a fresh network of the same kind, with the same settings, in a folder of its own.
fn from_scratch(
    mut args: train::Args,
    model: &Model,
    finished: &Finished,
) -> Result<Option<Finished>> {
    let name = finished.folder.file_name().map(|name| name.to_string_lossy().into_owned());
    args.name = name.map(|name| format!("{name}-scratch"));
    args.quiet = true;
    args.tui = false;
    args.profile = false;
    let mut prepared = Prepared::new(args, Disk::default())?;
    let config = MlpConfig { lora: None, ..model.mlp.config().clone() };
    let mlp = config.init(prepared.settings().seed, prepared.device())?;
    let fresh = Model { mlp, ..model.clone() };
    let all = Plan { recipe: Some(Recipe::Full), rate: 1.0, ..Plan::default() };
    let phases = all.phases(&config)?;
    let start = Start { model: fresh, teacher: None, base: None };
    prepared.start_from(start, tuning(&Tune::default(), phases, false))?;
    Ok(prepared.run()?.result)
}

/// Prints a text and a line break, unless there is nothing to be said.
pub(crate) fn say(is_quiet: bool, text: &str) -> io::Result<()> {
    if is_quiet || text.is_empty() {
        return Ok(());
    }
    match writeln!(io::stdout(), "{}", text.trim_end_matches('\n')) {
        // Whoever read the output has gone; that is no reason to lose the run.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
