//! The issuer as a service in process.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tower_service::Service;

use super::answer::Content;
use super::{Issuer, Outage};

/// Stands in for [`Failure::Endless`](super::Failure::Endless), whose body has to be whole here.
const LARGE: usize = 16 * 1024 * 1024;

/// The issuer as an HTTP client would see it, in process: whatever the host, the path decides. Made by [`Issuer::service`].
#[derive(Clone, Debug)]
pub struct IssuerService(Issuer);

impl Issuer {
    /// The issuer in process, to be used as the HTTP client of a token source.
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
        ResponseFuture(Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let response = issuer.answer(Request::from_parts(parts, body.to_bytes())).await?;
            Ok(response.map(|content| match content {
                Content::Whole(bytes) => Full::new(bytes),
                Content::Endless => Full::from(vec![b' '; LARGE]),
            }))
        }))
    }
}

/// The answer of an [`IssuerService`].
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Answer> + Send>>);

type Answer = Result<Response<Full<Bytes>>, Outage>;

impl Future for ResponseFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
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
    use crate::testing::Failure;
    use crate::testing::ask::{PASSWORD, ask};

    #[test]
    fn the_service_can_go_anywhere() {
        fn anywhere<T: Clone + Send + Sync + 'static>(_: &T) {}
        let issuer = Issuer::new();
        anywhere(&issuer);
        anywhere(&issuer.service());
        anywhere(&issuer.api());
    }

    #[tokio::test]
    async fn an_endless_body_is_merely_large_in_process() {
        let issuer = Issuer::new();
        issuer.fail_next(1, Failure::Endless);
        let body = ask(&issuer, "/token", PASSWORD).await.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), LARGE);
    }
}
