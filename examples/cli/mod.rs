//! The command line of the larger examples: options, secrets, the grant, and how a program ends.

#![allow(dead_code, unused_imports, reason = "no example uses all of it")]

mod error;
mod grant;
mod options;

pub use error::{CliError, cause, printable};
pub use grant::{GRANT_HELP, GRANT_OPTIONS, GrantOptions};
pub use options::Options;
