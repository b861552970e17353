//! The password grant at a token endpoint, with successful and failed responses.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use http::{Method, Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{BoxError, Layer, service_fn};
#[cfg(feature = "client")]
use tower_bearer::grant::HttpClient;
use tower_bearer::{
    BearerAuthLayer, Error, FailureClass, Lifetime, PasswordGrant, TokenSource,
    grant::{AuthorizationServer, ClientAuth, Credentials, CredentialsProvider, PasswordGrantBuilder, Secret},
    testing::{ClientAuthentication, Failure, Issuer, IssuerService, RefreshTokens, TokenFormat},
};

use crate::{
    scripted::{Api, Strict, get, send},
    support::{accepted, obtain, values},
};

const URL: &str = "https://issuer.test/token";

fn builder(url: &str) -> PasswordGrantBuilder {
    PasswordGrant::builder(url)
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
}

fn grant(issuer: &Issuer) -> PasswordGrant<IssuerService> {
    builder(URL).build_with(issuer.service()).unwrap()
}

fn refreshing(refresh_tokens: RefreshTokens) -> Issuer {
    Issuer::builder().refresh_tokens(refresh_tokens).build()
}

/// Returns the error of one token request that meets this failure.
async fn failure(with: Failure) -> Error {
    let issuer = Issuer::new();
    issuer.fail_next(1, with);
    let error = obtain(&grant(&issuer)).await.unwrap_err();
    assert_eq!(issuer.counts().token_requests, 1, "{error}");
    error
}

fn answer(content_type: &str, body: impl Into<Bytes>) -> Failure {
    Failure::Answer { status: 200, content_type: content_type.to_owned(), body: body.into() }
}

/// RFC 6749 §2.3, §2.3.1.
#[tokio::test]
async fn the_client_authenticates_in_exactly_one_way() {
    let (id, secret) = ("1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=");
    let encoded = "1PpG%2FQ%201:z%2FtZ9VwFZqApmIQ%2BZH1I5pLk%2FuB4ud%3AX2%2F8bL%2BwfFTt1rFw%3D";
    let raw = format!("{id}:{secret}");
    for (accepts, auth, user_pass, in_body) in [
        (ClientAuthentication::Basic, ClientAuth::basic(id, secret), Some(encoded), None),
        (ClientAuthentication::BasicRaw, ClientAuth::basic_raw(id, secret), Some(&raw), None),
        (ClientAuthentication::Post, ClientAuth::post(id, secret), None, Some(secret)),
        (ClientAuthentication::None, ClientAuth::none(id), None, None),
    ] {
        let issuer = Issuer::builder().client(id, secret).client_authentication(accepts).build();
        let grant = builder(URL).client_auth(auth).build_with(issuer.service()).unwrap();
        obtain(&grant).await.unwrap();
        let request = issuer.last_request().unwrap();
        let header = user_pass.map(|pair| format!("Basic {}", BASE64_STANDARD.encode(pair)));
        assert_eq!(request.header("authorization"), header.as_deref());
        assert_eq!(request.param("client_secret"), in_body);
        assert_eq!(request.param("client_id"), header.is_none().then_some(id));
        assert_eq!(request.headers().get_all("content-type").iter().count(), 1);
    }
}

/// Servers that do not decode Basic, and servers that split it at each colon, can read the body.
#[tokio::test]
async fn a_secret_that_servers_read_differently_goes_into_the_body_where_it_may() {
    let url = || AuthorizationServer::from(URL);
    let issuer = || AuthorizationServer::issuer("https://issuer.test");
    for (accepts, server, id, secret, in_body) in [
        (ClientAuthentication::Post, url(), "client1", "a:b", true),
        (ClientAuthentication::Post, url(), "g:6", "s3cret", true),
        (ClientAuthentication::Basic, url(), "client1", "a/b c", false),
        (ClientAuthentication::Basic, url(), "client1", "s3cret", false),
        (ClientAuthentication::Basic, issuer(), "client1", "a:b", false),
        (ClientAuthentication::Post, issuer(), "client1", "s3cret", true),
        (ClientAuthentication::Either, issuer(), "client1", "a:b", true),
        (ClientAuthentication::Either, issuer(), "client1", "a/b", true),
        (ClientAuthentication::Either, issuer(), "client1", "s3cret", false),
    ] {
        let issuer = Issuer::builder().client(id, secret).client_authentication(accepts).build();
        let grant = PasswordGrant::builder(server).client_auth(ClientAuth::secret(id, secret));
        let grant = grant.credentials("user1", "user-password").build_with(issuer.service()).unwrap();
        obtain(&grant).await.unwrap();
        let is_in_body = issuer.last_request().unwrap().param("client_secret").is_some();
        assert_eq!(is_in_body, in_body, "{accepts:?} {id} {secret}");
    }
}

