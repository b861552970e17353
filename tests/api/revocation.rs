//! Revocation (RFC 7009) by the cache.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{BoxError, ServiceExt, service_fn};
use tower_bearer::{
    AccessToken, BoxTokenSource, FixedToken, PasswordGrant, TokenCache,
    grant::{AuthorizationServer, ClientAuth, HttpService, PasswordGrantBuilder, RefreshToken, Secret},
    source::Narrowing,
    testing::{Issuer, IssuerService, RefreshTokens},
};

use crate::support::accepted;

const TOKEN: &str = "https://issuer.test/token";
const REVOKE: &str = "https://issuer.test/revoke";

fn issuer() -> Issuer {
    Issuer::builder().refresh_tokens(RefreshTokens::Kept).build()
}

fn builder(server: impl Into<AuthorizationServer>) -> PasswordGrantBuilder {
    PasswordGrant::builder(server)
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
}

fn cache<C: HttpService>(http: C) -> TokenCache {
    TokenCache::new(builder(TOKEN).revocation_url(REVOKE).build_with(http).unwrap())
}

type Asked = Arc<Mutex<Vec<String>>>;

/// Returns an issuer whose revocation endpoint sends this response instead, if there is one, and the requests to it.
fn revoking(issuer: &Issuer, answer: Option<(u16, &'static str, &'static str)>) -> (impl HttpService, Asked) {
    let asked = Asked::default();
    let (issuer, log) = (issuer.service(), Arc::clone(&asked));
    let service = service_fn(move |request: Request<Full<Bytes>>| {
        let (issuer, log): (IssuerService, _) = (issuer.clone(), Arc::clone(&log));
        async move {
            if request.uri().path() != "/revoke" {
                return issuer.oneshot(request).await.map_err(BoxError::from);
            }
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            log.lock().unwrap().push(String::from_utf8(body.to_vec())?);
            tokio::task::yield_now().await;
            match answer {
                None => issuer.oneshot(Request::from_parts(head, Full::from(body))).await.map_err(BoxError::from),
                Some((status, body, header)) => Ok(Response::builder()
                    .status(status)
                    .header("content-type", "application/json")
                    .header("retry-after", header)
                    .body(Full::from(body))?),
            }
        }
    });
    (service, asked)
}

/// RFC 7009 §2.1.
#[tokio::test]
async fn the_access_token_and_its_refresh_token_are_revoked() {
    let issuer = issuer();
    let (http, asked) = revoking(&issuer, None);
    let cache = cache(http);
    let token = cache.token().await.unwrap();
    cache.revoke().await.unwrap();
    assert!(!accepted(&issuer, &token));
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], format!("token={}&token_type_hint=access_token", token.secret()));
    assert!(asked[1].ends_with("&token_type_hint=refresh_token"));
    assert!(!cache.status().is_ready());
    assert!(accepted(&issuer, &cache.token().await.unwrap()));
    assert_eq!((issuer.counts().password, issuer.counts().refresh_token), (2, 0), "the refresh token is gone");
}

/// An unknown token is not an error (RFC 7009 §2.2).
#[tokio::test]
async fn revoking_twice_or_before_the_first_token_is_not_an_error() {
    let issuer = issuer();
    let cache = cache(issuer.service());
    cache.revoke().await.unwrap();
    assert_eq!(issuer.counts().revocations, 0);
    cache.token().await.unwrap();
    cache.revoke().await.unwrap();
    cache.revoke().await.unwrap();
    assert_eq!(issuer.counts().revocations, 3);
}

