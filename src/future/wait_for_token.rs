//! A request for which there was no token.

use std::{
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use http::Request;
use tower_service::Service;

use crate::{
    admission::check_scopes,
    cache::{PendingRenewal, Renewal},
    error::BoxError,
    extensions::RequiredScopes,
    future::attempt::{Attempt, Retry, Sent, attach, save},
    layer_config::RequestContext,
    replay::Replay,
    token::AccessToken,
};

/// The response to a first attempt, and what was sent.
type First<S, B, R> = (<S as Service<Request<B>>>::Future, Sent<S, <R as Replay<B>>::Kept, R>);

/// Waits for the token, and then for the service. Until the token is there, it holds nothing of the service's readiness.
pub(crate) struct WaitForToken<S, B, R> {
    renewal: Renewal,
    token: Option<AccessToken>,
    service: S,
    request: Request<B>,
    required: Option<RequiredScopes>,
    context: RequestContext<R>,
}

impl<S: Service<Request<B>>, B, R: Replay<B>> WaitForToken<S, B, R> {
    pub(crate) fn new(
        pending: PendingRenewal,
        service: S,
        request: Request<B>,
        required: Option<RequiredScopes>,
        context: RequestContext<R>,
    ) -> Self {
        let renewal = Box::pin(Arc::clone(context.core()).wait(pending));
        Self { renewal, token: None, service, request, required, context }
    }

    /// Returns the token once the service is ready as well.
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

    /// Sends the first attempt.
    pub(super) fn send(self, token: AccessToken) -> Result<First<S, B, R>, BoxError> {
        let Self { mut service, mut request, required, context, .. } = self;
        // The token may have expired while the service became ready.
        let token = context.core().newest(token);
        check_scopes(&context, required.as_ref(), &token)?;
        attach(&mut request, context.own_header.as_ref(), &token, || token.header_value())?;
        let attempt = Attempt { generation: token.generation(), waited: true, required };
        let (request, saved) = save(&context, request);
        let response = service.call(request);
        let retry = saved.map(|(head, body)| Retry { service, head, body });
        Ok((response, Sent { attempt, retry, context }))
    }
}
