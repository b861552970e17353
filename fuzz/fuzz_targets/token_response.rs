//! Answers of a token endpoint: status, headers and body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_bearer::{AccessToken, Error, Lifetime, PasswordGrant, Reason, TokenSource, grant::ClientAuth};
use tower_bearer_fuzz::{answer, assert_hidden, debugged, run, server, shown, split};

/// It could be an error code, and would be shown as one.
const CLIENT_SECRET: &str = "open_sesame_twice";
const PASSWORD: &str = "Pa55word+Open/Sesame";

/// Text that the fuzzer puts into tokens.
const IN_TOKENS: &str = "T0k3n-S3cr3t";

fuzz_target!(|text: &[u8]| {
    let obtained = obtain(text);
    let shown = match &obtained {
        Ok(token) => debugged(token),
        Err(error) => shown(error),
    };
    assert_hidden(&shown, &[CLIENT_SECRET, PASSWORD]);
    if is_in_tokens_alone(text) {
        assert_hidden(&shown, &[IN_TOKENS]);
    }
    let again = obtain(text);
    assert_eq!(obtained.as_ref().map(AccessToken::secret).ok(), again.as_ref().map(AccessToken::secret).ok());

    let answer = answer(text);
    let expected = expected(split(text, b"\n\n").1).filter(|_| answer.status().is_success());
    match obtained {
        Ok(token) => {
            assert!(answer.status().is_success());
            check(&token);
            if let Some(expected) = expected {
                assert_eq!(token.secret(), expected);
            }
        }
        Err(error) => {
            assert_eq!(expected, None, "{error}");
            assert_eq!(error.is_redirect(), answer.status().is_redirection());
            assert!(error.class() == again.unwrap_err().class());
        }
    }
});

fn obtain(text: &[u8]) -> Result<AccessToken, Error> {
    let text = text.to_vec();
    let grant = PasswordGrant::builder("https://auth.test/token")
        .client_auth(ClientAuth::basic("client-1", CLIENT_SECRET))
        .credentials("ada", PASSWORD)
        .build_with(server(move |_| answer(&text)))
        .expect("these settings are right");
    run(grant.obtain(Reason::First))
}

fn is_in_tokens_alone(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.matches(IN_TOKENS).count() == text.matches(&format!("_token\":\"{IN_TOKENS}")).count()
}

/// Returns the token of an answer that no reader can misunderstand.
fn expected(body: &[u8]) -> Option<String> {
    let text = str::from_utf8(body).ok().filter(|text| !text.contains('\\') && text.starts_with('{'))?;
    let once = |name: &str| text.matches(&format!("\"{name}\"")).count() <= 1;
    let is_flat = text.matches(['{', '[']).count() < 10;
    let members: Value = serde_json::from_str(text).ok().filter(|_| is_flat)?;
    let token = members.get("access_token")?.as_str()?;
    let is_bearer = match members.get("token_type") {
        None | Some(Value::Null) => true,
        Some(kind) => kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")),
    };
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (once("access_token") && once("token_type") && is_bearer && is_token).then(|| token.to_owned())
}

/// Checks what a cache and an API may rely on.
fn check(token: &AccessToken) {
    let ten_years = 10 * 365 * 24 * 3600;
    assert!(
        matches!(token.lifetime(), Lifetime::For(time) if time.as_secs() <= ten_years && !time.is_zero())
            || matches!(token.lifetime(), Lifetime::Unknown | Lifetime::AlreadyExpired)
    );
    assert!(!token.secret().is_empty() && token.secret().bytes().all(|byte| byte.is_ascii_graphic()));
    let header = token.header_value();
    assert!(header.is_sensitive());
    assert_eq!(header.to_str().expect("it is ASCII"), format!("Bearer {}", token.secret()));
    if let Ok(members) = token.response::<Value>() {
        assert!(members.is_object() && members.get("access_token").is_none() && members.get("refresh_token").is_none());
    }
    let _ = (token.scopes(), token.refresh_in(), token.issued_at());
}
