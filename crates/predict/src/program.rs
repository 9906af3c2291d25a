//! The command line of prediction, for `fireclay-predict` and for programs that have it as a command.

use std::io::{self, Write};
use std::path::PathBuf;

use fireclay_files::{Output, OutputError};
use fireclay_model::model_file::write_by;
use fireclay_model::{Description, Ink, Placement, Task};
use fireclay_pictures::{Fit, Options, silence_decoders};
use fireclay_terminal::{Stdout, counted, tell};

use crate::{
    Batch, Extra, Form, Format, Heading, PredictError, Predicting, Predicts, Reading, Sheet,
    WindowSize,
};

/// Arguments of prediction.
///
/// The program that flattens them has a global flag `quiet`.
#[derive(Clone, Debug, clap::Args)]
pub struct PredictArgs {
    /// Model file, or the folder of a run.
    pub model: PathBuf,
    /// Pictures, recordings, arrays and tables to predict; `-` is standard input.
    #[arg(required_unless_present = "text", value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// Text to predict, for a model that takes one text; repeatable.
    #[arg(long, value_name = "TEXT")]
    pub text: Vec<String>,
    /// Low-rank adapter (LoRA) to apply to the model: a file, or the folder of a run of `finetune --lora` [default: none].
    #[arg(long, value_name = "FILE")]
    pub adapter: Option<PathBuf>,
    /// Number of labels to print, the most probable first [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: Option<u32>,
    /// Print no label for a row whose highest probability is below this [default: 0].
    #[arg(long, value_name = "PROBABILITY", value_parser = probability)]
    pub abstain: Option<f32>,
    /// Read the first line of a table as a header [default: inferred].
    #[arg(long, conflicts_with = "no_header")]
    pub header: bool,
    /// Read the first line of a table as data [default: inferred].
    #[arg(long)]
    pub no_header: bool,
    /// Draw the pictures in the terminal as the model gets them.
    #[arg(long, conflicts_with = "json")]
    pub show: bool,
    /// Print a JSON object per row, each on a line; short for `--format jsonl`.
    #[arg(long)]
    pub json: bool,
    /// Format of the predictions: text, jsonl, csv or parquet [default: text].
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["json", "show"])]
    pub format: Option<Format>,
    /// File to write the predictions to [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace an existing file of --output.
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Whether to leave out what was done to make the rows.
    #[arg(from_global)]
    pub quiet: bool,
    /// How pictures are read.
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// How recordings are read.
    #[command(flatten)]
    pub recordings: RecordingArgs,
}

/// How recordings are read.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Recordings")]
pub struct RecordingArgs {
    /// Predict windows of this length over each recording, a line for each with its start [default: the whole recording].
    #[arg(long, value_name = "SECONDS")]
    pub window: Option<f64>,
    /// Time from one window to the next [default: half of --window].
    #[arg(long, value_name = "SECONDS", requires = "window")]
    pub hop: Option<f64>,
}

/// How pictures are read.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Pictures")]
pub struct PictureArgs {
    /// Conversion of pictures.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub fit: Fit,
    /// Ink of the training pictures, if the model does not record it: bright-on-dark, dark-on-bright or mixed.
    #[arg(long, value_name = "INK", conflicts_with = "fit")]
    pub ink: Option<Ink>,
    /// Placement of the ink, if the model does not record it: as-is, mnist, emnist, mass:PIXELS or box:PIXELS (centre of mass or bounding box in the middle; PIXELS is the longer side of the ink).
    #[arg(long, value_name = "PLACE", conflicts_with = "fit")]
    pub placement: Option<Placement>,
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("give a probability from 0 to 1, such as 0.9".to_owned()),
    }
}

