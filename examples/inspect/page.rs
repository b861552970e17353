//! The text about a token. The token itself is never in it; its signature only on request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tower_bearer::{AccessToken, Claims, Lifetime, scope};

use crate::{
    cli::{CliError, printable},
    times,
};

/// Sections of lines.
#[derive(Default)]
pub struct Page(Vec<Section>);

struct Section {
    title: &'static str,
    lines: Vec<(String, String)>,
}

type Object = Map<String, Value>;

/// Collects everything about the token that can be read without a key.
pub fn page(token: &AccessToken, now: SystemTime, show_signature: bool) -> Result<Page, CliError> {
    let mut page = Page::default();
    let parts: Vec<_> = token.secret().split('.').collect();
    match (parts.as_slice(), object(parts[0])) {
        ([_, payload, signature], Some(header)) => {
            let claims = object(payload)
                .ok_or_else(|| CliError::failed("the claims of this JWT cannot be read: copy all of it"))?;
            page.section("Header", members(&header, now));
            page.section("Claims", members(&claims, now));
            page.scopes(token);
            page.lifetime(token, now);
            page.section("Signature", [(String::new(), signature_line(&header, signature, show_signature))]);
        }
        ([_, _, _, _, _], Some(header)) => {
            page.section("Header", members(&header, now));
            page.note("The token is encrypted (JWE): only its API can read the rest.");
            page.scopes(token);
            page.lifetime(token, now);
        }
        _ if token.secret().starts_with("eyJ") => {
            return Err(CliError::failed("this starts like a JWT but is not valid: copy all of it"));
        }
        _ => {
            let length = token.secret().len();
            page.note(&format!("The token is opaque, {length} characters long: only its issuer can read it."));
            page.scopes(token);
            page.lifetime(token, now);
        }
    }
    Ok(page)
}

/// Decodes a part of a JWT (RFC 7515 §3.1).
fn object(part: &str) -> Option<Object> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Lists the members: the well-known ones first, the most interesting at the top.
fn members(object: &Object, now: SystemTime) -> Vec<(String, String)> {
    const FIRST: [&str; 13] =
        ["alg", "typ", "kid", "iss", "sub", "aud", "client_id", "fhirUser", "patient", "iat", "nbf", "exp", "jti"];
    let first = FIRST.iter().filter_map(|name| object.get_key_value(*name));
    let rest = object.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    first.chain(rest).map(|(name, value)| (printable(name), printable(&shown(name, value, now)))).collect()
}

