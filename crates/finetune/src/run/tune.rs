//! From the command line to a tuned model: read, swap the head, freeze, train, compare.

use std::collections::BTreeSet;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fireclay::{Adapter, Architecture, Mlp, MlpConfig, Model, ParameterPath, Provenance, Task};
use fireclay_data::{Dataset, Targets, TrainTest};
use fireclay_measure::{fitted_to, only, task_of};
use fireclay_terminal::{Program, counted, group, quoted, quoted_path, row, table};
use train::disk::Disk;
use train::progress::Silent;
use train::run_files::{ADAPTER, BASE};
use train::run_folder::check_name;
use train::settings::{DataSettings, PreprocessingChoice, Settings, TargetScalingChoice};
use train::tuning::{Baseline, Distillation, Phase, Replay, Start, Tuning};
use train::{Changes, Ended, Finished, Prepared, Rate, RunOptions, carry_out, load_with_bar};

use super::adapters::on_layers;
use super::forgetting::forgetting;
use super::{descendant, fits, is_ours, say, text};
use crate::args::{Args, Tune};
use crate::head::{Head, Swapped, Weights, known, swap};
use crate::import::{Imported, Options, import, rebuilt};
use crate::pattern::Pattern;
use crate::places;
use crate::plan::{Plan, Strategy, usual};
use crate::rescale::{self, Kept};
use crate::score::scores;

/// Reads a model, makes it fit the data, trains what was named, and compares.
pub(super) fn tune(args: &Args, program: Program) -> Result<Ended> {
    let Some(from) = &args.tune.from else {
        bail!("no starting model: pass --from FILE, or --resume RUN to continue a run");
    };
    if args.table.folds.is_some() {
        bail!("--folds trains fresh networks, with `train`; remove it");
    }
    // Read before anything is loaded, so that a mistake is reported at once.
    let mut reading = args.options()?;
    let settings = Settings::merged(&args.parts(vec![usual()?])?)?;
    args.training.check(&settings)?;
    let rates = group_rates(&args.lr)?;
    let options = run_options(args, program)?;
    check_scratch(&args.tune, &options)?;
    // Settings alone go to standard output in a dry run.
    let is_quiet = args.output.quiet || args.output.dry_run;
    let mut prepared = Prepared::new(settings, options.clone())?;
    reading.data = Some(task_of(prepared.data().train.targets()));

    let read = Read::new(args, from, &reading, &options.program, &mut prepared)?;
    say(is_quiet, &format!("{}\n{}", from.display(), text::placed(&read.imported)))?;
    let base = &read.imported.model;
    let (shaped, named) = read.fitted(args, &prepared, is_quiet)?;
    let plan = plan(&args.tune, prepared.settings(), rates)?;
    let (swapped, mut model, phases) = planned(&shaped, &named, &args.tune, &plan, &prepared)?;
    let network = model.mlp.architecture();
    let table = text::phases(network, &phases, &plan.optimizer);
    say(is_quiet, &format!("{}\n{table}", text::head(&swapped)))?;
    say(is_quiet, &text::of_norm_biases(&plan, network))?;
    model.provenance = descendant(read.imported.origin.clone(), &base.provenance);
    let tuning = tuning(args, phases);
    let is_needed = model.mlp.architecture().lora.is_some() || tuning.replay.is_some();
    let teacher = read.teacher.map(|teacher| in_order_of(&model.task, teacher)).transpose()?;
    let start = Start { model, teacher, base: is_needed.then(|| base.clone()) };
    prepared.start_from(start, tuning)?;
    finish(args, prepared, swapped.name_of_start(), read.old)
}

/// How the run is carried out.
fn run_options(args: &Args, program: Program) -> Result<RunOptions> {
    let mut options = args.output.options(&args.resuming, program, Disk::default())?;
    options.settings_folder = args.settings.folder(&args.data);
    Ok(options)
}

/// What is read before anything is trained.
struct Read {
    /// The model to start from.
    imported: Imported,
    teacher: Option<Model>,
    /// What the model had learned before.
    old: Option<TrainTest>,
}

