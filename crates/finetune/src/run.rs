//! From the command line to a tuned model: read, swap the head, freeze, train, compare.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fireclay::model_file::is_model_file;
use fireclay::{Adapter, Architecture, Lora, Mlp, Model, ParameterPath, Provenance, Task};
use fireclay_data::{Dataset, Targets, TrainTest};
use fireclay_measure::{fitted_to, only, task_of};
use fireclay_terminal::{Exit, group, quoted, quoted_path, row, table};
use train::disk::Disk;
use train::run_files::{ADAPTER, BASE};
use train::run_folder::check_name;
use train::settings::{Layer, Settings};
use train::tuning::{Distillation, Phase, Replay, Start, Tuning};
use train::{Ended, Finished, Prepared, Rate, load_with_bar, program};

use crate::args::{Args, Baseline, Command, Tune};
use crate::forgetting::forgetting;
use crate::head::{Head, Swapped, Weights, known, swap};
use crate::import::{Options, import, rebuilt};
use crate::merge::{descendant, fits, run_import, run_merge};
use crate::pattern::Pattern;
use crate::places;
use crate::plan::{Plan, Recipe, usual};
use crate::rescale::{self, Kept};
use crate::score::scores;
use crate::words;

/// Does what the command line asks for.
///
/// # Errors
///
/// Anything that keeps it from its end; the message names what to do.
pub fn run(args: Args) -> Result<Exit> {
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
        return go_on(args, recipe);
    }
    tune(args, recipe)
}

/// Reads a model, makes it fit the data, trains what was named, and compares.
fn tune(mut args: Args, recipe: Option<Recipe>) -> Result<Ended> {
    let Some(from) = args.tune.from.clone() else {
        bail!("no starting model: pass --from FILE, or --resume RUN to continue a run");
    };
    // Read before anything is loaded: a slip is told at once.
    let mut options = args.options()?;
    // Settings alone go to standard output in a dry run.
    let is_quiet = args.train.quiet || args.train.dry_run;
    args.train.defaults = vec![usual()?];
    let again = args.train.clone();
    let tune = std::mem::take(&mut args.tune);
    let rates = group_rates(&args.train)?;
    check_scratch(&tune, &again)?;
    let mut prepared = Prepared::new(args.train, Disk::default())?;
    options.data = Some(task_of(prepared.data().train.targets()));
    let device = prepared.device();
    let teacher_is_ours = tune.teacher.as_ref().is_none_or(|teacher| is_ours(teacher));
    // What is said of files of others is said of the teacher, if the start is one of ours.
    let of_start = match is_ours(&from) && !teacher_is_ours {
        true => Options::default(),
        false => options.clone(),
    };
    let imported = import(&from, &of_start, device)?;
    let base = imported.model.clone();
    check_plain(&base, &from)?;
    say(is_quiet, &format!("{}\n{}", from.display(), words::placed(&imported)))?;
    let replay = replay(&tune, again.replay_data.clone());
    let old = match &replay {
        Some(replay) => Some(old_data(replay, &base)?),
        None => None,
    };
    let width = prepared.data().train.width();
    if !says_data(&again)? && base.features() != width {
        bail!(
            "the model takes {} features; name the data to fine-tune on with --data",
            base.features()
        );
    }
    let mut shaped = as_data(base.clone(), prepared.data(), again.dropout)?;
    let mut named = prepared.data().clone();
    if let Some((model, data)) = places::named(&shaped, &named)? {
        say(is_quiet, &words::by_place(&shaped.task, &task_of(named.train.targets())))?;
        (shaped, named) = (model, data);
    }
    let plan = plan(&tune, prepared.settings(), rates, recipe)?;
    let (swapped, mut model, phases) = planned(&shaped, &named, &tune, &plan, &prepared)?;
    let table = words::phases(model.mlp.architecture(), &phases, &plan.optimizer);
    say(is_quiet, &format!("{}\n{table}", words::head(&swapped)))?;
    say(is_quiet, &words::of_norm_biases(&plan, model.mlp.architecture()))?;
    model.provenance = descendant(imported.origin.clone(), &base.provenance);
    let teacher = match &tune.teacher {
        Some(path) => Some(teacher(path, teacher_is_ours, &options, &prepared)?),
        None => None,
    };
    let tuning = tuning(&tune, replay, phases);
    let is_needed = model.mlp.architecture().lora.is_some() || tuning.replay.is_some();
    let start = Start { model, teacher, base: is_needed.then(|| base.clone()) };
    prepared.start_from(start.clone(), tuning.clone())?;

    let data = prepared.data().clone();
    let Ended { code, result } = prepared.run()?;
    let Some(finished) = result else { return Ok(Ended { code, result: None }) };
    let scratch = match tune.baseline {
        Some(Baseline::Scratch) => {
            let fresh = from_scratch(again, &start, &tuning, &finished)?;
            let Some(scratch) = fresh.result else { return Ok(fresh) };
            Some(scratch)
        }
        None => None,
    };
    let started = match (swapped.is_same, &swapped.rescaled[..]) {
        (false, _) => "start, new head",
        (true, []) => "start",
        (true, _) => "start, new scaling",
    };
    conclude(is_quiet, &Story { started, start, tuning, data, old, scratch }, &finished)?;
    Ok(Ended { code, result: Some(finished) })
}

