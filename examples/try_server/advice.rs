//! Turns an error or a response into one line that says what to do.

use http::{HeaderMap, StatusCode, response::Parts};
use tower::BoxError;
use tower_bearer::{Challenge, Error, NotRetried, Outcome};

use crate::cli::{CliError, cause, printable};

/// Explains why a request got no response: there was no token for it, or the API could not be reached.
pub fn connection(error: BoxError) -> CliError {
    match error.downcast::<Error>() {
        Ok(error) => CliError::from(*error),
        Err(error) => {
            CliError::failed(format!("the API could not be reached: check --api-url ({})", cause(error.as_ref())))
        }
    }
}

/// Returns an error with advice, unless the API's response is a success.
pub fn response(head: &Parts, outcome: Option<&Outcome>) -> Result<(), CliError> {
    let status = head.status;
    let advice = match status {
        _ if status.is_success() => return Ok(()),
        StatusCode::UNAUTHORIZED => unauthorized(&head.headers, outcome)?,
        StatusCode::FORBIDDEN => format!(
            "the token is valid, but it does not permit this request: request the necessary scope with --scope, or ask the \
             operator of the API{}",
            required_scope(&head.headers)
        ),
        StatusCode::NOT_FOUND => "there is nothing at this URL: check the path in --api-url".into(),
        _ if status.is_redirection() => "this is a redirect, which is not followed: use its target as --api-url".into(),
        _ if status.is_server_error() => "the API has a problem: try again later".into(),
        _ => "the API does not accept this GET request: check --api-url".into(),
    };
    Err(CliError::failed(format!("the API answered {status}: {advice}")))
}

/// The layer did what it could. The outcome says why that did not help.
fn unauthorized(headers: &HeaderMap, outcome: Option<&Outcome>) -> Result<String, CliError> {
    Ok(match outcome.and_then(Outcome::not_retried) {
        Some(NotRetried::RenewalFailed { error, .. }) => return Err(error.clone().into()),
        Some(NotRetried::InsufficientScope) => {
            format!("the token's scope is not sufficient: request more with --scope{}", required_scope(headers))
        }
        Some(NotRetried::InsufficientUserAuthentication) => {
            "the API requires a new or stronger login of the user, which a program cannot do".into()
        }
        Some(NotRetried::SameToken) => {
            "the API rejects the token, and the authorization server returns the same token \
             again: ask the operator of the authorization server"
                .into()
        }
        _ => {
            "the API rejects the token, and also a new one: check --api-url and --scope, and that the API trusts this \
             authorization server"
                .into()
        }
    })
}

/// Returns the scope that the challenge names (RFC 6750 §3).
fn required_scope(headers: &HeaderMap) -> String {
    let challenges = Challenge::all(headers);
    let scope = challenges.iter().filter(|challenge| challenge.is_scheme("Bearer")).find_map(|c| c.param("scope"));
    scope.map_or_else(String::new, |scope| format!(" (the API names {})", printable(scope)))
}
