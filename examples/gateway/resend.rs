//! Whether a request that failed may be sent once more.
//!
//! - The upstream has certainly not processed it: hyper has not written it, an HTTP/2 server refused its stream, or said with
//!   `GOAWAY` that it ends before that stream (RFC 9113 §8.7).
//! - The method is idempotent, and the connection had been used before and closed before an answer. Usually, the upstream
//!   closed it while the request was on its way (RFC 9110 §9.2.2, RFC 9112 §9.3.1).

use std::{error::Error as _, io};

use http::{Extensions, Method};
use hyper_util::client::legacy;
use tower::BoxError;

use crate::kept_connection::Used;

pub fn is_safe(error: &BoxError, method: &Method) -> bool {
    let Some(error) = error.downcast_ref::<legacy::Error>() else { return false };
    is_unprocessed(error) || method.is_idempotent() && was_used(error) && is_closed(error)
}

fn is_unprocessed(error: &legacy::Error) -> bool {
    find::<h2::Error>(error)
        .is_some_and(|h2| h2.is_remote() && (h2.is_go_away() || h2.reason() == Some(h2::Reason::REFUSED_STREAM)))
        || find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled)
}

/// Returns whether the connection had carried an answer to an earlier request.
fn was_used(error: &legacy::Error) -> bool {
    let mut extensions = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extensions);
    }
    extensions.get::<Used>().is_some_and(Used::get)
}

fn is_closed(error: &legacy::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};

    let ends = |error: &io::Error| {
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
    };
    find::<hyper::Error>(error).is_some_and(|error| error.is_incomplete_message() || error.is_closed())
        || find::<io::Error>(error).is_some_and(ends)
}

/// Returns the first error of this type among the causes.
fn find<E: std::error::Error + 'static>(error: &legacy::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
