//! How a program ends.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;

/// The exit code of a program that came to `result`; an error is told on standard error.
pub fn exit(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        // There is nobody left to tell of a standard error that can not be written to.
        let _ = writeln!(std::io::stderr(), "error: {}", message(&error));
        ExitCode::from(2)
    })
}

/// The error and its causes, but for those whose words have been said.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}
