//! What an API says that is missing, when the token itself is good.

use std::time::Duration;

use http::HeaderMap;

use crate::{
    challenge::{Challenge, INSUFFICIENT_SCOPE, INSUFFICIENT_USER_AUTHENTICATION},
    scope::Scopes,
};

/// Which scope a request needs (RFC 6750 §3.1), beside what its token was granted.
///
/// Stands in the extensions of a response, 401 or 403, whose `Bearer` challenge says `insufficient_scope`; of any 403 to a
/// request with [`RequiredScopes`]; by a rule of one's own, of any that it gives that [`Verdict`](crate::Verdict). The
/// first and the second attempt are alike in this.
///
/// ```
/// use tower_bearer::InsufficientScope;
///
/// fn advice<B>(response: &http::Response<B>) -> Option<String> {
///     let insufficient = response.extensions().get::<InsufficientScope>()?;
///     Some(format!("ask for {} as well", insufficient.missing()?))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsufficientScope {
    required: Option<String>,
    granted: Option<Scopes>,
}

impl InsufficientScope {
    pub(crate) fn read(headers: &HeaderMap, declared: Option<&Scopes>, granted: Option<Scopes>) -> Self {
        let declared = || declared.map(Scopes::to_string);
        Self { required: param(headers, INSUFFICIENT_SCOPE, "scope").or_else(declared), granted }
    }

    /// The scope that the API asks for, space-delimited, if it says so (RFC 6750 §3); else the one that the request declared.
    #[must_use]
    pub fn required(&self) -> Option<&str> {
        self.required.as_deref()
    }

    /// The scopes of the token that was sent, if they are known and the token was not replaced since; see
    /// [`AccessToken::scopes`](crate::AccessToken::scopes).
    #[must_use]
    pub fn granted(&self) -> Option<&Scopes> {
        self.granted.as_ref()
    }

    /// What is required and was not granted, if both are known. Empty where the token has it all, and it is the user or the
    /// client who may not.
    #[must_use]
    pub fn missing(&self) -> Option<Scopes> {
        let required: Scopes = self.required.as_ref()?.parse().ok()?;
        Some(required.missing_from(self.granted.as_ref()?))
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
        let seconds = param(headers, INSUFFICIENT_USER_AUTHENTICATION, "max_age");
        Self {
            acr_values: param(headers, INSUFFICIENT_USER_AUTHENTICATION, "acr_values"),
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
        InsufficientScope::read(&headers(lines), None, None).required
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