/// The learning rates of groups of parameters.
fn group_rates(args: &train::Args) -> Result<Vec<(Pattern, f64)>> {
    let rates = args.group_rates();
    rates.map(|(pattern, rate)| Ok((pattern.parse()?, group_rate(rate)?))).collect()
}

/// Makes sure that the run beside this one has a folder to go to.
fn check_scratch(tune: &Tune, again: &train::Args) -> Result<()> {
    let (Some(Baseline::Scratch), Some(name)) = (tune.baseline, &again.name) else {
        return Ok(());
    };
    let name = scratch(name);
    let folder = again.out.join(&name);
    let shown = quoted_path(&folder);
    check_name(&name).with_context(|| format!("--baseline scratch would train in {shown}"))?;
    if folder.exists() {
        bail!("--baseline scratch would train in {shown}, which exists already");
    }
    Ok(())
}

/// Refuses a model with adapters, beside which there is no room for others, and one of named columns,
/// which no data set has.
fn check_plain(base: &Model, from: &Path) -> Result<()> {
    base.input.require_dense()?;
    if base.mlp.architecture().lora.is_none() {
        return Ok(());
    }
    bail!(
        "this model has adapters; make it a plain one first, with `{} merge --adapter {} --to \
         merged.safetensors`",
        program(),
        quoted_path(from)
    )
}

/// The model that is learned from, for samples of the data's shape.
fn teacher(path: &Path, is_ours: bool, options: &Options, prepared: &Prepared) -> Result<Model> {
    let teacher = if is_ours {
        Model::load(path, prepared.device())?
    } else {
        import(path, options, prepared.device())?.model
    };
    as_data(teacher, prepared.data(), None).context("the teacher")
}

/// What was asked for of what is trained, and how fast.
fn plan(
    tune: &Tune,
    settings: &Settings,
    rates: Vec<(Pattern, f64)>,
    recipe: Option<Recipe>,
) -> Result<Plan> {
    Ok(Plan {
        train: tune.train.clone(),
        freeze: tune.freeze.clone(),
        rates,
        optimizer: settings.optimizer.clone(),
        decay: tune.lr_decay.map(decay).transpose()?,
        recipe,
        unfreeze_every: tune.unfreeze_every,
        epochs: settings.training.epochs,
    })
}

/// The output layer that is wanted, the model with it and its adapters, and what is trained when.
fn planned(
    shaped: &Model,
    data: &TrainTest,
    tune: &Tune,
    plan: &Plan,
    prepared: &Prepared,
) -> Result<(Swapped, Model, Vec<Phase>)> {
    let settings = prepared.settings();
    let wanted = prepared.scaled(head_task(&shaped.task, tune, data)?)?;
    let lora = tune.lora.as_ref().map(|lora| on_layers(lora, &tune.lora_on, shaped));
    let lora = lora.transpose()?;
    let outputs = wanted.outputs();
    let architecture = shaped.mlp.architecture().clone();
    let network = Architecture { outputs, lora: lora.clone(), ..architecture };
    let phases = plan.phases(&network)?;
    let weights = Weights {
        are_kept: !tune.fresh_head,
        are_trained: trains_head(&phases, &network),
        seed: settings.seed,
    };
    let swapped = new_head(shaped, wanted, tune, weights, &data.train)?;
    check_scaling(&swapped, settings)?;
    let mut model = swapped.model.clone();
    if let Some(lora) = lora {
        model.mlp = model.mlp.with_adapters(lora, settings.seed)?;
    }
    Ok((swapped, model, phases))
}

