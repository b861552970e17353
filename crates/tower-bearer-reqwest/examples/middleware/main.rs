//! A client of `reqwest-middleware` whose token is revoked. The authorization server and the API are on loopback.
//!
//! ```text
//! cargo run --package tower-bearer-reqwest --example middleware
//! ```

#![allow(unreachable_pub, reason = "a program has no public API")]

mod bearer; // the middleware

use reqwest_middleware::ClientBuilder;
use tower_bearer::grant::{ClientAuth, ClientCredentials};
use tower_bearer::{BoxError, TokenCache, testing::Issuer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (issuer, auth) = (Issuer::new(), ClientAuth::basic("client1", "client-secret"));
    let server = issuer.listen().await?;
    let source = ClientCredentials::builder(server.token_url()).client_auth(auth).build()?;
    let bearer = bearer::Bearer { cache: TokenCache::new(source), api: server.url("/").parse()? };
    let client = ClientBuilder::new(reqwest::Client::new()).with(bearer).build();
    for _ in 0..3 {
        let response = client.post(server.url("/fhir/Patient")).body("{}").send().await?.error_for_status()?;
        println!("{} from {}", response.status(), response.url());
        issuer.revoke_current();
    }
    // A stream is not sent again, but the token is renewed.
    let stream = reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>("{}")]));
    let error = client.post(server.url("/fhir/Patient")).body(stream).send().await.expect_err("its token was revoked");
    println!("{error}");
    let response = client.get(server.url("/fhir/Patient")).send().await?.error_for_status()?;
    // Another origin gets no token.
    let other = issuer.listen().await?;
    assert_eq!(client.get(other.url("/fhir/Patient")).send().await?.status(), 401);
    println!("{} after {} token requests", response.status(), issuer.counts().token_requests);
    assert_eq!(issuer.counts().token_requests, 4);
    Ok(())
}
