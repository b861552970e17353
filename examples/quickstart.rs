//! The life of a bearer token, shown by real requests on loopback: requested once, renewed in the background, revoked.
//!
//! ```text
//! cargo run --example quickstart
//! ```
//!
//! It needs no network and takes about three seconds. The authorization server and the API are
//! [`tower_bearer::testing::Issuer`], which counts what it receives. The example compares these counts with what it expects,
//! and fails or panics if one is wrong. `cargo run --example try_server` does the same with your own servers.

use std::{fmt::Debug, time::Duration};

use bytes::Bytes;
use futures::future::try_join_all;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, Outcome, TokenCache,
    grant::{ClientAuth, ClientCredentials},
    testing::Issuer,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The servers. Their tokens expire after 5 seconds, where a real token lives for minutes or hours.
    let issuer = Issuer::builder()
        .client("my-client", "my-secret")
        .scope("system/Patient.rs")
        .lifetime(Duration::from_secs(5))
        .build();
    // A token request takes as long as a real one, so that a request that waits for it can be seen.
    issuer.delay(Duration::from_millis(200));
    let server = issuer.listen().await?;
    let url = server.url("/fhir/Patient");

    // The source requests tokens. The cache keeps the current one and renews it.
    let source = ClientCredentials::builder(server.token_url())
        .client_auth(ClientAuth::basic("my-client", "my-secret"))
        .scope("system/Patient.rs")
        .build()?;
    let cache = TokenCache::builder(source)
        // A token is renewed in the second half of its life. The default, the last quarter, is short if a life is 5 seconds.
        .stale_before_expiry(Duration::from_secs(60), 0.5)
        .build();

    // The client: a hyper client below the layer.
    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let api = ServiceBuilder::new().layer(BearerAuthLayer::with_cache(cache.clone())).service(http);

    // One request. The caller does nothing about tokens. The layer reports what it did in the response's extensions,
    // unless the token was there and the API accepted it.
    let send = async || -> Result<Option<Outcome>, BoxError> {
        let request = Request::get(&url).body(Full::default())?;
        let response = api.clone().oneshot(request).await?;
        expect("the status of a response", response.status(), StatusCode::OK)?;
        let outcome = response.extensions().get().cloned();
        response.into_body().collect().await?;
        Ok(outcome)
    };
    let waited = |outcomes: &[Option<Outcome>]| outcomes.iter().flatten().filter(|outcome| outcome.waited()).count();

    println!("1. 100 requests start at once, before the first token.");
    let outcomes = try_join_all((0..100).map(|_| send())).await?;
    println!("   All were answered. {} waited for the token.", waited(&outcomes));
    println!("   Token requests: {}", issuer.counts().token_requests);
    expect("requests that waited", waited(&outcomes), 100)?;
    issuer.assert_token_requests(1);

    println!("2. Requests go on until the token has been renewed.");
    let mut outcomes = Vec::new();
    while cache.status().renewals < 2 {
        outcomes.push(send().await?);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("   {} requests were answered. {} waited for the renewal.", outcomes.len(), waited(&outcomes));
    println!("   Token requests: {}", issuer.counts().token_requests);
    expect("requests that waited", waited(&outcomes), 0)?;
    issuer.assert_token_requests(2);

    println!("3. The issuer revokes the token, and the client does not know.");
    issuer.revoke_current();
    let outcome = send().await?;
    let retried = outcome.is_some_and(|outcome| outcome.retried());
    println!("   One request was answered with 401, and was sent again with a new token: {retried}");
    println!("   Its caller received 200. Responses with 401: {}", issuer.counts().api_rejected);
    println!("   Token requests: {}", issuer.counts().token_requests);
    expect("a retry", retried, true)?;
    expect("responses with 401", issuer.counts().api_rejected, 1)?;
    issuer.assert_token_requests(3);

    let counts = issuer.counts();
    expect("requests to the API", counts.api_requests, 100 + outcomes.len() as u64 + 2)?;
    println!("In total: {} requests to the API, {} token requests.", counts.api_requests, counts.token_requests);
    Ok(())
}

/// The example checks itself: an error ends it with a non-zero exit status.
fn expect<T: Copy + Debug + PartialEq>(what: &str, actual: T, expected: T) -> Result<(), BoxError> {
    if actual == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, but it was {actual:?}").into())
}
