//! `TokenCache::call`: a token for any HTTP client, here hyper's without a layer. `cargo run --example call`, on loopback.

use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower_bearer::grant::{ClientAuth, ClientCredentials};
use tower_bearer::{BoxError, Judged, TokenCache, testing::Issuer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The servers: an issuer of tokens, and an API that checks them.
    let issuer = Issuer::new();
    let server = issuer.listen().await?;

    // All clones of the cache share the token.
    let source = ClientCredentials::builder(server.token_url())
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .build()?;
    let (cache, client) = (TokenCache::new(source), Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());

    for _ in 0..3 {
        // It runs again with a new token if the API rejects this one. It decides where the token goes.
        let send = async |token: tower_bearer::AccessToken| -> Result<_, BoxError> {
            let request = Request::post(server.url("/fhir/Patient")).header(AUTHORIZATION, token.header_value());
            Ok(client.request(request.body(Full::from("{}"))?).await?)
        };
        let response = cache.call(send, Judged::response).await??;
        println!("{} after {} token requests", response.status(), issuer.counts().token_requests);
        assert!(response.status().is_success());
        issuer.revoke_current();
    }
    assert_eq!(issuer.counts().token_requests, 3);
    Ok(())
}
