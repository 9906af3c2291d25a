//! No bytes make the reader of model files panic, and a model that is read is written as it was and
//! predicts, the same for a row alone as among others.
#![no_main]

use std::num::NonZero;
use std::sync::LazyLock;

use burn::tensor::Device;
use fireclay::{Model, Predictor, host};
use libfuzzer_sys::fuzz_target;

static DEVICE: LazyLock<Device> = LazyLock::new(Device::flex);

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Some(file) = fireclay_fuzz::model_file(bytes) {
        check(&file);
    }
});

fn check(bytes: &[u8]) {
    let on_host = host::Model::from_bytes(bytes);
    let predictor = Predictor::from_source(&bytes);
    let on_device = Model::from_bytes(bytes, &DEVICE);
    assert_eq!(predictor.is_ok(), on_host.is_ok(), "one door");
    assert_eq!(on_device.is_ok(), on_host.is_ok(), "one door");
    let (Ok(predictor), Ok(on_host), Ok(on_device)) = (predictor, on_host, on_device) else {
        return;
    };
    predict(&predictor);
    // Bytes and not values: a weight may be no number.
    let (written, digest) = on_host.unwritten().to_bytes().unwrap();
    let back = host::Model::from_bytes(&written).unwrap();
    assert!(back.unwritten().to_bytes().unwrap() == (written, digest), "one model, one file");
    // Its encodings are gone.
    let (written, digest) = on_device.to_bytes().unwrap();
    let back = Model::from_bytes(&written, &DEVICE).unwrap();
    assert!(back.to_bytes().unwrap() == (written, digest), "one model, one file");
}

/// Rows enough for several threads and a block that is not full.
const ROWS: usize = 67;

fn predict(predictor: &Predictor) {
    let row: Vec<f32> = (0..predictor.features()).map(|i| (i % 11) as f32 - 3.5).collect();
    let one = NonZero::<usize>::MIN;
    let alone = predictor.outputs(&row, one).unwrap();
    let together = predictor.outputs(&row.repeat(ROWS), one.saturating_add(1)).unwrap();
    assert_eq!(together.len(), ROWS * alone.len());
    for outputs in together.chunks(alone.len()) {
        assert!(outputs.iter().zip(&alone).all(are_same), "neighbours change nothing");
    }
    let _ = predictor.predict(&[row]);
}

/// To the bit, but for what is no number.
fn are_same((one, other): (&f32, &f32)) -> bool {
    one.to_bits() == other.to_bits() || one.is_nan() && other.is_nan()
}