impl Read {
    fn new(
        args: &Args,
        from: &Path,
        reading: &Options,
        program: &str,
        prepared: &mut Prepared,
    ) -> Result<Self> {
        let teacher = args.tune.teacher.as_deref();
        let is_teacher_ours = teacher.is_none_or(is_ours);
        // If the start is a Fireclay model, the options for foreign files apply to the teacher.
        let of_start =
            if is_ours(from) && !is_teacher_ours { Options::default() } else { reading.clone() };
        let imported = import(from, &of_start, prepared.device())?;
        check_plain(&imported.model, from, program)?;
        prepared.encode_for(&imported.model.input)?;
        if prepared.data().table.is_none() {
            imported.model.input.require_dense()?;
        }
        let replay = replay(args);
        let old = replay.map(|replay| old_data(&replay, &imported.model)).transpose()?;
        let teacher = match teacher {
            Some(path) if is_teacher_ours => Some(Model::load(path, prepared.device())?),
            Some(path) => Some(import(path, reading, prepared.device())?.model),
            None => None,
        };
        Ok(Self {
            imported,
            teacher: teacher
                .map(|teacher| as_data(teacher, prepared.data(), None).context("the teacher"))
                .transpose()?,
            old,
        })
    }

    /// The model for samples like those of the data, and both with the same names of outputs, where
    /// one side has only numbers.
    fn fitted(
        &self,
        args: &Args,
        prepared: &Prepared,
        is_quiet: bool,
    ) -> Result<(Model, TrainTest)> {
        let (base, data) = (&self.imported.model, prepared.data());
        if base.features() != data.train.width() && !names_data(args)? {
            bail!(
                "the model takes {}; name the data to fine-tune on with --data",
                counted(base.features() as u64, "feature")
            );
        }
        let shaped = as_data(base.clone(), data, args.tune.dropout)?;
        match places::named(&shaped, data)? {
            Some(renamed) => {
                let found = task_of(data.train.targets());
                say(is_quiet, &text::by_place(&shaped.task, &found))?;
                Ok(renamed)
            }
            None => Ok((shaped, data.clone())),
        }
    }
}

/// A teacher with its outputs in the order of a task, if it has the same by name.
fn in_order_of(task: &Task, teacher: Model) -> Result<Model> {
    let [found, wanted] = [teacher.task.names(), task.names()].map(BTreeSet::from_iter);
    if teacher.task.kind() != task.kind() || found != wanted {
        return Ok(teacher);
    }
    let as_it_is = Weights { are_kept: true, are_trained: false, seed: 0 };
    Ok(swap(&teacher, task.clone(), as_it_is)?.model)
}

/// Whether somebody named the data.
fn names_data(args: &Args) -> Result<bool> {
    let parts = args.parts(Vec::new())?;
    Ok(parts
        .iter()
        .any(|part| part.table.get("data").is_some_and(|data| data.get("source").is_some())))
}

/// The learning rates of groups of parameters.
fn group_rates(rates: &[Rate]) -> Result<Vec<(Pattern, f64)>> {
    let rates = Rate::of_groups(rates);
    rates.map(|(pattern, rate)| Ok((pattern.parse()?, group_rate(rate)?))).collect()
}

/// Makes sure that the run beside this one has a folder to go to.
fn check_scratch(tune: &Tune, options: &RunOptions) -> Result<()> {
    let (Some(Baseline::Scratch), Some(name)) = (tune.baseline, &options.name) else {
        return Ok(());
    };
    let name = scratch(name);
    let folder = options.out.join(&name);
    let shown = quoted_path(&folder);
    check_name(&name).with_context(|| format!("--baseline scratch would train in {shown}"))?;
    if folder.exists() {
        bail!("--baseline scratch would train in {shown}, which exists already");
    }
    Ok(())
}

/// Refuses a model with adapters, beside which there is no room for others.
fn check_plain(base: &Model, from: &Path, program: &str) -> Result<()> {
    if base.mlp.architecture().lora.is_none() {
        return Ok(());
    }
    bail!(
        "this model has adapters; make it a plain one first, with `{program} merge --adapter {} --to \
         merged.safetensors`",
        quoted_path(from)
    )
}

