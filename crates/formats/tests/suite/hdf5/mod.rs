//! Contract of the HDF5 reader, seen through weights of Keras: what h5py stores is read or refused
//! by name, and no bytes make it follow anything outside, go in circles, or allocate without end.

mod crafted;
mod stored;
mod writer;

use std::fs;

use fireclay_formats::{Problem, Tensor, from_bytes};

use crate::support::golden;

fn file(name: &str) -> Vec<u8> {
    fs::read(golden(&format!("hdf5/{name}.h5"))).unwrap()
}

#[track_caller]
fn only(bytes: &[u8]) -> Tensor {
    let mut tensors = from_bytes(bytes).unwrap().tensors;
    assert_eq!(tensors.len(), 1);
    tensors.pop().unwrap()
}

/// Requires a refusal that says this.
#[track_caller]
fn refused(bytes: &[u8], said: &str) {
    let problem = from_bytes(bytes).unwrap_err();
    assert!(matches!(problem, Problem::Refused { .. }), "{problem:?}");
    assert!(problem.to_string().contains(said), "{problem}");
}

/// Requires an error of a damaged file that says this.
#[track_caller]
fn malformed(bytes: &[u8], said: &str) {
    let problem = from_bytes(bytes).unwrap_err();
    assert!(matches!(problem, Problem::Malformed { kind: "HDF5", .. }), "{problem:?}");
    assert!(problem.to_string().contains(said), "{problem}");
}

/// Requires that the file unpacks to too much, and that a way out is named.
#[track_caller]
fn unpacked(bytes: &[u8]) {
    let problem = from_bytes(bytes).unwrap_err();
    assert!(matches!(problem, Problem::Unpacked { .. }), "{problem:?}");
    assert!(problem.to_string().ends_with("or with h5repack -f NONE"), "{problem}");
}

/// Requires that some sum is used up that says this.
#[track_caller]
fn limited(bytes: &[u8], said: &str) {
    let problem = from_bytes(bytes).unwrap_err();
    assert!(matches!(problem, Problem::Limit { .. }), "{problem:?}");
    assert!(problem.to_string().contains(said), "{problem}");
}

/// Where these bytes are first.
#[track_caller]
fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}
