//! The life of a request.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_LENGTH, header::TRANSFER_ENCODING};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use tokio::time::Instant;
use tower::BoxError;
use tower_bearer::{Error, Outcome, TokenCache};

use crate::{
    base::Base,
    counters::{Counters, Ending},
    headers,
    problem::Problem,
    upload::Upload,
    upstream::Upstream,
};

pub type Body = Either<Incoming, Full<Bytes>>;

/// What all requests share.
pub struct Proxy {
    base: Base,
    upstream: Upstream,
    pub cache: Option<TokenCache>,
    pub counters: Counters,
    timeout: Duration,
    draining: AtomicBool,
}

impl Proxy {
    pub fn new(base: Base, upstream: Upstream, cache: Option<TokenCache>, timeout: Duration) -> Self {
        Self { base, upstream, cache, counters: Counters::default(), timeout, draining: AtomicBool::new(false) }
    }

    /// From now on no more requests should be sent here.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let mut running = self.counters.begin();
        let (began, method) = (Instant::now(), request.method().clone());
        let answer = match self.forward(request).await {
            Ok(mut answer) => {
                running.ending = ending(answer.extensions().get());
                headers::of_answer(answer.headers_mut());
                // The other connection's.
                *answer.version_mut() = http::Version::default();
                answer.map(Either::Left)
            }
            Err(problem) => {
                running.ending = match problem {
                    Problem::Path | Problem::Tunnel => Ending::Refused,
                    Problem::NoToken(_) => Ending::NoToken,
                    Problem::Unreachable => Ending::Unreachable,
                    Problem::Timeout => Ending::Timeout,
                    Problem::BrokeOff => Ending::Gone,
                };
                problem.answer().map(Either::Right)
            }
        };
        // Not the path: in many APIs it names a patient.
        tracing::debug!(%method, status = answer.status().as_u16(), ending = running.ending.label(), took = ?began.elapsed());
        answer
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Problem> {
        let (request, progress) = {
            let (head, body) = request.into_parts();
            if head.method == Method::CONNECT {
                return Err(Problem::Tunnel);
            }
            let (upload, progress) = Upload::new(body);
            // Made anew: extensions are orders to the layer, and must be ours.
            let mut request = Request::new(upload);
            *request.uri_mut() = self.base.join(&head.uri).ok_or(Problem::Path)?;
            *request.method_mut() = head.method;
            *request.headers_mut() = head.headers;
            headers::of_request(request.headers_mut(), head.version);
            frame(&mut request);
            (request, progress)
        };
        match progress.bound(self.timeout, self.upstream.send(request)).await {
            // What it switches to, it was not asked for.
            Ok(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => Err(Problem::Unreachable),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if progress.broke_off() => Err(Problem::BrokeOff),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => {
                tracing::warn!(bound = ?self.timeout, "no answer in time");
                Err(Problem::Timeout)
            }
        }
    }

    fn explain(&self, error: &BoxError) -> Problem {
        let Some(error) = error.downcast_ref::<Error>() else {
            tracing::warn!(error = chain(error), "the upstream failed");
            return Problem::Unreachable;
        };
        // Once a request; the cache has warned once a failure.
        tracing::debug!(%error, "no token");
        // The failure itself does not know when the issuer will be asked again; the cache does. Where that may be now, it is
        // soon enough.
        let retry_in = || self.cache.as_ref().and_then(|cache| cache.status().retry_in);
        let soon = error.is_transient().then_some(Duration::ZERO);
        Problem::NoToken(error.retry_in().or_else(retry_in).or(soon))
    }
}

fn ending(outcome: Option<&Outcome>) -> Ending {
    match outcome {
        None => Ending::Answered,
        Some(outcome) if outcome.retried() => Ending::Retried,
        Some(outcome) if outcome.not_retried().is_some() => Ending::NotRetried,
        Some(_) => Ending::Waited,
    }
}

/// Hyper takes a GET or HEAD without a length to have no body, unless it is told.
fn frame(request: &mut Request<Upload>) {
    let bare = matches!(*request.method(), Method::GET | Method::HEAD);
    if bare && !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// An error with its causes. Those of hyper have no header and no URL in them.
fn chain(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
