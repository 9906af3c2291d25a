//! Recordings of every kind, as libsndfile wrote and read them.

use std::fs;
use std::path::PathBuf;

use fireclay_sounds::{Kind, Recording, SoundError, Window, Windows};
use serde_json::Value;

pub(crate) fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(file)
}

pub(crate) fn golden() -> Value {
    serde_json::from_str(&fs::read_to_string(path("sounds.json")).unwrap()).unwrap()
}

pub(crate) fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

pub(crate) fn opened(file: &str) -> Recording<fs::File> {
    Recording::open(fs::File::open(path(file)).unwrap()).unwrap()
}

#[test]
fn every_kind_of_file_has_the_samples_that_were_written() {
    let golden = golden();
    for (file, expected) in golden["recordings"].as_object().unwrap() {
        let recording = opened(file);
        let rate = recording.rate();
        assert_eq!(u64::from(rate), expected["rate"].as_u64().unwrap(), "{file}");
        let samples = recording.samples(rate).unwrap();
        let expected = &expected["samples"];
        assert_eq!(samples.len() as u64, expected["length"].as_u64().unwrap(), "{file}");
        let values = numbers(&expected["values"]);
        for (place, value) in numbers(&expected["places"]).into_iter().zip(values) {
            let found = f64::from(samples[place as usize]);
            assert!((found - value).abs() < 1e-7, "{file} {place}: {found} {value}");
        }
    }
}

#[test]
fn flac_and_wav_of_the_same_sound_are_the_same() {
    let [wav, flac] = ["chirp.wav", "chirp.flac"].map(|file| opened(file).samples(8_000).unwrap());
    assert_eq!(wav, flac);
}

#[test]
fn the_first_bytes_tell_the_kind() {
    assert_eq!(Kind::of(&fs::read(path("chirp.wav")).unwrap()), Some(Kind::Wav));
    assert_eq!(Kind::of(&fs::read(path("chirp.flac")).unwrap()), Some(Kind::Flac));
    for other in [&b"RIFF\0\0\0\0WEBP"[..], b"RIFF", b"fLa", b""] {
        assert_eq!(Kind::of(other), None);
        assert!(matches!(Recording::open(other), Err(SoundError::Foreign)));
    }
}

fn windows(file: &str, rate: u32, window: f64, hop: f64) -> Vec<Window> {
    let mut windows = Windows::new(opened(file), rate, window, hop).unwrap();
    let mut all = Vec::new();
    while let Some(window) = windows.next_window().unwrap() {
        all.push(window);
    }
    all
}

#[test]
fn windows_are_the_parts_of_the_whole() {
    // 1,600 samples of 8,000 a second.
    let whole = opened("chirp.wav").samples(8_000).unwrap();
    for (window, hop, lengths) in [
        (0.1, 0.05, vec![800, 800, 800]),
        (0.1, 0.06, vec![800, 800, 640]),
        (0.05, 0.1, vec![400, 400]),
        (0.2, 0.1, vec![1600]),
        (0.5, 0.5, vec![1600]),
    ] {
        let found = windows("chirp.wav", 8_000, window, hop);
        let of_found: Vec<usize> = found.iter().map(|window| window.samples.len()).collect();
        assert_eq!(of_found, lengths, "{window} {hop}");
        for (at, part) in found.iter().enumerate() {
            assert!((part.start - at as f64 * hop).abs() < 1e-9);
            let first = (part.start * 8_000.0).round() as usize;
            assert_eq!(part.samples, whole[first..first + part.samples.len()]);
        }
    }
    // Resampled in blocks, and as a whole.
    let whole = opened("stereo-24.flac").samples(16_000).unwrap();
    let found = windows("stereo-24.flac", 16_000, 0.03, 0.03);
    assert_eq!(found.into_iter().flat_map(|window| window.samples).collect::<Vec<_>>(), whole);
}

#[test]
fn windows_without_a_sample_are_refused() {
    for (window, hop) in [(0.0, 0.1), (0.1, 0.0), (f64::NAN, 1.0), (1.0, -1.0), (1e9, 1.0)] {
        let found = Windows::new(opened("chirp.wav"), 8_000, window, hop);
        assert!(matches!(found.err(), Some(SoundError::Window { .. })), "{window} {hop}");
    }
}
