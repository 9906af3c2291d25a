//! From a command line to a run that is ready to start: settings, device, data.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::{Architecture, Device, Task};
use fireclay_data::{LoadOptions, Source, Split, TrainTest, load, permutation, split};
use fireclay_measure::{fitted_to, only, task_of};
use fireclay_terminal::warn;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::LevelFilter;

use super::{Ended, Run, Sources, no_folder};
use crate::args::Args;
use crate::checkpoints::Every;
use crate::disk::Disk;
use crate::manifest::{DataSummary, Manifest, Replayed};
use crate::metrics::Monitor;
use crate::pictures;
use crate::place::{self, Sought};
use crate::resume::{self, DataNames, Found};
use crate::run_folder::check_free;
use crate::settings::{
    DataSettings, OnDivergence, PreprocessingChoice, Settings, TargetScalingChoice, Validation,
};
use crate::tuning::{Replay, Start, Tuning, is_teacher_of};
use crate::verify;

/// A run whose settings and data are known, before anything is trained or written.
pub struct Prepared {
    args: Args,
    disk: Disk,
    found: Option<Found>,
    pace: Vec<Every>,
    settings: Settings,
    source: Source,
    /// Where the rows that a run replays were found, of one that is there already.
    old: Option<Source>,
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
        if args.resume.is_none() {
            check_free(&args.out, args.name.as_deref()).with_context(|| no_folder(&args))?;
        }
        let found = resume::find(&args, &disk)?;
        let manifest = found.as_ref().and_then(|found| found.manifest(&disk));
        if let (Some(found), Some(manifest)) = (&found, &manifest) {
            let others =
                verify::before_work(found.folder(), manifest, args.repeat.is_some(), &disk)?;
            // What a repeated run came to is compared with at its end.
            let is_told = args.repeat.is_none() && !args.quiet;
            others.iter().filter(|_| is_told).for_each(warn);
        }
        let (settings, names) = match &found {
            Some(found) => {
                let (settings, names) = found.settings(&args, manifest.as_ref())?;
                (settings, Some(names))
            }
            None => (Settings::from_layers(&args.layers()?)?, None),
        };
        settings.validate()?;
        let last = manifest.as_ref().and_then(|manifest| manifest.sessions.last());
        let pace = args.pace(last.map_or(&[], |last| &last.checkpoint_every));
        if args.deterministic {
            check_deterministic(&settings, &pace)?;
        }
        settings.data.source()?;
        let device = settings.backend.device(settings.device)?;
        let start = match (&settings.tuning, &found) {
            (Some(tuning), Some(found)) => Some(Start::load(tuning, found.folder(), &device)?),
            (Some(_), None) => bail!(
                "these settings belong to a run that starts from another model; resume it with --resume, \
                 repeat it with --repeat, or start a new one with `finetune`"
            ),
            (None, _) => None,
        };
        let (source, data, old) = match (&found, &names) {
            (Some(found), Some(names)) => {
                let looked = Looked { folder: found.folder(), manifest: manifest.as_ref(), names };
                let old = looked.old(&args)?;
                let (source, data) = looked.data(start.as_ref())?;
                (source, data, old)
            }
            _ => {
                let source = new_source(&args, &settings)?;
                let data = load_with_bar(&source)?;
                (source, data, None)
            }
        };
        let data = only(data, &settings.data.classes)?;
        Ok(Self { args, disk, found, pace, settings, source, old, device, data, start })
    }

    /// What is replayed of other data, with the source where it was found.
    pub fn replay(&self) -> Option<Replay> {
        let replay = self.settings.tuning.as_ref()?.replay.clone()?;
        let source = self.old.as_ref().map_or(replay.source, ToString::to_string);
        Some(Replay { source, ..replay })
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

    /// A task whose outputs are new, with the scaling of its targets, which is fitted on the training
    /// rows of the run; only of a regression, and if nobody says otherwise.
    ///
    /// # Errors
    ///
    /// Validation samples that cannot be held out, or targets beyond single precision.
    pub fn scaled(&self, task: Task) -> Result<Task> {
        if !matches!(task, Task::Regression { .. }) || task.outputs() != self.task().outputs() {
            return Ok(task);
        }
        let Self { settings, data, .. } = self;
        let split = hold_out(settings, data)?;
        let choice = settings.data.target_scaling.or(Some(TargetScalingChoice::Standardize));
        let of_new = DataSettings { target_scaling: choice, ..settings.data.clone() };
        Ok(of_new.scaled(task, &data.train, &split.train)?)
    }

    /// What the targets of its data ask of a network.
    fn task(&self) -> Task {
        task_of(self.data.train.targets())
    }

    /// Makes it train a fresh network of this kind.
    pub fn learn(&mut self, network: &Architecture) {
        self.settings.model = network.into();
    }

    /// Makes it start from these models instead of a fresh network.
    ///
    /// # Errors
    ///
    /// A device that cannot be read.
    pub fn start_from(&mut self, start: Start, tuning: Tuning) -> Result<()> {
        self.settings.model = start.model.mlp.architecture().into();
        self.settings.data.preprocessing = PreprocessingChoice::Model;
        if matches!(start.model.task, Task::Regression { .. }) {
            self.settings.data.target_scaling = Some(TargetScalingChoice::Model);
        }
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
        let replay = self.replay();
        let Self { args, disk, found, pace, mut settings, source, device, mut data, start, .. } =
            self;
        let task = match &start {
            Some(start) => start.model.task.clone(),
            None => task_of(data.train.targets()),
        };
        if start.is_some() {
            data = fitted_to(data, &task)?;
        }
        if found.is_none() && matches!(task, Task::Regression { .. }) {
            settings.data.target_scaling.get_or_insert(TargetScalingChoice::Standardize);
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
        let monitor = settings.training.monitor;
        if found.is_none() && split.validation.is_empty() && monitor != Monitor::default() {
            bail!(
                "--monitor {monitor} needs validation samples; give --validation, or leave it out"
            );
        }
        let task = settings.data.scaled(task, &data.train, &split.train)?;
        let mut pictures = pictures::pictures(&source, &data.train);
        let mut old = replay.as_ref().map(|_| Replayed::default());
        if let Some(replay) = &replay
            && replay.fraction > 0.0
        {
            let other = replayed(replay, &task, split.train.len(), settings.seed);
            let (digest, other, rows) = other.context("the rows that are to be replayed")?;
            old = Some(Replayed { digest: Some(digest), place: None });
            let theirs = pictures::pictures(&replay.source.parse()?, &other.train);
            pictures = pictures::joined(pictures, theirs);
            let first = data.train.len();
            data.train = data.train.followed_by(&other.train, &rows)?;
            split.train.extend(first..data.train.len());
        }
        log::debug!("the settings:\n{}", settings.to_toml());
        let summary = DataSummary {
            source: settings.data.source.clone(),
            digest: digest(&data),
            training: split.train.len(),
            validation: split.validation.len(),
            test: data.test.len(),
            place: None,
            replayed: old,
        };
        let replay = replay.map(|replay| replay.source.parse()).transpose()?;
        let sources = Sources { data: source, replay };
        let run = Run {
            args,
            disk,
            pace,
            settings,
            sources,
            device,
            data,
            summary,
            pictures,
            task,
            split,
            start,
        };
        run.execute(found)
    }
}

/// Where the data of a run that is there already is looked for.
struct Looked<'a> {
    folder: &'a Path,
    manifest: Option<&'a Manifest>,
    names: &'a DataNames,
}

