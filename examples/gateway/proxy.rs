//! Forwards a request and its response.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_LENGTH, header::TRANSFER_ENCODING};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use tokio::time::Instant;
use tower::BoxError;
use tower_bearer::{Error, Outcome};

use crate::{
    addresses::{Addresses, Asked},
    base::Base,
    counters::{Counters, Ending},
    download::Download,
    headers,
    identity::Identity,
    problem::Problem,
    token::Tokens,
    upload::Upload,
    upstream::{Connection, Upstream},
    users,
};

pub type Body = Either<Download, Full<Bytes>>;

/// The state that all requests share.
pub struct Proxy {
    base: Base,
    upstream: Upstream,
    pub tokens: Tokens,
    pub counters: Counters,
    addresses: Addresses,
    timeout: Duration,
    draining: AtomicBool,
}

impl Proxy {
    pub fn new(base: Base, upstream: Upstream, tokens: Tokens, addresses: Addresses, timeout: Duration) -> Self {
        let (counters, draining) = (Counters::default(), AtomicBool::new(false));
        Self { base, upstream, tokens, counters, addresses, timeout, draining }
    }

    /// Makes `/healthz` say that no more requests should be sent here.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Forgets the tokens and all failures, so that no budget and no backoff delays the next token request. Returns whether
    /// there are any.
    pub fn reset(&self) -> bool {
        let is_reset = self.tokens.reset();
        if is_reset {
            tracing::info!("an operator's reset: the token and all failures are forgotten");
        }
        is_reset
    }

    pub async fn handle(&self, request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
        let mut in_flight = self.counters.start();
        let asked = self.addresses.asked(peer, request.uri(), request.headers());
        let seen_url = self.addresses.seen_url(&asked, request.headers());
        let (start, method) = (Instant::now(), request.method().clone());
        let response = match self.forward(request, &asked).await {
            Ok(mut response) => {
                in_flight.ending = ending(response.extensions().get());
                headers::prepare_response(response.headers_mut());
                if let Some(url) = seen_url {
                    Addresses::prepare_response(response.headers_mut(), &self.base, &url);
                }
                // The version was that of the connection to the upstream.
                *response.version_mut() = http::Version::default();
                response.map(Either::Left)
            }
            Err(problem) => {
                in_flight.ending = match problem {
                    Problem::Path
                    | Problem::Tunnel
                    | Problem::Trace
                    | Problem::Tenant
                    | Problem::NoUser
                    | Problem::RefusedUser => Ending::Refused,
                    Problem::NoToken(_) => Ending::NoToken,
                    Problem::Unreachable => Ending::Unreachable,
                    Problem::Timeout => Ending::Timeout,
                    Problem::Incomplete => Ending::Gone,
                };
                problem.response().map(Either::Right)
            }
        };
        // The path is not logged, because in many APIs it names a patient.
        tracing::debug!(%method, status = response.status().as_u16(), ending = in_flight.ending.label(), took = ?start.elapsed());
        response
    }

    async fn forward(&self, request: Request<Incoming>, asked: &Asked) -> Result<Response<Download>, Problem> {
        let (mut request, original, identity) = {
            let (mut head, body) = request.into_parts();
            match head.method {
                Method::CONNECT => return Err(Problem::Tunnel),
                Method::TRACE => return Err(Problem::Trace),
                _ => {}
            }
            // Before the headers of the connection are removed: it must not name this one as its own.
            let identity = self.tokens.identify(&mut head.headers)?;
            let header = self.tokens.identity_header();
            if let Some(header) = header {
                headers::remove_announced(&mut head.headers, header);
            }
            let (upload, original) = Upload::new(body, header.cloned());
            // A new request, because extensions control the layer, and only the gateway may set them.
            let mut request = Request::new(upload);
            *request.uri_mut() = self.base.join(&head.uri).ok_or(Problem::Path)?;
            *request.method_mut() = head.method;
            *request.headers_mut() = head.headers;
            headers::prepare_request(request.headers_mut(), head.version);
            self.addresses.prepare_request(request.headers_mut(), asked);
            set_framing(&mut request);
            if let Some(identity) = identity.clone() {
                request.extensions_mut().insert(identity);
            }
            (request, original, identity)
        };
        let connection = Connection::default();
        request.extensions_mut().insert(connection.clone());
        let progress = &original.progress;
        match progress.timeout(self.timeout, self.upstream.send(request, &original)).await {
            // The gateway never asks for an upgrade.
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Err(Problem::Unreachable),
            Ok(Ok(response)) => Ok(response.map(|body| Download::new(body, self.timeout, connection))),
            Ok(Err(_)) if progress.is_incomplete() => Err(Problem::Incomplete),
            Ok(Err(error)) => Err(self.explain(&error, identity.as_ref())),
            Err(_) => {
                // The upstream is not slow if the gateway waits for the user, or for a token.
                if !progress.waits_for_user() {
                    connection.give_up_unanswered();
                }
                tracing::warn!(timeout = ?self.timeout, "the upstream did not respond in time");
                Err(Problem::Timeout)
            }
        }
    }

    fn explain(&self, error: &BoxError, identity: Option<&Identity>) -> Problem {
        let Some(error) = error.downcast_ref::<Error>() else {
            tracing::warn!(error = chain(error), "the request to the upstream failed");
            return Problem::Unreachable;
        };
        // The cache logs a warning once for each failure; this line is logged once for each request.
        tracing::debug!(%error, "no token");
        if matches!(identity, Some(Identity::User(_))) && users::is_refused(error) {
            return Problem::RefusedUser;
        }
        // The error of the failed token request does not know the time of the next one; the cache does. If the cache does
        // not back off, an early retry is fine.
        let retry_in = || self.tokens.retry_in(identity);
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

/// Says how long the body is where hyper would not.
fn set_framing(request: &mut Request<Upload>) {
    if request.headers().contains_key(CONTENT_LENGTH) {
        return;
    }
    let is_empty = request.body().is_end_stream();
    let framing = match *request.method() {
        // A body of unknown length: hyper would send the request without it.
        Method::GET | Method::HEAD if !is_empty => (TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        // Many servers answer 411 to these methods without a length (RFC 9110 §8.6).
        Method::POST | Method::PUT | Method::PATCH if is_empty => (CONTENT_LENGTH, HeaderValue::from_static("0")),
        _ => return,
    };
    request.headers_mut().insert(framing.0, framing.1);
}

/// Returns the text of an error and of its causes. Hyper's errors contain no header and no URL.
fn chain(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
