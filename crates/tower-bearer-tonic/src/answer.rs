//! What happened to a call, in the status of a failed one. tonic keeps the extensions of a response only if the call succeeds.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tower_bearer::{BoxError, NotRetried, Outcome};

use crate::status::find;

/// Returns what happened to a failed call: whether it waited for a token, and was retried or why not. It is `None` for a call that
/// was answered at once by a server that accepted its token.
///
/// For a call that succeeds, it is in the extensions of its [`Response`](tonic::Response).
///
/// ```
/// # fn example(status: &tonic::Status) {
/// match tower_bearer_tonic::outcome(status) {
///     None => {} // an error of the server, or of the connection
///     Some(outcome) => eprintln!("retried: {}; why not: {:?}", outcome.retried(), outcome.not_retried()),
/// }
/// # }
/// ```
#[must_use]
pub fn outcome(status: &Status) -> Option<&Outcome> {
    find::<Happened>(status).map(|Happened(outcome)| outcome)
}

/// Turns a failed answer into its status, and adds what happened.
pub(crate) fn explain<B>(answer: Response<B>) -> Result<Response<Body>, Status>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let Some(outcome) = answer.extensions().get::<Outcome>().cloned() else {
        return Ok(answer.map(Body::new));
    };
    if let Some(status) = failure(answer.headers()).or_else(|| not_grpc(&answer)) {
        return Err(explained(status, outcome));
    }
    Ok(answer.map(|body| Body::new(AnswerBody { body: Body::new(body), outcome: Some(outcome) })))
}

/// Returns the status of a call that failed, from its headers or its trailers.
fn failure(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)
}

/// Returns the status of an answer that does not come from a gRPC server:
/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>.
fn not_grpc<B>(answer: &Response<B>) -> Option<Status> {
    let http = answer.status();
    let code = match http {
        StatusCode::OK => return None,
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    (!answer.headers().contains_key(Status::GRPC_STATUS))
        .then(|| Status::new(code, format!("the answer has the HTTP status {http} and is not from a gRPC server")))
}

fn explained(mut status: Status, outcome: Outcome) -> Status {
    status.set_source(Arc::new(Happened(outcome)));
    status
}

/// An answer that may still fail, in its trailers. A caller that has got a message has its extensions as well.
struct AnswerBody {
    body: Body,
    outcome: Option<Outcome>,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(task));
        if let Some(Ok(frame)) = &polled
            && let Some(outcome) = self.outcome.take()
            && let Some(status) = frame.trailers_ref().and_then(failure)
        {
            return Poll::Ready(Some(Err(explained(status, outcome))));
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The source of the status of a failed call.
#[derive(Debug)]
struct Happened(Outcome);

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.not_retried() {
            Some(NotRetried::RenewalFailed { error, .. }) => {
                write!(f, "the token was rejected, and not renewed: {error}")
            }
            Some(why) => write!(f, "the call was not sent again: {why:?}"),
            None if self.0.retried() => f.write_str("the call was sent again with a new token"),
            None => f.write_str("the call waited for its token"),
        }
    }
}

impl StdError for Happened {}