/// RFC 7009 §2.2.1.
#[tokio::test]
async fn a_revocation_endpoint_that_would_not_is_an_error_and_the_token_is_forgotten() {
    for (status, body, retry_after, code) in [
        (503, "", "7", None),
        (400, r#"{"error":"unsupported_token_type"}"#, "", Some("unsupported_token_type")),
        (401, r#"{"error":"invalid_client"}"#, "", Some("invalid_client")),
        (404, "<html>", "", None),
        (302, "", "", None),
    ] {
        let (http, _) = revoking(&issuer(), Some((status, body, retry_after)));
        let cache = cache(http);
        cache.token().await.unwrap();
        let error = cache.revoke().await.unwrap_err();
        assert!(error.to_string().contains("the revocation endpoint"), "{error}");
        assert_eq!((error.oauth_code(), error.retry_in()), (code, (status == 503).then_some(Duration::from_secs(7))));
        assert_eq!((error.is_transient(), cache.status().is_ready()), (matches!(status, 302 | 503), false), "{status}");
    }
}

/// Some servers do not revoke JWTs. The refresh token is revoked anyway.
#[tokio::test]
async fn an_access_token_that_cannot_be_revoked_does_not_save_the_refresh_token() {
    let (http, asked) = revoking(&issuer(), Some((400, r#"{"error":"unsupported_token_type"}"#, "")));
    let cache = cache(http);
    cache.token().await.unwrap();
    assert!(cache.revoke().await.unwrap_err().to_string().contains("JWTs"));
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_configured_refresh_token_is_revoked_whether_it_was_used_or_not() {
    let issuer = issuer();
    let (http, asked) = revoking(&issuer, None);
    let source = RefreshToken::builder(TOKEN)
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .refresh_token("the-first-one")
        .revocation_url(REVOKE)
        .build_with(http)
        .unwrap();
    let source = BoxTokenSource::new(source);
    let token = AccessToken::new("t").unwrap();
    tower_bearer::TokenSource::revoke(&source, &token).await.unwrap();
    assert!(asked.lock().unwrap()[1].contains("the-first-one"));
}

fn refresh<C: HttpService>(place: impl Into<Secret>, http: C) -> TokenCache {
    let builder = RefreshToken::builder(TOKEN).client_auth(ClientAuth::basic("client1", "client-secret"));
    TokenCache::new(builder.refresh_token(place).revocation_url(REVOKE).build_with(http).unwrap())
}

/// Lets the next token requests bring the access tokens `t1`, `t2`... and the refresh tokens `r1`, `r2`...
fn rotating(issuer: &Issuer, requests: usize) {
    for n in 1..=requests {
        issuer.answer_next(serde_json::json!({ "access_token": format!("t{n}"), "token_type": "Bearer",
            "refresh_token": format!("r{n}"), "expires_in": 3600 }));
    }
}

/// Returns the tokens that were sent to the revocation endpoint.
fn sent(asked: &Asked) -> Vec<String> {
    let asked = asked.lock().unwrap();
    let tokens = asked.iter().map(|form| form.split(['=', '&']).nth(1).unwrap().to_owned());
    tokens.collect()
}

#[tokio::test]
async fn before_the_first_token_the_saved_refresh_token_is_revoked() {
    let issuer = issuer();
    let (http, asked) = revoking(&issuer, None);
    let cache = refresh("saved", http);
    cache.revoke().await.unwrap();
    cache.revoke().await.unwrap();
    assert_eq!(sent(&asked), ["saved"], "once");
    let error = cache.token().await.unwrap_err();
    assert!(error.is_terminal() && issuer.counts().token_requests == 0, "{error}");
}

#[tokio::test]
async fn a_saved_refresh_token_that_cannot_be_read_is_not_taken_for_revoked() {
    let cache = refresh(Secret::from_fn(async || Err("the vault is sealed".into())), issuer().service());
    assert!(cache.revoke().await.unwrap_err().is_transient());
}

#[tokio::test]
async fn a_refresh_token_that_was_rotated_away_is_never_sent_again() {
    let issuer = issuer();
    let (http, asked) = revoking(&issuer, None);
    let cache = refresh("r0", http);
    rotating(&issuer, 2);
    cache.token().await.unwrap();
    cache.reset();
    cache.token().await.unwrap();
    cache.revoke().await.unwrap();
    assert_eq!(sent(&asked), ["t2", "r2"]);
    cache.revoke().await.unwrap();
    assert_eq!(sent(&asked), ["t2", "r2", "t2"]);
    assert!(cache.token().await.unwrap_err().is_terminal());
    assert_eq!(issuer.counts().token_requests, 2);
}

#[tokio::test]
async fn after_a_revocation_a_new_sign_in_is_used() {
    let issuer = issuer();
    let vault = Arc::new(Mutex::new("r0".to_owned()));
    let opened = Arc::clone(&vault);
    let place = Secret::from_fn(move || {
        let kept = opened.lock().unwrap().clone();
        async { Ok(kept.into()) }
    });
    let cache = refresh(place, issuer.service());
    rotating(&issuer, 2);
    cache.token().await.unwrap();
    cache.revoke().await.unwrap();
    assert!(cache.token().await.is_err());
    "other".clone_into(&mut vault.lock().unwrap());
    cache.reset();
    assert_eq!(cache.token().await.unwrap().secret(), "t2");
    assert_eq!(issuer.last_request().unwrap().param("refresh_token"), Some("other"));
}

#[tokio::test]
async fn a_refresh_token_that_narrowed_tokens_share_is_revoked_once() {
    for answer in [None, Some((503, "", "7"))] {
        let issuer = issuer();
        let (http, asked) = revoking(&issuer, answer);
        let cache = refresh("r0", http);
        rotating(&issuer, 61);
        cache.token().await.unwrap();
        for n in 0..60 {
            let to = Narrowing::new().with_scope(format!("scope{n}")).unwrap();
            cache.narrowed(&to).unwrap().token().await.unwrap();
        }
        assert_eq!(cache.revoke().await.is_ok(), answer.is_none());
        let sent = sent(&asked);
        assert_eq!(sent.iter().filter(|token| token.starts_with('r')).collect::<Vec<_>>(), ["r61"]);
        assert_eq!(sent.iter().filter(|token| token.starts_with('t')).count(), 61);
    }
}

#[tokio::test]
async fn where_to_revoke_comes_from_the_metadata_or_is_asked_for() {
    let issuer = issuer();
    let found = builder(AuthorizationServer::issuer("https://issuer.test")).build_with(issuer.service()).unwrap();
    let cache = TokenCache::new(found);
    let token = cache.token().await.unwrap();
    cache.revoke().await.unwrap();
    assert!(!accepted(&issuer, &token));

    let cache = TokenCache::new(builder(TOKEN).build_with(issuer.service()).unwrap());
    cache.token().await.unwrap();
    let error = cache.revoke().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("`revocation_url`"), "{error}");
    assert!(!cache.status().is_ready());

    let wrong = builder(TOKEN).revocation_url("http://issuer.test/revoke").build_with(issuer.service());
    assert!(wrong.unwrap_err().to_string().contains("revocation URL"));
}

#[tokio::test]
async fn a_server_whose_metadata_has_no_revocation_endpoint_is_the_reason_why_nothing_is_revoked() {
    let issuer = issuer();
    let document = serde_json::json!({ "issuer": "https://issuer.test", "token_endpoint": TOKEN });
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let document = (request.method() == "GET").then(|| document.to_string());
        let issuer = issuer.service();
        async move {
            match document {
                Some(document) => Ok(Response::new(Full::from(document))),
                None => issuer.oneshot(request).await.map_err(BoxError::from),
            }
        }
    });
    for (server, says) in [
        (AuthorizationServer::issuer("https://issuer.test"), "metadata has no revocation endpoint"),
        (TOKEN.into(), "no revocation URL is configured"),
    ] {
        let cache = TokenCache::new(builder(server).build_with(http.clone()).unwrap());
        cache.token().await.unwrap();
        let error = cache.revoke().await.unwrap_err();
        assert!(error.is_config() && error.to_string().contains(says), "{error}");
        assert!(error.to_string().contains("`revocation_url`"), "{error}");
    }
}

#[tokio::test]
async fn a_source_that_cannot_revoke_says_so() {
    let cache = TokenCache::new(FixedToken::new("t").unwrap());
    cache.token().await.unwrap();
    assert!(cache.revoke().await.unwrap_err().is_config());
    assert!(!cache.status().is_ready());
}

/// Otherwise its token would still be valid after the revocation.
#[tokio::test]
async fn revoking_waits_for_a_renewal_in_progress_and_revokes_its_token() {
    let issuer = issuer();
    let cache = cache(issuer.service());
    let gate = issuer.hold();
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.token().await }
    });
    while issuer.counts().token_requests == 0 {
        tokio::task::yield_now().await;
    }
    let mut revoking = tokio_test::task::spawn(cache.revoke());
    assert!(revoking.poll().is_pending());
    gate.release();
    revoking.await.unwrap();
    assert!(!accepted(&issuer, &waiting.await.unwrap().unwrap()));
}