/// RFC 7521 §4.2.
#[tokio::test]
async fn an_assertion_has_the_type_that_is_set() {
    const SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
    let issuer = Issuer::new();
    let auth = ClientAuth::assertion_from("spiffe://example.org/a", "a.b.c").assertion_type(SPIFFE);
    obtain(&builder(URL).client_auth(auth).build_with(issuer.service()).unwrap()).await.unwrap_err();
    let request = issuer.last_request().unwrap();
    assert_eq!(request.param("client_assertion_type"), Some(SPIFFE));
    assert_eq!(request.param("client_assertion"), Some("a.b.c"));

    let misplaced = ClientAuth::basic("c", "s").assertion_type(SPIFFE);
    let error = builder(URL).client_auth(misplaced).build_with(issuer.service()).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("`assertion_type`"), "{error}");
}

/// RFC 6749 §2.3.1, §3.2.
#[tokio::test]
async fn a_token_request_is_a_post_to_the_very_url_with_no_secret_in_it() {
    for auth in [ClientAuth::basic("c", "hidden"), ClientAuth::post("c", "hidden"), ClientAuth::none("c")] {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&sent);
        let http = service_fn(move |request: Request<Full<Bytes>>| {
            log.lock().unwrap().push((request.method().clone(), request.uri().to_string()));
            async { Err::<Response<Full<Bytes>>, _>(BoxError::from("seen enough")) }
        });
        let grant = builder("https://issuer.test/token?tenant=1").client_auth(auth).build_with(http).unwrap();
        obtain(&grant).await.unwrap_err();
        assert_eq!(*sent.lock().unwrap(), [(Method::POST, "https://issuer.test/token?tenant=1".to_owned())]);
    }
}

/// RFC 6749 §3.2, §3.3, RFC 8707 §2.
#[tokio::test]
async fn each_parameter_is_sent_once() {
    let issuer = Issuer::new();
    let grant = builder(URL)
        .scope("user/Patient.rs user/Observation.rs")
        .audience("https://fhir.test")
        .resource("https://a.test/fhir")
        .resource("urn:b")
        .param("acr_values", "a&b=c d")
        .build_with(issuer.service())
        .unwrap();
    let token = obtain(&grant).await.unwrap();
    assert_eq!(token.scope(), Some("user/Patient.rs user/Observation.rs"));
    let request = issuer.last_request().unwrap();
    for (name, value) in [
        ("grant_type", "password"),
        ("scope", "user/Patient.rs user/Observation.rs"),
        ("audience", "https://fhir.test"),
        ("acr_values", "a&b=c d"),
        ("username", "user1"),
        ("password", "user-password"),
    ] {
        assert_eq!(values(&request, name), [value]);
    }
    assert_eq!(values(&request, "resource"), ["https://a.test/fhir", "urn:b"]);
    assert_eq!(request.params().len(), 8);
}

/// RFC 6749 §4.3.2.
#[tokio::test]
async fn names_and_passwords_are_utf8() {
    let (name, password) = ("Zoë +Ω%2B", "pä ss&word=1+1%😀\u{0}\n");
    let issuer = Issuer::builder().user(name, password).build();
    let grant = builder(URL).credentials(name, password).build_with(issuer.service()).unwrap();
    assert!(accepted(&issuer, &obtain(&grant).await.unwrap()));
}

/// RFC 6749 §6.
#[tokio::test]
async fn a_refresh_token_goes_first_rotated_or_kept() {
    for kind in [RefreshTokens::Rotating, RefreshTokens::Kept] {
        let issuer = refreshing(kind);
        let grant = grant(&issuer);
        for _ in 0..4 {
            assert!(accepted(&issuer, &obtain(&grant).await.unwrap()), "{kind:?}");
        }
        issuer.assert_grants(["password", "refresh_token", "refresh_token", "refresh_token"]);
        let request = issuer.last_request().unwrap();
        assert_eq!((request.param("username"), request.param("password")), (None, None));
    }
}

