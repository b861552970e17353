//! What is wrong with a value of a `--config` file.

use std::{fs, path::Path};

use crate::cli::CliError;

pub fn wrong(key: &str, problem: &str) -> CliError {
    CliError::config(format!("{key}: {problem}"))
}

/// The error names its key.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub fn in_file(error: tower_bearer::Error) -> CliError {
    CliError::config(error.to_string())
}

/// Reads the certificates that a key names.
///
/// # Errors
/// When the file cannot be read.
pub fn certificates(key: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path)
        .map_err(|error| wrong(key, &format!("the file {} cannot be read ({error}); check the path", path.display())))
}
