//! What `docs/servers.md` says of authorization servers, row by row: grants, refusals, refresh tokens and revocation.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tower::ServiceExt;
use tower_bearer::{
    AccessToken, BearerAuthLayer, Error, FailureClass, PasswordGrant, Reason, TokenCache, TokenSource,
    grant::{ClientAuth, ClientCredentials, PasswordGrantBuilder},
};

use super::{http, var};

/// An authorization server with an API that accepts its tokens.
#[derive(Clone, Copy)]
struct Server {
    url: &'static str,
    token_path: &'static str,
    /// A request that the API answers with 200 if the token is good.
    api: (&'static str, &'static str),
    /// What the user name ends with.
    host: &'static str,
    scope: Option<&'static str>,
    /// The id with which a client may use the grant `client_credentials`.
    service: Option<&'static str>,
    wrong_password: Refusal,
    wrong_secret: Option<Refusal>,
}

type Refusal = (FailureClass, Option<u16>, Option<&'static str>);

const NODE_OAUTH2_SERVER: Server = Server {
    url: "NODE_OAUTH2_SERVER_URL",
    token_path: "/oauth/token",
    api: ("GET", "/items"),
    host: "",
    scope: None,
    service: Some("client1_id"),
    wrong_password: (FailureClass::Terminal, Some(400), Some("invalid_grant")),
    wrong_secret: Some((FailureClass::Terminal, Some(401), Some("invalid_client"))),
};

const AUTHLIB: Server = Server {
    url: "AUTHLIB_URL",
    wrong_password: (FailureClass::Terminal, Some(400), Some("invalid_request")),
    scope: Some("read"),
    ..NODE_OAUTH2_SERVER
};

const DJANGO_OAUTH_TOOLKIT: Server = Server {
    url: "DJANGO_OAUTH_TOOLKIT_URL",
    token_path: "/o/token/",
    service: Some("client1_id-service"),
    ..NODE_OAUTH2_SERVER
};

const NODE_RED: Server = Server {
    url: "NODE_RED_URL",
    token_path: "/auth/token",
    api: ("GET", "/flows"),
    scope: Some("*"),
    service: None,
    wrong_password: (FailureClass::Terminal, Some(403), Some("invalid_grant")),
    wrong_secret: Some((FailureClass::Unexplained, Some(401), None)),
    ..NODE_OAUTH2_SERVER
};

const EJABBERD: Server = Server {
    url: "EJABBERD_URL",
    api: ("POST", "/api/connected_users_number"),
    host: "@localhost",
    scope: Some("connected_users_number"),
    service: None,
    wrong_password: (FailureClass::Unexplained, None, None),
    wrong_secret: None,
    ..NODE_OAUTH2_SERVER
};

const ALL: [Server; 5] = [NODE_OAUTH2_SERVER, AUTHLIB, DJANGO_OAUTH_TOOLKIT, NODE_RED, EJABBERD];

/// Those with refresh tokens, and whether an access token ends when its refresh token is used.
const REFRESHING: [(Server, bool); 3] = [(NODE_OAUTH2_SERVER, false), (AUTHLIB, true), (DJANGO_OAUTH_TOOLKIT, true)];

impl Server {
    fn is(self, other: Self) -> bool {
        self.url == other.url
    }

    fn at(self, path: &str) -> String {
        var(self.url) + path
    }

    /// The `ClientAuth` that the table names.
    fn client_auth(self) -> ClientAuth {
        if self.is(NODE_RED) {
            ClientAuth::none("node-red-admin")
        } else if self.is(EJABBERD) {
            ClientAuth::none("client1_id")
        } else {
            ClientAuth::basic(var("REAL_CLIENT_ID"), var("REAL_CLIENT_SECRET"))
        }
    }

    /// Node-RED has a user for each test, because it locks users.
    fn user(self, of_node_red: &str) -> String {
        if self.is(NODE_RED) { of_node_red.to_owned() } else { var("REAL_USERNAME") + self.host }
    }

    fn grant_at(self, token_url: String, user: &str, password: &str) -> PasswordGrantBuilder {
        let grant = PasswordGrant::builder(token_url)
            .client_auth(self.client_auth())
            .credentials(self.user(user), password.to_owned());
        if let Some(scope) = self.scope { grant.scope(scope) } else { grant }
    }

    fn grant(self, user: &str) -> PasswordGrantBuilder {
        self.grant_at(self.at(self.token_path), user, &var("REAL_PASSWORD"))
    }

    fn request(self) -> Request<Full<Bytes>> {
        let (method, path) = self.api;
        let body = if method == "POST" { "{}" } else { "" };
        Request::builder().method(method).uri(self.at(path)).body(body.into()).unwrap()
    }

    /// Returns what the API answers to the token.
    async fn status(self, token: &AccessToken) -> u16 {
        let mut request = self.request();
        request.headers_mut().insert("authorization", token.header_value());
        http().request(request).await.unwrap().status().as_u16()
    }
}

/// The token requests that a server has received, as text.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<String>>>);

impl Received {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Returns the values of a parameter in all requests.
    fn values(&self, name: &str) -> Vec<String> {
        let value = |request: &String| {
            let form = request.rsplit("\r\n\r\n").next()?;
            let value = form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.map(str::to_owned)
        };
        self.0.lock().unwrap().iter().filter_map(value).collect()
    }
}

/// Starts a proxy that counts the requests on their way to a server. Returns its address.
async fn counting_proxy(server: Server) -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let received = Received::default();
    let log = received.clone();
    let upstream = var(server.url).trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (log, upstream) = (log.clone(), upstream.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.split(), server.split());
                let requests = async {
                    let mut buffer = vec![0; 1 << 16];
                    loop {
                        let read = from_client.read(&mut buffer).await.unwrap_or(0);
                        if read == 0 {
                            break;
                        }
                        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                        if text.starts_with("POST ") {
                            log.0.lock().unwrap().push(text);
                        } else if let Some(last) = log.0.lock().unwrap().last_mut() {
                            last.push_str(&text);
                        }
                        if to_server.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                };
                // Either side ends both, as the connections of a server that closes them do.
                tokio::select! {
                    () = requests => {}
                    _ = copy(&mut from_server, &mut to_client) => {}
                }
            });
        }
    });
    (address, received)
}

