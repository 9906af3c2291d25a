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
