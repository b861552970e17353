//! The grants other than the password grant, and what all grants share.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use futures::future::try_join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, BoxTokenSource, FixedToken, Outcome, PasswordGrant, TokenSource,
    grant::{
        ClientAuth, ClientCredentials, JwtBearer, RefreshToken, RefreshTokenBuilder, Secret, TokenExchange,
        TokenExchangeBuilder, token_type,
    },
    source::Narrowing,
    testing::{ClientAuthentication, Failure, Issuer, IssuerService, RefreshTokens, TokenRequest},
};

use crate::{
    scripted::get,
    support::{accepted, obtain, scratch, values},
};

const URL: &str = "https://issuer.test/token";

fn basic() -> ClientAuth {
    ClientAuth::basic("client1", "client-secret")
}

fn last(issuer: &Issuer) -> TokenRequest {
    issuer.last_request().unwrap()
}

/// Returns the response to a password request, which a user's own client has.
async fn signed_in(issuer: &Issuer) -> Value {
    let form = "grant_type=password&username=user1&password=user-password";
    let request = Request::post(URL)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", "Basic Y2xpZW50MTpjbGllbnQtc2VjcmV0")
        .body(Full::<Bytes>::from(form))
        .unwrap();
    let answer = issuer.service().oneshot(request).await.unwrap();
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

fn client_credentials(issuer: &Issuer) -> ClientCredentials<IssuerService> {
    ClientCredentials::builder(URL).client_auth(basic()).build_with(issuer.service()).unwrap()
}

fn refresh(first: impl Into<Secret>) -> RefreshTokenBuilder {
    RefreshToken::builder(URL).client_auth(basic()).refresh_token(first)
}

fn exchange(subject: impl Into<Secret>) -> TokenExchangeBuilder {
    TokenExchange::builder(URL).client_auth(basic()).subject_token(subject, token_type::ACCESS_TOKEN)
}

/// RFC 6749 §4.4.2.
#[tokio::test]
async fn client_credentials_do_not_send_user_credentials() {
    let issuer = Issuer::new();
    assert!(accepted(&issuer, &obtain(&client_credentials(&issuer)).await.unwrap()));
    assert_eq!(last(&issuer).params(), [("grant_type".to_owned(), "client_credentials".to_owned())]);
}

/// Servers should not send a refresh token here (RFC 6749 §4.4.3), but some do.
#[tokio::test]
async fn a_refresh_token_beside_client_credentials_is_not_used() {
    let issuer = Issuer::new();
    let source = client_credentials(&issuer);
    issuer.amend_next(json!({ "refresh_token": "superfluous" }));
    for _ in 0..2 {
        obtain(&source).await.unwrap();
    }
    assert_eq!((issuer.counts().client_credentials, issuer.counts().refresh_token), (2, 0));
}

/// RFC 6749 §6.
#[tokio::test]
async fn a_refresh_token_from_elsewhere_is_rotated_and_each_new_one_saved() {
    let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
    let first = text(&signed_in(&issuer).await, "refresh_token");
    let saved = Arc::new(Mutex::new(Vec::new()));
    let shelf = Arc::clone(&saved);
    let builder = refresh(&first).on_rotation(move |new| {
        shelf.lock().unwrap().push(new.expose().to_owned());
        async { Ok(()) }
    });
    let source = builder.build_with(issuer.service()).unwrap();
    for _ in 0..3 {
        assert!(accepted(&issuer, &obtain(&source).await.unwrap()));
    }
    assert_eq!((issuer.counts().password, issuer.counts().refresh_token), (1, 3));
    let saved = saved.lock().unwrap().clone();
    let sent = |n: usize| issuer.requests()[n].param("refresh_token").unwrap().to_owned();
    assert_eq!((sent(1), sent(2), sent(3)), (first, saved[0].clone(), saved[1].clone()));
    // After a restart, the saved refresh token is used.
    obtain(&refresh(&saved[2]).build_with(issuer.service()).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_refresh_token_that_could_not_be_saved_is_saved_the_next_time() {
    let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
    let first = text(&signed_in(&issuer).await, "refresh_token");
    let (full, saved) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
    let (disk, shelf) = (Arc::clone(&full), Arc::clone(&saved));
    let builder = refresh(first).on_rotation(move |new| {
        let is_full = disk.load(SeqCst);
        if !is_full {
            shelf.lock().unwrap().push(new.expose().to_owned());
        }
        async move { if is_full { Err("the disk is full".into()) } else { Ok(()) } }
    });
    let source = builder.build_with(issuer.service()).unwrap();
    assert!(accepted(&issuer, &obtain(&source).await.unwrap()), "the access token is accepted");
    full.store(false, SeqCst);
    issuer.fail_next(1, Failure::Status(503));
    obtain(&source).await.unwrap_err();
    assert_eq!(saved.lock().unwrap().len(), 1, "the unsaved token is saved before it is used");
    obtain(&source).await.unwrap();
    assert_eq!(saved.lock().unwrap().len(), 2);
}

/// A save function that hangs or panics does not delay the tokens.
#[tokio::test(start_paused = true)]
async fn a_failed_save_does_not_affect_the_token() {
    for hangs in [true, false] {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
        let builder = refresh(text(&signed_in(&issuer).await, "refresh_token"))
            .on_rotation(move |_| async move { if hangs { std::future::pending().await } else { panic!("no disk") } });
        let cache = tower_bearer::TokenCache::new(builder.build_with(issuer.service()).unwrap());
        for _ in 0..3 {
            assert!(accepted(&issuer, &cache.token().await.unwrap()));
            cache.reset();
        }
    }
}

/// The first refresh token is used up, and must not be sent again (RFC 9700 §4.14.2).
#[tokio::test]
async fn a_refusal_never_makes_a_used_refresh_token_come_back() {
    for trouble in [
        Failure::Status(403),
        Failure::Status(503),
        Failure::OAuth(401, "invalid_client"),
        Failure::OAuth(400, "invalid_scope"),
        Failure::OAuth(400, "invalid_grant"),
    ] {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
        let source = refresh(text(&signed_in(&issuer).await, "refresh_token")).build_with(issuer.service()).unwrap();
        obtain(&source).await.unwrap();
        issuer.fail_next(1, trouble);
        obtain(&source).await.unwrap_err();
        assert_eq!(issuer.counts().token_requests, 3, "one refresh for one attempt");
        assert!(accepted(&issuer, &obtain(&source).await.unwrap()));
    }
}

#[tokio::test]
async fn after_a_refusal_another_refresh_token_is_looked_for_in_its_place() {
    let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
    let vault = Arc::new(Mutex::new(text(&signed_in(&issuer).await, "refresh_token")));
    let opened = Arc::clone(&vault);
    let place = Secret::from_fn(move || {
        let kept = opened.lock().unwrap().clone();
        async { Ok(kept.into()) }
    });
    let source = refresh(place).build_with(issuer.service()).unwrap();
    obtain(&source).await.unwrap();
    issuer.revoke_all();
    for _ in 0..2 {
        assert_eq!(obtain(&source).await.unwrap_err().oauth_code(), Some("invalid_grant"));
        assert_ne!(last(&issuer).param("refresh_token"), Some(&**vault.lock().unwrap()), "it is used up");
    }
    *vault.lock().unwrap() = text(&signed_in(&issuer).await, "refresh_token");
    assert!(accepted(&issuer, &obtain(&source).await.unwrap()));
}

/// A file that is written again with the same content holds the used refresh token. Only different content is a new
/// token (RFC 9700 §4.14.2).
#[tokio::test]
async fn only_another_refresh_token_in_the_file_is_a_new_beginning() {
    let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
    let file = scratch("refresh-token");
    let write = |token: &str| {
        fs::write(file.with_extension("new"), token).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
    };
    let first = text(&signed_in(&issuer).await, "refresh_token");
    write(&first);
    let source = refresh(Secret::file(&file)).build_with(issuer.service()).unwrap();
    obtain(&source).await.unwrap();
    write(&format!("{first}\n"));
    assert!(accepted(&issuer, &obtain(&source).await.unwrap()));
    fs::remove_file(&file).unwrap();
    assert!(accepted(&issuer, &obtain(&source).await.unwrap()));
    let other = text(&signed_in(&issuer).await, "refresh_token");
    write(&other);
    obtain(&source).await.unwrap();
    assert_eq!(last(&issuer).param("refresh_token"), Some(&*other));
}

#[tokio::test]
async fn a_refresh_token_that_is_not_rotated_is_used_again_and_again() {
    let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Kept).build();
    let source = refresh(text(&signed_in(&issuer).await, "refresh_token"));
    let source = source.on_rotation(async |_| panic!("there is no new token")).build_with(issuer.service()).unwrap();
    try_join_all((0..5).map(|_| obtain(&source))).await.unwrap();
    assert_eq!(issuer.counts().refresh_token, 5);
}

/// RFC 8693 §2.1.
#[tokio::test]
async fn a_token_is_exchanged_for_another_one() {
    let issuer = Issuer::new();
    let (subject, actor) = (signed_in(&issuer).await, signed_in(&issuer).await);
    let source = exchange(text(&subject, "access_token"))
        .actor_token(text(&actor, "access_token"), token_type::ACCESS_TOKEN)
        .requested_token_type(token_type::ACCESS_TOKEN)
        .scope("user/Patient.rs")
        .audience("https://a.test")
        .audience("https://b.test")
        .resource("https://c.test/fhir")
        .build_with(issuer.service())
        .unwrap();
    let token = obtain(&source).await.unwrap();
    assert!(accepted(&issuer, &token));
    assert_eq!(token.scope(), Some("user/Patient.rs"));
    let request = last(&issuer);
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", &text(&subject, "access_token")),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("actor_token", &text(&actor, "access_token")),
        ("actor_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("resource", "https://c.test/fhir"),
    ] {
        assert_eq!(values(&request, name), [value]);
    }
    assert_eq!(values(&request, "audience"), ["https://a.test", "https://b.test"]);
}

/// RFC 8693 §2.2.1.
#[tokio::test]
async fn an_exchange_must_return_a_bearer_token_and_name_its_type() {
    let issuer = Issuer::new();
    let source = exchange(text(&signed_in(&issuer).await, "access_token")).build_with(issuer.service()).unwrap();
    for (amended, says) in [
        (json!({ "issued_token_type": null }), "issued_token_type"),
        (json!({ "issued_token_type": 1 }), "issued_token_type"),
        (json!({ "token_type": "N_A" }), "N_A"),
    ] {
        issuer.amend_next(amended);
        let error = obtain(&source).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains(says), "{error}");
    }
    obtain(&source).await.unwrap();
}

/// Another party issues the assertion, and the source asks for it each time (RFC 7521 §4.1, RFC 7523 §2.1).
#[tokio::test]
async fn an_assertion_from_elsewhere_is_sent_as_it_is() {
    let issuer = Issuer::builder().client_authentication(ClientAuthentication::None).build();
    issuer.answer_next(json!({ "access_token": "t", "token_type": "Bearer" }));
    let source = JwtBearer::builder(URL)
        .client_auth(ClientAuth::none("client1"))
        .assertion(Secret::from_fn(async || Ok("an.asser.tion".into())))
        .build_with(issuer.service())
        .unwrap();
    obtain(&source).await.unwrap();
    assert_eq!(last(&issuer).grant_type(), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    assert_eq!(values(&last(&issuer), "assertion"), ["an.asser.tion"]);
    let error = obtain(&source).await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("invalid_grant"), "the issuer checks the assertion");
}

/// The client id is sent in addition to an assertion that another party issues (RFC 7521 §4.2).
#[tokio::test]
async fn a_client_assertion_from_elsewhere_is_sent_with_the_clients_id() {
    let issuer = Issuer::new();
    issuer.answer_next(json!({ "access_token": "t", "token_type": "Bearer" }));
    let auth = ClientAuth::assertion_from("client1", "pro.jec.ted");
    let source = ClientCredentials::builder(URL).client_auth(auth).build_with(issuer.service()).unwrap();
    obtain(&source).await.unwrap();
    for (name, value) in [
        ("client_id", "client1"),
        ("client_assertion", "pro.jec.ted"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    ] {
        assert_eq!(values(&last(&issuer), name), [value]);
    }
    assert_eq!((last(&issuer).header("authorization"), last(&issuer).param("client_secret")), (None, None));
}

#[test]
fn a_grant_says_what_it_lacks() {
    let http = Issuer::new().service();
    let error = JwtBearer::builder(URL).client_auth(basic()).build_with(http.clone()).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("`assertion`"), "{error}");
    let error = RefreshToken::builder(URL).client_auth(basic()).build_with(http.clone()).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("`refresh_token`"), "{error}");
    let error = TokenExchange::builder(URL).client_auth(basic()).build_with(http.clone()).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("`subject_token`"), "{error}");
    let error = ClientCredentials::builder(URL).client_auth(basic()).audience("a").audience("b");
    let error = error.build_with(http.clone()).unwrap_err();
    assert!(error.to_string().contains("`audience`"), "only an exchange repeats it");
    let error = exchange("t").requested_token_type(token_type::JWT).param("requested_token_type", "x").build_with(http);
    assert!(error.unwrap_err().to_string().contains("`requested_token_type`"), "it would be sent twice");
}

