//! The fast bodies of the operations, held to the plain ones.
#![cfg(feature = "flex")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod bags;
mod chain;
mod fast_bodies;
mod support;
