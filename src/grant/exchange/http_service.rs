//! The HTTP client for token requests: any service that fits.

use std::{future::poll_fn, pin::pin};

use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tower_service::Service;

use crate::error::{BoxError, Error};

/// The most that is read of a response body, in bytes.
const MAX_BODY: usize = 1 << 20;

/// An HTTP client for token requests: a `tower::Service` that takes `Request<Full<Bytes>>`, such as hyper-util's client.
///
/// It is implemented for every service that fits. It is sealed: it cannot be implemented outside this crate.
///
/// Give the client its own deadlines. Do not give it the layers that serve the API, and above all not the
/// [`BearerAuthLayer`](crate::BearerAuthLayer) that it gets tokens for.
pub trait HttpService: SendRequest {}

impl<S: SendRequest> HttpService for S {}

/// The private part of [`HttpService`].
pub trait SendRequest: Clone + Send + Sync + 'static {
    /// Returns the head of the response, and a future of its whole body, of at most [`MAX_BODY`] bytes. The head counts even if
    /// the body fails.
    fn send_request(
        &self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<(Parts, impl Future<Output = Result<Bytes, Error>> + Send), Error>> + Send;
}

impl<S, B> SendRequest for S
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn send_request(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Parts, impl Future<Output = Result<Bytes, Error>> + Send), Error> {
        let mut service = self.clone();
        poll_fn(|task| service.poll_ready(task)).await.map_err(Error::connect)?;
        let response = service.call(request).await.map_err(Error::request_failed)?;
        let (head, body) = response.into_parts();
        let body = async move {
            let body = pin!(Limited::new(body, MAX_BODY)).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    Error::unusable_response("it is larger than 1 MiB")
                } else {
                    Error::broken_off(error)
                }
            })?;
            Ok(body.to_bytes())
        };
        Ok((head, body))
    }
}
