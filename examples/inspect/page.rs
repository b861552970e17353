//! What is shown of a token. Of the token itself, only the signature ever is, and only when asked for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tower_bearer::{AccessToken, Claims, Lifetime, scope};

use crate::{times, trouble::Trouble};

/// Sections of lines.
#[derive(Default)]
pub struct Page(Vec<Section>);

struct Section {
    title: &'static str,
    lines: Vec<(String, String)>,
}

type Object = Map<String, Value>;

/// Everything that can be told of the token without a key.
pub fn page(token: &AccessToken, now: SystemTime, show_signature: bool) -> Result<Page, Trouble> {
    let mut page = Page::default();
    let parts: Vec<_> = token.secret().split('.').collect();
    match (parts.as_slice(), object(parts[0])) {
        ([_, payload, signature], Some(header)) => {
            let claims = object(payload)
                .ok_or_else(|| Trouble::failed("that is a JWT whose claims cannot be read: was all of it copied?"))?;
            page.section("Header", members(&header, now));
            page.section("Claims", members(&claims, now));
            page.scopes(token);
            page.lifetime(token, now);
            page.section("Signature", [(String::new(), signature_line(&header, signature, show_signature))]);
        }
        ([_, _, _, _, _], Some(header)) => {
            page.section("Header", members(&header, now));
            page.note("It is encrypted (JWE): only the API that it is for can read on.");
            page.scopes(token);
            page.lifetime(token, now);
        }
        _ if token.secret().starts_with("eyJ") => {
            return Err(Trouble::failed("that begins like a JWT and is none: was all of it copied?"));
        }
        _ => {
            let length = token.secret().len();
            page.note(&format!("It is opaque, {length} characters long: only its issuer can say what is in it."));
            page.scopes(token);
            page.lifetime(token, now);
        }
    }
    Ok(page)
}

/// A part of a JWT (RFC 7515 §3.1).
fn object(part: &str) -> Option<Object> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The well-known ones first, in the order in which one asks for them.
fn members(object: &Object, now: SystemTime) -> Vec<(String, String)> {
    const FIRST: [&str; 13] =
        ["alg", "typ", "kid", "iss", "sub", "aud", "client_id", "fhirUser", "patient", "iat", "nbf", "exp", "jti"];
    let first = FIRST.iter().filter_map(|name| object.get_key_value(*name));
    let rest = object.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    first.chain(rest).map(|(name, value)| (plain(name), plain(&shown(name, value, now)))).collect()
}

