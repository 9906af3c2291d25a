//! `cargo xtask check`: everything that must hold before a change is handed in.

use std::fmt::{Display, Formatter};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{arrows, book, docs, features, process, prose, shape, tools};

/// Check the workspace, with the steps of CI, cheapest first, up to the first failure.
///
/// `cargo xtask check` runs all steps, `cargo xtask check --fast` skips the slow ones, and
/// `cargo xtask check fmt clippy` runs only the two named steps.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only these steps
    #[arg(value_name = "STEP")]
    only: Vec<Step>,

    /// Skip the slow steps: tests, example and wasm
    #[arg(long)]
    fast: bool,

    /// Skip a step; repeatable
    #[arg(long, value_name = "STEP", hide_possible_values = true)]
    skip: Vec<Step>,
}

/// The steps, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Check the formatting
    Fmt,
    /// Find misspellings (needs `typos`)
    Spelling,
    /// Hold pages, messages and commit titles to docs/style.md
    Prose,
    /// Limit the length of functions and files
    Shape,
    /// Compare the dependencies of members with docs/architecture.md
    Arrows,
    /// Compare the features of third-party packages between ways to build
    Features,
    /// Check licences, origins and advisories of dependencies (needs `cargo-deny`)
    Deny,
    /// Deny warnings of rustc and clippy
    Clippy,
    /// Run the commands of the pages and follow their links
    DocsCommands,
    /// Run the tests, doc-tests included
    Tests,
    /// Compile prediction for the browser (needs `rustup`)
    Wasm,
    /// Build and test the projects in docs/examples
    Example,
    /// Build the API documentation without warnings
    Docs,
    /// Build pages and API documentation as one site (needs `mdbook`)
    Book,
}

/// The projects outside the workspace, which `cargo fmt --all` does not see.
const OUTSIDE: [&str; 7] = [
    "benches/latency",
    "crates/formats/fuzz",
    "crates/sounds/fuzz",
    "crates/tables/fuzz",
    "docs/examples/depend-on-core",
    "docs/examples/predict-alone",
    "fuzz",
];

/// The end of a step that did not fail.
pub(crate) enum Outcome {
    /// It ran and found no fault.
    Passed,
    /// It did not run, for this reason.
    Skipped(String),
}

/// Runs the steps that were asked for and prints how each one went.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut rows = Vec::new();
    let failure = run_steps(args, &mut rows).err();
    print_table(&rows, std::io::stdout().is_terminal() && !no_color());
    failure.map_or(Ok(()), Err)
}

fn run_steps(args: &Args, rows: &mut Vec<Row>) -> Result<()> {
    for &step in Step::value_variants() {
        if !args.only.is_empty() && !args.only.contains(&step) {
            continue;
        }
        let start = Instant::now();
        let result = match args.skips(step) {
            Some(reason) => Ok(Outcome::Skipped(reason.into())),
            None => step.announce_and_run(),
        };
        let (word, note) = match &result {
            Ok(Outcome::Passed) => (Word::Passed, String::new()),
            Ok(Outcome::Skipped(reason)) => (Word::Skipped, reason.clone()),
            Err(_) => (Word::Failed, String::new()),
        };
        rows.push(Row { step, word, took: start.elapsed(), note });
        result.with_context(|| format!("step {step} failed; to do: {}", step.remedy()))?;
    }
    Ok(())
}

impl Args {
    fn skips(&self, step: Step) -> Option<&'static str> {
        if self.skip.contains(&step) {
            return Some("--skip");
        }
        (self.fast && matches!(step, Step::Tests | Step::Wasm | Step::Example)).then_some("--fast")
    }
}

impl Step {
    fn announce_and_run(self) -> Result<Outcome> {
        println!("\n== {self}");
        match self {
            Self::Fmt => {
                process::run("cargo fmt --all --check")?;
                for folder in OUTSIDE {
                    process::run(&format!(
                        "cargo fmt --check --manifest-path {folder}/Cargo.toml"
                    ))?;
                }
            }
            Self::Spelling => return tools::spelling(),
            Self::Prose => prose::check()?,
            Self::Shape => shape::check()?,
            Self::Arrows => arrows::check()?,
            Self::Features => features::check()?,
            Self::Deny => return tools::deny(),
            Self::Clippy => {
                process::run("cargo clippy --workspace --all-targets --locked -- -D warnings")?;
                // The other projects outside compile Burn once more, or need another toolchain.
                process::run(
                    "cargo clippy --manifest-path benches/latency/Cargo.toml --all-targets --locked \
                     --target-dir target/latency -- -D warnings",
                )?;
            }
            Self::DocsCommands => docs::check()?,
            Self::Tests => process::run("cargo test --workspace --locked")?,
            Self::Wasm => return tools::wasm(),
            Self::Example => return tools::examples(),
            Self::Docs => {
                let deny = [("RUSTDOCFLAGS", "-D warnings")];
                process::run_with("cargo doc --workspace --no-deps --locked", &deny)?;
            }
            Self::Book => return book::check(),
        }
        Ok(Outcome::Passed)
    }

    /// Returns the advice for a step that failed.
    fn remedy(self) -> &'static str {
        match self {
            Self::Fmt => {
                "run `cargo fmt --all`, and in a project outside the workspace `cargo fmt` in its folder"
            }
            Self::Spelling => "correct the words, or add a name that is right to typos.toml",
            Self::Prose => "use the word that is suggested, see docs/style.md",
            Self::Shape => "split it by what its parts do; `cargo xtask shape` has all the numbers",
            Self::Arrows => "remove the dependency, or change the table and say why beside it",
            Self::Features => "name the missing features where `train` asks for the package too",
            Self::Deny => "replace the package, or allow it in deny.toml with the reason",
            Self::Clippy => "follow the advice, or use `#[expect(lint, reason = \"...\")]`",
            Self::DocsCommands => "correct the page; a command run elsewhere goes into KNOWN",
            Self::Tests => "run the failing test alone: `cargo test -p PACKAGE NAME`",
            Self::Wasm => "keep what the browser does not have out of fireclay-model",
            Self::Example => {
                "correct the example, or what `fireclay` or `fireclay-model` depends on; \
                 where its Cargo.lock is behind, run `cargo update --workspace` in its folder"
            }
            Self::Docs => "correct the doc comment",
            Self::Book => "correct the link, or list the page in docs/SUMMARY.md",
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// One line of the table at the end.
struct Row {
    step: Step,
    word: Word,
    took: Duration,
    note: String,
}

#[derive(Clone, Copy)]
enum Word {
    Passed,
    Skipped,
    Failed,
}

impl Word {
    /// The word, in seven columns, and its colour as an ANSI code.
    fn text_and_color(self) -> (&'static str, u8) {
        match self {
            Self::Passed => ("ok     ", 32),
            Self::Skipped => ("skipped", 33),
            Self::Failed => ("FAILED ", 31),
        }
    }
}

fn print_table(rows: &[Row], colored: bool) {
    println!("\nstep           result    seconds");
    for Row { step, word, took, note } in rows {
        let (text, color) = word.text_and_color();
        let text = if colored { format!("\x1b[{color}m{text}\x1b[0m") } else { text.into() };
        let line = format!("{step:<13}  {text}  {:>8.1}  {note}", took.as_secs_f64());
        println!("{}", line.trim_end());
    }
    let total: Duration = rows.iter().map(|row| row.took).sum();
    println!("{:<13}  {:<7}  {:>8.1}", "total", "", total.as_secs_f64());
}

/// Returns true if the user wants no colours, see <https://no-color.org>.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