/// Refuses a scaling that was asked for where all outputs keep the one that they were trained for.
fn check_scaling(swapped: &Swapped, settings: &Settings) -> Result<()> {
    let task = &swapped.model.task;
    let is_regression = matches!(task, Task::Regression { .. });
    if is_regression && swapped.kept == task.names() && settings.data.target_scaling.is_some() {
        bail!(
            "--target-scaling is for new outputs, and these are kept with the scaling that they were \
             trained for; leave it out, or add --fresh-head"
        );
    }
    Ok(())
}

/// Goes on with a run, or repeats it.
fn go_on(args: Args, recipe: Option<Recipe>) -> Result<Ended> {
    let is_quiet = args.train.quiet;
    if recipe.is_some() || args.train.group_rates().next().is_some() {
        bail!(
            "what a run trains, and how fast, is in its settings; leave out --recipe and --lr of \
             groups"
        );
    }
    let prepared = Prepared::new(args.train, Disk::default())?;
    let start = prepared.start().cloned();
    let tuning = prepared.settings().tuning.clone();
    let data = prepared.data().clone();
    // The data may have moved since, and is read from where it is now.
    let old = match (prepared.replay(), &start) {
        (Some(replay), Some(Start { base: Some(base), .. })) => Some(old_data(&replay, base)?),
        _ => None,
    };
    let Ended { code, result } = prepared.run()?;
    if let (Some(finished), Some(start), Some(tuning)) = (&result, start, tuning) {
        let story = Story { started: "start", start, tuning, data, old, scratch: None };
        conclude(is_quiet, &story, finished)?;
    }
    Ok(Ended { code, result })
}

/// What a run that came to its end is compared with.
struct Story {
    /// What the start is called.
    started: &'static str,
    start: Start,
    tuning: Tuning,
    data: TrainTest,
    /// What the start had learned before.
    old: Option<TrainTest>,
    /// A fresh network that was trained the same way.
    scratch: Option<Finished>,
}

/// Says where the adapter is, what tuning was good for, and what was forgotten.
fn conclude(is_quiet: bool, story: &Story, finished: &Finished) -> Result<()> {
    let Story { started, start: Start { model, base, .. }, tuning, data, old, scratch } = story;
    if let (Some(base), Some(_)) = (base, &finished.model.mlp.architecture().lora) {
        say(is_quiet, &adapter(base, finished)?)?;
    }
    let all = group(model.mlp.architecture().parameters() as u64);
    let trained = group(words::trained(model.mlp.architecture(), &tuning.phases) as u64);
    let time = |finished: &Finished| format!("{:.1} s", finished.seconds);
    let mut rows = vec![
        (*started, model, String::new(), String::new()),
        ("tuned", &finished.model, format!("{trained} of {all}"), time(finished)),
    ];
    if let Some(scratch) = scratch {
        rows.push(("from scratch", &scratch.model, all, time(scratch)));
    }
    let test = fitted_to(data.clone(), &model.task)?.test;
    say(is_quiet, &compared(&rows, &test)?)?;
    if let (Some(base), Some(old), Some(replay)) = (base, old, &tuning.replay) {
        say(is_quiet, &forgetting(base, &finished.model, &replay.source, old.clone())?)?;
    }
    Ok(())
}

/// The old data that is replayed, or of which what is forgotten is told.
fn replay(tune: &Tune, data: Option<String>) -> Option<Replay> {
    let fraction = tune.replay.unwrap_or(0.0);
    let classes = tune.replay_classes.clone();
    data.map(|source| Replay { source, fraction, classes })
}

/// Reads it, before anything is trained.
fn old_data(replay: &Replay, base: &Model) -> Result<TrainTest> {
    let read = || {
        let old = only(load_with_bar(&replay.source.parse()?)?, &replay.classes)?;
        fits(base, old.train.width())?;
        Ok::<_, anyhow::Error>(old)
    };
    read().with_context(|| format!("--replay-data {}", replay.source))
}

/// Whether a file is one of Fireclay, whole or not.
pub(crate) fn is_ours(path: &Path) -> bool {
    fireclay_formats::open(path).is_ok_and(|file| is_model_file(&*file))
}

/// A model whose samples have the shape of the data's, if they are as many numbers, and whose hidden
/// layers have this rate of dropout, if there is one.
fn as_data(model: Model, data: &TrainTest, dropout: Option<f64>) -> Result<Model> {
    fits(&model, data.train.width())?;
    let mut network = model.mlp.architecture().clone();
    network.input_shape = data.train.shape().to_vec();
    if let Some(dropout) = dropout {
        network.hidden.iter_mut().for_each(|layer| layer.dropout = dropout);
    }
    network.validate()?;
    Ok(rebuilt(model, &network)?)
}

