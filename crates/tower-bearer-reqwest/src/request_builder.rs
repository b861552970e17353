//! What is added to `reqwest::RequestBuilder`.

use std::{future::poll_fn, pin::pin};

use reqwest::{Request, RequestBuilder, Response};
use tower_bearer::BoxError;
use tower_service::Service;

use crate::error::Error;

/// Adds [`send_with`](Self::send_with) to [`reqwest::RequestBuilder`].
pub trait RequestBuilderExt: Sized {
    /// Sends the request through `api`, a [`BearerClient`](crate::BearerClient) or a tower stack, as
    /// [`send`](RequestBuilder::send) does without a token.
    ///
    /// The client inside `api` sends it, with that client's settings. The client that made the builder is not used.
    ///
    /// The future holds a clone of `api`, so it can be spawned. Dropping it stops the request. A renewal of the token that has begun
    /// goes on for other requests.
    ///
    /// # Errors
    /// [`Error::Token`] if there is no token, or it must not go to this URL: the request was not sent. [`Error::Request`] if reqwest
    /// could not build or send the request. [`Error::Layer`] from other layers of a stack. An answer with an error's status is not an
    /// error, also a 401 that could not be retried: its [extensions](Response::extensions) have an
    /// [`Outcome`](tower_bearer::Outcome) that says why.
    fn send_with<S>(self, api: &S) -> impl Future<Output = Result<Response, Error>> + Send + use<Self, S>
    where
        S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send> + Clone + Send;

    /// Adds something that the layers read from a request: [`SkipBearerAuth`](tower_bearer::SkipBearerAuth),
    /// [`RequiredScopes`](tower_bearer::RequiredScopes), or the tenant by which a pool chooses its token. It replaces an earlier one of
    /// the same type.
    ///
    /// ```
    /// use tower_bearer::SkipBearerAuth;
    /// use tower_bearer_reqwest::RequestBuilderExt;
    ///
    /// let client = reqwest::Client::new();
    /// let request = client.get("https://api.example.org/health").with_extension(SkipBearerAuth)?;
    /// # Ok::<(), reqwest::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error that the builder has already, such as a URL that is not valid.
    fn with_extension<T: Clone + Send + Sync + 'static>(self, value: T) -> reqwest::Result<Self>;
}

impl RequestBuilderExt for RequestBuilder {
    fn send_with<S>(self, api: &S) -> impl Future<Output = Result<Response, Error>> + Send + use<S>
    where
        S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send> + Clone + Send,
    {
        let mut api = api.clone();
        async move {
            let request = self.build()?;
            poll_fn(|task| api.poll_ready(task)).await.map_err(|error| Error::from_boxed(error.into()))?;
            pin!(api.call(request)).await.map_err(|error| Error::from_boxed(error.into()))
        }
    }

    fn with_extension<T: Clone + Send + Sync + 'static>(self, value: T) -> reqwest::Result<Self> {
        let (client, request) = self.build_split();
        let mut request = http::Request::try_from(request?)?;
        request.extensions_mut().insert(value);
        Ok(Self::from_parts(client, request.try_into()?))
    }
}
