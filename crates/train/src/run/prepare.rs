//! From settings and options to a run that is ready to start: device, data, models.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::{Architecture, Device, InputSpec, Task, check_positive};
use fireclay_data::{DataError, Source, Split, Targets, TrainTest, permutation, split};
use fireclay_measure::{fitted_to, only, task_of};
use fireclay_terminal::names;

use super::found::{self, DataNames, Found};
use super::{Changes, Run, RunEnd, RunOptions, Sources};
use crate::checkpoints::Every;
use crate::disk::Disk;
use crate::manifest::{DataSummary, Manifest, Replayed};
use crate::metrics::Monitor;
use crate::pictures;
use crate::place::{self, Sought};
use crate::run_folder::check_free;
use crate::settings::{
    DataSettings, OnDivergence, PreprocessingChoice, Settings, SettingsError, TargetScalingChoice,
    Validation,
};
use crate::tuning::{Replay, Start, Tuning, is_teacher_of};
use crate::verify;

/// A run whose settings and data are known, before anything is trained or written.
pub struct Prepared {
    options: RunOptions,
    found: Option<Found>,
    pace: Vec<Every>,
    settings: Settings,
    source: Source,
    /// Where the replayed rows of an existing run were found.
    old: Option<Source>,
    device: Device,
    data: TrainTest,
    start: Option<Start>,
}

impl Prepared {
    /// Prepares a new run: reads its data.
    ///
    /// # Errors
    ///
    /// Anything that keeps the run from beginning.
    pub fn new(mut settings: Settings, options: RunOptions) -> Result<Self> {
        check_place(&options)?;
        let pace = options.pace(&[]);
        let device = device(&settings, &pace, &options)?;
        if settings.tuning.is_some() {
            bail!(
                "these settings belong to a run that starts from another model; resume it with --resume, \
                 repeat it with --repeat, or start a new one with `finetune`"
            );
        }
        settings.read_texts()?;
        let source = new_source(&settings, &options)?;
        let data = only((options.load)(&source)?, &settings.data.classes)?;
        let (found, old, start) = (None, None, None);
        Ok(Self { options, found, pace, settings, source, old, device, data, start })
    }

    /// Prepares to resume a run, given by its folder, its name, or as `latest`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); changes that a resumed run cannot have, data that is not its own, and
    /// files of the run that are damaged.
    pub fn resume(run: &str, changes: &Changes, options: RunOptions) -> Result<Self> {
        let found = found::to_resume(run, &options)?;
        Self::of_found(found, changes, options)
    }

    /// Prepares to repeat a finished run in another folder.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume).
    pub fn repeat(run: &str, changes: &Changes, options: RunOptions) -> Result<Self> {
        check_place(&options)?;
        let found = found::to_repeat(run, &options)?;
        Self::of_found(found, changes, options)
    }

    fn of_found(found: Found, changes: &Changes, options: RunOptions) -> Result<Self> {
        let manifest = found.manifest(&options.disk);
        if let Some(manifest) = &manifest {
            let is_repeat = matches!(found, Found::Repeat { .. });
            let faults = verify::before_work(found.folder(), manifest, is_repeat, &options.disk)?;
            // What a repeated run came to is compared with at its end.
            let told = faults.iter().filter(|_| !is_repeat);
            told.for_each(|fault| options.console.warn(&fault.to_string()));
        }
        let (settings, names) = found.settings(changes, manifest.as_ref())?;
        let last = manifest.as_ref().and_then(|manifest| manifest.sessions.last());
        let pace = options.pace(last.map_or(&[], |last| &last.checkpoint_every));
        let device = device(&settings, &pace, &options)?;
        let tuning = settings.tuning.as_ref();
        let start =
            tuning.map(|tuning| Start::load(tuning, found.folder(), &device)).transpose()?;
        let (folder, manifest) = (found.folder(), manifest.as_ref());
        let (names, settings_of_run) = (&names, &settings);
        let looked =
            Looked { folder, manifest, names, settings: settings_of_run, load: options.load };
        let old = looked.old(changes.replay_data.as_deref())?;
        let (source, data) = looked.data(start.as_ref())?;
        let data = only(data, &settings.data.classes)?;
        let found = Some(found);
        Ok(Self { options, found, pace, settings, source, old, device, data, start })
    }

