//! From an error or an answer to one line that says what to do.

use std::error::Error as StdError;

use http::{HeaderMap, StatusCode, response::Parts};
use tower::BoxError;
use tower_bearer::{Challenge, Error, NotRetried, Outcome};

use crate::{print::plain, trouble::Trouble};

/// There was no token. The crate's own text says what to do; only what it cannot know is added.
pub fn token(error: &Error) -> Trouble {
    if error.is_config() {
        return Trouble::usage(error.to_string());
    }
    let text = error.to_string();
    match error.source().map(cause) {
        Some(cause) if !text.contains(&cause) => Trouble::failed(format!("{text} ({cause})")),
        _ => Trouble::failed(text),
    }
}

/// A request came to nothing: there was no token for it, or the server could not be reached.
pub fn connection(error: &BoxError, server: &str, option: &str) -> Trouble {
    match error.downcast_ref::<Error>() {
        Some(error) => token(error),
        None => {
            Trouble::failed(format!("the {server} could not be reached: check {option} ({})", cause(error.as_ref())))
        }
    }
}

/// Whether the API answered with a success; if not, what to do about it.
pub fn answer(head: &Parts, outcome: Option<&Outcome>) -> Result<(), Trouble> {
    let status = head.status;
    let advice = match status {
        _ if status.is_success() => return Ok(()),
        StatusCode::UNAUTHORIZED => unauthorized(&head.headers, outcome)?,
        StatusCode::FORBIDDEN => format!(
            "the token is good, but this user or client may not do this: ask for the scope that it takes \
             with --scope, or ask who runs the API{}",
            wanted(&head.headers)
        ),
        StatusCode::NOT_FOUND => "there is nothing of that name: check the path in --api-url".into(),
        _ if status.is_redirection() => {
            "it sends us elsewhere, which is not followed: give that URL as --api-url".into()
        }
        _ if status.is_server_error() => "it has a problem of its own: try later".into(),
        _ => "it wants another request than a GET: check --api-url".into(),
    };
    Err(Trouble::failed(format!("the API answered {status}: {advice}")))
}

/// The layer has done what it could; its outcome says what that was.
fn unauthorized(headers: &HeaderMap, outcome: Option<&Outcome>) -> Result<String, Trouble> {
    Ok(match outcome.and_then(Outcome::not_retried) {
        Some(NotRetried::RenewalFailed { error, .. }) => return Err(token(error)),
        Some(NotRetried::InsufficientScope) => {
            format!("the token's scope is not enough: ask for more with --scope{}", wanted(headers))
        }
        Some(NotRetried::InsufficientUserAuthentication) => {
            "it wants the user to log in anew or more strongly, which no program can do".into()
        }
        Some(NotRetried::SameToken) => "it rejects the token, and the issuer gives the same one again: ask who runs the issuer".into(),
        _ => "it takes neither the token nor a fresh one: check --api-url and --scope, and that the API trusts this issuer"
            .into(),
    })
}

/// The scope that a challenge names (RFC 6750 §3).
fn wanted(headers: &HeaderMap) -> String {
    let challenges = Challenge::all(headers);
    let scope = challenges.iter().filter(|challenge| challenge.is_scheme("Bearer")).find_map(|c| c.param("scope"));
    scope.map_or_else(String::new, |scope| format!(" (it names {})", plain(scope)))
}

/// The innermost cause, which names the trouble: the others only say that there was one.
fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = plain(&innermost.to_string());
    if text.contains("certificate") {
        format!("{text}; give your own authority's certificate by --ca-file")
    } else {
        text
    }
}
