//! `cargo xtask bench-blocks`: training on a table larger than memory.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::bench_backends::machine;
use crate::numbers::{grouped, markdown, write_page};
use crate::process;

/// Train on a generated table within a bound of memory, and fill in docs/benchmarks.md.
///
/// The table has numeric columns and a class that follows from three of them. The command reports the
/// largest memory of the process, and the speed of training beside that of its parser alone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Size of the table in gigabytes
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    gigabytes: f64,
    /// Numeric columns of the table
    #[arg(long, value_name = "N", default_value_t = 200)]
    columns: usize,
    /// Memory to train within
    #[arg(long, value_name = "SIZE", default_value = "500MB")]
    memory: String,
    /// Program `fireclay` to measure [default: that of `cargo build -p fireclay-cli`]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print the table without writing it to docs/benchmarks.md
    #[arg(long)]
    no_page: bool,
}

/// What was measured.
struct Measured {
    bytes: u64,
    rows: u64,
    /// Largest resident memory, in kilobytes.
    memory: u64,
    /// Seconds of the pass that parses every number and trains nothing, and of an epoch.
    parsing: f64,
    epoch: f64,
    accuracy: String,
    total: f64,
}

/// Measures, prints, and fills in the page.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let folder = process::target()?.join("bench-blocks");
    std::fs::create_dir_all(&folder)?;
    let table = folder.join(format!("{}-{}.csv", args.gigabytes, args.columns));
    if !table.exists() {
        println!("writing {}", table.display());
        write_table(&table, args.columns, (args.gigabytes * 1e9) as u64)?;
    }
    let program = match &args.program {
        Some(program) => program.clone(),
        None => {
            process::run("cargo build -p fireclay-cli")?;
            process::built("fireclay")?
        }
    };
    let measured = measure(&program, &table, &args.memory, &folder)?;
    let text = report(args, &measured)?;
    println!("\n{text}");
    if !args.no_page {
        write_page("blocks", &text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes rows of numbers in [0, 1) with seven digits, and a class.
fn write_table(path: &Path, columns: usize, bytes: u64) -> Result<()> {
    let part = path.with_extension("part");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&part)?);
    let names: Vec<String> = (0..columns).map(|column| format!("x{column}")).collect();
    writeln!(file, "{},class", names.join(","))?;
    let (mut state, mut written, mut line) = (1_u64, 0, String::new());
    while written < bytes {
        line.clear();
        let mut sum = 0;
        for column in 0..columns {
            // A linear congruential generator (Knuth, MMIX): its high digits are random enough here.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let digits = (state >> 40) % 10_000_000;
            sum += if column < 3 { digits } else { 0 };
            line.push_str(&format!("0.{digits:07},"));
        }
        line.push_str(if sum > 15_000_000 { "high\n" } else { "low\n" });
        file.write_all(line.as_bytes())?;
        written += line.len() as u64;
    }
    file.flush()?;
    Ok(std::fs::rename(part, path)?)
}

/// Trains for an epoch, watching the memory of the process.
fn measure(program: &Path, table: &Path, memory: &str, folder: &Path) -> Result<Measured> {
    let runs = folder.join("runs");
    let _ = std::fs::remove_dir_all(&runs);
    let mut command = process::command(&program.display().to_string());
    command.args([
        "train",
        "--no-report",
        "--data",
        &table.display().to_string(),
        "--target",
        "class",
        "--epochs",
        "1",
    ]);
    command.args(["--memory", memory, "--hidden", "64", "--batch-size", "1024", "-v"]);
    command.args(["--test", "0.05", "--name", "blocks", "--out", &runs.display().to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = std::time::Instant::now();
    let mut child = command.spawn().context("cannot start the program")?;
    let said = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).collect())
    });
    let printed = child.stdout.take().map(|stdout| {
        std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).collect())
    });
    let memory = peak(&mut child)?;
    let status = child.wait()?;
    let total = started.elapsed().as_secs_f64();
    let lines = |thread: Option<std::thread::JoinHandle<Vec<String>>>| {
        thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    };
    let (said, printed) = (lines(said), lines(printed));
    ensure!(status.success(), "the program failed: {}", said.join("\n"));
    let at = |text: &str| {
        let line = said.iter().find(|line| line.contains(text));
        let second = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        second.with_context(|| format!("the log has no line with {text:?}"))
    };
    let epoch = printed.iter().find(|line| line.starts_with("epoch 1/1"));
    let epoch = epoch.and_then(|line| line.split_whitespace().rev().nth(1)?.parse().ok());
    let test = printed.iter().find(|line| line.starts_with("test loss"));
    let accuracy = test.and_then(|line| Some(line.split_once("accuracy ")?.1.to_owned()));
    let rows = printed.first().and_then(|line| {
        let numbers =
            line.split_whitespace().filter_map(|word| word.replace(',', "").parse::<u64>().ok());
        Some(numbers.take(3).sum::<u64>()).filter(|&sum| sum > 0)
    });
    Ok(Measured {
        bytes: std::fs::metadata(table)?.len(),
        rows: rows.context("the program printed no rows")?,
        memory,
        parsing: at("fitted the input")? - at("fitting the input")?,
        epoch: epoch.context("the program printed no epoch")?,
        accuracy: accuracy.context("the program printed no test accuracy")?,
        total,
    })
}

/// The largest resident memory of a process until it ends, in kilobytes, as Linux tells it.
fn peak(child: &mut Child) -> Result<u64> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM:"));
        let found = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        peak = found.unwrap_or(0).max(peak);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(peak)
}

fn report(args: &Args, found: &Measured) -> Result<String> {
    let megabytes = found.bytes as f64 / 1e6;
    let (parser, training) = (megabytes / found.parsing, megabytes / found.epoch);
    let rows = vec![
        vec!["measure".to_owned(), "value".to_owned()],
        vec![
            "table".to_owned(),
            format!("{:.1} GB, {} rows", megabytes / 1e3, grouped(found.rows as f64)),
        ],
        vec!["bound of memory".to_owned(), args.memory.clone()],
        vec!["largest memory".to_owned(), format!("{} MB", found.memory / 1024)],
        vec!["parser alone".to_owned(), format!("{parser:.0} MB/s")],
        vec!["training".to_owned(), format!("{training:.0} MB/s")],
        vec!["training / parser".to_owned(), format!("{:.2}", training / parser)],
        vec!["test accuracy".to_owned(), found.accuracy.clone()],
        vec!["whole run".to_owned(), format!("{:.0} s", found.total)],
    ];
    let m = machine::describe(true)?;
    Ok(format!(
        "{}, {} cores, {}, {}. One epoch of {}-64-2 in batches of 1,024. \
         The parser alone reads every number of the file and trains nothing.\n\n{}",
        m.processor,
        m.cores,
        m.date,
        m.rustc,
        args.columns,
        markdown(&rows)
    ))
}
