//! Which answers reject the token.

use std::{fmt, sync::Arc};

use http::{HeaderMap, StatusCode};

use crate::challenge::Challenge;

/// What an answer says about the token that its request carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing bad: the request got past authentication.
    Accepted,
    /// The token is no longer good: renew it, and send the request once more.
    Rejected,
    /// The token is good, but its scope is not enough (RFC 6750 §3.1).
    InsufficientScope,
    /// The user has to authenticate anew or more strongly (RFC 9470 §3).
    InsufficientUserAuthentication,
}

impl Verdict {
    /// The default rule, which a rule of one's own can build on.
    ///
    /// 1. Any status but 401: accepted.
    /// 2. A 401 with a `Bearer` challenge that says `insufficient_scope` or `insufficient_user_authentication`, and none
    ///    that says `invalid_token`: that. A new token would be like the old one.
    /// 3. Any other 401: rejected. So is one without a challenge, or with other schemes' challenges only: many servers
    ///    send them for a dead token, and a rejection that means something else costs a few renewals, while a
    ///    revocation that is not understood costs every request until the token expires.
    #[must_use]
    pub fn standard(status: StatusCode, headers: &HeaderMap) -> Self {
        if status != StatusCode::UNAUTHORIZED {
            return Self::Accepted;
        }
        let challenges = Challenge::all(headers);
        let says = |code: &str| challenges.iter().any(|c| c.is_scheme("Bearer") && c.param("error") == Some(code));
        if says("invalid_token") {
            Self::Rejected
        } else if says("insufficient_scope") {
            Self::InsufficientScope
        } else if says("insufficient_user_authentication") {
            Self::InsufficientUserAuthentication
        } else {
            Self::Rejected
        }
    }
}

/// The rule in force.
#[derive(Clone)]
pub(crate) enum Rule {
    Standard,
    Custom(Arc<Judge>),
}

pub(crate) type Judge = dyn Fn(StatusCode, &HeaderMap) -> Verdict + Send + Sync;

impl Rule {
    pub(crate) fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        match self {
            Self::Standard => Verdict::standard(status, headers),
            Self::Custom(rule) => rule(status, headers),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standard => "Standard",
            Self::Custom(_) => "Custom",
        })
    }
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    fn verdict(status: u16, challenge: &'static str) -> Verdict {
        let mut headers = HeaderMap::new();
        if !challenge.is_empty() {
            headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        }
        Verdict::standard(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn only_a_401_rejects() {
        for status in [200, 302, 400, 403, 404, 407, 419, 500, 503] {
            assert_eq!(verdict(status, r#"Bearer error="invalid_token""#), Verdict::Accepted, "{status}");
        }
    }

    #[test]
    fn a_401_rejects_with_whatever_challenge_but_an_insufficiency() {
        for challenge in [
            "",
            "Bearer",
            "bearer ERROR=invalid_token",
            "Basic realm=x",
            "DPoP",
            r#"Basic realm="Bearer error=insufficient_scope""#,
        ] {
            assert_eq!(verdict(401, challenge), Verdict::Rejected, "{challenge}");
        }
        assert_eq!(verdict(401, r#"Basic realm="a, b", BEARER error=insufficient_scope"#), Verdict::InsufficientScope);
        assert_eq!(
            verdict(401, r#"Bearer error="insufficient_user_authentication", acr_values="mfa""#),
            Verdict::InsufficientUserAuthentication
        );
        assert_eq!(verdict(401, "Bearer error=insufficient_scope, Bearer error=invalid_token"), Verdict::Rejected);
    }
}
