//! Options with values, flags, and where secrets are.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fs, io,
    path::Path,
    str::FromStr,
};

use lexopt::{Arg, Parser};
use tower_bearer::grant::Secret;

use super::CliError;

/// The options of a command line.
#[derive(Debug, Default)]
pub struct Options {
    values: BTreeMap<&'static str, OsString>,
    flags: BTreeSet<&'static str>,
}

impl Options {
    /// Reads a command line that has options with a value, and flags without one. Returns `None` for `--help`.
    ///
    /// An error never shows a value, because it may be a secret.
    pub fn parse(
        mut parser: Parser,
        with_value: &[&'static str],
        flags: &[&'static str],
    ) -> Result<Option<Self>, CliError> {
        let mut options = Self::default();
        while let Some(arg) = parser.next().map_err(usage)? {
            let name = match arg {
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Long("password" | "client-secret") => {
                    return Err(CliError::usage(
                        "a secret is never an argument, because `ps` and the shell's history show arguments: put it into \
                         an environment variable or a file",
                    ));
                }
                Arg::Long(name) => name,
                _ => {
                    return Err(CliError::usage(
                        "there is a value that belongs to no --option: tokens and secrets are never arguments",
                    ));
                }
            };
            let find = |names: &[&'static str]| names.iter().copied().find(|known| *known == name);
            if let Some(flag) = find(flags) {
                options.flags.insert(flag);
            } else if let Some(name) = find(with_value) {
                options.values.insert(name, parser.value().map_err(usage)?);
            } else {
                return Err(CliError::usage("there is an option that this program does not know"));
            }
        }
        Ok(Some(options))
    }

    pub fn flag(&self, name: &str) -> bool {
        self.flags.contains(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns whether no option with a value is given.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, CliError> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        match value.to_str() {
            None => Err(CliError::usage(format!("--{name} is not UTF-8"))),
            Some("") => Err(CliError::usage(format!("--{name} is empty"))),
            Some(text) => Ok(Some(text.to_owned())),
        }
    }

    pub fn required(&self, name: &str) -> Result<String, CliError> {
        self.text(name)?.ok_or_else(|| CliError::usage(format!("--{name} is missing")))
    }

    pub fn parsed<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, CliError> {
        let parsed = self.text(name)?.map(|text| text.parse()).transpose();
        parsed.map_err(|_| CliError::usage(format!("--{name} must be {what}")))
    }

    pub fn path(&self, name: &str) -> Option<&Path> {
        self.values.get(name).map(Path::new)
    }

    /// Reads the file that an option names.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>, CliError> {
        let Some(file) = self.path(name) else { return Ok(None) };
        fs::read(file).map(Some).map_err(|error| CliError::usage(format!("--{name} {}: {error}", file.display())))
    }

    /// Returns where a secret is: in the file that `option` names, otherwise in the environment variable.
    ///
    /// This checks that the file or variable exists. The secret is read when it is used.
    pub fn secret(&self, what: &str, option: &str, variable: &str) -> Result<Secret, CliError> {
        match self.values.get(option).map(Path::new) {
            Some(file) => match readable(file) {
                Ok(()) => Ok(Secret::file(file)),
                Err(error) => Err(CliError::usage(format!("--{option} {}: {error}", file.display()))),
            },
            None if env::var_os(variable).is_some_and(|value| !value.is_empty()) => Ok(Secret::env(variable)),
            None => Err(CliError::usage(format!(
                "the {what} is missing: put it into the environment variable {variable}, or into a file for --{option}"
            ))),
        }
    }
}

/// Checks that a file is there and can be opened. A pipe is not opened: it can be read only once.
fn readable(file: &Path) -> io::Result<()> {
    if fs::metadata(file)?.is_file() { fs::File::open(file).map(drop) } else { Ok(()) }
}

fn usage(error: lexopt::Error) -> CliError {
    CliError::usage(match error {
        lexopt::Error::MissingValue { option: Some(option) } => format!("{option} needs a value"),
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} does not take a value"),
        _ => "the command line cannot be read".to_owned(),
    })
}