/// Whether somebody said what is learned from.
fn says_data(args: &train::Args) -> Result<bool> {
    let says =
        |layer: &Layer| layer.table.get("data").is_some_and(|data| data.get("source").is_some());
    Ok(args.layers()?.iter().any(says))
}

/// The task of the output layer that was asked for.
fn head_task(base: &Task, tune: &Tune, data: &TrainTest) -> Result<Task> {
    // Rows that are replayed have the old labels.
    let usual = if tune.replay.is_some() { Head::Both } else { Head::Data };
    let flag = if tune.head.is_some() { "--head both" } else { "--replay" };
    let head = tune.head.clone().unwrap_or(usual);
    let wanted = head.task(base, &task_of(data.train.targets()));
    if head == Head::Both { wanted.context(flag) } else { wanted }
}

/// Whether the weights of the output layer move at some time.
fn trains_head(phases: &[Phase], network: &Architecture) -> bool {
    let head = ParameterPath::Weight(network.hidden.len()).to_string();
    phases.iter().any(|phase| phase.rates.contains_key(&head))
}

/// The base with the output layer of a task. What it has by the names of the data's labels is kept,
/// unless it knows less of them than outputs of zero do and nobody asked for it.
fn new_head(
    base: &Model,
    wanted: Task,
    tune: &Tune,
    weights: Weights,
    data: &Dataset,
) -> Result<Swapped> {
    // Rows that are replayed are in the old unit.
    let may_be_rescaled = weights.are_kept && tune.replay.is_none();
    let kept = if may_be_rescaled { rescale::kept(base, &wanted, data)? } else { None };
    let may_be_left = may_be_rescaled && tune.head.is_none() && weights.are_trained;
    let losses = match &kept {
        _ if !may_be_left => None,
        Some(kept) => kept.losses,
        None => known(base, data)?,
    };
    if let Some(losses) = losses {
        // A loss that is no number is not below anything.
        let is_known = losses.model < losses.zero;
        if !is_known {
            let fresh = Weights { are_kept: false, ..weights };
            return Ok(Swapped { left: Some(losses), ..swap(base, wanted, fresh)? });
        }
    }
    match kept {
        Some(Kept { model, rescaled, .. }) => {
            Ok(Swapped { rescaled, ..swap(&model, wanted, weights)? })
        }
        None => swap(base, wanted, weights),
    }
}

/// The table of how often models are right on the same rows, or how far off they are; each with its
/// name, what was trained of it, and the time. Empty of several labels a row.
fn compared(models: &[(&str, &Model, String, String)], test: &Dataset) -> Result<String> {
    let mut rows = vec![match test.targets() {
        Targets::Classes { .. } => {
            row!["", "accuracy on the test samples, 95 % interval", "trained", "time"]
        }
        Targets::MultiLabel { .. } => return Ok(String::new()),
        Targets::Values { .. } => {
            row!["on the test samples", "rmse", "mae", "r2", "trained", "time"]
        }
    }];
    for (name, model, trained, time) in models {
        rows.push([row![name], scores(model, test)?, row![trained, time]].concat());
    }
    Ok(format!("\n{}", table(&rows)))
}

/// The adapters on the layers that are named, by default all below the output.
fn on_layers(lora: &Lora, patterns: &[Pattern], model: &Model) -> Result<Lora> {
    let model = model.mlp.architecture();
    let last = model.hidden.len();
    let mut layers: Vec<usize> = Vec::new();
    for pattern in patterns {
        let paths = pattern.paths(model)?;
        let weights = paths.into_iter().filter(|path| matches!(path, ParameterPath::Weight(_)));
        let named: Vec<usize> = weights.map(ParameterPath::layer).collect();
        if named.is_empty() {
            bail!(
                "--lora-on {pattern}: it names no weights of a layer, which adapters stand beside"
            );
        }
        layers.extend(named);
    }
    if patterns.is_empty() {
        layers = (0..last).collect();
    }
    if layers.is_empty() {
        bail!("no layer is left for an adapter: name some with --lora-on");
    }
    layers.sort_unstable();
    layers.dedup();
    check_rank(lora.rank, &layers, model)?;
    Ok(Lora { layers, ..lora.clone() })
}

