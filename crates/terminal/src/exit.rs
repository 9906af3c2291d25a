//! Exit codes of programs.

use std::error::Error;
use std::process::ExitCode;

use crate::tell;

/// The end of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked for.
    Done,
    /// It did what was asked for, but a gate that the user set was not met.
    Unmet,
    /// It could not do what was asked for.
    Error,
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// The exit code: 0, 1, 2, or what a shell expects after a signal, such as 130 after Ctrl-C.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unmet => 1,
            Self::Error => 2,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }

    /// [`Done`](Self::Done) if a gate was met, or else [`Unmet`](Self::Unmet).
    pub fn of_gate(is_met: bool) -> Self {
        if is_met { Self::Done } else { Self::Unmet }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The exit code of a program that came to `result`; prints an error on standard error.
pub fn exit<E: Into<Box<dyn Error>>>(result: Result<Exit, E>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => {
            let error: Box<dyn Error> = error.into();
            tell(error.as_ref());
            Exit::Error
        }
    };
    exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_manual() {
        let codes = [Exit::Done, Exit::Unmet, Exit::Error, Exit::Signal(2), Exit::Signal(15)];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 130, 143]);
    }
}
