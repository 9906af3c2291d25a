//! `fireclay backends`: what can be computed with.

use anyhow::Result;
use fireclay::Backend;
use fireclay_terminal::{Exit, say};
use serde_json::json;

use crate::output::say_json;

/// List backends, compiled features and devices.
#[derive(Debug, clap::Args)]
#[command(about = "List backends, compiled features and devices")]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    if !args.json {
        say(&train::backends())?;
        return Ok(Exit::Done);
    }
    let found: Vec<_> = Backend::ALL
        .iter()
        .map(|backend| {
            let devices: Vec<String> = backend.devices().into_iter().map(|d| d.name).collect();
            json!({
                "name": backend.name(),
                "compiled": backend.is_compiled(),
                "devices": devices,
            })
        })
        .collect();
    say_json(&found)?;
    Ok(Exit::Done)
}
