//! Runs the example gateway through faults, and checks what must hold. `docs/reliability.md` has the rules and the figures.
//!
//! ```text
//! faults matrix  [--seed N] [--minutes M]                 each fault on each connection, then combinations for M minutes
//! faults million [--requests N] [--rate R]                renewals and revocations under load: no request fails
//! faults soak    [--seed N] [--minutes M] [--rate R] [--csv FILE]
//! ```
//!
//! Each has `--gateway PATH`; else the example of the same build is run. The seed is printed. The same seed gives the same
//! schedule.

#![allow(unreachable_pub, reason = "a program has no public API")]

mod fault;
mod gateway;
mod load;
mod matrix;
mod million;
mod proxy;
mod redis;
mod rules;
mod soak;
mod stand;
mod tls;
mod upstream;

use std::{env, error::Error, path::PathBuf, process::ExitCode};

use lexopt::{Arg, ValueExt};

struct Options {
    command: String,
    gateway: PathBuf,
    seed: u64,
    minutes: Option<u32>,
    requests: u64,
    rate: Option<u32>,
    csv: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool, Box<dyn Error>> {
    let options = parse()?;
    println!("seed {}", options.seed);
    Ok(match options.command.as_str() {
        "matrix" => matrix::run(&options.gateway, options.seed, options.minutes.unwrap_or(0)).await?,
        "million" => million::run(&options.gateway, options.requests, options.rate.unwrap_or(5_000)).await?,
        "soak" => {
            let (minutes, rate) = (options.minutes.unwrap_or(30), options.rate.unwrap_or(500));
            soak::run(&options.gateway, options.seed, minutes, rate, options.csv.as_deref()).await?
        }
        _ => return Err("say what to run: matrix, million or soak".into()),
    })
}

fn parse() -> Result<Options, Box<dyn Error>> {
    let built = env::current_exe()?.with_file_name("examples").join("gateway");
    let (command, seed) = (String::new(), fastrand::u64(..1_000_000));
    let mut options =
        Options { command, gateway: built, seed, minutes: None, requests: 1_000_000, rate: None, csv: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(command) => options.command = command.string()?,
            Arg::Long("gateway") => options.gateway = parser.value()?.into(),
            Arg::Long("seed") => options.seed = parser.value()?.parse()?,
            Arg::Long("minutes") => options.minutes = Some(parser.value()?.parse()?),
            Arg::Long("requests") => options.requests = parser.value()?.parse()?,
            Arg::Long("rate") => options.rate = Some(parser.value()?.parse()?),
            Arg::Long("csv") => options.csv = Some(parser.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}
