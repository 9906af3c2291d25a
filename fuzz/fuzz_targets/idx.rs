//! No bytes make the reader of IDX files panic, and it keeps every byte that it accepts.
#![no_main]

// For its limit of memory.
use fireclay_data::{Idx, IdxError, IdxValues, parse_idx};
use fireclay_fuzz as _;
use libfuzzer_sys::fuzz_target;

/// Without a length the reader takes a step of 64 MiB for a header that promises more. That is
/// within its bounds, and would make most runs a thousand times slower.
const MOST_STREAMED: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let plain = parse_idx(bytes, Some(bytes.len() as u64));
    match &plain {
        // Numbers of double precision are rounded when they are read.
        Ok(_) if bytes[2] == 0x0E => {}
        Ok(idx) => assert_eq!(written(idx), bytes),
        Err(IdxError::Truncated { expected, .. }) if *expected > MOST_STREAMED => return,
        Err(_) => {}
    }
    assert_eq!(outcome(plain), outcome(parse_idx(bytes, None)));
});

/// By the bytes of the values, where a NaN is equal to itself.
fn outcome(parsed: Result<Idx, IdxError>) -> Result<Vec<u8>, String> {
    parsed.map(|idx| written(&idx)).map_err(|error| error.to_string())
}

fn written(idx: &Idx) -> Vec<u8> {
    let (element, payload) = match &idx.values {
        IdxValues::Bytes(bytes) => (0x08, bytes.clone()),
        IdxValues::Ints(ints) => (0x0C, ints.iter().flat_map(|int| int.to_be_bytes()).collect()),
        IdxValues::Floats(floats) => {
            (0x0D, floats.iter().flat_map(|float| float.to_be_bytes()).collect())
        }
    };
    let mut bytes = vec![0, 0, element, idx.shape.len() as u8];
    bytes.extend(idx.shape.iter().flat_map(|&size| (size as u32).to_be_bytes()));
    bytes.extend(payload);
    bytes
}
