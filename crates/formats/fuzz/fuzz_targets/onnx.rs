//! No bytes make the reader of ONNX panic: as a file, and as the graph of one. What layers name is
//! there.
#![no_main]

use fireclay_formats::{Archive, Layer, from_bytes};
use libfuzzer_sys::fuzz_target;

/// The versions of the format and of the operators.
const BEFORE: &[u8] = b"\x08\x08\x42\x02\x10\x14\x3a";

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let length =
        [bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8 | 0x80, (bytes.len() >> 14) as u8];
    check(&[BEFORE, &length, bytes].concat());
});

fn check(bytes: &[u8]) {
    let Ok(archive) = from_bytes(bytes) else { return };
    let layers = archive.network.iter().flat_map(|network| &network.layers);
    layers.for_each(|layer| check_layer(&archive, layer));
}

fn check_layer(archive: &Archive, layer: &Layer) {
    let names = match layer {
        Layer::Dense { weight, bias, .. } => [Some(weight), bias.as_ref(), None, None],
        Layer::Norm { scale, shift, mean, variance, .. } => {
            [scale.as_ref(), shift.as_ref(), mean.as_ref(), variance.as_ref()]
        }
        Layer::Affine { scale, offset } => [scale.as_ref(), offset.as_ref(), None, None],
        Layer::Prelu { slope } => [Some(slope), None, None, None],
        Layer::Residual(inner) => {
            return inner.iter().for_each(|layer| check_layer(archive, layer));
        }
        _ => return,
    };
    for name in names.into_iter().flatten() {
        assert!(archive.tensors.iter().any(|tensor| tensor.name == *name), "{layer:?}");
    }
}