/// A request for more than was granted is refused. A refresh without a scope asks for the granted scope (RFC 6749 §6).
#[tokio::test]
async fn a_refresh_asks_for_the_scope_that_was_granted() {
    let issuer = refreshing(RefreshTokens::Rotating);
    let grant = builder(URL).scope("user/Patient.rs").audience("x").build_with(issuer.service()).unwrap();
    for _ in 0..2 {
        obtain(&grant).await.unwrap();
    }
    let request = issuer.last_request().unwrap();
    assert_eq!((request.grant_type(), request.param("scope")), (Some("refresh_token"), None));
    assert_eq!(request.param("audience"), Some("x"));
}

#[tokio::test]
async fn a_refused_refresh_token_is_dropped_for_the_password_at_once() {
    let issuer = refreshing(RefreshTokens::Rotating);
    let grant = grant(&issuer);
    obtain(&grant).await.unwrap();
    issuer.revoke_all();
    assert!(accepted(&issuer, &obtain(&grant).await.unwrap()));
    issuer.assert_grants(["password", "refresh_token", "password"]);
    obtain(&grant).await.unwrap();
    issuer.assert_grants(["password", "refresh_token", "password", "refresh_token"]);
}

/// It is dropped even if the password request then fails.
#[tokio::test]
async fn a_refused_refresh_token_is_not_tried_again() {
    let issuer = refreshing(RefreshTokens::Rotating);
    let grant = grant(&issuer);
    obtain(&grant).await.unwrap();
    issuer.revoke_all();
    issuer.set_password("user1", "changed");
    assert_eq!(obtain(&grant).await.unwrap_err().oauth_code(), Some("invalid_grant"));
    obtain(&grant).await.unwrap_err();
    issuer.assert_grants(["password", "refresh_token", "password", "password"]);
}

#[tokio::test]
async fn an_outage_costs_neither_the_refresh_token_nor_a_password_request() {
    for trouble in [
        Failure::Status(503),
        Failure::Outage,
        Failure::OAuth(401, "invalid_client"),
        Failure::OAuth(429, "slow_down"),
        answer("text/html", "<html>"),
    ] {
        let issuer = refreshing(RefreshTokens::Rotating);
        let grant = grant(&issuer);
        obtain(&grant).await.unwrap();
        issuer.fail_next(1, trouble);
        obtain(&grant).await.unwrap_err();
        obtain(&grant).await.unwrap();
        issuer.assert_grants(["password", "refresh_token", "refresh_token"]);
    }
}

/// Two concurrent uses of a rotating refresh token would end the session (RFC 9700 §4.14.2).
#[tokio::test]
async fn concurrent_use_does_not_reuse_a_refresh_token() {
    let issuer = refreshing(RefreshTokens::Rotating);
    let grant = grant(&issuer);
    let tokens = try_join_all((0..50).map(|_| obtain(&grant))).await.unwrap();
    assert!(tokens.iter().all(|token| accepted(&issuer, token)));
    assert_eq!((issuer.counts().password, issuer.counts().refresh_token), (1, 49));
}

#[tokio::test]
async fn an_exchange_that_is_given_up_leaves_the_next_one_sound() {
    let issuer = refreshing(RefreshTokens::Rotating);
    let grant = grant(&issuer);
    obtain(&grant).await.unwrap();
    let gate = issuer.hold();
    assert!(futures::poll!(Box::pin(obtain(&grant))).is_pending());
    gate.release();
    assert!(accepted(&issuer, &obtain(&grant).await.unwrap()));
    assert_eq!(issuer.counts().password, 1);
}

/// When the response to a refresh is lost, the token is used up. The server ends the session at its next use.
#[tokio::test]
async fn a_lost_answer_to_a_refresh_is_recovered_from() {
    let issuer = refreshing(RefreshTokens::Rotating);
    let grant = grant(&issuer);
    obtain(&grant).await.unwrap();
    issuer.fail_next(1, Failure::AnswerLost);
    assert!(obtain(&grant).await.unwrap_err().is_transient());
    assert!(accepted(&issuer, &obtain(&grant).await.unwrap()));
    assert!(accepted(&issuer, &obtain(&grant).await.unwrap()));
    issuer.assert_grants(["password", "refresh_token", "refresh_token", "password", "refresh_token"]);
}

#[tokio::test]
async fn an_empty_refresh_token_is_none() {
    let issuer = Issuer::new();
    let grant = grant(&issuer);
    for _ in 0..2 {
        issuer.amend_next(json!({ "refresh_token": "" }));
        obtain(&grant).await.unwrap();
    }
    issuer.assert_grants(["password", "password"]);
}

