//! Sources of data as programs meet them: files, folders and servers.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod folder;
mod idx;
mod mnist;
mod rows;
mod server;
mod sources;
