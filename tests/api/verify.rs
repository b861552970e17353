//! Verification of tokens with the keys of their issuer.
//!
//! OpenSSL signed the test vectors with keys that were then deleted: an RSA key without `alg`, so that it can sign with RS and
//! PS algorithms, a P-256 key and a P-384 key. The tokens expire in 2100.

use std::{
    error::Error as _,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_bearer::{
    AccessToken, Error, FailureClass, PasswordGrant, Reason, TokenSource,
    source::{Verified, from_fn},
    testing::{Issuer, IssuerService, TokenFormat},
    verify::{KeyProvider, KeySet, Verifier, VerifyError},
};

use crate::support::grant;

static VECTORS: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("verify/vectors.json")).unwrap());

fn vector(name: &str) -> AccessToken {
    AccessToken::new(VECTORS["tokens"][name].as_str().unwrap_or_else(|| panic!("no vector {name}"))).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new("https://issuer.test").audience("https://api.test")
}

fn keys(set: &Value) -> KeySet {
    KeySet::from_json(set.to_string()).unwrap()
}

fn verdict(token: &AccessToken) -> Result<(), VerifyError> {
    verifier().verify(token, &keys(&VECTORS["keys"])).map(drop)
}

/// Returns a JWT with some of its parts replaced.
fn replaced(name: &str, header: Option<&Value>, claims: Option<&Value>, signature: Option<&str>) -> AccessToken {
    let token = vector(name);
    let mut parts: Vec<_> = token.secret().split('.').map(str::to_owned).collect();
    for (at, json) in [header, claims].into_iter().enumerate() {
        if let Some(json) = json {
            parts[at] = B64.encode(json.to_string());
        }
    }
    if let Some(signature) = signature {
        signature.clone_into(&mut parts[2]);
    }
    AccessToken::new(parts.join(".")).unwrap()
}

#[test]
fn each_public_key_algorithm_verifies_and_the_claims_are_given() {
    for name in ["RS256", "RS384", "PS256", "ES256", "ES384", "RS256 without kid"] {
        let claims =
            verifier().verify(&vector(name), &keys(&VECTORS["keys"])).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(claims.sub.as_deref(), Some("user1"));
        assert!(claims.scopes.unwrap().contains("patient/*.rs"));
    }
}

#[test]
fn a_token_that_was_changed_does_not_verify() {
    let mut claims: Value = vector("RS256").claims().unwrap();
    claims["sub"] = "admin".into();
    for name in ["RS256", "RS384", "ES256", "ES384"] {
        assert_eq!(verdict(&replaced(name, None, Some(&claims), None)), Err(VerifyError::Signature));
        assert_eq!(verdict(&replaced(name, None, None, Some(""))), Err(VerifyError::Signature));
        assert_eq!(verdict(&replaced(name, None, None, Some("AAAA"))), Err(VerifyError::Signature));
    }
}

#[test]
fn a_token_without_a_supported_algorithm_is_refused() {
    for alg in ["none", "None", "NONE", "", "HS256", "HS512", "rs256", "ES256K"] {
        let header = json!({ "alg": alg, "kid": "rsa" });
        for signature in [None, Some("")] {
            let token = replaced("RS256", Some(&header), None, signature);
            assert_eq!(verdict(&token), Err(VerifyError::Algorithm), "{alg}");
        }
    }
}

#[test]
fn a_public_key_is_not_used_as_an_hmac_secret() {
    for name in ["HS256 with the RSA key in PEM as the secret", "HS256 with the RSA modulus as the secret"] {
        assert_eq!(verdict(&vector(name)), Err(VerifyError::Algorithm));
        let mut set = VECTORS["keys"].clone();
        let modulus = set["keys"][0]["n"].clone();
        // Not even if the key set itself says so.
        set["keys"][0] = json!({ "kty": "oct", "kid": "rsa", "alg": "HS256", "k": modulus });
        assert_eq!(verifier().verify(&vector(name), &keys(&set)), Err(VerifyError::Algorithm));
    }
}

