//! Assertions that the crate signs: `private_key_jwt`, `client_secret_jwt` and the JWT bearer grant.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto::aws_lc};
use serde_json::{Value, json};
use tower_bearer::{
    Error, TokenCache, TokenSource,
    grant::{
        Assertion, AuthorizationServer, ClientAuth, ClientCredentials, JwtBearer, Secret, SigningAlgorithm, SigningKey,
    },
    testing::{ClientAuthentication, Failure, Issuer, IssuerService},
};

use crate::support::obtain;

const URL: &str = "https://issuer.test/token";
const P384: &str = include_str!("../../examples/data/client-key.pem");
const P256: &str = include_str!("../data/p256.pem");
const RSA: &str = include_str!("../data/rsa.pem");
const ED25519: &str = include_str!("../data/ed25519.pem");

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQQ==\n-----END CERTIFICATE-----\n";

fn issuer(accepts: ClientAuthentication) -> Issuer {
    let set = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let mut keys = set(include_str!("../../examples/data/client-keys.json"));
    let more = set(include_str!("../data/p256.json"))["keys"][0].clone();
    keys["keys"].as_array_mut().unwrap().push(more);
    Issuer::builder()
        .client("client1", "a client secret of 32 bytes or so")
        .client_authentication(accepts)
        .client_keys(keys)
        .build()
}

fn key() -> SigningKey {
    SigningKey::pem(P384).key_id("client-key")
}

fn about_client(key: SigningKey) -> Assertion {
    Assertion::new("client1", "client1", key)
}

fn client(issuer: &Issuer, auth: ClientAuth) -> Result<ClientCredentials<IssuerService>, Error> {
    ClientCredentials::builder(URL).client_auth(auth).build_with(issuer.service())
}

#[expect(clippy::disallowed_methods, reason = "the issuer's clock starts by it")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns the assertion that was sent last, with its header and claims.
fn sent(issuer: &Issuer) -> (String, Value, Value) {
    let jwt = issuer.last_request().unwrap().param("client_assertion").unwrap().to_owned();
    let part =
        |n| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(n).unwrap()).unwrap()).unwrap();
    (jwt.clone(), part(0), part(1))
}

