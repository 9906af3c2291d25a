//! Features held to librosa, and rates to scipy and soxr.

use std::fs;

use fireclay_model::{SoundColumns, Sounds};
use fireclay_sounds::{Extractor, Recording};
use serde_json::Value;

use crate::recordings::{golden, numbers, opened};

/// Of librosa, whose mel bands are in single precision.
const TOLERANCE: f64 = 1e-4;

fn samples(file: &str, rate: u32) -> Vec<f32> {
    opened(file).samples(rate).unwrap()
}

/// Compares a row with the numbers of a golden matrix.
fn compare(row: &[f32], expected: &Value, name: &str) {
    let expected: Vec<f64> = expected.as_array().unwrap().iter().flat_map(numbers).collect();
    assert_eq!(row.len(), expected.len(), "{name}");
    for (at, (found, expected)) in row.iter().zip(&expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error < TOLERANCE * expected.abs().max(1.0), "{name} {at}: {found} {expected}");
    }
}

#[test]
fn features_are_those_of_librosa() {
    let golden = golden();
    let samples = samples("chirp.wav", 8_000);
    for case in golden["features"].as_array().unwrap() {
        let sounds: Sounds = serde_json::from_value(case["sounds"].clone()).unwrap();
        let row = Extractor::new(sounds).unwrap().features(&samples).unwrap();
        compare(&row, &case["values"], &sounds.to_string());
    }
}

#[test]
fn silence_is_trimmed_where_librosa_trims_it() {
    let golden = &golden()["trim"];
    let silence = vec![0.0; golden["silence"].as_u64().unwrap() as usize];
    let samples = [&silence[..], &samples("chirp.wav", 8_000), &silence].concat();
    let columns = SoundColumns::Bins { count: 4 };
    let sounds =
        Sounds { mels: 20, columns, trim: golden["decibels"].as_f64(), ..Sounds::of_rate(8_000) };
    let row = Extractor::new(sounds).unwrap().features(&samples).unwrap();
    compare(&row, &golden["values"], "trimmed");
    let [start, end] = [0, 1].map(|at| golden["edges"][at].as_u64().unwrap() as usize);
    let without = Extractor::new(Sounds { trim: None, ..sounds }).unwrap();
    assert_eq!(without.features(&samples[start..end]).unwrap(), row);
}

#[test]
fn rates_change_as_by_scipy_and_nearly_as_by_soxr() {
    for case in golden()["resampled"].as_array().unwrap() {
        let rate = case["rate"].as_u64().unwrap() as u32;
        let samples = samples(case["file"].as_str().unwrap(), rate);
        for (other, tolerance) in [("scipy", 1e-6), ("soxr", 1e-3)] {
            let expected = &case[other];
            assert_eq!(samples.len() as u64, expected["length"].as_u64().unwrap(), "{other}");
            let places = numbers(&expected["places"]);
            for (place, value) in places.into_iter().zip(numbers(&expected["values"])) {
                let error = (f64::from(samples[place as usize]) - value).abs();
                assert!(error < tolerance, "{other} to {rate} at {place}: {error}");
            }
        }
    }
}

/// The digest of all bits: features must be the same on every machine.
#[test]
fn features_have_the_same_bits_everywhere() {
    let bytes = fs::read(crate::recordings::path("stereo-24.flac")).unwrap();
    let samples = Recording::open(&bytes[..]).unwrap().samples(16_000).unwrap();
    let sounds = Sounds { deltas: 1, trim: Some(40.0), mfcc: Some(13), ..Sounds::of_rate(16_000) };
    let row = Extractor::new(sounds).unwrap().features(&samples).unwrap();
    let bits = row.iter().fold(0_u64, |sum, value| {
        (sum.rotate_left(5) ^ u64::from(value.to_bits())).wrapping_mul(0x517c_c1b7_2722_0a95)
    });
    assert_eq!(bits, PINNED);
}

const PINNED: u64 = 7_652_653_478_778_702_465;
