//! Tries an authorization server and an API of your own: gets a token, uses it, renews it and recovers from its revocation.
//!
//! ```text
//! cargo run --example try_server -- --help
//! ```
//!
//! `client.rs` shows how the middleware is used, and `steps.rs` what each step checks. `examples/quickstart.rs` shows the
//! same offline, in one file.

#![allow(unreachable_pub, reason = "a program has no public API")]

mod advice;
mod args;
#[path = "../cli/mod.rs"]
mod cli;
mod client;
mod print;
mod session;
mod steps;

use std::process::ExitCode;

use crate::{args::Config, cli::CliError, client::Counts, print::print_line, session::Session};

#[tokio::main]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("try_server: {error}");
            error.exit_code()
        }
    }
}

async fn start() -> Result<(), CliError> {
    match args::parse(lexopt::Parser::from_env())? {
        None => print_line(args::help().trim_end()),
        Some(config) => drop(run(&config).await?),
    }
    Ok(())
}

/// Runs all steps, and returns what was sent and received.
async fn run(config: &Config) -> Result<Counts, CliError> {
    let mut session = Session::new(config)?;
    steps::request(&mut session).await?;
    steps::reuse(&mut session).await?;
    steps::renew(&mut session).await?;
    steps::revoke(&mut session).await?;
    print::summary(&session);
    Ok(session.counts())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower_bearer::{
        grant::ClientAuth,
        testing::{self, Failure, Issuer, IssuerServer, RefreshTokens},
    };

    use super::*;
    use crate::cli::GrantOptions;

    fn config(server: &IssuerServer, user: Option<&str>) -> Config {
        Config {
            grant: GrantOptions {
                token_url: server.token_url(),
                client: ClientAuth::basic("client1", "client-secret"),
                user: user.map(|name| (name.to_owned(), "user-password".into())),
                scope: Some("user/Patient.rs".to_owned()),
                revocation_url: Some(server.url("/revoke")),
                ca: None,
            },
            api_url: server.url("/fhir/Patient").parse().unwrap(),
            requests: 5,
        }
    }

    /// Returns what the program and the servers counted.
    async fn counts(user: Option<&str>) -> (Counts, testing::Counts) {
        let issuer = Issuer::builder().lifetime(Duration::from_secs(6)).build();
        let server = issuer.listen().await.unwrap();
        let ours = run(&config(&server, user)).await.unwrap();
        let theirs = issuer.counts();
        assert_eq!((ours.token_requests, ours.rejected), (3, 1));
        assert_eq!(ours.token_requests, theirs.token_requests);
        assert_eq!((ours.sent, ours.rejected), (theirs.api_requests, theirs.api_rejected));
        (ours, theirs)
    }

    #[tokio::test]
    async fn all_steps_succeed_with_client_credentials() {
        let (ours, theirs) = counts(None).await;
        assert_eq!(ours.token_requests, theirs.client_credentials);
    }

    #[tokio::test]
    async fn all_steps_succeed_with_the_password_grant() {
        let (ours, theirs) = counts(Some("user1")).await;
        assert_eq!(ours.token_requests, theirs.password);
    }

    /// RFC 7009 §2.1 allows it, and many servers do it.
    #[tokio::test]
    async fn a_server_that_revokes_the_refresh_token_too_is_correct() {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
        let server = issuer.listen().await.unwrap();
        // The first answer is as usual. The second token request has the refresh token.
        issuer.amend_next(serde_json::json!({}));
        issuer.fail_next(1, Failure::OAuth(400, "invalid_grant"));
        let ours = run(&config(&server, Some("user1"))).await.unwrap();
        assert_eq!((ours.token_requests, ours.rejected), (3, 1));
        assert_eq!((issuer.counts().password, issuer.counts().refused), (2, 1));
    }

    /// An API that checks only the signature. Here the revocation goes to another server, which does not know the token.
    #[tokio::test]
    async fn an_api_that_does_not_see_the_revocation_is_correct() {
        let (issuer, other) = (Issuer::new(), Issuer::new());
        let (server, revokes) = (issuer.listen().await.unwrap(), other.listen().await.unwrap());
        let mut config = config(&server, None);
        config.grant.revocation_url = Some(revokes.url("/revoke"));
        let ours = run(&config).await.unwrap();
        assert_eq!((ours.token_requests, ours.rejected, other.counts().revocations), (1, 0, 1));
    }

    #[tokio::test]
    async fn a_refusal_is_explained() {
        let issuer = Issuer::new();
        let server = issuer.listen().await.unwrap();
        let mut config = config(&server, None);
        config.grant.client = ClientAuth::basic("client1", "wrong");
        let error = run(&config).await.unwrap_err().to_string();
        assert!(error.contains("invalid_client") && !error.contains("wrong"), "{error}");
        config.grant.client = ClientAuth::basic("client1", "client-secret");
        config.api_url = server.url("/nothing").parse().unwrap();
        let error = run(&config).await.unwrap_err().to_string();
        assert!(error.contains("404") && error.contains("--api-url"), "{error}");
    }
}
