//! The claims of a JWT.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::scope::Scopes;

/// The claims of an access token (RFC 9068 §2.2, RFC 7519 §4.1, SMART App Launch 2.2). Each may be absent.
///
/// A claim of an unexpected type counts as absent, and the others are still read. `Debug` hides the claims that identify a
/// person.
///
/// ```
/// use tower_bearer::{AccessToken, Claims};
///
/// # let jwt = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5vcmciLCJzY29wZSI6InBhdGllbnQvKi5ycyJ9.";
/// let token = AccessToken::new(jwt)?;
/// let claims: Claims = token.claims().unwrap_or_default();
/// assert_eq!(claims.iss.as_deref(), Some("https://auth.example.org"));
/// assert!(claims.scopes.is_some_and(|scopes| scopes.contains("patient/*.rs")));
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Claims {
    /// The issuer.
    pub iss: Option<String>,
    /// The subject: whom it is about.
    pub sub: Option<String>,
    /// The audiences: whom it is for. A single one may be written without an array.
    pub aud: Vec<String>,
    /// The time from which it must not be accepted.
    pub exp: Option<SystemTime>,
    /// The time before which it must not be accepted.
    pub nbf: Option<SystemTime>,
    /// The time at which it was issued.
    pub iat: Option<SystemTime>,
    /// The unique identifier of the token.
    pub jti: Option<String>,
    /// The client that it was issued to: `client_id`, or else `azp` or `cid`, as some issuers call it.
    pub client_id: Option<String>,
    /// What it may be used for: `scope`, or else `scp`. Each may be a string or an array.
    pub scopes: Option<Scopes>,
    /// The FHIR resource that is the user (`fhirUser`).
    pub fhir_user: Option<String>,
    /// The id of the patient in context.
    pub patient: Option<String>,
}

impl Claims {
    pub(crate) fn from_members(claims: &Map<String, Value>) -> Self {
        Self {
            iss: get(claims, "iss"),
            sub: get(claims, "sub"),
            aud: get(claims, "aud").map(|one| vec![one]).or_else(|| get(claims, "aud")).unwrap_or_default(),
            exp: numeric_date(claims, "exp"),
            nbf: numeric_date(claims, "nbf"),
            iat: numeric_date(claims, "iat"),
            jti: get(claims, "jti"),
            client_id: ["client_id", "azp", "cid"].into_iter().find_map(|name| get(claims, name)),
            scopes: ["scope", "scp"].into_iter().find_map(|name| get(claims, name)),
            fhir_user: get(claims, "fhirUser"),
            patient: get(claims, "patient"),
        }
    }
}

fn get<T: DeserializeOwned>(claims: &Map<String, Value>, name: &str) -> Option<T> {
    claims.get(name).and_then(|value| T::deserialize(value).ok())
}

/// Reads a `NumericDate` (RFC 7519 §2): seconds since 1970, possibly with a fraction.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Option<SystemTime> {
    let seconds: f64 = get(claims, name)?;
    let distance = Duration::try_from_secs_f64(seconds.abs()).ok()?;
    if seconds < 0.0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

impl<'de> Deserialize<'de> for Claims {
    /// Reads a map first, so a duplicate name is not an error.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Map::deserialize(from).map(|claims| Self::from_members(&claims))
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |claim: &Option<String>| claim.as_ref().map(|_| "[redacted]");
        f.debug_struct("Claims")
            .field("iss", &self.iss)
            .field("sub", &hidden(&self.sub))
            .field("aud", &self.aud)
            .field("exp", &self.exp)
            .field("nbf", &self.nbf)
            .field("iat", &self.iat)
            .field("jti", &self.jti)
            .field("client_id", &self.client_id)
            .field("scopes", &self.scopes)
            .field("fhir_user", &hidden(&self.fhir_user))
            .field("patient", &hidden(&self.patient))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(json: Value) -> Claims {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn claims_are_read_in_each_of_their_forms() {
        assert_eq!(claims(json!({})), Claims::default());
        assert_eq!(claims(json!({ "aud": "a" })).aud, ["a"]);
        assert_eq!(claims(json!({ "aud": ["a", "b"] })).aud, ["a", "b"]);
        for scope in [json!({ "scope": "a b" }), json!({ "scope": ["b", "a"] }), json!({ "scp": ["a", "b"] })] {
            assert_eq!(claims(scope).scopes, "a b".parse().ok());
        }
        for client in
            [json!({ "client_id": "c", "azp": "x" }), json!({ "azp": "c", "cid": "x" }), json!({ "cid": "c" })]
        {
            assert_eq!(claims(client).client_id.as_deref(), Some("c"));
        }
        let smart = claims(json!({ "fhirUser": "Practitioner/1", "patient": "2", "jti": "3" }));
        assert_eq!((smart.fhir_user.as_deref(), smart.patient.as_deref()), (Some("Practitioner/1"), Some("2")));
    }

    #[test]
    fn a_numeric_date_may_have_a_fraction_and_any_sign() {
        let times = claims(json!({ "exp": 1000.5, "iat": 1000, "nbf": -1 }));
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!((times.exp, times.iat), (Some(at(1_000_500)), Some(at(1_000_000))));
        assert_eq!(times.nbf, Some(UNIX_EPOCH - Duration::from_secs(1)));
        assert_eq!(claims(json!({ "exp": 1e300, "iat": -1e300 })), Claims::default());
    }

    #[test]
    fn a_claim_of_an_unexpected_type_does_not_hide_the_others() {
        let mixed = claims(json!({
            "iss": 7, "sub": ["s"], "aud": ["a", 7], "exp": "1000", "nbf": null, "iat": {}, "jti": true,
            "scope": "a\"b", "scp": "good", "client_id": 7, "azp": "client", "fhirUser": [], "patient": "p",
        }));
        let expected = Claims {
            scopes: "good".parse().ok(),
            client_id: Some("client".into()),
            patient: Some("p".into()),
            ..Claims::default()
        };
        assert_eq!(mixed, expected);
    }

    #[test]
    fn a_duplicate_claim_is_not_an_error() {
        let claims: Claims = serde_json::from_str(r#"{"iss":"a","sub":"s","iss":"b"}"#).unwrap();
        assert_eq!((claims.iss.as_deref(), claims.sub.as_deref()), (Some("b"), Some("s")));
    }

    #[test]
    fn debug_does_not_identify_a_person() {
        let shown =
            format!("{:?}", claims(json!({ "iss": "i", "sub": "ada", "fhirUser": "Patient/ada", "patient": "ada" })));
        assert!(!shown.contains("ada") && shown.contains("\"i\""), "{shown}");
    }
}
