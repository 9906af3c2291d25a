//! `fireclay report`: a run or a model as one page.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fireclay::Device;
use fireclay::model_file::write_whole;
use fireclay_data::data_files;
use fireclay_files::run::runs_inside;
use fireclay_files::{Output, check_file_place};
use fireclay_report::{EventFile, Options, Report};
use fireclay_terminal::{Exit, hint_of_runs, say};
use train::manifest::Manifest;
use train::run_files::REPORT;
use train::run_folder::{files_of, is_report};

use crate::model::{self, Where};
use crate::rows::Rows;

const EXAMPLES: &str = "\
Examples:
  fireclay report runs/mnist-1                       writes runs/mnist-1/report.html
  fireclay report model.safetensors --data mnist --to model.html
  fireclay report runs/mnist-1 --plots plots         also write the plots as files
  fireclay report runs/mnist-1 --tensorboard         also write a TensorBoard event file

The page is self-contained: it opens from disk, without network or scripts.";

/// Write a report of a run or a model: curves, scores, mistakes, weights, settings.
#[derive(Debug, clap::Args)]
#[command(
    about = "Write a report of a run or a model as one HTML page",
    after_help = EXAMPLES
)]
pub(crate) struct Args {
    /// Folder of a run, or a model file.
    run: PathBuf,
    /// HTML page to write [default: report.html in the run's folder, or beside the model].
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Folder to write each plot to, as .svg and .png [default: none].
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// Write a TensorBoard event file into the run's folder, for `tensorboard --logdir runs`.
    #[arg(long)]
    tensorboard: bool,
    /// Overwrite existing files of --to and --plots; an input is never overwritten.
    #[arg(long)]
    force: bool,
    #[arg(from_global)]
    quiet: bool,
    #[command(flatten)]
    rows: Rows,
    #[command(flatten)]
    at: Where,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    ensure!(
        !args.tensorboard || args.run.is_dir(),
        "--tensorboard needs the folder of a run; {} is a file",
        args.run.display()
    );
    ensure!(
        !args.rows.are_chosen() || !args.run.is_dir() || model::is_cross_validation(&args.run),
        "the report of a run uses its own test rows: remove --split and --classes, or name the \
         model file in the run folder"
    );
    let page = args.page()?;
    let device = args.at.device()?;
    // The folder of a cross-validation has a model, and is no run.
    let is_run = args.run.is_dir() && !model::is_cross_validation(&args.run);
    let report = if is_run { of_run(args, &device)? } else { of_model(args, &device)? };
    // Both before either is written.
    let plots = args.plots()?;
    let plots = plots.map(|folder| anyhow::Ok((folder, args.drawn(folder, &report)?)));
    let plots = plots.transpose()?;
    args.page()?;
    write(&report, &page)?;
    let mut text = format!("Report: {}", page.display());
    if let Some((folder, files)) = &plots {
        write_plots(folder, files)
            .with_context(|| format!("the plots cannot be written to {}", folder.display()))?;
        let count = files.len() / 2;
        text += &format!("\nPlots: {count} in {}, each as .svg and .png", folder.display());
    }
    if args.tensorboard {
        text += &format!("\nTensorBoard events: {}", write_events(&args.run)?.display());
    }
    if !args.quiet {
        say(&text)?;
    }
    Ok(Exit::Done)
}

impl Args {
    /// The files that are read.
    fn inputs(&self) -> Vec<PathBuf> {
        let mut inputs = data_files(self.rows.data());
        inputs.extend(if self.run.is_dir() { files_of(&self.run) } else { vec![self.run.clone()] });
        inputs
    }

    /// The page to write, which replaces nothing but an earlier page of the same run or model.
    fn page(&self) -> Result<PathBuf> {
        let own =
            if self.run.is_dir() { self.run.join(REPORT) } else { self.run.with_file_name(REPORT) };
        let page = self.to.clone().unwrap_or(own);
        self.check(&page, self.force || self.to.is_none() && is_report(&page))?;
        Ok(page)
    }

