//! Secrets come from the environment or from files: an argument would be seen in `ps` and in the shell's history.

use std::{env, ffi::OsStr, fs, path::Path};

use tower_bearer::SecretString;

use crate::trouble::Trouble;

/// The secret in the file that `option` names, else the one in the variable.
pub fn read(what: &str, option: &str, file: Option<&Path>, variable: &str) -> Result<SecretString, Trouble> {
    let secret = match file {
        Some(file) => Some(from_file(file, option)?),
        None => env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(|value| from_variable(&value, variable))
            .transpose()?,
    };
    secret.ok_or_else(|| Trouble::usage(format!("no {what}: put it into {variable}, or into a file for {option}")))
}

fn from_file(file: &Path, option: &str) -> Result<SecretString, Trouble> {
    let text =
        fs::read_to_string(file).map_err(|error| Trouble::usage(format!("{option} {}: {error}", file.display())))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Trouble::usage(format!("{option} {}: the file is empty", file.display())));
    }
    Ok(text.into())
}

fn from_variable(value: &OsStr, variable: &str) -> Result<SecretString, Trouble> {
    value.to_str().map(SecretString::from).ok_or_else(|| Trouble::usage(format!("{variable} is no UTF-8 text")))
}