/// The password grant must not be used for anything new (RFC 9700 §2.4). Replacing it only changes the source.
#[tokio::test]
async fn leaving_the_password_grant_changes_only_the_source() {
    let issuer = Issuer::new();
    let password = PasswordGrant::builder(URL).client_auth(basic()).credentials("user1", "user-password");
    let password = BoxTokenSource::new(password.build_with(issuer.service()).unwrap());
    for source in [password, BoxTokenSource::new(client_credentials(&issuer))] {
        let service = BearerAuthLayer::new(source).layer(issuer.api());
        for revoked in [false, true] {
            if revoked {
                issuer.revoke_all();
            }
            let answer = service.clone().oneshot(get("https://api.test/fhir/Patient")).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.extensions().get().is_some_and(Outcome::retried), revoked);
        }
    }
    assert_eq!((issuer.counts().password, issuer.counts().client_credentials), (2, 2));
}

/// RFC 6749 §3.3, RFC 8707 §2, RFC 9700 §2.3.
#[tokio::test]
async fn a_narrowed_source_asks_for_less_and_is_boxed_as_well() {
    let issuer = Issuer::new();
    let source = ClientCredentials::builder(URL).client_auth(basic()).resource("https://all.test").param("x", "1");
    let source = source.build_with(issuer.service()).unwrap();
    let to = Narrowing::new().with_scope("user/Patient.rs").unwrap();
    let to = to.with_resource("https://b.test").unwrap().with_resource("https://a.test").unwrap();
    for narrowed in [
        source.narrowed(&to).unwrap(),
        BoxTokenSource::new(source).narrowed(&to).expect("a boxed source can be narrowed"),
    ] {
        assert_eq!(obtain(&narrowed).await.unwrap().scope(), Some("user/Patient.rs"));
        assert_eq!(values(&last(&issuer), "scope"), ["user/Patient.rs"]);
        assert_eq!(values(&last(&issuer), "resource"), ["https://a.test", "https://b.test"]);
        assert_eq!(values(&last(&issuer), "x"), ["1"]);
    }
    let nothing_less = BoxTokenSource::new(FixedToken::new("t").unwrap());
    assert!(nothing_less.narrowed(&to).is_none());
}

