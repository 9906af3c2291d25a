//! Files of strangers: every lie is an error, soon.

use std::fs;
use std::time::{Duration, Instant};

use fireclay_sounds::{Recording, SoundError, Windows};

use crate::recordings::path;

/// A WAV file of 16 bits, whose header has this rate, number of channels and length.
fn wav(rate: u32, channels: u16, bytes_declared: u32, samples: &[i16]) -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend(bytes_declared.wrapping_add(36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend(rate.wrapping_mul(2 * u32::from(channels)).to_le_bytes());
    file.extend((2 * channels).to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(bytes_declared.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

fn read(bytes: &[u8]) -> Result<Vec<f32>, SoundError> {
    Recording::open(bytes)?.samples(16_000)
}

#[test]
fn what_a_header_declares_is_no_memory() {
    let begun = Instant::now();
    // 10^9 samples, of which ten are there: too long as a whole, and truncated in windows.
    let lie = wav(16_000, 1, 2_000_000_000, &[1; 10]);
    assert!(matches!(read(&lie), Err(SoundError::TooLong { .. })));
    let mut windows = Windows::new(Recording::open(&lie[..]).unwrap(), 16_000, 1.0, 0.5).unwrap();
    let found = windows.next_window();
    assert!(
        matches!(found, Err(SoundError::Truncated { found: 10, declared: 1_000_000_000 })),
        "{found:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn lying_and_truncated_wav_files_are_refused() {
    assert!(matches!(read(&wav(0, 1, 20, &[1; 10])), Err(SoundError::Rate { found: 0 })));
    let fast = wav(400_000, 1, 20, &[1; 10]);
    assert!(matches!(read(&fast), Err(SoundError::Rate { .. })), "{:?}", read(&fast));
    assert!(matches!(read(&wav(8_000, 1, 0, &[])), Err(SoundError::Empty)));
    let short = read(&wav(8_000, 1, 40, &[1; 10]));
    assert!(matches!(short, Err(SoundError::Truncated { found: 10, declared: 20 })), "{short:?}");
    assert!(read(&wav(8_000, 0, 20, &[1; 10])).is_err());
    let whole = fs::read(path("stereo-24.wav")).unwrap();
    for length in (0..200).chain([whole.len() / 2, whole.len() - 1]) {
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn samples_of_24_bits_in_four_bytes_are_refused() {
    let mut wide = wav(8_000, 1, 40, &[1; 20]);
    assert!(read(&wide).is_ok());
    wide[28..32].copy_from_slice(&32_000_u32.to_le_bytes());
    wide[32..36].copy_from_slice(&[4, 0, 24, 0]);
    let found = read(&wide);
    assert!(matches!(found, Err(SoundError::Unread { .. })), "{found:?}");
}

#[test]
fn truncated_and_damaged_flac_files_are_refused() {
    let whole = fs::read(path("chirp.flac")).unwrap();
    assert!(read(&whole).is_ok());
    for length in (0..whole.len()).step_by(37) {
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
    // Frames have checksums.
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle] ^= 0x55;
    assert!(read(&damaged).is_err());
}

#[test]
fn samples_that_are_no_numbers_are_refused() {
    let mut floats = fs::read(path("floats.wav")).unwrap();
    let last = floats.len() - 4;
    for lie in [f32::NAN, f32::INFINITY] {
        floats[last..].copy_from_slice(&lie.to_le_bytes());
        let found = read(&floats);
        assert!(matches!(found, Err(SoundError::NotFinite { sample: 1599, .. })), "{found:?}");
    }
}