impl Looked<'_> {
    fn sought<'b>(&'b self, name: &'b str, told: Option<&'b str>) -> Sought<'b> {
        let place = self.manifest.and_then(|manifest| manifest.data.place.as_ref());
        Sought { name, place, folder: self.folder, flag: "--data", told }
    }

    /// The data that the run learns from, all classes of it.
    fn data(&self, start: Option<&Start>) -> Result<(Source, TrainTest)> {
        let is_same = |data: &TrainTest| {
            let Some(manifest) = self.manifest else { return Ok(true) };
            let task = match start {
                Some(start) => start.model.task.clone(),
                None => task_of(data.train.targets()),
            };
            Ok(place::is_data_of(manifest, data, &task))
        };
        self.sought(&self.names.own, self.names.told.as_deref()).find(&load_with_bar, &is_same)
    }

    /// The source of the rows that the run replays, if it does.
    fn old(&self, args: &Args) -> Result<Option<Source>> {
        let told = args.replay_data.as_deref();
        let Some(name) = &self.names.replayed else {
            if let Some(told) = told {
                bail!("--replay-data {told}: this run replays no other data; leave it out");
            }
            return Ok(None);
        };
        let replayed = self.manifest.and_then(|manifest| manifest.data.replayed.as_ref());
        let place = replayed.and_then(|replayed| replayed.place.as_ref());
        let was = replayed.and_then(|replayed| replayed.digest.as_ref());
        let sought = Sought { place, flag: "--replay-data", ..self.sought(name, told) };
        // The digest is that of some classes; the whole is compared where the run is.
        let is_same = |data: &TrainTest| {
            let Some(was) = was else { return Ok(true) };
            let tuning = self.manifest.and_then(|manifest| manifest.settings.tuning.as_ref());
            let classes = tuning.and_then(|tuning| Some(&tuning.replay.as_ref()?.classes[..]));
            let prepared = only(data.clone(), classes.unwrap_or_default());
            Ok(prepared.is_ok_and(|data| digest(&data) == *was))
        };
        Ok(Some(sought.find(&load_with_bar, &is_same)?.0))
    }
}

