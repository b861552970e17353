//! What an API says is missing, when it accepts the token itself.

use std::time::Duration;

use http::HeaderMap;

use crate::{
    challenge::{Challenge, INSUFFICIENT_SCOPE, INSUFFICIENT_USER_AUTHENTICATION},
    scope::Scopes,
};

/// The scope that a request needs (RFC 6750 §3.1), and the scopes that its token was granted.
///
/// It is in the extensions of a response with status 401 or 403 whose `Bearer` challenge says `insufficient_scope`, and of any
/// 403 to a request with [`RequiredScopes`](crate::RequiredScopes). It is also in those of a response that rejects the token, if
/// its `Bearer` challenge names a scope that the token is known to lack, and does not say `invalid_token`. With a custom rule, it
/// is in the extensions of each response to which the rule gives that [`Verdict`](crate::Verdict). The answers to first and
/// second attempts are treated alike.
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

    /// Returns the scope that the API asks for, space-delimited (RFC 6750 §3), or else the one that the request declared.
    #[must_use]
    pub fn required(&self) -> Option<&str> {
        self.required.as_deref()
    }

    /// Returns the scopes of the token that was sent, if they are known and the token was not replaced since; see
    /// [`AccessToken::scopes`](crate::AccessToken::scopes).
    #[must_use]
    pub fn granted(&self) -> Option<&Scopes> {
        self.granted.as_ref()
    }

    /// Returns the scopes that are required and were not granted, if both are known. It is empty if the token has every
    /// scope, but the user or the client lacks the permission.
    #[must_use]
    pub fn missing(&self) -> Option<Scopes> {
        let required: Scopes = self.required.as_ref()?.parse().ok()?;
        Some(required.missing_from(self.granted.as_ref()?))
    }
}

/// How the user has to authenticate for a request (RFC 9470 §3). A client without a user cannot do that.
///
/// It is in the extensions of a response with status 401 or 403 whose `Bearer` challenge says
/// `insufficient_user_authentication`. With a custom rule, it is in the extensions of each response to which the rule gives that
/// [`Verdict`](crate::Verdict).
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
            // Only digits: `parse` would accept a plus sign.
            max_age: seconds
                .filter(|seconds| seconds.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
        }
    }

    /// Returns the authentication context classes that the API accepts, the most preferred first. One of them is
    /// enough.
    pub fn acr_values(&self) -> impl Iterator<Item = &str> {
        self.acr_values.as_deref().unwrap_or_default().split_ascii_whitespace()
    }

    /// Returns the longest time that may have passed since the user authenticated.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }
}

/// Returns a parameter of the first `Bearer` challenge with this error code, unless it is empty.
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
