//! Every command that the pages show for this program and for `fireclay-predict`, run small: on a thousand
//! images.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::built;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The commands of a page for the two programs, each with its program, in order.
fn commands(page: &Path) -> Vec<(&'static str, String)> {
    let text = fs::read_to_string(page).unwrap();
    let mut is_shell = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "```sh" => is_shell = true,
            "```" => is_shell = false,
            _ if is_shell => {
                for program in ["fireclay", "fireclay-predict"] {
                    let words = line.strip_prefix(program).and_then(|line| line.strip_prefix(' '));
                    found.extend(words.map(|words| (program, words.to_owned())));
                }
            }
            _ => {}
        }
    }
    found
}

/// The same with few samples and epochs, of which nobody expects much.
fn small(words: &str) -> String {
    let words = words.replace("--min-accuracy 0.97", "--min-accuracy 0.2");
    if words.contains("docs/examples/texts") {
        return words;
    }
    if words.contains("docs/examples/sounds") && words.starts_with("train") {
        return format!("{} --epochs 1", words.replace(" --epochs 30", ""));
    }
    if words.contains("docs/examples/tables") && words.starts_with("train") {
        return words.replace("--epochs 30", "--epochs 1");
    }
    let is_trained = words.starts_with("train") || words.starts_with("finetune --");
    if is_trained { format!("{words} --epochs 2 --validation 0.98") } else { words }
}

/// The arguments of a command line, some of which are in quotes.
fn arguments(line: &str) -> Vec<&str> {
    let parts = line.split('"').enumerate();
    parts
        .flat_map(|(at, part)| {
            let is_quoted = at % 2 == 1;
            let words: Vec<&str> =
                if is_quoted { vec![part] } else { part.split_whitespace().collect() };
            words
        })
        .collect()
}

/// The recordings of the page about sound.
fn copy_sounds(to: &Path) {
    let sounds = "docs/examples/sounds";
    for kind in ["rising", "falling", "steady"] {
        let kind = format!("{sounds}/tones/{kind}");
        fs::create_dir_all(to.join(&kind)).unwrap();
        for entry in fs::read_dir(Path::new(ROOT).join(&kind)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.join(&kind).join(path.file_name().unwrap())).unwrap();
        }
    }
    let melody = format!("{sounds}/melody.flac");
    fs::copy(Path::new(ROOT).join(&melody), to.join(&melody)).unwrap();
}

#[test]
fn what_the_pages_show_works() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(ROOT).join("crates/formats/tests/goldens/pytorch/plain.pt");
    fs::copy(golden, folder.path().join("model.pt")).unwrap();
    fs::create_dir_all(folder.path().join("docs/images")).unwrap();
    let picture = "docs/images/seven.png";
    fs::copy(Path::new(ROOT).join(picture), folder.path().join(picture)).unwrap();
    let mut count = 0;
    let tables = "docs/examples/tables";
    fs::create_dir_all(folder.path().join(tables)).unwrap();
    for table in ["penguins.csv", "new-penguins.csv"] {
        let table = format!("{tables}/{table}");
        fs::copy(Path::new(ROOT).join(&table), folder.path().join(&table)).unwrap();
    }
    let texts = "docs/examples/texts";
    fs::create_dir_all(folder.path().join(texts)).unwrap();
    for file in ["reviews.csv", "new-reviews.txt", "chinese.txt", "words.vec"] {
        let file = format!("{texts}/{file}");
        fs::copy(Path::new(ROOT).join(&file), folder.path().join(&file)).unwrap();
    }
    copy_sounds(folder.path());
    for page in ["docs/fireclay.md", "docs/tables.md", "docs/text.md", "docs/sound.md", "README.md"]
    {
        let _ = fs::remove_dir_all(folder.path().join("runs"));
        for (program, words) in commands(&Path::new(ROOT).join(page)) {
            let line = small(&words);
            let output = Command::new(built(program))
                .args(arguments(&line))
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{page}: {program} {line}: {said}");
            count += 1;
        }
    }
    assert!(count >= 12, "{count} commands of the pages were run");
}
