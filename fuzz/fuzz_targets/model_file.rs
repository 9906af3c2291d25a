//! No bytes make the reader of model files panic, and a model that is read is written as it was.
#![no_main]

use std::sync::LazyLock;

use burn::tensor::Device;
use fireclay::Model;
use libfuzzer_sys::fuzz_target;

static DEVICE: LazyLock<Device> = LazyLock::new(Device::flex);

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Some(file) = fireclay_fuzz::model_file(bytes) {
        check(&file);
    }
});

fn check(bytes: &[u8]) {
    let Ok(model) = Model::from_bytes(bytes, &DEVICE) else { return };
    let (written, digest) = model.to_bytes().unwrap();
    let back = Model::from_bytes(&written, &DEVICE).unwrap();
    // Bytes and not values: a weight may be no number.
    assert!(back.to_bytes().unwrap() == (written, digest), "one model, one file");
}
