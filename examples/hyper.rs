//! A client of hyper-util with HTTPS, whose token is revoked: `cargo run --example hyper`. The servers are on loopback.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{Layer, ServiceExt};
use tower_bearer::grant::{ClientAuth, ClientCredentials};
use tower_bearer::{BearerAuthLayer, BoxError, Outcome, testing::Issuer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The servers: an issuer of tokens, and an API that checks them.
    let issuer = Issuer::new();
    let server = issuer.listen().await?;

    // The client. The layer sends the token over HTTPS, and over plain HTTP only to loopback.
    let https = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
    let source = ClientCredentials::builder(server.token_url())
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .build()?;
    let api = BearerAuthLayer::new(source)
        .origins([server.url("/")])?
        .layer(Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(https));

    for retried in [false, true] {
        let request = Request::post(server.url("/fhir/Patient")).body(Full::from("{}"))?;
        let response = api.clone().oneshot(request).await?;
        let outcome: Option<&Outcome> = response.extensions().get();
        println!("{}: {outcome:?}", response.status());
        assert!(response.status().is_success() && outcome.is_some_and(Outcome::retried) == retried);
        println!("{:?}", response.into_body().collect().await?.to_bytes());
        issuer.revoke_current();
    }
    Ok(())
}
