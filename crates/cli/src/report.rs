//! `fireclay report`: a run or a model as one page.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use fireclay::Device;
use fireclay::model_file::write_whole;
use fireclay_report::{EventFile, Options, Report};

use crate::model::{self, Where};
use crate::output::say;
use crate::rows::Rows;

const EXAMPLES: &str = "\
Examples:
  fireclay report runs/mnist-1                       writes runs/mnist-1/report.html
  fireclay report model.safetensors --data mnist --to model.html
  fireclay report runs/mnist-1 --plots plots         the plots as files too
  fireclay report runs/mnist-1 --tensorboard         an event file too

The page holds everything it shows: it opens from disk and needs neither network nor script.";

/// Write a run, or a model, as one page: curves, scores, mistakes, weights, settings.
#[derive(Debug, clap::Args)]
#[command(
    about = "Write a run, or a model, as one page",
    after_help = EXAMPLES
)]
pub(crate) struct Args {
    /// The folder of a run, or a model file.
    run: PathBuf,
    /// The page to write; by default report.html in the folder of the run, or beside the model.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Write the plots to this folder too, each as .svg and .png.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// Write the measurements into the folder of the run too, for `tensorboard --logdir runs`.
    #[arg(long)]
    tensorboard: bool,
    #[arg(from_global)]
    quiet: bool,
    #[command(flatten)]
    rows: Rows,
    #[command(flatten)]
    at: Where,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(
        !args.tensorboard || args.run.is_dir(),
        "--tensorboard needs the folder of a run, and {} is none",
        args.run.display()
    );
    ensure!(
        !args.rows.are_asked_for() || !args.run.is_dir(),
        "a run is shown on its own test rows; leave out --data, --split and --classes, or name the \
         model file in it"
    );
    let device = args.at.device()?;
    let report = match args.run.is_dir() {
        true => Report::from_run(&args.run, &device, &Options::default())?,
        false => of_model(args, &device)?,
    };
    let page = args.to.clone().unwrap_or_else(|| match args.run.is_dir() {
        true => args.run.join(PAGE),
        false => args.run.with_file_name(PAGE),
    });
    write(&report, &page)?;
    let mut text = format!("The report is in {}", page.display());
    if let Some(folder) = &args.plots {
        let plots = report.plots()?;
        let named = || format!("the plots can not be written to {}", folder.display());
        std::fs::create_dir_all(folder).with_context(named)?;
        for plot in &plots {
            let path = |kind: &str| folder.join(format!("{}.{kind}", plot.name));
            write_whole(&path("svg"), plot.svg.as_bytes()).with_context(named)?;
            write_whole(&path("png"), &plot.png()?).with_context(named)?;
        }
        let count = plots.len();
        text += &format!("\n{count} plots are in {}, each as .svg and .png", folder.display());
    }
    if args.tensorboard {
        text += &format!("\nFor TensorBoard: {}", write_events(&args.run)?.display());
    }
    if !args.quiet {
        say(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of a page.
const PAGE: &str = "report.html";

fn of_model(args: &Args, device: &Device) -> Result<Report> {
    let model = model::load(&args.run, None, device)?;
    let title = args.run.file_name().map(|name| name.to_string_lossy().into_owned());
    let title = title.unwrap_or_default();
    let options = Options::default();
    if !args.rows.are_asked_for() && model.provenance.data.is_none() {
        return Ok(Report::from_model(&title, &model, None, &options)?);
    }
    let (name, data) = args.rows.load(&model)?;
    Ok(Report::from_model(&title, &model, Some((&name, &data)), &options)?)
}

/// Writes the report of a run that has just ended into its folder.
pub(crate) fn of_finished(folder: &Path, device: &Device) -> Result<PathBuf> {
    let page = folder.join(PAGE);
    let report = Report::from_run(folder, device, &Options::default())?;
    write(&report, &page)?;
    Ok(page)
}

/// Writes the event file of a run into its folder.
pub(crate) fn write_events(folder: &Path) -> Result<PathBuf> {
    let events = EventFile::from_run(folder)?;
    let path = folder.join(events.name);
    let named = || format!("the event file can not be written to {}", path.display());
    write_whole(&path, &events.bytes).with_context(named)?;
    Ok(path)
}

fn write(report: &Report, page: &Path) -> Result<()> {
    for note in report.notes() {
        log::warn!("{note}");
    }
    let named = || format!("the report can not be written to {}", page.display());
    write_whole(page, report.html()?.as_bytes()).with_context(named)
}