/// The source of a new run; a folder that settings of a file name is looked for from where the
/// program runs, then from where the run of that file found it, then from the folder of the file.
fn new_source(args: &Args, settings: &Settings) -> Result<Source> {
    let source = settings.data.source()?;
    let (Source::Idx(path), Some(file), None) = (&source, &args.config, &args.data) else {
        return Ok(source);
    };
    if path.exists() {
        return Ok(source);
    }
    let beside = file.parent().unwrap_or(Path::new(""));
    let manifest = Manifest::load(beside, &Disk::default()).ok();
    let place = manifest.as_ref().filter(|manifest| manifest.data.source == settings.data.source);
    let place = place.and_then(|manifest| manifest.data.place.clone());
    let relative = place.as_ref().and_then(|place| place.relative.as_ref());
    let mut others = relative.map(|relative| beside.join(relative)).into_iter().collect::<Vec<_>>();
    others.extend(place.as_ref().map(|place| PathBuf::from(&place.absolute)));
    others.push(beside.join(path));
    let found = others.into_iter().find(|path| path.is_dir());
    Ok(found.map_or(source, Source::Idx))
}

/// The digests of all training and of all test samples.
fn digest(data: &TrainTest) -> String {
    format!("{} {}", data.train.digest(), data.test.digest())
}

/// The order in which rows are replayed, told from that of any epoch.
const REPLAY_ORDER: u64 = 1 << 60;

/// The data that rows are replayed of, with its digest, and which rows, for so many new ones.
fn replayed(
    replay: &Replay,
    task: &Task,
    new: usize,
    seed: u64,
) -> Result<(String, TrainTest, Vec<usize>)> {
    let data = only(load_with_bar(&replay.source.parse()?)?, &replay.classes)?;
    let digest = digest(&data);
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
    Ok((digest, data, rows))
}

fn hold_out(settings: &Settings, data: &TrainTest) -> Result<Split> {
    let DataSettings { validation, stratified, .. } = settings.data;
    let validation = validation.unwrap_or_else(|| Validation::usual(data.train.len()));
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

/// Refuses what cannot promise the same bits.
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