/// A refresh returns no more than was granted with the refresh token (RFC 6749 §6).
#[tokio::test]
async fn a_narrowed_password_grant_has_its_own_refresh_token() {
    let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
    let source = PasswordGrant::builder(URL).client_auth(basic()).credentials("user1", "user-password");
    let source = source.build_with(issuer.service()).unwrap();
    let narrowed = source.narrowed(&Narrowing::new().with_scope("user/Patient.rs").unwrap()).unwrap();
    for _ in 0..2 {
        assert_eq!(obtain(&source).await.unwrap().scope(), Some("user/Patient.rs user/Observation.rs"));
        assert_eq!(obtain(&narrowed).await.unwrap().scope(), Some("user/Patient.rs"));
    }
    assert_eq!((issuer.counts().password, issuer.counts().refresh_token), (2, 2));
}

/// Several scopes use one refresh token in turn. A rotated one keeps everything that was granted (RFC 6749 §6).
#[tokio::test]
async fn narrowed_uses_of_one_refresh_token_take_turns() {
    let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
    let source = refresh(text(&signed_in(&issuer).await, "refresh_token")).build_with(issuer.service()).unwrap();
    let narrowed = source.narrowed(&Narrowing::new().with_scope("user/Patient.rs").unwrap()).unwrap();
    for _ in 0..10 {
        let (all, one) = futures::join!(obtain(&source), obtain(&narrowed));
        assert_eq!(all.unwrap().scope(), Some("user/Patient.rs user/Observation.rs"));
        assert_eq!(one.unwrap().scope(), Some("user/Patient.rs"));
    }
    assert_eq!(issuer.counts().refresh_token, 20);
}
