//! A reverse proxy that adds a bearer token to every request. It accepts HTTP/1.1 and HTTP/2.
//!
//! ```text
//! BEARER_CLIENT_SECRET=… cargo run --example gateway -- --upstream https://fhir.example.org/r4 \
//!     --token-url https://auth.example.org/token --client-id my-gateway
//! ```
//!
//! Or with all settings in a file: `cargo run --example gateway -- --config gateway.toml`. `--help` shows one.
//!
//! With a file, it can have a token for each tenant (`tenants.rs`), or exchange the token of each user (`users.rs`). Gateways can
//! share their tokens (`store.rs`).
//!
//! `upstream.rs` applies the layer, `proxy.rs` forwards a request, `headers.rs` has the header fields that a proxy must
//! change, and `resend.rs` says which failed requests are sent once more.
//!
//! The gateway accepts connections without TLS, supports no protocol upgrades and does not authenticate its users. Run it
//! where only those who may use the token can reach it.

#![allow(unreachable_pub, reason = "a program has no public API")]

mod addresses;
mod admin;
mod args;
mod base;
#[path = "../cli/mod.rs"]
mod cli;
mod config_file;
mod config_identity;
mod config_store;
mod config_values;
mod counters;
mod download;
mod headers;
mod identity;
mod kept_connection;
mod problem;
mod progress;
mod proxy;
mod resend;
mod serve;
mod signals;
mod store;
mod tenants;
mod token;
mod token_rules;
mod upload;
mod upstream;
mod users;

use std::{
    io::{self, IsTerminal, Write, stderr, stdout},
    net::SocketAddr,
    process::ExitCode,
    str::FromStr,
    sync::Arc,
    thread,
};

use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{args::Config, cli::CliError, proxy::Proxy, signals::Signals, token::Tokens, upstream::Upstream};

fn main() -> ExitCode {
    match runtime().map_err(|error| CliError::failed(error.to_string())).and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            error.exit_code()
        }
    }
}

/// On one core, a runtime with one thread needs a sixth less CPU time than one with a pool of threads.
fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism()?;
    let mut builder = if cores.get() == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build()
}

async fn run() -> Result<(), CliError> {
    let Some(config) = args::parse(lexopt::Parser::from_env())? else {
        print_line(args::help().trim_end());
        return Ok(());
    };
    init_logs()?;
    let Config { listen, admin, base, tokens, store, revokes, layer_rules, addresses, ca, plain_http, timeout, drain } =
        config;
    let upstream = Upstream::new(&base, &tokens, layer_rules, plain_http, ca.as_deref())?;
    let proxy = Arc::new(Proxy::new(base, upstream, tokens.clone(), addresses, timeout));

    let mut signals = Signals::listen().map_err(|error| CliError::failed(error.to_string()))?;
    signals::reset_on_hangup(Arc::clone(&proxy)).map_err(|error| CliError::failed(error.to_string()))?;
    let users = bind(listen).await?;
    let operators = match admin {
        Some(admin) => Some(bind(admin).await?),
        None => None,
    };
    print_line(&format!("listening on http://{}", address(&users)?));
    if let Some(operators) = operators {
        print_line(&format!("admin on http://{}", address(&operators)?));
        tokio::spawn(admin::serve(operators, Arc::clone(&proxy), store));
    }
    if let Tokens::One(cache) = tokens.clone() {
        // A load balancer sends no requests to a gateway that is not ready, and without requests the cache does not get a token.
        tokio::spawn(async move { cache.keep_ready().await });
    }
    serve::until_signal(users, proxy, &mut signals, drain).await;
    if revokes {
        tokens.revoke(drain).await;
    }
    Ok(())
}

/// Logs what `RUST_LOG` selects to standard error. Standard output is for the addresses.
fn init_logs() -> Result<(), CliError> {
    let targets = match std::env::var("RUST_LOG") {
        Ok(targets) if !targets.is_empty() => {
            Targets::from_str(&targets).map_err(|error| CliError::usage(format!("RUST_LOG: {error}")))?
        }
        _ => Targets::new().with_default(LevelFilter::WARN).with_target("gateway", LevelFilter::INFO),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(targets).init();
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| CliError::failed(format!("{address}: {error}")))
}

fn address(listener: &TcpListener) -> Result<SocketAddr, CliError> {
    listener.local_addr().map_err(|error| CliError::failed(error.to_string()))
}

/// Prints a line. An error is ignored, because the reader may close the pipe.
fn print_line(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}
