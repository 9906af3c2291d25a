//! Every command that the pages show for this program, run small: on a thousand images.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Parser;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The commands of a page that begin with `cargo run -p PACKAGE -- `, in order.
fn commands(page: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(page).unwrap();
    let mut is_shell = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "```sh" => is_shell = true,
            "```" => is_shell = false,
            _ if is_shell => {
                let run = line.strip_prefix("cargo run -p ").and_then(|run| run.split_once(" -- "));
                found.extend(run.map(|(package, words)| (package.to_owned(), words.to_owned())));
            }
            _ => {}
        }
    }
    found
}

/// The same with few samples and epochs, and with what is bundled in place of what is fetched.
fn small(package: &str, words: &str, place: &Path) -> String {
    let words = words.replace("fashion-mnist", "mnist");
    let first = words.split(' ').next().unwrap();
    if ["--help", "import", "merge"].contains(&first) {
        return words;
    }
    let epochs = if words.contains("--epochs") { "" } else { " --epochs 2" };
    let out =
        if package == "train" { format!(" --out {}/runs", place.display()) } else { String::new() };
    format!("{words}{epochs}{out} --validation 0.98 -q")
}

#[test]
fn what_the_pages_show_works() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(ROOT).join("crates/formats/tests/goldens/pytorch/plain.pt");
    fs::copy(golden, folder.path().join("model.pt")).unwrap();
    let mut count = 0;
    for page in ["docs/fine-tuning.md", "README.md"] {
        for (package, words) in commands(&Path::new(ROOT).join(page)) {
            let line = small(&package, &words, folder.path());
            let is_needed = page != "README.md" || package == "finetune";
            match package.as_str() {
                "train" if is_needed => {
                    let words = ["train"].into_iter().chain(line.split(' ')).map(str::to_owned);
                    train::run(train::Args::parse_from(words)).unwrap();
                }
                "finetune" => {
                    let output = Command::new(env!("CARGO_BIN_EXE_finetune"))
                        .args(line.split(' '))
                        .current_dir(folder.path())
                        .stdin(Stdio::null())
                        .output()
                        .unwrap();
                    let said = String::from_utf8_lossy(&output.stderr);
                    assert!(output.status.success(), "{page}: finetune {line}: {said}");
                    count += 1;
                }
                _ => {}
            }
        }
    }
    assert!(count >= 8, "{count} commands of the pages were run");
}
