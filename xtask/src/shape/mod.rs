//! The shape of the code in numbers, and the two of them that have a limit.

mod source;
mod tokens;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process;
use source::Source;

/// Print the shape of the code by package: lengths of files and functions, comments, closures.
///
/// Tests are left out. A function is counted from `fn` to its closing
/// brace. Shares are of the lines that are not blank. `closures` are those that a `let` names, per
/// 1,000 lines; `clauses` are doc comments that begin with How, What or Whether.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Lines that a file may have outside of its tests; a file of tests has no others.
const LONGEST_FILE: usize = 600;
/// Lines that a function outside of tests may have, from `fn` to its closing brace.
const LONGEST_FUNCTION: usize = 70;

/// Folders that hold packages, relative to the root.
const FOLDERS: [&str; 5] = ["benches", "crates", "docs/examples", "fuzz", "xtask"];

/// Prints the table.
pub(crate) fn run(_: &Args) -> Result<()> {
    let files = files()?;
    let mut packages: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_test) {
        packages.entry(&file.package).or_default().push(&file.source);
    }
    print_row("", &HEADINGS.map(str::to_owned));
    for (package, sources) in &packages {
        print_row(package, &cells(sources));
    }
    print_row("all", &cells(&packages.into_values().flatten().collect::<Vec<_>>()));
    Ok(())
}

/// Holds every file and every function to its limit.
pub(crate) fn check() -> Result<()> {
    let files = files()?;
    let faults: Vec<String> = files.iter().flat_map(faults).collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{} files read", files.len());
    Ok(())
}

/// A source, with its place.
struct File {
    path: PathBuf,
    /// The folder of its package, relative to the root.
    package: String,
    is_test: bool,
    source: Source,
}

fn faults(file: &File) -> Vec<String> {
    let File { path, source, is_test, .. } = file;
    let mut faults = Vec::new();
    let length = if *is_test { source.length } else { source.code_length };
    if length > LONGEST_FILE {
        let path = path.display();
        faults.push(format!("{path} has {length} lines, at most {LONGEST_FILE} are allowed"));
    }
    if *is_test {
        return faults;
    }
    for source::Function { name, line, length } in &source.functions {
        if *length > LONGEST_FUNCTION {
            let path = path.display();
            faults.push(format!(
                "{path}:{line}: `{name}` has {length} lines, at most {LONGEST_FUNCTION} are allowed"
            ));
        }
    }
    faults
}

/// All sources of the packages, in and outside of the workspace.
fn files() -> Result<Vec<File>> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        add_files(Path::new(folder), "", &mut found)?;
    }
    let tests: Vec<PathBuf> = found.iter().flat_map(test_modules).collect();
    for file in &mut found {
        file.is_test |= tests.iter().any(|module| file.path.starts_with(module))
            || tests.contains(&file.path.with_extension(""));
    }
    Ok(found)
}

/// The paths, without an ending, of the modules that only tests of a file have.
fn test_modules(file: &File) -> Vec<PathBuf> {
    let stem = file.path.with_extension("");
    // The modules of `a/mod.rs` lie in `a`, and those of `a.rs` too.
    let is_root = ["lib", "main", "mod"].iter().any(|name| stem.ends_with(name));
    let folder = if is_root { file.path.parent().unwrap_or(&stem) } else { &stem };
    file.source.test_modules.iter().map(|module| folder.join(module)).collect()
}

/// Adds the sources in a folder and in those below it; `package` is the nearest package above.
fn add_files(folder: &Path, package: &str, found: &mut Vec<File>) -> Result<()> {
    let inside = process::root().join(folder);
    let own = inside.join("Cargo.toml").exists();
    let package = if own { folder.to_string_lossy() } else { package.into() };
    let mut entries: Vec<_> = fs::read_dir(&inside)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            // What cargo built is nobody's source.
            if entry.file_name() != "target" {
                add_files(&path, &package, found)?;
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(entry.path())?;
            let source = Source::read(&text).with_context(|| path.display().to_string())?;
            let is_test = path.iter().any(|part| part == "tests");
            found.push(File { path, package: package.clone().into_owned(), is_test, source });
        }
    }
    Ok(())
}

