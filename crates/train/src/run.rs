//! One run from the command line: settings, data, training, test, files.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fireclay::{Device, Loss, Mlp, Model, Preprocessing, Provenance, Task};
use fireclay_data::{
    Feed, LoadOptions, Source, Split, Targets, TrainTest, load, permutation, split,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Args;
use crate::checkpoints::{self, Checkpoints, Every, Pace};
use crate::disk::Disk;
use crate::fit::{Ending, Evaluation, FitError, Fitted, Job, evaluate, fit};
use crate::manifest::{DataSummary, Manifest, Outcome, Rollback, Session};
use crate::metrics::Meter;
use crate::progress::{Bar, Dashboard, Due, EpochReport, Observer, Plain, Progress};
use crate::record::{Mark, Recorder};
use crate::resume::{self, Found};
use crate::run_folder::{MetricsLog, RunFolder, Span};
use crate::schedule::Length;
use crate::settings::{DataSettings, OnDivergence, PreprocessingChoice, Settings};
use crate::signals::{self, Signals};
use crate::state::{Snapshot, State};
use crate::tuning::{Start, Tuned, Tuning, is_teacher_of};
use crate::words;

/// Does what the command line asks for.
///
/// # Errors
///
/// Anything that keeps the run from its end; its message names what to do.
pub fn run(args: Args) -> Result<ExitCode> {
    run_on(args, Disk::default())
}

/// As [`run`], with the files of the run on this disk.
///
/// # Errors
///
/// As [`run`].
pub fn run_on(args: Args, disk: Disk) -> Result<ExitCode> {
    Ok(run_to_end(args, disk)?.code)
}

/// As [`run_on`], and what came of the run, if there was one.
///
/// # Errors
///
/// As [`run`].
pub fn run_to_end(args: Args, disk: Disk) -> Result<Ended> {
    if let Some((group, rate)) = args.group_rates().next() {
        bail!("--lr {group}={rate}: groups of parameters have rates of their own in `finetune`");
    }
    if args.list_backends {
        write!(io::stdout(), "{}", words::backends())?;
        return Ok(Ended { code: ExitCode::SUCCESS, result: None });
    }
    Prepared::new(args, disk)?.run()
}

/// A run whose settings and data are known, before anything is trained or written.
pub struct Prepared {
    args: Args,
    disk: Disk,
    found: Option<Found>,
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
        if args.deterministic {
            check_deterministic(&settings, &args.pace())?;
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
        Ok(Self { args, disk, found, settings, source, device, data, start })
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
        let Self { args, disk, found, mut settings, source, device, mut data, start } = self;
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
        if let Some(Tuning { replay: Some(replay), .. }) = &settings.tuning {
            let other = only(load_with_bar(&replay.source.parse()?)?, &replay.classes)?;
            let other = fitted_to(other, &task).context("the rows that are to be replayed")?;
            let rows = (replay.fraction * split.train.len() as f64).round() as usize;
            let rows = permutation(other.train.len(), settings.seed, REPLAY_ORDER)
                .into_iter()
                .take(rows.max(1))
                .map(|row| row as usize)
                .collect::<Vec<_>>();
            let first = data.train.len();
            data.train = data.train.followed_by(&other.train, &rows)?;
            split.train.extend(first..data.train.len());
        }
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
        Run { args, disk, settings, source, device, data, summary, task, split, start }
            .execute(found)
    }
}

/// The order in which rows are replayed, told from that of any epoch.
const REPLAY_ORDER: u64 = 1 << 60;

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
        bail!("the model is for {}, and the data for {}", task.kind(), found.kind());
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

/// How a run ended.
pub struct Ended {
    /// The exit code of the program.
    pub code: ExitCode,
    /// What came of it, if it came to its end.
    pub result: Option<Finished>,
}

/// What came of a run.
pub struct Finished {
    /// Its folder.
    pub folder: PathBuf,
    /// The trained model.
    pub model: Model,
    /// What the test split says of it.
    pub test: Evaluation,
    /// Seconds of this process from the first step to the last.
    pub seconds: f64,
}

/// A run that is ready to start.
pub(crate) struct Run {
    args: Args,
    disk: Disk,
    pub(crate) settings: Settings,
    pub(crate) source: Source,
    device: Device,
    pub(crate) data: TrainTest,
    summary: DataSummary,
    task: Task,
    pub(crate) split: Split,
    start: Option<Start>,
}

/// Where training starts or goes on.
struct Begun {
    folder: RunFolder,
    manifest: Manifest,
    state: State,
    /// Bytes of the log that are true of the state.
    log: u64,
}

impl Run {
    fn execute(&self, found: Option<Found>) -> Result<Ended> {
        let preprocessing = match &self.start {
            Some(start) => start.model.preprocessing.clone(),
            None => self.settings.data.preprocessing(&self.data.train, &self.split.train),
        };
        preprocessing.validate(self.data.train.width())?;
        let loss = self.settings.loss.clone().unwrap_or_else(|| Loss::default_for(&self.task));
        let feed = self.feed();
        let job = self.job(feed.as_ref(), &preprocessing, &loss);
        job.length()?;
        if self.args.tui && !io::stdout().is_terminal() {
            bail!("--tui needs a terminal, and the output goes to a pipe or a file");
        }
        let signals = Signals::catch().context("signals can not be caught")?;

        let original = match &found {
            Some(Found::Repeat { manifest, .. }) => Some(manifest),
            _ => None,
        };
        let mut begun = match &found {
            Some(Found::Resume { folder, .. }) => self.resumed(&job, folder)?,
            _ => self.fresh(&job)?,
        };
        self.say(&self.heading())?;
        let first = begun.state.progress().step;
        if first > 0 {
            self.say(&words::resumption(begun.state.progress(), job.length()?))?;
        }
        let folder = begun.folder.path().to_owned();
        let clock = Instant::now();
        let trained = self.train(&job, &mut begun, &signals, &preprocessing);
        let seconds = clock.elapsed().as_secs_f64();
        let Begun { mut manifest, .. } = begun;
        let (fitted, mut log) = match trained {
            Ok(trained) => trained,
            Err(error) => {
                manifest.end_session(&error.root_cause().to_string());
                // What went wrong first is what is told.
                let _ = manifest.save(&folder, &self.disk);
                return Err(error);
            }
        };
        if let (Ending::Interrupted, Some(signal)) = (fitted.ending, signals.stop()) {
            manifest.end_session(signals::name(signal));
            manifest.save(&folder, &self.disk)?;
            self.say(&self.interruption(&folder, signal, fitted.step))?;
            let code = ExitCode::from(signals::exit_code(signal));
            return Ok(Ended { code, result: None });
        }
        let test = self.test(&job, &fitted, &mut log)?;
        let model = self.model(fitted.mlp.clone(), preprocessing.clone(), &test);
        let (bytes, digest) = model.to_bytes()?;
        self.disk.write_whole(&folder.join("model.safetensors"), &bytes)?;
        let result =
            Outcome { metrics: test.by_name(), epoch: fitted.epoch, model: digest.clone() };
        manifest.result = Some(result);
        manifest.end_session("complete");
        manifest.save(&folder, &self.disk)?;
        self.say(&self.ending(&folder, &digest, &fitted, &test))?;
        if self.args.profile {
            self.say(&format!("\n{}", fitted.profile))?;
        }
        let code = match original {
            Some(original) => self.compare(original, &digest)?,
            None => ExitCode::SUCCESS,
        };
        Ok(Ended { code, result: Some(Finished { folder, model, test, seconds }) })
    }

    /// The network before the first step.
    fn first_mlp(&self) -> Result<Mlp> {
        match &self.start {
            Some(start) => Ok(start.model.mlp.clone()),
            None => Ok(self.settings.model.init(self.settings.seed, &self.device)?),
        }
    }

    /// Trains to the end, to a signal, or to an error; goes back after a divergence if asked to.
    fn train(
        &self,
        job: &Job<'_>,
        begun: &mut Begun,
        signals: &Signals,
        preprocessing: &Preprocessing,
    ) -> Result<(Fitted, MetricsLog)> {
        let folder = begun.folder.path().to_owned();
        let model = |mlp| self.model(mlp, preprocessing.clone(), &Evaluation::default());
        loop {
            let step = begun.state.progress().step;
            let known = checkpoints::steps_in(&begun.folder.checkpoints())?;
            let mut recorder = Recorder {
                log: MetricsLog::open(&begun.folder.metrics(), begun.log, self.disk.clone())?,
                checkpoints: Checkpoints::new(
                    begun.folder.checkpoints(),
                    self.disk.clone(),
                    known.into_iter().filter(|&known| known <= step),
                ),
                pace: Pace::new(self.args.pace()),
                signals: signals.clone(),
                mark: self.mark(),
                model: &model,
                steps_per_epoch: job.steps_per_epoch(),
            };
            let mut display = self.display();
            let fitted = fit(job, begun.state.clone(), &mut Both(display.as_mut(), &mut recorder));
            // The bar or dashboard leaves the terminal before anything else is said.
            drop(display);
            let written = recorder.checkpoints.finish();
            let error = match (fitted, written) {
                (Ok(fitted), Ok(())) => return Ok((fitted, recorder.log)),
                (Ok(_), Err(error)) => FitError::Record(error),
                (Err(error), _) => error,
            };
            let times = begun.state.progress().rollbacks + 1;
            let most = self.settings.training.on_divergence.rollbacks();
            match error {
                FitError::NotFinite { .. } if times <= most => {
                    self.roll_back(job, begun, times, &error)?;
                }
                FitError::NotFinite { .. } => {
                    return Err(self.rescue(error, &begun.folder, preprocessing.clone()));
                }
                FitError::Record(_) => {
                    let again = words::resume(&folder);
                    let context = format!(
                        "the run stopped and can go on from its last checkpoint, with `{again}`"
                    );
                    return Err(anyhow::Error::from(error).context(context));
                }
                error => return Err(error.into()),
            }
        }
    }

    /// A new run: its folder, its settings, and the state before the first step.
    fn fresh(&self, job: &Job<'_>) -> Result<Begun> {
        let mlp = self.first_mlp()?;
        let folder = self.create_folder()?;
        let session = self.session(0);
        let manifest = Manifest {
            version: 1,
            settings: self.settings.clone(),
            data: self.summary.clone(),
            sessions: vec![session],
            result: None,
        };
        let start = self.start.as_ref().map(|start| start.save(folder.path(), &self.disk));
        let written = start
            .unwrap_or(Ok(()))
            .and_then(|()| {
                self.disk.write_whole(&folder.config(), self.settings.to_file().as_bytes())
            })
            .and_then(|()| manifest.save(folder.path(), &self.disk));
        if let Err(error) = written {
            // Neither can be, so nothing of the run is worth keeping.
            let _ = std::fs::remove_dir_all(folder.path());
            return Err(error).context("the run folder can not be written");
        }
        Ok(Begun { folder, manifest, state: State::new(job, mlp), log: 0 })
    }

    /// A run that goes on from its newest whole checkpoint.
    fn resumed(&self, job: &Job<'_>, path: &Path) -> Result<Begun> {
        let folder = RunFolder::open(path.to_owned())
            .with_context(|| format!("{} can not be resumed", path.display()))?;
        // Read under the lock: until now another process may have changed it.
        let mut manifest = Manifest::load(path, &self.disk)?;
        if manifest.data != self.summary {
            let (was, is) = (&manifest.data, &self.summary);
            bail!(
                "the data is not what this run learns from: {} with {} training and {} test \
                 samples, {}; it was {} with {} and {}, {}",
                is.source,
                is.training,
                is.test,
                is.digest,
                was.source,
                was.training,
                was.test,
                was.digest,
            );
        }
        let epochs = self.settings.training.epochs;
        if manifest.result.is_some() && epochs <= manifest.settings.training.epochs {
            bail!(
                "the run {} is finished, after {} epochs; to train it further, add --epochs {}",
                path.display(),
                manifest.settings.training.epochs,
                2 * manifest.settings.training.epochs,
            );
        }
        let (state, log) = self.newest_state(job, &folder)?;
        if state.progress().epochs > epochs {
            bail!(
                "the run has trained {} epochs, more than --epochs {epochs}",
                state.progress().epochs
            );
        }
        if manifest.result.is_some() && job.is_at_its_end(&state) {
            bail!("the run stopped early, for want of improvement; more epochs do not change that");
        }
        let session = self.session(state.progress().step);
        folder.sweep(&self.disk)?;
        manifest.sessions.push(session);
        manifest.settings = self.settings.clone();
        manifest.result = None;
        self.disk.write_whole(&folder.config(), self.settings.to_file().as_bytes())?;
        manifest.save(path, &self.disk)?;
        Ok(Begun { folder, manifest, state, log })
    }

    /// The state of the newest whole checkpoint and the length of its log; that before the first
    /// step if none was written yet.
    fn newest_state(&self, job: &Job<'_>, folder: &RunFolder) -> Result<(State, u64)> {
        let newest = checkpoints::newest(&folder.checkpoints(), &self.disk)?;
        for damaged in &newest.damaged {
            // There is nobody left to tell of a standard error that can not be written to.
            let _ = writeln!(io::stderr(), "warning: skipped a damaged checkpoint: {damaged}");
        }
        let Some((step, checkpoint)) = newest.found else {
            if !newest.damaged.is_empty() {
                bail!("no checkpoint in {} is whole", folder.checkpoints().display());
            }
            return Ok((State::new(job, self.first_mlp()?), 0));
        };
        let path = checkpoints::path_of(&folder.checkpoints(), step);
        let read = || {
            let mark: Mark = serde_json::from_value(checkpoint.run()["record"].clone())?;
            let expected = self.mark();
            if mark.settings != expected.settings || mark.data != expected.data {
                bail!(
                    "it is of a run with other settings or other data than {}",
                    folder.config().display()
                );
            }
            Ok((State::restore(job, &checkpoint)?, mark.log))
        };
        read().with_context(|| path.display().to_string())
    }

    /// Goes back to the newest checkpoint with half the learning rate.
    fn roll_back(
        &self,
        job: &Job<'_>,
        begun: &mut Begun,
        times: u32,
        error: &FitError,
    ) -> Result<()> {
        let (state, log) = self.newest_state(job, &begun.folder)?;
        begun.state = state.rolled_back(times);
        begun.log = log;
        let rollback = Rollback {
            reason: error.to_string(),
            to_step: begun.state.progress().step,
            rate_factor: 0.5f64.powi(times as i32),
        };
        self.say(&format!(
            "{}; back to step {} with the learning rate times {:e}",
            rollback.reason, rollback.to_step, rollback.rate_factor
        ))?;
        if let Some(session) = begun.manifest.sessions.last_mut() {
            session.rollbacks.push(rollback);
        }
        Ok(begun.manifest.save(begun.folder.path(), &self.disk)?)
    }

    /// The work of this process on the run, which begins after a step.
    fn session(&self, from_step: u64) -> Session {
        let Settings { backend, device, .. } = self.settings;
        let name = backend.device_name(device).unwrap_or_else(|| device.to_string());
        Session::begin(backend, &name, from_step)
    }

    /// Which run a checkpoint is of.
    fn mark(&self) -> Mark {
        Mark { settings: self.settings.digest(), data: self.summary.digest.clone(), log: 0 }
    }

    /// Says whether a repeated run came to the same model.
    fn compare(&self, original: &Manifest, digest: &str) -> Result<ExitCode> {
        let Some(result) = &original.result else { return Ok(ExitCode::SUCCESS) };
        if result.model == digest {
            self.say("The model is identical to that of the run that was repeated.")?;
            return Ok(ExitCode::SUCCESS);
        }
        self.say(&format!(
            "The model DIFFERS from that of the run that was repeated, which is {}.",
            result.model
        ))?;
        Ok(ExitCode::from(1))
    }

    /// How the samples get to a device with memory of its own.
    fn feed(&self) -> Option<Feed<'_>> {
        let is_needed = !self.settings.backend.is_cpu();
        is_needed.then(|| Feed::new(&self.data.train, &self.device))
    }

    fn job<'a>(
        &'a self,
        feed: Option<&'a Feed<'a>>,
        preprocessing: &'a Preprocessing,
        loss: &'a Loss,
    ) -> Job<'a> {
        Job {
            data: &self.data.train,
            feed,
            split: &self.split,
            task: &self.task,
            preprocessing,
            loss,
            optimizer: &self.settings.optimizer,
            schedule: &self.settings.schedule,
            training: &self.settings.training,
            tuned: self.tuned(),
            seed: self.settings.seed,
            device: &self.device,
        }
    }

    fn tuned(&self) -> Option<Tuned<'_>> {
        let (tuning, start) = (self.settings.tuning.as_ref()?, self.start.as_ref()?);
        Some(Tuned { tuning, start })
    }

    fn display(&self) -> Box<dyn Observer> {
        match self.args {
            Args { quiet: true, .. } => Box::new(Plain::new(io::sink())),
            Args { tui: true, .. } => Box::new(Dashboard::default()),
            _ if io::stdout().is_terminal() => Box::new(Bar::default()),
            _ => Box::new(Plain::new(io::stdout())),
        }
    }

    fn create_folder(&self) -> Result<RunFolder> {
        let out = &self.args.out;
        let stem = match &self.source {
            Source::Idx(_) => "idx".to_owned(),
            named => named.to_string(),
        };
        let name = self.args.name.as_deref();
        RunFolder::create(out, name, &stem).with_context(|| match name {
            Some(name) => format!(
                "can not make the run folder {}; choose another --name or --out",
                out.join(name).display()
            ),
            None => format!("can not make a run folder in {}; choose another --out", out.display()),
        })
    }

    /// Keeps what can be kept of a run that failed, and says so.
    fn rescue(
        &self,
        error: FitError,
        folder: &RunFolder,
        preprocessing: Preprocessing,
    ) -> anyhow::Error {
        let FitError::NotFinite { last_good, .. } = &error else { return error.into() };
        let model = self.model(last_good.as_ref().clone(), preprocessing, &Evaluation::default());
        let path = folder.last_good();
        let saved = model.to_bytes().map_err(anyhow::Error::from);
        let saved = saved.and_then(|(bytes, _)| Ok(self.disk.write_whole(&path, &bytes)?));
        let kept = match saved {
            Ok(()) => format!("training stopped; the last good network is in {}", path.display()),
            Err(problem) => {
                format!("training stopped, and the last good network is lost: {problem}")
            }
        };
        anyhow::Error::from(error).context(kept)
    }

    /// Reads the test split, for the first and only time.
    fn test(&self, job: &Job<'_>, fitted: &Fitted, log: &mut MetricsLog) -> Result<Evaluation> {
        let rows: Vec<usize> = (0..self.data.test.len()).collect();
        let test = evaluate(job, &fitted.mlp, &self.data.test, &rows)?;
        if let Some(loss) = test.get("loss").filter(|loss| !loss.is_finite()) {
            bail!(
                "the test loss is {loss}, so the network is not saved; try a smaller learning rate"
            );
        }
        log.write("test", Span::Epoch, fitted.epoch, fitted.step, &test.measured)?;
        log.flusher()?()?;
        Ok(test)
    }

    fn model(&self, mlp: Mlp, preprocessing: Preprocessing, test: &Evaluation) -> Model {
        let metrics =
            test.by_name().into_iter().map(|(name, value)| (format!("test {name}"), value));
        let start = self.start.as_ref().map(|start| start.model.provenance.clone());
        let parent = start.unwrap_or_default();
        Model {
            mlp,
            task: self.task.clone(),
            preprocessing,
            provenance: Provenance {
                program: concat!("fireclay ", env!("CARGO_PKG_VERSION")).to_owned(),
                data: Some(self.source.to_string()),
                settings: serde_json::to_value(&self.settings).ok(),
                parent: parent.parent,
                ancestors: parent.ancestors,
                metrics: metrics.collect(),
            },
        }
    }

    fn say(&self, text: &str) -> io::Result<()> {
        if self.args.quiet {
            return Ok(());
        }
        match writeln!(io::stdout(), "{text}") {
            // Whoever read the output has gone; that is no reason to lose the run.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// Tells two observers, the first first.
struct Both<'a>(&'a mut dyn Observer, &'a mut dyn Observer);

impl Observer for Both<'_> {
    fn start(&mut self, job: &Job<'_>, length: Length, meter: &Meter) -> io::Result<()> {
        self.0.start(job, length, meter)?;
        self.1.start(job, length, meter)
    }

    fn progress(&mut self, progress: &Progress<'_>) -> io::Result<()> {
        self.0.progress(progress)?;
        self.1.progress(progress)
    }

    fn epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        self.0.epoch(report)?;
        self.1.epoch(report)
    }

    fn due(&mut self, step: u64, epoch_ended: bool) -> io::Result<Due> {
        let first = self.0.due(step, epoch_ended)?;
        Ok(first.max(self.1.due(step, epoch_ended)?))
    }

    fn keep(&mut self, snapshot: Snapshot) -> io::Result<()> {
        self.1.keep(snapshot)
    }
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
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
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
