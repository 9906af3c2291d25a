//! `fireclay predict`: predictions of rows and pictures, and what is refused.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fireclay_data::{Features, LoadOptions, Source, Targets, load};
use serde_json::Value;

use crate::program::Outcome;
use crate::support::{does, is_plain, lines, mnist, names_in, of_crate, small};

fn write_png(path: &Path, width: usize, height: usize, pixels: &[u8]) {
    let (width, height) = (width as u32, height as u32);
    image::save_buffer(path, pixels, width, height, image::ExtendedColorType::L8).unwrap();
}

#[test]
fn pictures_of_another_program_are_told() {
    let place = mnist();
    let folder = of_crate("../pictures/tests/goldens/pictures");
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
    let seven = of_crate("../pictures/tests/goldens/pictures/7-pen.jpg");
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

#[cfg(unix)]
#[test]
fn a_pipe_that_gives_nothing_is_said_to_be_waited_for() {
    let place = small();
    let row = ["0"; 16].join(",") + "\n";
    let fifo = place.path("rows.fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    for (input, name) in [("rows.fifo", "rows.fifo"), ("-", "standard input")] {
        for wait in [Duration::ZERO, Duration::from_millis(1300)] {
            let mut child = place
                .command(&format!("predict runs/small {input}"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            std::thread::sleep(wait);
            let mut to = child.stdin.take().unwrap();
            if input == "-" {
                to.write_all(row.as_bytes()).unwrap();
            } else {
                fs::write(&fifo, &row).unwrap();
            }
            drop(to);
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{said}");
            let is_said = said.contains(&format!("waiting for data from {name}"));
            assert_eq!(is_said, !wait.is_zero(), "{input}, {wait:?}: {said}");
        }
    }
}
