//! What a token says: header, claims, scopes in words, and how long it still lives. Decoded here: it is sent nowhere.
//!
//! ```text
//! xclip -o | cargo run --example inspect          # a token, `Bearer …`, or the JSON of a token response
//! cargo run --example inspect -- --help           # or one by the password grant
//! ```

#![allow(unreachable_pub, reason = "a program has no outside")]

mod args;
mod fetch;
mod page;
mod pasted;
#[path = "../quickstart/secrets.rs"]
mod secrets;
mod times;
#[path = "../quickstart/trouble.rs"]
mod trouble;

use std::{
    io::{IsTerminal, Read, Write, stdin, stdout},
    process::ExitCode,
    time::SystemTime,
};

use tower_bearer::AccessToken;

use crate::{args::Asked, trouble::Trouble};

/// More than any token; an endless pipe ends here.
const LONGEST: u64 = 1 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("inspect: {trouble}");
            trouble.exit_code()
        }
    }
}

fn run() -> Result<(), Trouble> {
    let asked = args::parse(lexopt::Parser::from_env())?;
    let (token, show_signature) = match asked {
        Asked::Help => return say(args::HELP),
        Asked::Pasted { show_signature } => (standard_input()?, show_signature),
        Asked::Granted { grant, show_signature } => (fetch::token(*grant)?, show_signature),
    };
    let styled = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    say(&page::page(&token, now(), show_signature)?.text(styled))
}

fn standard_input() -> Result<AccessToken, Trouble> {
    // A line typed into a terminal ends after 4,095 characters, which many tokens are longer than; and it would be shown.
    if stdin().is_terminal() {
        return Err(Trouble::usage(
            "pipe a token into it (`xclip -o | …`, `pbpaste | …`, `… < token.txt`), or get one with --token-url",
        ));
    }
    let mut text = String::new();
    stdin()
        .take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|error| Trouble::failed(format!("standard input cannot be read: {error}")))?;
    pasted::token(&text)
}

/// Whoever reads may stop reading.
#[expect(clippy::unnecessary_wraps, reason = "the last thing that is done")]
fn say(text: &str) -> Result<(), Trouble> {
    let _ = stdout().write_all(text.as_bytes());
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a token's own times are times of day")]
fn now() -> SystemTime {
    SystemTime::now()
}
