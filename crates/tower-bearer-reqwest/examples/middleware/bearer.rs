//! A middleware for the crate `reqwest-middleware`, over a `TokenCache`.

use http::{Extensions, header::AUTHORIZATION};
use reqwest::{Request, Response, Url};
use reqwest_middleware::{Error, Middleware, Next, Result};
use tower_bearer::{AccessToken, Judged, TokenCache};

pub struct Bearer {
    pub cache: TokenCache,
    pub api: Url,
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