/// The client discards the credentials once it has a token (RFC 6749 §4.3).
#[tokio::test]
async fn credentials_are_asked_for_only_when_needed() {
    let issuer = refreshing(RefreshTokens::Rotating);
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let grant = builder(URL)
        .credentials_from(move || {
            let number = counting.fetch_add(1, SeqCst);
            async move {
                if number == 0 {
                    return Err(BoxError::from("the vault is sealed"));
                }
                Ok(Credentials::new("user1", "user-password"))
            }
        })
        .build_with(issuer.service())
        .unwrap();
    assert_eq!(asked.load(SeqCst), 0);
    let error = obtain(&grant).await.unwrap_err();
    assert!(error.is_transient() && issuer.counts().token_requests == 0);
    for _ in 0..3 {
        obtain(&grant).await.unwrap();
    }
    assert_eq!(asked.load(SeqCst), 2);
    issuer.revoke_all();
    obtain(&grant).await.unwrap();
    assert_eq!(asked.load(SeqCst), 3);
}

/// RFC 6749 §5.1, §7.1.
#[tokio::test]
async fn a_token_of_another_type_is_not_used() {
    for (kind, usable) in [
        (json!("bearer"), true),
        (json!("BEARER"), true),
        (json!("Bearer "), false),
        (json!("mac"), false),
        (json!("DPoP"), false),
        (json!(""), false),
        (json!("BearerToken"), true),
        (json!("bearertoken"), true),
        (json!("N_A"), false),
        (json!("jwt"), false),
        (Value::Null, true),
        (json!(1), false),
    ] {
        let issuer = Issuer::new();
        issuer.amend_next(json!({ "token_type": kind }));
        let obtained = obtain(&grant(&issuer)).await;
        assert_eq!(obtained.is_ok(), usable, "{kind}");
        assert!(obtained.map_or_else(|error| error.is_transient(), |token| accepted(&issuer, &token)));
    }
}

/// Unknown members are ignored. If the response has a scope, it is the granted one (RFC 6749 §5.1).
#[tokio::test]
async fn unknown_members_are_ignored_and_the_scope_is_the_granted_one() {
    let issuer = Issuer::new();
    issuer.amend_next(json!({ "scope": "less", "id_token": [1, {}], "patient": "7", "error_description": "none" }));
    let grant = builder(URL).scope("user/Patient.rs").build_with(issuer.service()).unwrap();
    assert_eq!(obtain(&grant).await.unwrap().scope(), Some("less"));
    issuer.amend_next(json!({ "scope": ["an", "array"], "note": "[[[ \\\" [[[" }));
    assert_eq!(obtain(&grant).await.unwrap().scope(), Some("an array"));
}

/// The next user must not continue the session of the previous one.
#[tokio::test]
async fn other_credentials_do_not_use_the_refresh_token_of_the_first() {
    struct Shift(Arc<AtomicUsize>);

    impl CredentialsProvider for Shift {
        async fn credentials(&self) -> Result<Credentials, BoxError> {
            Ok(Credentials::new(["day", "night"][self.0.load(SeqCst)], "p"))
        }

        fn version(&self) -> u64 {
            self.0.load(SeqCst) as u64
        }
    }

    let issuer = Issuer::builder().user("day", "p").user("night", "p").refresh_tokens(RefreshTokens::Kept).build();
    let shift = Arc::new(AtomicUsize::new(0));
    let grant = builder(URL).credentials_from(Shift(Arc::clone(&shift))).build_with(issuer.service()).unwrap();
    for (now, grant_type) in [(0, "password"), (0, "refresh_token"), (1, "password"), (1, "refresh_token")] {
        shift.store(now, SeqCst);
        obtain(&grant).await.unwrap();
        assert_eq!(issuer.last_request().unwrap().grant_type(), Some(grant_type));
    }
}

