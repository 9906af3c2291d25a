//! From a command line to a run that is ready to start: settings, device, data.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fireclay::{Device, Task};
use fireclay_data::{LoadOptions, Source, Split, Targets, TrainTest, load, permutation, split};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::LevelFilter;

use super::{Ended, Run};
use crate::args::Args;
use crate::checkpoints::Every;
use crate::disk::Disk;
use crate::manifest::DataSummary;
use crate::resume::{self, Found};
use crate::settings::{DataSettings, OnDivergence, PreprocessingChoice, Settings};
use crate::tuning::{Replay, Start, Tuning, is_teacher_of};

/// A run whose settings and data are known, before anything is trained or written.
pub struct Prepared {
    args: Args,
    disk: Disk,
    found: Option<Found>,
    pace: Vec<Every>,
    settings: Settings,
    source: Source,
    device: Device,
    data: TrainTest,
    start: Option<Start>,
}

impl Prepared {
    /// Reads settings, data and, for a run that goes on or is repeated, the models that it starts
    /// from.
    ///
    /// # Errors
    ///
    /// Anything that keeps the run from beginning.
    pub fn new(args: Args, disk: Disk) -> Result<Self> {
        let found = resume::find(&args, &disk)?;
        let settings = match &found {
            Some(found) => found.settings(&args)?,
            None => Settings::from_layers(&args.layers()?)?,
        };
        settings.validate()?;
        let before = found.as_ref().map(|found| found.pace(&disk)).unwrap_or_default();
        let pace = args.pace(&before);
        if args.deterministic {
            check_deterministic(&settings, &pace)?;
        }
        let source = settings.data.source()?;
        let device = settings.backend.device(settings.device)?;
        let start = match (&settings.tuning, &found) {
            (Some(tuning), Some(found)) => Some(Start::load(tuning, found.folder(), &device)?),
            (Some(_), None) => bail!(
                "these settings are of a run that starts from another model; go on with it by \
                 --resume, do it again by --repeat, or start another one with `finetune`"
            ),
            (None, _) => None,
        };
        let data = only(load_with_bar(&source)?, &settings.data.classes)?;
        Ok(Self { args, disk, found, pace, settings, source, device, data, start })
    }

    /// Whether it goes on with, or repeats, a run that is there already.
    pub fn is_found(&self) -> bool {
        self.found.is_some()
    }

