//! One run from the command line: settings, data, training, test, files.

mod begin;
mod check;
mod prepare;
mod repeat;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use fireclay::{Device, InputSpec, Loss, Mlp, Model, Pictures, Preprocessing, Provenance, Task};
use fireclay_data::{RowSource, Source, Split, TrainTest};
use fireclay_terminal::{Exit, quoted, quoted_path, say, warn};
use log::LevelFilter;

use begin::Begun;
pub use prepare::{Prepared, load_with_bar};

use crate::args::Args;
use crate::checkpoints::{self, Checkpoints, Every, Pace};
use crate::disk::{Disk, named};
use crate::evaluate::{Evaluation, evaluate};
use crate::fit::{Ending, FitError, Fitted, fit};
use crate::job::Job;
use crate::manifest::{DataSummary, Outcome, Session, sha256};
use crate::metrics::Meter;
use crate::place::portable;
use crate::progress::{Bar, Dashboard, Due, EpochReport, Observer, Plain, Progress};
use crate::record::{Mark, Recorder};
use crate::resume::Found;
use crate::run_files::MODEL;
use crate::run_folder::{MetricsLog, RunFolder, Span};
use crate::schedule::Length;
use crate::settings::Settings;
use crate::signals::{self, Signals};
use crate::state::Snapshot;
use crate::tuning::{Start, Tuned};
use crate::warnings;
use crate::words;

/// Does what the command line asks for.
///
/// # Errors
///
/// Anything that keeps the run from its end; its message names what to do.
pub fn run(args: Args) -> Result<Exit> {
    run_on(args, Disk::default())
}

/// As [`run`], with the files of the run on this disk.
///
/// # Errors
///
/// As [`run`].
pub fn run_on(args: Args, disk: Disk) -> Result<Exit> {
    Ok(run_to_end(args, disk)?.code)
}

/// As [`run_on`], and what came of the run, if there was one.
///
/// # Errors
///
/// As [`run`].
pub fn run_to_end(args: Args, disk: Disk) -> Result<Ended> {
    if let Some((_, rate)) = args.group_rates().next() {
        let typed = quoted(&rate.typed);
        bail!("--lr {typed}: groups of parameters have rates of their own in `finetune`");
    }
    let is_found = args.resume.is_some() || args.repeat.is_some();
    if let Some(source) = args.replay_data.as_deref().filter(|_| !is_found) {
        let source = quoted(source);
        bail!("--replay-data {source}: a new run replays other data in `finetune` alone");
    }
    if args.list_backends {
        write!(io::stdout(), "{}", words::backends())?;
        return Ok(Ended { code: Exit::Done, result: None });
    }
    Prepared::new(args, disk)?.run()
}

/// How a run ended.
pub struct Ended {
    /// The exit code of the program.
    pub code: Exit,
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
    pace: Vec<Every>,
    pub(crate) settings: Settings,
    pub(crate) sources: Sources,
    device: Device,
    pub(crate) data: TrainTest,
    summary: DataSummary,
    pictures: Option<Pictures>,
    pub(crate) task: Task,
    pub(crate) split: Split,
    start: Option<Start>,
}

/// Where the data of a run lies.
pub(crate) struct Sources {
    /// What it learns from.
    pub(crate) data: Source,
    /// What rows are replayed of.
    pub(crate) replay: Option<Source>,
}

impl Run {
    fn execute(&self, found: Option<Found>) -> Result<Ended> {
        let input = self.input()?;
        let preprocessing = input.preprocessing();
        let loss = self.settings.loss.clone().unwrap_or_else(|| Loss::default_for(&self.task));
        // Nothing is uploaded before it is known that the run can begin.
        let on_host = RowSource::gathered(&self.data.train, &self.device);
        let planned = self.job(on_host, preprocessing, &loss);
        self.check(&planned, found.as_ref())?;
        if self.args.dry_run {
            return self.dry_run(&planned);
        }
        let job = self.job(self.rows(), preprocessing, &loss);
        let signals = Signals::catch().context("signals cannot be caught")?;
        let mut begun = match &found {
            Some(Found::Resume { folder, .. }) => self.resumed(&job, folder)?,
            _ => self.fresh(&job)?,
        };
        self.say(&self.heading())?;
        self.warn(&begun.manifest.warnings);
        let first = begun.state.progress().step;
        if first > 0 {
            self.say(&words::resumption(begun.state.progress(), job.length()?))?;
        }
        let clock = Instant::now();
        let trained = self.train(&job, &mut begun, &signals, &input);
        let seconds = clock.elapsed().as_secs_f64();
        log::info!("the steps took {seconds:.3} s");
        let (fitted, mut log) = match trained {
            Ok(trained) => trained,
            Err(error) => {
                begun.manifest.end_session(&error.root_cause().to_string());
                // What went wrong first is what is told.
                let _ = begun.manifest.save(begun.folder.path(), &self.disk);
                return Err(error);
            }
        };
        if let (Ending::Interrupted, Some(signal)) = (fitted.ending, signals.stop()) {
            return self.interrupted(begun, signal, fitted.step);
        }
        let test = self.test(&job, &fitted, &mut log)?;
        let model = self.model(fitted.mlp.clone(), input.clone(), &test);
        let folder = begun.folder.path().to_owned();
        let code = self.finish(begun, found.as_ref(), &fitted, &test, &model)?;
        Ok(Ended { code, result: Some(Finished { folder, model, test, seconds }) })
    }

