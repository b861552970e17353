//! Checks: what follows a 401.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;

use crate::{
    conformance::stack::{
        body::TestBody,
        world::{Finding, MANY, Make, World, ensure, not_retried},
    },
    extensions::{NotRetried, Outcome},
    testing::Reply,
};

/// Less than a tee keeps by default, and more than the buffers of a connection.
const BODY: usize = 192 * 1024;

pub(super) async fn sent_again(make: &Make<'_>) -> Result<(), Finding> {
    let world = revoked(make).await?;
    let response = world.send(world.get()).await?;
    if let Some(NotRetried::NotReplayable) = not_retried(&response) {
        return Err(Finding::NotApplicable("the layer sends no request twice (`without_retry`)".to_owned()));
    }
    world.is_ok(&response)?;
    two_attempts(&world)
}

/// Returns a stack whose token was revoked.
async fn revoked<'a>(make: &Make<'a>) -> Result<World<'a>, Finding> {
    let world = World::protected(make).await?;
    world.cache.token().await.map_err(|error| Finding::failed(error.to_string()))?;
    world.issuer.revoke_all();
    Ok(world)
}

/// There were two attempts, each with a token of its own.
fn two_attempts(world: &World<'_>) -> Result<(), Finding> {
    let requests = world.api.requests();
    let tokens: Vec<_> = requests.iter().map(|request| request.token().to_owned()).collect();
    ensure(tokens == ["token 1", "token 2"], || {
        format!(
            "one request, whose token is rejected once, did not arrive twice, with two tokens: look for layers that change or keep an \
             answer or a header, and for a retry on 401.{}",
            world.arrived()
        )
    })?;
    let asked = world.issuer.counts().token_requests;
    ensure(asked == 2, || format!("one rejection made {} token requests, and not 1", asked.saturating_sub(1)))
}

pub(super) async fn body_sent_whole_again(make: &Make<'_>) -> Result<(), Finding> {
    let world = revoked(make).await?;
    let bytes = bytes();
    arrives_twice(&world, TestBody::whole(bytes.clone()), &bytes).await
}

pub(super) async fn stream_sent_whole_again(make: &Make<'_>) -> Result<(), Finding> {
    let world = revoked(make).await?;
    let bytes = bytes();
    let (body, in_memory) = TestBody::stream(&bytes);
    let arrived = arrives_twice(&world, body, &bytes).await;
    if in_memory.load(Relaxed) {
        return Err(Finding::NotApplicable("the bodies of this stack are made of bytes in memory".to_owned()));
    }
    arrived
}

async fn arrives_twice(world: &World<'_>, body: TestBody, bytes: &Bytes) -> Result<(), Finding> {
    let response = world.send(world.request("POST", body)).await?;
    world.is_ok(&response)?;
    two_attempts(world)?;
    same_bodies(world, bytes, 0)
}

/// The requests from the `first` one on came with this body.
fn same_bodies(world: &World<'_>, bytes: &Bytes, first: usize) -> Result<(), Finding> {
    for request in &world.api.requests()[first..] {
        ensure(request.is_whole() && request.body() == bytes, || {
            format!(
                "a body of {} bytes did not arrive unchanged: look for a layer that takes the body, or cannot clone it, and check how \
                 the layer keeps it (`replay`).{}",
                bytes.len(),
                world.arrived()
            )
        })?;
    }
    Ok(())
}

/// Of an attempt that is answered early, the client may send a part only.
pub(super) async fn early_rejection_sent_again(make: &Make<'_>) -> Result<(), Finding> {
    let world = revoked(make).await?;
    world.api.answer_next([Reply::unauthorized().before_reading()]);
    let bytes = bytes();
    let (body, _) = TestBody::stream(&bytes);
    let response = world.send(world.request("POST", body)).await?;
    world.is_ok(&response)?;
    two_attempts(&world)?;
    same_bodies(&world, &bytes, 1)
}

/// A body in which no two parts are the same.
fn bytes() -> Bytes {
    (0..BODY / 8).flat_map(|n| format!("{n:07}\n").into_bytes()).collect()
}

pub(super) async fn one_renewal_for_all_rejections(make: &Make<'_>) -> Result<(), Finding> {
    let world = revoked(make).await?;
    world.send_many().await?;
    let renewals = world.issuer.counts().token_requests.saturating_sub(1);
    ensure(renewals == 1, || {
        format!(
            "{MANY} requests with one revoked token made {renewals} renewals: look for a layer below that keeps the old token"
        )
    })
}

pub(super) async fn second_rejection_returned(make: &Make<'_>) -> Result<(), Finding> {
    let world = World::protected(make).await?;
    world.api.answer_otherwise(Reply::unauthorized());
    let response = world.send(world.get()).await?;
    let status = response.status().as_u16();
    ensure(status == 401, || {
        format!(
            "the API rejected each attempt, and the caller got {status} and not 401: look for a layer above that changes answers"
        )
    })?;
    two_attempts(&world)?;
    ensure(response.headers().contains_key(WWW_AUTHENTICATE), || {
        "the 401 came back without its `WWW-Authenticate`: look for a layer above that builds a new response".to_owned()
    })
}

pub(super) async fn outcome_readable(make: &Make<'_>) -> Result<(), Finding> {
    let world = revoked(make).await?;
    let response = world.send(world.get()).await?;
    world.is_ok(&response)?;
    ensure(response.extensions().get().is_some_and(Outcome::retried), || {
        "the response to a request that was sent twice has no `Outcome` that says so: look for a layer above that builds a new response \
         without its extensions"
            .to_owned()
    })
}
