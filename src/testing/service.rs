//! The issuer as a `tower` service in process.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tower_service::Service;

use crate::testing::failure::Outage;
use crate::testing::issuer::Issuer;
use crate::testing::response::Content;

/// The size of the body for [`Failure::Endless`](super::Failure::Endless), because bodies have an end here.
const ENDLESS_SIZE: usize = 16 * 1024 * 1024;

/// The issuer in process, returned by [`Issuer::service`].
///
/// It takes the place of an HTTP client. The path of the URL selects the endpoint, and the host is ignored.
#[derive(Clone, Debug)]
pub struct IssuerService(Issuer);

impl Issuer {
    /// Returns the issuer in process, to be used as the HTTP client of a token source.
    #[must_use]
    pub fn service(&self) -> IssuerService {
        IssuerService(self.clone())
    }
}

impl Service<Request<Full<Bytes>>> for IssuerService {
    type Response = Response<Full<Bytes>>;
    type Error = Outage;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Outage>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> ResponseFuture {
        let issuer = self.0.clone();
        ResponseFuture::new(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let response = issuer.answer(Request::from_parts(parts, body.to_bytes())).await?;
            Ok(response.map(|content| match content {
                Content::Whole(bytes) => Full::new(bytes),
                Content::Endless => Full::from(vec![b' '; ENDLESS_SIZE]),
            }))
        })
    }
}

/// The response future of an [`IssuerService`] and of an [`UpstreamService`](super::UpstreamService).
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = ServiceResult> + Send>>);

type ServiceResult = Result<Response<Full<Bytes>>, Outage>;

impl ResponseFuture {
    pub(super) fn new(future: impl Future<Output = ServiceResult> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl Future for ResponseFuture {
    type Output = ServiceResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ServiceResult> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::failure::Failure;
    use crate::testing::test_client::{PASSWORD, post_form};

    #[test]
    fn the_services_are_clone_send_sync_and_static() {
        fn assert_bounds<T: Clone + Send + Sync + 'static>(_: &T) {}
        let issuer = Issuer::new();
        assert_bounds(&issuer);
        assert_bounds(&issuer.service());
        assert_bounds(&issuer.api());
    }

    #[tokio::test]
    async fn an_endless_body_has_a_large_size_in_process() {
        let issuer = Issuer::new();
        issuer.fail_next(1, Failure::Endless);
        let body = post_form(&issuer, "/token", PASSWORD).await.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), ENDLESS_SIZE);
    }
}
