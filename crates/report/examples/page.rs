//! Writes the page of a run beside its model: `cargo run -p fireclay-report --example page -- runs/mnist-1`.

use std::path::PathBuf;

use fireclay::{Backend, DeviceChoice};
use fireclay_report::{Options, Report};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("which run?")?);
    let device = Backend::Flex.device(DeviceChoice::Default)?;
    let report = Report::from_run(&folder, &device, &Options::default())?;
    std::fs::write(folder.join("report.html"), report.html()?)?;
    Ok(())
}