    /// Takes note of the signal that stopped the run, and says how to go on.
    fn interrupted(&self, begun: Begun, signal: i32, step: u64) -> Result<Ended> {
        let Begun { folder, mut manifest, .. } = begun;
        manifest.end_session(signals::name(signal));
        manifest.save(folder.path(), &self.disk)?;
        self.say(&self.interruption(folder.path(), signal, step))?;
        Ok(Ended { code: Exit::Signal(signal), result: None })
    }

    /// Writes the model and what came of the run, and says so; the exit code of the program.
    fn finish(
        &self,
        begun: Begun,
        found: Option<&Found>,
        fitted: &Fitted,
        test: &Evaluation,
        model: &Model,
    ) -> Result<Exit> {
        let Begun { folder: run, mut manifest, .. } = begun;
        let folder = run.path();
        let (bytes, digest) = model.to_bytes()?;
        if let Some(start) = &self.start {
            start.save_adapter(model, folder, &mut manifest, &self.disk)?;
        }
        self.disk.write_whole(&folder.join(MODEL), &bytes)?;
        let stopped = fitted.ending == Ending::Stopped;
        let mut metrics = test.by_name();
        // JSON has no others.
        metrics.retain(|_, value| value.is_finite());
        let log = self.disk.read(&run.metrics(), u64::MAX).map_err(named(&run.metrics()))?;
        manifest.result = Some(Outcome {
            metrics,
            epoch: fitted.epoch,
            model: digest.clone(),
            log: Some(sha256(&log)),
            stopped,
        });
        manifest.end_session(if stopped { "stopped from the dashboard" } else { "complete" });
        manifest.save(folder, &self.disk)?;
        self.say(&self.ending(folder, &digest, fitted, test))?;
        if self.args.profile {
            self.say(&format!("\n{}", fitted.profile))?;
        }
        match found {
            Some(Found::Repeat { folder: original, manifest }) => {
                self.compare(original, manifest, model, &bytes, &digest)
            }
            _ => Ok(Exit::Done),
        }
    }

    /// Trains to the end, to a signal, or to an error; goes back after a divergence if asked to.
    fn train(
        &self,
        job: &Job<'_>,
        begun: &mut Begun,
        signals: &Signals,
        input: &InputSpec,
    ) -> Result<(Fitted, MetricsLog)> {
        let folder = begun.folder.path().to_owned();
        let model = |mlp| self.model(mlp, input.clone(), &Evaluation::default());
        loop {
            let step = begun.state.progress().step;
            let known = checkpoints::steps_in(&begun.folder.checkpoints())?;
            let mut recorder = Recorder {
                log: self.open_log(begun)?,
                checkpoints: Checkpoints::new(
                    begun.folder.checkpoints(),
                    self.disk.clone(),
                    known.into_iter().filter(|&known| known <= step),
                ),
                pace: Pace::new(self.pace.clone()),
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
                FitError::NotFinite { step, .. } if times <= most => {
                    self.roll_back(job, begun, times, step, &error)?;
                }
                FitError::NotFinite { .. } => {
                    return Err(self.rescue(error, &begun.folder, input.clone()));
                }
                FitError::Record(_) => {
                    let again = words::resume(&folder);
                    let context = format!(
                        "the run stopped; resume it from its last checkpoint with `{again}`"
                    );
                    return Err(anyhow::Error::from(error).context(context));
                }
                error => return Err(error.into()),
            }
        }
    }