/// Headings of the columns; three lengths stand for the median, the 90th percentile and the greatest.
const HEADINGS: [&str; 12] = [
    "files",
    "lines",
    "file",
    "functions",
    "function",
    "closures",
    "comments",
    "docs",
    "clauses",
    "bool matches",
    "unreachables",
    "public",
];

/// The numbers of some sources under [`HEADINGS`].
fn cells(sources: &[&Source]) -> [String; HEADINGS.len()] {
    let lines = total(sources, |source| source.lines);
    let functions: Vec<usize> = sources
        .iter()
        .flat_map(|source| &source.functions)
        .map(|function| function.length)
        .collect();
    let closures = total(sources, |source| source.named_closures);
    [
        sources.len().to_string(),
        lines.to_string(),
        spread(sources.iter().map(|source| source.code_length).collect()),
        functions.len().to_string(),
        spread(functions),
        format!("{:.1}", share(closures, lines, 1000.0)),
        format!("{:.1} %", share(total(sources, |source| source.comments), lines, 100.0)),
        format!("{:.1} %", share(total(sources, |source| source.docs), lines, 100.0)),
        total(sources, |source| source.clauses).to_string(),
        total(sources, |source| source.bool_matches).to_string(),
        total(sources, |source| source.unreachables).to_string(),
        total(sources, |source| source.public).to_string(),
    ]
}

fn total(sources: &[&Source], count: fn(&Source) -> usize) -> usize {
    sources.iter().map(|source| count(source)).sum()
}

/// A part of a whole, in parts of `unit`; 0 of nothing.
fn share(part: usize, whole: usize, unit: f64) -> f64 {
    unit * part as f64 / whole.max(1) as f64
}

/// The median, the 90th percentile and the greatest, by the nearest rank.
fn spread(mut numbers: Vec<usize>) -> String {
    numbers.sort_unstable();
    let [median, ninth, greatest] = [50, 90, 100].map(|share| {
        let rank = (numbers.len() * share).div_ceil(100).max(1);
        numbers.get(rank - 1).copied().unwrap_or(0)
    });
    format!("{median}/{ninth}/{greatest}")
}

fn print_row(package: &str, cells: &[String; HEADINGS.len()]) {
    print!("{package:<30}");
    for (cell, heading) in cells.iter().zip(HEADINGS) {
        print!("  {cell:>width$}", width = heading.len().max(9));
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_and_functions_are_faults_and_long_tests_are_not() {
        let function = format!("fn long() {{\n{}}}\n", "    a();\n".repeat(LONGEST_FUNCTION - 1));
        let text = format!("fn short() {{}}\n{function}");
        let file = |path: &str, text: &str, is_test| File {
            path: path.into(),
            package: String::new(),
            is_test,
            source: Source::read(text).unwrap(),
        };
        let found = faults(&file("a.rs", &text, false));
        assert_eq!(found, ["a.rs:2: `long` has 71 lines, at most 70 are allowed"]);
        assert!(faults(&file("tests/a.rs", &text, true)).is_empty());
        let found = faults(&file("tests/a.rs", &"\n".repeat(LONGEST_FILE + 1), true));
        assert_eq!(found, ["tests/a.rs has 601 lines, at most 600 are allowed"]);
    }

    #[test]
    fn modules_of_tests_are_found_by_the_file_that_names_them() {
        let source = Source::read("#[cfg(test)]\nmod hard;\nmod easy;").unwrap();
        let mut file =
            File { path: "a/mod.rs".into(), package: String::new(), is_test: false, source };
        assert_eq!(test_modules(&file), [Path::new("a/hard")]);
        file.path = "a/b.rs".into();
        assert_eq!(test_modules(&file), [Path::new("a/b/hard")]);
    }

    #[test]
    fn a_spread_is_of_numbers_that_were_there() {
        assert_eq!(spread((1..=10).rev().collect()), "5/9/10");
        assert_eq!(spread(vec![7]), "7/7/7");
        assert_eq!(spread(vec![]), "0/0/0");
    }
}
