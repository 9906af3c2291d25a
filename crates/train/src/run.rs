//! One run from the command line: settings, data, training, test, files.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fireclay::{Backend, Device, Loss, Mlp, Model, Preprocessing, Provenance, Task};
use fireclay_data::{LoadOptions, Source, Split, Targets, TrainTest, load, split};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Args;
use crate::fit::{Ending, Evaluation, FitError, Fitted, Job, evaluate, fit};
use crate::metrics::Meter;
use crate::progress::{Bar, Dashboard, EpochReport, Observer, Plain, Progress, group, list};
use crate::run_folder::{MetricsLog, RunFolder, Span};
use crate::schedule::Length;
use crate::settings::{DataSettings, Settings};

/// Does what the command line asks for.
///
/// # Errors
///
/// Anything that keeps the run from its end; its message names what to do.
pub fn run(args: Args) -> Result<ExitCode> {
    if args.list_backends {
        write!(io::stdout(), "{}", backends())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut settings = Settings::from_layers(&args.layers()?)?;
    settings.validate()?;
    let source = settings.data.source()?;
    let device = settings.backend.device(settings.device)?;
    let data = load_with_bar(&source)?;
    let task = task(data.train.targets());
    settings.resolve(&data.train, &task)?;
    let split = hold_out(&settings, &data)?;
    if args.dry_run {
        write!(io::stdout(), "{}", settings.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    Run { args, settings, source, device, data, task, split }.execute()
}

/// A run that is ready to start.
struct Run {
    args: Args,
    settings: Settings,
    source: Source,
    device: Device,
    data: TrainTest,
    task: Task,
    split: Split,
}

impl Run {
    fn execute(&self) -> Result<ExitCode> {
        let preprocessing = self.settings.data.preprocessing(&self.data.train, &self.split.train);
        preprocessing.validate(self.data.train.width())?;
        let loss = self.settings.loss.clone().unwrap_or_else(|| Loss::default_for(&self.task));
        let job = self.job(&preprocessing, &loss);
        let mlp = self.settings.model.init(self.settings.seed, &self.device)?;
        job.length()?;
        if self.args.tui && !io::stdout().is_terminal() {
            bail!("--tui needs a terminal, and the output goes to a pipe or a file");
        }

        let folder = self.create_folder()?;
        let mut log = self.open(&folder)?;
        self.say(&self.heading())?;
        let mut display = self.display();
        let fitted = fit(&job, mlp, &mut Both(display.as_mut(), &mut log));
        // The bar or dashboard leaves the terminal before anything else is said.
        drop(display);
        let fitted = match fitted {
            Ok(fitted) => fitted,
            Err(error) => return Err(self.rescue(error, &folder, preprocessing.clone())),
        };
        let test = self.test(&job, &fitted, &mut log)?;
        let model = self.model(fitted.mlp.clone(), preprocessing.clone(), &test);
        let digest = model.save(folder.model())?;
        self.say(&self.ending(&folder, &digest, &fitted, &test))?;
        Ok(ExitCode::SUCCESS)
    }

    fn job<'a>(&'a self, preprocessing: &'a Preprocessing, loss: &'a Loss) -> Job<'a> {
        Job {
            data: &self.data.train,
            split: &self.split,
            task: &self.task,
            preprocessing,
            loss,
            optimizer: &self.settings.optimizer,
            schedule: &self.settings.schedule,
            training: &self.settings.training,
            seed: self.settings.seed,
            device: &self.device,
        }
    }

    fn display(&self) -> Box<dyn Observer> {
        match self.args {
            Args { quiet: true, .. } => Box::new(Plain::new(io::sink())),
            Args { tui: true, .. } => Box::new(Dashboard::default()),
            _ if io::stdout().is_terminal() => Box::new(Bar::default()),
            _ => Box::new(Plain::new(io::stdout())),
        }
    }

    /// Writes the settings and starts the log; if neither can be, the folder goes again.
    fn open(&self, folder: &RunFolder) -> Result<MetricsLog> {
        let log = self
            .settings
            .save(&folder.config())
            .and_then(|()| MetricsLog::create(&folder.metrics()));
        if log.is_err() {
            let _ = std::fs::remove_dir_all(folder.path());
        }
        log.with_context(|| format!("can not write to {}", folder.path().display()))
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
        let kept = match model.save(&path) {
            Ok(_) => format!("training stopped; the last good network is in {}", path.display()),
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
        let step = fitted.epoch.saturating_mul(job.steps_per_epoch());
        log.write("test", Span::Epoch, fitted.epoch, step, &test.measured)?;
        Ok(test)
    }

    fn model(&self, mlp: Mlp, preprocessing: Preprocessing, test: &Evaluation) -> Model {
        let metrics =
            test.by_name().into_iter().map(|(name, value)| (format!("test {name}"), value));
        Model {
            mlp,
            task: self.task.clone(),
            preprocessing,
            provenance: Provenance {
                program: concat!("fireclay ", env!("CARGO_PKG_VERSION")).to_owned(),
                data: Some(self.source.to_string()),
                settings: serde_json::to_value(&self.settings).ok(),
                parent: None,
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

    fn heading(&self) -> String {
        let Settings { model, optimizer, training, backend, seed, .. } = &self.settings;
        let widths: Vec<String> =
            model.layer_sizes().iter().map(|[inputs, _]| inputs.to_string()).collect();
        let shape: Vec<String> = self.data.train.shape().iter().map(ToString::to_string).collect();
        let mut text = format!(
            "{}: {} training, {} validation and {} test samples of {}\n\
             {}-{} {}, {} parameters; {}, learning rate {:?}, batches of {}; {backend}, seed {seed}",
            self.source,
            group(self.split.train.len() as u64),
            group(self.split.validation.len() as u64),
            group(self.data.test.len() as u64),
            shape.join("x"),
            widths.join("-"),
            model.outputs,
            model.activation,
            group(model.parameters() as u64),
            optimizer.name(),
            optimizer.learning_rate(),
            training.batch_size * training.accumulate,
        );
        if !backend.is_cpu() {
            text += "\nThe first steps compile and tune kernels; later runs find them in a cache.";
        }
        text
    }

    fn ending(
        &self,
        folder: &RunFolder,
        digest: &str,
        fitted: &Fitted,
        test: &Evaluation,
    ) -> String {
        let path = folder.path().display();
        let program = program();
        let ending = match fitted.ending {
            Ending::Complete => "",
            Ending::Early => "Stopped early for want of improvement.\n",
            Ending::Stopped => "Stopped from the dashboard.\n",
        };
        let best = match self.settings.training.keeps_best() {
            true => format!("The model is that of epoch {}, the best.\n", fitted.epoch),
            false => String::new(),
        };
        format!(
            "{ending}{best}test {}\n\n\
             Saved in {path}:\n  \
             model.safetensors   the model: weights, preprocessing, labels ({})\n  \
             config.toml         the settings\n  \
             metrics.jsonl       every measurement\n\n\
             Use the model from Rust:\n  \
             Model::load(\"{path}/model.safetensors\", &device)?.predict(&rows)?\n\
             Go on with:\n  \
             {program} --config {path}/config.toml\n                      \
             repeats this run, to the bit on a CPU\n  \
             {program} --recipe mnist-best\n                      \
             a wide network with dropout: slower, more accurate\n  \
             {program} --help\n                      \
             other data, networks, optimizers and backends",
            list(&test.measured),
            digest.get(..19).unwrap_or(digest),
        )
    }
}

/// How this program was called, to be called so again.
fn program() -> &'static str {
    // Cargo sets this for the programs that it runs.
    if std::env::var_os("CARGO").is_some() { "cargo run -p train --" } else { "train" }
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
}

/// What a data set's targets ask of a network.
fn task(targets: &Targets) -> Task {
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
fn load_with_bar(source: &Source) -> Result<TrainTest> {
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

/// The table of `--list-backends`.
fn backends() -> String {
    let mut table = format!("{:<9} {:<12} devices\n", "backend", "compiled in");
    for &backend in Backend::ALL {
        let (compiled, devices) = if backend.is_compiled() {
            let found = backend.devices();
            let names = found.iter().enumerate().map(|(i, device)| format!("{i}: {}", device.name));
            (
                "yes",
                if found.is_empty() {
                    "none found".to_owned()
                } else {
                    names.collect::<Vec<_>>().join(", ")
                },
            )
        } else {
            ("no", format!("build with --features {backend}"))
        };
        table += &format!("{backend:<9} {compiled:<12} {devices}\n");
    }
    table
}
