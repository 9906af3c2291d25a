//! One run: settings, data, training, test, files.

mod begin;
mod check;
mod decide;
mod found;
mod options;
mod prepare;
mod repeat;
mod text;

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use fireclay::{Device, InputSpec, Loss, Mlp, Model, Pictures, Preprocessing, Provenance, Task};
use fireclay_data::tables::{Doubt, stem};
use fireclay_data::{RowSource, Source, Split, TrainTest};
use fireclay_measure::{Decided, Finding};

use begin::Begun;
use found::Found;
pub use options::{Changes, RunOptions};
pub use prepare::Prepared;

use crate::checkpoints::{self, Checkpoints, Every, Pace};
use crate::disk::named;
use crate::evaluate::{Evaluation, evaluate};
use crate::fit::{Ending, FitError, Fitted, fit};
use crate::job::Job;
use crate::manifest::{DataSummary, Outcome, Session, sha256};
use crate::place::portable;
use crate::profile::Profile;
use crate::record::{Mark, Recorder};
use crate::run_files::MODEL;
use crate::run_folder::{MetricsLog, RunFolder, Span};
use crate::schedule::Length;
use crate::settings::Settings;
use crate::signals::{self, Signals};
use crate::tuning::{Start, Tuned};
use crate::warnings;

/// How a run ended.
pub enum RunEnd {
    /// It came to its end, or somebody asked for that.
    Finished(Box<Finished>),
    /// A signal stopped it; it can be resumed.
    Interrupted {
        /// The signal.
        signal: i32,
    },
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
    /// Where these went.
    pub profile: Profile,
    /// Whether the model is that of the run that was repeated, if one was.
    pub repeats: Option<bool>,
}

/// A run that is ready to start.
struct Run {
    options: RunOptions,
    pace: Vec<Every>,
    settings: Settings,
    sources: Sources,
    device: Device,
    data: TrainTest,
    summary: DataSummary,
    pictures: Option<Pictures>,
    task: Task,
    split: Split,
    start: Option<Start>,
}

/// Where the data of a run lies.
struct Sources {
    /// What it learns from.
    data: Source,
    /// What rows are replayed of.
    replay: Option<Source>,
}

impl Run {
    /// Checks all that a run needs before its first step; its warnings.
    fn checked(&self, found: Option<&Found>) -> Result<Vec<String>> {
        let (input, loss) = (self.input()?, self.loss());
        let planned = self.planned(&input, &loss);
        self.check(&planned, found)?;
        Ok(self.warnings(&planned))
    }

    fn execute(&self, found: Option<&Found>) -> Result<RunEnd> {
        let (input, loss) = (self.input()?, self.loss());
        // Nothing is uploaded before it is known that the run can begin.
        self.check(&self.planned(&input, &loss), found)?;
        let job = self.job(self.rows(), input.preprocessing(), &loss);
        let signals = self.signals()?;
        let mut begun = match found {
            Some(Found::Resume { folder, .. }) => self.resumed(&job, folder)?,
            _ => self.fresh(&job)?,
        };
        self.introduce(&begun, job.length()?)?;
        let clock = Instant::now();
        let trained = self.train(&job, &mut begun, &signals, &input);
        let seconds = clock.elapsed().as_secs_f64();
        log::info!("the steps took {seconds:.3} s");
        let (fitted, mut log) = trained.map_err(|error| self.failed(&mut begun, error))?;
        if let (Ending::Interrupted, Some(signal)) = (fitted.ending, signals.stop()) {
            return self.interrupted(begun, signal, fitted.step);
        }
        let decided = self.decide(&job, &fitted)?;
        let judged = Job { task: &decided.task, ..job };
        let test = self.test(&judged, &fitted, &mut log)?;
        let model = self.model(fitted.mlp.clone(), input.clone(), &decided, &test);
        let folder = begun.folder.path().to_owned();
        let repeats = self.finish(begun, found, &fitted, &test, &model)?;
        let profile = fitted.profile;
        let finished = Finished { folder, model, test, seconds, profile, repeats };
        Ok(RunEnd::Finished(Box::new(finished)))
    }

