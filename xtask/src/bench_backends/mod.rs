//! `cargo xtask bench-backends`: which backend is fastest here, and whether they agree.

pub(crate) mod machine;
mod plot;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process;
use report::{Agreement, Inference, Report, Training, Verdict};

use crate::numbers::Spread;

/// Compare backends by agreement and speed.
///
/// First, every backend gets the same weights and the same 1,000 rows, and trains the tutorial's network
/// and the deep one for 100 steps. A reference in f64, which shares no code with any backend, judges the
/// results. A backend outside the limits is shown as WRONG and not timed, and the exit code is 1. Then
/// the others are timed, each in its own process, in interleaved rounds, after a warm-up, with the
/// device synchronised before each clock reading.
///
/// The first run makes an optimised build, which takes a quarter of an hour. `--quick` uses the dev
/// build, whose timings are meaningful for `flex` only.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Backends; the table compares the others with the first
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = BACKENDS, default_value = "flex,ndarray,wgpu")]
    backends: Vec<String>,
    /// Networks: tutorial (784-128-10), wide (784-2048-2048-10), deep (six hidden layers of 256)
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = SHAPES)]
    shapes: Vec<String>,
    /// Batch sizes
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch_sizes: Vec<u32>,
    /// Number of rounds [default: 3, or 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Measure less: the tutorial's network, two batch sizes, short windows, the dev build
    #[arg(long)]
    quick: bool,
    /// Folder for a dated copy of the report
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
    /// Print the best backend for each network and batch size
    #[arg(long)]
    recommend: bool,
    /// Let this backend compute relu wrongly, to see that it is noticed
    #[arg(long, value_name = "BACKEND", hide = true)]
    wrong_kernel: Option<String>,
}

const BACKENDS: [&str; 8] =
    ["flex", "ndarray", "wgpu", "vulkan", "metal", "webgpu", "cuda", "rocm"];
const SHAPES: [&str; 3] = ["tutorial", "wide", "deep"];
/// Farthest that a logit may be from the reference.
const LOGITS: f64 = 1e-4;
/// Farthest that the loss after training may be from the reference.
const LOSS: f64 = 1e-3;

/// The measurements to take, and their length.
struct Plan<'a> {
    args: &'a Args,
    probe: PathBuf,
    shapes: Vec<String>,
    batches: Vec<u32>,
    rounds: u32,
    seconds: f64,
}

