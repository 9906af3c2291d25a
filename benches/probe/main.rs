//! Measures one backend, in a process of its own, for `cargo xtask bench-backends`.
//!
//! Prints one JSON document, or fails with a sentence that says why.

#![expect(clippy::print_stdout, reason = "a program talks to its user")]

mod agree;
mod reference;
mod speed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::{Parser, Subcommand};
use fireclay::{Activation, Backend, DeviceChoice, MlpConfig, Task};
use fireclay_data::{Dataset, Features, LoadOptions, RowSource, Source, Targets, TrainTest, load};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The network: tutorial, wide or deep.
    #[arg(long, global = true, default_value = "tutorial")]
    shape: String,
    /// Where to compute.
    #[arg(long, global = true, default_value = "flex")]
    backend: Backend,
    /// Which of the backend's devices.
    #[arg(long, global = true, default_value = "default")]
    device: DeviceChoice,
    /// Computes `relu` wrongly: a test of whoever compares.
    #[arg(long, global = true, hide = true)]
    wrong_kernel: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Logits of 1,000 rows before training, and the loss after 100 steps.
    Agree,
    /// The same in f64, by plain loops that share no code with any backend.
    Reference,
    /// Write MNIST as raw bytes for other programs.
    Export { folder: PathBuf },
    /// Samples a second in training.
    Train {
        #[arg(long)]
        batch: usize,
        #[arg(long)]
        seconds: f64,
    },
    /// Time of a prediction, and rows a second.
    Infer {
        #[arg(long)]
        batch: usize,
        #[arg(long)]
        seconds: f64,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(document) => {
            println!("{document}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", serde_json::json!({ "error": format!("{error:#}") }));
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<serde_json::Value> {
    let network = network(cli)?;
    // Looked at first: a backend that is not there costs no time.
    let device = cli.backend.device(cli.device)?;
    let TrainTest { train: data, test, .. } =
        load(&Source::Mnist, &LoadOptions::default(), &mut |_| {})?;
    let document = match &cli.command {
        Command::Export { folder } => {
            std::fs::create_dir_all(folder)?;
            export(&data, folder, "train")?;
            export(&test, folder, "test")?;
            serde_json::json!({})
        }
        Command::Agree => agree::measure(&network, rows(cli, &data, &device), &device)?,
        Command::Reference => agree::reference(&network, &data)?,
        Command::Train { batch, seconds } => {
            speed::train(&network, rows(cli, &data, &device), &device, *batch, *seconds)?
        }
        Command::Infer { batch, seconds } => {
            speed::infer(&network, &data, &device, *batch, *seconds)?
        }
    };
    Ok(with_device(document, cli))
}

fn rows<'a>(cli: &Cli, data: &'a Dataset, device: &Device) -> RowSource<'a> {
    if cli.backend.is_cpu() {
        RowSource::gathered(data, device)
    } else {
        RowSource::on_device(data, device)
    }
}

/// Writes the pixels and the classes of a part as bytes.
fn export(data: &Dataset, folder: &Path, name: &str) -> Result<()> {
    let (Features::Bytes(pixels), Targets::Classes { ids, .. }) = (data.features(), data.targets())
    else {
        bail!("MNIST has bytes and classes");
    };
    let labels: Vec<u8> = ids.iter().map(|&id| id as u8).collect();
    std::fs::write(folder.join(format!("{name}-images")), pixels)?;
    std::fs::write(folder.join(format!("{name}-labels")), labels)?;
    Ok(())
}

fn with_device(mut document: serde_json::Value, cli: &Cli) -> serde_json::Value {
    document["device"] = cli.backend.device_name(cli.device).into();
    document
}

/// A network of one of the shapes, for the pixels and the digits of MNIST.
fn network(cli: &Cli) -> Result<MlpConfig> {
    let hidden: &[usize] = match cli.shape.as_str() {
        "tutorial" => &[128],
        "wide" => &[2048, 2048],
        "deep" => &[256; 6],
        other => bail!("unknown shape `{other}`; shapes: tutorial, wide, deep"),
    };
    let config = MlpConfig::new([28, 28], hidden.to_vec(), 10);
    // The same weights, and another function where the input is negative.
    let activation = if cli.wrong_kernel { Activation::LeakyRelu } else { Activation::Relu };
    Ok(MlpConfig { activation, ..config })
}

/// The meaning of the outputs.
fn task(data: &Dataset) -> Task {
    Task::classification(data.targets().labels().to_vec())
}

/// Waits until the device has done everything.
fn sync(device: &Device) -> Result<()> {
    device.sync().map_err(|error| anyhow::anyhow!("the device failed: {error}"))
}
