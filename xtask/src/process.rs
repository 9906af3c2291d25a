//! Starting other programs in the workspace root.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Returns the folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A program to be started in the workspace root.
///
/// What cargo sets for the program it runs is taken away again: build scripts such as ring's ask
/// to be run again when one of these variables changes, so with them left in, every `cargo test`
/// typed by hand after a check would build part of the graph a second time.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program_path(program));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        if is_set_by_cargo(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// The cargo that started this program, so that `cargo +nightly xtask` stays on one toolchain.
fn program_path(program: &str) -> OsString {
    let own = (program == "cargo").then(|| std::env::var_os("CARGO")).flatten();
    own.unwrap_or_else(|| program.into())
}

fn is_set_by_cargo(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Runs a command line, showing it first and its output as it comes.
///
/// `line` is split at blanks, so no word of it may contain one.
pub(crate) fn run(line: &str) -> Result<()> {
    run_with(line, &[])
}

/// Runs a command line like [`run`], with environment variables added.
pub(crate) fn run_with(line: &str, variables: &[(&str, &str)]) -> Result<()> {
    let shown: String =
        variables.iter().map(|(name, value)| format!("{name}={value:?} ")).collect();
    println!("$ {shown}{line}");
    let mut words = line.split_whitespace();
    let mut command = command(words.next().unwrap_or_default());
    let status = command.args(words).envs(variables.iter().copied()).status();
    let status = status.with_context(|| format!("cannot start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

/// Runs a command line and returns what it printed; its complaints go through to the terminal.
pub(crate) fn output(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let mut command = command(words.next().unwrap_or_default());
    let output = command.args(words).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start `{line}`"))?;
    ensure!(output.status.success(), "`{line}` failed: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed no UTF-8"))
}

/// Runs a program quietly; an error carries everything it printed.
pub(crate) fn run_quietly(words: &[String]) -> Result<()> {
    let [program, arguments @ ..] = words else { bail!("an empty command") };
    let output = command(program).args(arguments).stdin(Stdio::null()).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success(), "{}, and it said:\n{}", output.status, said.trim());
    Ok(())
}

/// Longest time that a program may take to print its document.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs a program that prints one JSON document, or one whose `error` says why there is none.
pub(crate) fn document(
    program: &Path,
    words: &[&str],
    variables: &[(&str, &str)],
) -> Result<Value> {
    // A pipe would fill up before anybody reads it.
    let [output, complaints] = [tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?];
    let mut child = command(&program.display().to_string())
        .args(words)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(output.reopen()?)
        .stderr(complaints.reopen()?)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("no answer within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = std::fs::read_to_string(output.path())?;
    let last = text.trim().lines().last().unwrap_or_default();
    let Ok(document) = serde_json::from_str::<Value>(last) else {
        let said = std::fs::read(complaints.path())?;
        let said = String::from_utf8_lossy(&said);
        bail!("it ended with {status}: {}", said.trim().lines().last().unwrap_or("nothing said"));
    };
    if let Some(error) = document["error"].as_str() {
        bail!("{error}");
    }
    ensure!(status.success(), "it ended with {status}");
    Ok(document)
}

/// Where `cargo build` puts a program of the workspace.
pub(crate) fn built(name: &str) -> Result<PathBuf> {
    built_as(name, false)
}

/// The same with `--release`.
pub(crate) fn built_as(name: &str, is_release: bool) -> Result<PathBuf> {
    let folder = if is_release { "release" } else { "debug" };
    Ok(target()?.join(folder).join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"].as_str().context("no target directory")?.into())
}

/// Returns what cargo knows about the members of the workspace.
pub(crate) fn metadata() -> Result<Value> {
    let text = output("cargo metadata --no-deps --locked --format-version 1")?;
    serde_json::from_str(&text).context("cargo metadata printed no JSON")
}

/// Most memory that a process has had in use, in KiB; Linux only.
pub(crate) fn peak_memory(id: u32) -> Option<u64> {
    memory(id, "VmHWM:")
}

/// Memory of a process that is in use, in KiB; Linux only.
pub(crate) fn resident(id: u32) -> Option<u64> {
    memory(id, "VmRSS:")
}

fn memory(id: u32, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The interpreter of a virtual environment with these requirements: the one that was named, or one
/// in this folder, which is made if there is none.
pub(crate) fn python(venv: Option<&Path>, folder: &Path, requirements: &str) -> Result<PathBuf> {
    let is_named = venv.is_some();
    let venv = venv.map_or_else(|| folder.join("venv"), Path::to_owned);
    let bin = venv.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let python = bin.join(format!("python{}", std::env::consts::EXE_SUFFIX));
    if !is_named {
        if !python.exists() {
            run(&format!("python3 -m venv {}", venv.display()))?;
        }
        run(&format!("{} -m pip install --quiet -r {requirements}", python.display()))?;
    }
    ensure!(python.exists(), "there is no {}", python.display());
    Ok(python)
}
