//! Whole `.keras` files, and configurations of models with the weights of `tiny.keras`.
#![no_main]

use libfuzzer_sys::fuzz_target;

const WEIGHTS: &[u8] = include_bytes!("../../tests/goldens/keras/tiny.weights.h5");

fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"PK") {
        let _ = fireclay_formats::from_bytes(bytes);
    } else {
        let entries = [("config.json", bytes), ("model.weights.h5", WEIGHTS)];
        let _ = fireclay_formats::from_bytes(&archive(&entries));
    }
});

/// A zip archive of stored entries. Checksums are not compared while fuzzing.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let size = (data.len() as u32).to_le_bytes();
        let common = [&[0; 14][..], &size, &size, &(name.len() as u16).to_le_bytes(), &[0; 2]];
        let offset = (bytes.len() as u32).to_le_bytes();
        let [common, name] = [common.concat(), name.as_bytes().to_vec()];
        directory.extend([b"PK\x01\x02\0\0", &common[..], &[0; 10], &offset, &name].concat());
        bytes.extend([b"PK\x03\x04", &common[..], &name, data].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let [size, start] = [directory.len(), bytes.len()].map(|size| (size as u32).to_le_bytes());
    bytes.extend(directory);
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &start, &[0; 2]].concat());
    bytes
}
