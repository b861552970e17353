//! A middleware for the crate `reqwest-middleware`, over a `TokenCache`. The authorization server and the API are on loopback.
//!
//! ```text
//! cargo run --package tower-bearer-reqwest --example middleware
//! ```

use http::{Extensions, header::AUTHORIZATION};
use reqwest::{Request, Response, Url};
use reqwest_middleware::{ClientBuilder, Error, Middleware, Next, Result};
use tower_bearer::{
    AccessToken, BoxError, Judged, TokenCache,
    grant::{ClientAuth, ClientCredentials},
    testing::Issuer,
};

struct Bearer {
    cache: TokenCache,
    api: Url,
}

#[async_trait::async_trait]
impl Middleware for Bearer {
    async fn handle(&self, request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        if request.url().origin() != self.api.origin() {
            return next.run(request, extensions).await; // without a token
        }
        let mut request = Some(request);
        let send = |token: AccessToken| {
            // A stream cannot be cloned. It is sent once.
            let attempt = request.as_ref().and_then(Request::try_clone).or_else(|| request.take());
            let (next, mut extensions) = (next.clone(), extensions.clone());
            async move {
                let mut attempt = attempt.ok_or_else(|| {
                    Error::middleware(std::io::Error::other("the token was rejected, and a stream is not sent again"))
                })?;
                attempt.headers_mut().insert(AUTHORIZATION, token.header_value());
                next.run(attempt, &mut extensions).await
            }
        };
        let judge = |response: &Response| Judged::head(response.status(), response.headers());
        self.cache.call(send, judge).await.map_err(Error::middleware)?
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), BoxError> {
    let issuer = Issuer::builder().client("my-client", "my-secret").build();
    let server = issuer.listen().await?;
    let source = ClientCredentials::builder(server.token_url())
        .client_auth(ClientAuth::basic("my-client", "my-secret"))
        .build()?;
    let bearer = Bearer { cache: TokenCache::new(source), api: server.url("/").parse()? };
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