    fn check(&self, path: &Path, is_forced: bool) -> Result<()> {
        let inputs = self.inputs();
        Ok(Output { path, flag: "--to", inputs: &inputs, is_forced }.check()?)
    }

    /// The folder of the plots, which is none of a file.
    fn plots(&self) -> Result<Option<&Path>> {
        let folder = self.plots.as_deref();
        if let Some(folder) = folder.filter(|folder| folder.exists() && !folder.is_dir()) {
            bail!("--plots {}: this is a file; name a folder", folder.display());
        }
        Ok(folder)
    }

    /// The plots with the files that they go to.
    fn drawn(&self, folder: &Path, report: &Report) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = Vec::new();
        for plot in report.plots()? {
            files.push((folder.join(format!("{}.png", plot.name)), plot.png()?));
            files.push((folder.join(format!("{}.svg", plot.name)), plot.svg.into_bytes()));
        }
        let inputs = self.inputs();
        for (path, _) in files.iter().filter(|_| folder.is_dir()) {
            let output = Output { path, flag: "--plots", inputs: &inputs, is_forced: self.force };
            output.check()?;
        }
        Ok(files)
    }
}

fn write_plots(folder: &Path, files: &[(PathBuf, Vec<u8>)]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    files.iter().try_for_each(|(path, bytes)| write_whole(path, bytes))
}

fn of_run(args: &Args, device: &Device) -> Result<Report> {
    let manifest = Manifest::path(&args.run);
    if !manifest.exists() {
        let inside = hint_of_runs(&runs_inside(&args.run));
        bail!("{} is not the folder of a run{inside}", args.run.display());
    }
    let options = Options::default();
    Ok(match args.rows.data() {
        Some(data) => Report::from_run_on(&args.run, data, device, &options)?,
        None => Report::from_run(&args.run, device, &options)?,
    })
}

fn of_model(args: &Args, device: &Device) -> Result<Report> {
    let loaded = model::load(&args.run, None, device)?;
    let title = args.run.file_name().map(|name| name.to_string_lossy().into_owned());
    let title = title.unwrap_or_default();
    let (options, description) = (Options::default(), loaded.description());
    let is_measured = args.rows.are_asked_for() || description.provenance.data.is_some();
    let rows = if is_measured { Some(args.rows.load(description, &args.run)?) } else { None };
    let data = rows.as_ref().map(|(name, data)| (name.as_str(), data));
    if loaded.models().len() > 1 {
        return Ok(Report::from_loaded(&title, &loaded, data, &options)?);
    }
    let model = model::load_weights(&args.run, device)?;
    Ok(Report::from_model(&title, &model, data, &options)?)
}

/// Writes the report of a run that has just ended into its folder, unless a file of somebody else is
/// in its place.
pub(crate) fn of_finished(folder: &Path, device: &Device) -> Result<Option<PathBuf>> {
    let page = folder.join(REPORT);
    if std::fs::symlink_metadata(&page).is_ok() && !is_report(&page) {
        let page = page.display();
        log::warn!("{page} is not a report of fireclay, so it was left and no report written");
        return Ok(None);
    }
    let report = Report::from_run(folder, device, &Options::default())?;
    write(&report, &page)?;
    Ok(Some(page))
}

/// Writes the event file of a run into its folder.
pub(crate) fn write_events(folder: &Path) -> Result<PathBuf> {
    let events = EventFile::from_run(folder)?;
    let path = folder.join(events.name);
    let written = check_file_place(&path).and_then(|()| write_whole(&path, &events.bytes));
    written.with_context(|| format!("the event file cannot be written to {}", path.display()))?;
    Ok(path)
}

fn write(report: &Report, page: &Path) -> Result<()> {
    for note in report.notes() {
        log::warn!("{note}");
    }
    write_whole(page, report.html()?.as_bytes())
        .with_context(|| format!("the report cannot be written to {}", page.display()))
}
