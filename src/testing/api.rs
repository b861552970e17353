//! A small protected resource.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use super::Issuer;

/// A protected resource in process: 200 with a small FHIR bundle for an accepted token, else 401 with a challenge.
///
/// It takes requests with any body, which it does not read, on any path. Made by [`Issuer::api`].
#[derive(Clone, Debug)]
pub struct Api(Issuer);

impl Issuer {
    /// A resource server that accepts this issuer's tokens.
    #[must_use]
    pub fn api(&self) -> Api {
        Api(self.clone())
    }

    pub(super) fn resource(&self, headers: &HeaderMap) -> Response<Bytes> {
        const BUNDLE: &[u8] = br#"{"resourceType":"Bundle","type":"searchset","total":0}"#;

        let standing = self.check(headers);
        if standing.is_accepted() {
            let mut response = Response::new(Bytes::from_static(BUNDLE));
            let json = HeaderValue::from_static("application/fhir+json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        } else {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response.headers_mut().insert(WWW_AUTHENTICATE, standing.challenge());
            response
        }
    }
}

impl<B> Service<Request<B>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.0.resource(request.headers()).map(Full::new)))
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::ask::{PASSWORD, ask, bearer, json_body};

    #[tokio::test]
    async fn an_accepted_token_gets_the_bundle_and_no_token_a_challenge() {
        let issuer = Issuer::new();
        let body = json_body(ask(&issuer, "/token", PASSWORD).await).await;
        let mut request = Request::new(());
        let refused = issuer.api().oneshot(request.clone()).await.unwrap();
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()[WWW_AUTHENTICATE], r#"Bearer realm="fhir""#);

        let token = bearer(&body)[AUTHORIZATION].clone();
        request.headers_mut().insert(AUTHORIZATION, token);
        let answer = issuer.api().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(json_body(answer).await["resourceType"], "Bundle");
        assert_eq!((issuer.counts().api_accepted, issuer.counts().api_rejected), (1, 1));
    }
}
