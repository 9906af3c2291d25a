//! No bytes make the reader of checkpoints panic, and one that is read is written as it was.
#![no_main]

use std::sync::LazyLock;

use burn::tensor::Device;
use fireclay::{Checkpoint, Model};
use libfuzzer_sys::fuzz_target;

static DEVICE: LazyLock<Device> = LazyLock::new(Device::flex);

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Some(file) = fireclay_fuzz::model_file(bytes) {
        check(&file);
    }
});

fn check(bytes: &[u8]) {
    let Ok(checkpoint) = Checkpoint::from_bytes(bytes) else { return };
    let (written, digest) = checkpoint.to_bytes().unwrap();
    let back = Checkpoint::from_bytes(&written).unwrap();
    assert_eq!(back.run(), checkpoint.run());
    assert_eq!(back.tensors().count(), checkpoint.tensors().count());
    assert!(back.to_bytes().unwrap() == (written, digest), "one checkpoint, one file");
    // Tensors are compared with the architecture only here.
    let [fits, back_fits] =
        [checkpoint, back].map(|checkpoint| Model::from_checkpoint(checkpoint, &DEVICE).is_ok());
    assert_eq!(fits, back_fits);
}
