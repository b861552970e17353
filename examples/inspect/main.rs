//! Shows what is in a token: header, claims, scopes in words, and the remaining lifetime. The token is sent nowhere.
//!
//! ```text
//! xclip -o | cargo run --example inspect          # a token, `Bearer …`, or the JSON of a token response;
//!                                                 # `wl-paste` on Wayland, `pbpaste` on macOS
//! cargo run --example inspect -- --help           # or get one from an authorization server
//! ```

#![allow(unreachable_pub, reason = "a program has no public API")]

mod args;
#[path = "../cli/mod.rs"]
mod cli;
mod fetch;
mod page;
mod pasted;
mod times;

use std::{
    io::{IsTerminal, Read, Write, stdin, stdout},
    process::ExitCode,
    time::SystemTime,
};

use tower_bearer::AccessToken;

use crate::{args::Command, cli::CliError};

/// The most that is read from standard input. No token is this long.
const MAX_INPUT: u64 = 1 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("inspect: {error}");
            error.exit_code()
        }
    }
}

fn run() -> Result<(), CliError> {
    let command = args::parse(lexopt::Parser::from_env())?;
    let (token, show_signature) = match command {
        Command::Help => {
            print_text(&args::help());
            return Ok(());
        }
        Command::Pasted { show_signature } => (standard_input()?, show_signature),
        Command::Granted { grant, show_signature } => (fetch::token(&grant)?, show_signature),
    };
    let styled = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print_text(&page::page(&token, now(), show_signature)?.text(styled));
    Ok(())
}

fn standard_input() -> Result<AccessToken, CliError> {
    // A terminal accepts at most 4,095 characters in a line, which is too short for many tokens, and it would show the token.
    if stdin().is_terminal() {
        return Err(CliError::usage(
            "a token is missing: pipe one into standard input (`xclip -o | …`, `wl-paste | …`, `pbpaste | …`, `… < token.txt`), or use --token-url",
        ));
    }
    let mut text = String::new();
    stdin()
        .take(MAX_INPUT)
        .read_to_string(&mut text)
        .map_err(|error| CliError::failed(format!("standard input cannot be read: {error}")))?;
    pasted::token(&text)
}

/// Prints text. An error is ignored, because the reader may close the pipe.
fn print_text(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}

#[expect(clippy::disallowed_methods, reason = "the times in a token are wall-clock times")]
fn now() -> SystemTime {
    SystemTime::now()
}
