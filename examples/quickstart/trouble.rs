//! Why the program ends early.

use std::{fmt, process::ExitCode};

/// One line for a person, and the exit status that goes with it.
#[derive(Debug)]
pub enum Trouble {
    /// The command line asks for something that cannot be.
    Usage(String),
    /// A server did not play its part, or a count is not what the story says.
    Failed(String),
}

impl Trouble {
    pub fn usage(line: impl Into<String>) -> Self {
        Self::Usage(line.into())
    }

    pub fn failed(line: impl Into<String>) -> Self {
        Self::Failed(line.into())
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(line) => write!(f, "{line}; see --help"),
            Self::Failed(line) => f.write_str(line),
        }
    }
}
