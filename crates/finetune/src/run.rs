//! From the command line to a tuned model: read, swap the head, freeze, train, compare.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fireclay::{Ancestor, Lora, MlpConfig, Model, Task};
use fireclay_data::TrainTest;
use train::disk::Disk;
use train::tuning::{Distillation, Phase, Replay, Start, Tuning};
use train::{Ended, Finished, Prepared, fitted_to, group, load_with_bar, only, task};

use crate::adapter::Adapter;
use crate::args::{Args, Baseline, Command, Tune};
use crate::head::{Head, Swapped, swap};
use crate::import::{Fate, Imported, import};
use crate::merge::{descendant, fits, run_import, run_merge};
use crate::pattern::Pattern;
use crate::plan::{Plan, Recipe};
use crate::score::accuracy;
use crate::table::{row, table};

/// Does what the command line asks for.
///
/// # Errors
///
/// Anything that keeps it from its end; the message names what to do.
pub fn run(mut args: Args) -> Result<ExitCode> {
    match &args.command {
        Some(Command::Import(import)) => return run_import(import),
        Some(Command::Merge(merge)) => return run_merge(merge),
        None => {}
    }
    let recipe = args.take_recipe()?;
    if args.train.list_backends || args.train.resume.is_some() || args.train.repeat.is_some() {
        return go_on(args);
    }
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
    say(is_quiet, &format!("{}\n{}", from.display(), say_placed(&imported)))?;
    let base = base(&imported, prepared.data())?;
    let swapped = new_head(&base, &tune, prepared.data(), prepared.settings().seed)?;
    say(is_quiet, &say_head(&swapped))?;
    let mut model = swapped.model;
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
    say(is_quiet, &say_phases(model.mlp.config(), &phases, plan.rate))?;
    model.provenance = descendant(imported.origin.clone(), &base.provenance);
    let teacher = match &tune.teacher {
        Some(path) => {
            let teacher = import(path, &options, prepared.device())?;
            let teacher = with_shape(teacher.model, prepared.data())?;
            Some(teacher)
        }
        None => None,
    };
    let tuning = tuning(&tune, phases, teacher.is_some());
    let has_adapters = model.mlp.config().lora.is_some();
    let start = Start { model: model.clone(), teacher, base: has_adapters.then(|| base.clone()) };
    prepared.start_from(start, tuning)?;

    let data = prepared.data().clone();
    let Ended { code, result } = prepared.run()?;
    let Some(finished) = result else { return Ok(code) };
    if has_adapters {
        say(is_quiet, &save_adapter(&base, &finished)?)?;
    }
    let mut rows = vec![row!["", "accuracy on the test samples, 95 % interval", "trained", "time"]];
    let test = fitted_to(data, &model.task)?.test;
    let all = model.mlp.config().parameters();
    if let Some(found) = accuracy(&model, &test)? {
        let head = if swapped.is_same { "" } else { ", new head" };
        rows.push(row![format!("start{head}"), found, "", ""]);
    }
    if let Some(found) = accuracy(&finished.model, &test)? {
        let trained = trained(model.mlp.config(), &plan.phases(model.mlp.config())?);
        let trained = format!("{} of {}", group(trained as u64), group(all as u64));
        rows.push(row!["tuned", found, trained, format!("{:.1} s", finished.seconds)]);
    }
    if tune.baseline == Some(Baseline::Scratch) {
        let scratch = from_scratch(again, &model, &finished)?;
        if let Some(scratch) = &scratch
            && let Some(found) = accuracy(&scratch.model, &test)?
        {
            let all = group(scratch.model.mlp.config().parameters() as u64);
            rows.push(row!["from scratch", found, all, format!("{:.1} s", scratch.seconds)]);
        }
    }
    if rows.len() > 1 {
        say(is_quiet, &format!("\n{}", table(&rows)))?;
    }
    if let Some(source) = &tune.replay_data {
        let old = only(load_with_bar(&source.parse()?)?, &tune.replay_classes)?;
        say(is_quiet, &forgetting(&base, &finished.model, source, old)?)?;
    }
    Ok(code)
}