#[test]
fn a_key_is_used_by_its_name_and_for_its_own_algorithms() {
    assert_eq!(verdict(&vector("RS256 with the kid of another key")), Err(VerifyError::Algorithm));
    assert_eq!(verdict(&vector("RS256 with an unknown kid")), Err(VerifyError::UnknownKey));
    for (change, expected) in [
        (json!({ "alg": "RS256" }), Ok(())),
        (json!({ "alg": "RS384" }), Err(VerifyError::Algorithm)),
        (json!({ "kid": null }), Ok(())),
        (json!({ "kid": "other" }), Err(VerifyError::UnknownKey)),
        (json!({ "use": "enc" }), Err(VerifyError::UnknownKey)),
        (json!({ "key_ops": ["verify"] }), Ok(())),
        (json!({ "key_ops": ["encrypt"] }), Err(VerifyError::UnknownKey)),
        (json!({ "alg": "RSA-OAEP" }), Err(VerifyError::UnknownKey)),
        (json!({ "alg": "ES256" }), Err(VerifyError::UnknownKey)),
    ] {
        let mut set = VECTORS["keys"].clone();
        set["keys"][0].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(verifier().verify(&vector("RS256"), &keys(&set)).map(drop), expected, "{change}");
    }
}

#[test]
fn another_key_of_the_same_name_does_not_verify() {
    for (wrong, name) in [("rsa", "RS256"), ("p256", "ES256"), ("p384", "ES384")] {
        let mut set = VECTORS["keys"].clone();
        for key in set["keys"].as_array_mut().unwrap().iter_mut().filter(|key| key["kid"] == wrong) {
            let member = if wrong == "rsa" { "n" } else { "x" };
            let bytes = B64.decode(key[member].as_str().unwrap()).unwrap();
            key[member] = B64.encode(bytes.into_iter().map(|byte| byte ^ 2).collect::<Vec<_>>()).into();
        }
        assert_eq!(verifier().verify(&vector(name), &keys(&set)), Err(VerifyError::Signature), "{name}");
    }
}

/// Against RFC 7518 §6.3.1.1, some libraries write a zero before the modulus.
#[test]
fn a_leading_zero_of_an_rsa_key_is_ignored() {
    let mut set = VECTORS["keys"].clone();
    for member in ["n", "e"] {
        let bytes = B64.decode(set["keys"][0][member].as_str().unwrap()).unwrap();
        set["keys"][0][member] = B64.encode([&[0], bytes.as_slice()].concat()).into();
    }
    assert!(verifier().verify(&vector("RS256"), &keys(&set)).is_ok());
}