/// The help below the arguments, with examples of this command.
pub fn examples(command: &str) -> String {
    format!(
        "\
Examples:
  {command} runs/mnist-1 seven.png             a drawing or photo of a digit
  {command} model.safetensors *.jpg --top-k 3  the three most probable labels
  {command} base.safetensors seven.png --adapter runs/tuned/adapter.safetensors
  {command} runs/mnist-1 seven.png --show      draw the converted picture in the terminal
  {command} model.safetensors t10k-images-idx3-ubyte --json
  {command} runs/digits seven.wav               a recording
  {command} runs/digits hour.flac --window 1 --hop 0.5   a line for each window, with its start
  cat rows.csv | {command} model.safetensors - --abstain 0.9
  {command} runs/reviews --text 'fresh and hot'     a text; files have one a line
  {command} runs/houses new.parquet --format csv --output prices.csv

A picture is converted to look like the training pictures, as recorded in the model. For MNIST,
uneven light is removed, bright paper becomes black and ink white, frames and lines are removed, and
the ink is scaled to 20x20 and centred by its mass. A picture that looks like the training pictures
is unchanged. Each conversion is printed. A photo should show one character on paper.
A WAV or FLAC recording becomes the features that the model records: its channels are averaged, and
it is resampled. MP3 and other kinds have to be converted first.
IDX, NPY and CSV files hold raw numbers, as in training, and may be compressed with gzip or zstd.
Tables for a model of named columns hold raw values; they may also be JSON Lines or Parquet.
An unreadable input is reported on standard error, the others are predicted, and the exit code is 2."
    )
}