    /// The job, with its rows on the host.
    fn planned<'a>(&'a self, input: &'a InputSpec, loss: &'a Loss) -> Job<'a> {
        let on_host = RowSource::gathered(&self.data.train, &self.device);
        self.job(on_host, input.preprocessing(), loss)
    }

    /// What asks the run to stop: signals, if it is to catch them.
    fn signals(&self) -> Result<Signals> {
        if self.options.catches_signals {
            Signals::catch().context("signals cannot be caught")
        } else {
            Ok(Signals::default())
        }
    }

    /// Says what the run is, what it warns of, and where it resumes.
    fn introduce(&self, begun: &Begun, length: Length) -> Result<()> {
        let progress = begun.state.progress();
        self.say(&self.heading())?;
        begun.manifest.warnings.iter().for_each(|warning| self.options.console.warn(warning));
        if progress.step > 0 {
            self.say(&text::resumption(progress, length))?;
        }
        Ok(())
    }

    /// Takes note of what ended the run before its time.
    fn failed(&self, begun: &mut Begun, error: anyhow::Error) -> anyhow::Error {
        begun.manifest.end_session(&error.root_cause().to_string());
        // The first error is reported.
        let _ = begun.manifest.save(begun.folder.path(), &self.options.disk);
        error
    }

    /// Takes note of the signal that stopped the run, and says how to go on.
    fn interrupted(&self, begun: Begun, signal: i32, step: u64) -> Result<RunEnd> {
        let Begun { folder, mut manifest, .. } = begun;
        manifest.end_session(signals::name(signal));
        manifest.save(folder.path(), &self.options.disk)?;
        self.say(&self.interruption(folder.path(), signal, step))?;
        Ok(RunEnd::Interrupted { signal })
    }

    /// Writes the model and what came of the run, and says so; whether it is that of the run that was
    /// repeated, if one was.
    fn finish(
        &self,
        begun: Begun,
        found: Option<&Found>,
        fitted: &Fitted,
        test: &Evaluation,
        model: &Model,
    ) -> Result<Option<bool>> {
        let Begun { folder: run, mut manifest, .. } = begun;
        let folder = run.path();
        let (bytes, digest) = model.to_bytes()?;
        if let Some(start) = &self.start {
            start.save_adapter(model, folder, &mut manifest, &self.options.disk)?;
        }
        self.options.disk.write_whole(&folder.join(MODEL), &bytes)?;
        let stopped = fitted.ending == Ending::Stopped;
        let mut metrics = test.by_name();
        // JSON has no others.
        metrics.retain(|_, value| value.is_finite());
        let log =
            self.options.disk.read(&run.metrics(), u64::MAX).map_err(named(&run.metrics()))?;
        manifest.result = Some(Outcome {
            metrics,
            epoch: fitted.epoch,
            model: digest.clone(),
            log: Some(sha256(&log)),
            stopped,
        });
        manifest.end_session(if stopped { "stopped from the dashboard" } else { "complete" });
        manifest.save(folder, &self.options.disk)?;
        self.say(&self.ending(folder, &digest, fitted, test))?;
        match found {
            Some(Found::Repeat { folder: original, manifest }) => {
                self.compare(original, manifest, model, &bytes, &digest).map(Some)
            }
            _ => Ok(None),
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
        let (undecided, nothing) = (self.undecided(), Evaluation::default());
        let model = |mlp| self.model(mlp, input.clone(), &undecided, &nothing);
        loop {
            let step = begun.state.progress().step;
            let known = checkpoints::steps_in(&begun.folder.checkpoints())?;
            let mut recorder = Recorder {
                log: self.open_log(begun)?,
                checkpoints: Checkpoints::new(
                    begun.folder.checkpoints(),
                    self.options.disk.clone(),
                    known.into_iter().filter(|&known| known <= step),
                ),
                pace: Pace::new(self.pace.clone()),
                signals: signals.clone(),
                mark: self.mark(),
                model: &model,
                steps_per_epoch: job.steps_per_epoch(),
            };
            let mut display = self.options.console.display();
            let fitted = fit(job, begun.state.clone(), display.as_mut(), &mut recorder);
            // The bar or dashboard leaves the terminal before anything else is printed.
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
                FitError::Record(_) | FitError::Rows(_) => {
                    let again = self.options.resume(&folder);
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
        let log = MetricsLog::open(&begun.folder.metrics(), begun.log, self.options.disk.clone());
        log.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => anyhow!(
                "{error}; put the whole file back, or {}",
                self.options.way_to_the_first_step(begun.folder.path())
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
        let doubts = self.data.table.iter().flat_map(|table| &table.doubts);
        // Columns that are left out are in the first lines.
        let doubts = doubts.filter(|doubt| !matches!(doubt, Doubt::Unused { .. }));
        doubts.map(ToString::to_string).chain(found.iter().map(ToString::to_string)).collect()
    }

    fn loss(&self) -> Loss {
        self.settings.loss.clone().unwrap_or_else(|| Loss::default_for(&self.task))
    }

    /// What the model takes: that of the model it starts from, or rows like those of the data,
    /// prepared as the settings say and as fits the training rows.
    fn input(&self) -> Result<InputSpec> {
        let data = &self.data.train;
        let input = match (&self.start, data.input()) {
            (Some(start), encoded) => {
                if encoded != Some(&start.model.input) {
                    start.model.input.require_dense()?;
                }
                start.model.input.clone()
            }
            (None, Some(input)) => input.clone(),
            (None, None) => {
                let preprocessing = self.settings.data.preprocessing(data, &self.split.train);
                let input = InputSpec::dense(&self.settings.model.input_shape, preprocessing);
                input.with_sounds(self.data.sounds())
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
            sounds: self.data.table.as_ref().and_then(|table| table.sounds.as_ref()),
            seed: self.settings.seed,
            device: &self.device,
        }
    }

    fn tuned(&self) -> Option<Tuned<'_>> {
        let (tuning, start) = (self.settings.tuning.as_ref()?, self.start.as_ref()?);
        Some(Tuned { tuning, start })
    }

    fn create_folder(&self) -> Result<RunFolder> {
        let RunOptions { out, name, disk, .. } = &self.options;
        let stem = match &self.sources.data {
            Source::Idx(_) => "idx".to_owned(),
            Source::Table(table) => stem(&table.path),
            Source::Sounds(recordings) => stem(&recordings.table.path),
            named => named.to_string(),
        };
        RunFolder::create(out, name.as_deref(), &stem, disk)
            .with_context(|| self.options.no_folder())
    }

    /// Keeps what can be kept of a run that failed, and says so.
    fn rescue(&self, error: FitError, folder: &RunFolder, input: InputSpec) -> anyhow::Error {
        let FitError::NotFinite { last_good: Some(last_good), .. } = &error else {
            return error.into();
        };
        let (undecided, nothing) = (self.undecided(), Evaluation::default());
        let model = self.model(last_good.as_ref().clone(), input, &undecided, &nothing);
        let path = folder.last_good();
        let saved = model.to_bytes().map_err(anyhow::Error::from);
        let saved =
            saved.and_then(|(bytes, _)| Ok(self.options.disk.write_whole(&path, &bytes)?));
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
        if let Some(error) = self.data.test.failure() {
            return Err(FitError::Rows(error).into());
        }
        if let Some(loss) = test.get("loss").filter(|loss| !loss.is_finite()) {
            bail!(
                "the test loss is {loss}, so the network is not saved; try a smaller learning rate"
            );
        }
        log.write("test", Span::Epoch, fitted.epoch, fitted.step, &test.measured)?;
        log.flusher()?()?;
        Ok(test)
    }

    fn model(&self, mlp: Mlp, input: InputSpec, decided: &Decided, test: &Evaluation) -> Model {
        let metrics =
            test.by_name().into_iter().map(|(name, value)| (format!("test {name}"), value));
        let metrics = metrics.chain(decided.findings.iter().flat_map(Finding::numbers));
        let start = self.start.as_ref().map(|start| start.model.provenance.clone());
        let parent = start.unwrap_or_default();
        Model {
            mlp,
            task: decided.task.clone(),
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
        self.options.console.say(text)
    }
}