fn shown(name: &str, value: &Value, now: SystemTime) -> String {
    let date = match (name, value) {
        ("iat" | "nbf" | "exp" | "auth_time", Value::Number(seconds)) => seconds
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .and_then(|since| times::with_distance(UNIX_EPOCH.checked_add(since)?, now)),
        _ => None,
    };
    date.unwrap_or_else(|| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn signature_line(header: &Object, signature: &str, show: bool) -> String {
    let unsigned = header.get("alg").and_then(Value::as_str).is_some_and(|alg| alg.eq_ignore_ascii_case("none"));
    match signature {
        _ if unsigned => "none: anybody could have created this token".to_owned(),
        "" => "missing: copy all of the token".to_owned(),
        signature if show => signature.to_owned(),
        _ => "present; it is not verified; use --show-signature to show it".to_owned(),
    }
}

impl Page {
    fn section(&mut self, title: &'static str, lines: impl IntoIterator<Item = (String, String)>) {
        self.0.push(Section { title, lines: lines.into_iter().collect() });
    }

    fn note(&mut self, line: &str) {
        self.section("Token", [(String::new(), line.to_owned())]);
    }

    /// The scopes of the token response, otherwise those in the token.
    fn scopes(&mut self, token: &AccessToken) {
        if let Some(scopes) = token.scopes().filter(|scopes| !scopes.is_empty()) {
            let words = |one| scope::describe(one).unwrap_or_else(|| "defined by the issuer".to_owned());
            self.section("Scopes", scopes.iter().map(|one| (printable(one), printable(&words(one)))));
        }
    }

    fn lifetime(&mut self, token: &AccessToken, now: SystemTime) {
        let Claims { exp, iat, .. } = token.claims().unwrap_or_default();
        let verb = if exp.is_some_and(|exp| exp <= now) { "expired" } else { "expires" };
        let end = exp.and_then(|exp| times::with_distance(exp, now)).map(|end| format!("{verb} {end}"));
        let whole = match token.lifetime() {
            // Without `iat` the whole lifetime is not known.
            _ if exp.is_some() && iat.is_none() => None,
            Lifetime::For(lifetime) => Some(format!("the whole lifetime is {}", times::words(lifetime))),
            Lifetime::AlreadyExpired => Some("it had already expired when it was issued".to_owned()),
            _ => None,
        };
        let lines: Vec<_> = end.into_iter().chain(whole).map(|line| (String::new(), line)).collect();
        let nothing = || vec![(String::new(), "not known".to_owned())];
        self.section("Lifetime", if lines.is_empty() { nothing() } else { lines });
    }

    /// Formats the page. `styled` makes the headings bold, for a terminal.
    pub fn text(&self, styled: bool) -> String {
        let (bold, normal) = if styled { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let sections = self.0.iter().map(|section| {
            let width = section.lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
            let lines = section.lines.iter().map(|(name, value)| match width {
                0 => format!("  {value}\n"),
                width => format!("  {name:<width$}  {value}\n"),
            });
            format!("{bold}{}{normal}\n{}", section.title, lines.collect::<String>())
        });
        sections.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_795_680_000;

    fn jwt(header: &Value, claims: &Value) -> AccessToken {
        let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        AccessToken::new(format!("{}.{}.SIGNATURE", part(header), part(claims))).unwrap()
    }

    fn seen(token: &AccessToken, show_signature: bool) -> String {
        page(token, UNIX_EPOCH + Duration::from_secs(NOW), show_signature).unwrap().text(false)
    }

    #[test]
    fn a_jwt_is_shown_with_its_times_and_scopes_in_words() {
        let claims = json!({
            "iss": "https://auth.example.org", "sub": "ada", "aud": ["fhir", "admin"], "iat": NOW - 3600, "exp": NOW + 169_200,
            "scope": "openid patient/Observation.read house", "tenant": { "id": 7 },
        });
        let expected = "\
Header
  alg  RS256
  typ  JWT
  kid  k1

Claims
  iss     https://auth.example.org
  sub     ada
  aud     [\"fhir\",\"admin\"]
  iat     2026-11-26 07:00:00 UTC, 1 hour ago
  exp     2026-11-28 07:00:00 UTC, in 1 day 23 hours
  scope   openid patient/Observation.read house
  tenant  {\"id\":7}

Scopes
  openid                    know who the user is
  patient/Observation.read  read and search Observation of the patient in context
  house                     defined by the issuer

Lifetime
  expires 2026-11-28 07:00:00 UTC, in 1 day 23 hours
  the whole lifetime is 2 days

Signature
  present; it is not verified; use --show-signature to show it
";
        assert_eq!(seen(&jwt(&json!({ "kid": "k1", "typ": "JWT", "alg": "RS256" }), &claims), false), expected);
    }

    #[test]
    fn the_signature_is_shown_only_on_request_and_the_token_never() {
        let token = jwt(&json!({ "alg": "RS256" }), &json!({}));
        assert!(!seen(&token, false).contains("SIGNATURE"));
        let shown = seen(&token, true);
        assert!(shown.contains("SIGNATURE") && !shown.contains("eyJ"), "{shown}");
    }

    #[test]
    fn an_unsigned_or_expired_jwt_is_reported() {
        let shown = seen(&jwt(&json!({ "alg": "none" }), &json!({ "exp": NOW - 60 })), true);
        assert!(shown.contains("anybody could have created this token") && !shown.contains("SIGNATURE"), "{shown}");
        assert!(shown.contains("  expired 2026-11-26 07:59:00 UTC, 1 minute ago"), "{shown}");
    }

    #[test]
    fn without_iat_the_whole_lifetime_is_not_shown() {
        let far_ahead = json!({ "exp": 4_000_000_000_u64 });
        assert!(!seen(&jwt(&json!({}), &far_ahead), false).contains("the whole lifetime"));
    }

    #[test]
    fn values_that_are_not_times_are_shown_unchanged() {
        let shown = seen(&jwt(&json!({}), &json!({ "exp": 1e300, "iat": "soon", "nbf": -5 })), false);
        for line in ["exp  1e+300", "iat  soon", "nbf  -5", "not known"] {
            assert!(shown.contains(line), "{shown}");
        }
    }

    #[test]
    fn an_opaque_token_is_described_by_its_response() {
        let token =
            AccessToken::new("s3cret").unwrap().with_scope("launch/patient").with_expires_in(Duration::from_secs(90));
        let shown = seen(&token, true);
        for line in ["opaque, 6 characters", "know the patient in context", "lifetime is 1 minute 30 seconds"] {
            assert!(shown.contains(line), "{shown}");
        }
        assert!(!shown.contains("s3cret"));
    }

    #[test]
    fn an_encrypted_token_shows_its_header() {
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
        let shown = seen(&AccessToken::new(format!("{header}.k.iv.text.tag")).unwrap(), true);
        assert!(shown.contains("A256GCM") && shown.contains("encrypted"), "{shown}");
    }

    #[test]
    fn an_incomplete_jwt_is_an_error() {
        for cut in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJub25lIn0.eyJ", "eyJhbGciOiJub25lIn0.eyJ.sig", "eyJ.eyJ.sig"] {
            let Err(error) = page(&AccessToken::new(cut).unwrap(), UNIX_EPOCH, false) else { panic!("{cut}") };
            assert!(error.to_string().contains("copy all of it"), "{error}");
        }
    }

    #[test]
    fn text_in_a_token_cannot_control_the_terminal() {
        let shown = seen(
            &jwt(&json!({ "alg": "\u{1b}[2J" }), &json!({ "a\nb": "\u{7}", "sub": "\u{202e}nimda", "scope": "x" })),
            false,
        );
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']) && shown.contains("a?b"), "{shown}");
    }

    #[test]
    fn headings_are_bold_on_a_terminal() {
        let page = page(&AccessToken::new("t").unwrap(), UNIX_EPOCH, false).unwrap();
        assert!(page.text(true).starts_with("\u{1b}[1mToken\u{1b}[0m\n"));
    }
}