    /// The log, with the lines that are true of the state.
    fn open_log(&self, begun: &Begun) -> Result<MetricsLog> {
        let log = MetricsLog::open(&begun.folder.metrics(), begun.log, self.disk.clone());
        log.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => anyhow!(
                "{error}; put the whole file back, or {}",
                words::from_the_first_step(begun.folder.path())
            ),
            _ => error.into(),
        })
    }

    /// The work of this process on the run, which begins after a step.
    fn session(&self, from_step: u64) -> Session {
        let Settings { backend, device, .. } = self.settings;
        let name = backend.device_name(device).unwrap_or_else(|| device.to_string());
        let epochs = self.settings.training.epochs;
        Session::begin(backend, &name, from_step, self.pace.clone(), epochs)
    }

    /// Which run a checkpoint is of.
    fn mark(&self) -> Mark {
        Mark { settings: self.settings.digest(), data: self.summary.digest.clone(), log: 0 }
    }

    /// What is likely to go wrong.
    fn warnings(&self, job: &Job<'_>) -> Vec<String> {
        let found = warnings::of(job, &self.settings.model, &self.data.test);
        found.iter().map(ToString::to_string).collect()
    }

    fn warn(&self, warnings: &[String]) {
        warnings.iter().filter(|_| !self.args.quiet).for_each(warn);
    }

    /// What the model takes: that of the model it starts from, or rows like those of the data,
    /// prepared as the settings say and as fits the training rows.
    fn input(&self) -> Result<InputSpec> {
        let data = &self.data.train;
        let input = match &self.start {
            Some(start) => {
                start.model.input.require_dense()?;
                start.model.input.clone()
            }
            None => {
                let preprocessing = self.settings.data.preprocessing(data, &self.split.train);
                InputSpec::dense(&self.settings.model.input_shape, preprocessing)
            }
        };
        let input = input.with_pictures(self.pictures);
        input.preprocessing().validate(data.width())?;
        Ok(input)
    }

    /// The samples, on their way to a device with memory of its own if that is one.
    fn rows(&self) -> RowSource<'_> {
        let (data, device) = (&self.data.train, &self.device);
        if self.settings.backend.is_cpu() {
            RowSource::gathered(data, device)
        } else {
            RowSource::on_device(data, device)
        }
    }

    fn job<'a>(
        &'a self,
        rows: RowSource<'a>,
        preprocessing: &'a Preprocessing,
        loss: &'a Loss,
    ) -> Job<'a> {
        Job {
            rows,
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
            // What is logged would be written across a bar.
            _ if io::stdout().is_terminal() && log::max_level() < LevelFilter::Info => {
                Box::new(Bar::default())
            }
            _ => Box::new(Plain::new(io::stdout())),
        }
    }

    fn create_folder(&self) -> Result<RunFolder> {
        let out = &self.args.out;
        let stem = match &self.sources.data {
            Source::Idx(_) => "idx".to_owned(),
            named => named.to_string(),
        };
        let name = self.args.name.as_deref();
        RunFolder::create(out, name, &stem, &self.disk).with_context(|| no_folder(&self.args))
    }

    /// Keeps what can be kept of a run that failed, and says so.
    fn rescue(&self, error: FitError, folder: &RunFolder, input: InputSpec) -> anyhow::Error {
        let FitError::NotFinite { last_good, .. } = &error else { return error.into() };
        let model = self.model(last_good.as_ref().clone(), input, &Evaluation::default());
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
        let source = RowSource::gathered(&self.data.test, &self.device);
        let test = evaluate(job, &fitted.mlp, &source, &rows)?;
        if let Some(loss) = test.get("loss").filter(|loss| !loss.is_finite()) {
            bail!(
                "the test loss is {loss}, so the network is not saved; try a smaller learning rate"
            );
        }
        log.write("test", Span::Epoch, fitted.epoch, fitted.step, &test.measured)?;
        log.flusher()?()?;
        Ok(test)
    }

    fn model(&self, mlp: Mlp, input: InputSpec, test: &Evaluation) -> Model {
        let metrics =
            test.by_name().into_iter().map(|(name, value)| (format!("test {name}"), value));
        let start = self.start.as_ref().map(|start| start.model.provenance.clone());
        let parent = start.unwrap_or_default();
        Model {
            mlp,
            task: self.task.clone(),
            input,
            provenance: Provenance {
                program: Provenance::PROGRAM.to_owned(),
                data: Some(portable(&self.settings.data.source)),
                settings: serde_json::to_value(self.portable_settings()).ok(),
                parent: parent.parent,
                ancestors: parent.ancestors,
                metrics: metrics.collect(),
            },
        }
    }

    /// The settings as a model file has them: the same wherever the data lies.
    fn portable_settings(&self) -> Settings {
        let mut settings = self.settings.clone();
        settings.data.source = portable(&settings.data.source);
        let tuning = settings.tuning.as_mut();
        if let Some(replay) = tuning.and_then(|tuning| tuning.replay.as_mut()) {
            replay.source = portable(&replay.source);
        }
        settings
    }

    fn say(&self, text: &str) -> io::Result<()> {
        if self.args.quiet { Ok(()) } else { say(text) }
    }
}

/// What is said of a folder of a run that cannot be made.
fn no_folder(args: &Args) -> String {
    match &args.name {
        Some(name) => format!(
            "cannot make the run folder {}; choose another --name or --out",
            quoted_path(&args.out.join(name))
        ),
        None => {
            format!("cannot make a run folder in {}; choose another --out", quoted_path(&args.out))
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
