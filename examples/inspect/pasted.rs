//! Finds the token in pasted text.

use serde_json::{Map, Value};
use tower_bearer::{AccessToken, Lifetime};

use crate::cli::CliError;

/// Finds the token in a text. It may be alone, in quotes, after `Bearer`, in a header line, wrapped over several lines, or in
/// a token response.
pub fn token(text: &str) -> Result<AccessToken, CliError> {
    let text = text.trim_start_matches('\u{feff}').trim().trim_matches(['"', '\'', '`']).trim();
    if text.is_empty() {
        return Err(CliError::failed("standard input is empty"));
    }
    if text.starts_with('{') {
        return response(text);
    }
    if text.starts_with('<') {
        return Err(CliError::failed("this is a page of HTML, not a token"));
    }
    let text = without_prefix(text, "Authorization:");
    let text = without_prefix(text, "Bearer ");
    // Only a text that starts like a JWT is joined: other words may not be one token.
    let whole: String = if text.starts_with("eyJ") { text.split_whitespace().collect() } else { text.to_owned() };
    new(&whole)
}

fn new(token: &str) -> Result<AccessToken, CliError> {
    AccessToken::new(token)
        .map_err(|_| CliError::failed("this is not a token: a token has only visible ASCII characters, and no spaces"))
}

fn without_prefix<'a>(text: &'a str, prefix: &str) -> &'a str {
    match text.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) => rest.trim_start(),
        _ => text,
    }
}

/// Reads a token response (RFC 6749 §5.1). An error response (§5.2) has no token.
fn response(json: &str) -> Result<AccessToken, CliError> {
    let response: Map<String, Value> = serde_json::from_str(json)
        .map_err(|_| CliError::failed("this starts like JSON but is not valid: copy all of it"))?;
    let text = |name| response.get(name).and_then(Value::as_str);
    let Some(token) = text("access_token") else {
        return Err(CliError::failed(match text("error") {
            Some(code) => format!("this is an error response without a token: {}", code.escape_default()),
            None => "this JSON has no access_token".to_owned(),
        }));
    };
    let mut token = new(token)?;
    if let Some(scope) = text("scope") {
        token = token.with_scope(scope);
    }
    // Some servers send it as a string.
    let seconds = response.get("expires_in").and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    Ok(seconds.map_or(token.clone(), |seconds| token.with_expires_in(Lifetime::from_secs_f64(seconds))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_is_found_in_pasted_text() {
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
    fn a_token_may_have_any_visible_ascii_characters() {
        for (text, found) in
            [("1|abcDEF", "1|abcDEF"), ("Bearer a:int", "a:int"), ("authorization: Bearer a*b$\n", "a*b$")]
        {
            assert_eq!(token(text).unwrap().secret(), found);
        }
    }

    #[test]
    fn a_token_response_has_scope_and_lifetime() {
        for seconds in ["172800", "\"172800\"", "172800.0"] {
            let json = format!(r#"{{"access_token":"t","expires_in":{seconds},"scope":"openid"}}"#);
            let token = token(&json).unwrap();
            assert_eq!(token.scope(), Some("openid"));
            assert_eq!(token.lifetime(), Lifetime::For(Duration::from_secs(172_800)));
        }
    }

    #[test]
    fn text_without_a_token_is_refused_with_advice_and_not_shown() {
        for (text, advice) in [
            ("", "empty"),
            (" \n", "empty"),
            ("two words", "not a token"),
            ("<html>", "not a token"),
            ("Basic c2VjcmV0", "not a token"),
            ("{\"access_token\":\"secret", "copy all of it"),
            (r#"{"id_token":"secret"}"#, "no access_token"),
            (r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            ("{\"error\":\"\\u001b[2J\"}", "\\u{1b}[2J"),
        ] {
            let Err(error) = token(text) else { panic!("{text} is accepted") };
            let error = error.to_string();
            assert!(error.contains(advice) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
