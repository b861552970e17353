//! The token in what somebody pasted.

use serde_json::{Map, Value};
use tower_bearer::{AccessToken, Lifetime};

use crate::trouble::Trouble;

/// The token in a text: alone, quoted, after `Bearer`, as a header line, broken into lines, or in a token response.
pub fn token(text: &str) -> Result<AccessToken, Trouble> {
    let text = text.trim_start_matches('\u{feff}').trim().trim_matches(['"', '\'', '`']).trim();
    if text.is_empty() {
        return Err(Trouble::failed("nothing came on standard input"));
    }
    if text.starts_with('{') {
        return response(text);
    }
    let text = without_prefix(text, "Authorization:");
    let text = without_prefix(text, "Bearer ");
    // Only what begins like a JWT is put together again: of other words nobody knows whether they are one token.
    let whole: String = if text.starts_with("eyJ") { text.split_whitespace().collect() } else { text.to_owned() };
    new(&whole)
}

fn new(token: &str) -> Result<AccessToken, Trouble> {
    AccessToken::new(token)
        .map_err(|_| Trouble::failed("that is no token: a token has no characters but letters, digits and -._~+/="))
}

fn without_prefix<'a>(text: &'a str, prefix: &str) -> &'a str {
    match text.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) => rest.trim_start(),
        _ => text,
    }
}

/// RFC 6749 §5.1, or a refusal of §5.2.
fn response(json: &str) -> Result<AccessToken, Trouble> {
    let answer: Map<String, Value> = serde_json::from_str(json)
        .map_err(|_| Trouble::failed("that begins like JSON and is none: was all of it copied?"))?;
    let text = |name| answer.get(name).and_then(Value::as_str);
    let Some(token) = text("access_token") else {
        return Err(Trouble::failed(match text("error") {
            Some(code) => format!("that is a refusal, with no token in it: {}", code.escape_default()),
            None => "that JSON has no access_token".to_owned(),
        }));
    };
    let mut token = new(token)?;
    if let Some(scope) = text("scope") {
        token = token.with_scope(scope);
    }
    // Some servers say it as a string.
    let seconds = answer.get("expires_in").and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    Ok(seconds.map_or(token.clone(), |seconds| token.with_expires_in(Lifetime::from_secs_f64(seconds))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_is_found_in_whatever_was_pasted() {
        for text in [
            "eyJh.eyJi.c2ln",
            "  eyJh.eyJi.c2ln\r\n\n",
            "\u{feff}eyJh.eyJi.c2ln",
            "Bearer eyJh.eyJi.c2ln",
            "bearer   eyJh.eyJi.c2ln\n",
            "authorization: Bearer eyJh.eyJi.c2ln",
            "\"eyJh.eyJi.c2ln\"\n",
            "'Bearer eyJh.eyJi.c2ln'",
            "eyJh.ey\n  Ji.c2\nln",
            r#"{"access_token":"eyJh.eyJi.c2ln","token_type":"Bearer"}"#,
        ] {
            assert_eq!(token(text).unwrap().secret(), "eyJh.eyJi.c2ln", "{text:?}");
        }
    }

    #[test]
    fn a_token_response_tells_scope_and_lifetime() {
        for seconds in ["172800", "\"172800\"", "172800.0"] {
            let json = format!(r#"{{"access_token":"t","expires_in":{seconds},"scope":"openid"}}"#);
            let token = token(&json).unwrap();
            assert_eq!(token.scope(), Some("openid"));
            assert_eq!(token.lifetime(), Lifetime::For(Duration::from_secs(172_800)));
        }
    }

    #[test]
    fn what_is_no_token_is_refused_with_advice_and_not_repeated() {
        for (text, advice) in [
            ("", "nothing"),
            (" \n", "nothing"),
            ("two words", "no token"),
            ("<html>", "no token"),
            ("Basic c2VjcmV0", "no token"),
            ("{\"access_token\":\"secret", "all of it"),
            (r#"{"id_token":"secret"}"#, "no access_token"),
            (r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            ("{\"error\":\"\\u001b[2J\"}", "\\u{1b}[2J"),
        ] {
            let Err(trouble) = token(text) else { panic!("{text} is taken") };
            let trouble = trouble.to_string();
            assert!(trouble.contains(advice) && !trouble.contains("secret"), "{text}: {trouble}");
        }
    }
}
