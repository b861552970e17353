//! Grants other than the password grant, assertions, metadata and revocation.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_bearer::{
    AccessToken, BearerAuthLayer, Error, PasswordGrant, Reason, TokenCache, TokenSource,
    grant::{Assertion, AuthorizationServer, ClientAuth, ClientCredentials, Metadata, Secret, SigningKey},
};

use super::{GLEWLWYD, OIDC_PROVIDER, Sdk, http, var};

/// The clients of oidc-provider that have a key. The key has the client's name.
fn with_key(kind: &str) -> (String, SigningKey) {
    let id = var(&format!("OIDC_PROVIDER_{kind}_CLIENT_ID"));
    let file = if kind == "KEY" { var("OIDC_PROVIDER_KEY_FILE") } else { var("OIDC_PROVIDER_RSA_KEY_FILE") };
    (id.clone(), SigningKey::pem(Secret::file(file)).key_id(id))
}

async fn client_credentials(server: impl Into<AuthorizationServer>, auth: ClientAuth) -> Result<AccessToken, Error> {
    let source =
        ClientCredentials::builder(server).client_auth(auth).scope(var("OIDC_PROVIDER_SCOPE")).build().unwrap();
    source.obtain(Reason::First).await
}

/// A certified server accepts assertions (RFC 7523 §2.2, §3) signed with ES384 and, for Backend Services, with RS384.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn our_signed_assertions_are_accepted_and_so_are_their_tokens() {
    for kind in ["KEY", "RSA"] {
        let (id, key) = with_key(kind);
        let server = AuthorizationServer::issuer(var("OIDC_PROVIDER_ISSUER"));
        let source = ClientCredentials::backend_services(server, id, key).scope(var("OIDC_PROVIDER_SCOPE"));
        let layer = BearerAuthLayer::new(source.build().unwrap());
        let request = Request::get(OIDC_PROVIDER.patients()).body(Full::<Bytes>::default()).unwrap();
        assert_eq!(layer.layer(http()).oneshot(request).await.unwrap().status(), StatusCode::OK);
    }
    let (id, secret) = (var("OIDC_PROVIDER_HMAC_CLIENT_ID"), var("OIDC_PROVIDER_HMAC_CLIENT_SECRET"));
    client_credentials(var("OIDC_PROVIDER_TOKEN_URL"), ClientAuth::client_secret_jwt(id, secret)).await.unwrap();
}

/// RFC 7523 §3.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn an_assertion_with_a_wrong_claim_or_key_is_refused() {
    let (id, key) = with_key("KEY");
    let (other_id, other_key) = with_key("RSA");
    let ours = || Assertion::new(id.clone(), id.clone(), key.clone());
    for (wrong, assertion) in [
        ("aud", ours().audience("https://elsewhere.test/token")),
        ("iss", Assertion::new("somebody", id.clone(), key.clone())),
        ("sub", Assertion::new(id.clone(), other_id, key.clone())),
        ("exp", ours().claim("exp", 1_000_000_000)),
        ("jti", ours().claim("jti", "")),
        ("kid", Assertion::new(id.clone(), id.clone(), key.clone().key_id("unknown"))),
        ("key", Assertion::new(id.clone(), id.clone(), other_key.key_id(id.clone()))),
    ] {
        let auth = ClientAuth::assertion(assertion);
        let error = client_credentials(var("OIDC_PROVIDER_TOKEN_URL"), auth).await.unwrap_err();
        assert_eq!((error.oauth_code(), error.is_terminal()), (Some("invalid_client"), true), "{wrong}: {error}");
    }
    let same = || ClientAuth::assertion(ours().claim("jti", "the same again"));
    client_credentials(var("OIDC_PROVIDER_TOKEN_URL"), same()).await.unwrap();
    let error = client_credentials(var("OIDC_PROVIDER_TOKEN_URL"), same()).await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("invalid_client"), "a `jti` can be used once");
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn client_credentials_are_granted_by_both() {
    let secret = || ClientAuth::secret(var("REAL_CLIENT_ID"), var("REAL_CLIENT_SECRET"));
    for (url, scope) in [("OIDC_PROVIDER_TOKEN_URL", "OIDC_PROVIDER_SCOPE"), ("GLEWLWYD_TOKEN_URL", "GLEWLWYD_SCOPE")] {
        let source = ClientCredentials::builder(var(url)).client_auth(secret()).scope(var(scope)).build().unwrap();
        source.obtain(Reason::First).await.unwrap();
    }
}

/// RFC 8414 §3.3, OpenID Connect Discovery 1.0 §4.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn both_are_found_by_their_metadata() {
    for (issuer, pair) in [("OIDC_PROVIDER_ISSUER", OIDC_PROVIDER), ("GLEWLWYD_ISSUER", GLEWLWYD)] {
        let found = Metadata::discover(var(issuer)).await.unwrap();
        assert_eq!(found.token_endpoint(), var(pair.token_url));
        assert_eq!(found.revocation_endpoint(), Some(&*var(pair.revoke_url)));
        let grant = PasswordGrant::builder(AuthorizationServer::issuer(var(issuer)))
            .client_auth(ClientAuth::secret(var("REAL_CLIENT_ID"), var("REAL_CLIENT_SECRET")))
            .credentials(var("REAL_USERNAME"), var("REAL_PASSWORD"))
            .scope(var(pair.scope));
        Sdk::with(grant.build().unwrap(), pair.patients()).ok().await;
        let wrong = format!("{}/", var(issuer));
        assert!(Metadata::discover(wrong).await.is_err(), "the issuer must be exactly the same text");
    }
}

/// RFC 7009. oidc-provider revokes refresh tokens, but not JWTs.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn revoking_a_cache_revokes_all_its_tokens() {
    let sdk =
        Sdk::with(GLEWLWYD.grant().revocation_url(var(GLEWLWYD.revoke_url)).build().unwrap(), GLEWLWYD.patients());
    sdk.ok().await;
    let token = sdk.cache.token().await.unwrap();
    sdk.cache.revoke().await.unwrap();
    let request = Request::get(GLEWLWYD.patients()).header("authorization", token.header_value());
    let response = http().request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    sdk.ok().await;

    let source = OIDC_PROVIDER.grant().revocation_url(var(OIDC_PROVIDER.revoke_url)).build().unwrap();
    let cache = TokenCache::new(source);
    cache.token().await.unwrap();
    let error = cache.revoke().await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("unsupported_token_type"));
    assert!(error.to_string().contains("JWTs"), "{error}");
    assert!(!cache.status().is_ready());
}
