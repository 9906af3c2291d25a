//! The program as its users see it: every command, every error, in a folder of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use fireclay_data::{Features, LoadOptions, Source, Targets, load};
use serde_json::Value;

#[allow(dead_code, reason = "shared with the tests of `train`")]
#[path = "../../train/tests/support/program.rs"]
mod program;
use program::{DIGITS, Outcome, Place};

/// A place with a run on MNIST, `runs/mnist`, that tells pictures; trained once for all tests.
fn mnist() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::new();
        place.train("train --name mnist --no-report -q").succeeded();
        place
    })
}

/// A place with a run on the small set, `runs/small`.
fn small() -> Place {
    let place = Place::new();
    train(&place, "small", "");
    place
}

fn train(place: &Place, name: &str, line: &str) {
    let line = format!("train {DIGITS} --name {name} --no-report -q --epochs 30 --lr 0.01 {line}");
    place.train(&line).succeeded();
}

fn does(place: &Place, line: &str) -> String {
    place.train(line).succeeded().stdout
}

fn json(place: &Place, line: &str) -> Value {
    serde_json::from_str(&does(place, line)).unwrap()
}

/// JSON, an object a line.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn of_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every line fits a terminal of 80 columns, and moves no cursor.
#[track_caller]
fn is_plain(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

fn write_png(path: &Path, width: usize, height: usize, pixels: &[u8]) {
    let (width, height) = (width as u32, height as u32);
    image::save_buffer(path, pixels, width, height, image::ExtendedColorType::L8).unwrap();
}

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
    for code in ["0 done", "1 a limit", "2 error"] {
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
fn a_run_tells_how_it_goes_on_by_the_name_it_was_called_by() {
    let place = Place::new();
    let mut command = place.command(&format!("train {DIGITS} --epochs 1 --no-report"));
    let said = Outcome::of("train", command.env_remove("CARGO")).succeeded().stdout;
    assert!(said.contains("\n  fireclay train --repeat runs/idx-1\n"), "{said}");
    let mut command = place.command(&format!("train {DIGITS} --epochs 1 --no-report"));
    let said = Outcome::of("train", command.env("CARGO", "cargo")).succeeded().stdout;
    assert!(said.contains("cargo run -p fireclay-cli -- train --repeat runs/idx-2\n"), "{said}");
    assert!(!place.path("runs/idx-1/report.html").exists());
}

#[test]
fn a_run_ends_with_its_page_unless_told_not_to() {
    let place = Place::new();
    let said = does(&place, &format!("train {DIGITS} --epochs 1"));
    assert!(said.ends_with("The run as one page: runs/idx-1/report.html\n"), "{said}");
    let page = fs::read_to_string(place.path("runs/idx-1/report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
    does(&place, &format!("train {DIGITS} --epochs 1 -q --dry-run"));
    assert!(!place.path("runs/idx-2").exists());
    let again = place.train("train --repeat runs/idx-1 --no-report");
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

#[test]
fn a_tuned_run_has_its_page_and_its_events_as_any_other() {
    let place = small();
    let tune = format!("finetune --from runs/small/model.safetensors {DIGITS} --epochs 1");
    let said = does(&place, &format!("{tune} --name plain"));
    assert!(said.ends_with("The run as one page: runs/plain/report.html\n"), "{said}");
    let said = does(&place, &format!("{tune} --name tuned --lora rank=2 --tensorboard"));
    let (head, events) = said.trim_end().rsplit_once("\nFor TensorBoard: ").unwrap();
    assert!(head.ends_with("The run as one page: runs/tuned/report.html"), "{said}");
    assert!(events.starts_with("runs/tuned/events.out.tfevents."), "{said}");
    assert!(!fs::read(place.path(events)).unwrap().is_empty());
    for (name, words) in [("plain", "fine-tuned from"), ("tuned", "adapter of rank 2")] {
        let page = place.path("runs").join(name).join("report.html");
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains("</html>"));
        assert!(page.contains(words), "{name}: no `{words}` on the page");
    }
    let quiet = does(&place, &format!("{tune} --name quiet --no-report -q"));
    assert_eq!(quiet, "");
    assert!(!place.path("runs/quiet/report.html").exists());
    let again = does(&place, "finetune --repeat runs/plain");
    assert!(again.contains("identical"), "{again}");
    assert!(again.ends_with("The run as one page: runs/idx-1/report.html\n"), "{again}");
}

#[test]
fn quiet_leaves_what_was_asked_for() {
    let place = mnist();
    fs::copy(of_crate("tests/goldens/pictures/7-pen.jpg"), place.path("pen.jpg")).unwrap();
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
    let said = told(predict, Some("fireclay::model_file=info"));
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
fn fine_tuning_is_the_program_of_its_crate() {
    let place = small();
    let line =
        format!("finetune --from runs/small/model.safetensors {DIGITS} --epochs 2 --name tuned");
    let said = does(&place, &line);
    assert!(said.contains("The head is kept"), "{said}");
    place.train("finetune").refused(&["--from"]);
    let found = json(&place, "inspect runs/tuned --json");
    let base = json(&place, "inspect runs/small --json");
    assert_eq!(found["document"]["provenance"]["parent"], base["digest"]["found"]);
    assert!(does(&place, "inspect runs/tuned").contains("  made from     sha256:"));
}

#[test]
fn a_base_with_its_adapter_says_what_both_made_one_say() {
    let place = small();
    let base = "runs/small/model.safetensors";
    let adapter = "runs/tuned/adapter.safetensors";
    let tune = "--epochs 3 --lr 0.02 --lora rank=2,alpha=4 --name tuned -q";
    does(&place, &format!("finetune --from {base} {DIGITS} {tune}"));
    let merge = format!("finetune merge --base {base} --adapter {adapter} --data idx:digits");
    does(&place, &format!("{merge} --to merged.safetensors"));

    let rows = "digits/t10k-images-idx3-ubyte --top-k 10 --json";
    let said = |model: &str| lines(&does(&place, &format!("predict {model} {rows}")));
    let adapted = said(&format!("{base} --adapter {adapter}"));
    assert_eq!(adapted, said("runs/tuned"));
    assert_eq!(adapted, said("runs/small --adapter runs/tuned"), "folders of runs do as well");
    assert_ne!(adapted, said(base));
    for (adapted, merged) in adapted.iter().zip(said("merged.safetensors")) {
        assert_eq!(adapted["label"], merged["label"]);
        let p = |line: &Value| line["probability"].as_f64().unwrap();
        assert!((p(adapted) - p(&merged)).abs() < 1e-5, "{adapted} {merged}");
    }

    let scores =
        |model: &str| json(&place, &format!("evaluate {model} --json"))["evaluation"].take();
    assert_eq!(scores(&format!("{base} --adapter {adapter}")), scores("runs/tuned"));
    let said = does(&place, &format!("evaluate {base} --adapter {adapter}"));
    assert!(said.starts_with(&format!("{base} with {adapter} on idx:digits")), "{said}");
    let found = json(&place, &format!("compare runs/tuned {base} --adapter {adapter} --json"));
    assert_eq!(found["comparison"]["largest_difference"], 0.0);
    let found = json(&place, &format!("compare {base} {base} --adapter {adapter} --json"));
    assert!(found["comparison"]["largest_difference"].as_f64().unwrap() > 0.0);

    train(&place, "other", "--seed 2");
    for line in [
        format!("predict runs/other {rows} --adapter {adapter}"),
        format!("evaluate runs/tuned --adapter {adapter}"),
        format!("compare {base} runs/other --adapter {adapter}"),
    ] {
        place.train(&line).refused(&[adapter, "trained on the base sha256:", "another base"]);
    }
    let predict = format!("predict {base} {rows} --adapter");
    place.train(&format!("{predict} {base}")).refused(&[base, "it is not an adapter"]);
    place.train(&format!("{predict} runs/small")).refused(&["without adapter.safetensors"]);
    place.train(&format!("{predict} gone")).refused(&["gone"]);
}

#[test]
fn pictures_of_another_program_are_told() {
    let place = mnist();
    let folder = of_crate("tests/goldens/pictures");
    let names = names_in(&folder);
    assert_eq!(names.len(), 13);
    for name in names {
        let path = folder.join(&name);
        let found = lines(&does(place, &format!("predict runs/mnist {} --json", path.display())));
        assert_eq!(found[0]["label"].as_str().unwrap(), &name[..1], "{name}: {found:?}");
        let done = found[0]["done"].to_string();
        let is_dark = ["3-", "7-chalk", "9-one-bit"].iter().any(|start| name.starts_with(start));
        assert_eq!(done.contains("inverted"), !is_dark, "{name}: {done}");
        assert_eq!(done.contains("uneven light"), name.ends_with("jpg"), "{name}: {done}");
        assert_eq!(done.contains("thickened"), name.contains("pen"), "{name}: {done}");
    }
}

#[test]
fn images_of_mnist_are_told_the_same_as_pictures_and_as_numbers() {
    let place = mnist();
    let data = load(&Source::Mnist, &LoadOptions::default(), &mut |_| {}).unwrap();
    let (Features::Bytes(pixels), Targets::Classes { ids, .. }) =
        (data.test.features(), data.test.targets())
    else {
        panic!("MNIST is bytes and classes")
    };
    const ROWS: usize = 40;
    let pixels = &pixels[..784 * ROWS];
    let mut csv = String::new();
    let mut files = [String::new(), String::new()];
    for (row, image) in pixels.chunks_exact(784).enumerate() {
        let inverse: Vec<u8> = image.iter().map(|pixel| 255 - pixel).collect();
        for (i, (kind, image)) in [("dark", image), ("bright", &inverse)].into_iter().enumerate() {
            let name = format!("{kind}-{row}.png");
            write_png(&place.path(&name), 28, 28, image);
            files[i] += &format!(" {name}");
        }
        csv += &image.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        csv.push('\n');
    }
    let header = [[0, 0, 8, 3], [0, 0, 0, ROWS as u8], [0, 0, 0, 28], [0, 0, 0, 28]].concat();
    let idx = [&header[..], pixels].concat();
    fs::write(place.path("images.idx"), &idx).unwrap();
    let npy_head =
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({ROWS}, 28, 28), }}");
    let npy_head = format!("{npy_head:<117}\n");
    let npy =
        [b"\x93NUMPY\x01\0", &118_u16.to_le_bytes()[..], npy_head.as_bytes(), pixels].concat();
    fs::write(place.path("images.npy"), npy).unwrap();
    fs::write(place.path("rows.csv"), &csv).unwrap();

    let told = |inputs: &str| -> Vec<(String, String)> {
        let found = lines(&does(place, &format!("predict runs/mnist --json {inputs}")));
        let said = |line: &Value| (line["label"].to_string(), line["probability"].to_string());
        found.iter().map(said).collect()
    };
    let raw = told("images.idx");
    assert_eq!(raw.len(), ROWS);
    let right =
        raw.iter().zip(ids).filter(|((label, _), id)| *label == format!("\"{id}\"")).count();
    assert!(right >= ROWS - 3, "{right} of {ROWS}");
    for inputs in ["images.npy", "rows.csv"] {
        assert_eq!(told(inputs), raw, "{inputs}");
    }
    // One after the other a picture is a batch of its own, in which sums are rounded otherwise.
    for inputs in files {
        for ((label, p), (expected, q)) in told(&inputs).iter().zip(&raw) {
            assert_eq!(label, expected, "{inputs}");
            let apart = p.parse::<f64>().unwrap() - q.parse::<f64>().unwrap();
            assert!(apart.abs() < 1e-6, "{p} {q}");
        }
    }

    for input in [csv.as_bytes(), &idx] {
        let mut child = place
            .command("predict runs/mnist - --json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let found = lines(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(found.len(), ROWS);
        assert_eq!(found[3]["row"], 3);
        assert_eq!(found[3]["label"].to_string(), raw[3].0);
    }
}

#[test]
fn a_prediction_is_said_in_words() {
    let place = mnist();
    let seven = of_crate("tests/goldens/pictures/7-pen.jpg");
    fs::copy(seven, place.path("seven.jpg")).unwrap();
    let said = does(place, "predict runs/mnist seven.jpg --top-k 3 --show");
    is_plain(&said);
    assert!(said.starts_with("seven.jpg  7 "), "{said}");
    assert_eq!(said.lines().next().unwrap().matches('%').count(), 3, "{said}");
    assert!(said.contains("inverted") && said.contains("██"), "{said}");
    assert!(said.lines().count() >= 28, "{said}");
    let said = does(place, "predict runs/mnist seven.jpg --abstain 1");
    assert!(said.starts_with("seven.jpg  unsure (7 "), "{said}");
    let found = lines(&does(place, "predict runs/mnist seven.jpg --abstain 1 --json"));
    assert_eq!((found[0]["label"].is_null(), &found[0]["abstained"]), (true, &Value::Bool(true)));
    // Whoever reads the output may stop reading.
    let mut child = place
        .command("predict runs/mnist seven.jpg --show")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
}

#[test]
fn what_can_not_be_predicted_is_refused() {
    let place = small();
    write_png(&place.path("blank.png"), 40, 40, &[255; 1600]);
    let png = fs::read(place.path("blank.png")).unwrap();
    fs::write(place.path("cut.png"), &png[..png.len() / 2]).unwrap();
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bomb.extend(b"\0\0\xff\xff\0\0\xff\xff\x08\0\0\0\0");
    fs::write(place.path("bomb.png"), bomb).unwrap();
    fs::write(place.path("words.csv"), "1,2,x\n").unwrap();
    fs::write(place.path("narrow.csv"), "1,2,3\n").unwrap();
    fs::write(place.path("noise"), [9, 0, 255, 3]).unwrap();
    fs::write(place.path("wide.idx"), [0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 7]).unwrap();
    fs::write(place.path("short.idx"), [0, 0, 8, 2, 0, 0, 0, 1]).unwrap();
    for (line, words) in [
        ("predict runs/none blank.png", &["runs/none"][..]),
        ("predict runs blank.png", &["runs is a folder without model.safetensors"]),
        ("predict runs/small gone.png", &["gone.png"]),
        ("predict runs/small digits", &["this is a folder"]),
        ("predict runs/small cut.png", &["cut.png", "not a whole PNG"]),
        ("predict runs/small bomb.png", &["65535x65535", "at most"]),
        ("predict runs/small words.csv", &["line 1: `x` is not a number"]),
        ("predict runs/small narrow.csv", &["line 1 has 3 numbers; the model takes 16"]),
        ("predict runs/small noise", &["neither a picture nor an IDX, NPY or CSV"]),
        ("predict runs/small wide.idx", &["rows of 2 numbers", "the model takes 16"]),
        ("predict runs/small short.idx", &["it was cut off"]),
        ("predict runs/small blank.png --fit mnist", &["ink of 20 pixels", "pictures of 4x4"]),
        ("predict runs/small blank.png --backend vulcan", &["`vulkan`"]),
        ("predict runs/small blank.png --device 7", &["no device `7` here"]),
        ("predict words.csv blank.png", &["words.csv"]),
    ] {
        let Outcome { code, stdout, stderr, .. } = place.train(line);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{line}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{line}: no `{word}` in: {stderr}");
        }
        assert!(!stderr.contains("panicked"), "{line}: {stderr}");
    }
    let digit = mnist();
    fs::copy(place.path("blank.png"), digit.path("blank.png")).unwrap();
    digit.train("predict runs/mnist blank.png").refused(&["nothing that stands out"]);
    let keras = of_crate("../formats/tests/goldens/keras/tiny.keras");
    let line = format!("predict {} digits", keras.display());
    place.train(&line).refused(&["is a Keras file", "fireclay finetune import"]);
    let refused = place.train("predict runs/small blank.png --abstain 2");
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("a probability from 0 to 1"), "{}", refused.stderr);
}

#[test]
fn files_of_our_own_are_told_apart_and_checked() {
    let place = small();
    let said = does(&place, "inspect runs/small");
    is_plain(&said);
    for words in [
        "runs/small/model.safetensors: Fireclay model\n",
        ", valid\n",
        "  network       16-128-10 relu, 3,466 parameters\n",
        "  input         4x4\n",
        "  task          classification: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n",
        "  preprocessing times 0.003921569\n",
        "  trained on    idx:digits\n",
        "  tensors       4, 3,466 numbers\n",
        "Nothing is odd.\n",
    ] {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let checkpoint = fs::read_dir(place.path("runs/small/checkpoints")).unwrap();
    let checkpoint = checkpoint.map(|entry| entry.unwrap().path()).max().unwrap();
    let found = json(&place, &format!("inspect --json {}", checkpoint.display()));
    assert_eq!(found["kind"], "Fireclay checkpoint");
    assert_eq!(found["digest"]["is_valid"], true);
    let said = does(&place, &format!("inspect {}", checkpoint.display()));
    assert!(said.contains("  run           epochs 30, rollbacks 0, step 60\n"), "{said}");

    let tune = format!(
        "finetune --from runs/small/model.safetensors {DIGITS} --epochs 1 --lora rank=2,alpha=4 --name tuned -q"
    );
    does(&place, &tune);
    let said = does(&place, "inspect runs/tuned/adapter.safetensors");
    assert!(said.contains("Fireclay adapter") && said.contains("which it needs"), "{said}");
    let line = "predict runs/tuned/adapter.safetensors digits";
    place.train(line).refused(&["is an adapter", "--adapter runs/tuned/adapter.safetensors"]);

    let mut bytes = fs::read(place.path("runs/small/model.safetensors")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(place.path("damaged.safetensors"), &bytes).unwrap();
    let said = does(&place, "inspect damaged.safetensors");
    assert!(said.contains("NOT VALID") && said.contains("the file is damaged"), "{said}");
    assert_eq!(place.train("inspect damaged.safetensors --strict").code, Some(1));
    assert_eq!(place.train("inspect runs/small --strict").code, Some(0));
    fs::write(place.path("cut.safetensors"), &bytes[..last]).unwrap();
    let cut = place.train("inspect cut.safetensors");
    assert!(cut.stdout.contains("Odd:"), "{}", cut.stdout);
}

#[test]
fn files_of_other_programs_are_told_without_running_them() {
    let place = Place::new();
    for (file, kind, words) in [
        ("formats/tests/goldens/keras/rich.keras", "Keras file", "dense"),
        ("formats/tests/goldens/keras/plain.h5", "Keras HDF5 file", "dense"),
        ("formats/tests/goldens/onnx/plain.onnx", "ONNX file", "dense"),
        ("formats/tests/goldens/burn/plain.bpk", "Burn file", "tensors"),
        ("finetune/tests/goldens/batch.pt", "PyTorch file", "running_mean"),
    ] {
        let path = of_crate("..").join(file);
        let said = does(&place, &format!("inspect {}", path.display()));
        assert!(said.contains(&format!(": {kind}\n")), "{file}: {said}");
        // The first line has the path, however long it is.
        is_plain(said.split_once('\n').unwrap().1);
        assert!(said.contains(words), "{file}: {said}");
        assert!(said.contains("`fireclay finetune`"), "{file}: {said}");
        let found = json(&place, &format!("inspect {} --json", path.display()));
        assert!(found["numbers"].as_u64().unwrap() > 0, "{file}");
        assert_eq!(found["sha256"].as_str().unwrap().len(), 64);
    }
}

#[test]
fn what_a_file_would_do_is_not_done_and_is_told() {
    let place = Place::new();
    // A legacy file of PyTorch: its magic number, its version, the system it is of, and then what it
    // holds, which is a call.
    let evil = [
        &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..],
        b"\x80\x02M\xe9\x03.",
        b"\x80\x02}.",
        b"\x80\x02cos\nsystem\n(X\x09\0\0\0touch pwntR.",
    ];
    fs::write(place.path("evil.pt"), evil.concat()).unwrap();
    let evil = place.train("inspect evil.pt");
    assert_eq!(evil.code, Some(2));
    assert!(evil.stdout.contains("os.system"), "{}", evil.stdout);
    assert!(evil.stderr.contains("cannot be read"), "{}", evil.stderr);
    assert!(!place.path("pwn").exists());
    fs::write(place.path("empty"), "").unwrap();
    fs::write(place.path("escape\u{1b}[31m"), "hello\u{1b}[2J").unwrap();
    for (file, kind) in [("empty", "refused file"), ("escape\u{1b}[31m", "unknown file")] {
        let Outcome { code, stdout, stderr, .. } = place.train(&format!("inspect {file}"));
        assert_eq!(code, Some(2), "{file}");
        assert!(stdout.contains(kind), "{stdout}");
        assert!(!stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'), "{stdout}{stderr}");
    }
    place.train("inspect gone.pt").refused(&["gone.pt"]);
    place.train("inspect digits").refused(&["is a folder without model.safetensors"]);
}

#[test]
fn a_model_is_measured_and_gates_are_kept() {
    let place = mnist();
    let said = does(place, "evaluate runs/mnist");
    is_plain(&said);
    for words in
        ["mnist (test): 10,000 rows", "accuracy", "Wilson", "bootstrap", "macro-f1", "is \\ said"]
    {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let found = json(place, "evaluate runs/mnist --json");
    let manifest = json_file(&place.path("runs/mnist/manifest.json"));
    let accuracy = found["evaluation"]["scores"]["accuracy"]["value"].as_f64().unwrap();
    let trained = manifest["result"]["metrics"]["accuracy"].as_f64().unwrap();
    assert!((accuracy - trained).abs() < 1e-6, "{accuracy} {trained}");

    let place = small();
    for (line, code, words) in [
        ("evaluate runs/small --min-accuracy 0.01", 0, "met     accuracy at least 0.01"),
        ("evaluate runs/small --min-accuracy 1.01", 1, "NOT MET accuracy at least 1.01"),
        ("evaluate runs/small --max loss=0", 1, "NOT MET loss at most 0:"),
        ("evaluate runs/small --min macro-f1=0 --max loss=100", 0, "met     loss at most 100"),
        ("evaluate runs/small --min accuracy=nan", 1, "NOT MET"),
        (
            "evaluate runs/small --data idx:digits --split train --classes 1,2",
            0,
            "(train, classes 1, 2): 12 rows",
        ),
    ] {
        let outcome = place.train(line);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(code), ""), "{line}");
        assert!(outcome.stdout.contains(words), "{line}: {}", outcome.stdout);
    }
    place.train("evaluate runs/small --min acuracy=1").refused(&["did you mean `accuracy`?"]);
    place.train("evaluate runs/small --data mnits").refused(&["mnist"]);
    place.train("evaluate runs/small --data idx:gone").refused(&["gone"]);
    let any = |size: u32| json(&place, &format!("evaluate runs/small --json --batch-size {size}"));
    assert_eq!(
        any(1)["evaluation"]["scores"]["confusion"],
        any(7)["evaluation"]["scores"]["confusion"]
    );
}

#[test]
fn a_model_is_measured_on_the_classes_that_it_was_trained_on() {
    let place = small();
    train(&place, "high", "--classes 5,6,7,8,9");
    let found = json(&place, "evaluate runs/high --json");
    assert_eq!(
        (&found["data"], &found["evaluation"]["rows"]),
        (&"idx:digits (test, classes 5, 6, 7, 8, 9)".into(), &10.into())
    );
    // Five other digits are no places, though they are five as well.
    place
        .train("evaluate runs/high --classes 0,1,2,3,4")
        .refused(&["labels of the data are not those of the model"]);
    place.train("report runs/high --classes 5").refused(&["leave out --split"]);
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_is_measured_on_its_own_data_wherever_that_is() {
    let place = small();
    let expected = json(&place, "evaluate runs/small --json")["measures"].take();
    let elsewhere = |line: &str| {
        let mut command = place.command(line);
        Outcome::of(line, command.current_dir(place.path("else")))
    };
    fs::create_dir(place.path("else")).unwrap();
    for named in ["../runs/small", "../runs/small/model.safetensors"] {
        let said = elsewhere(&format!("evaluate {named} --json")).succeeded().stdout;
        let found: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(found["measures"], expected, "{named}");
    }
    let quiet = elsewhere("report ../runs/small").succeeded();
    assert!(quiet.stdout.contains("../runs/small/report.html"), "{}", quiet.stdout);

    fs::rename(place.path("digits"), place.path("moved")).unwrap();
    let words = ["cannot find the data", "digits: no such folder", "--data idx:FOLDER"];
    place.train("evaluate runs/small").refused(&words);
    let found = json(&place, "evaluate runs/small --data idx:moved --json")["measures"].take();
    assert_eq!(found, expected);
    does(&place, "report runs/small --data idx:moved --to page.html");
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(!page.contains("was not measured"));
    // Other rows under the same name are not the run's.
    program::write_digits(&place.path("digits"));
    let file = place.path("digits/t10k-images-idx3-ubyte");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let words = ["the data is not what this run learns from", "digits: other data"];
    place.train("evaluate runs/small").refused(&words);
    place.train("report runs/small --data idx:digits --to other.html").refused(&words);
    assert!(!place.path("other.html").exists());
    let found = place.train("report runs/small");
    assert!(found.stderr.contains("The model was not measured"), "{}", found.stderr);
    does(&place, "evaluate runs/small --data idx:digits");
}

#[test]
fn a_model_that_was_replaced_is_not_that_of_the_run() {
    let place = small();
    train(&place, "other", "--seed 2");
    let model = place.path("runs/small/model.safetensors");
    fs::copy(place.path("runs/other/model.safetensors"), &model).unwrap();
    let words = ["runs/small/model.safetensors", "not the model that the run ended with"];
    for line in ["evaluate runs/small", "report runs/small", "compare runs/other runs/small"] {
        place.train(line).refused(&words);
    }
    let found = place.train("evaluate runs/small/model.safetensors");
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert!(words.iter().all(|word| found.stderr.contains(word)), "{}", found.stderr);

    let tune = "--epochs 1 --lora rank=2 --name tuned -q --no-report";
    does(&place, &format!("finetune --from runs/other/model.safetensors {DIGITS} {tune}"));
    does(&place, "report runs/tuned");
    fs::copy(place.path("runs/tuned/start.safetensors"), place.path("runs/tuned/base.safetensors"))
        .unwrap();
    let words = "runs/tuned/base.safetensors: this is not the file that the run wrote";
    place.train("report runs/tuned").warned(&[words]);
}

#[test]
fn rows_that_are_no_bytes_are_warned_of() {
    let place = small();
    fs::create_dir(place.path("bits")).unwrap();
    for name in names_in(&place.path("digits")) {
        let mut bytes = fs::read(place.path("digits").join(&name)).unwrap();
        if name.contains("images") {
            bytes[16..].iter_mut().for_each(|pixel| *pixel = u8::from(*pixel > 100));
        }
        fs::write(place.path("bits").join(&name), bytes).unwrap();
    }
    let words = "idx:bits: no feature is above 1, and the preprocessing divides them by 255";
    place.train("evaluate runs/small --data idx:bits").warned(&[words]);
    does(&place, "evaluate runs/small --data idx:bits -q");
}

#[test]
fn what_is_written_replaces_nothing_that_was_not_given_up() {
    let place = small();
    let model = "runs/small/model.safetensors";
    fs::copy(place.path(model), place.path("mine.safetensors")).unwrap();
    fs::hard_link(place.path("mine.safetensors"), place.path("linked.html")).unwrap();
    fs::write(place.path("notes.html"), "mine").unwrap();
    // Its numbers lie in a file beside it, which it names.
    for name in ["beside.onnx", "beside.onnx.data"] {
        let golden = of_crate("../formats/tests/goldens/onnx/small").join(name);
        fs::copy(golden, place.path(name)).unwrap();
    }
    let before = place.tree();
    let refused = |line: &str, words: &[&str]| {
        place.train(line).refused(words);
        assert!(place.tree() == before, "{line} changed something");
    };
    let input = &["this command reads that file"];
    for force in ["", " --force"] {
        for line in [
            "report mine.safetensors --to mine.safetensors",
            "report mine.safetensors --to linked.html",
            "report runs/small --to runs/small/model.safetensors",
            "report runs/small --to ./runs/../runs/small/manifest.json",
            "report runs/small --to runs/small/checkpoints/step-00000060.safetensors",
            "report mine.safetensors --data idx:digits --to digits/t10k-labels-idx1-ubyte",
            "finetune import mine.safetensors --to linked.html",
            "finetune import beside.onnx --to beside.onnx.data",
        ] {
            refused(&format!("{line}{force}"), input);
        }
        refused(&format!("report runs/small --to digits{force}"), &["a folder"]);
        refused(&format!("report runs/small --to gone/page.html{force}"), &["gone does not exist"]);
        refused(&format!("report runs/small --plots notes.html{force}"), &["name a folder"]);
        refused(&format!("man notes.html{force}"), &["notes.html"]);
    }
    refused("report runs/small --to notes.html", &["notes.html", "--force"]);
    refused("finetune import mine.safetensors --to notes.html", &["notes.html", "--force"]);

    // By default an earlier page is replaced, and no other file.
    does(&place, "report runs/small");
    does(&place, "report runs/small");
    does(&place, "report mine.safetensors");
    fs::write(place.path("report.html"), "mine").unwrap();
    place.train("report mine.safetensors").refused(&["report.html", "--force"]);
    does(&place, "report mine.safetensors --force");
    does(&place, "report runs/small --to notes.html --force");
    does(&place, "report runs/small --to new.html --plots plots");
    place.train("report runs/small --to newer.html --plots plots").refused(&["loss.", "--force"]);
    assert!(!place.path("newer.html").exists());
    does(&place, "report runs/small --to newer.html --plots plots --force");

    does(&place, "man pages");
    fs::write(place.path("pages/fireclay-train.1"), "mine").unwrap();
    place.train("man pages").refused(&["fireclay-train.1", "--force"]);
    does(&place, "man pages --force");
    does(&place, "man pages");
    fs::write(place.path("runs/small/report.html"), "mine").unwrap();
    let found = place.train("train --resume runs/small --epochs 31");
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert!(found.stderr.contains("is not a report of fireclay"), "{}", found.stderr);
    assert_eq!(fs::read(place.path("runs/small/report.html")).unwrap(), b"mine");
}

#[test]
fn a_folder_of_runs_names_the_run_that_is_in_it() {
    let place = small();
    fs::rename(place.path("runs"), place.path("my runs")).unwrap();
    for command in ["report", "evaluate", "inspect", "predict"] {
        let input = if command == "predict" { Some("digits/t10k-images-idx3-ubyte") } else { None };
        let mut program = place.command(command);
        program.arg("my runs").args(input);
        Outcome::of(command, &mut program).refused(&["did you mean 'my runs/small'?"]);
    }
    for kind in ["safetensors", "model"] {
        let file = place.path(&format!("a {kind}.pt"));
        let golden = of_crate("../formats/tests/goldens/pytorch/plain.pt");
        fs::copy(golden, &file).unwrap();
        let mut program = place.command("evaluate");
        let words = format!("finetune import 'a {kind}.pt' --to");
        Outcome::of(kind, program.arg(format!("a {kind}.pt"))).refused(&[&words]);
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_told_of_at_once() {
    let place = small();
    let fifo = |path: &str| {
        let path = place.path(path);
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    };
    fifo("pipe");
    for line in ["evaluate pipe", "inspect pipe", "report pipe", "finetune import pipe --to x"] {
        place.train(line).refused(&["pipe", "regular file"]);
    }
    place.train(&format!("finetune --from pipe {DIGITS}")).failed(&["pipe", "regular file"]);
    for file in ["model.safetensors", "metrics.jsonl", "manifest.json", "config.toml"] {
        let path = format!("runs/small/{file}");
        fs::rename(place.path(&path), place.path("kept")).unwrap();
        fifo(&path);
        let said = place.train("inspect runs/small");
        let said = (said.stdout + &said.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&format!("{file}: this is a named pipe")), "{said}");
        let line = "report runs/small";
        if file == "config.toml" {
            // The settings of the run are in its manifest.
            place.train(line).warned(&["config.toml: this is a named pipe"]);
        } else {
            place.train(line).refused(&[file, "a named pipe"]);
        }
        if file == "model.safetensors" {
            for line in ["evaluate runs/small", "compare runs/small runs/small"] {
                place.train(line).refused(&[file, "a named pipe"]);
            }
        }
        fs::rename(place.path("kept"), place.path(&path)).unwrap();
    }
}

#[test]
fn two_runs_are_compared() {
    let place = small();
    train(&place, "other", "--seed 2 --hidden 8");
    let said = does(&place, "compare runs/small runs/other");
    is_plain(&said);
    for words in
        ["McNemar", "They say the same of", "model.hidden", "[8]", "validation loss, first"]
    {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let same = json(&place, "compare runs/small runs/small --json");
    assert_eq!(same["comparison"]["largest_difference"], 0.0);
    assert_eq!(same["comparison"]["mcnemar"]["p_value"], 1.0);
    assert_eq!(same["runs"]["settings"], serde_json::json!({}));
    place.train("compare runs/small runs/none").refused(&["runs/none"]);
    train(&place, "few", "--classes 1,2");
    place.train("compare runs/small runs/few").refused(&["1, 2"]);
}

#[test]
fn a_report_is_one_page_that_needs_nothing_else() {
    let place = small();
    let said = does(&place, "report runs/small --plots plots");
    assert!(said.starts_with("The report is in runs/small/report.html\n"), "{said}");
    let page = fs::read_to_string(place.path("runs/small/report.html")).unwrap();
    assert!(page.len() < 2_000_000);
    for outside in ["src=\"http", "href=\"http", "url(http", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let plots = ["accuracy", "classes", "confusion", "learning-rate", "loss", "reliability"];
    let files = plots.iter().flat_map(|plot| [format!("{plot}.png"), format!("{plot}.svg")]);
    assert_eq!(files.collect::<Vec<_>>(), names_in(&place.path("plots")));
    assert!(said.ends_with("6 plots are in plots, each as .svg and .png\n"), "{said}");
    let png = fs::read(place.path("plots/loss.png")).unwrap();
    let png = image::load_from_memory(&png).unwrap();
    assert_eq!((png.width(), png.height()), (920, 640));
    does(&place, "report runs/small/model.safetensors --to model.html");
    assert!(fs::read_to_string(place.path("model.html")).unwrap().contains("</html>"));
    place.train("report runs/none").refused(&["runs/none"]);
    place.train("report digits").refused(&["digits"]);
    place.train("report runs/small --to gone/page.html").refused(&["gone/page.html"]);
}

#[test]
fn tensorboard_gets_the_measurements_when_asked_for() {
    let place = Place::new();
    let said = does(&place, &format!("train {DIGITS} --epochs 1 --no-report --tensorboard"));
    let (_, path) = said.trim_end().rsplit_once("For TensorBoard: ").unwrap();
    assert!(path.starts_with("runs/idx-1/events.out.tfevents."), "{said}");
    let events = fs::read(place.path(path)).unwrap();
    let holds = |tag: &str| events.windows(tag.len()).any(|part| part == tag.as_bytes());
    for tag in ["loss/training", "accuracy/validation", "loss/test", "learning-rate"] {
        assert!(holds(tag), "{tag}");
    }

    // Written again, it is the same file.
    fs::remove_file(place.path(path)).unwrap();
    let said = does(&place, "report runs/idx-1 --tensorboard");
    assert!(said.ends_with(&format!("For TensorBoard: {path}\n")), "{said}");
    assert_eq!(fs::read(place.path(path)).unwrap(), events);
    let quiet = does(&place, &format!("train {DIGITS} --epochs 1 --no-report --tensorboard -q"));
    assert_eq!(quiet, "");
    let line = "report runs/idx-1/model.safetensors --tensorboard --to page.html";
    place.train(line).refused(&["--tensorboard", "folder of a run"]);
    assert!(!place.path("page.html").exists());
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

/// Every door that takes a model says the same of a file of another program.
#[test]
fn a_file_of_another_kind_is_named_at_every_door() {
    let place = small();
    let ours = "runs/small/model.safetensors";
    fs::write(place.path("other.gguf"), [b"GGUF\x03\0\0\0".to_vec(), vec![7; 300]].concat())
        .unwrap();
    fs::create_dir(place.path("saved")).unwrap();
    fs::write(place.path("saved/saved_model.pb"), b"").unwrap();
    let tensors = of_crate("../formats/tests/goldens/pytorch/key-net.pt");
    fs::copy(tensors, place.path("net.pt")).unwrap();
    for door in [
        "predict NAME x.csv".to_owned(),
        "evaluate NAME --data idx:digits".to_owned(),
        format!("compare NAME {ours} --data idx:digits"),
        format!("compare {ours} NAME --data idx:digits"),
        "finetune merge --adapter NAME --to o.safetensors".to_owned(),
        format!("finetune merge --base NAME --adapter {ours} --to o.safetensors"),
        "finetune import NAME --to o.safetensors".to_owned(),
        format!("finetune --from NAME {DIGITS}"),
    ] {
        let at = |name: &str| place.train(&door.replace("NAME", name));
        at("other.gguf").refused(&["other.gguf: this is a GGUF file; start from"]);
        at("saved").refused(&["saved: this is a SavedModel of TensorFlow; convert it"]);
        if !door.contains("import") && !door.contains("--from") {
            at("net.pt")
                .refused(&["net.pt is a PyTorch file, not a model of Fireclay", "import net.pt"]);
        }
    }
    for door in [
        format!("evaluate {ours} --data idx:digits --adapter NAME"),
        format!("finetune merge --base {ours} --adapter NAME --to o.safetensors"),
    ] {
        let at = |name: &str| place.train(&door.replace("NAME", name));
        at("other.gguf").refused(&["other.gguf: this is a GGUF file; start from"]);
        at("net.pt").refused(&["net.pt is a PyTorch file, not an adapter of Fireclay"]);
    }
    let inspected = place.train("inspect other.gguf");
    assert_eq!(inspected.code, Some(2));
    assert!(inspected.stdout.contains("this is a GGUF file"), "{}", inspected.stdout);
    place.train("inspect saved").refused(&["this is a SavedModel of TensorFlow"]);
    let line = format!("finetune --from {ours} --teacher other.gguf {DIGITS}");
    place.train(&line).failed(&["other.gguf: this is a GGUF file"]);
}

#[test]
fn networks_of_a_checkpoint_are_looked_at_together_or_one_by_one() {
    let place = Place::new();
    for file in ["several.pt", "net.pt"] {
        let golden = file.replace("net", "key-net");
        let golden = of_crate("../formats/tests/goldens/pytorch").join(golden);
        fs::copy(golden, place.path(file)).unwrap();
    }
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let all = words(does(&place, "inspect several.pt --strict"));
    assert!(all.contains("model.0.weight") && all.contains("ema.0.weight"), "{all}");
    assert!(all.contains("--key NAME") && all.matches("several networks").count() == 1, "{all}");
    let one = words(does(&place, "inspect several.pt --key ema"));
    assert!(one.contains(" 0.weight") && !one.contains("several networks"), "{one}");
    place.train("inspect several.pt --key gone").failed(&[]);
    let import =
        "finetune import several.pt --activation relu --preprocessing none --task regression";
    place.train(&format!("{import} --to o.safetensors")).refused(&[
        "\"model\"",
        "\"ema\"",
        "--key",
    ]);
    does(&place, &format!("{import} --key ema --to o.safetensors"));
    place.train("inspect o.safetensors --key ema").refused(&["leave out --key"]);
    place
        .train("finetune import o.safetensors --key ema --to p.safetensors")
        .refused(&["leave out --key"]);
}