/// Refuses a rank that is larger than any of these layers can use: with it an adapter has more
/// numbers than the weights beside it, and says no more than they do.
fn check_rank(rank: usize, layers: &[usize], network: &Architecture) -> Result<()> {
    let sizes = network.layer_sizes();
    let useful = |&layer: &usize| sizes.get(layer).map(|[inputs, outputs]| *inputs.min(outputs));
    let most = layers.iter().filter_map(useful).max().unwrap_or(0);
    if rank <= most {
        return Ok(());
    }
    bail!(
        "--lora rank={rank}: the rank of these layers' weights is at most {most}; give rank={most} \
         or less"
    )
}

/// The learning rate of a group, which must be one.
fn group_rate(rate: &Rate) -> Result<f64> {
    if rate.value > 0.0 && rate.value.is_finite() {
        return Ok(rate.value);
    }
    bail!("--lr {}: a learning rate must be a number above 0", quoted(&rate.typed))
}

fn decay(factor: f64) -> Result<f64> {
    if factor > 0.0 && factor <= 1.0 {
        return Ok(factor);
    }
    bail!("--lr-decay is {factor}; it must be above 0 and at most 1")
}

fn tuning(tune: &Tune, replay: Option<Replay>, phases: Vec<Phase>) -> Tuning {
    let Tune { temperature, alpha, .. } = *tune;
    let learns = |_| Distillation { teacher: String::new(), temperature, alpha };
    Tuning {
        start: String::new(),
        l2_sp: tune.l2_sp.unwrap_or(0.0),
        keep_statistics: tune.keep_statistics,
        distillation: tune.teacher.as_ref().map(learns),
        replay,
        phases,
    }
}

/// What the adapter is, and what can be done with it.
fn adapter(base: &Model, finished: &Finished) -> Result<String> {
    let adapter = Adapter::between(&base.to_host()?, &finished.model.to_host()?)?;
    Ok(format!(
        "\nThe adapter, {} numbers, is in:\n  {path}\n\
         Use it with its base as they are, or make one plain model of both, with:\n  \
         fireclay predict {base} INPUT --adapter {path}\n  \
         {program} merge --base {base} --adapter {path} --to merged.safetensors",
        group(adapter.parameters() as u64),
        program = program(),
        path = quoted_path(&finished.folder.join(ADAPTER)),
        base = quoted_path(&finished.folder.join(BASE)),
    ))
}

/// The name of the run beside one of this name.
fn scratch(name: &str) -> String {
    format!("{name}-scratch")
}

/// Trains a fresh network of the same kind on the same rows, in a folder of its own.
fn from_scratch(
    mut args: train::Args,
    start: &Start,
    tuning: &Tuning,
    finished: &Finished,
) -> Result<Ended> {
    let name = finished.folder.file_name().map(|name| name.to_string_lossy().into_owned());
    args.name = name.map(|name| scratch(&name));
    args.quiet = true;
    args.tui = false;
    args.profile = false;
    let mut prepared = Prepared::new(args, Disk::default())?;
    let network = Architecture { lora: None, ..start.model.mlp.architecture().clone() };
    let found = task_of(prepared.data().train.targets());
    if tuning.replay.is_none() && start.model.task.names() == found.names() {
        prepared.learn(&network);
        return prepared.run();
    }
    let mlp = Mlp::of(&network, prepared.settings().seed, prepared.device())?;
    let program = Provenance::PROGRAM.to_owned();
    let provenance = Provenance { program, ..Provenance::default() };
    // Rows of two data sets are in one scaling, which is the start's.
    let task = match tuning.replay {
        Some(_) => start.model.task.clone(),
        None => prepared.scaled(start.model.task.clone())?,
    };
    let model = Model { mlp, task, provenance, ..start.model.clone() };
    let all = Plan { recipe: Some(Recipe::Full), ..Plan::default() };
    let phases = all.phases(&network)?;
    let tuning =
        Tuning { l2_sp: 0.0, keep_statistics: false, distillation: None, phases, ..tuning.clone() };
    // What it learned before is nothing.
    let base = tuning.replay.is_some().then(|| model.clone());
    prepared.start_from(Start { model, teacher: None, base }, tuning)?;
    prepared.run()
}

/// Prints a text and a line break, unless there is nothing to be said.
pub(crate) fn say(is_quiet: bool, text: &str) -> io::Result<()> {
    if is_quiet || text.is_empty() { Ok(()) } else { fireclay_terminal::say(text) }
}
