//! The program as a whole: its help, what it says while it works, and its small commands.

use std::fs;

use fireclay_data::Source;
use serde_json::Value;

use crate::program::{DIGITS, Outcome, Place};
use crate::support::{does, is_plain, json, mnist, of_crate, small, train};

#[test]
fn help_teaches_with_examples() {
    let place = Place::new();
    let commands = [
        "train",
        "finetune",
        "evaluate",
        "predict",
        "inspect",
        "compare",
        "report",
        "data",
        "backends",
        "completions",
        "man",
    ];
    let top = does(&place, "--help");
    is_plain(&top);
    for command in commands {
        assert!(top.contains(&format!("\n  {command} ")), "{command} is not in: {top}");
        let help = does(&place, &format!("{command} --help"));
        let has_examples =
            help.contains("Example") && help.contains(&format!("fireclay {command} "));
        assert!(has_examples || command == "backends", "{help}");
    }
    for code in ["0 done", "1 a gate", "2 error"] {
        assert!(top.contains(code), "{top}");
    }
    for code in ["130 Ctrl-C", "143 SIGTERM"] {
        assert!(top.contains(code), "{top}");
    }
    let none = place.train("");
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("Usage: fireclay [OPTIONS] <COMMAND>"), "{}", none.stderr);
    assert!(does(&place, "--version").starts_with("fireclay 0."));
}

#[test]
fn a_wrong_word_is_met_with_the_nearest_right_one() {
    let place = Place::new();
    for (line, words) in [
        ("predcit", "'predict'"),
        ("trian", "'train'"),
        ("inspect x --jsn", "'--json'"),
        ("predict m i --topk 3", "'--top-k'"),
        ("train --epoch 3", "'--epochs'"),
        ("data lst", "'list'"),
        ("completions fihs", "'fish'"),
    ] {
        let Outcome { code, stdout, stderr, .. } = place.train(line);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{line}");
        assert!(stderr.contains(words), "{line}: {stderr}");
    }
}

#[test]
fn quiet_leaves_what_was_asked_for() {
    let place = mnist();
    fs::copy(of_crate("../pictures/tests/goldens/pictures/7-pen.jpg"), place.path("pen.jpg"))
        .unwrap();
    let said = does(place, "predict runs/mnist pen.jpg -q");
    assert!(said.starts_with("pen.jpg  7 ") && said.lines().count() == 1, "{said}");
    let json = "predict runs/mnist pen.jpg --json";
    assert_eq!(does(place, &format!("-q {json}")), does(place, json));
    let evaluate = "evaluate runs/mnist --min-accuracy 0.1";
    assert_eq!(does(place, &format!("{evaluate} --quiet")), does(place, evaluate));

    let place = small();
    let keras = of_crate("../formats/tests/goldens/keras/plain.h5");
    let import = format!("import {} --to keras.safetensors --force", keras.display());
    for line in [
        "report runs/small".to_owned(),
        "man pages".to_owned(),
        "data fetch idx:digits".to_owned(),
        format!("train {DIGITS} --epochs 1"),
        format!("finetune --from runs/small/model.safetensors {DIGITS} --epochs 1 --name tuned"),
        format!("finetune {import} --preprocessing scale --task classification"),
    ] {
        assert_ne!(does(&place, &line.replace("--name tuned", "--name loud")), "", "{line}");
        assert_eq!(does(&place, &format!("{line} -q")), "", "{line}");
        assert_eq!(does(&place, &format!("-q {}", line.replace("tuned", "again"))), "", "{line}");
    }
    assert_eq!(place.train("-q predict runs/none x").code, Some(2));
    place.train("-q predict runs/none x").refused(&["runs/none"]);
}

#[test]
fn what_is_done_is_said_on_standard_error_when_asked_for() {
    let place = small();
    let predict = "predict runs/small digits/t10k-images-idx3-ubyte";
    let expected = does(&place, predict);
    let told = |line: &str, filter: Option<&str>| {
        let mut command = place.command(line);
        command.envs(filter.map(|filter| ("RUST_LOG", filter)));
        let Outcome { code, stdout, stderr, .. } = Outcome::of(line, &mut command);
        assert_eq!((code, stdout), (Some(0), expected.clone()), "{line}: {stderr}");
        stderr
    };
    for line in [format!("-v {predict}"), format!("{predict} -v"), format!("{predict} --verbose")] {
        let said = told(&line, None);
        for words in [
            ": computing with flex on CPU\n",
            ": opened runs/small/model.safetensors, ",
            ": read digits/t10k-images-idx3-ubyte, 336 bytes\n",
            ": predicted 20 rows of digits/t10k-images-idx3-ubyte\n",
        ] {
            assert!(said.contains(words), "{line}: no `{words}` in: {said}");
        }
        is_plain(&said);
        assert!(said.lines().all(|line| line.starts_with("info 0.")), "{said}");
    }
    // The variable goes before the flags.
    assert_eq!(told(&format!("-v {predict}"), Some("error")), "");
    assert!(told(&format!("-q {predict}"), Some("info")).contains("computing with flex"));
    let said = told(predict, Some("fireclay_model::model_file=info"));
    assert_eq!(said.matches("info ").count(), 1, "{said}");
    assert!(said.contains("model.safetensors"), "{said}");

    let train = format!("train {DIGITS} --epochs 1 --no-report");
    let said = place.train(&format!("{train} -v")).stderr;
    for words in ["loaded idx:digits: 60", "wrote runs/idx-1/model.safetensors", "the steps took"] {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    assert!(!said.contains("debug "), "{said}");
    let said = place.train(&format!("{train} -vv")).stderr;
    assert!(said.contains("debug ") && said.contains("batch_size = 32"), "{said}");
    for line in ["-qv data list", "data list -q -v"] {
        let refused = place.train(line);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains("'--quiet' cannot be used"), "{}", refused.stderr);
    }
    place.train(&format!("-v {train} --tui")).refused(&["--tui", "--verbose"]);
}