/// What was asked for of what is trained, and how fast.
fn plan(tune: &Tune, settings: &Settings, rates: Vec<(Pattern, f64)>) -> Result<Plan> {
    Ok(Plan {
        train: tune.train.clone(),
        freeze: tune.freeze.clone(),
        rates,
        optimizer: settings.optimizer.clone(),
        decay: tune.lr_decay.map(decay).transpose()?,
        strategy: tune.strategy,
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
    let DataSettings { target_scaling, target_transform, .. } = &settings.data;
    let is_asked = target_scaling.is_some() || target_transform.is_some();
    if is_regression && swapped.kept == task.names() && is_asked {
        bail!(
            "--target-scaling and --target-transform are for new outputs, and these are kept with the \
             scaling that they were trained for; leave them out, or add --fresh-head"
        );
    }
    Ok(())
}

/// Resumes a run.
pub(super) fn resume(args: &Args, run: &str, program: Program) -> Result<Ended> {
    let changes = changes(args)?;
    finish_found(args, Prepared::resume(run, &changes, run_options(args, program)?)?)
}

/// Repeats a run.
pub(super) fn repeat(args: &Args, run: &str, program: Program) -> Result<Ended> {
    let changes = changes(args)?;
    finish_found(args, Prepared::repeat(run, &changes, run_options(args, program)?)?)
}

/// What a resumed or repeated run takes from the command line.
fn changes(args: &Args) -> Result<Changes> {
    if Rate::of_groups(&args.lr).next().is_some() {
        bail!("the learning rates of a run are in its settings; leave out --lr of groups");
    }
    let (data, replay_data) = (args.data.source.clone(), args.replay_data.clone());
    Ok(Changes { settings: args.parts(Vec::new())?, data, replay_data })
}

/// Trains a run from an existing folder to its end, and compares.
fn finish_found(args: &Args, prepared: Prepared) -> Result<Ended> {
    // The data may have moved since, and is read from where it is now.
    let old = match (prepared.replay(), prepared.start()) {
        (Some(replay), Some(Start { base: Some(base), .. })) => Some(old_data(&replay, base)?),
        _ => None,
    };
    finish(args, prepared, "start", old)
}

/// Trains to the end, and compares with the start, which the table calls `started`, and with the
/// baseline; `old` is what the start had learned before.
fn finish(
    args: &Args,
    prepared: Prepared,
    started: &'static str,
    old: Option<TrainTest>,
) -> Result<Ended> {
    let (options, settings) = (prepared.options().clone(), prepared.settings().clone());
    let (start, data) = (prepared.start().cloned(), prepared.data().clone());
    let Ended { code, result } =
        carry_out(prepared, &args.output, args.table.write_schema.as_deref())?;
    let (Some(finished), Some(start), Some(tuning)) = (&result, start, &settings.tuning) else {
        return Ok(Ended { code, result });
    };
    let scratch = match tuning.baseline {
        Some(Baseline::Scratch) => {
            let fresh = from_scratch(&settings, options.clone(), &start, tuning, finished)?;
            let Some(scratch) = fresh.result else { return Ok(fresh) };
            Some(scratch)
        }
        None => None,
    };
    let (tuning, program) = (tuning.clone(), options.program);
    let story = Story { started, start, tuning, data, old, scratch, program };
    conclude(args.output.quiet, &story, finished)?;
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
    /// Command that messages tell people to type.
    program: String,
}

/// Says where the adapter is, what tuning was good for, and what was forgotten.
fn conclude(is_quiet: bool, story: &Story, finished: &Finished) -> Result<()> {
    let Story { started, start: Start { model, base, .. }, tuning, data, old, scratch, program } =
        story;
    if let (Some(base), Some(_)) = (base, &finished.model.mlp.architecture().lora) {
        say(is_quiet, &adapter(base, finished, program)?)?;
    }
    let all = group(model.mlp.architecture().parameters() as u64);
    let trained = group(text::trained(model.mlp.architecture(), &tuning.phases) as u64);
    let mut rows = vec![
        (*started, model, String::new(), String::new()),
        ("tuned", &finished.model, format!("{trained} of {all}"), time(finished.seconds)),
    ];
    if let Some(scratch) = scratch {
        rows.push(("from scratch", &scratch.model, all, time(scratch.seconds)));
    }
    let test = fitted_to(data.clone(), &model.task)?.test;
    say(is_quiet, &compared(&rows, &test)?)?;
    if let (Some(base), Some(old), Some(replay)) = (base, old, &tuning.replay) {
        say(is_quiet, &forgetting(base, &finished.model, &replay.source, old.clone())?)?;
    }
    Ok(())
}

/// Seconds, in the table of models.
fn time(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

/// The old data: rows to replay, or only rows on which forgetting is measured.
fn replay(args: &Args) -> Option<Replay> {
    let fraction = args.tune.replay.unwrap_or(0.0);
    let classes = args.tune.replay_classes.clone();
    args.replay_data.clone().map(|source| Replay { source, fraction, classes })
}

/// Reads it, before anything is trained.
fn old_data(replay: &Replay, base: &Model) -> Result<TrainTest> {
    rows_to_replay(replay, base).with_context(|| format!("--replay-data {}", replay.source))
}

fn rows_to_replay(replay: &Replay, base: &Model) -> Result<TrainTest> {
    let old = only(load_with_bar(&replay.source.parse()?)?, &replay.classes)?;
    fits(base, &old.train)?;
    Ok(old)
}

/// A model whose samples have the shape of the data's, if they are as many numbers, and whose hidden
/// layers have this rate of dropout, if there is one.
fn as_data(model: Model, data: &TrainTest, dropout: Option<f64>) -> Result<Model> {
    fits(&model, &data.train)?;
    let mut network = model.mlp.architecture().clone();
    network.input_shape = data.train.shape().to_vec();
    if let Some(dropout) = dropout {
        network.hidden.iter_mut().for_each(|layer| layer.dropout = dropout);
    }
    network.validate()?;
    Ok(rebuilt(model, &network)?)
}

/// The task of the output layer that was asked for.
fn head_task(base: &Task, tune: &Tune, data: &TrainTest) -> Result<Task> {
    // Rows that are replayed have the old labels.
    let usual = if tune.replay.is_some() { Head::Both } else { Head::Data };
    let flag = if tune.head.is_some() { "--head both" } else { "--replay" };
    let head = tune.head.clone().unwrap_or(usual);
    let wanted = head.task(base, &task_of(data.train.targets()));
    if head == Head::Both { wanted.context(flag) } else { Ok(wanted?) }
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
        None => Ok(swap(base, wanted, weights)?),
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

fn tuning(args: &Args, phases: Vec<Phase>) -> Tuning {
    let Args { tune, .. } = args;
    let Tune { temperature, alpha, .. } = *tune;
    Tuning {
        start: String::new(),
        l2_sp: tune.l2_sp.unwrap_or(0.0),
        keep_statistics: tune.keep_statistics,
        distillation: tune.teacher.as_ref().map(|_| Distillation {
            teacher: String::new(),
            temperature,
            alpha,
        }),
        replay: replay(args),
        baseline: tune.baseline,
        phases,
    }
}

/// What the adapter is, and what can be done with it.
fn adapter(base: &Model, finished: &Finished, program: &str) -> Result<String> {
    let adapter = Adapter::between(&base.to_host()?, &finished.model.to_host()?)?;
    Ok(format!(
        "\nThe adapter, {}, is in:\n  {path}\n\
         Use it with its base as they are, or make one plain model of both, with:\n  \
         fireclay predict {base} INPUT --adapter {path}\n  \
         {program} merge --base {base} --adapter {path} --to merged.safetensors",
        counted(adapter.parameters() as u64, "number"),
        path = quoted_path(&finished.folder.join(ADAPTER)),
        base = quoted_path(&finished.folder.join(BASE)),
    ))
}

/// The name of the run beside one of this name.
fn scratch(name: &str) -> String {
    format!("{name}-scratch")
}

/// The settings of a fresh network that learns from the same rows as a tuned one, in the same way.
fn settings_from_scratch(settings: &Settings, start: &Task) -> Settings {
    let target_scaling = match start {
        Task::Regression { scaling: None, .. } => Some(TargetScalingChoice::None),
        _ => None,
    };
    let preprocessing = PreprocessingChoice::default();
    let data = DataSettings { preprocessing, target_scaling, ..settings.data.clone() };
    Settings { data, model: MlpConfig::default(), tuning: None, ..settings.clone() }
}

/// The first free name of a run beside a finished one; a run that is resumed for more epochs has a
/// baseline of fewer.
fn free_name(out: &Path, finished: &Path) -> Option<String> {
    let first = scratch(&finished.file_name()?.to_string_lossy());
    let more = (2..).map(|number| format!("{first}-{number}"));
    iter::once(first.clone()).chain(more).find(|name| !out.join(name).exists())
}

/// Trains a fresh network of the same kind on the same rows, in a folder of its own.
fn from_scratch(
    settings: &Settings,
    mut options: RunOptions,
    start: &Start,
    tuning: &Tuning,
    finished: &Finished,
) -> Result<Ended> {
    let settings = settings_from_scratch(settings, &start.model.task);
    if let Some(out) = finished.folder.parent() {
        options.out = out.to_owned();
    }
    options.name = free_name(&options.out, &finished.folder);
    options.console = Arc::new(Silent);
    let mut prepared = Prepared::new(settings, options)?;
    let network = Architecture { lora: None, ..start.model.mlp.architecture().clone() };
    let found = task_of(prepared.data().train.targets());
    if tuning.replay.is_none() && start.model.task.names() == found.names() {
        prepared.learn(&network);
        return Ok(prepared.run()?.into());
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
    let all = Plan { strategy: Some(Strategy::Full), ..Plan::default() };
    let phases = all.phases(&network)?;
    let replay = tuning.replay.clone();
    let tuning = Tuning { replay, phases, ..Tuning::default() };
    // What it learned before is nothing.
    let base = tuning.replay.is_some().then(|| model.clone());
    prepared.start_from(Start { model, teacher: None, base }, tuning)?;
    Ok(prepared.run()?.into())
}
