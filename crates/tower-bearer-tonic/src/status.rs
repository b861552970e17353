//! Token failures as statuses.

use std::{error::Error as StdError, sync::Arc};

use tonic::{Code, Status, metadata::MetadataValue};
use tower_bearer::{BoxError, Error};

/// How long to wait before another attempt, in milliseconds (gRFC A6).
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Returns the status of a call that has no token. [`GrpcBearerLayer`](crate::GrpcBearerLayer) does this for each call.
///
/// | code | when |
/// |---|---|
/// | `Unavailable` | the issuer is down, slow or busy ([`Error::is_transient`]). [`Error::retry_in`] is in the metadata, as `grpc-retry-pushback-ms` |
/// | `Unauthenticated` | the issuer refused the credentials, a setting is wrong, the call would go over plain http, or it has no identity |
/// | `PermissionDenied` | the token lacks a scope that the call [declares](tower_bearer::RequiredScopes) |
/// | `Internal` | the program is at fault: a panic of a custom source, a source that waits for itself, no Tokio runtime |
///
/// These are codes that a gRPC library may return; gRFC A54 reserves the others for servers. The message is that of the error.
///
/// ```
/// let error = tower_bearer::Error::transient("the vault is sealed");
/// let status = tower_bearer_tonic::to_status(&error);
/// assert_eq!(status.code(), tonic::Code::Unavailable);
/// assert!(tower_bearer_tonic::token_error(&status).is_some());
/// ```
#[must_use]
pub fn to_status(error: &Error) -> Status {
    let mut status = Status::new(code(error), error.to_string());
    if status.code() == Code::Unavailable
        && let Some(wait) = error.retry_in()
    {
        // A client takes a number that is too great for this type as "never".
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        status.metadata_mut().insert(RETRY_PUSHBACK, MetadataValue::from(wait));
    }
    status.set_source(Arc::new(error.clone()));
    status
}

/// Returns why there was no token, if the call failed because of that. It was then not sent.
///
/// ```
/// # fn example(status: &tonic::Status) {
/// if let Some(error) = tower_bearer_tonic::token_error(status)
///     && error.is_terminal()
/// {
///     eprintln!("a person must correct something: {error}");
/// }
/// # }
/// ```
#[must_use]
pub fn token_error(status: &Status) -> Option<&Error> {
    find(status)
}

/// Returns the status of a call that the layer or the service below it did not send, or that failed on its way.
pub(crate) fn of_failure(error: BoxError) -> Status {
    match error.downcast::<Error>() {
        Ok(error) => to_status(&error),
        Err(error) => Status::from_error(error),
    }
}

/// Returns the first `E` of the errors that caused `status`.
pub(crate) fn find<E: StdError + 'static>(status: &Status) -> Option<&E> {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn code(error: &Error) -> Code {
    if error.is_panic() || error.is_recursion() || error.is_no_runtime() {
        Code::Internal
    } else if error.missing_scope().is_some() {
        Code::PermissionDenied
    } else if error.is_transient() {
        Code::Unavailable
    } else {
        Code::Unauthenticated
    }
}