/// Why a program ends without all predictions.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// `--top-k` for a model without labels.
    #[error("--top-k is for labels; this model is for regression, so leave it out")]
    TopK,
    /// `--abstain` for a model without classes.
    #[error("--abstain is for classifiers; this model is for {task}")]
    Abstain {
        /// The task of the model.
        task: &'static str,
    },
    /// `--window` for a model of other rows.
    #[error("--window is for models of recordings, and this one reads none; leave it out")]
    Window,
    /// Parquet without a file.
    #[error("Parquet is not text; name a file with --output")]
    ParquetToTerminal,
    /// The file of `--output` cannot be written.
    #[error(transparent)]
    File(#[from] OutputError),
    /// The one input cannot be predicted.
    #[error(transparent)]
    Input(#[from] PredictError),
    /// Some of several inputs cannot be predicted; each has been reported.
    #[error("cannot predict {failed} of {}", counted(*all as u64, "input"))]
    Inputs {
        /// How many.
        failed: usize,
        /// The number of inputs.
        all: usize,
    },
    /// Standard output cannot be written to.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Predicts the inputs of a command line, and prints the answers as they come.
///
/// # Errors
///
/// A [`ProgramError`]; of several inputs the others are predicted first.
pub fn run(args: &PredictArgs, model: &dyn Predicts) -> Result<(), ProgramError> {
    silence_decoders();
    args.check(model.description())?;
    let Some(path) = &args.output else { return predict(args, model, Stdout) };
    let mut inputs = vec![args.model.clone()];
    inputs.extend(args.inputs.iter().chain(&args.adapter).cloned());
    let output = Output { path, flag: "--output", inputs: &inputs, is_forced: args.force };
    output.check()?;
    let mut result = Ok(());
    write_by(path, |file| match predict(args, model, io::BufWriter::new(file)) {
        // What could be predicted is written.
        Err(error @ ProgramError::Inputs { .. }) => {
            result = Err(error);
            Ok(())
        }
        other => other,
    })?;
    result
}

/// Predicts the inputs, and writes the predictions as they come.
fn predict(args: &PredictArgs, model: &dyn Predicts, out: impl Write) -> Result<(), ProgramError> {
    let mut writer = Writer::begin(args, model, out)?;
    let mut failed = 0;
    if !args.text.is_empty() {
        match writer.write_all(Predicting::of_texts(&args.text, model)?) {
            Err(ProgramError::Output(error)) if is_unread(&error, args) => return Ok(()),
            written => written?,
        }
    }
    for input in &args.inputs {
        let predicting = Predicting::begin(input, model, args.reading());
        match predicting.map_err(ProgramError::from).and_then(|rows| writer.write_all(rows)) {
            Ok(()) => {}
            // Nobody reads any more, which is no reason to fail.
            Err(ProgramError::Output(error)) if is_unread(&error, args) => return Ok(()),
            // The only one is the error of the program.
            Err(error) if args.inputs.len() == 1 => return Err(error),
            Err(error) => {
                tell(&error);
                failed += 1;
            }
        }
    }
    match writer.finish() {
        Err(error) if is_unread(&error, args) => return Ok(()),
        finished => finished?,
    }
    if failed > 0 {
        return Err(ProgramError::Inputs { failed, all: args.inputs.len() });
    }
    Ok(())
}

/// Whether whoever read standard output has gone.
fn is_unread(error: &io::Error, args: &PredictArgs) -> bool {
    args.output.is_none() && error.kind() == io::ErrorKind::BrokenPipe
}

/// What writes predictions.
enum Writer<'a, W: Write> {
    Lines { out: W, form: Form, model: &'a dyn Predicts },
    Sheet(Sheet<'a, W>),
}

impl<'a, W: Write> Writer<'a, W> {
    fn begin(args: &PredictArgs, model: &'a dyn Predicts, out: W) -> Result<Self, ProgramError> {
        let form = args.form();
        let format = args.format.unwrap_or_default();
        if matches!(format, Format::Text | Format::Jsonl) {
            return Ok(Self::Lines { out, form, model });
        }
        let is_parquet = format == Format::Parquet;
        let (inputs, starts) = (args.inputs.len() > 1, args.recordings.window.is_some());
        let has = Extra { inputs, starts, spread: model.members() > 1 };
        let sheet = Sheet::begin(out, model.description(), is_parquet, has, form);
        Ok(Self::Sheet(sheet?))
    }

    fn write_all(&mut self, predicting: Predicting<'_>) -> Result<(), ProgramError> {
        for batch in predicting {
            self.write(&batch?)?;
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        match self {
            Self::Lines { out, form, model } => {
                let lines = batch.answers(model.description()).map(|answer| answer.line(form));
                let text = lines.collect::<Vec<_>>().join("\n");
                out.write_all(format!("{}\n", text.trim_end_matches('\n')).as_bytes())?;
                out.flush()
            }
            Self::Sheet(sheet) => sheet.write(batch),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Lines { mut out, .. } => out.flush(),
            Self::Sheet(sheet) => sheet.finish(),
        }
    }
}

impl PredictArgs {
    /// Refuses what does not fit the model.
    fn check(&self, model: &Description) -> Result<(), ProgramError> {
        let task = &model.task;
        if self.recordings.window.is_some() && model.input.sounds().is_none() {
            return Err(ProgramError::Window);
        }
        if self.format == Some(Format::Parquet) && self.output.is_none() {
            return Err(ProgramError::ParquetToTerminal);
        }
        if self.top_k.is_some() && matches!(task, Task::Regression { .. }) {
            return Err(ProgramError::TopK);
        }
        if self.abstain.is_some() && !matches!(task, Task::Classification { .. }) {
            return Err(ProgramError::Abstain { task: task.kind() });
        }
        Ok(())
    }

    fn reading(&self) -> Reading {
        let PictureArgs { fit, ink, placement } = self.pictures;
        let heading = match (self.header, self.no_header) {
            (true, _) => Heading::Yes,
            (_, true) => Heading::No,
            _ => Heading::Auto,
        };
        let RecordingArgs { window, hop } = self.recordings;
        let windows = window.map(|length| WindowSize { length, hop: hop.unwrap_or(length / 2.0) });
        Reading { pictures: Options { fit, ink, placement }, windows, heading }
    }

    fn form(&self) -> Form {
        Form {
            json: self.json || self.format == Some(Format::Jsonl),
            top_k: self.top_k.unwrap_or(1) as usize,
            abstain: self.abstain,
            notes: !self.quiet,
            show: self.show,
        }
    }
}
