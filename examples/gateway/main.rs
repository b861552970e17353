//! A reverse proxy that puts a bearer token on every request: HTTP/1.1 and HTTP/2 in, any API out.
//!
//! ```text
//! BEARER_CLIENT_SECRET=… cargo run --example gateway -- --upstream https://fhir.example.org/r4 \
//!     --token-url https://auth.example.org/token --client-id my-gateway
//! ```
//!
//! The layer is put on in `upstream.rs`; `proxy.rs` is the life of a request; `headers.rs` is what a proxy has to change.
//!
//! It does no TLS towards its users, no protocol upgrades, and asks nobody who they are: put it where only those who may use
//! the token can reach it.

#![allow(unreachable_pub, reason = "a program has no outside")]

mod admin;
mod args;
mod base;
mod counters;
mod headers;
mod problem;
mod proxy;
mod serve;
mod signals;
mod token;
#[path = "../quickstart/trouble.rs"]
mod trouble;
mod upload;
mod upstream;

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

use crate::{
    args::{Asked, Plan},
    proxy::Proxy,
    signals::Signals,
    trouble::Trouble,
    upstream::Upstream,
};

fn main() -> ExitCode {
    match runtime().map_err(|error| Trouble::failed(error.to_string())).and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("gateway: {trouble}");
            trouble.exit_code()
        }
    }
}

/// Where there is one core only, or a container has no more, one thread needs a sixth less of it.
fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism()?;
    let mut builder = if cores.get() == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build()
}

async fn run() -> Result<(), Trouble> {
    let plan = match args::parse(lexopt::Parser::from_env())? {
        Asked::Help => {
            say(args::HELP.trim_end());
            return Ok(());
        }
        Asked::Serve(plan) => plan,
    };
    logs()?;
    let Plan { listen, admin, base, auth, ca, plain_http, timeout, drain } = *plan;
    let revokes = auth.as_ref().is_some_and(|auth| auth.revoke_url.is_some());
    let cache = auth.map(|auth| token::cache(auth, ca.as_deref())).transpose()?;
    let upstream = Upstream::new(&base, cache.as_ref(), plain_http, ca.as_deref())?;
    let proxy = Arc::new(Proxy::new(base, upstream, cache.clone(), timeout));

    let mut signals = Signals::listen().map_err(|error| Trouble::failed(error.to_string()))?;
    let users = bind(listen).await?;
    let operators = match admin {
        Some(admin) => Some(bind(admin).await?),
        None => None,
    };
    say(&format!("listening on http://{}", address(&users)?));
    if let Some(operators) = operators {
        say(&format!("admin on http://{}", address(&operators)?));
        tokio::spawn(admin::serve(operators, Arc::clone(&proxy)));
    }
    if let Some(cache) = cache.clone() {
        tokio::spawn(token::keep(cache));
    }
    serve::until_told(users, proxy, &mut signals, drain).await;
    if let Some(cache) = cache.filter(|_| revokes) {
        token::revoke(&cache).await;
    }
    Ok(())
}

/// What `RUST_LOG` asks for, to standard error: standard output is for the addresses.
fn logs() -> Result<(), Trouble> {
    let targets = match std::env::var("RUST_LOG") {
        Ok(targets) if !targets.is_empty() => {
            Targets::from_str(&targets).map_err(|error| Trouble::usage(format!("RUST_LOG: {error}")))?
        }
        _ => Targets::new().with_default(LevelFilter::WARN).with_target("gateway", LevelFilter::INFO),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(targets).init();
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Trouble> {
    TcpListener::bind(address).await.map_err(|error| Trouble::failed(format!("{address}: {error}")))
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Trouble> {
    listener.local_addr().map_err(|error| Trouble::failed(error.to_string()))
}

/// Whoever reads may stop reading.
fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}