/// A closure has no version of its own, and it is not called while there is a refresh token.
#[tokio::test]
async fn a_closure_says_by_a_version_that_the_user_is_another_one() {
    let issuer = Issuer::builder().user("day", "p").user("night", "p").refresh_tokens(RefreshTokens::Kept).build();
    let shift = Arc::new(AtomicUsize::new(0));
    let number = |shift: &Arc<AtomicUsize>| {
        let shift = Arc::clone(shift);
        move || shift.load(SeqCst)
    };
    let (user, version) = (number(&shift), number(&shift));
    let closure = builder(URL)
        .credentials_from(move || {
            let user = ["day", "night"][user() % 2];
            async move { Ok(Credentials::new(user, "p")) }
        })
        .credentials_version(move || version() as u64);
    let (name, version) = (number(&shift), number(&shift));
    let name = Secret::from_fn(move || {
        let name = ["day", "night"][name() % 2];
        async move { Ok(name.into()) }
    });
    let secret = builder(URL).credentials(name.with_version(move || version() as u64), "p");
    for grant in [closure, secret].map(|builder| builder.build_with(issuer.service()).unwrap()) {
        for (now, grant_type) in [(0, "password"), (0, "refresh_token"), (1, "password"), (1, "refresh_token")] {
            let before = grant.credentials_version();
            let is_changed = shift.swap(now, SeqCst) != now;
            assert_eq!(grant.credentials_version() != before, is_changed);
            obtain(&grant).await.unwrap();
            let request = issuer.last_request().unwrap();
            assert_eq!(request.grant_type(), Some(grant_type));
            assert!(grant_type != "password" || request.param("username") == Some(["day", "night"][now]));
        }
    }
}

/// The lifetime of the token for each form of `expires_in`, valid or not.
#[tokio::test]
async fn each_expires_in_has_its_outcome() {
    let issuer = Issuer::builder().token_format(TokenFormat::Opaque).build();
    let (hour, most) = (Duration::from_secs(3600), Duration::from_secs(315_360_000));
    for (expires_in, lifetime) in [
        (json!(3600), hour.into()),
        (json!("3600"), hour.into()),
        (json!(" 3600.0 "), hour.into()),
        (json!(3600.5), Duration::from_millis(3_600_500).into()),
        (json!(0), Lifetime::AlreadyExpired),
        (json!("0"), Lifetime::AlreadyExpired),
        (json!(-1), Lifetime::AlreadyExpired),
        (Value::Null, Lifetime::Unknown),
        (json!(1_000_000_000_000_000_000_u64), most.into()),
        (json!("1e400"), most.into()),
        (json!("soon"), Lifetime::Unknown),
        (json!(""), Lifetime::Unknown),
        (json!("NaN"), Lifetime::Unknown),
        (json!(true), Lifetime::Unknown),
        (json!([3600]), Lifetime::Unknown),
    ] {
        issuer.amend_next(json!({ "expires_in": expires_in }));
        assert_eq!(obtain(&grant(&issuer)).await.unwrap().lifetime(), lifetime, "{expires_in}");
    }
}

/// RFC 6749 §5.2, and the codes of other RFCs that mean "try again later".
#[tokio::test]
async fn each_error_has_the_class_that_protects_the_account() {
    use FailureClass::{Terminal, Transient, Unexplained};
    for (status, code, class) in [
        (400, "invalid_request", Terminal),
        (401, "invalid_client", Terminal),
        (400, "invalid_client", Terminal),
        (400, "invalid_grant", Terminal),
        (200, "invalid_grant", Terminal),
        (403, "invalid_grant", Terminal),
        (400, "unauthorized_client", Terminal),
        (400, "unsupported_grant_type", Terminal),
        (400, "invalid_scope", Terminal),
        (400, "mfa_required", Terminal),
        (400, "temporarily_unavailable", Transient),
        (400, "slow_down", Transient),
        (200, "temporarily_unavailable", Transient),
        (400, "server_error", Unexplained),
        (500, "server_error", Unexplained),
        (500, "temporarily_unavailable", Unexplained),
        (500, "invalid_grant", Unexplained),
        (501, "unsupported_grant_type", Unexplained),
        (408, "invalid_grant", Transient),
        (425, "invalid_grant", Transient),
        (502, "invalid_grant", Transient),
        (503, "invalid_grant", Transient),
        (504, "server_error", Transient),
        (429, "invalid_request", Transient),
    ] {
        let error = failure(Failure::OAuth(status, code)).await;
        assert_eq!((error.class(), error.oauth_code()), (class, Some(code)), "{status} {code}");
        assert_eq!(error.status().unwrap(), status);
        assert!(error.to_string().contains(code), "{error}");
    }
    for (status, class) in [
        (400, Unexplained),
        (401, Unexplained),
        (403, Unexplained),
        (404, Unexplained),
        (408, Transient),
        (425, Transient),
        (429, Transient),
        (500, Transient),
        (502, Transient),
        (503, Transient),
        (504, Transient),
        (204, Unexplained),
    ] {
        let error = failure(Failure::Status(status)).await;
        assert_eq!((error.class(), error.oauth_code()), (class, None), "{status}");
        assert!(!error.is_connect());
    }
    assert!(failure(Failure::Outage).await.is_connect());
}

