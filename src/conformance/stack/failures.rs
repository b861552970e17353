//! Checks: no token, other errors, dropped requests.

use crate::{
    conformance::stack::world::{Finding, Make, World, ensure},
    extensions::Outcome,
    testing::{Failure, Reply},
};

pub(super) async fn other_errors_returned(make: &Make<'_>) -> Result<(), Finding> {
    for status in [403, 500] {
        let world = World::protected(make).await?;
        world.api.answer_otherwise(Reply::status(status).body("why"));
        let response = world.send(world.get()).await?;
        if response.extensions().get().is_some_and(Outcome::retried) {
            return Err(Finding::NotApplicable(format!(
                "the layer takes a {status} for a rejection (`reject_on`, `judge_by`)"
            )));
        }
        let got = response.status().as_u16();
        ensure(got == status, || {
            format!("the API answered {status}, and the caller got {got}: look for a layer that changes answers")
        })?;
        ensure(response.body() == "why", || format!("the body of a {status} was changed"))?;
        let asked = world.issuer.counts().token_requests;
        ensure(asked == 1, || format!("a {status} made {} token requests more", asked.saturating_sub(1)))?;
    }
    Ok(())
}

pub(super) async fn nothing_sent_without_token(make: &Make<'_>) -> Result<(), Finding> {
    let world = World::protected(make).await?;
    world.issuer.fail_until_cleared(Failure::Status(503));
    let result = world.send(world.get()).await;
    ensure(world.api.requests().is_empty(), || {
        format!(
            "a request was sent although there was no token: look for a layer above that sends it in another way.{}",
            world.arrived()
        )
    })?;
    match result {
        Ok(response) if response.status().is_server_error() => {
            let status = response.status();
            Err(Finding::NotApplicable(format!("the stack answers {status} instead of an error; nothing was sent")))
        }
        Ok(response) => Err(Finding::failed(format!("there was no token, and the caller got {}", response.status()))),
        Err(none) => ensure(none.own_error().is_some(), || {
            format!("the caller cannot find a `tower_bearer::Error` in the error or its sources: {none}")
        }),
    }
}

pub(super) async fn retries_ask_issuer_once(make: &Make<'_>) -> Result<(), Finding> {
    let world = World::protected(make).await?;
    world.issuer.fail_until_cleared(Failure::Status(503));
    for _ in 0..5 {
        let _ = world.send(world.get()).await;
    }
    let asked = world.issuer.counts().token_requests;
    ensure(asked == 1, || {
        format!(
            "while the issuer failed, 5 requests and their retries made {asked} token requests, and not 1: use one cache, and do not \
             reset it between requests"
        )
    })
}

pub(super) async fn renewal_outlives_request(make: &Make<'_>) -> Result<(), Finding> {
    let world = World::protected(make).await?;
    let gate = world.issuer.hold();
    world.drop_when(|| world.issuer.counts().token_requests == 1).await?;
    gate.release();
    world.succeeds().await?;
    let asked = world.issuer.counts().token_requests;
    ensure(asked == 1, || format!("after a request was given up, the next one made {} token requests more", asked - 1))
}

pub(super) async fn dropped_requests_leave_nothing(make: &Make<'_>) -> Result<(), Finding> {
    let world = World::protected(make).await?;
    drop_in_each_state(&world).await.map_err(|finding| match finding {
        Finding::Failed(why) => Finding::Failed(format!(
            "after requests were dropped, {why}. Look for a permit or a place in a queue that a dropped request keeps"
        )),
        other @ Finding::NotApplicable(_) => other,
    })
}

/// A request waits for a token, for its answer, for a renewal, and for its second answer.
async fn drop_in_each_state(world: &World<'_>) -> Result<(), Finding> {
    let asked = || world.issuer.counts().token_requests;
    let arrived = || world.api.requests().len();

    let gate = world.issuer.hold();
    world.drop_when(|| asked() == 1).await?;
    gate.release();

    world.api.answer_next([Reply::hang()]);
    world.drop_when(|| arrived() == 1).await?;

    let gate = world.issuer.hold();
    world.issuer.revoke_all();
    world.drop_when(|| asked() == 2).await?;
    gate.release();
    world.succeeds().await?;

    world.api.forget_requests();
    world.api.answer_next([Reply::unauthorized(), Reply::hang()]);
    world.drop_when(|| arrived() == 2).await?;
    world.send_many().await
}
