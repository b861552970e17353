//! Checks: where the token goes, and how often one is requested.

use std::time::Duration;

use http::{HeaderValue, header::AUTHORIZATION};
use tokio::time::sleep;

use crate::{
    conformance::stack::{
        log::Log,
        world::{Finding, MANY, Make, World, ensure},
    },
    extensions::{SentWithoutToken, SkipBearerAuth},
    testing::{ReceivedRequest, Reply, Upstream},
};

/// A lifetime whose end a check waits for.
const SHORT: Duration = Duration::from_secs(2);

/// Bigger than the buffers on the way.
const LARGE: usize = 256 * 1024;

pub(super) async fn attached(make: &Make<'_>) -> Result<(), Finding> {
    let world = World::protected(make).await?;
    let response = world.send(world.get()).await;
    let requests = world.api.requests();
    let Some(first) = requests.first() else {
        let what =
            response.map_or_else(|none| none.to_string(), |response| format!("the caller got {}", response.status()));
        return Err(Finding::failed(format!("nothing reached the API at the URL of the request: {what}")));
    };
    ensure(world.issuer.check(first.headers()).is_accepted(), || {
        let without = response.as_ref().ok().and_then(|response| response.extensions().get());
        if let Some(SentWithoutToken::OtherOrigin) = without {
            return "the layer sent no token, because the URL that `make` is given is not in `origins`".to_owned();
        }
        let token = first.token();
        let token = if token.starts_with("token") { "another token" } else { token };
        format!(
            "the request arrived with `{token}` in `Authorization`, and not with the token: look for a layer below, or a default \
             header of the client, that removes or sets the header, and check that the stack contains the layer that it was given"
        )
    })?;
    world.is_ok(&response?)
}

pub(super) async fn every_request_arrives(make: &Make<'_>) -> Result<(), Finding> {
    let world = World::protected(make).await?;
    for round in ["a", "b", "c"] {
        let body = round.repeat(LARGE);
        world.api.answer_next([Reply::status(200).header("cache-control", "no-store").body(body.clone())]);
        let response = world.send(world.get()).await?;
        world.is_ok(&response)?;
        let length = response.body().len();
        ensure(length == LARGE, || format!("an answer of {LARGE} bytes came back with {length}"))?;
        ensure(response.body() == body.as_bytes(), || {
            "the answer to an earlier request came back, although it said `Cache-Control: no-store`".to_owned()
        })?;
    }
    let arrived = world.api.requests().len();
    ensure(arrived == 3, || {
        format!("of 3 requests, {arrived} arrived: look for a layer that caches or repeats requests")
    })
}

pub(super) async fn one_token_request_for_all(make: &Make<'_>) -> Result<(), Finding> {
    let world = World::protected(make).await?;
    world.issuer.delay(Duration::from_millis(50));
    world.send_many().await?;
    let asked = world.issuer.counts().token_requests;
    ensure(asked == 1, || {
        format!(
            "{MANY} requests at once made {asked} token requests: create the layer once, and clone the service that it makes"
        )
    })
}

pub(super) async fn marked_request_keeps_its_header(make: &Make<'_>) -> Result<(), Finding> {
    const OWN: HeaderValue = HeaderValue::from_static("Basic b3duOm93bg==");

    let world = World::protected(make).await?;
    world.api.answer_otherwise(Reply::status(200));
    let mut request = world.get();
    request.headers_mut().insert(AUTHORIZATION, OWN);
    request.extensions_mut().insert(SkipBearerAuth);
    world.is_ok(&world.send(request).await?)?;
    let requests = world.api.requests();
    let arrived = requests.first().map(|request| request.headers().get_all(AUTHORIZATION).iter().collect::<Vec<_>>());
    ensure(arrived == Some(vec![&OWN]), || {
        format!(
            "the header of a request that is marked with `SkipBearerAuth` was changed: look for a layer above that loses the extensions \
             of a request, or a layer below that sets the header.{}",
            world.arrived()
        )
    })
}

pub(super) async fn redirect_takes_no_token(make: &Make<'_>) -> Result<(), Finding> {
    let world = World::protected(make).await?;
    let elsewhere = Upstream::new();
    let other = elsewhere.listen().await.map_err(|error| Finding::failed(format!("no port is free: {error}")))?;
    world.api.answer_next([Reply::redirect(302, &other.url("/file"))]);
    let response = world.send(world.get()).await?;
    let requests = elsewhere.requests();
    if requests.is_empty() {
        return match response.status().as_u16() {
            302 => Err(Finding::NotApplicable("the stack does not follow redirects".to_owned())),
            status => {
                Err(Finding::failed(format!("a redirect was not followed, and the caller got {status} and not 302")))
            }
        };
    }
    let token = world.cache.token().await.map_err(|error| Finding::failed(error.to_string()))?;
    let has_token =
        requests.iter().flat_map(ReceivedRequest::headers).find(|(_, value)| contains(value, token.secret()));
    ensure(has_token.is_none(), || {
        let name = has_token.map(|(name, _)| name.as_str()).unwrap_or_default();
        format!(
            "another origin got the token in `{name}`: if redirects are followed above the layer, give it the list of `origins` of your \
             API; if below, with a client that removes the header at another origin"
        )
    })
}

fn contains(value: &HeaderValue, secret: &str) -> bool {
    value.as_bytes().windows(secret.len()).any(|part| part == secret.as_bytes())
}

pub(super) async fn token_not_logged(make: &Make<'_>) -> Result<(), Finding> {
    let log = Log::default();
    let recording = log.record();
    let world = World::protected(make).await?;
    world.succeeds().await?;
    drop(recording);
    let token = world.cache.token().await.map_err(|error| Finding::failed(error.to_string()))?;
    ensure(!log.shows(token.secret()), || {
        "a log line or a span shows the token: look for a layer below that logs headers by `to_str`; their `Debug` hides it".to_owned()
    })
}

pub(super) async fn renewed_before_expiry(make: &Make<'_>) -> Result<(), Finding> {
    // On a machine without time for it, a token can expire on its way. So it is tried three times.
    let mut arrived = String::new();
    for _ in 0..3 {
        let world = World::with_lifetime(make, SHORT).await?;
        world.succeeds().await?;
        sleep(SHORT + SHORT / 10).await;
        world.succeeds().await?;
        if world.issuer.counts().api_rejected == 0 {
            return Ok(());
        }
        arrived = world.arrived();
    }
    Err(Finding::failed(format!(
        "the API got an expired token: look for a layer below that keeps a request or its headers.{arrived}"
    )))
}
