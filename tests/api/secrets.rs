//! Secrets do not appear in any `Debug`, `Display`, error chain or log line.

use std::{
    error::Error as StdError,
    fmt::{Debug, Write},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use tower::{BoxError, Layer, Service, ServiceExt};
#[cfg(any(feature = "client", feature = "jwt"))]
use tower_bearer::TokenSource;
#[cfg(feature = "jwt")]
use tower_bearer::grant::{
    Assertion, AuthorizationServer, ClientCredentials, JwtBearer, Metadata, RefreshToken, Secret, SigningKey,
    TokenExchange, token_type,
};
use tower_bearer::{
    AccessToken, BearerAuthLayer, FixedToken, Outcome, PasswordGrant, Reason, TokenCache,
    grant::{ClientAuth, Credentials, PasswordGrantBuilder},
    source::from_fn,
    testing::{Failure, Issuer, RefreshTokens},
};
#[cfg(feature = "client")]
use tower_bearer::{
    Error,
    grant::{HttpClient, HttpService},
};
use tracing_subscriber::fmt::format::FmtSpan;

#[cfg(feature = "metrics")]
use crate::recorder::Recorded;
use crate::scripted::{Strict, get, send};

const URL: &str = "https://issuer.test/token?tenant=hidden-query";
const API: &str = "https://api.example.org/fhir/Patient";
/// Some of these characters change when they are form-encoded, and are not allowed in an error code. `CODE_LIKE` has
/// only characters that are allowed there.
const PASSWORD: &str = "pä55word/Open sesame+1";
const CODE_LIKE: &str = "open_sesame";
const CLIENT_SECRET: &str = "client/S3cret=+";

/// Everything that was shown or logged, and every secret that was used.
#[derive(Clone, Default)]
struct Captured {
    shown: Arc<Mutex<String>>,
    secrets: Arc<Mutex<Vec<String>>>,
    /// The names, labels and descriptions of metrics.
    #[cfg(feature = "metrics")]
    metrics: Recorded,
}

/// What captures, until it is dropped.
struct Logging {
    _lines: tracing::subscriber::DefaultGuard,
    #[cfg(feature = "metrics")]
    _metrics: metrics::LocalRecorderGuard<'static>,
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.shown.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn logging() -> (Self, Logging) {
        let captured = Self::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let lines = tracing::subscriber::set_default(subscriber);
        #[cfg(feature = "metrics")]
        let (captured, metrics) = {
            let (metrics, guard) = Recorded::here();
            tower_bearer::events::describe_metrics();
            (Self { metrics, ..captured }, guard)
        };
        let logging = Logging {
            _lines: lines,
            #[cfg(feature = "metrics")]
            _metrics: metrics,
        };
        (captured, logging)
    }

    fn show(&self, value: &impl Debug) {
        write!(self.shown.lock().unwrap(), "{value:?}\n{value:#?}\n").unwrap();
    }

    fn show_error(&self, error: &(dyn StdError + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            writeln!(self.shown.lock().unwrap(), "{error} {error:?} {error:#?}").unwrap();
            next = error.source();
        }
    }

    fn hide(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// Shows what is known about the newest token. Adds it and the refresh tokens that were sent to the secrets.
    fn hide_tokens_of(&self, issuer: &Issuer, cache: &TokenCache, token: &AccessToken) {
        self.show(&(issuer, cache, cache.status(), token, token.header_value()));
        self.hide(token.secret());
        issuer
            .requests()
            .iter()
            .filter_map(|request| request.param("refresh_token"))
            .for_each(|token| self.hide(token));
    }

    /// Checks that no secret was shown. First checks that `logged` was captured.
    fn assert_clean(&self, logged: &str) {
        #[cfg(feature = "metrics")]
        self.show(&self.metrics.names());
        let shown = self.shown.lock().unwrap();
        assert!(shown.contains(logged), "{shown}");
        let mut secrets = self.secrets.lock().unwrap().clone();
        let pairs = [form(CLIENT_SECRET), CLIENT_SECRET.to_owned()].map(|secret| format!("client1:{secret}"));
        secrets.extend([PASSWORD, CODE_LIKE, CLIENT_SECRET, "hidden-"].map(str::to_owned).into_iter().chain(pairs));
        for secret in &secrets {
            // Omits the last characters, because in base64 they depend on the text that follows.
            let based = |text: String| text[..text.len().saturating_sub(3)].to_owned();
            for form in [
                secret.clone(),
                form(secret),
                based(BASE64_STANDARD_NO_PAD.encode(secret)),
                based(BASE64_URL_SAFE_NO_PAD.encode(secret)),
                secret.escape_debug().to_string(),
            ] {
                let line = shown.lines().find(|line| line.contains(&form));
                assert!(line.is_none(), "{form} in {line:?}");
            }
        }
    }
}

fn form(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn builder(url: &str, password: &str) -> PasswordGrantBuilder {
    PasswordGrant::builder(url)
        .client_auth(ClientAuth::basic("client1", CLIENT_SECRET))
        .credentials("user1", password)
        .param("otp", "hidden-param")
}

fn issuer() -> Issuer {
    Issuer::builder()
        .client("client1", CLIENT_SECRET)
        .user("user1", PASSWORD)
        .refresh_tokens(RefreshTokens::Rotating)
        .build()
}

/// All failures of the scripted issuer, some of them with secrets.
fn failures() -> Vec<Failure> {
    let echo = format!("<html>{PASSWORD} {CLIENT_SECRET}</html>");
    let cut = format!(r#"{{"access_token":"{CLIENT_SECRET}"#);
    let answer = |content_type: &str, body: &str| Failure::Answer {
        status: 200,
        content_type: content_type.to_owned(),
        body: Bytes::from(body.to_owned()),
    };
    vec![
        Failure::OAuth(400, "invalid_grant"),
        Failure::OAuth(503, "temporarily_unavailable"),
        Failure::Status(403),
        Failure::RetryAfter(429, PASSWORD.to_owned()),
        Failure::Outage,
        Failure::AnswerLost,
        Failure::Hang,
        Failure::Endless,
        Failure::Redirect("https://user:hidden-user@elsewhere.test/login?password=hidden-login".to_owned()),
        answer("text/html", &echo),
        answer(CLIENT_SECRET, &echo),
        answer("application/json", &echo),
        answer("application/json", &cut),
    ]
}

async fn fails<S>(captured: &Captured, service: &mut S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError, Future: Debug>,
{
    let future = service.ready().await.unwrap().call(get(API));
    captured.show(&future);
    let error = future.await.unwrap_err();
    captured.show_error(error.as_ref());
}

#[tokio::test(start_paused = true)]
async fn successful_requests_and_renewals_show_no_secret() {
    let (captured, _logging) = Captured::logging();
    let issuer = issuer();
    let auth = ClientAuth::basic("client1", CLIENT_SECRET);
    let builder = builder(URL, PASSWORD);
    captured.show(&(&auth, ClientAuth::post("c", CLIENT_SECRET), ClientAuth::basic_raw("c", CLIENT_SECRET), &builder));
    captured.show(&(Credentials::new("user1", PASSWORD), FixedToken::new("hidden-fixed").unwrap()));
    let grant = builder.build_with(issuer.service()).unwrap();
    captured.show(&grant);
    let cache = TokenCache::new(grant);
    let layer = BearerAuthLayer::with_cache(cache.clone());
    let mut service = layer.layer(issuer.api());
    captured.show(&(&layer, &service));
    // The first token, a hit, a revocation followed by a refresh, an expiry, and a renewal with the password.
    for step in 0..5 {
        match step {
            2 => issuer.revoke_current(),
            3 => tokio::time::advance(Duration::from_secs(3600)).await,
            4 => issuer.revoke_all(),
            _ => {}
        }
        let answer = send(&mut service, get(API)).await.unwrap();
        captured.show(&(answer.extensions().get::<Outcome>(), &layer, &service));
        captured.hide_tokens_of(&issuer, &cache, &cache.token().await.unwrap());
        captured.show(&Reason::rejected(cache.token().await.unwrap()));
    }
    assert!(issuer.counts().issued >= 4);
    captured.assert_clean("token issued");
}

#[tokio::test(start_paused = true)]
async fn no_failure_shows_a_secret() {
    let (captured, _logging) = Captured::logging();
    for failure in failures() {
        let issuer = issuer();
        let grant = builder(URL, PASSWORD).build_with(issuer.service()).unwrap();
        let cache = TokenCache::builder(grant).renewal_retries(0).build();
        let mut service = BearerAuthLayer::with_cache(cache.clone()).layer(Strict::new(issuer.api()));
        issuer.fail_next(1, failure.clone());
        fails(&captured, &mut service).await;
        fails(&captured, &mut service).await;
        captured.show(&(&cache, cache.status()));

        tokio::time::advance(Duration::from_secs(1000)).await;
        send(&mut service, get(API)).await.unwrap();
        captured.hide_tokens_of(&issuer, &cache, &cache.token().await.unwrap());
        issuer.revoke_all();
        issuer.fail_next(2, failure);
        let answer = send(&mut service, get(API)).await.unwrap();
        let outcome = answer.extensions().get::<Outcome>().unwrap();
        captured.show(&(outcome, cache.status()));
    }
    captured.assert_clean("token request failed");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_repeats_what_it_was_sent_is_not_quoted() {
    let (captured, _logging) = Captured::logging();
    let based = BASE64_STANDARD.encode(format!("client1:{CLIENT_SECRET}"));
    for repeated in [PASSWORD, CODE_LIKE, CLIENT_SECRET, &form(CLIENT_SECRET), &based, "hidden-x\nhidden-y"] {
        for answer in [
            json!({ "error": repeated, "error_description": repeated, "error_uri": repeated }),
            json!({ "error": "invalid_grant", "error_description": repeated }),
            json!({ "error": { "code": repeated } }),
            json!({ "access_token": format!("{repeated} \n"), "token_type": "Bearer" }),
            json!({ "access_token": "t", "token_type": repeated }),
            json!(repeated),
        ] {
            let issuer = issuer();
            issuer.answer_next(answer);
            let grant = builder(URL, CODE_LIKE).build_with(issuer.service()).unwrap();
            fails(&captured, &mut BearerAuthLayer::new(grant).layer(issuer.api())).await;
        }
    }
    captured.assert_clean("token request failed");
}

#[tokio::test]
async fn a_source_that_panics_shows_no_secret() {
    let (captured, _logging) = Captured::logging();
    let issuer = issuer();
    let grant = builder(URL, PASSWORD)
        .credentials_from(async || -> Result<Credentials, BoxError> { panic!("the vault is on fire") })
        .build_with(issuer.service())
        .unwrap();
    fails(&captured, &mut BearerAuthLayer::new(grant).layer(issuer.api())).await;
    let held = PASSWORD.to_owned();
    let source = from_fn(move |_| {
        let held = held.clone();
        async move {
            assert!(held.is_empty(), "on purpose");
            AccessToken::new(held)
        }
    });
    captured.show(&source);
    fails(&captured, &mut BearerAuthLayer::new(source).layer(issuer.api())).await;
    // A message with a secret, of each kind that a panic can have.
    let texts = from_fn(|_| async { panic!("{PASSWORD}") });
    fails(&captured, &mut BearerAuthLayer::new(texts).layer(issuer.api())).await;
    let values = from_fn(|_| async { std::panic::panic_any(CLIENT_SECRET) });
    fails(&captured, &mut BearerAuthLayer::new(values).layer(issuer.api())).await;
    captured.assert_clean("token request failed");
}

/// `TraceLayer` can write all headers of a request. The value of the token is marked sensitive, so its text is not written.
#[tokio::test]
async fn a_trace_layer_above_or_below_that_writes_all_headers_shows_no_token() {
    use tower_http::trace::{DefaultMakeSpan, DefaultOnRequest, DefaultOnResponse, TraceLayer};

    let trace = || {
        let span = DefaultMakeSpan::new().level(tracing::Level::INFO).include_headers(true);
        let answered = DefaultOnResponse::new().level(tracing::Level::INFO).include_headers(true);
        let asked = DefaultOnRequest::new().level(tracing::Level::INFO);
        TraceLayer::new_for_http().make_span_with(span).on_request(asked).on_response(answered)
    };
    for (own_header, above) in [(false, true), (false, false), (true, true), (true, false)] {
        let (captured, _logging) = Captured::logging();
        let issuer = issuer();
        let cache = TokenCache::new(builder(URL, PASSWORD).build_with(issuer.service()).unwrap());
        let layer = BearerAuthLayer::with_cache(cache.clone());
        let layer = if own_header { layer.header(http::HeaderName::from_static("x-api-token")) } else { layer };
        // The second one has a retry.
        for _ in 0..2 {
            let api = issuer.api();
            if above {
                let mut service = trace().layer(layer.layer(api));
                send(&mut service, get(API)).await.unwrap();
            } else {
                let mut service = layer.layer(trace().layer(api));
                send(&mut service, get(API)).await.unwrap();
            }
            captured.hide(cache.token().await.unwrap().secret());
            issuer.revoke_all();
        }
        captured.assert_clean(if above { "headers=" } else { "Sensitive" });
    }
}

#[tokio::test]
async fn a_wrong_setting_shows_no_secret() {
    let (captured, _logging) = Captured::logging();
    for url in [
        "https://user:hidden-user@issuer.test/token",
        "http://issuer.test/token?key=hidden-key",
        "ftp://issuer.test/hidden-path",
        "hidden-host",
        "https://issuer.test/ hidden-space",
    ] {
        let builder = builder(url, PASSWORD);
        captured.show(&builder);
        let error = builder.build_with(issuer().service()).unwrap_err();
        captured.show_error(&error);
    }
    for (name, value) in [("password", PASSWORD), ("scope", "hidden-\"scope"), ("resource", "hidden-resource#")] {
        captured.show_error(&builder(URL, PASSWORD).param(name, value).build_with(issuer().service()).unwrap_err());
    }
    captured.show_error(&AccessToken::new("hidden-token with a space").unwrap_err());
    #[cfg(feature = "client")]
    captured.show(&(HttpClient::builder(), HttpClient::builder().build().unwrap()));
    captured.assert_clean("GrantBuilder");
}

/// With the real client, whose own errors and log lines are part of the chain.
#[cfg(feature = "client")]
#[tokio::test]
async fn a_real_client_shows_no_secret() {
    async fn obtained<C: HttpService>(captured: &Captured, grant: PasswordGrant<C>) -> Result<AccessToken, Error> {
        captured.show(&grant);
        grant.obtain(Reason::First).await.inspect_err(|error| captured.show_error(error))
    }

    let (captured, _logging) = Captured::logging();
    let issuer = issuer();
    let server = issuer.listen().await.unwrap();
    let url = format!("{}?tenant=hidden-query", server.token_url());
    let token = obtained(&captured, builder(&url, PASSWORD).build().unwrap()).await.unwrap();
    captured.show(&token);
    captured.hide(token.secret());
    for failure in failures() {
        let hangs = matches!(failure, Failure::Hang);
        issuer.fail_next(1, failure);
        let deadline = Duration::from_millis(if hangs { 20 } else { 5000 });
        let http = HttpClient::builder().deadline(deadline).build().unwrap();
        obtained(&captured, builder(&url, PASSWORD).build_with(http).unwrap()).await.unwrap_err();
    }
    drop(server);
    tokio::task::yield_now().await;
    let error = obtained(&captured, builder(&url, PASSWORD).build().unwrap()).await.unwrap_err();
    assert!(error.is_connect());
    captured.assert_clean("could not be reached");
}

/// Lets the source fail with errors and redirects that repeat what was sent, then obtains a token and revokes it.
#[cfg(feature = "jwt")]
async fn fails_and_then_not(captured: &Captured, issuer: &Issuer, source: &impl TokenSource) {
    for failure in ["hidden-subject", "hidden-actor", "hidden-first", "hidden-grant", "hidden-assertion"] {
        let answer = json!({ "error": failure, "error_description": failure });
        issuer.answer_next(answer);
        captured.show_error(&source.obtain(Reason::First).await.unwrap_err());
        issuer.fail_next(1, Failure::Redirect(format!("https://elsewhere.test/{failure}")));
        let error = source.obtain(Reason::First).await.unwrap_err();
        let sent = issuer.last_request().unwrap();
        let secret = sent.params().iter().any(|(_, value)| value == failure);
        if secret {
            captured.show_error(&error);
        }
        let secrets = ["client_assertion", "assertion"].map(|name| sent.param(name));
        secrets.into_iter().flatten().for_each(|secret| captured.hide(secret));
    }
    issuer
        .answer_next(json!({ "access_token": "hidden-access", "token_type": "Bearer", "refresh_token": "hidden-next",
        "issued_token_type": "hidden-type" }));
    let token = source.obtain(Reason::First).await.unwrap();
    captured.show(&(token.clone(), source.revoke(&token).await.map_err(|error| captured.show_error(&error))));
}

/// Everything that the other grants store or send: keys, assertions, tokens of other issuers, and refresh tokens.
#[cfg(feature = "jwt")]
#[tokio::test(start_paused = true)]
async fn no_grant_shows_what_it_sends() {
    const TOKEN: &str = "https://issuer.test/token";
    const KEY: &str = include_str!("../../examples/data/client-key.pem");

    let (captured, _logging) = Captured::logging();
    KEY.lines().filter(|line| !line.starts_with("---")).for_each(|line| captured.hide(line));
    let issuer = issuer();
    let key = || SigningKey::pem(KEY).key_id("client-key");
    let assertion = || Assertion::new("client1", "user1", key()).claim("note", "hidden-claim");
    let auths = || {
        [
            ClientAuth::assertion(assertion()),
            ClientAuth::private_key_jwt("client1", key()),
            ClientAuth::client_secret_jwt("client1", format!("{CLIENT_SECRET}{CLIENT_SECRET}{CLIENT_SECRET}")),
            ClientAuth::assertion_from("client1", "hidden-assertion"),
            ClientAuth::secret("client1", CLIENT_SECRET),
            ClientAuth::post("client1", Secret::from_fn(async || Ok(CLIENT_SECRET.into()))),
        ]
    };
    captured.show(&(key(), assertion(), auths(), Secret::from(CLIENT_SECRET), Secret::from_fn(async || Ok("".into()))));
    captured.show(&(AuthorizationServer::issuer("https://u:hidden-u@a.test"), AuthorizationServer::from("hidden-url")));
    captured.show(&Metadata::discover_with(issuer.service(), "https://issuer.test").await.unwrap());

    for auth in auths() {
        let bearer = JwtBearer::builder(TOKEN).client_auth(auth.clone()).signed(assertion());
        let given = JwtBearer::builder(TOKEN).client_auth(auth.clone()).assertion("hidden-grant");
        let exchange = TokenExchange::builder(TOKEN)
            .client_auth(auth.clone())
            .subject_token("hidden-subject", token_type::JWT)
            .actor_token("hidden-actor", token_type::JWT);
        let refresh = RefreshToken::builder(TOKEN)
            .client_auth(auth.clone())
            .refresh_token("hidden-first")
            .revocation_url("https://issuer.test/revoke?key=hidden-revoke")
            .on_rotation(async |_| Err("hidden-save".into()));
        let client = ClientCredentials::builder(TOKEN).client_auth(auth);
        captured.show(&(&bearer, &given, &exchange, &refresh, &client));
        let http = || issuer.service();
        let sources = (
            bearer.build_with(http()).unwrap(),
            given.build_with(http()).unwrap(),
            exchange.build_with(http()).unwrap(),
            refresh.build_with(http()).unwrap(),
            client.build_with(http()).unwrap(),
        );
        captured.show(&sources);
        fails_and_then_not(&captured, &issuer, &sources.0).await;
        fails_and_then_not(&captured, &issuer, &sources.1).await;
        fails_and_then_not(&captured, &issuer, &sources.2).await;
        fails_and_then_not(&captured, &issuer, &sources.3).await;
        fails_and_then_not(&captured, &issuer, &sources.4).await;
        captured.show(&sources);
    }
    for wrong in ["-----BEGIN PRIVATE KEY-----\nhidden-key\n-----END PRIVATE KEY-----", "hidden-key"] {
        let auth = ClientAuth::private_key_jwt("client1", SigningKey::pem(wrong));
        let error = ClientCredentials::builder(TOKEN).client_auth(auth).build_with(issuer.service()).unwrap_err();
        captured.show_error(&error);
    }
    captured.assert_clean("could not be saved");
}

#[cfg(all(feature = "on-behalf-of", feature = "jwt"))]
#[tokio::test(start_paused = true)]
async fn nothing_shows_the_tokens_of_users() {
    use tower_bearer::grant::Subject;

    const TOKEN: &str = "https://issuer.test/token";

    let (captured, _logging) = Captured::logging();
    let provider = issuer();
    let server = Issuer::builder().client("client1", CLIENT_SECRET).user("user1", "-").trusts(&provider).build();
    let auth = || ClientAuth::basic("client1", CLIENT_SECRET);
    let user = TokenCache::new(builder(TOKEN, PASSWORD).build_with(provider.service()).unwrap());
    let token = user.token().await.unwrap();
    captured.hide_tokens_of(&provider, &user, &token);

    let exchange = || TokenExchange::builder(TOKEN).client_auth(auth());
    let direct = exchange().for_users_with(provider.service()).unwrap();
    let id_jag = exchange().requested_token_type(token_type::ID_JAG).audience("https://auth.test");
    let id_jag = id_jag.for_users_with(provider.service()).unwrap();
    let chained = JwtBearer::builder("https://auth.test/token").client_auth(auth()).assertion_from(id_jag.clone());
    captured.show(&chained);
    let chained = chained.for_users_with(server.service()).unwrap();
    let subjects = [
        Subject::new(token.secret()).with_actor(token.secret()),
        Subject::new("hidden-subject").with_actor("hidden-actor"),
    ];
    for users in [&direct, &id_jag, &chained] {
        for subject in &subjects {
            let source = users.source(subject.clone());
            captured.show(&(users, subject, users.key(subject), &source));
            let cache = TokenCache::new(source);
            match cache.token().await {
                Ok(token) => captured.show(&token),
                Err(error) => captured.show_error(&error),
            }
            captured.show(&(&cache, cache.status()));
        }
    }
    for issuer in [&provider, &server] {
        for request in issuer.requests() {
            let sent = ["subject_token", "actor_token", "assertion"];
            sent.iter().filter_map(|name| request.param(name)).for_each(|token| captured.hide(token));
        }
    }
    assert!(server.requests().iter().any(|request| request.param("assertion").is_some()));
    captured.assert_clean("refused the request");
}
