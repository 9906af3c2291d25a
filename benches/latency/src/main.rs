//! Predicts the same rows by Fireclay and by ONNX Runtime's C interface, turn by turn in one process.
//!
//! `latency MODEL ONNX ROWS LIBRARY`: the tutorial's network as a model file and as ONNX, both from raw
//! pixels to logits; raw `f32` rows; and ONNX Runtime's library. Prints one JSON object.

use std::num::NonZero;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fireclay_model::{Predictor, Session as Alone};
use ort::environment::Environment;
use ort::session::{Session, builder::GraphOptimizationLevel};
use ort::value::TensorRef;
use serde_json::json;

/// Rows that are predicted one by one in a sitting.
const SINGLE: usize = 5_000;
/// Rows of a batch.
const BATCH: usize = 4_096;
/// Batches of a sitting.
const BATCHES: usize = 20;
/// Sittings, of which each contender has its turn in each.
const SITTINGS: usize = 15;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, onnx, rows, library] = &arguments[..] else {
        bail!("usage: latency MODEL ONNX ROWS LIBRARY")
    };
    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let threads = std::thread::available_parallelism()?;
    let predictor = Predictor::load(model)?;
    let features = predictor.features();
    let rows = read_rows(Path::new(rows), features)?;
    let mut alone = predictor.session();
    let mut one = session(&environment, onnx, 1)?;
    let mut all = session(&environment, onnx, threads.get())?;
    let difference = difference(&mut alone, &mut one, &rows, features)?;
    let mut found = Found::default();
    for _ in 0..SITTINGS {
        found.ours_single.push(single(&rows, features, |row| {
            std::hint::black_box(alone.outputs(row)?);
            Ok(())
        })?);
        found.theirs_single.push(single(&rows, features, |row| run(&mut one, row, features))?);
        found.ours_batch.push(batches(&rows, features, |rows| {
            std::hint::black_box(predictor.outputs(rows, threads)?);
            Ok(())
        })?);
        found.theirs_batch.push(batches(&rows, features, |rows| run(&mut all, rows, features))?);
        found.ours_one_thread.push(batches(&rows, features, |rows| {
            std::hint::black_box(predictor.outputs(rows, NonZero::<usize>::MIN)?);
            Ok(())
        })?);
        found.ours_open.push(opened(|| {
            let predictor = Predictor::load(model)?;
            std::hint::black_box(predictor.session().outputs(&rows[..features])?);
            Ok(())
        })?);
        found.theirs_open.push(opened(|| {
            run(&mut session(&environment, onnx, 1)?, &rows[..features], features)
        })?);
    }
    let mut found = found.to_json(difference, threads.get());
    // The library is called after its version: libonnxruntime.so.1.32.0.
    let version = library.rsplit_once(".so.").map_or("", |(_, version)| version);
    found["onnxruntime"] = version.into();
    println!("{found}");
    Ok(())
}

/// The results of each sitting: medians and 99th percentiles of single rows in microseconds, rows
/// per second, and milliseconds from file to first prediction.
#[derive(Default)]
struct Found {
    ours_single: Vec<[f64; 2]>,
    theirs_single: Vec<[f64; 2]>,
    ours_batch: Vec<f64>,
    theirs_batch: Vec<f64>,
    ours_one_thread: Vec<f64>,
    ours_open: Vec<f64>,
    theirs_open: Vec<f64>,
}

impl Found {
    fn to_json(&self, difference: f32, threads: usize) -> serde_json::Value {
        json!({
            "threads": threads,
            "sittings": SITTINGS,
            "largest difference of a logit": difference,
            "one row, p50, us": { "fireclay": costs(&self.ours_single, 0), "onnxruntime": costs(&self.theirs_single, 0) },
            "one row, p99, us": { "fireclay": costs(&self.ours_single, 1), "onnxruntime": costs(&self.theirs_single, 1) },
            "4,096 rows, rows/s": {
                "fireclay": summary(&self.ours_batch, false),
                "onnxruntime": summary(&self.theirs_batch, false),
                "fireclay, one thread": summary(&self.ours_one_thread, false),
            },
            "file to first prediction, ms": { "fireclay": summary(&self.ours_open, true), "onnxruntime": summary(&self.theirs_open, true) },
        })
    }
}

/// Median and worst sitting of one of the two numbers.
fn costs(sittings: &[[f64; 2]], at: usize) -> serde_json::Value {
    summary(&sittings.iter().map(|sitting| sitting[at]).collect::<Vec<_>>(), true)
}

/// Median and worst sitting.
fn summary(sittings: &[f64], is_cost: bool) -> serde_json::Value {
    let mut sorted = sittings.to_vec();
    sorted.sort_by(f64::total_cmp);
    let worst = if is_cost { sorted.last() } else { sorted.first() };
    json!({ "median": sorted[sorted.len() / 2], "worst": worst })
}

fn read_rows(path: &Path, features: usize) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let rows: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
    if rows.len() < BATCH * features {
        bail!("{} has fewer than {BATCH} rows", path.display());
    }
    Ok(rows)
}

fn session(environment: &Environment, onnx: &str, threads: usize) -> Result<Session> {
    let builder = Session::builder(environment)?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::Level3);
    let builder = builder.map_err(ort::Error::<()>::from)?.with_intra_threads(threads);
    Ok(builder.map_err(ort::Error::<()>::from)?.commit_from_file(onnx)?)
}

fn run(session: &mut Session, rows: &[f32], features: usize) -> Result<()> {
    let input = TensorRef::from_array_view(([rows.len() / features, features], rows))?;
    std::hint::black_box(session.run(ort::inputs![input])?);
    Ok(())
}

/// The largest difference between the logits of some rows.
fn difference(
    alone: &mut Alone<'_>,
    session: &mut Session,
    rows: &[f32],
    features: usize,
) -> Result<f32> {
    let mut largest = 0.0f32;
    for row in rows.chunks_exact(features).take(1_000) {
        let input = TensorRef::from_array_view(([1, features], row))?;
        let outputs = session.run(ort::inputs![input])?;
        let (_, theirs) = outputs[0].try_extract_tensor::<f32>()?;
        let ours = alone.outputs(row)?;
        if ours.len() != theirs.len() {
            bail!("{} outputs here, {} by ONNX Runtime", ours.len(), theirs.len());
        }
        for (ours, theirs) in ours.iter().zip(theirs) {
            let apart = (ours - theirs).abs();
            if apart.is_nan() || apart > 1e-3 {
                bail!("a logit is {ours} here, and {theirs} by ONNX Runtime");
            }
            largest = largest.max(apart);
        }
    }
    Ok(largest)
}

/// Median and 99th percentile of single rows, in microseconds.
fn single(
    rows: &[f32],
    features: usize,
    mut predict: impl FnMut(&[f32]) -> Result<()>,
) -> Result<[f64; 2]> {
    let mut times = Vec::with_capacity(SINGLE);
    for row in rows.chunks_exact(features).cycle().take(SINGLE) {
        let start = Instant::now();
        predict(row)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok([times[SINGLE / 2], times[SINGLE * 99 / 100]])
}

/// Rows per second in batches.
fn batches(
    rows: &[f32],
    features: usize,
    mut predict: impl FnMut(&[f32]) -> Result<()>,
) -> Result<f64> {
    let batch = &rows[..BATCH * features];
    predict(batch)?;
    let start = Instant::now();
    for _ in 0..BATCHES {
        predict(batch)?;
    }
    Ok((BATCH * BATCHES) as f64 / start.elapsed().as_secs_f64())
}

/// Milliseconds.
fn opened(predict: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    predict()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