/// RFC 7521 §4.2, RFC 7523 §2.2, §3, RFC 9700 §2.5.
#[tokio::test]
async fn a_signed_assertion_is_all_that_authenticates_the_client() {
    let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
    let source = client(&issuer, ClientAuth::private_key_jwt("client1", key())).unwrap();
    let before = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    obtain(&source).await.unwrap();
    let (_, header, claims) = sent(&issuer);
    assert_eq!(header, json!({ "alg": "ES384", "typ": "client-authentication+jwt", "kid": "client-key" }));
    assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"]), (&json!("client1"), &json!("client1"), &json!(URL)));
    let ahead = claims["exp"].as_u64().unwrap() - before;
    assert!((150..=152).contains(&ahead), "{ahead} s");
    assert_eq!(claims.as_object().unwrap().len(), 5, "no `nbf`, no `iat`: {claims}");
    let request = issuer.last_request().unwrap();
    assert_eq!(request.param("client_assertion_type"), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    assert_eq!(
        (request.param("client_id"), request.param("client_secret"), request.header("authorization")),
        (None, None, None)
    );
}

/// RFC 10070. SMART App Launch 2.2 requires the token URL and `JWT`, and so does a server that is found for a FHIR server.
#[tokio::test]
async fn an_assertion_of_a_client_is_for_the_issuer_alone_if_it_is_known() {
    const ISSUER: &str = "https://issuer.test";
    let private_key = || ClientAuth::private_key_jwt("client1", key());
    let by_issuer = || AuthorizationServer::issuer(ISSUER);
    let by_smart = || AuthorizationServer::smart("https://issuer.test/fhir");
    let credentials = |server| ClientCredentials::builder(server).client_auth(private_key());
    let backend = |server| ClientCredentials::backend_services(server, "client1", key());
    let own = about_client(key()).audience("https://other.test").header("typ", "JWT");
    for (builder, audience, typ) in [
        (credentials(by_issuer()), ISSUER, "client-authentication+jwt"),
        (credentials(URL.into()), URL, "client-authentication+jwt"),
        (credentials(by_smart()), URL, "JWT"),
        (backend(by_smart()), URL, "JWT"),
        (backend(by_issuer()), URL, "JWT"),
        (backend(URL.into()), URL, "JWT"),
        (credentials(by_issuer()).client_auth(ClientAuth::assertion(own)), "https://other.test", "JWT"),
    ] {
        let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
        let result = obtain(&builder.build_with(issuer.service()).unwrap()).await;
        let (_, header, claims) = sent(&issuer);
        assert_eq!((&claims["aud"], &header["typ"]), (&json!(audience), &json!(typ)));
        assert_eq!(result.is_ok(), audience != "https://other.test");
    }
    // A grant is not the authentication of a client.
    let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
    let source = JwtBearer::builder(by_issuer()).client_auth(private_key());
    let source = source.signed(Assertion::new("client1", "user1", key())).build_with(issuer.service()).unwrap();
    obtain(&source).await.unwrap();
    let grant = issuer.last_request().unwrap().param("assertion").unwrap().to_owned();
    let part = |n| BASE64_URL_SAFE_NO_PAD.decode(grant.split('.').nth(n).unwrap()).unwrap();
    let [header, claims] = [part(0), part(1)].map(|part| serde_json::from_slice::<Value>(&part).unwrap());
    assert_eq!((&claims["aud"], &header["typ"]), (&json!(URL), &json!("JWT")));
}

/// RFC 7515 §4.1.6, §4.1.8.
#[tokio::test]
async fn the_header_of_an_assertion_may_name_a_certificate() {
    let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
    let assertion = about_client(key()).header("x5t#S256", "dGh1bWI").header("x5c", ["MIIB", "MIIC"]);
    obtain(&client(&issuer, ClientAuth::assertion(assertion)).unwrap()).await.unwrap();
    let (_, header, _) = sent(&issuer);
    assert_eq!(
        header,
        json!({ "alg": "ES384", "kid": "client-key", "typ": "client-authentication+jwt", "x5t#S256": "dGh1bWI",
            "x5c": ["MIIB", "MIIC"] })
    );
    for (wrong, says) in [
        (about_client(key()).header("alg", "none"), "`SigningKey::algorithm`"),
        (about_client(key()).header("x", std::collections::HashMap::from([((1, 2), 3)])), "`x`"),
    ] {
        let error = client(&issuer, ClientAuth::assertion(wrong)).unwrap_err();
        assert!(error.is_config() && error.to_string().contains(says), "{error}");
    }
}

/// Some servers let the token live as long as the assertion.
#[tokio::test]
async fn the_lifetime_of_an_assertion_can_be_set_for_each_kind() {
    let (issuer, long) = (issuer(ClientAuthentication::PrivateKeyJwt), Duration::from_secs(290));
    let before = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let private_key = ClientAuth::private_key_jwt("client1", key()).assertion_lifetime(long);
    let backend = ClientCredentials::backend_services(URL, "client1", key()).assertion_lifetime(long);
    for source in [client(&issuer, private_key), backend.build_with(issuer.service())] {
        obtain(&source.unwrap()).await.unwrap();
        let ahead = sent(&issuer).2["exp"].as_u64().unwrap() - before;
        assert!((290..=292).contains(&ahead), "{ahead} s");
    }
    for other in [ClientAuth::basic("c", "s"), ClientAuth::assertion_from("c", "a.b.c")] {
        let error = client(&issuer, other.assertion_lifetime(long)).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("`assertion_lifetime`"), "{error}");
    }
}

/// Servers accept each `jti` once (RFC 7523 §3, item 7).
#[tokio::test]
async fn each_attempt_has_its_own_assertion() {
    let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
    let source = client(&issuer, ClientAuth::private_key_jwt("client1", key())).unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..10 {
        issuer.fail_next(1, Failure::Status(503));
        obtain(&source).await.unwrap_err();
        assert!(seen.insert(sent(&issuer).2["jti"].as_str().unwrap().to_owned()));
        obtain(&source).await.unwrap();
        assert!(seen.insert(sent(&issuer).2["jti"].as_str().unwrap().to_owned()));
    }
}

