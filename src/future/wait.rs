//! A request for which there was no token.

use std::task::{Context as Task, Poll, ready};

use http::Request;
use tower_service::Service;

use crate::error::BoxError;

use crate::{
    cache::Awaited,
    context::{Shared, attach},
    extensions::RequiredScopes,
    future::{
        Renewal,
        response_future::{ResponseFuture, Retry, Sent},
    },
    replay::Replay,
    source::TokenSource,
    token::AccessToken,
};

/// Waits for the token, then for the service. Nothing is held of the service's readiness before.
pub(crate) struct Wait<S, B, T, R> {
    renewal: Renewal,
    token: Option<AccessToken>,
    service: S,
    request: Request<B>,
    required: Option<RequiredScopes>,
    context: Shared<T, R>,
}

impl<S: Service<Request<B>>, B, T: TokenSource, R: Replay<B>> Wait<S, B, T, R> {
    pub(crate) fn new(
        awaited: Awaited,
        service: S,
        request: Request<B>,
        required: Option<RequiredScopes>,
        context: Shared<T, R>,
    ) -> Self {
        let renewal = Box::pin(context.cache.clone().arrival(awaited));
        Self { renewal, token: None, service, request, required, context }
    }

    /// The token, when the service is ready as well.
    pub(super) fn poll(&mut self, task: &mut Task<'_>) -> Poll<Result<AccessToken, BoxError>>
    where
        S::Error: Into<BoxError>,
    {
        let token = match self.token.take() {
            Some(token) => token,
            None => ready!(self.renewal.as_mut().poll(task))?,
        };
        if let Poll::Ready(ready) = self.service.poll_ready(task) {
            return Poll::Ready(ready.map(|()| token).map_err(Into::into));
        }
        self.token = Some(token);
        Poll::Pending
    }

    /// The first attempt.
    pub(super) fn send<ResB>(self, token: AccessToken) -> Result<ResponseFuture<S, B, ResB, T, R>, BoxError> {
        let Self { mut service, mut request, required, context, .. } = self;
        // Becoming ready may have taken longer than the token lived.
        let token = context.cache.newest(token);
        context.check(required.as_ref(), &token)?;
        let sent = Sent { generation: token.generation(), waited: true, required };
        attach(&mut request, token.header_value());
        let (request, kept) = context.keep(request);
        let response = service.call(request);
        Ok(ResponseFuture::first(response, sent, kept.map(|kept| Retry { service, kept }), context))
    }
}