/// Builds the probe, compares, measures and reports.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let profile = if args.quick { "" } else { "--release " };
    let features: Vec<String> = args.backends.iter().map(|name| format!("train/{name}")).collect();
    let features = features.join(",");
    process::run(&format!(
        "cargo build {profile}-p benches -p train --bins --features {features}"
    ))?;
    let shapes: &[&str] = if args.quick { &["tutorial"] } else { &SHAPES };
    let batches: &[u32] = if args.quick { &[32, 1024] } else { &[32, 256, 1024, 4096] };
    let plan = Plan {
        args,
        probe: process::built_as("probe", !args.quick)?,
        shapes: if args.shapes.is_empty() {
            shapes.iter().map(ToString::to_string).collect()
        } else {
            args.shapes.clone()
        },
        batches: if args.batch_sizes.is_empty() {
            batches.to_vec()
        } else {
            args.batch_sizes.clone()
        },
        rounds: args.rounds.unwrap_or(if args.quick { 1 } else { 3 }),
        seconds: if args.quick { 0.5 } else { 2.0 },
    };
    let agreement = plan.agreement()?;
    let fit: Vec<&Agreement> =
        agreement.iter().filter(|found| found.verdict == Verdict::Agrees).collect();
    let training = plan.training(&fit)?;
    let inference = plan.inference(&fit)?;
    let report = Report { machine: machine::describe(args.quick)?, agreement, training, inference };
    print!("\n{}", report.text());
    if args.recommend {
        print!("\n{}", report.recommendation());
    }
    let folder = process::target()?.join("bench-backends");
    write(&report, &folder, "report")?;
    if let Some(folder) = &args.save {
        write(&report, folder, &format!("{}-backends", report.machine.date))?;
    }
    ensure!(
        report.agreement.iter().any(|found| found.verdict != Verdict::CannotStart),
        "no backend could start"
    );
    let is_wrong = report.agreement.iter().any(|found| found.verdict == Verdict::Wrong);
    Ok(if is_wrong { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Writes the report in its three forms.
fn write(report: &Report, folder: &Path, name: &str) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let forms = [
        ("json", serde_json::to_string_pretty(report)? + "\n"),
        ("md", report.markdown(&format!("{name}.svg"))),
        ("svg", plot::svg(report)?),
    ];
    for (form, text) in forms {
        let path = folder.join(format!("{name}.{form}"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

impl Plan<'_> {
    /// Compares every backend with the reference, on every shape.
    fn agreement(&self) -> Result<Vec<Agreement>> {
        let mut all = Vec::new();
        for shape in &self.shapes {
            println!("comparing with the reference: {shape}");
            let reference = self.probe("flex", shape, &["reference"])?;
            for backend in &self.args.backends {
                let is_wrong = self.args.wrong_kernel.as_ref() == Some(backend);
                let words: &[&str] =
                    if is_wrong { &["agree", "--wrong-kernel"] } else { &["agree"] };
                let found = self.probe(backend, shape, words);
                let agreement = match found {
                    Ok(found) => Agreement::of(backend, shape, &found, &reference)?,
                    Err(error) => Agreement::none(backend, shape, &format!("{error:#}")),
                };
                println!("  {backend}: {}", agreement.sentence());
                all.push(agreement);
            }
        }
        Ok(all)
    }

    /// Times training.
    fn training(&self, fit: &[&Agreement]) -> Result<Vec<Training>> {
        let measured = self.rounds("train", &self.batches, fit)?;
        let mut all = Vec::new();
        for ((shape, batch, backend), found) in measured {
            all.push(Training {
                shape,
                batch,
                backend,
                cold_s: Spread::of(&found, "cold_s")?,
                step_us: Spread::of(&found, "step_us")?,
                samples_per_s: Spread::of(&found, "samples_per_s")?,
            });
        }
        Ok(all)
    }

    /// Times predictions: one row at a time, and the largest batch.
    fn inference(&self, fit: &[&Agreement]) -> Result<Vec<Inference>> {
        let most = self.batches.iter().copied().max().unwrap_or(1);
        let batches = if most == 1 { vec![1] } else { vec![1, most] };
        let measured = self.rounds("infer", &batches, fit)?;
        let mut all = Vec::new();
        for ((shape, batch, backend), found) in measured {
            all.push(Inference {
                shape,
                batch,
                backend,
                p50_us: Spread::of(&found, "p50_us")?,
                p99_us: Spread::of(&found, "p99_us")?,
                samples_per_s: Spread::of(&found, "samples_per_s")?,
            });
        }
        Ok(all)
    }

    /// Runs one command of the probe for every case, round by round, the backends in turn.
    fn rounds(
        &self,
        command: &str,
        batches: &[u32],
        fit: &[&Agreement],
    ) -> Result<BTreeMap<Case, Vec<Value>>> {
        let seconds = self.seconds.to_string();
        let mut all: BTreeMap<Case, Vec<Value>> = BTreeMap::new();
        for round in 1..=self.rounds {
            println!("{command}, round {round} of {}", self.rounds);
            for &batch in batches {
                for Agreement { shape, backend, .. } in fit {
                    let batch_word = batch.to_string();
                    let words = [command, "--batch", &batch_word, "--seconds", &seconds];
                    let found = self.probe(backend, shape, &words).with_context(|| {
                        format!("{backend} failed at {command}, {shape}, batches of {batch}")
                    })?;
                    all.entry((shape.clone(), batch, backend.clone())).or_default().push(found);
                }
            }
        }
        Ok(all)
    }

    /// Runs the probe once; an error is what it said.
    fn probe(&self, backend: &str, shape: &str, words: &[&str]) -> Result<Value> {
        let words = [words, &["--backend", backend, "--shape", shape]].concat();
        process::document(&self.probe, &words, &[])
    }
}

/// Shape, batch size and backend.
type Case = (String, u32, String);
