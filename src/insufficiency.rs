//! What an API says that is missing, when the token itself is good.

use std::time::Duration;

use http::HeaderMap;

use crate::challenge::Challenge;

pub(crate) const SCOPE: &str = "insufficient_scope";
pub(crate) const AUTHENTICATION: &str = "insufficient_user_authentication";

/// Which scope a request needs (RFC 6750 §3.1).
///
/// Stands in the extensions of a response, 401 or 403, whose `Bearer` challenge says `insufficient_scope`; by a rule of
/// one's own, of any that it gives that [`Verdict`](crate::Verdict). The first and the second attempt are alike in this.
///
/// ```
/// use tower_bearer::InsufficientScope;
///
/// fn advice<B>(response: &http::Response<B>) -> Option<String> {
///     let missing = response.extensions().get::<InsufficientScope>()?;
///     Some(format!("ask for {}, not only {}", missing.required()?, missing.granted().unwrap_or("the default")))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsufficientScope {
    required: Option<String>,
    granted: Option<Box<str>>,
}

impl InsufficientScope {
    pub(crate) fn read(headers: &HeaderMap, granted: Option<Box<str>>) -> Self {
        Self { required: param(headers, SCOPE, "scope"), granted }
    }

    /// The scope that the API asks for, space-delimited, if it says so (RFC 6750 §3).
    #[must_use]
    pub fn required(&self) -> Option<&str> {
        self.required.as_deref()
    }

    /// The scope of the token that was sent, if its issuer told it and the token was not replaced since; see
    /// [`AccessToken::scope`](crate::AccessToken::scope).
    #[must_use]
    pub fn granted(&self) -> Option<&str> {
        self.granted.as_deref()
    }
}

/// How the user has to authenticate for a request (RFC 9470 §3), which no unattended client can do.
///
/// Stands in the extensions of a response, 401 or 403, whose `Bearer` challenge says `insufficient_user_authentication`; by
/// a rule of one's own, of any that it gives that [`Verdict`](crate::Verdict).
///
/// ```
/// use tower_bearer::InsufficientUserAuthentication;
///
/// fn step_up<B>(response: &http::Response<B>) -> Option<String> {
///     let asked = response.extensions().get::<InsufficientUserAuthentication>()?;
///     Some(format!("log in by {:?}, at most {:?} ago", asked.acr_values().collect::<Vec<_>>(), asked.max_age()))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsufficientUserAuthentication {
    acr_values: Option<String>,
    max_age: Option<Duration>,
}

impl InsufficientUserAuthentication {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let seconds = param(headers, AUTHENTICATION, "max_age");
        Self {
            acr_values: param(headers, AUTHENTICATION, "acr_values"),
            // A sign is no digit, though `parse` takes a plus.
            max_age: seconds
                .filter(|seconds| seconds.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
        }
    }

    /// The authentication context classes of which the API wants one, the most preferred first.
    pub fn acr_values(&self) -> impl Iterator<Item = &str> {
        self.acr_values.as_deref().unwrap_or_default().split_ascii_whitespace()
    }

    /// How long ago the user may have authenticated at most.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }
}

/// A parameter of the first `Bearer` challenge with this error code; not an empty one.
fn param(headers: &HeaderMap, code: &str, name: &str) -> Option<String> {
    let challenges = Challenge::all(headers);
    let saying = challenges.iter().find(|challenge| challenge.is_bearer_error(code))?;
    saying.param(name).map(|value| value.trim_ascii().to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::WWW_AUTHENTICATE};

    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (WWW_AUTHENTICATE, HeaderValue::from_static(line))).collect()
    }

    fn required(lines: &[&'static str]) -> Option<String> {
        InsufficientScope::read(&headers(lines), None).required
    }

    fn authentication(line: &'static str) -> (Vec<String>, Option<Duration>) {
        let asked = InsufficientUserAuthentication::read(&headers(&[line]));
        (asked.acr_values().map(str::to_owned).collect(), asked.max_age())
    }

    #[test]
    fn the_scope_is_that_of_the_bearer_challenge_that_asks_for_it() {
        for lines in [
            &[r#"Bearer error="insufficient_scope", scope="a b""#][..],
            &[r#"Basic realm="scope", BEARER Scope="a b",  ERROR=insufficient_scope"#],
            &[r#"Bearer realm="x", scope="other""#, r#"bearer error=insufficient_scope,scope="a b""#],
            &[r#"DPoP error="insufficient_scope", scope="other", Bearer error=insufficient_scope, scope=" a b ""#],
            &[r#"Bearer error=insufficient_scope, scope="a b", Bearer error=insufficient_scope, scope="c""#],
        ] {
            assert_eq!(required(lines).as_deref(), Some("a b"), "{lines:?}");
        }
        for lines in [
            &[][..],
            &["Bearer error=insufficient_scope"],
            &[r#"Bearer error=insufficient_scope, scope="""#],
            &[r#"DPoP error=insufficient_scope, scope="a b""#],
            &[r#"Bearer error=invalid_token, scope="a b""#],
            &[r#"Bearer error="INSUFFICIENT_SCOPE", scope="a b""#],
        ] {
            assert_eq!(required(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn the_example_of_rfc_9470() {
        let line = r#"Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="myACR""#;
        assert_eq!(authentication(line), (vec!["myACR".into()], None));
        let line = r#"Bearer error="insufficient_user_authentication", error_description="More recent authentication is required", max_age="5""#;
        assert_eq!(authentication(line), (vec![], Some(Duration::from_secs(5))));
    }

    #[test]
    fn acr_values_are_a_list_and_max_age_is_a_number_or_nothing() {
        let both = r#"Bearer error=insufficient_user_authentication, acr_values="urn:a  urn:b", max_age=0"#;
        assert_eq!(authentication(both), (vec!["urn:a".into(), "urn:b".into()], Some(Duration::ZERO)));
        for line in [
            r#"Bearer error=insufficient_user_authentication, max_age="-1""#,
            r#"Bearer error=insufficient_user_authentication, max_age="+1""#,
            r#"Bearer error=insufficient_user_authentication, max_age="1.5""#,
            r#"Bearer error=insufficient_user_authentication, max_age="""#,
            "Bearer error=insufficient_user_authentication, max_age=99999999999999999999",
            "Bearer error=insufficient_user_authentication, acr_values=\"  \"",
        ] {
            assert_eq!(authentication(line), (vec![], None), "{line}");
        }
    }
}
