//! Gives the linker of an optimised program the options that make it smaller, where they work.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// Options of linkers; GNU ld, lld and mold have the first, lld and mold the second.
const OPTIONS: [&str; 2] = [
    // A program that is loaded anywhere has 24 bytes for each pointer in its data: packed, some bits.
    "-Wl,-z,pack-relative-relocs",
    // Of functions with the same machine code, one is kept.
    "-Wl,--icf=all",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A profile has the name of the one that it inherits from: `dist` is "release".
    let is_release = env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    let is_linux = env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|system| system == "linux");
    if is_release && is_linux {
        for option in OPTIONS.into_iter().filter(|option| works(option).unwrap_or(false)) {
            println!("cargo::rustc-link-arg-bins={option}");
        }
    }
}

/// Returns true if an empty program that is linked with an option runs on this machine.
///
/// That it can be linked is not enough: a C library older than glibc 2.36 or musl 1.2.4 cannot load
/// packed relocations. So a program for another kind of machine is linked without the options.
fn works(option: &str) -> Option<bool> {
    let folder = PathBuf::from(env::var_os("OUT_DIR")?);
    let (source, program) = (folder.join("empty.rs"), folder.join("empty"));
    fs::write(&source, "fn main() {}").ok()?;
    let mut rustc = Command::new(env::var_os("RUSTC")?);
    rustc.arg(source).arg("-o").arg(&program).arg("--target").arg(env::var_os("TARGET")?);
    // The same linker as for the program itself.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut chosen = OsString::from("-Clinker=");
        chosen.push(linker);
        rustc.arg(chosen);
    }
    let linked = rustc.arg(format!("-Clink-arg={option}")).output().ok()?;
    Some(linked.status.success() && Command::new(program).status().ok()?.success())
}