fn refusal(error: &Error) -> (FailureClass, Option<u16>, Option<&str>) {
    (error.class(), error.status().map(|status| status.as_u16()), error.oauth_code())
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn each_issuer_grants_a_token_that_its_api_accepts() {
    for server in ALL {
        let layer = BearerAuthLayer::new(server.grant("granted").build().unwrap());
        let client = tower::ServiceBuilder::new().layer(layer).service(http());
        let answer = client.oneshot(server.request()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", server.url);

        let Some(id) = server.service else { continue };
        let service = ClientCredentials::builder(server.at(server.token_path))
            .client_auth(ClientAuth::basic(id, var("REAL_CLIENT_SECRET")));
        let token = TokenCache::new(service.build().unwrap()).token().await.unwrap();
        assert_eq!(server.status(&token).await, 200, "{}", server.url);
    }
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_refresh_token_that_rotates_is_followed() {
    for (server, ends) in REFRESHING {
        let (proxy, received) = counting_proxy(server).await;
        let grant = server.grant_at(proxy + server.token_path, "", &var("REAL_PASSWORD"));
        let source = grant.build().unwrap();
        let mut token = source.obtain(Reason::First).await.unwrap();
        for _ in 0..3 {
            assert_eq!(server.status(&token).await, 200, "{}", server.url);
            let next = source.obtain(Reason::Ageing).await.unwrap();
            assert_eq!(server.status(&next).await, 200, "{}", server.url);
            assert_eq!(server.status(&token).await, if ends { 401 } else { 200 }, "{}", server.url);
            token = next;
        }
        assert_eq!(received.values("grant_type"), ["password", "refresh_token", "refresh_token", "refresh_token"]);
        let [first, second, third] = received.values("refresh_token").try_into().unwrap();
        assert!(first != second && second != third && first != third, "{}", server.url);
    }
}

/// Calls as fast as a busy gateway does, for four seconds.
async fn is_sent_once(server: Server, user: &str, password: &str, expected: Refusal) {
    let (proxy, received) = counting_proxy(server).await;
    let grant = server.grant_at(proxy + server.token_path, user, password);
    let cache = TokenCache::new(grant.build().unwrap());
    let first = cache.token().await.unwrap_err();
    assert_eq!(refusal(&first), expected, "{}: {first:?}", server.url);
    assert_eq!(first.is_unanswered(), server.is(EJABBERD), "{first:?}");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        let error = cache.token().await.unwrap_err();
        assert!(error.is_backing_off(), "{}: {error:?}", server.url);
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(received.count(), 1, "{}", server.url);
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_wrong_password_is_sent_once_to_each_issuer() {
    join_all(ALL.map(|server| is_sent_once(server, "mistyped", "not the password", server.wrong_password))).await;
}

/// A lock is a 500 with a code. It lasts as long as the client goes on asking, so a transient class would keep it.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_user_that_node_red_has_locked_is_asked_for_once() {
    let wrong = || NODE_RED.grant_at(NODE_RED.at("/auth/token"), "locked", "not the password").build().unwrap();
    for _ in 0..5 {
        let error = TokenCache::new(wrong()).token().await.unwrap_err();
        assert_eq!(refusal(&error), NODE_RED.wrong_password);
    }
    let locked = (FailureClass::Unexplained, Some(500), Some("server_error"));
    is_sent_once(NODE_RED, "locked", &var("REAL_PASSWORD"), locked).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_wrong_client_secret_is_refused_as_the_table_says() {
    for server in ALL {
        let wrong = server.grant("client").client_auth(ClientAuth::basic(var("REAL_CLIENT_ID"), "not the secret"));
        let answer = TokenCache::new(wrong.build().unwrap()).token().await;
        match server.wrong_secret {
            Some(expected) => assert_eq!(refusal(&answer.unwrap_err()), expected, "{}", server.url),
            None => drop(answer.expect("the client is not looked at")),
        }
    }
}

/// The servers decode Basic credentials in three ways.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_client_secret_with_special_characters_arrives_by_the_setting_that_the_table_names() {
    let (id, secret) = (var("REAL_WEIRD_CLIENT_ID"), var("REAL_WEIRD_CLIENT_SECRET"));
    let basic = || ClientAuth::basic(id.clone(), secret.clone());
    let basic_raw = || ClientAuth::basic_raw(id.clone(), secret.clone());
    let post = || ClientAuth::post(id.clone(), secret.clone());
    // Without metadata, it chooses the body for a secret with a colon.
    let either = || ClientAuth::secret(id.clone(), secret.clone());
    for (server, good, bad) in [
        (NODE_OAUTH2_SERVER, vec![basic_raw(), post(), either()], basic()),
        (AUTHLIB, vec![basic(), post(), either()], basic_raw()),
        (DJANGO_OAUTH_TOOLKIT, vec![basic(), post(), either()], basic_raw()),
    ] {
        let token = async |auth| TokenCache::new(server.grant("").client_auth(auth).build().unwrap()).token().await;
        for auth in good {
            token(auth.clone()).await.unwrap_or_else(|error| panic!("{} {auth:?}: {error}", server.url));
        }
        assert_eq!(token(bad).await.unwrap_err().oauth_code(), Some("invalid_client"), "{}", server.url);
    }
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_revoked_cache_has_no_token_that_the_api_accepts() {
    for (server, path) in [(AUTHLIB, "/oauth/revoke"), (DJANGO_OAUTH_TOOLKIT, "/o/revoke_token/")] {
        let cache = TokenCache::new(server.grant("").revocation_url(server.at(path)).build().unwrap());
        let token = cache.token().await.unwrap();
        cache.revoke().await.unwrap();
        assert_eq!(server.status(&token).await, 401, "{}", server.url);
        assert_eq!(server.status(&cache.token().await.unwrap()).await, 200, "{}", server.url);
    }
}

/// Node-RED's endpoint takes only the token itself as authentication, and the others have none.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_revocation_that_a_server_does_not_offer_is_an_error_and_forgets_the_token() {
    for server in [NODE_RED, NODE_OAUTH2_SERVER, EJABBERD] {
        let grant = server.grant("revoking");
        let grant = if server.is(NODE_RED) { grant.revocation_url(server.at("/auth/revoke")) } else { grant };
        let cache = TokenCache::new(grant.build().unwrap());
        let token = cache.token().await.unwrap();
        let error = cache.revoke().await.unwrap_err();
        let expected = server.is(NODE_RED).then_some(401);
        assert_eq!(error.status().map(|status| status.as_u16()), expected, "{}: {error}", server.url);
        assert!(!cache.status().is_ready(), "{}", server.url);
        assert_eq!(server.status(&token).await, 200, "{}", server.url);
    }
}
