//! The life of a bearer token, told by real requests: requested, reused, renewed, revoked, recovered from.
//!
//! ```text
//! cargo run --example quickstart              # offline, against a scripted issuer on loopback, in a few seconds
//! cargo run --example quickstart -- --help    # the same against your own servers
//! ```
//!
//! To learn how the middleware is used, read `client.rs`; to see what it does, read `story.rs`.

#![allow(unreachable_pub, reason = "a program has no outside")]

mod advice;
mod args;
mod chapters;
mod client;
mod plan;
mod print;
mod revoke;
mod scripted;
mod secrets;
mod story;
mod trouble;

use std::process::ExitCode;

use crate::{args::Asked, plan::Plan, print::say, scripted::Scripted, story::Story, trouble::Trouble};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("quickstart: {trouble}");
            trouble.exit_code()
        }
    }
}

async fn run() -> Result<(), Trouble> {
    match args::parse()? {
        Asked::Help => say(args::HELP.trim_end()),
        Asked::Offline { requests } => {
            say("Offline, against a scripted issuer on loopback. For your own servers, see --help.");
            let scripted = Scripted::start(requests).await?;
            let counts = tell(&scripted.plan).await?;
            scripted.agrees_with(&counts)?;
        }
        Asked::Real(plan) => {
            say(format!("Against {}.", plan::shown(&plan.api_url)));
            tell(&plan).await?;
        }
    }
    Ok(())
}

/// The whole story, and what it counted.
async fn tell(plan: &Plan) -> Result<client::Counts, Trouble> {
    let mut story = Story::begin(plan)?;
    chapters::request(&mut story).await?;
    chapters::reuse(&mut story).await?;
    chapters::renewal(&mut story).await?;
    chapters::revocation(&mut story).await?;
    print::table(&story);
    Ok(story.counts())
}