/// Goes on with a run, or repeats it.
fn go_on(args: Args) -> Result<ExitCode> {
    let is_quiet = args.train.quiet;
    if args.train.list_backends {
        return train::run(args.train);
    }
    if args.tune.from.is_some() {
        bail!("a run that goes on starts from what it started from; leave out --from");
    }
    let prepared = Prepared::new(args.train, Disk::default())?;
    let start = prepared.start().cloned();
    let data = prepared.data().clone();
    let Ended { code, result } = prepared.run()?;
    if let (Some(finished), Some(Start { model: start, base, .. })) = (result, start) {
        let test = fitted_to(data, &start.task)?.test;
        if let (Some(before), Some(after)) =
            (accuracy(&start, &test)?, accuracy(&finished.model, &test)?)
        {
            let rows = [
                row!["", "accuracy on the test samples, 95 % interval"],
                row!["start", before],
                row!["tuned", after],
            ];
            say(is_quiet, &format!("\n{}", table(&rows)))?;
        }
        if let Some(base) = base {
            say(is_quiet, &save_adapter(&base, &finished)?)?;
        }
    }
    Ok(code)
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
fn with_shape(mut model: Model, data: &TrainTest) -> Result<Model> {
    fits(&model, data.train.width())?;
    if model.mlp.config().input_shape != data.train.shape() {
        let config =
            MlpConfig { input_shape: data.train.shape().to_vec(), ..model.mlp.config().clone() };
        let tensors = model.mlp.tensors()?;
        model.mlp = fireclay::Mlp::from_tensors(&config, &model.device(), |name, _| {
            let found = tensors.iter().find(|tensor| tensor.name == name);
            found.map(|t| t.values.clone()).with_context(|| format!("{name} is missing"))
        })?;
    }
    Ok(model)
}

/// The base with the output layer that was asked for.
fn new_head(base: &Model, tune: &Tune, data: &TrainTest, seed: u64) -> Result<Swapped> {
    let wanted = task(data.train.targets());
    // Rows that are replayed have the old labels.
    let usual = if tune.replay.is_some() { Head::Both } else { Head::Data };
    let head = tune.head.clone().unwrap_or(usual);
    swap(base, head.task(&base.task, &wanted)?, tune.fresh_head, seed)
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

/// How well the old task is done before and after.
///
/// If the tuned model no longer has the old labels, the old output layer is put on its body.
fn forgetting(base: &Model, tuned: &Model, source: &str, old: TrainTest) -> Result<String> {
    if !matches!(base.task, Task::Classification { .. }) {
        return Ok(String::new());
    }
    let known = |label: &&String| base.task.names().contains(label);
    let labels: Vec<String> =
        task(old.train.targets()).names().iter().filter(known).cloned().collect();
    if labels.is_empty() {
        return Ok(format!(
            "{source} has no label that the start knew, so nothing was forgotten\n"
        ));
    }
    let old = only(old, &labels)?;
    let before = fitted_to(old.clone(), &base.task)?.test;
    let has_labels =
        task(old.train.targets()).names().iter().all(|l| tuned.task.names().contains(l));
    let (after, model, how) = if has_labels {
        (fitted_to(old, &tuned.task)?.test, tuned.clone(), "")
    } else {
        let body = swap_back(base, tuned)?;
        (before.clone(), body, ", with the old head on the tuned body")
    };
    let (Some(was), Some(is)) = (accuracy(base, &before)?, accuracy(&model, &after)?) else {
        return Ok(String::new());
    };
    let rows = [
        row![format!("the old task, {source}"), "accuracy on its test samples, 95 % interval"],
        row!["before", was],
        row![format!("after{how}"), is],
    ];
    Ok(table(&rows))
}

/// The tuned network with the base's output layer.
fn swap_back(base: &Model, tuned: &Model) -> Result<Model> {
    let merged = tuned.mlp.clone().merged();
    let config = MlpConfig { outputs: base.task.outputs(), ..merged.config().clone() };
    let head = format!("layers.{}.", merged.layers.len() - 1);
    let (body, old) = (merged.tensors()?, base.mlp.tensors()?);
    let mlp = fireclay::Mlp::from_tensors(&config, &tuned.device(), |name, _| {
        let from = if name.starts_with(&head) { &old } else { &body };
        let found = from.iter().find(|tensor| tensor.name == name);
        found.map(|t| t.values.clone()).with_context(|| format!("{name} is missing"))
    })?;
    Ok(Model { mlp, ..base.clone() })
}

/// The table of what became of each tensor of a file, and what else there is to say.
pub(crate) fn say_placed(imported: &Imported) -> String {
    let Imported { placed, notes, origin, .. } = imported;
    let mut rows = vec![row!["tensor", "shape", "type", "goes to", "how"]];
    for tensor in placed {
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        let (path, how) = match &tensor.fate {
            Fate::Used { path, change } => (path.as_str(), change.as_str()),
            Fate::Skipped(why) => ("-", why.as_str()),
        };
        rows.push(row![tensor.name, shape.join("x"), tensor.dtype, path, how]);
    }
    let Ancestor { program, digest, .. } = origin;
    let mut text = format!("{program}, {}\n{}", digest.get(..19).unwrap_or(digest), table(&rows));
    for note in notes {
        text += &format!("note: {note}\n");
    }
    text
}

fn say_head(swapped: &Swapped) -> String {
    let task: &Task = &swapped.model.task;
    if swapped.is_same {
        return format!("The head is kept: {}", listed(task.names()));
    }
    let kept = match &swapped.kept[..] {
        [] => "all drawn anew".to_owned(),
        kept => format!("weights kept of {}", listed(kept)),
    };
    format!("A new head: {}; {kept}", listed(task.names()))
}

/// The first names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Parameters that are trained at some time.
fn trained(model: &MlpConfig, phases: &[Phase]) -> usize {
    let is_trained = |path: &String| phases.iter().any(|phase| phase.rates.contains_key(path));
    let trained = model.trainable().into_iter().filter(|(path, _)| is_trained(path));
    trained.map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

/// The table of what is trained, and how fast.
fn say_phases(model: &MlpConfig, phases: &[Phase], rate: f64) -> String {
    let mut heading = row!["parameter", "shape", "numbers"];
    let mut first = 1;
    for phase in phases {
        heading.push(match phases.len() {
            1 => "learning rate".to_owned(),
            _ => format!("from epoch {first}"),
        });
        first += phase.epochs;
    }
    let mut rows = vec![heading];
    for (path, shape) in model.trainable() {
        let count: usize = shape.iter().product();
        let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let mut cells = row![path, shape.join("x"), group(count as u64)];
        cells.extend(phases.iter().map(|phase| match phase.rates.get(&path) {
            Some(factor) => format!("{:e}", round(factor * rate)),
            None => "frozen".to_owned(),
        }));
        rows.push(cells);
    }
    let (trained, all) = (trained(model, phases), model.parameters());
    format!(
        "{}  {} of {} parameters are trained ({:.2} %)\n",
        table(&rows),
        group(trained as u64),
        group(all as u64),
        100.0 * trained as f64 / all as f64
    )
}

/// To six digits, so that a product reads as it is meant.
fn round(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

fn say(is_quiet: bool, text: &str) -> io::Result<()> {
    if is_quiet || text.is_empty() {
        return Ok(());
    }
    match writeln!(io::stdout(), "{}", text.trim_end_matches('\n')) {
        // Whoever read the output has gone; that is no reason to lose the run.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