#[test]
fn a_warning_is_given_unless_errors_alone_are_wanted() {
    let place = small();
    fs::rename(place.path("digits"), place.path("gone")).unwrap();
    let found = place.train("report runs/small");
    assert_eq!(found.code, Some(0));
    assert!(found.stderr.starts_with("warning: The model was not measured"), "{}", found.stderr);
    does(&place, "report runs/small -q");

    // For private use, so that no font has it.
    let labels: String = (0..10).map(|i| format!("\u{10FFFD}{i}\n")).collect();
    fs::rename(place.path("gone"), place.path("digits")).unwrap();
    fs::write(place.path("digits/labels.txt"), labels).unwrap();
    train(&place, "odd", "");
    let found = place.train("report runs/odd --plots plots");
    assert_eq!(found.code, Some(0));
    assert!(found.stderr.contains("warning: usvg::text::layout: No fonts"), "{}", found.stderr);
    does(&place, "report runs/odd --plots plots --force -q");
}

#[test]
fn data_is_listed_and_shown() {
    let place = Place::new();
    let said = does(&place, "data list");
    is_plain(&said);
    for name in Source::names() {
        assert!(said.contains(&format!("\n  {name} ")), "{name} is not in: {said}");
    }
    let listed = json(&place, "data list --json");
    let shown = json(&place, "data show mnist --json");
    assert_eq!(listed[0]["training"], shown["training"]["rows"]);
    assert_eq!(listed[0]["test"], shown["test"]["rows"]);
    assert_eq!(shown["test"]["per_class"][0], 980);
    let said = does(&place, "data show idx:digits");
    is_plain(&said);
    assert!(said.starts_with("idx:digits: rows of 4x4, bytes; 10 classes\n"), "{said}");
    assert!(said.contains("  rows  60        20\n"), "{said}");
    assert_eq!(said.matches("sha256:").count(), 2);
    let said = does(&place, "data fetch idx:digits");
    assert!(said.contains("60 training and 20 test"), "{said}");
    place.train("data show mnits").refused(&["mnist"]);
    place.train("data show idx:gone").refused(&["gone"]);
}

#[test]
fn backends_completions_and_manual_pages() {
    let place = Place::new();
    // Drivers of graphics cards may write to standard error whatever they like.
    let said = |line: &str| place.train(line).stdout;
    assert!(said("backends").contains("\nflex "));
    assert_eq!(said("backends"), said("train --list-backends"));
    let found: Value = serde_json::from_str(&said("backends --json")).unwrap();
    assert_eq!(found[0]["name"], "flex");
    for (shell, words) in [
        ("bash", "complete -F _fireclay"),
        ("zsh", "#compdef fireclay"),
        ("fish", "complete -c fireclay"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = does(&place, &format!("completions {shell}"));
        assert!(script.contains(words) && script.contains("predict"), "{shell}");
    }
    does(&place, "man pages");
    for page in ["fireclay.1", "fireclay-train.1", "fireclay-predict.1", "fireclay-data-show.1"] {
        let text = fs::read_to_string(place.path("pages").join(page)).unwrap();
        assert!(text.contains(".TH "), "{page}");
    }
    place.train("man digits/train-images-idx3-ubyte").refused(&["cannot be written"]);
}

/// A standard output that is full is an error with its name, of help too.
#[test]
#[cfg(target_os = "linux")]
fn a_full_standard_output_is_named() {
    let place = small();
    let dry = format!("train {DIGITS} --dry-run");
    for line in ["--help", "train --help", "data list", "inspect runs/small", &dry] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = place.command(line);
        let output = command.stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        let words = "error: standard output cannot be written: No space left on device";
        assert!(said.starts_with(words), "{line}: {said}");
    }
}