fn shown(name: &str, value: &Value, now: SystemTime) -> String {
    let date = match (name, value) {
        ("iat" | "nbf" | "exp" | "auth_time", Value::Number(seconds)) => seconds
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .and_then(|since| times::both(UNIX_EPOCH.checked_add(since)?, now)),
        _ => None,
    };
    date.unwrap_or_else(|| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn signature_line(header: &Object, signature: &str, show: bool) -> String {
    let unsigned = header.get("alg").and_then(Value::as_str).is_some_and(|alg| alg.eq_ignore_ascii_case("none"));
    match signature {
        _ if unsigned => "none: anybody could have written this".to_owned(),
        "" => "missing: was all of it copied?".to_owned(),
        signature if show => signature.to_owned(),
        _ => "there is one; it is not verified, and shown by --show-signature".to_owned(),
    }
}

impl Page {
    fn section(&mut self, title: &'static str, lines: impl IntoIterator<Item = (String, String)>) {
        self.0.push(Section { title, lines: lines.into_iter().collect() });
    }

    fn note(&mut self, line: &str) {
        self.section("Token", [(String::new(), line.to_owned())]);
    }

    /// As the answer told them, else as the token does.
    fn scopes(&mut self, token: &AccessToken) {
        if let Some(scopes) = token.scopes().filter(|scopes| !scopes.is_empty()) {
            let words = |one| scope::describe(one).unwrap_or_else(|| "as its issuer defines it".to_owned());
            self.section("Scopes", scopes.iter().map(|one| (plain(one), plain(&words(one)))));
        }
    }

    fn lifetime(&mut self, token: &AccessToken, now: SystemTime) {
        let Claims { exp, iat, .. } = token.claims().unwrap_or_default();
        let verb = if exp.is_some_and(|exp| exp <= now) { "expired" } else { "expires" };
        let end = exp.and_then(|exp| times::both(exp, now)).map(|end| format!("{verb} {end}"));
        let whole = match token.lifetime() {
            // Measured from now on, since the token does not say when it was issued.
            _ if exp.is_some() && iat.is_none() => None,
            Lifetime::For(lifetime) => Some(format!("lives {} from its issue on", times::words(lifetime))),
            Lifetime::AlreadyExpired => Some("expired when it was issued".to_owned()),
            _ => None,
        };
        let lines: Vec<_> = end.into_iter().chain(whole).map(|line| (String::new(), line)).collect();
        let nothing = || vec![(String::new(), "not told".to_owned())];
        self.section("Lifetime", if lines.is_empty() { nothing() } else { lines });
    }

    /// With headings in bold, if it is for a terminal.
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

/// Text of a server's, without what could move a terminal's cursor or turn the direction of writing.
fn plain(text: &str) -> String {
    let turns =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '?' } else { c }).collect()
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
  house                     as its issuer defines it

Lifetime
  expires 2026-11-28 07:00:00 UTC, in 1 day 23 hours
  lives 2 days from its issue on

Signature
  there is one; it is not verified, and shown by --show-signature
";
        assert_eq!(seen(&jwt(&json!({ "kid": "k1", "typ": "JWT", "alg": "RS256" }), &claims), false), expected);
    }

    #[test]
    fn the_signature_is_shown_only_when_asked_for_and_the_token_never() {
        let token = jwt(&json!({ "alg": "RS256" }), &json!({}));
        assert!(!seen(&token, false).contains("SIGNATURE"));
        let shown = seen(&token, true);
        assert!(shown.contains("SIGNATURE") && !shown.contains("eyJ"), "{shown}");
    }

    #[test]
    fn an_unsigned_or_expired_jwt_is_called_so() {
        let shown = seen(&jwt(&json!({ "alg": "none" }), &json!({ "exp": NOW - 60 })), true);
        assert!(shown.contains("anybody could have written this") && !shown.contains("SIGNATURE"), "{shown}");
        assert!(shown.contains("  expired 2026-11-26 07:59:00 UTC, 1 minute ago"), "{shown}");
    }

    #[test]
    fn without_iat_nobody_knows_the_whole_lifetime() {
        let far_ahead = json!({ "exp": 4_000_000_000_u64 });
        assert!(!seen(&jwt(&json!({}), &far_ahead), false).contains("from its issue"));
    }

    #[test]
    fn times_that_are_none_are_shown_as_they_are() {
        let shown = seen(&jwt(&json!({}), &json!({ "exp": 1e300, "iat": "soon", "nbf": -5 })), false);
        for line in ["exp  1e+300", "iat  soon", "nbf  -5", "not told"] {
            assert!(shown.contains(line), "{shown}");
        }
    }

    #[test]
    fn an_opaque_token_is_no_error_and_its_answer_is_told() {
        let token =
            AccessToken::new("s3cret").unwrap().with_scope("launch/patient").with_expires_in(Duration::from_secs(90));
        let shown = seen(&token, true);
        for line in ["opaque, 6 characters", "know the patient in context", "lives 1 minute 30 seconds"] {
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
    fn a_jwt_that_was_cut_is_an_error() {
        for cut in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJub25lIn0.eyJ", "eyJhbGciOiJub25lIn0.eyJ.sig", "eyJ.eyJ.sig"] {
            let Err(trouble) = page(&AccessToken::new(cut).unwrap(), UNIX_EPOCH, false) else { panic!("{cut}") };
            assert!(trouble.to_string().contains("was all of it copied"), "{trouble}");
        }
    }

    #[test]
    fn no_text_of_a_token_can_command_the_terminal() {
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
