//! Rows that stay in their file and are read in blocks.

use std::fmt::Write;
use std::fs;

use fireclay::Value as Cell;
use fireclay_data::tables::{ParquetWriter, Values};

use crate::program::Place;
use crate::support::{does, json};

/// A table of 3 MB, whose rows are sorted by the class that follows from them.
fn sorted() -> String {
    let mut text = "a,b,c,class\n".to_owned();
    for i in 0..60_000_usize {
        let class = ["low", "middle", "high"][i / 20_000];
        let noise = (i.wrapping_mul(2_654_435_761) % 1000) as f64 / 1000.0;
        let (a, b) = (i as f64 / 60_000.0 + noise / 5.0, (i * 37 % 1009) as f64);
        writeln!(text, "{a:.12},{b:.12},{noise:.12},{class}").unwrap();
    }
    text
}

const STREAM: &str = "train --data sorted.csv --target class --no-report --batch-size 128";

#[test]
fn rows_in_blocks_give_the_bits_of_rows_in_memory() {
    let place = Place::new();
    fs::write(place.path("sorted.csv"), sorted()).unwrap();
    does(&place, &format!("{STREAM} --epochs 2 --name memory"));
    does(&place, &format!("{STREAM} --epochs 2 --name blocks --memory 900MB"));
    let bytes =
        |run: &str, file: &str| fs::read(place.path(&format!("runs/{run}/{file}"))).unwrap();
    assert!(bytes("memory", "metrics.jsonl") == bytes("blocks", "metrics.jsonl"));
    let weights = |run: &str| {
        fireclay::Predictor::load(place.path(&format!("runs/{run}/model.safetensors"))).unwrap()
    };
    let row = [["0.5", "300", "0.25"].map(|text| Cell::Number(text.parse().unwrap()))];
    let predicted = |run: &str| weights(run).predict_values(&["a", "b", "c"], &row).unwrap();
    assert_eq!(predicted("memory"), predicted("blocks"));
    place.train(&format!("{STREAM} --memory 20MB")).refused(&["20MB is too little", "at least"]);
}

#[test]
fn a_killed_run_on_blocks_ends_in_the_same_bits() {
    let place = Place::new();
    fs::write(place.path("sorted.csv"), sorted()).unwrap();
    ends_in_the_same_bits(&place, &format!("{STREAM} --memory 115MB"));
    let measured = json(&place, "evaluate runs/whole --json");
    let accuracy = measured["evaluation"]["scores"]["accuracy"]["value"].as_f64().unwrap();
    assert!(accuracy > 0.8, "sorted rows are shuffled: {accuracy}");
}

/// A run that is killed in the second of its three epochs and resumed ends in the bits of `runs/whole`,
/// which is made too.
#[track_caller]
fn ends_in_the_same_bits(place: &Place, line: &str) {
    let line = format!("{line} --epochs 3 --checkpoint-every 40steps");
    does(place, &format!("{line} --name whole"));
    let mut command = place.command(&format!("{line} --name killed"));
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let checkpoints = place.path("runs/killed/checkpoints");
    // In the second of three epochs of 338 steps.
    let is_far = || {
        let names = fs::read_dir(&checkpoints).into_iter().flatten().flatten();
        names.into_iter().any(|file| file.file_name().to_string_lossy().contains("step-00000440"))
    };
    while !is_far() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.path("runs/killed/model.safetensors").exists());
    does(place, "train --resume killed --no-report");
    for file in ["metrics.jsonl", "model.safetensors"] {
        let bytes = |run: &str| fs::read(place.path(&format!("runs/{run}/{file}"))).unwrap();
        assert!(bytes("whole") == bytes("killed"), "{file}");
    }
}