    /// What the run is carried out with.
    pub fn options(&self) -> &RunOptions {
        &self.options
    }

    /// What is replayed of other data, with the source where it was found.
    pub fn replay(&self) -> Option<Replay> {
        let replay = self.settings.tuning.as_ref()?.replay.clone()?;
        let source = self.old.as_ref().map_or(replay.source, ToString::to_string);
        Some(Replay { source, ..replay })
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

    /// Encodes the rows of a table, or recordings, with the input of an existing model; other data is
    /// unchanged.
    ///
    /// # Errors
    ///
    /// A column that the model takes and the table lacks, or a value that is not one of its column.
    pub fn encode_for(&mut self, input: &InputSpec) -> Result<()> {
        let encoded = self.source.clone().encoded_by(input);
        if encoded != self.source {
            self.data = (self.options.load)(&encoded)?;
        }
        Ok(())
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
    pub fn run(self) -> Result<RunEnd> {
        let (run, found) = self.ready()?;
        run.execute(found.as_ref())
    }

    /// Checks all that [`run`](Self::run) checks before it begins, and warns of what it would warn of;
    /// the settings of the run, with all that its data decides.
    ///
    /// # Errors
    ///
    /// Anything that keeps the run from beginning.
    pub fn check(self) -> Result<Settings> {
        let (run, found) = self.ready()?;
        let warnings = run.checked(found.as_ref())?;
        warnings.iter().for_each(|warning| run.options.console.warn(warning));
        Ok(run.settings)
    }

    /// The run, with all that its data decides, and the run that it resumes or repeats.
    fn ready(self) -> Result<(Run, Option<Found>)> {
        let replay = self.replay();
        let Self { options, found, pace, mut settings, source, device, mut data, start, .. } = self;
        let task = match &start {
            Some(start) => start.model.task.clone().undecided(),
            None => settings.with_quantiles(task_of(data.train.targets())),
        };
        if start.is_some() {
            data = fitted_to(data, &task)?;
        }
        let is_new = found.is_none();
        if is_new && matches!(task, Task::Regression { .. }) {
            settings.data.target_scaling.get_or_insert(TargetScalingChoice::Standardize);
        }
        if data.train.input().is_none_or(|input| input.texts().next().is_none()) {
            settings.data.table.texts = None;
        }
        settings.resolve(&data.train, &task)?;
        settings.check_augmentation(data.sounds().as_ref())?;
        check_teacher(start.as_ref(), &task)?;
        let mut split = hold_out(&settings, &data)?;
        if is_new {
            check_monitor(settings.training.monitor, &split)?;
        }
        settings.weigh_classes(&task, &data.train, &split.train)?;
        settings.check_weights(&data.train, &split, &data.test)?;
        settings.decision.validate(&task, split.validation.len()).map_err(SettingsError::from)?;
        let task = settings.data.scaled(task, &data.train, &split.train)?;
        check_logarithm(&task, &data)?;
        let mut pictures = pictures::pictures(&source, &data.train);
        let mut old = replay.as_ref().map(|_| Replayed::default());
        if let Some(replay) = replay.as_ref().filter(|replay| replay.fraction > 0.0) {
            let other = replayed(replay, &task, split.train.len(), settings.seed, options.load);
            let (digest, other, rows) = other.context("the rows that are to be replayed")?;
            old = Some(Replayed { digest: Some(digest), place: None });
            let theirs = pictures::pictures(&replay.source.parse()?, &other.train);
            pictures = pictures::joined(pictures, theirs);
            let first = data.train.len();
            data.train = data.train.followed_by(&other.train, &rows)?;
            split.train.extend(first..data.train.len());
        }
        log::debug!("the settings:\n{}", settings.to_toml());
        let summary = summary(&settings, &data, &split, old);
        let replay = replay.map(|replay| replay.source.parse()).transpose()?;
        let sources = Sources { data: source, replay };
        let run = Run {
            options,
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
        Ok((run, found))
    }
}

/// Checks that the folder of a new run can be made.
fn check_place(options: &RunOptions) -> Result<()> {
    check_free(&options.out, options.name.as_deref()).with_context(|| options.no_folder())
}

/// Checks settings that are not yet resolved; the device that they name.
fn device(settings: &Settings, pace: &[Every], options: &RunOptions) -> Result<Device> {
    settings.validate()?;
    if options.is_deterministic {
        check_deterministic(settings, pace)?;
    }
    settings.source()?;
    Ok(settings.backend.device(settings.device)?)
}

/// Labels that a message names, before it counts the rest.
const MOST_NAMES: usize = 12;

/// Checks that targets that are learned as their logarithm have one.
fn check_logarithm(task: &Task, data: &TrainTest) -> Result<()> {
    if !task.is_logarithmic() {
        return Ok(());
    }
    for (name, rows) in [("training", &data.train), ("test", &data.test)] {
        if let Targets::Values { values, .. } = rows.targets() {
            let checked = check_positive(values, task.names().len()).map_err(SettingsError::from);
            checked.with_context(|| format!("the {name} samples have no logarithm"))?;
        }
    }
    Ok(())
}

/// Checks that a teacher, if there is one, has the outputs that are learned.
fn check_teacher(start: Option<&Start>, task: &Task) -> Result<()> {
    match start.and_then(|start| start.teacher.as_ref()) {
        Some(_) if task.outputs() != task.names().len() => {
            bail!("the quantiles of a model cannot be learned from a teacher; leave out --teacher")
        }
        Some(teacher) if !is_teacher_of(teacher, task) => bail!(
            "the outputs of the teacher are {}, and those of the network {}; give a teacher with the \
             same outputs by name",
            names(teacher.task.names(), MOST_NAMES),
            names(task.names(), MOST_NAMES)
        ),
        _ => Ok(()),
    }
}

/// Checks that there are validation samples for what a new run monitors.
fn check_monitor(monitor: Monitor, split: &Split) -> Result<(), SettingsError> {
    // The default is no wish.
    if split.validation.is_empty() && monitor != Monitor::default() {
        return Err(SettingsError::NothingToMonitor { monitor });
    }
    Ok(())
}

/// What the manifest has of the data.
fn summary(
    settings: &Settings,
    data: &TrainTest,
    split: &Split,
    replayed: Option<Replayed>,
) -> DataSummary {
    DataSummary {
        source: settings.data.source.clone(),
        digest: digest(data),
        training: split.train.len(),
        validation: split.validation.len(),
        test: data.test.len(),
        place: None,
        replayed,
    }
}

/// Search for the data of an existing run.
struct Looked<'a> {
    folder: &'a Path,
    manifest: Option<&'a Manifest>,
    names: &'a DataNames,
    settings: &'a Settings,
    load: fn(&Source) -> Result<TrainTest, DataError>,
}

impl Looked<'_> {
    fn sought<'b>(&'b self, name: &'b str, told: Option<&'b str>) -> Sought<'b> {
        let place = self.manifest.and_then(|manifest| manifest.data.place.as_ref());
        Sought {
            name,
            place,
            folder: self.folder,
            flag: "--data",
            told,
            settings: None,
            input: None,
        }
    }

    /// The data that the run learns from, all classes of it.
    fn data(&self, start: Option<&Start>) -> Result<(Source, TrainTest)> {
        let sought = self.sought(&self.names.own, self.names.told.as_deref());
        let input = start.map(|start| &start.model.input);
        let sought = Sought { settings: Some(self.settings), input, ..sought };
        Ok(sought.find(&self.load, &|data| self.is_own(data, start))?)
    }

    /// Whether data is what the run learned from, as far as that is known.
    fn is_own(&self, data: &TrainTest, start: Option<&Start>) -> bool {
        let Some(manifest) = self.manifest else { return true };
        let task = match start {
            Some(start) => start.model.task.clone(),
            None => task_of(data.train.targets()),
        };
        place::is_data_of(manifest, data, &task)
    }

    /// The source of the rows that the run replays, if it does.
    fn old(&self, told: Option<&str>) -> Result<Option<Source>> {
        let Some(name) = &self.names.replayed else {
            if let Some(told) = told {
                bail!("--replay-data {told}: this run replays no other data; leave it out");
            }
            return Ok(None);
        };
        let replayed = self.manifest.and_then(|manifest| manifest.data.replayed.as_ref());
        let place = replayed.and_then(|replayed| replayed.place.as_ref());
        let sought = Sought { place, flag: "--replay-data", ..self.sought(name, told) };
        Ok(Some(sought.find(&self.load, &|data| self.is_replayed(data))?.0))
    }

    /// Whether data is what the run replayed rows of, as far as that is known.
    fn is_replayed(&self, data: &TrainTest) -> bool {
        let Some(manifest) = self.manifest else { return true };
        let replayed = manifest.data.replayed.as_ref();
        let Some(was) = replayed.and_then(|replayed| replayed.digest.as_ref()) else { return true };
        let tuning = manifest.settings.tuning.as_ref();
        let classes = tuning.and_then(|tuning| Some(&tuning.replay.as_ref()?.classes[..]));
        // The digest is that of some classes; the whole is compared where the run is.
        let chosen = only(data.clone(), classes.unwrap_or_default());
        chosen.is_ok_and(|data| digest(&data) == *was)
    }
}

