//! The English that people read: pages, messages, help and commit titles, held to docs/style.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;

/// Phrases that cost a reader a second look, and what the field says. In lower case.
const INSTEAD: &[(&str, &str)] = &[
    ("can not", "cannot"),
    ("goes on", "continues, resumes"),
    ("go on with", "resume, continue"),
    ("going on after", "resuming after"),
    ("to go on from", "to resume from"),
    ("is told", "is printed, is shown"),
    ("are told", "are printed, are shown"),
    ("is said", "is printed, is given"),
    ("of ours", "a Fireclay model, file or network"),
    ("that is there", "existing"),
    ("is there already", "exists"),
    ("are there already", "exist"),
    ("anew", "again"),
    ("for want of", "because there is no"),
    ("so many of", "the number of"),
    ("there is but", "there is only"),
    ("say with --", "give --"),
    ("what it was good for", "the accuracy before and after"),
];

/// The longest first line of a commit.
const MOST_OF_A_TITLE: usize = 72;
/// Commits that are looked at, the newest first.
const TITLES: &str = "30";

/// Checks pages, what the programs print, and the titles of the newest commits.
pub(crate) fn check() -> Result<()> {
    let mut faults = Vec::new();
    let mut files = 0;
    for path in docs_and_sources()? {
        let text = fs::read_to_string(process::root().join(&path))
            .with_context(|| path.display().to_string())?;
        let is_page = path.extension().is_some_and(|ending| ending == "md");
        let lines = if is_page { prose_of_page(&text) } else { prose_of_source(&text) };
        faults.extend(lines.iter().flat_map(|(line, text)| faults_of(&path, *line, text)));
        files += 1;
    }
    faults.extend(titles()?.iter().filter_map(|title| fault_of_title(title)));
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{files} files read");
    Ok(())
}

fn faults_of(path: &Path, line: usize, text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let found = INSTEAD.iter().filter(|(phrase, _)| has_phrase(&text, phrase));
    found
        .map(|(phrase, instead)| {
            format!("{}:{line}: \"{phrase}\"; better: {instead}", path.display())
        })
        .collect()
}

/// Whether a phrase stands in a text as whole words.
fn has_phrase(text: &str, phrase: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric();
    text.match_indices(phrase).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + phrase.len()..].chars().next();
        // What ends in a sign is a beginning, such as that of a flag.
        let ends = phrase.ends_with(|c: char| !c.is_alphanumeric());
        !before.is_some_and(is_letter) && (ends || !after.is_some_and(is_letter))
    })
}

fn fault_of_title(title: &str) -> Option<String> {
    let length = title.chars().count();
    let problem = if length > MOST_OF_A_TITLE {
        format!("has {length} characters, at most {MOST_OF_A_TITLE} are allowed")
    } else if title.ends_with('.') {
        "ends in a full stop".to_owned()
    } else {
        return None;
    };
    Some(format!("the title of a commit {problem}: {title}"))
}

/// First lines of the newest commits; none outside of a repository. Merges have titles of their own, and
/// so has the first commit of a shallow clone.
fn titles() -> Result<Vec<String>> {
    let git = Command::new("git")
        .args(["log", "--no-merges", "--min-parents=1", "--format=%s", "-n", TITLES])
        .current_dir(process::root())
        .output();
    let Ok(output) = git else { return Ok(Vec::new()) };
    if !output.status.success() {
        return Ok(Vec::new());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Pages in the root and under `docs`, and the sources of members, relative to the root.
fn docs_and_sources() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for (folder, ending) in [("", "md"), ("docs", "md"), ("crates", "rs"), ("xtask", "rs")] {
        let mut folders = vec![PathBuf::from(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(process::root().join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                let name = entry.file_name();
                // Tests speak to their readers alone; the list above is no prose.
                let is_left_out = name == "tests" || name == "tests.rs" || name == "prose.rs";
                if entry.file_type()?.is_dir() {
                    let is_root = folder.as_os_str().is_empty();
                    folders.extend((!is_root && !is_left_out).then_some(path));
                } else if path.extension().is_some_and(|e| e == ending) && !is_left_out {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The lines of a page that are no code, with their numbers; docs/style.md quotes what it warns of.
fn prose_of_page(text: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let outside: Vec<&str> = line.split('`').step_by(2).collect();
            found.push((number + 1, outside.join("`")));
        }
    }
    found
}

/// What a source prints, with the numbers of its lines: string literals, and the doc comments of
/// command lines; not what follows its tests.
fn prose_of_source(text: &str) -> Vec<(usize, String)> {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let text = &text[..end];
    let mut found = literals(text);
    if ["Parser)]", "clap::Args)]", "Subcommand)]"].iter().any(|derive| text.contains(derive)) {
        let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim_start()));
        let comments = lines.filter_map(|(number, line)| Some((number, line.strip_prefix("///")?)));
        found.extend(comments.map(|(number, comment)| (number, comment.to_owned())));
    }
    found
}

/// The string literals of a source, each with the number of the line it begins in.
fn literals(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            let length = string_length(rest);
            found.push((line, rest[1..length].trim_end_matches('"').to_owned()));
            length
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            first.len_utf8()
        };
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    found
}

/// Bytes of the literal that a text begins with, both quotes included.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_whole_words() {
        assert!(has_phrase("a run goes on here", "goes on"));
        assert!(!has_phrase("it goes onto the page", "goes on"));
        assert!(!has_phrase("of oursin", "of ours"));
        assert!(has_phrase("say with --data what", "say with --"));
    }

    #[test]
    fn literals_are_found_and_comments_are_not() {
        let source =
            "// \"goes on\"\nlet a = \"one \\\" two\"; // \"x\"\nlet q = '\"'; bail!(\"three\");";
        let found = literals(source);
        assert_eq!(found, [(2, "one \\\" two".to_owned()), (3, "three".to_owned())]);
    }

    #[test]
    fn code_of_pages_is_no_prose() {
        let page = "A `goes on` b\n```text\ngoes on\n```\nend";
        let found = prose_of_page(page);
        assert_eq!(found, [(1, "A ` b".to_owned()), (5, "end".to_owned())]);
    }

    #[test]
    fn help_is_prose_and_other_comments_are_not() {
        let help = "#[derive(Debug, clap::Args)]\n/// Go on with it.\nstruct A;";
        assert_eq!(prose_of_source(help), [(2, " Go on with it.".to_owned())]);
        assert!(prose_of_source("/// Go on with it.\nstruct A;").is_empty());
    }

    #[test]
    fn titles_are_short_sentences() {
        assert!(fault_of_title("Read tables by name").is_none());
        for title in ["Read tables.", &"Read ".repeat(20)] {
            assert!(fault_of_title(title).is_some(), "{title}");
        }
    }
}
