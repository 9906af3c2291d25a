//! Recordings of other programs, and the features that librosa has of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod features;
mod limits;
mod recordings;
