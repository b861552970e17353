//! A policy for tower's `Retry` that sends a request again after a 401.

use std::{
    future::{Ready, ready},
    mem,
};

use http::{Request, Response, StatusCode};
use tower::retry::Policy;

#[derive(Clone, Default)]
pub(crate) struct Once {
    retried: bool,
}

impl<B: Clone, ResB, E> Policy<Request<B>, Response<ResB>, E> for Once {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<B>, answer: &mut Result<Response<ResB>, E>) -> Option<Ready<()>> {
        let rejected = answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED);
        (rejected && !mem::replace(&mut self.retried, true)).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}
