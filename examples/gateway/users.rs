//! A token for each user, in exchange for the user's token in a header of the request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use tower_bearer::{
    BearerAuthLayer, Error,
    grant::Subject,
    pool::{PoolStatus, UserPool},
};

use crate::{headers::take_only, identity::Identity};

/// The codes by which an authorization server refuses the user's token: RFC 8693 §2.2.2 requires `invalid_request`, RFC 7523 §3.1
/// `invalid_grant`. Some servers send that of RFC 6750 §3.1.
const REFUSALS: [&str; 3] = ["invalid_request", "invalid_grant", "invalid_token"];

#[derive(Clone)]
pub struct Users {
    pub pool: UserPool,
    pub header: HeaderName,
}

impl Users {
    pub fn new(header: HeaderName, pool: UserPool) -> Self {
        Self { pool, header }
    }

    /// Takes the user's token out of a request. Returns `None` if it is missing, given twice, or not a token.
    pub fn take(&self, headers: &mut HeaderMap) -> Option<Identity> {
        let value = take_only(headers, &self.header)?;
        token(&value, self.header == AUTHORIZATION).map(|token| Identity::User(Subject::new(token)))
    }

    pub fn layer(&self) -> BearerAuthLayer {
        BearerAuthLayer::on_behalf_of(self.pool.clone(), |head| match head.extensions().get()? {
            Identity::User(subject) => Some(subject.clone()),
            Identity::Tenant(_) => None,
        })
    }

    pub fn status(&self) -> PoolStatus {
        self.pool.identities().status()
    }

    /// Returns how long no token is requested for the user.
    pub fn retry_in(&self, subject: &Subject) -> Option<Duration> {
        self.pool.get(subject)?.status().retry_in
    }
}

/// Returns whether the user's token has expired or was refused, so that the user needs a new one.
pub fn is_refused(error: &Error) -> bool {
    error.is_subject_expired() || error.oauth_code().is_some_and(|code| REFUSALS.contains(&code))
}

/// Returns the token of a header: what follows the scheme `Bearer` (RFC 6750 §2.1), or the whole value where a scheme is not
/// required.
fn token(value: &HeaderValue, scheme_is_required: bool) -> Option<&str> {
    let value = value.to_str().ok()?.trim_matches([' ', '\t']);
    let token = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim_start_matches(' '),
        None if !scheme_is_required && !value.eq_ignore_ascii_case("Bearer") => value,
        _ => return None,
    };
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_token.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_after_the_scheme_or_alone() {
        for (value, after_scheme, alone) in [
            ("Bearer a.b", Some("a.b"), Some("a.b")),
            ("bEARER   a.b ", Some("a.b"), Some("a.b")),
            ("a.b", None, Some("a.b")),
            (" a.b\t", None, Some("a.b")),
            ("", None, None),
            ("Bearer", None, None),
            ("Bearer ", None, None),
            ("Bearer a b", None, None),
            ("Bearer a\tb", None, None),
            ("Basic YTpi", None, None),
            ("Bearera.b", None, Some("Bearera.b")),
        ] {
            let header = HeaderValue::from_static(value);
            assert_eq!((token(&header, true), token(&header, false)), (after_scheme, alone), "{value}");
        }
    }
}
