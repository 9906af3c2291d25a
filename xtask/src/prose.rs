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

/// Words that make a clause of a heading; a noun or an imperative is found faster.
const CLAUSES: &[&str] = &["How", "What", "When", "Where", "Whether", "Which", "Who", "Why"];
/// The most words of a sentence.
const MOST_OF_A_SENTENCE: usize = 25;
/// Folders with text for people, and the endings of their files; of the root, its own files alone.
const PLACES: &[(&str, &str)] = &[
    ("", "md"),
    ("crates", "md"),
    ("crates", "rs"),
    ("docs", "md"),
    ("fuzz", "md"),
    ("xtask", "rs"),
];
/// Files and folders that are passed over: tests speak to their readers alone, the lists here are no
/// prose, and the rest is built.
const LEFT_OUT: &[&str] = &["prose.rs", "target", "tests", "tests.rs"];
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
        if is_page {
            let found = faults_of_headings(&lines).into_iter().chain(faults_of_sentences(&lines));
            faults.extend(found.map(|(line, fault)| format!("{}:{line}: {fault}", path.display())));
        }
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

/// Returns true if a phrase stands in a text as whole words.
fn has_phrase(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + phrase.len()..].chars().next();
        // What ends in a sign is a beginning, such as that of a flag.
        let ends = phrase.ends_with(|c: char| !c.is_alphanumeric());
        !before.is_some_and(char::is_alphanumeric)
            && (ends || !after.is_some_and(char::is_alphanumeric))
    })
}

fn faults_of_headings(lines: &[(usize, String)]) -> Vec<(usize, String)> {
    let headings = lines.iter().filter(|(_, text)| text.starts_with('#'));
    let clauses = headings
        .filter(|(_, text)| text.split(' ').nth(1).is_some_and(|first| CLAUSES.contains(&first)));
    clauses.map(|(line, text)| (*line, format!("a clause as a heading: {text}"))).collect()
}

/// Finds long sentences and chains of fragments in the prose of a page.
fn faults_of_sentences(lines: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    for Block { line, is_cell, text } in blocks(lines) {
        for sentence in sentences(&text) {
            let words = sentence.iter().filter(|word| is_counted(word)).count();
            let chained = sentence.iter().filter(|word| word.ends_with(';')).count();
            let begin = sentence[..sentence.len().min(6)].join(" ");
            if words > MOST_OF_A_SENTENCE {
                let fault = format!("{words} words, at most {MOST_OF_A_SENTENCE}: {begin} ..");
                faults.push((line, fault));
            } else if chained > 1 && !is_cell {
                faults.push((line, format!("a chain of {} clauses: {begin} ..", chained + 1)));
            }
        }
    }
    faults
}

/// Returns true if a piece between blanks is a word; of code, only the marks are left.
fn is_counted(piece: &str) -> bool {
    piece.contains(|c: char| c.is_alphanumeric() || c == '`')
}

/// A paragraph, an item of a list or a cell of a table.
struct Block {
    /// Number of the line it begins in.
    line: usize,
    /// True if it is a cell, in which a list may stand between semicolons.
    is_cell: bool,
    text: String,
}

/// Joins the lines of each paragraph and item, and cuts tables into their cells.
fn blocks(lines: &[(usize, String)]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut last = 0;
    for (line, text) in lines {
        let (line, text) = (*line, text.trim());
        let new = |text: &str, is_cell| Block { line, is_cell, text: text.to_owned() };
        let is_item = text.starts_with("- ") || text.split_once(". ").is_some_and(is_number);
        if text.starts_with('|') {
            blocks.extend(text.split('|').map(|cell| new(cell, true)));
        } else if text.is_empty() || text.starts_with(['#', '<']) {
            blocks.push(new("", false));
        } else if let Some(block) = blocks.last_mut().filter(|block| {
            !is_item && line == last + 1 && !block.is_cell && !block.text.is_empty()
        }) {
            block.text += " ";
            block.text += text;
        } else {
            blocks.push(new(text, false));
        }
        last = line;
    }
    blocks
}

fn is_number((text, _): (&str, &str)) -> bool {
    text.parse::<usize>().is_ok()
}

/// The words of each sentence, without the targets of links.
fn sentences(block: &str) -> Vec<Vec<&str>> {
    let mut sentences = vec![Vec::new()];
    for (i, piece) in block.split("](").enumerate() {
        // Behind the mark stands the target, up to the bracket that closes it.
        let rest = piece.split_once(')').map_or("", |(_, rest)| rest);
        let words = if i == 0 { piece } else { rest };
        for word in words.split_whitespace() {
            if let Some(sentence) = sentences.last_mut() {
                sentence.push(word);
            }
            if word.trim_end_matches([')', '"', '*', ']']).ends_with(['.', '!', '?']) {
                sentences.push(Vec::new());
            }
        }
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
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

/// Pages and the sources of members, relative to the root.
fn docs_and_sources() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for (folder, ending) in PLACES {
        let mut folders = vec![PathBuf::from(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(process::root().join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    folders.extend((!folder.as_os_str().is_empty()).then_some(path));
                } else if path.extension().is_some_and(|found| found == *ending) {
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

/// Returns the text that people read in a source, with the numbers of its lines: string literals and
/// comments; not what follows its tests.
fn prose_of_source(text: &str) -> Vec<(usize, String)> {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let text = &text[..end];
    let mut found = literals(text);
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim_start()));
    let comments = lines.filter_map(|(number, line)| Some((number, line.strip_prefix("//")?)));
    found.extend(comments.map(|(number, comment)| (number, comment.to_owned())));
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
    fn comments_are_prose() {
        let source =
            "/// It goes on.\nlet a = 1;\n    // So it is.\n#[cfg(test)]\nmod tests { // no\n";
        let lines: Vec<usize> = prose_of_source(source).iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn code_of_pages_is_no_prose() {
        let page = "A `goes on` b\n```text\ngoes on\n```\nend";
        let found = prose_of_page(page);
        assert_eq!(found, [(1, "A ` b".to_owned()), (5, "end".to_owned())]);
    }

    #[test]
    fn headings_are_no_clauses() {
        let page = "# What it does\n## Results\n### Whatever\nHow so\n";
        let faults = faults_of_headings(&prose_of_page(page));
        assert_eq!(faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn long_sentences_and_chains_are_found() {
        let lines_of = |page: &str| -> Vec<usize> {
            faults_of_sentences(&prose_of_page(page)).iter().map(|(line, _)| *line).collect()
        };
        let five = "one two three four five ";
        assert!(lines_of(&format!("{}end.\n{}end.", five.repeat(4), five.repeat(4))).is_empty());
        assert_eq!(lines_of(&format!("# A\n\n{}\n{}end.", five.repeat(3), five.repeat(3))), [3]);
        // Cells and items stand alone, a target is no word, and code is one.
        let row = format!(
            "|{}|{}|\n- {}\n- {}",
            five.repeat(4),
            five.repeat(4),
            five.repeat(4),
            five.repeat(4)
        );
        assert!(lines_of(&row).is_empty());
        let linked = format!("{} [a](b c d) `e f g h` end.", five.repeat(4));
        assert!(lines_of(&linked).is_empty());
        assert_eq!(lines_of("Text.\n\nOne; two.\n\nOne; two; three.\n"), [5]);
    }

    #[test]
    fn titles_are_short_sentences() {
        assert!(fault_of_title("Read tables by name").is_none());
        for title in ["Read tables.", &"Read ".repeat(20)] {
            assert!(fault_of_title(title).is_some(), "{title}");
        }
    }
}
