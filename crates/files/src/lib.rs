//! Files from outside, before anything is known of them: opened without waiting for anybody, and
//! read where they are needed, so that a file is never in memory as a whole.
//!
//! A [`RegularFile`] is opened only if it is one: a pipe, a device, a socket and a folder are errors
//! at once. [`ReadAt`] is a file like it, or bytes that are in memory. [`Header`] is what a
//! safetensors file says of its tensors, with limits on how much that may be. An [`Output`] is a file
//! that a person asked to be written, and is never one that is read. [`run`] knows the folders of runs
//! by the names of their files.

mod dtype;
mod header;
mod output;
mod place;
mod regular;
pub mod run;

pub use dtype::Dtype;
pub use header::{Entry, Header, HeaderError, Limits, count_values};
pub use output::{Output, OutputError};
pub use place::{check_file_place, read_regular};
pub use regular::{OpenError, ReadAt, RegularFile, Stretch, hex, sha256};