/// The source of a new run; a folder that settings of a file name is looked for from where the
/// program runs, then from where the run of that file found it, then from the folder of the file.
fn new_source(settings: &Settings, options: &RunOptions) -> Result<Source> {
    let source = settings.source()?;
    let (Some(path), Some(beside)) = (source.path(), &options.settings_folder) else {
        return Ok(source);
    };
    if path.exists() {
        return Ok(source);
    }
    let manifest = Manifest::load(beside, &Disk::default()).ok();
    let place = manifest.as_ref().filter(|manifest| manifest.data.source == settings.data.source);
    let place = place.and_then(|manifest| manifest.data.place.clone());
    let relative = place.as_ref().and_then(|place| place.relative.as_ref());
    let mut others = relative.map(|relative| beside.join(relative)).into_iter().collect::<Vec<_>>();
    others.extend(place.as_ref().map(|place| PathBuf::from(&place.absolute)));
    others.push(beside.join(path));
    let found = others.into_iter().find(|path| path.exists());
    Ok(found.map_or_else(|| source.clone(), |path| source.at(path)))
}

/// The digests of all training and of all test samples.
fn digest(data: &TrainTest) -> String {
    format!("{} {}", data.train.digest(), data.test.digest())
}

/// Key of the order in which rows are replayed, which no epoch has.
const REPLAY_ORDER: u64 = 1 << 60;

/// The data that rows are replayed of, with its digest, and which rows, for so many new ones.
fn replayed(
    replay: &Replay,
    task: &Task,
    new: usize,
    seed: u64,
    load: fn(&Source) -> Result<TrainTest, DataError>,
) -> Result<(String, TrainTest, Vec<usize>)> {
    let data = only(load(&replay.source.parse()?)?, &replay.classes)?;
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
    let split = match &data.table {
        // It was divided before it was encoded.
        Some(table) => table.split.clone(),
        None => split(&data.train, validation.into(), stratified, settings.seed)
            .context("no validation samples can be held out so; choose another --validation")?,
    };
    if split.validation.is_empty() && settings.training.needs_validation(&settings.schedule) {
        bail!(
            "early stopping, `--keep best` and the plateau schedule need validation samples; give --validation"
        );
    }
    Ok(split)
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
