//! What a resource server needs: is this token good, and if not, how to say so.

use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderMap};

use super::Issuer;

/// What the issuer says about a request's bearer token; see [`Issuer::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Good.
    Accepted {
        /// The scope granted, space-delimited.
        scope: String,
        /// The user, or the client for a token of its own.
        subject: String,
    },
    /// No bearer token is there.
    Missing,
    /// Several `Authorization` headers, or something that is no `b64token` (RFC 6750 §2.1).
    Malformed,
    /// Its lifetime is over.
    Expired,
    /// It was revoked, or its session was.
    Revoked,
    /// Never issued here, or so long ago that it is forgotten, or signed with a key since rotated away.
    Unknown,
}

impl Standing {
    /// Whether the request may go on.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// The `WWW-Authenticate` header of the 401 (RFC 6750 §3). Without a token there is no error code (§3.1).
    #[must_use]
    pub fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Accepted { .. } | Self::Missing => r#"Bearer realm="fhir""#,
            Self::Malformed => r#"Bearer realm="fhir", error="invalid_token", error_description="malformed""#,
            Self::Expired => r#"Bearer realm="fhir", error="invalid_token", error_description="expired""#,
            Self::Revoked => r#"Bearer realm="fhir", error="invalid_token", error_description="revoked""#,
            Self::Unknown => r#"Bearer realm="fhir", error="invalid_token", error_description="unknown""#,
        })
    }
}

impl Issuer {
    /// Judges the bearer token in a request's headers, and counts it as an API request.
    #[must_use]
    pub fn check(&self, headers: &HeaderMap) -> Standing {
        let token = bearer_token(headers);
        let mut state = self.state();
        let standing = match token {
            Ok(token) => state.store.judge(token, self.clock().elapsed(), state.key.id()),
            Err(standing) => standing,
        };
        state.counts.api_requests += 1;
        if standing.is_accepted() {
            state.counts.api_accepted += 1;
        } else {
            state.counts.api_rejected += 1;
        }
        standing
    }
}

fn bearer_token(headers: &HeaderMap) -> Result<&str, Standing> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Standing::Missing)?;
    if values.next().is_some() {
        return Err(Standing::Malformed);
    }
    let value = value.to_str().map_err(|_| Standing::Malformed)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Standing::Missing);
    }
    let token = token.trim_start_matches(' ');
    if is_b64token(token) { Ok(token) } else { Err(Standing::Malformed) }
}

fn is_b64token(token: &str) -> bool {
    let unpadded = token.trim_end_matches('=');
    !unpadded.is_empty() && unpadded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_without_a_good_token_are_told_apart() {
        let issuer = Issuer::new();
        for (value, standing) in [
            ("Basic YTpi", Standing::Missing),
            ("Bearer", Standing::Malformed),
            ("Bearer ", Standing::Malformed),
            ("Bearer a b", Standing::Malformed),
            ("Bearer =", Standing::Malformed),
            ("Bearer é", Standing::Malformed),
            ("bearer abc==", Standing::Unknown),
        ] {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.clone())]);
            assert_eq!(issuer.check(&headers), standing, "{value:?}");
        }
        assert_eq!(issuer.check(&HeaderMap::new()), Standing::Missing);
        let mut two = HeaderMap::new();
        two.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        two.append(AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        assert_eq!(issuer.check(&two), Standing::Malformed);
        assert_eq!((issuer.counts().api_requests, issuer.counts().api_rejected), (9, 9));
    }

    #[test]
    fn only_a_token_that_was_there_is_called_invalid() {
        let says = |standing: Standing| standing.challenge().to_str().unwrap().contains("invalid_token");
        assert!(!says(Standing::Missing));
        assert!(says(Standing::Expired) && says(Standing::Revoked) && says(Standing::Unknown));
    }
}
