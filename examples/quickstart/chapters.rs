//! The four chapters. Each says what happened, and fails if that is not what should have.

use std::time::Duration;

use tokio::time::Instant;

use tower_bearer::{AccessToken, Lifetime, cache::Age};

use crate::{
    advice,
    plan::shown,
    print::{chapter, claims, plain, plural, say, span},
    revoke,
    story::{Story, check},
    trouble::Trouble,
};

/// The longest lifetime whose end is waited for.
const SHORT: Duration = Duration::from_secs(60);

pub async fn request(story: &mut Story<'_>) -> Result<(), Trouble> {
    chapter("A token is requested");
    let plan = story.plan;
    let began = Instant::now();
    // A request would do this by itself. Here the token is wanted, to look into it.
    let token = story.cache.token().await.map_err(|error| advice::token(&error))?;
    say(format!(
        "Asked for by password, as {} for {}; there after {}.",
        plan.client.id,
        plan.username,
        span(began.elapsed())
    ));
    say(match token.lifetime() {
        Lifetime::For(lifetime) => format!("It lives for {}.", span(lifetime)),
        Lifetime::AlreadyExpired => {
            return Err(Trouble::failed("the issuer says that its token is already over: nothing to reuse"));
        }
        _ => "Nobody says how long it lives: it is taken to be an hour.".to_owned(),
    });
    if let Some(scope) = token.scope() {
        say(format!("The issuer grants: {}", plain(scope)));
    }
    claims(&token);
    let asked = story.counts().token_requests;
    check(asked == 1, || format!("one token should take one token request, not {asked}"))
}

pub async fn reuse(story: &mut Story<'_>) -> Result<(), Trouble> {
    chapter("It is reused");
    let token = current(story).await?;
    let (before, began) = (story.counts(), Instant::now());
    let mut slowest = Duration::ZERO;
    for _ in 0..story.plan.requests {
        slowest = slowest.max(story.request().await?.took);
    }
    let more = story.counts().token_requests - before.token_requests;
    let requests = plural(u64::from(story.plan.requests), "request");
    say(format!("{requests} to {}, in {}.", shown(&story.plan.api_url), span(began.elapsed())));
    say(format!("All answered, the slowest after {}. More token requests: {more}.", span(slowest)));
    // A slow API outlasts a short token.
    let outlasted = matches!(token.lifetime(), Lifetime::For(lifetime) if token.issued_at().elapsed() > lifetime / 2);
    check(more == 0 || outlasted, || format!("{requests} took {more} more token requests, where one token should do"))
}

pub async fn renewal(story: &mut Story<'_>) -> Result<(), Trouble> {
    chapter("It gets old, and is renewed in the background");
    let token = current(story).await?;
    match token.lifetime() {
        Lifetime::For(lifetime) if lifetime < SHORT => {}
        _ => {
            say(
                "Not waited for: this token lives too long. Requests will go on with the old one meanwhile, as with a short one.",
            );
            return Ok(());
        }
    }
    while story.cache.status().age == Age::Fresh {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    say(format!("After {} the token is still good, but due.", span(token.issued_at().elapsed())));

    let (before, renewals) = (story.counts(), story.cache.status().renewals);
    let (mut meanwhile, mut waited, mut slowest) = (0, 0, Duration::ZERO);
    while story.cache.status().renewals == renewals {
        let seen = story.request().await?;
        meanwhile += 1;
        waited += u64::from(seen.waited);
        slowest = slowest.max(seen.took);
        if let Some(error) = story.cache.status().last_error {
            return Err(advice::token(&error));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let more = story.counts().token_requests - before.token_requests;
    say(format!(
        "{} went out while it was renewed; {waited} waited for that, and the slowest took {}.",
        plural(meanwhile, "request"),
        span(slowest)
    ));
    say(format!("More token requests: {more}. The token now served is number {}.", story.cache.status().generation));
    check(more == 1, || format!("a renewal should take one token request, not {more}"))?;
    check(waited == 0, || {
        format!("{} waited for a renewal that should be in the background", plural(waited, "request"))
    })
}

pub async fn revocation(story: &mut Story<'_>) -> Result<(), Trouble> {
    chapter("It is revoked, and nobody notices");
    let Some(url) = &story.plan.revoke_url else {
        say("Not tried: there is no --revoke-url.");
        return Ok(());
    };
    let token = current(story).await?;
    revoke::revoke(story.plan, url, &token).await?;
    say(format!("Token number {} is revoked (RFC 7009) long before its end.", token.generation()));

    let before = story.counts();
    let seen = story.request().await?;
    let now = story.counts();
    let (rejected, more) = (now.rejected - before.rejected, now.token_requests - before.token_requests);
    check(rejected > 0, || {
        "the API still takes the revoked token: it checks the signature alone, or remembers the issuer's earlier answer"
            .into()
    })?;
    let sent = plural(now.sent - before.sent, "time");
    say(format!("One request was sent {sent}; 401s among the answers: {rejected}. More token requests: {more}."));
    say(format!("What its caller saw: {}, after {}.", seen.status, span(seen.took)));
    check(seen.retried, || "the request was not sent a second time".into())?;
    check(rejected == 1, || format!("a revocation should cost one 401, not {rejected}"))?;
    check(more == 1, || format!("a revocation should cost one token request, not {more}"))
}

async fn current(story: &Story<'_>) -> Result<AccessToken, Trouble> {
    story.cache.token().await.map_err(|error| advice::token(&error))
}