#[test]
fn a_file_that_changes_under_a_run_stops_it() {
    let place = Place::new();
    fs::write(place.path("sorted.csv"), sorted()).unwrap();
    let line = format!("{STREAM} --epochs 3 --memory 115MB --checkpoint-every 40steps --name cut");
    let mut command = place.command(&line);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    while fs::read_dir(place.path("runs/cut/checkpoints")).map_or(0, Iterator::count) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended too soon");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    fs::write(place.path("sorted.csv"), "a,b,c,class\n1,2,3,low\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("has changed since training began") && said.contains("--resume"),
        "{said}"
    );
}

/// The rows of [`sorted`] as typed columns: three features and a class.
fn typed() -> ([Vec<f32>; 3], Vec<i64>) {
    let text = sorted();
    let (mut columns, mut classes) = ([(); 3].map(|()| Vec::new()), Vec::new());
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        columns
            .iter_mut()
            .zip(&cells)
            .for_each(|(column, cell)| column.push(cell.parse().unwrap()));
        let class = ["low", "middle", "high"].iter().position(|class| *class == cells[3]);
        classes.push(class.unwrap() as i64);
    }
    (columns, classes)
}

fn safetensors(columns: &[Vec<f32>; 3], classes: &[i64]) -> Vec<u8> {
    let rows = classes.len();
    let matrix: Vec<u8> = (0..rows)
        .flat_map(|row| columns.iter().flat_map(move |column| column[row].to_le_bytes()))
        .collect();
    let classes: Vec<u8> = classes.iter().flat_map(|class| class.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new;
    let tensors = [
        ("x", view(safetensors::Dtype::F32, vec![rows, 3], &matrix).unwrap()),
        ("class", view(safetensors::Dtype::I64, vec![rows], &classes).unwrap()),
    ];
    safetensors::serialize(tensors, None).unwrap()
}

fn parquet(path: &std::path::Path, columns: &[Vec<f32>; 3], classes: &[i64]) {
    let names = ["a", "b", "c", "class"].map(str::to_owned).to_vec();
    let mut writer = ParquetWriter::begin(fs::File::create(path).unwrap(), names).unwrap();
    let mut all: Vec<Values> = columns.iter().cloned().map(Values::Numbers).collect();
    all.push(Values::Integers(classes.to_vec()));
    writer.write(all).unwrap();
    writer.finish().unwrap();
}

#[test]
fn typed_rows_in_blocks_give_the_bits_of_rows_in_memory() {
    let place = Place::new();
    let (columns, classes) = typed();
    fs::write(place.path("rows.safetensors"), safetensors(&columns, &classes)).unwrap();
    parquet(&place.path("rows.parquet"), &columns, &classes);
    let read = |run: &str| fs::read(place.path(&format!("runs/{run}/metrics.jsonl"))).unwrap();
    for file in ["rows.safetensors", "rows.parquet"] {
        let line = format!(
            "train --data {file} --target class --task classification --no-report --batch-size 512 \
             --epochs 1"
        );
        let [memory, blocks] = ["memory", "blocks"].map(|kind| format!("{kind}-{}", &file[5..]));
        does(&place, &format!("{line} --name {memory}"));
        does(&place, &format!("{line} --name {blocks} --memory 900MB"));
        assert!(read(&memory) == read(&blocks), "{file}");
    }
    place
        .train("train --data rows.parquet --target class --task classification --memory 112MB")
        .refused(&["row groups of", "row_group_size"]);
    let line = "train --data rows.safetensors --target class --task classification --no-report";
    ends_in_the_same_bits(&place, &format!("{line} --batch-size 128 --memory 115MB"));
}

/// An array of so many columns as NumPy writes it.
fn npy(kind: &str, columns: usize, values: &[u8]) -> Vec<u8> {
    let rows = values.len() / 4 / columns;
    let shape = if columns == 1 { format!("({rows},)") } else { format!("({rows}, {columns})") };
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    [b"\x93NUMPY\x01\0v\0", header.as_bytes(), values].concat()
}

#[test]
fn labels_of_embeddings_come_from_a_second_file() {
    let place = Place::new();
    let row = |row: i32| [row * 74 % 1009, row * row * 7 % 911];
    let features = (0..400).flat_map(|at| row(at).map(|x| x as f32));
    let features: Vec<u8> = features.flat_map(f32::to_le_bytes).collect();
    let labels = (0..400).map(|at| i32::from(row(at).iter().sum::<i32>() > 960));
    let labels: Vec<u8> = labels.flat_map(i32::to_le_bytes).collect();
    fs::write(place.path("x.npy"), npy("<f4", 2, &features)).unwrap();
    fs::write(place.path("y.npy"), npy("<i4", 1, &labels)).unwrap();
    let line = "train --data x.npy --target-file y.npy --task classification --no-report --lr 0.01";
    let said = does(&place, &format!("{line} --epochs 30 --name x"));
    assert!(said.contains("target target: classification") && said.contains("2 numbers: 0, 1"));
    let measured = json(&place, "evaluate runs/x --json");
    let accuracy = |measured: &serde_json::Value| {
        measured["evaluation"]["scores"]["accuracy"]["value"].as_f64().unwrap()
    };
    assert!(accuracy(&measured) > 0.9, "{measured}");
    let whole = json(&place, "evaluate runs/x --data x.npy --target-file y.npy --json");
    assert_eq!(whole["evaluation"]["rows"], 400);
    assert!(accuracy(&whole) > 0.9, "{whole}");
    place.train("evaluate runs/x --data x.npy").refused(&["no column target"]);
    place.train(&format!("{line} --memory 500MB")).refused(&["--target-file has no effect"]);
}

#[test]
fn lists_are_vectors_of_features_and_labels() {
    let place = Place::new();
    let object = |row: usize| {
        let (a, b) = (row * 37 % 101, row * 53 % 97);
        let mut tags = Vec::new();
        tags.extend((a > 50).then_some("\"large\""));
        tags.extend((b > 48).then_some("\"round\""));
        format!("{{\"x\": [{a}, {b}.5], \"tags\": [{}]}}\n", tags.join(","))
    };
    let objects = |rows: std::ops::Range<usize>| rows.map(object).collect::<String>();
    fs::write(place.path("objects.jsonl"), objects(0..400)).unwrap();
    let line =
        "train --data objects.jsonl --target tags --no-report --lr 0.01 --epochs 40 --name t";
    let said = does(&place, line);
    assert!(said.contains("target tags: multi-label"), "{said}");
    assert!(said.contains("2 numbers: x.0, x.1"), "{said}");
    // Rows of which none has one of the labels.
    let few: String = objects(400..440)
        .lines()
        .filter(|line| !line.contains("round"))
        .fold(String::new(), |all, line| all + line + "\n");
    fs::write(place.path("few.jsonl"), &few).unwrap();
    let measured = json(&place, "evaluate runs/t --data few.jsonl --json");
    assert_eq!(measured["evaluation"]["rows"], few.lines().count());
    let right = measured["evaluation"]["scores"]["subset_accuracy"]["value"].as_f64().unwrap();
    assert!(right > 0.8, "{measured}");
    fs::write(place.path("new.jsonl"), "{\"x\": [90, 90]}\n{\"x\": [5, 5]}\n").unwrap();
    let found = crate::support::lines(&does(&place, "predict runs/t new.jsonl --json"));
    assert_eq!(found[0]["labels"], serde_json::json!(["large", "round"]));
    assert_eq!(found[1]["labels"], serde_json::json!([]));
    fs::write(place.path("long.jsonl"), "{\"x\": [90, 90]}\n{\"x\": [5]}\n").unwrap();
    place
        .train("predict runs/t long.jsonl")
        .refused(&["line 2, key x", "a list of 1 numbers, and others have 2"]);
    fs::write(place.path("odd.jsonl"), "{\"x\": [1, 2], \"tags\": [\"square\"]}\n").unwrap();
    place.train("evaluate runs/t --data odd.jsonl").refused(&["square"]);
}
