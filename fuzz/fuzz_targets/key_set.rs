//! A key set, and a token that it verifies or not. The first line is the token, the rest is the key set.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tower_bearer::{
    AccessToken,
    verify::{KeySet, Verifier, VerifyError},
};
use tower_bearer_fuzz::{debugged, split};

/// Tokens that were signed with the keys of the corpus. Nobody can make another one.
const SIGNED: &str = include_str!("../corpus/key_set/signed-tokens");

fuzz_target!(|text: &[u8]| {
    let (token, json) = split(text, b"\n");
    let Ok(keys) = KeySet::from_json(json) else {
        // What has an array of keys is a key set, whatever the keys are.
        let value: Option<Value> = serde_json::from_slice(json).ok();
        assert!(!value.is_some_and(|value| value["keys"].is_array()));
        return;
    };
    let document: Value = serde_json::from_slice(json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json)).unwrap();
    // Only names of keys are shown.
    let mut named = document.clone();
    for key in named["keys"].as_array_mut().unwrap() {
        if let Some(members) = key.as_object_mut() {
            members.retain(|name, _| name == "kid");
        }
    }
    assert!(!debugged(&keys).contains("S3cr3t") || named["keys"].to_string().contains("S3cr3t"));

    let Some(token) = str::from_utf8(token).ok().and_then(|token| AccessToken::new(token).ok()) else { return };
    let verifier = Verifier::new("https://auth.test").audience("https://api.test");
    let verdict = verifier.verify(&token, &keys);
    assert_eq!(verdict.is_ok(), verifier.verify(&token, &keys).is_ok());
    // The order of the keys, and keys that cannot verify, change nothing.
    let mut other = document;
    let list = other["keys"].as_array_mut().unwrap();
    list.reverse();
    list.push(json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "1" }));
    list.push(json!(7));
    let same = verifier.verify(&token, &KeySet::from_json(other.to_string()).unwrap());
    assert_eq!(verdict.is_ok(), same.is_ok(), "{verdict:?} {same:?}");
    if let Ok(claims) = &verdict {
        assert!(SIGNED.lines().any(|signed| signed == token.secret()), "{}", token.secret());
        assert_eq!(claims.iss.as_deref(), Some("https://auth.test"));
        assert!(claims.aud.iter().any(|aud| aud == "https://api.test"));
        let none = KeySet::from_json(r#"{"keys":[]}"#).unwrap();
        assert_eq!(verifier.verify(&token, &none), Err(VerifyError::UnknownKey));
        let other = Verifier::new("https://other.test").leeway(Duration::MAX);
        assert_eq!(other.verify(&token, &keys), Err(VerifyError::Issuer));
    }
});
