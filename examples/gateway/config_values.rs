//! Values of a `--config` file, and what is wrong with one.

use std::time::Duration;

use crate::cli::CliError;

/// # Errors
/// When it is not a duration.
pub fn duration(key: &str, text: &str) -> Result<Duration, CliError> {
    let wrong = |_| wrong(key, "this is not a duration; give numbers with their units, such as \"90s\" or \"1h 30m\"");
    humantime::parse_duration(text).map_err(wrong)
}

pub fn wrong(key: &str, problem: &str) -> CliError {
    CliError::config(format!("{key}: {problem}"))
}

/// The error names its key.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub fn in_file(error: tower_bearer::Error) -> CliError {
    CliError::config(error.to_string())
}
