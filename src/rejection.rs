//! Answers that reject the token on servers that do not use the status 401 for it.

use http::{HeaderMap, HeaderValue, StatusCode, header::LOCATION};

use crate::challenge::{Challenge, INVALID_TOKEN};

/// A kind of answer by which some servers say that a token is not valid, for
/// [`reject_on`](crate::BearerAuthLayer::reject_on).
///
/// Most of these answers have other causes too, such as a missing permission. Then the request is sent a second time in vain,
/// and the [`RejectionBudget`](crate::cache::RejectionBudget) limits how many renewals that causes. [Which server needs which
/// rule](crate::servers) is listed by name.
///
/// ```
/// use http::StatusCode;
/// use tower_bearer::{BearerAuthLayer, FixedToken, Rejection};
///
/// let layer = BearerAuthLayer::new(FixedToken::new("t")?)
///     .reject_on(Rejection::status(StatusCode::FORBIDDEN))
///     .reject_on(Rejection::redirect_to("/login"));
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection(Sign);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sign {
    Status(StatusCode),
    InvalidToken,
    RedirectTo(Box<str>),
}

impl Rejection {
    /// Returns the rule that each answer with this status rejects the token, unless its challenge says that the scope or the
    /// authentication of the user is not sufficient.
    ///
    /// After a server error (5xx), the token is renewed, but only a request with an idempotent method is sent again, because
    /// the server may have carried it out (RFC 9110 §9.2.2).
    #[must_use]
    pub const fn status(status: StatusCode) -> Self {
        Self(Sign::Status(status))
    }

    /// Returns the rule that a `Bearer` challenge with `error="invalid_token"` (RFC 6750 §3.1) rejects the token, whatever the
    /// status. A missing permission is not mistaken for it.
    #[must_use]
    pub const fn invalid_token() -> Self {
        Self(Sign::InvalidToken)
    }

    /// Returns the rule that a redirect to this path rejects the token: the server asks a person to log in.
    ///
    /// `path` is the end of the path in `Location`, in whole segments: `/login` is also the end of `/hub/login?next=%2F`. The
    /// host and the query are ignored. A layer that follows redirects must be above this one.
    #[must_use]
    pub fn redirect_to(path: impl AsRef<str>) -> Self {
        Self(Sign::RedirectTo(path.as_ref().trim_matches('/').into()))
    }

    pub(crate) fn is_in(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        match &self.0 {
            Sign::Status(rejecting) => status == *rejecting,
            Sign::InvalidToken => Challenge::all(headers).iter().any(|it| it.is_bearer_error(INVALID_TOKEN)),
            Sign::RedirectTo(end) => {
                status.is_redirection() && redirect_path(headers).is_some_and(|path| is_end(end, path))
            }
        }
    }
}

/// Returns the path of `Location` (RFC 9110 §10.2.2).
fn redirect_path(headers: &HeaderMap) -> Option<&str> {
    let location = headers.get(LOCATION).map(HeaderValue::to_str)?.ok()?;
    let location = location.split(['?', '#']).next()?;
    Some(match location.split_once("//") {
        Some((scheme, place)) if scheme.is_empty() || scheme.ends_with(':') => {
            place.find('/').map_or("", |start| &place[start..])
        }
        _ => location,
    })
}

/// Returns whether `path` ends with these segments.
fn is_end(segments: &str, path: &str) -> bool {
    let path = path.trim_matches('/');
    path == segments || path.strip_suffix(segments).is_some_and(|before| before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    fn redirects(rule: &str, status: u16, location: &'static str) -> bool {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
        Rejection::redirect_to(rule).is_in(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn a_login_page_is_known_by_the_end_of_its_path() {
        for location in [
            "/login",
            "/login/",
            "login?next=%2Ffiles",
            "/hub/login?next=%2F",
            "https://sso.example.org/login#top",
            "//sso.example.org/a/login",
        ] {
            assert!(redirects("/login", 302, location) && redirects("login", 307, location), "{location}");
            assert!(!redirects("/login", 200, location) && !redirects("/", 302, location), "{location}");
        }
        for location in ["/", "", "/blogin", "/login/2", "/files?next=/login", "https://login", "/a//login.html"] {
            assert!(!redirects("/login", 302, location), "{location}");
        }
        assert!(redirects("/accounts/login/", 303, "/site/accounts/login/?next=/"));
        assert!(redirects("/", 302, "https://example.org") && redirects("/", 302, "/?login"));
    }

    #[test]
    fn invalid_token_is_said_by_a_bearer_challenge() {
        let says = |challenge| {
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))]);
            Rejection::invalid_token().is_in(StatusCode::FORBIDDEN, &headers)
        };
        assert!(says(r#"Bearer realm="x", error="invalid_token""#) && says("Basic, bearer error=invalid_token"));
        assert!(!says("Bearer") && !says("DPoP error=invalid_token") && !says("Bearer error=insufficient_scope"));
    }
}
