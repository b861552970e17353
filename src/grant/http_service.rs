//! The HTTP client for token requests: any that fits.

use std::future::poll_fn;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tower_service::Service;

use crate::error::BoxError;

use crate::error::Error;

/// The most that is read of an answer.
const LARGEST_ANSWER: usize = 1 << 20;

/// Any HTTP client for token requests: a `tower::Service` from `Request<Full<Bytes>>`, such as hyper-util's client.
///
/// Implemented for all that fit. Give it its own deadlines, and none of the layers that serve the API: above all not the
/// [`BearerAuthLayer`](crate::BearerAuthLayer) that it gets tokens for.
pub trait HttpService: Clone + Send + Sync + 'static {
    #[doc(hidden)]
    fn send(&self, request: Request<Full<Bytes>>) -> impl Future<Output = Result<Response<Answer>, Error>> + Send;
}

/// A whole answer, within its bounds.
#[doc(hidden)]
#[derive(Debug)]
pub struct Answer(pub(crate) Bytes);

impl<S, B> HttpService for S
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Answer>, Error> {
        let mut service = self.clone();
        poll_fn(|task| service.poll_ready(task)).await.map_err(Error::connect)?;
        let response = service.call(request).await.map_err(Error::connect)?;
        let (head, body) = response.into_parts();
        let whole = std::pin::pin!(Limited::new(body, LARGEST_ANSWER)).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Error::not_a_token("it is larger than 1 MiB")
            } else {
                Error::broken_off(error)
            }
        })?;
        Ok(Response::from_parts(head, Answer(whole.to_bytes())))
    }
}
