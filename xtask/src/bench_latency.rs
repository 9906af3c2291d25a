//! `cargo xtask bench-latency`: prediction beside ONNX Runtime.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bench_backends::machine;
use crate::numbers::{grouped, markdown, write_page};
use crate::process;

/// Compare prediction with ONNX Runtime, and fill in docs/benchmarks.md.
///
/// This trains the default network and writes it as ONNX too. Both programs predict the same test rows
/// in one process, in turns: one row at a time on one thread, and batches of 4,096 on all threads.
/// A virtual environment with benches/latency/requirements.txt provides ONNX Runtime's C library.
/// The command takes a few minutes; run nothing else meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Existing virtual environment
    #[arg(long, value_name = "FOLDER")]
    venv: Option<PathBuf>,
    /// Print the table without writing it to docs/benchmarks.md
    #[arg(long)]
    no_page: bool,
}

/// The network, the data and the program, below the root.
const IMAGES: &str = "crates/data/mnist/t10k-images-idx3-ubyte.zst";
const PROJECT: &str = "benches/latency";

/// Measures, prints, and fills in the page.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let folder = process::target()?.join("bench-latency");
    std::fs::create_dir_all(&folder)?;
    let requirements = "benches/latency/requirements.txt";
    let python = process::python(args.venv.as_deref(), &folder, requirements)?;
    let (shown, target) = (folder.display(), process::target()?);
    process::run("cargo build -p train")?;
    let train = process::built("train")?;
    let model = folder.join("runs/default/model.safetensors");
    if !model.exists() {
        process::run(&format!("{} --quiet --out {shown}/runs --name default", train.display()))?;
    }
    let built = target.join("latency");
    process::run_with(
        &format!("cargo build --manifest-path {PROJECT}/Cargo.toml"),
        &[("CARGO_TARGET_DIR", &built.display().to_string())],
    )?;
    let make =
        format!("{} {PROJECT}/make.py {} {IMAGES} {shown}", python.display(), model.display());
    process::run(&make)?;
    let library = process::output(&format!("{} {PROJECT}/library.py", python.display()))?;
    let files = [model, folder.join("model.onnx"), folder.join("rows.f32"), library.trim().into()];
    let files = files.map(|file: PathBuf| file.display().to_string());
    let program = built.join(format!("debug/latency{}", std::env::consts::EXE_SUFFIX));
    let found = process::document(&program, &files.each_ref().map(String::as_str), &[])?;
    let text = report(&found)?;
    println!("\n{text}");
    if !args.no_page {
        write_page("latency", &text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Name of a measure, true if less is better, and the target as a share of ONNX Runtime's.
const MEASURES: [(&str, bool, Option<f64>); 4] = [
    ("one row, p50, us", true, Some(0.5)),
    ("one row, p99, us", true, Some(0.6)),
    ("4,096 rows, rows/s", false, Some(1.2)),
    ("file to first prediction, ms", true, None),
];

/// A median, and in brackets the worst.
fn both((median, worst): (f64, f64)) -> String {
    format!("{} ({})", digits(median), digits(worst))
}

fn digits(number: f64) -> String {
    if number < 100.0 { format!("{number:.2}") } else { grouped(number) }
}

fn report(found: &Value) -> Result<String> {
    let heading = ["", "Fireclay", "ONNX Runtime", "Fireclay / ONNX Runtime", "asked"];
    let mut table = vec![heading.map(str::to_owned).to_vec()];
    for (name, is_cost, asked) in MEASURES {
        let [ours, theirs] = ["fireclay", "onnxruntime"].map(|program| {
            let of_program = &found[name][program];
            let numbers = of_program["median"].as_f64().zip(of_program["worst"].as_f64());
            numbers.with_context(|| format!("no {name} of {program}"))
        });
        let (ours, theirs) = (ours?, theirs?);
        let asked = asked.map_or_else(String::new, |share| {
            format!("at {} {share}", if is_cost { "most" } else { "least" })
        });
        let row = [both(ours), both(theirs), format!("{:.2}", ours.0 / theirs.0), asked];
        table.push([vec![name.replace("us", "µs")], row.to_vec()].concat());
    }
    let [threads, sittings, difference] = ["threads", "sittings", "largest difference of a logit"]
        .map(|name| found[name].as_f64().unwrap_or(f64::NAN));
    let m = machine::describe(true)?;
    Ok(format!(
        "{}, {} cores, {}, {}. ONNX Runtime {}, {} threads for batches. Medians of {} sittings, in brackets the worst. \
         Logits differ by at most {:.1e}.\n\n{}",
        m.processor,
        m.cores,
        m.date,
        m.rustc,
        found["onnxruntime"].as_str().unwrap_or("?"),
        threads,
        sittings,
        difference,
        markdown(&table)
    ))
}
