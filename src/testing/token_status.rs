//! What the issuer knows about an access token, and the challenge that a resource server sends for it.

use http::HeaderValue;

/// The status of a request's bearer token, as [`Issuer::check`](super::Issuer::check) returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenStatus {
    /// The token is valid.
    Accepted {
        /// The granted scope, space-delimited.
        scope: String,
        /// The user. For a token of the client credentials grant, the client.
        subject: String,
    },
    /// The request has no bearer token.
    Missing,
    /// There are several `Authorization` headers, or the token has a character that is not visible ASCII (RFC 6749
    /// appendix A.12).
    Malformed,
    /// The token's lifetime is over.
    Expired,
    /// The token or its session was revoked.
    Revoked,
    /// The issuer does not know the token: it never issued it, issued it too long ago to remember it, or has replaced the key
    /// that signed it.
    Unknown,
}

impl TokenStatus {
    /// Returns whether the request may continue.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// Returns the `WWW-Authenticate` header of the 401 response (RFC 6750 §3).
    ///
    /// If the request has no token, the header has no error code (RFC 6750 §3.1).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_has_an_error_code_only_if_there_was_a_token() {
        let says = |status: TokenStatus| status.challenge().to_str().unwrap().contains("invalid_token");
        assert!(!says(TokenStatus::Missing));
        assert!(says(TokenStatus::Expired) && says(TokenStatus::Revoked) && says(TokenStatus::Unknown));
    }
}
