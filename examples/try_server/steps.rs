//! The four steps. Each prints what happened, and fails if that is not what is expected.

use std::time::Duration;

use tokio::time::Instant;

use tower_bearer::{Lifetime, TokenSource, cache::Age};

use crate::{
    cli::{CliError, printable},
    print::{claims, count, duration, heading, print_line, without_query},
    session::{Session, check},
};

/// The renewal step waits for a token to become old only if it lives shorter than this.
const SHORT_LIFE: Duration = Duration::from_secs(60);

pub async fn request(session: &mut Session<'_>) -> Result<(), CliError> {
    heading("A token is requested");
    let start = Instant::now();
    // A request to the API would do this too. Here the token itself is needed, to print its claims.
    let token = session.token().await?;
    let grant = if session.config.grant.user.is_some() { "the password grant" } else { "client credentials" };
    print_line(format!("Received with {grant} after {}.", duration(start.elapsed())));
    print_line(match token.lifetime() {
        Lifetime::For(lifetime) => format!("It expires after {}.", duration(lifetime)),
        Lifetime::AlreadyExpired => {
            return Err(CliError::failed("the authorization server says that its token has already expired"));
        }
        _ => "Its lifetime is not known: the cache assumes one hour.".to_owned(),
    });
    if let Some(scope) = token.scope() {
        print_line(format!("The granted scope is: {}", printable(scope)));
    }
    claims(&token);
    let sent = session.counts().token_requests;
    check(sent == 1, || format!("one token should need one token request, not {sent}"))
}

pub async fn reuse(session: &mut Session<'_>) -> Result<(), CliError> {
    heading("The token is reused");
    let token = session.token().await?;
    let (before, start) = (session.counts(), Instant::now());
    let mut slowest = Duration::ZERO;
    for _ in 0..session.config.requests {
        slowest = slowest.max(session.request().await?.duration);
    }
    let more = session.counts().token_requests - before.token_requests;
    let requests = count(u64::from(session.config.requests), "request");
    let url = without_query(&session.config.api_url);
    print_line(format!("{requests} to {url} took {}, the slowest {}.", duration(start.elapsed()), duration(slowest)));
    print_line(format!("More token requests: {more}"));
    // With a slow API, a token with a short life becomes old during the requests.
    let old = matches!(token.lifetime(), Lifetime::For(lifetime) if token.issued_at().elapsed() > lifetime / 2);
    check(more == 0 || old, || format!("{requests} needed {more} more token requests, but one token should be enough"))
}

pub async fn renew(session: &mut Session<'_>) -> Result<(), CliError> {
    heading("The token is renewed in the background");
    let token = session.token().await?;
    match token.lifetime() {
        Lifetime::For(lifetime) if lifetime < SHORT_LIFE => {}
        _ => {
            print_line("Skipped: this token lives too long to wait for its renewal.");
            return Ok(());
        }
    }
    while session.cache.status().age == Age::Fresh {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    print_line(format!(
        "After {} the token is still valid, but must be renewed.",
        duration(token.issued_at().elapsed())
    ));

    let (before, renewals) = (session.counts(), session.cache.status().renewals);
    let (mut requests, mut waited, mut slowest) = (0, 0, Duration::ZERO);
    while session.cache.status().renewals == renewals {
        let exchange = session.request().await?;
        requests += 1;
        waited += u64::from(exchange.waited);
        slowest = slowest.max(exchange.duration);
        if let Some(error) = session.cache.status().last_error {
            return Err(error.into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let more = session.counts().token_requests - before.token_requests;
    let requests = count(requests, "request");
    print_line(format!("{requests} sent during the renewal. {waited} waited; the slowest took {}.", duration(slowest)));
    print_line(format!(
        "More token requests: {more}. The current token is number {}.",
        session.cache.status().generation
    ));
    check(more == 1, || format!("a renewal should need one token request, not {more}"))?;
    check(waited == 0, || format!("{} waited for a renewal in the background", count(waited, "request")))
}

pub async fn revoke(session: &mut Session<'_>) -> Result<(), CliError> {
    heading("The token is revoked and replaced");
    if session.config.grant.revocation_url.is_none() {
        print_line("Skipped: --revoke-url is not set.");
        return Ok(());
    }
    let token = session.token().await?;
    // `TokenCache::revoke` would also drop the token. Here another program revokes it, and the cache does not know.
    let other = session.config.grant.source(session.config.grant.http_client()?)?;
    match other.revoke(&token).await {
        Err(error) if error.oauth_code() == Some("unsupported_token_type") => {
            print_line("Skipped: the server does not revoke tokens of this kind (RFC 7009 §2.2.1).");
            return Ok(());
        }
        revoked => revoked?,
    }
    print_line(format!("Token number {} is revoked (RFC 7009) before it expires.", token.generation()));

    let before = session.counts();
    let exchange = session.request().await?;
    let now = session.counts();
    let (rejected, more) = (now.rejected - before.rejected, now.token_requests - before.token_requests);
    if rejected == 0 {
        print_line(
            "The API still accepts it: it checks only the signature, or caches the server's earlier answer. There, a \
             revoked token is valid until it expires.",
        );
        return Ok(());
    }
    let sent = count(now.sent - before.sent, "time");
    print_line(format!("One request was sent {sent}. 401 responses: {rejected}. More token requests: {more}"));
    print_line(format!("Its caller received {} after {}.", exchange.status, duration(exchange.duration)));
    check(exchange.retried, || "the request was not sent a second time".into())?;
    check(rejected == 1, || format!("a revocation should cause one 401 response, not {rejected}"))?;
    // The renewal tries the refresh token first, and then the password.
    let is_refreshed = session.config.grant.user.is_some();
    if is_refreshed && more == 2 {
        print_line(
            "The first token request was refused: the server has revoked the refresh token too (RFC 7009 §2.1).",
        );
    }
    check(more == 1 || (is_refreshed && more == 2), || {
        format!("a revocation should need one token request, not {more}")
    })
}
