//! A small protected resource.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use crate::testing::issuer::Issuer;

/// A protected resource in process, returned by [`Issuer::api`].
///
/// It answers an accepted token with 200 and a small FHIR bundle, and all other requests with 401 and a challenge. It
/// accepts any path and any body, and does not read the body.
#[derive(Clone, Debug)]
pub struct Api(Issuer);

impl Issuer {
    /// Returns a resource server that accepts this issuer's tokens.
    #[must_use]
    pub fn api(&self) -> Api {
        Api(self.clone())
    }

    pub(super) fn resource(&self, headers: &HeaderMap) -> Response<Bytes> {
        const BUNDLE: &[u8] = br#"{"resourceType":"Bundle","type":"searchset","total":0}"#;

        let status = self.check(headers);
        if status.is_accepted() {
            let mut response = Response::new(Bytes::from_static(BUNDLE));
            let json = HeaderValue::from_static("application/fhir+json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        } else {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response.headers_mut().insert(WWW_AUTHENTICATE, status.challenge());
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
    use crate::testing::test_client::{PASSWORD, bearer_headers, json_body, post_form};

    #[tokio::test]
    async fn an_accepted_token_gets_the_bundle_and_a_missing_token_a_challenge() {
        let issuer = Issuer::new();
        let body = json_body(post_form(&issuer, "/token", PASSWORD).await).await;
        let mut request = Request::new(());
        let refused = issuer.api().oneshot(request.clone()).await.unwrap();
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()[WWW_AUTHENTICATE], r#"Bearer realm="fhir""#);

        let token = bearer_headers(&body)[AUTHORIZATION].clone();
        request.headers_mut().insert(AUTHORIZATION, token);
        let answer = issuer.api().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(json_body(answer).await["resourceType"], "Bundle");
        assert_eq!((issuer.counts().api_accepted, issuer.counts().api_rejected), (1, 1));
    }
}
