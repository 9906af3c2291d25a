//! `cargo xtask bench-tables`: accuracy on tables beside scikit-learn, boosted trees and pytabkit.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::bench_backends::machine::describe;
use crate::numbers::write_page;
use crate::process;

/// Compare accuracy on tables with scikit-learn and pytabkit, and fill in docs/benchmarks.md.
///
/// Every program trains on the same five splits of each table and predicts the same test rows.
/// The first run downloads about 4 GB for benches/tables/requirements.txt. All programs together take
/// hours; a command that is stopped continues with the next result.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tables to train on, separated by commas [default: all]
    #[arg(long, value_name = "LIST")]
    sets: Option<String>,
    /// Programs to compare, separated by commas [default: all]
    #[arg(long, value_name = "LIST")]
    programs: Option<String>,
    /// Existing virtual environment
    #[arg(long, value_name = "FOLDER")]
    venv: Option<PathBuf>,
    /// Print the table without writing it to docs/benchmarks.md
    #[arg(long)]
    no_page: bool,
}

/// Measures, prints, and fills in the page.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let folder = process::target()?.join("bench-tables");
    std::fs::create_dir_all(&folder)?;
    let requirements = "benches/tables/requirements.txt";
    let python = process::python(args.venv.as_deref(), &folder, requirements)?;
    process::run("cargo build -p fireclay-cli")?;
    let fireclay = process::built("fireclay")?;
    let [python, fireclay, folder] = [&python, &fireclay, &folder].map(|path| path.display());
    let mut line = format!("{python} benches/tables/compare.py {fireclay} {folder}");
    for (flag, list) in [("--sets", &args.sets), ("--programs", &args.programs)] {
        if let Some(list) = list {
            line += &format!(" {flag} {list}");
        }
    }
    let table = process::output(&line)?;
    let m = describe(true)?;
    let text = format!(
        "{}, {} cores, {}. Means of five splits, with the standard deviation.\n\n{table}",
        m.processor, m.cores, m.date
    );
    println!("\n{text}");
    if !args.no_page {
        write_page("tables", &text)?;
    }
    Ok(ExitCode::SUCCESS)
}
