//! No bytes make a decoder panic, and what is read as a whole is read in windows.
#![no_main]

use fireclay_sounds::{Recording, Windows};
use libfuzzer_sys::fuzz_target;

/// A recording of more samples is legitimate, and would make most runs a thousand times slower.
const MOST_SAMPLES: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let Ok(recording) = Recording::open(bytes) else { return };
    let rate = recording.rate();
    let in_windows = windows(bytes, rate);
    if in_windows.len() > MOST_SAMPLES {
        return;
    }
    if let Ok(whole) = recording.samples(rate) {
        assert!(whole.iter().all(|sample| sample.is_finite()));
        assert_eq!(whole, in_windows);
    }
});

/// The samples of windows that follow each other, until an error or the end.
fn windows(bytes: &[u8], rate: u32) -> Vec<f32> {
    let mut samples = Vec::new();
    let Ok(recording) = Recording::open(bytes) else { return samples };
    // A hundredth of a second, and at least a sample.
    let seconds = (1.0 / f64::from(rate)).max(0.01);
    let Ok(mut windows) = Windows::new(recording, rate, seconds, seconds) else { return samples };
    while samples.len() <= MOST_SAMPLES
        && let Ok(Some(window)) = windows.next_window()
    {
        samples.extend(window.samples);
    }
    samples
}