/// RFC 9110 §10.2.3.
#[tokio::test]
async fn retry_after_is_read() {
    for (after, wait) in [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("Thu, 01 Jan 1970 00:00:07 GMT", Some(0)),
        ("soon", None),
        ("-1", None),
        ("7.5", None),
        ("99999999999999999999999", None),
    ] {
        let error = failure(Failure::RetryAfter(503, after.to_owned())).await;
        assert_eq!(error.retry_in(), wait.map(Duration::from_secs), "{after}");
    }
}

/// Bodies that are too large, are not JSON, or have no token are errors.
#[tokio::test]
async fn an_unusable_token_response_is_an_error() {
    let good = r#"{"access_token":"t","token_type":"Bearer"}"#;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = format!(r#"{{"x":"{}",{}"#, "a".repeat(10 << 20), &good[1..]);
    for (name, hostile) in [
        ("10 MiB", answer("application/json", huge)),
        ("endless", Failure::Endless),
        ("HTML", answer("text/html", "<html>sign in</html>")),
        ("HTML that says JSON", answer("application/json", "<html>")),
        ("cut off", answer("application/json", &good.as_bytes()[..20])),
        ("nested", answer("application/json", deep.clone())),
        ("nested within", answer("application/json", format!(r#"{{"expires_in":{deep},{}"#, &good[1..]))),
        ("nested in what is ignored", answer("application/json", format!(r#"{{"x":{deep},{}"#, &good[1..]))),
        ("twice", answer("application/json", format!(r#"{{"access_token":"u",{}"#, &good[1..]))),
        ("a form", answer("application/x-www-form-urlencoded", "access_token=t&token_type=Bearer")),
        ("an array", answer("application/json", format!("[{good}]"))),
        ("two", answer("application/json", format!("{good}{good}"))),
        ("nothing", answer("application/json", "")),
        ("null", answer("application/json", "null")),
        ("no token", answer("application/json", "{}")),
        ("an empty token", answer("application/json", good.replace(r#""t""#, r#""""#))),
        ("a token that is not text", answer("application/json", good.replace(r#""t""#, "false"))),
    ] {
        let error = failure(hostile).await;
        assert_eq!(error.class(), FailureClass::Unexplained, "{name}: {error:?}");
        assert!(error.is_unusable() && !error.is_connect() && error.status().is_none(), "{name}: {error:?}");
        assert!(error.to_string().len() < 200, "{name}: {error}");
    }
}

/// A server chooses its content type, and may put into it what it was sent.
#[tokio::test]
async fn a_wrong_content_type_is_named_unless_it_could_hold_a_secret() {
    for (content_type, says) in [
        ("text/html; charset=utf-8", "its content type is text/html, not JSON; check the token URL"),
        ("Application/JSONP", "its content type is application/jsonp, not JSON; check the token URL"),
        ("text/user-password", "its content type is not JSON; check the token URL"),
        ("text/dXNlci1wYXNzd29yZA==", "its content type is not JSON; check the token URL"),
        ("token/html", "its content type is not JSON; check the token URL"),
        ("<b>text/html", "its content type is not JSON; check the token URL"),
        (&format!("text/{}", "x".repeat(100)), "its content type is not JSON; check the token URL"),
    ] {
        let error = failure(answer(content_type, "<html>")).await;
        assert_eq!(error.to_string(), format!("the token response from https://issuer.test is not usable: {says}"));
        assert!(error.is_unusable() && !error.is_redirect(), "{content_type}");
    }
}

#[tokio::test]
async fn json_is_json_with_a_charset_and_in_any_case() {
    for content_type in ["application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/x+json"] {
        let issuer = Issuer::new();
        issuer.fail_next(1, answer(content_type, r#"{"access_token":"t","token_type":"Bearer"}"#));
        assert_eq!(obtain(&grant(&issuer)).await.unwrap().secret(), "t");
    }
}

/// RFC 6749 appendix A.12.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_valid_in_a_header_is_not_sent() {
    for token in ["a\nb", "a\r\nx-evil: 1", "a\0b", "ä", "a b", "a b", "a\u{a0}b", "a\tb", "a\u{7f}"] {
        let (issuer, api) = (Issuer::new(), Api::default());
        issuer.amend_next(json!({ "access_token": token }));
        let mut service = BearerAuthLayer::new(grant(&issuer)).layer(Strict::new(api.clone()));
        let error = send(&mut service, get("https://api.test/")).await.unwrap_err().downcast::<Error>().unwrap();
        assert!(error.is_transient(), "{token:?}");
        assert!(!error.to_string().contains("evil"));
        assert!(api.take_seen().is_empty());
    }
}

/// With the real client, and a response body without an end.
#[cfg(feature = "client")]
#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    issuer.fail_next(1, Failure::Endless);
    let grant = builder(&server.token_url()).build().unwrap();
    let error = tokio::time::timeout(Duration::from_secs(5), obtain(&grant)).await.unwrap().unwrap_err();
    assert!(error.class() == FailureClass::Unexplained && !error.is_connect());
    assert!(error.to_string().contains("1 MiB"), "{error}");
}

#[cfg(feature = "client")]
#[tokio::test]
async fn a_redirect_is_not_followed_and_named_without_its_query() {
    let (issuer, elsewhere) = (Issuer::new(), Issuer::new());
    let (server, other) = (issuer.listen().await.unwrap(), elsewhere.listen().await.unwrap());
    issuer.fail_next(1, Failure::Redirect(format!("{}?code=hidden#hidden", other.token_url())));
    let error = obtain(&builder(&server.token_url()).build().unwrap()).await.unwrap_err();
    assert_eq!((issuer.counts().token_requests, elsewhere.counts().token_requests), (1, 0));
    let shown = format!("{error} {error:?}");
    assert!(shown.contains(&other.token_url()) && !shown.contains("hidden"), "{shown}");

    for (location, named) in [
        ("/login?next=hidden", Some("/login")),
        ("https://user:hidden@b.test/x?hidden", Some("https://b.test/x")),
        ("", None),
        (&format!("/{}", "long".repeat(4096)), Some("/long")),
    ] {
        let error = failure(Failure::Redirect(location.to_owned())).await;
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hidden") && named.is_none_or(|named| shown.contains(named)), "{shown}");
        assert!(error.is_redirect() && !error.is_unusable(), "{shown}");
        assert!(shown.len() < 1000, "{}", shown.len());
    }
}

/// The same secret has many encodings in a URL.
#[tokio::test]
async fn a_redirect_that_repeats_a_secret_in_any_encoding_is_not_named() {
    for (password, secret) in [("pass word!~@", "client~secret!"), ("100%41+x/y", "p@ss w\u{f6}rd")] {
        for sent in [password, secret] {
            let (form, percent) = (form_encoded(sent), form_encoded(sent).replace('+', "%20"));
            let plain = percent.replace("%21", "!").replace("%7E", "~").replace("%40", "@");
            for repeated in [&form, &percent, &plain, &form_encoded(&percent), &percent.to_ascii_lowercase()] {
                for location in [format!("/login/{repeated}"), format!("https://b.test/{repeated}/x?y")] {
                    let issuer = Issuer::builder().user("user1", password).build();
                    issuer.fail_next(1, Failure::Redirect(location.clone()));
                    let auth = ClientAuth::basic("client1", secret);
                    let grant = builder(URL).client_auth(auth).credentials("user1", password);
                    let error = obtain(&grant.build_with(issuer.service()).unwrap()).await.unwrap_err();
                    assert!(error.is_redirect() && error.to_string().contains("not shown"), "{location}: {error}");
                }
            }
        }
    }
    let error = failure(Failure::Redirect("https://b.test/login/a%2Cb/c".to_owned())).await;
    assert!(error.to_string().contains("https://b.test/login/…/c"), "{error}");
}

fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(feature = "client")]
#[tokio::test]
async fn an_unreachable_endpoint_is_a_connect_error() {
    let server = Issuer::new().listen().await.unwrap();
    let url = format!("{}?tenant=hidden", server.token_url());
    drop(server);
    // The port is closed when the listener's task has ended.
    tokio::task::yield_now().await;
    let error = obtain(&builder(&url).build().unwrap()).await.unwrap_err();
    assert!(error.is_connect() && error.is_transient(), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hidden"));
    assert!(std::error::Error::source(&error).is_some());
}

#[cfg(feature = "client")]
#[tokio::test]
async fn an_endpoint_that_never_answers_is_a_timeout() {
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    issuer.fail_next(1, Failure::Hang);
    let http = HttpClient::builder().deadline(Duration::from_millis(50)).build().unwrap();
    let error = obtain(&builder(&server.token_url()).build_with(http).unwrap()).await.unwrap_err();
    assert!(error.is_timeout() && !error.is_connect() && error.is_transient(), "{error:?}");
}

/// RFC 6749 §2.3, §3.2, RFC 8707 §2. Each error says what to do.
#[test]
fn a_wrong_setting_is_an_error_before_anything_is_sent() {
    let set = || builder(URL);
    let bare = || PasswordGrant::builder(URL);
    let auth = || ClientAuth::none("c");
    for (wrong, says) in [
        (builder("auth.example.org/token"), "token URL"),
        (builder("/token"), "token URL"),
        (builder(""), "token URL"),
        (builder("https:///token"), "token URL"),
        (builder("ftp://example.org/token"), "token URL"),
        (builder("http://example.org/token"), "https"),
        (builder("http://127.0.0.1.example.org/token"), "https"),
        (builder("http://localhost.example.org/token"), "https"),
        (builder("https://user:hidden@example.org/token"), "ClientAuth"),
        (builder("https://example.org/token#hidden"), "fragment"),
        (set().revocation_url("https://example.org/revoke#hidden"), "fragment"),
        (set().scope("a").scope("b"), "`scope`"),
        (set().param("x", "1").param("x", "2"), "`x`"),
        (set().audience("a").param("audience", "b"), "`audience`"),
        (set().param("password", "hidden"), "`password`"),
        (set().param("client_secret", "hidden"), "`client_secret`"),
        (set().param("grant_type", "x"), "`grant_type`"),
        (set().scope("a\"b"), "scope"),
        (set().scope("a\\b"), "scope"),
        (set().scope("ä"), "scope"),
        (set().resource("/relative"), "absolute"),
        (set().resource("https://a.test/#x"), "fragment"),
        (set().client_auth(ClientAuth::none("")), "client id"),
        (bare().client_auth(auth()), "`credentials`"),
        (bare().credentials("u", "p"), "`client_auth`"),
    ] {
        let error = wrong.build_with(Issuer::new().service()).unwrap_err();
        assert!(error.is_config() && error.is_terminal());
        let text = error.to_string();
        assert!(text.contains(says) && !text.contains("hidden"), "{says}: {text}");
    }
    for right in ["http://127.0.0.1:1/token", "http://[::1]/token", "http://localhost/token", "https://a.test/t?x=y"] {
        builder(right).build_with(Issuer::new().service()).unwrap();
    }
    builder("http://example.org/token").allow_plain_http(true).build_with(Issuer::new().service()).unwrap();
}

/// A server can put what it received into an error.
#[tokio::test]
async fn a_code_that_repeats_a_secret_is_not_shown() {
    for code in ["opensesame", "wrong_password_opensesame", "clientsecret", "T0ken-123", "bad password", "a\nb"] {
        let issuer = Issuer::new();
        issuer.answer_next(json!({ "error": code }));
        let grant = builder(URL)
            .client_auth(ClientAuth::basic("client1", "clientsecret"))
            .credentials("user1", "opensesame")
            .build_with(issuer.service())
            .unwrap();
        let error = obtain(&grant).await.unwrap_err();
        assert!(error.is_terminal() && error.oauth_code() != Some(code));
        assert!(!format!("{error} {error:?}").contains(code), "{error:?}");
    }
}

/// The error shows the server's description only on request.
#[tokio::test]
async fn a_description_is_shown_only_when_asked_for() {
    for show in [false, true] {
        let issuer = Issuer::new();
        let grant = builder(URL).show_error_description(show).build_with(issuer.service()).unwrap();
        issuer.answer_next(json!({ "error": "invalid_grant", "error_description": "the account is locked" }));
        let error = obtain(&grant).await.unwrap_err();
        assert_eq!(error.to_string().contains("the account is locked"), show, "{error}");
    }
}

/// The number of callers does not matter.
#[tokio::test]
async fn a_failure_costs_each_caller_one_request() {
    let issuer = Issuer::new();
    issuer.fail_until_cleared(Failure::Status(503));
    let grant = grant(&issuer);
    assert!(join_all((0..5).map(|_| obtain(&grant))).await.iter().all(Result::is_err));
    assert_eq!(issuer.counts().token_requests, 5);
}
