//! Why a program ends early.

use std::{error::Error as _, fmt, process::ExitCode};

use tower_bearer::Error;

/// One line for a person, and the exit status that goes with it.
#[derive(Debug)]
pub enum CliError {
    /// The command line is wrong. The exit status is 2.
    Usage(String),
    /// The configuration file is wrong. The exit status is 2.
    Config(String),
    /// The program could not do its work. The exit status is 1.
    Failed(String),
}

impl CliError {
    pub fn usage(line: impl Into<String>) -> Self {
        Self::Usage(line.into())
    }

    pub fn config(line: impl Into<String>) -> Self {
        Self::Config(line.into())
    }

    pub fn failed(line: impl Into<String>) -> Self {
        Self::Failed(line.into())
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Config(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::from(1),
        }
    }
}

/// A wrong setting came from the command line. For all other errors, the innermost cause is added to the text.
impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        if error.is_config() {
            return Self::Usage(text);
        }
        match error.source().map(cause) {
            Some(cause) if !text.contains(&cause) => Self::Failed(format!("{text} ({cause})")),
            _ => Self::Failed(text),
        }
    }
}

/// Returns the innermost cause, which names the problem.
pub fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = printable(&innermost.to_string());
    if text.contains("certificate") {
        format!("{text}; give the certificate of your own authority with --ca-file")
    } else {
        text
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(line) => write!(f, "{line}; see --help"),
            Self::Config(line) | Self::Failed(line) => f.write_str(line),
        }
    }
}

/// Returns a server's text without the characters that could move the terminal's cursor or reverse the text direction.
pub fn printable(text: &str) -> String {
    let reverses =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || reverses(c) { '?' } else { c }).collect()
}
