//! `fireclay predict` and `fireclay-predict` on the same inputs: the same bytes.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::columns;
use crate::program::Place;
use crate::support::{built, mnist, names_in, of_crate, small};

/// Runs a command line of prediction with both programs, and gives what both print; `stdin` is what
/// they read.
#[track_caller]
fn both(place: &Place, line: &str, stdin: &[u8]) -> Output {
    let cli = place.command(&format!("predict {line}"));
    let mut alone = Command::new(built("fireclay-predict"));
    alone.args(line.split_whitespace());
    place.settle(&mut alone);
    let [cli, alone] = [cli, alone].map(|command| output(command, stdin));
    let shown = |output: &Output| {
        let texts = [&output.stdout, &output.stderr];
        (output.status.code(), texts.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    assert_eq!(shown(&cli), shown(&alone), "{line}");
    assert_eq!((&cli.stdout, &cli.stderr), (&alone.stdout, &alone.stderr), "{line}");
    alone
}

fn output(mut command: Command, stdin: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

/// The rows of an input that both programs predict without a word on standard error.
#[track_caller]
fn rows(place: &Place, line: &str, stdin: &[u8]) -> usize {
    let Output { status, stdout, stderr } = both(place, line, stdin);
    assert_eq!((status.code(), &stderr[..]), (Some(0), &b""[..]), "{line}");
    stdout.iter().filter(|&&byte| byte == b'\n').count()
}

#[test]
fn pictures() {
    let place = mnist();
    let folder = of_crate("../pictures/tests/goldens/pictures");
    let names = names_in(&folder);
    let paths: Vec<String> =
        names.iter().map(|name| folder.join(name).display().to_string()).collect();
    let paths = paths.join(" ");
    for flags in ["", "--json", "--json --top-k 3", "--abstain 0.999 -q", "--fit resize"] {
        assert!(rows(place, &format!("runs/mnist {paths} {flags}"), b"") >= names.len());
    }
    assert!(rows(place, &format!("runs/mnist {paths} --show"), b"") >= 20 * names.len());
    fs::write(place.path("words.txt"), "nothing\n").unwrap();
    let some = both(place, &format!("runs/mnist words.txt {paths} gone.png"), b"");
    assert_eq!(some.status.code(), Some(2));
    assert!(some.stdout.len() > 100 * names.len() && some.stderr.starts_with(b"error: words.txt"));
}

#[test]
fn arrays_and_tables() {
    let place = small();
    let images = fs::read(place.path("digits/t10k-images-idx3-ubyte")).unwrap();
    let pixels = &images[16..];
    let mut table = String::new();
    for row in pixels.chunks_exact(16) {
        table += &(row.iter().map(u8::to_string).collect::<Vec<_>>().join(",") + "\n");
    }
    let heading = (0..16).map(|at| format!("p{at}")).collect::<Vec<_>>().join(",");
    let head = "{'descr': '|u1', 'fortran_order': False, 'shape': (20, 16), }";
    let head = format!("{head:<117}\n");
    let npy = [b"\x93NUMPY\x01\0", &118_u16.to_le_bytes()[..], head.as_bytes(), pixels].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&images).unwrap();
    let headed = format!("{heading}\n{table}");
    for (name, bytes) in [
        ("rows.csv", table.as_bytes()),
        ("headed.csv", headed.as_bytes()),
        ("rows.npy", &npy),
        ("rows.idx", &images),
        ("rows.idx.gz", &gzip.finish().unwrap()),
    ] {
        fs::write(place.path(name), bytes).unwrap();
        for flags in ["", "--json", "--top-k 10"] {
            let found = rows(&place, &format!("runs/small {name} {flags}"), b"");
            let is_noted = name == "headed.csv" && flags != "--json";
            assert!(if is_noted { found > 20 } else { found == 20 }, "{name} {flags}: {found}");
        }
        let found = rows(&place, "runs/small - --json", bytes);
        assert_eq!(found, 20, "{name} from standard input");
    }
}

#[test]
fn named_columns() {
    let (place, _) = columns::place();
    let table = "colour,id,size\nred,7,1.5\ngreen,8,\n";
    fs::write(place.path("rows.csv"), table).unwrap();
    for line in ["model.safetensors rows.csv", "model.safetensors rows.csv --json"] {
        let found = both(&place, line, b"");
        let warning = String::from_utf8(found.stderr).unwrap();
        assert!(warning.starts_with("warning: ") && warning.contains("green"), "{warning}");
        assert!(found.status.success() && found.stdout.len() > 40, "{line}");
    }
    assert!(both(&place, "model.safetensors -", table.as_bytes()).status.success());
}

#[test]
fn predictions_are_written_in_every_format() {
    let (place, _) = columns::place();
    fs::write(place.path("rows.csv"), "colour,size\nred,1.5\nblue,2\n").unwrap();
    let line = "model.safetensors rows.csv --format";
    assert_eq!(rows(&place, &format!("{line} text"), b""), 2);
    assert_eq!(rows(&place, &format!("{line} jsonl"), b""), 2);
    assert_eq!(rows(&place, &format!("{line} csv"), b""), 3);
    let [json, jsonl] = ["--json", "--format jsonl"]
        .map(|flags| both(&place, &format!("model.safetensors rows.csv {flags}"), b"").stdout);
    assert_eq!(json, jsonl);
    // Of a file, both programs write the same bytes.
    for format in ["csv", "jsonl", "parquet", "text"] {
        let files = ["cli", "alone"].map(|name| format!("{name}.{format}"));
        let [cli, alone] = &files;
        place.train(&format!("predict {line} {format} --output {cli}")).succeeded();
        let mut program = Command::new(built("fireclay-predict"));
        program.args(format!("{line} {format} --output {alone}").split_whitespace());
        place.settle(&mut program);
        let output = output(program, b"");
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "{format}");
        let [cli, alone] = files.map(|file| fs::read(place.path(&file)).unwrap());
        assert!(cli == alone && !cli.is_empty(), "{format}");
    }
    let to_terminal = both(&place, &format!("{line} parquet"), b"");
    assert!(to_terminal.stderr.starts_with(b"error: Parquet is not text"));
    let kept = both(&place, &format!("{line} csv --output cli.csv"), b"");
    assert!(String::from_utf8(kept.stderr).unwrap().contains("--force"));
    assert_eq!(rows(&place, &format!("{line} csv --output cli.csv --force"), b""), 0);
    let unknown = both(&place, &format!("{line} xml"), b"");
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn what_is_refused() {
    let place = small();
    fs::write(place.path("narrow.csv"), "1,2,3\n").unwrap();
    fs::write(place.path("page.csv"), "<html></html>").unwrap();
    let keras = of_crate("../formats/tests/goldens/keras/tiny.keras");
    for line in [
        "runs/small narrow.csv",
        "runs/small page.csv",
        "runs/small digits",
        "runs/small gone.csv narrow.csv",
        "runs/small narrow.csv --abstain 2",
        "runs/none narrow.csv",
        "narrow.csv narrow.csv",
        "runs/small runs/small/model.safetensors",
        &format!("{} narrow.csv", keras.display()),
        "runs/small narrow.csv --adapter runs/small/model.safetensors",
    ] {
        let refused = both(&place, line, b"");
        assert_eq!((refused.status.code(), &refused.stdout[..]), (Some(2), &b""[..]), "{line}");
        assert!(refused.stderr.starts_with(b"error: "), "{line}");
    }
    // The model of another run in the place of this one's.
    crate::support::train(&place, "other", "--seed 7");
    fs::copy(
        place.path("runs/other/model.safetensors"),
        place.path("runs/small/model.safetensors"),
    )
    .unwrap();
    let replaced = both(&place, "runs/small digits/t10k-images-idx3-ubyte", b"");
    assert_eq!(replaced.status.code(), Some(2));
    let said = String::from_utf8(replaced.stderr).unwrap();
    assert!(said.contains("not the model that the run ended with"), "{said}");
    // The file itself may be meant.
    let line = "runs/small/model.safetensors digits/t10k-images-idx3-ubyte";
    let named = both(&place, line, b"");
    assert!(named.status.success() && named.stderr.starts_with(b"warning: "));
}

/// The folder of a run without its model, or with a manifest that is cut off.
#[test]
fn runs_that_cannot_be_read() {
    let place = small();
    let line = "runs/small digits/t10k-images-idx3-ubyte";
    let manifest = place.path("runs/small/manifest.json");
    let whole = fs::read_to_string(&manifest).unwrap();
    let refused = |words: &[&str]| {
        let Output { status, stderr, .. } = both(&place, line, b"");
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(2));
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    refused(&["manifest.json: this is no whole manifest", "or name the model file"]);
    fs::write(&manifest, &whole).unwrap();
    fs::remove_file(place.path("runs/small/model.safetensors")).unwrap();
    refused(&["is finished, and its model.safetensors is gone", "`fireclay train --repeat"]);
    let (before, _) = whole.rsplit_once("\"result\":").unwrap();
    fs::write(&manifest, format!("{before}\"result\": null}}")).unwrap();
    refused(&["has no model.safetensors yet", "`fireclay train --resume runs/small`"]);
    // The folder of all runs, beside a site that has a file of the same name.
    fs::create_dir(place.path("runs/site")).unwrap();
    fs::write(place.path("runs/site/config.toml"), "title = 'x'").unwrap();
    let above = both(&place, "runs digits/t10k-images-idx3-ubyte", b"");
    let said = String::from_utf8(above.stderr).unwrap();
    assert!(said.contains("; did you mean runs/small?"), "{said}");
}

/// What both log is the same, but for the backend that only one of them chooses.
#[test]
fn what_is_logged() {
    let place = small();
    let line = "runs/small digits/t10k-images-idx3-ubyte -v";
    let mut alone = Command::new(built("fireclay-predict"));
    alone.args(line.split_whitespace());
    place.settle(&mut alone);
    let [cli, alone] = [place.command(&format!("predict {line}")), alone].map(|command| {
        let said = String::from_utf8(output(command, b"").stderr).unwrap();
        let lines = said.lines().map(|line| line.split_once(" s: ").unwrap().1.to_owned());
        lines.filter(|line| !line.starts_with("computing with")).collect::<Vec<_>>()
    });
    assert_eq!(cli, alone);
    assert!(cli.len() >= 4, "{cli:?}");
}