    /// What the run is determined by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it learns from.
    pub fn data(&self) -> &TrainTest {
        &self.data
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The models that it starts from, if not from a fresh network.
    pub fn start(&self) -> Option<&Start> {
        self.start.as_ref()
    }

    /// Makes it start from these models instead of a fresh network.
    ///
    /// # Errors
    ///
    /// A device that can not be read.
    pub fn start_from(&mut self, start: Start, tuning: Tuning) -> Result<()> {
        self.settings.model = start.model.mlp.config().clone();
        self.settings.data.preprocessing = PreprocessingChoice::Model;
        self.settings.tuning = Some(start.signed(tuning)?);
        self.start = Some(start);
        Ok(())
    }

    /// Trains, tests and writes.
    ///
    /// # Errors
    ///
    /// Anything that keeps the run from its end.
    pub fn run(self) -> Result<Ended> {
        let Self { args, disk, found, pace, mut settings, source, device, mut data, start } = self;
        let task = match &start {
            Some(start) => start.model.task.clone(),
            None => task(data.train.targets()),
        };
        if start.is_some() {
            data = fitted_to(data, &task)?;
        }
        settings.resolve(&data.train, &task)?;
        if let Some(teacher) = start.as_ref().and_then(|start| start.teacher.as_ref())
            && !is_teacher_of(teacher, &task)
        {
            bail!(
                "the teacher knows {}, and the network learns {}; both must have the same labels",
                teacher.task.names().join(", "),
                task.names().join(", ")
            );
        }
        let mut split = hold_out(&settings, &data)?;
        if let Some(Tuning { replay: Some(replay), .. }) = &settings.tuning
            && replay.fraction > 0.0
        {
            let other = replayed(replay, &task, split.train.len(), settings.seed);
            let (other, rows) = other.context("the rows that are to be replayed")?;
            let first = data.train.len();
            data.train = data.train.followed_by(&other.train, &rows)?;
            split.train.extend(first..data.train.len());
        }
        log::debug!("the settings:\n{}", settings.to_toml());
        if args.dry_run {
            write!(io::stdout(), "{}", settings.to_toml())?;
            return Ok(Ended { code: ExitCode::SUCCESS, result: None });
        }
        let summary = DataSummary {
            source: source.to_string(),
            digest: format!("{} {}", data.train.digest(), data.test.digest()),
            training: split.train.len(),
            validation: split.validation.len(),
            test: data.test.len(),
        };
        Run { args, disk, pace, settings, source, device, data, summary, task, split, start }
            .execute(found)
    }
}

/// The order in which rows are replayed, told from that of any epoch.
const REPLAY_ORDER: u64 = 1 << 60;

/// The data that rows are replayed of, and which rows, for so many new ones.
fn replayed(
    replay: &Replay,
    task: &Task,
    new: usize,
    seed: u64,
) -> Result<(TrainTest, Vec<usize>)> {
    let data = only(load_with_bar(&replay.source.parse()?)?, &replay.classes)?;
    let data = fitted_to(data, task)?;
    let count = ((replay.fraction * new as f64).round() as usize).max(1);
    let most = data.train.len();
    if count > most {
        bail!(
            "a share of {} of {new} training rows is {count}, and there are {most}; give at most {:.4}",
            replay.fraction,
            most as f64 / new as f64
        );
    }
    let order = permutation(data.train.len(), seed, REPLAY_ORDER);
    let rows = order.into_iter().take(count).map(|row| row as usize).collect();
    Ok((data, rows))
}

/// The rows of some classes, or all if none are named.
pub fn only(data: TrainTest, classes: &[String]) -> Result<TrainTest> {
    if classes.is_empty() {
        return Ok(data);
    }
    let TrainTest { train, test } = data;
    Ok(TrainTest { train: train.only_classes(classes)?, test: test.only_classes(classes)? })
}

/// Data with the labels of a task, matched by name.
///
/// # Errors
///
/// Another kind of targets, or a label that the task does not have.
pub fn fitted_to(data: TrainTest, task: &Task) -> Result<TrainTest> {
    let found = self::task(data.train.targets());
    if found.kind() != task.kind() {
        bail!(differing_tasks(task.kind(), found.kind()));
    }
    if found.names() == task.names() {
        return Ok(data);
    }
    match task {
        Task::Classification { labels } => {
            let TrainTest { train, test } = data;
            Ok(TrainTest { train: train.relabelled(labels)?, test: test.relabelled(labels)? })
        }
        _ => bail!(
            "the model's outputs are {}, and those of the data {}",
            task.names().join(", "),
            found.names().join(", ")
        ),
    }
}

/// What is wrong with data of another kind of task than the model's, and what can be done.
pub fn differing_tasks(model: &str, data: &str) -> String {
    let problem = format!("the model is for {model}, and the data for {data}");
    match (model, data) {
        ("multi-label" | "regression", "classification") => format!(
            "{problem}; if the model was imported and the greatest of its outputs is the class, \
             import its file again with --task classification"
        ),
        _ => problem,
    }
}

/// What a data set's targets ask of a network.
pub fn task(targets: &Targets) -> Task {
    match targets {
        Targets::Classes { labels, .. } => Task::Classification { labels: labels.clone() },
        Targets::MultiLabel { labels, .. } => Task::MultiLabel { labels: labels.clone() },
        Targets::Values { names, .. } => Task::Regression { targets: names.clone() },
    }
}

fn hold_out(settings: &Settings, data: &TrainTest) -> Result<Split> {
    let DataSettings { validation, stratified, .. } = settings.data;
    let split = split(&data.train, validation.into(), stratified, settings.seed)
        .context("no validation samples can be held out so; choose another --validation")?;
    if split.validation.is_empty() && settings.training.needs_validation(&settings.schedule) {
        bail!(
            "early stopping, `--keep best` and the plateau schedule need validation samples; give --validation"
        );
    }
    Ok(split)
}

/// Loads a data set, with a bar if it has to be fetched.
///
/// # Errors
///
/// The data's.
pub fn load_with_bar(source: &Source) -> Result<TrainTest> {
    // Whoever wants to hear of errors alone wants no bar.
    let target = match log::max_level() {
        LevelFilter::Error => ProgressDrawTarget::hidden(),
        _ => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template(
        "{msg} [{bar:30.cyan/blue}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
    )?;
    bar.set_style(style.progress_chars("=> "));
    let data = load(source, &LoadOptions::default(), &mut |progress| {
        bar.set_message(progress.file);
        bar.set_length(progress.total.unwrap_or(progress.done));
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    Ok(data?)
}

/// Refuses what can not promise the same bits.
fn check_deterministic(settings: &Settings, pace: &[Every]) -> Result<()> {
    if !settings.backend.is_cpu() {
        bail!(
            "--deterministic: on {} two runs may differ in their last digits; `--backend flex` \
             gives the same bits every time",
            settings.backend
        );
    }
    let by_time = pace.iter().any(|every| matches!(every, Every::Time(_)));
    if by_time && settings.training.on_divergence != OnDivergence::Stop {
        bail!(
            "--deterministic: where a rollback goes to depends on time, as a checkpoint is written \
             {}; give the pace in steps or epochs, such as --checkpoint-every 1epoch",
            pace.iter().map(|every| format!("every {every}")).collect::<Vec<_>>().join(" and ")
        );
    }
    Ok(())
}