#[test]
fn one_unsupported_key_does_not_hide_the_others() {
    let mut set = VECTORS["keys"].clone();
    let strange = [
        json!("text"),
        json!({}),
        json!({ "kty": "EC", "crv": "secp256k1", "kid": "rsa", "x": "AA", "y": "AA" }),
        json!({ "kty": "RSA", "kid": "rsa", "n": "not base64!", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": 7, "n": "AA", "e": "AQAB" }),
        json!({ "kty": "AKP", "kid": "pq", "alg": "ML-DSA-44", "pub": "AA" }),
    ];
    set["keys"].as_array_mut().unwrap().splice(0..0, strange);
    assert!(verifier().verify(&vector("RS256"), &keys(&set)).is_ok());
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
        KeySet::from_json(bad).unwrap_err();
    }
}

#[test]
fn the_claims_must_be_right_as_well() {
    for (name, error) in [
        ("RS256 of 2001", VerifyError::Expired),
        ("RS256 from 2100 on", VerifyError::NotYetValid),
        ("RS256 without exp", VerifyError::Claims),
        ("RS256 with nbf as text", VerifyError::Claims),
        ("RS256 with a critical extension", VerifyError::NotAJwt),
    ] {
        assert_eq!(verdict(&vector(name)), Err(error), "{name}");
    }
    let verdict = |verifier: Verifier| verifier.verify(&vector("ES256"), &keys(&VECTORS["keys"])).map(drop);
    assert_eq!(verdict(Verifier::new("https://issuer.test")), Ok(()));
    assert_eq!(verdict(Verifier::new("https://issuer.test/")), Err(VerifyError::Issuer));
    assert_eq!(verdict(Verifier::new("https://issuer.test").audience("https://API.test")), Err(VerifyError::Audience));
    assert_eq!(verdict(verifier().audience("https://other.test")), Ok(()));
}

#[test]
fn text_that_is_not_a_jwt_does_not_verify() {
    for text in ["opaque", "a.b", "a.b.c", "a.b.c.d.e", "..."] {
        assert_eq!(verdict(&AccessToken::new(text).unwrap()), Err(VerifyError::NotAJwt), "{text}");
    }
    let four = AccessToken::new(format!("{}.AAAA", vector("RS256").secret())).unwrap();
    assert_eq!(verdict(&four), Err(VerifyError::NotAJwt));
}

/// Returns the issuer's published keys, and the counter of the requests for them.
fn published(issuer: &Issuer) -> (impl KeyProvider, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let (issuer, count) = (issuer.clone(), Arc::clone(&asked));
    let keys = move || {
        count.fetch_add(1, Relaxed);
        let request = Request::get("https://issuer.test/jwks").body(Full::<Bytes>::default()).unwrap();
        let answer = issuer.service().oneshot(request);
        async {
            KeySet::from_json(answer.await.unwrap().into_body().collect().await.unwrap().to_bytes())
                .map_err(Error::transient)
        }
    };
    (keys, asked)
}

fn verified(issuer: &Issuer) -> (Verified<PasswordGrant<IssuerService>, impl KeyProvider>, Arc<AtomicU64>) {
    let (keys, asked) = published(issuer);
    (Verified::new(grant(issuer.service()), Verifier::new("https://issuer.test"), keys), asked)
}

#[tokio::test]
async fn keys_are_asked_for_once_and_again_when_the_issuer_changed_them() {
    let issuer = Issuer::new();
    let (source, asked) = verified(&issuer);
    for _ in 0..3 {
        source.obtain(Reason::First).await.unwrap();
    }
    assert_eq!(asked.load(Relaxed), 1);
    issuer.rotate_keys();
    source.obtain(Reason::Ageing).await.unwrap();
    assert_eq!(asked.load(Relaxed), 2);
    source.obtain(Reason::Ageing).await.unwrap();
    assert_eq!(asked.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_are_asked_for_again_after_an_hour() {
    let issuer = Issuer::new();
    let (source, asked) = verified(&issuer);
    for (wait, times) in [(0, 1), (3599, 1), (1, 2)] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        source.obtain(Reason::First).await.unwrap();
        assert_eq!(asked.load(Relaxed), times);
    }
}

#[tokio::test]
async fn a_token_of_another_key_is_refused_after_one_more_look_at_the_keys() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let (keys, asked) = published(&issuer);
    let source = Verified::new(grant(stranger.service()), Verifier::new("https://issuer.test"), keys);
    for times in [1, 2] {
        let error = source.obtain(Reason::First).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Transient);
        assert!(error.to_string().contains("none of the issuer's keys"), "{error}");
        assert_eq!(error.source().unwrap().downcast_ref(), Some(&VerifyError::UnknownKey));
        assert_eq!(asked.load(Relaxed), times, "once for each token");
    }
}

#[tokio::test]
async fn a_new_key_under_an_old_name_is_found() {
    let asked = AtomicU64::new(0);
    let changing = move || {
        let mut set = VECTORS["keys"].clone();
        if asked.fetch_add(1, Relaxed) == 0 {
            set["keys"][2]["x"] = set["keys"][2]["y"].clone();
        }
        async move { Ok(keys(&set)) }
    };
    let source = Verified::new(from_fn(|_| async { Ok(vector("ES384")) }), verifier(), changing);
    assert!(source.obtain(Reason::First).await.unwrap_err().to_string().contains("signature is wrong"));
    assert!(source.obtain(Reason::First).await.is_ok());
}

#[tokio::test]
async fn an_opaque_token_is_refused_and_so_is_one_for_which_there_are_no_keys() {
    let opaque = Issuer::builder().token_format(TokenFormat::Opaque).build();
    let (source, _) = verified(&opaque);
    assert!(source.obtain(Reason::First).await.unwrap_err().to_string().contains("it is not a signed JWT"));

    let issuer = Issuer::new();
    let no_keys = || async { Err(Error::transient("the keys are away")) };
    let source = Verified::new(grant(issuer.service()), Verifier::new("https://issuer.test"), no_keys);
    assert_eq!(source.obtain(Reason::First).await.unwrap_err().source().unwrap().to_string(), "the keys are away");
}

#[tokio::test]
async fn fixed_keys_are_a_provider() {
    let source = Verified::new(from_fn(|_| async { Ok(vector("ES384")) }), verifier(), keys(&VECTORS["keys"]));
    assert!(source.obtain(Reason::First).await.is_ok());
}
