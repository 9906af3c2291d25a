//! Steps that need a tool of their own, and the example project.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

use crate::check::Outcome;
use crate::process;

/// Looks for misspellings.
pub(crate) fn spelling() -> Result<Outcome> {
    if version_of("typos").is_none() {
        return missing("typos", "`pip install typos` or `cargo install typos-cli`");
    }
    process::run("typos")?;
    Ok(Outcome::Passed)
}

/// Looks at where the dependencies come from, under which licences, and what is known of them.
pub(crate) fn deny() -> Result<Outcome> {
    // A debug build takes a minute, a release build several, and both finish in seconds.
    let install = "`cargo install cargo-deny --locked --debug`";
    match version_of("cargo-deny") {
        None => return missing("cargo-deny", install),
        // Older ones panic on what today's cargo prints about the workspace.
        Some(version) if version < (0, 18) => return missing("cargo-deny 0.18 or newer", install),
        Some(_) => {}
    }
    // Offline would be quicker, and would fail where some platform's packages were never fetched.
    // One package states no licence; cargo-deny then reads the file beside it and judges that.
    let quiet = "--hide-inclusion-graph -A no-license-field";
    process::run(&format!("cargo deny --locked check {quiet} bans licenses sources"))?;
    let fetch = ["cargo", "deny", "fetch", "db"].map(String::from);
    if process::run_quietly(&fetch).is_err() {
        println!("advisories skipped: database not reachable");
        return Ok(Outcome::Passed);
    }
    process::run("cargo deny --locked check --disable-fetch --hide-inclusion-graph advisories")?;
    Ok(Outcome::Passed)
}

/// A project outside the workspace, and what its user must not have to build.
struct Example {
    folder: &'static str,
    forbidden: &'static [&'static str],
    /// Packages that it depends on at most, itself included.
    most: usize,
}

const EXAMPLES: [Example; 2] = [
    Example {
        folder: "docs/examples/predict-alone",
        forbidden: &["burn", "clap", "rayon"],
        most: 40,
    },
    Example {
        folder: "docs/examples/depend-on-core",
        forbidden: &["burn-train", "clap", "wgpu"],
        most: usize::MAX,
    },
];

/// Builds and tests the example projects outside the workspace as their users would.
pub(crate) fn examples() -> Result<Outcome> {
    EXAMPLES.iter().try_for_each(example)?;
    Ok(Outcome::Passed)
}

fn example(example: &Example) -> Result<()> {
    let Example { folder, forbidden, most } = example;
    let manifest = format!("--manifest-path {folder}/Cargo.toml --locked");
    let tree = process::output(&format!("cargo tree {manifest} -e normal --prefix none -f {{p}}"))?;
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    if let Some(name) = names.iter().find(|name| forbidden.contains(name)) {
        bail!("`{name}` is in the dependency tree of {folder}");
    }
    let count = names.len();
    ensure!(count <= *most, "{folder} depends on {count} packages; at most {most} are allowed");
    // A target folder of its own: its profile and features are the user's, not the workspace's.
    process::run(&format!("cargo test {manifest} --target-dir target/examples"))
}

/// Checks that prediction compiles for the browser.
pub(crate) fn wasm() -> Result<Outcome> {
    const TARGET: &str = "wasm32-unknown-unknown";
    if process::run(&format!("rustup target add {TARGET}")).is_err() {
        // Not every machine that runs the checks can reach where toolchains come from.
        return Ok(Outcome::Skipped(format!("`rustup target add {TARGET}` does not work here")));
    }
    process::run(&format!("cargo check -p fireclay-model --locked --target {TARGET}"))?;
    Ok(Outcome::Passed)
}

/// Returns the first two numbers of a tool's version, or `None` where it is not installed.
pub(crate) fn version_of(tool: &str) -> Option<(u32, u32)> {
    let output = process::command(tool).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(said: &str) -> Option<(u32, u32)> {
    let version = said.split_whitespace().last()?.trim_start_matches('v');
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A missing tool is no reason to stop at home; in CI it would hide that nothing was checked.
pub(crate) fn missing(tool: &str, install: &str) -> Result<Outcome> {
    let in_ci = std::env::var_os("CI").is_some();
    ensure!(!in_ci, "{tool} is not installed, and CI must not skip a step: {install}");
    Ok(Outcome::Skipped(format!("{tool} is not installed: {install}")))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_are_read_from_what_tools_say() {
        assert_eq!(parse_version("cargo-deny 0.14.2\n"), Some((0, 14)));
        assert_eq!(parse_version("typos-cli 1.52.0"), Some((1, 52)));
        assert_eq!(parse_version("mdbook v0.5.4\n"), Some((0, 5)));
        assert_eq!(parse_version("no version"), None);
        assert_eq!(parse_version(""), None);
    }
}
