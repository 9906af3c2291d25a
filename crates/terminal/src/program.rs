//! The name under which a program is started.

/// A program that messages tell people to start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Command where it is installed, such as `train`.
    pub installed: &'static str,
    /// Command in the folder of the project, such as `cargo run -p train --`.
    pub by_cargo: &'static str,
}

impl Program {
    /// The command that starts the program the way this process was started.
    pub fn command(self) -> &'static str {
        // Cargo sets this for the programs that it runs.
        if std::env::var_os("CARGO").is_some() { self.by_cargo } else { self.installed }
    }
}