/// The scripted issuer verifies each claim (RFC 7523 §3), so the other tests would notice a wrong one.
#[tokio::test]
async fn an_assertion_with_anything_wrong_is_refused() {
    let now = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let other = SigningKey::pem(P256);
    for wrong in [
        about_client(key()).audience("https://elsewhere.test/token"),
        Assertion::new("client2", "client1", key()),
        Assertion::new("client1", "client2", key()),
        about_client(key()).lifetime(Duration::ZERO),
        about_client(key()).lifetime(Duration::from_secs(301 + 5)),
        about_client(key()).lifetime(Duration::MAX),
        about_client(key()).claim("nbf", now + 100),
        about_client(key()).claim("iat", now + 100),
        about_client(key()).claim("jti", ""),
        about_client(key().key_id("unknown")),
        about_client(SigningKey::pem(P384)),
        about_client(other.clone().key_id("client-key")),
    ] {
        let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
        let error = obtain(&client(&issuer, ClientAuth::assertion(wrong)).unwrap()).await.unwrap_err();
        assert_eq!((error.oauth_code(), error.is_terminal()), (Some("invalid_client"), true));
        assert!(error.to_string().contains("clock"), "{error}");
    }
    let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
    for right in [
        about_client(key()).audience("https://issuer.test"),
        about_client(key()).with_issued_at(true),
        about_client(other.key_id("p256")),
    ] {
        obtain(&client(&issuer, ClientAuth::assertion(right)).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_claim_may_be_anything_that_can_be_json() {
    #[derive(serde::Serialize)]
    struct Context {
        tenant: &'static str,
        roles: Vec<u8>,
    }

    let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
    let context = Context { tenant: "t", roles: vec![1, 2] };
    let assertion =
        about_client(key()).claim("context", context).claim("text", "x").claim("json", json!({ "a": null }));
    obtain(&client(&issuer, ClientAuth::assertion(assertion)).unwrap()).await.unwrap();
    let (_, _, claims) = sent(&issuer);
    assert_eq!(claims["context"], json!({ "tenant": "t", "roles": [1, 2] }));
    assert_eq!((&claims["text"], &claims["json"]), (&json!("x"), &json!({ "a": null })));

    let not_json = std::collections::HashMap::from([((1, 2), 3)]);
    let wrong = about_client(key()).claim("my-claim", not_json);
    let error = client(&issuer, ClientAuth::assertion(wrong)).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("`my-claim`"), "{error}");
}

/// The clocks of client and server may differ by more than two minutes, in either direction.
#[tokio::test]
async fn assertions_are_accepted_when_a_clock_is_two_minutes_wrong() {
    for skew in [-145, 0, 145] {
        let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
        issuer.set_clock_skew(skew);
        obtain(&client(&issuer, ClientAuth::private_key_jwt("client1", key())).unwrap()).await.unwrap();
    }
    for (ours, is_ok) in [(-200, false), (-145, true), (145, true), (200, false)] {
        let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
        let offset = move || {
            let now = now();
            let by = Duration::from_secs(i64::unsigned_abs(ours));
            if ours < 0 { now - by } else { now + by }
        };
        let source = ClientCredentials::builder(URL).client_auth(ClientAuth::private_key_jwt("client1", key()));
        let source = source.wall_clock(offset).build_with(issuer.service()).unwrap();
        assert_eq!(obtain(&source).await.is_ok(), is_ok, "{ours}");
    }
}

/// The secret must be at least as long as the hash (RFC 7518 §3.2).
#[tokio::test]
async fn a_clients_secret_signs_if_it_is_long_enough() {
    let issuer = issuer(ClientAuthentication::SecretJwt);
    let auth = ClientAuth::client_secret_jwt("client1", "a client secret of 32 bytes or so");
    obtain(&client(&issuer, auth).unwrap()).await.unwrap();
    assert_eq!(sent(&issuer).1, json!({ "alg": "HS256", "typ": "client-authentication+jwt" }));
    let error =
        client(&issuer, ClientAuth::client_secret_jwt("client1", "only thirty-one bytes, not more")).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("32 bytes"), "{error}");
    let late = ClientAuth::client_secret_jwt("client1", Secret::from_fn(async || Ok("short".into())));
    assert!(obtain(&client(&issuer, late).unwrap()).await.unwrap_err().is_config());
}

/// The public keys verify the signatures (RFC 7515 §5.2).
#[tokio::test]
async fn each_kind_of_key_has_its_algorithm_and_its_signature_verifies() {
    use SigningAlgorithm as By;
    let p384 = || DecodingKey::from_ec_pem(include_bytes!("../data/p384-public.pem")).unwrap();
    let p256 = || DecodingKey::from_ec_pem(include_bytes!("../data/p256-public.pem")).unwrap();
    let ed25519 = || DecodingKey::from_ed_pem(include_bytes!("../data/ed25519-public.pem")).unwrap();
    let pkcs1 = include_str!("../data/rsa-pkcs1.pem");
    let rsa = || DecodingKey::from_rsa_pem(include_bytes!("../data/rsa-public.pem")).unwrap();
    for (pem, by, alg, public) in [
        (P384, None, Algorithm::ES384, p384()),
        (P256, None, Algorithm::ES256, p256()),
        (P256, Some(By::ES256), Algorithm::ES256, p256()),
        (RSA, None, Algorithm::RS256, rsa()),
        (pkcs1, None, Algorithm::RS256, rsa()),
        (RSA, Some(By::RS384), Algorithm::RS384, rsa()),
        (pkcs1, Some(By::RS512), Algorithm::RS512, rsa()),
        (RSA, Some(By::PS256), Algorithm::PS256, rsa()),
        (RSA, Some(By::PS384), Algorithm::PS384, rsa()),
        (ED25519, None, Algorithm::EdDSA, ed25519()),
    ] {
        let issuer = Issuer::new();
        let key = by.iter().fold(SigningKey::pem(pem), |key, by| key.algorithm(*by));
        obtain(&client(&issuer, ClientAuth::private_key_jwt("client1", key)).unwrap()).await.unwrap_err();
        let (jwt, header, _) = sent(&issuer);
        assert_eq!(header["alg"], json!(alg));
        let (message, signature) = jwt.rsplit_once('.').unwrap();
        let verifier = (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&alg, &public).unwrap();
        verifier.verify(message.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    }
}

#[test]
fn a_key_that_cannot_be_used_says_what_to_do() {
    for (key, says) in [
        (SigningKey::pem("not a key"), "PRIVATE KEY block"),
        (SigningKey::pem(""), "PRIVATE KEY block"),
        (SigningKey::pem(include_str!("../data/p256-public.pem")), "PRIVATE KEY block"),
        (SigningKey::pem(include_str!("../data/p256-public.pem")), "only a public key"),
        (SigningKey::pem(CERTIFICATE), "only a certificate"),
        (SigningKey::pem("/run/secrets/key.pem"), "`Secret::file`"),
        (SigningKey::pem(r#"{"kty":"EC"}"#), "a JWK"),
        (SigningKey::pem("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA"), "ssh-keygen -p -m PKCS8"),
        (SigningKey::pem(include_str!("../data/sec1.pem")), "openssl pkcs8 -topk8 -nocrypt"),
        (SigningKey::pem(include_str!("../data/encrypted.pem")), "openssl pkey"),
        (SigningKey::pem(include_str!("../data/rsa-1024.pem")), "2048 bits"),
        (SigningKey::pem(include_str!("../data/p256-private-only.pem")), "with its public key in it"),
        (SigningKey::pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"), "unencrypted PEM"),
        (SigningKey::pem(P384).algorithm(SigningAlgorithm::ES256), "ES256"),
        (SigningKey::pem(P384).algorithm(SigningAlgorithm::RS384), "RS384"),
        (SigningKey::pem(RSA).algorithm(SigningAlgorithm::EdDSA), "EdDSA"),
    ] {
        let error = client(&Issuer::new(), ClientAuth::private_key_jwt("client1", key)).unwrap_err();
        assert!(error.is_config() && error.to_string().contains(says), "{says}: {error}");
    }
    let error = client(&Issuer::new(), ClientAuth::private_key_jwt("", key())).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("its id"), "{error}");
}

#[tokio::test]
async fn a_key_may_come_after_other_text_and_have_written_out_line_ends() {
    for pem in [
        format!("{CERTIFICATE}{P384}"),
        format!("{P384}{CERTIFICATE}"),
        format!("Bag Attributes\n    friendlyName: not ENCRYPTED\n{P384}"),
        format!("\u{feff}{P384}"),
        format!("{CERTIFICATE}{P384}").replace('\n', "\r\n"),
        P384.replace('\n', "\\n"),
        P384.replace('\n', "\\r\\n"),
        P384.replace('\n', " "),
        format!("\"{}\"", P384.replace('\n', "\\n")),
    ] {
        let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
        let key = SigningKey::pem(pem).key_id("client-key");
        obtain(&client(&issuer, ClientAuth::private_key_jwt("client1", key)).unwrap()).await.unwrap();
    }
}

/// SMART App Launch 2.2, "Client Authentication: Asymmetric": RS384 or ES384, with `kid`, `typ` and `jti`, `exp` within
/// 5 min, the token URL as `aud`, and the client's id as `iss` and `sub`.
#[tokio::test]
async fn backend_services_are_client_credentials_with_an_assertion() {
    let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
    let source = ClientCredentials::backend_services(URL, "client1", key()).scope("user/Patient.rs");
    let token = TokenCache::new(source.build_with(issuer.service()).unwrap()).token().await.unwrap();
    assert_eq!(token.scope(), Some("user/Patient.rs"));
    let (_, header, claims) = sent(&issuer);
    assert_eq!(
        (&header["alg"], &header["kid"], &header["typ"]),
        (&json!("ES384"), &json!("client-key"), &json!("JWT"))
    );
    assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"]), (&json!("client1"), &json!("client1"), &json!(URL)));
    let ahead = claims["exp"].as_u64().unwrap() - now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((1..=300).contains(&ahead) && !claims["jti"].as_str().unwrap().is_empty(), "{claims}");
    assert_eq!(issuer.last_request().unwrap().grant_type(), Some("client_credentials"));

    let rsa = ClientCredentials::backend_services(URL, "client1", SigningKey::pem(RSA).key_id("rsa"));
    obtain(&rsa.build_with(issuer.service()).unwrap()).await.unwrap_err();
    assert_eq!(sent(&issuer).1["alg"], "RS384");

    let nameless = ClientCredentials::backend_services(URL, "client1", SigningKey::pem(P384));
    let error = nameless.build_with(issuer.service()).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("`key_id`"), "{error}");
}

/// RFC 7523 §2.1, §3.
#[tokio::test]
async fn an_assertion_about_a_user_is_a_grant() {
    let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
    let bearer = |sub: &str| {
        let source = JwtBearer::builder(URL).client_auth(ClientAuth::private_key_jwt("client1", key()));
        source.signed(Assertion::new("client1", sub, key())).build_with(issuer.service()).unwrap()
    };
    let source = bearer("user1");
    for _ in 0..2 {
        obtain(&source).await.unwrap();
    }
    let request = issuer.last_request().unwrap();
    assert_ne!(request.param("assertion"), request.param("client_assertion"));
    assert_eq!(obtain(&bearer("nobody")).await.unwrap_err().oauth_code(), Some("invalid_grant"));
}

/// A key file is read when the key is needed.
#[tokio::test]
async fn a_key_file_may_change_while_the_program_runs() {
    let file = crate::support::scratch("key.pem");
    let issuer = issuer(ClientAuthentication::PrivateKeyJwt);
    let key = SigningKey::pem(Secret::file(&file)).key_id("client-key");
    let source = client(&issuer, ClientAuth::private_key_jwt("client1", key)).unwrap();
    let error = obtain(&source).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("key.pem"), "{error}");
    let before = source.credentials_version();
    std::fs::write(&file, P256).unwrap();
    assert_eq!(obtain(&source).await.unwrap_err().oauth_code(), Some("invalid_client"));
    let middle = source.credentials_version();
    std::fs::write(&file, P384).unwrap();
    obtain(&source).await.unwrap();
    assert!(before != middle && middle != source.credentials_version());
}
