//! What token endpoints answer, in the forms that are met in practice: what counts is what an answer holds.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderName, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{Instant, sleep},
};
use tower::{BoxError, service_fn};
#[cfg(feature = "client")]
use tower_bearer::grant::HttpClient;
use tower_bearer::{
    AccessToken, Error, FailureClass, FixedToken, PasswordGrant, TokenCache,
    grant::{
        ClientAuth, ClientCredentials, HttpService, JwtBearer, PasswordGrantBuilder, RefreshToken, TokenExchange,
        token_type,
    },
};

use crate::support::obtain;

const URL: &str = "https://issuer.test/token";

/// The reply of a scripted token endpoint.
#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn reply(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let headers = if content_type.is_empty() { vec![] } else { vec![("content-type", content_type.to_owned())] };
    Reply { status, headers, body: body.into() }
}

fn json_reply(body: &Value) -> Reply {
    reply(200, "application/json", body.to_string())
}

impl Reply {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::builder().status(self.status).body(Full::from(self.body.clone())).unwrap();
        for (name, value) in &self.headers {
            response.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
        }
        response
    }
}

/// The forms that a token endpoint has received.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<String>>>);

impl Received {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Returns the values of a parameter in each request, or `-`.
    fn values(&self, name: &str) -> Vec<String> {
        let value = |form: &String| {
            let mut pairs = form_urlencoded::parse(form.as_bytes());
            pairs.find(|(other, _)| other == name).map_or("-".to_owned(), |(_, value)| value.into_owned())
        };
        self.0.lock().unwrap().iter().map(value).collect()
    }
}

/// Returns a token endpoint that answers its nth request, from 0 on, with `answer(n)`.
fn server<F>(answer: F) -> (impl HttpService, Received)
where
    F: Fn(usize) -> Result<Reply, BoxError> + Clone + Send + Sync + 'static,
{
    let received = Received::default();
    let log = received.clone();
    let service = service_fn(move |request: Request<Full<Bytes>>| {
        let (answer, log) = (answer.clone(), log.clone());
        async move {
            let form = request.into_body().collect().await?.to_bytes();
            let number = log.count();
            log.0.lock().unwrap().push(String::from_utf8(form.to_vec())?);
            answer(number).map(|reply| reply.response())
        }
    });
    (service, received)
}

/// Returns a token endpoint that gives these replies in turn, and the last one again and again.
fn replies(replies: &[Reply]) -> (impl HttpService + use<>, Received) {
    let replies = replies.to_vec();
    server(move |number| Ok(replies[number.min(replies.len() - 1)].clone()))
}

fn password() -> PasswordGrantBuilder {
    PasswordGrant::builder(URL)
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "pass-word")
}

/// Makes one token request by password that gets this reply.
async fn asked(reply: &Reply) -> Result<AccessToken, Error> {
    let (http, received) = replies(std::slice::from_ref(reply));
    let obtained = obtain(&password().build_with(http).unwrap()).await;
    assert_eq!(received.count(), 1, "{reply:?}");
    obtained
}

/// RFC 6749 appendix A.12.
#[tokio::test]
async fn a_token_of_any_visible_ascii_characters_in_an_answer_is_used() {
    let all: String = ('!'..='~').collect();
    for token in
        ["6f1c:int", "00Dx0!AQE.k_9", "17|kLmN", "ATAT3x=9C7=AB", "a=b", "a*b$", "a,b;c", "{x}", "a\"b\\c", "==", &all]
    {
        let token_response = json!({ "access_token": token, "token_type": "Bearer" });
        assert_eq!(asked(&json_reply(&token_response)).await.unwrap().secret(), token);
        assert_eq!(obtain(&FixedToken::new(token).unwrap()).await.unwrap().secret(), token);
    }
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_an_error_that_names_the_character() {
    for (token, says) in [
        ("s3cret x", "a space (' ') at position 7"),
        ("Bearer s3cret", "remove the `Bearer ` prefix"),
        ("s3cret\n", "a line end (U+000A) at position 7"),
        ("s3\r\nx-evil: s3cret", "a line end (U+000D) at position 3"),
        ("\ts3cret", "a control character (U+0009) at position 1"),
        ("s3cret\0", "a control character (U+0000) at position 7"),
        ("s3cret\u{7f}", "a control character (U+007F) at position 7"),
        ("s3crét", "a character that is not ASCII (U+00E9) at position 5"),
        ("s3cret\u{200b}", "a character that is not ASCII (U+200B) at position 7"),
        ("\u{feff}s3cret", "a byte order mark (U+FEFF) at position 1"),
    ] {
        let answered = asked(&json_reply(&json!({ "access_token": token, "token_type": "Bearer" }))).await.unwrap_err();
        let fixed = FixedToken::new(token).unwrap_err();
        assert!(answered.is_unusable() && fixed.is_config(), "{token:?}: {answered:?}");
        for text in [answered.to_string(), fixed.to_string()] {
            assert!(text.contains(says) && !text.contains("s3c") && !text.contains("evil"), "{token:?}: {text}");
        }
    }
    // It is not UTF-8.
    let error =
        asked(&reply(200, "application/json", b"{\"access_token\":\"s3cret\xe9\"}".to_vec())).await.unwrap_err();
    assert!(error.is_unusable() && error.to_string().contains("U+FFFD"), "{error}");
}

#[tokio::test]
async fn json_is_known_by_its_shape_whatever_the_content_type_says() {
    let body = r#"{"access_token":"abc","token_type":"Bearer","expires_in":60}"#;
    for content_type in [
        "",
        "text/plain",
        "text/html; charset=UTF-8",
        "text/javascript",
        "application/jsonp",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "nonsense",
    ] {
        assert_eq!(asked(&reply(200, content_type, body)).await.unwrap().secret(), "abc", "{content_type}");
    }
}

#[tokio::test]
async fn an_answer_of_a_mebibyte_is_read_and_a_larger_one_is_an_error() {
    let padded = |size: usize| {
        let json = r#"{"access_token":"t","x":""}"#;
        let padding = "x".repeat(size - json.len());
        reply(200, "application/json", json.replace("\"\"", &format!("\"{padding}\"")))
    };
    assert_eq!(padded(1 << 20).body.len(), 1 << 20);
    asked(&padded(1 << 20)).await.unwrap();
    let error = asked(&padded((1 << 20) + 1)).await.unwrap_err();
    assert!(error.is_unusable() && error.to_string().contains("1 MiB"), "{error}");
}

/// A small compressed answer can be a very large one, so none is unpacked.
#[tokio::test]
async fn a_compressed_answer_is_an_error_and_is_not_unpacked() {
    let plain = br#"{"access_token":"t","token_type":"Bearer"}"#;
    asked(&reply(200, "application/json", plain)).await.unwrap();
    let gzipped = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x56, 0x4a, 0x4c, 0x4e, 0x4e, 0x2d, 0x2e,
        0x8e, 0x2f, 0xc9, 0xcf, 0x4e, 0xcd, 0x53, 0xb2, 0x52, 0x2a, 0x51, 0xd2, 0x51, 0x02, 0xb3, 0xe3, 0x4b, 0x2a,
        0x0b, 0x52, 0x81, 0x02, 0x4e, 0xa9, 0x89, 0x45, 0xa9, 0x45, 0x4a, 0xb5, 0x00, 0x0e, 0x9c, 0x52, 0x2d, 0x2a,
        0x00, 0x00, 0x00,
    ];
    for coding in ["gzip", "GZIP", "x-gzip", "gzip, gzip"] {
        let error = asked(&reply(200, "application/json", gzipped).with("content-encoding", coding)).await.unwrap_err();
        assert!(error.is_unusable() && error.to_string().len() < 200, "{error}");
    }
}

#[tokio::test]
async fn what_does_not_matter_in_an_answer_does_no_harm() {
    for (name, body) in [
        ("a byte order mark", &b"\xef\xbb\xbf{\"access_token\":\"abc\",\"token_type\":\"Bearer\"}"[..]),
        ("space around it", b"\r\n {\"access_token\":\"abc\"}\n\n"),
        ("Latin-1 in a text", b"{\"access_token\":\"abc\",\"note\":\"gr\xfc\xdfe\",\"token_type\":\"Bearer\"}"),
        ("Latin-1 in a name", b"{\"stra\xdfe\":1,\"access_token\":\"abc\"}"),
        ("half a character", b"{\"error_description\":\"\\ud83d\",\"access_token\":\"abc\",\"scope\":\"\\udc00\"}"),
        ("an unknown member twice", b"{\"n\":1,\"access_token\":\"abc\",\"n\":\"2\",\"token_type\":\"bearer\"}"),
        ("the token twice, the same", b"{\"access_token\":\"abc\",\"access_token\":\"a\\u0062c\"}"),
        ("the token and null", b"{\"access_token\":\"abc\",\"access_token\":null}"),
        ("the type twice", b"{\"token_type\":\"bearer\",\"access_token\":\"abc\",\"token_type\":\"Bearer\"}"),
        ("the lifetime twice", b"{\"expires_in\":1,\"access_token\":\"abc\",\"expires_in\":60}"),
        ("no type", b"{\"access_token\":\"abc\"}"),
        ("null as the type", b"{\"access_token\":\"abc\",\"token_type\":null}"),
        ("an error that is none", b"{\"access_token\":\"abc\",\"error\":null,\"error_description\":\"\"}"),
        ("an odd refresh token", b"{\"access_token\":\"abc\",\"refresh_token\":false,\"scope\":7}"),
        ("a token type with another case", b"{\"access_token\":\"abc\",\"token_type\":\"bEaReRtOkEn\"}"),
    ] {
        let token = asked(&reply(200, "application/json", body)).await;
        assert_eq!(token.unwrap_or_else(|error| panic!("{name}: {error}")).secret(), "abc", "{name}");
    }
}

/// Size, depth and redirects have tests of their own.
#[tokio::test]
async fn what_matters_in_an_answer_is_judged_strictly() {
    for (name, body) in [
        ("two different tokens", r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#),
        ("two different types", r#"{"access_token":"a","token_type":"Bearer","token_type":"DPoP"}"#),
        ("DPoP", r#"{"access_token":"a","token_type":"DPoP"}"#),
        ("dpop", r#"{"access_token":"a","token_type":"dpop"}"#),
        ("MAC", r#"{"access_token":"a","token_type":"mac"}"#),
        ("PoP", r#"{"access_token":"a","token_type":"PoP"}"#),
        ("N_A", r#"{"access_token":"a","token_type":"N_A"}"#),
        ("an unknown type", r#"{"access_token":"a","token_type":"urn:x"}"#),
        ("a type that is a number", r#"{"access_token":"a","token_type":1}"#),
        ("JSON after the object", r#"{"access_token":"a"}{}"#),
        ("a string", r#""access_token""#),
    ] {
        let error = asked(&reply(200, "application/json", body)).await.unwrap_err();
        assert!(error.is_unusable() && !error.is_terminal(), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn another_token_type_is_accepted_by_a_setting_of_every_grant() {
    let (http, _) = replies(&[json_reply(&json!({ "access_token": "abc", "token_type": "Jwt",
        "issued_token_type": "urn:ietf:params:oauth:token-type:jwt" }))]);
    let auth = || ClientAuth::basic("client1", "client-secret");
    let error = obtain(&password().build_with(http.clone()).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("not Bearer but Jwt; ") && error.to_string().contains("`accept_token_type`"));

    let password = password().accept_token_type("jwt").build_with(http.clone()).unwrap();
    let client = ClientCredentials::builder(URL).client_auth(auth()).accept_token_type("x").accept_token_type("JWT");
    let refresh = RefreshToken::builder(URL).client_auth(auth()).refresh_token("r").accept_token_type("JWT");
    let bearer = JwtBearer::builder(URL).client_auth(auth()).assertion("a.b.c").accept_token_type("JWT");
    let exchange = TokenExchange::builder(URL)
        .client_auth(auth())
        .subject_token("t", token_type::ACCESS_TOKEN)
        .accept_token_type("JWT");
    for token in [
        obtain(&password).await,
        obtain(&client.build_with(http.clone()).unwrap()).await,
        obtain(&refresh.build_with(http.clone()).unwrap()).await,
        obtain(&bearer.build_with(http.clone()).unwrap()).await,
        obtain(&exchange.build_with(http.clone()).unwrap()).await,
    ] {
        assert_eq!(token.unwrap().secret(), "abc");
    }
}

#[tokio::test]
async fn a_type_whose_tokens_need_a_proof_cannot_be_accepted() {
    for never in ["DPoP", "dpop", "MAC", "PoP", "N_A"] {
        let (http, _) = replies(&[json_reply(&json!({}))]);
        let error = password().accept_token_type(never).build_with(http).unwrap_err();
        assert!(error.is_config() && error.to_string().contains(never), "{error}");
    }
}

/// A code counts wherever it is.
#[tokio::test]
async fn a_refusal_with_a_code_is_terminal_in_any_dress() {
    let json = "application/json";
    let refused = r#"{"error":"invalid_grant"}"#;
    let latin1 = b"{\"error\":\"invalid_grant\",\"error_description\":\"Benutzer gesperrt f\xfcr heute\"}".to_vec();
    for (name, reply, code) in [
        ("as text", reply(400, "text/plain", refused), "invalid_grant"),
        ("as HTML", reply(401, "text/html", refused), "invalid_grant"),
        ("without a content type", reply(403, "", refused), "invalid_grant"),
        ("with a byte order mark", reply(400, json, format!("\u{feff}{refused}")), "invalid_grant"),
        ("with 200", reply(200, json, refused), "invalid_grant"),
        ("with 201 as text", reply(201, "text/plain", refused), "invalid_grant"),
        ("with 200 and Latin-1", reply(200, json, latin1.clone()), "invalid_grant"),
        ("with 400 and Latin-1", reply(400, json, latin1), "invalid_grant"),
        ("beside an empty token", reply(200, json, r#"{"access_token":"","error":"invalid_grant"}"#), "invalid_grant"),
        (
            "beside a token that is null",
            reply(200, json, r#"{"access_token":null,"error":"invalid_grant","token_type":null}"#),
            "invalid_grant",
        ),
        (
            "beside a token that is false",
            reply(200, json, r#"{"access_token":false,"error":"invalid_grant"}"#),
            "invalid_grant",
        ),
        ("given twice", reply(400, json, r#"{"error":"invalid_grant","error":"invalid_grant"}"#), "invalid_grant"),
        (
            "beside a token in a refusal",
            reply(400, json, r#"{"access_token":"abc","error":"invalid_grant"}"#),
            "invalid_grant",
        ),
        ("in an object", reply(400, json, r#"{"error":{"code":"invalid_grant"}}"#), "invalid_grant"),
        ("in a form", reply(200, "text/plain", "error=invalid_grant&error_description=no"), "invalid_grant"),
        (
            "in the challenge",
            reply(401, "", "").with("www-authenticate", r#"Bearer realm="x", error="invalid_client""#),
            "invalid_client",
        ),
    ] {
        let error = asked(&reply).await.unwrap_err();
        assert_eq!((error.class(), error.oauth_code()), (FailureClass::Terminal, Some(code)), "{name}: {error:?}");
    }
}

/// What else token endpoints answer to a wrong password, and what proxies answer.
#[tokio::test]
async fn a_failure_without_a_clear_reason_has_the_class_that_protects_the_account() {
    use FailureClass::{Transient, Unexplained};
    let json = "application/json";
    let refused = r#"{"error":"invalid_grant"}"#;
    let long = "x".repeat(2 << 20);
    for (name, reply, class, code) in [
        (
            "a 401 that only describes",
            reply(401, json, r#"{"detail":"No such user"}"#).with("www-authenticate", "Bearer"),
            Unexplained,
            None,
        ),
        ("a 422", reply(422, json, r#"{"detail":[{"loc":["body","password"]}]}"#), Unexplained, None),
        ("an empty 403", reply(403, "", ""), Unexplained, None),
        ("a 400 that is too long", reply(400, "text/html", long.clone()), Unexplained, None),
        (
            "a lock",
            reply(500, json, r#"{"error":"server_error","error_description":"Locked. Try again later"}"#),
            Unexplained,
            Some("server_error"),
        ),
        (
            "a crash with a code",
            reply(500, json, r#"{"error":"internal_server_error"}"#),
            Unexplained,
            Some("internal_server_error"),
        ),
        (
            "a crash with a page",
            reply(500, json, r#"{"status":500,"error":"Internal Server Error","path":"/token"}"#),
            Transient,
            None,
        ),
        ("other members", reply(200, json, r#"{"refresh":"r","access":"a"}"#), Unexplained, None),
        ("an empty token", reply(200, json, r#"{"access_token":""}"#), Unexplained, None),
        ("an error of its own", reply(200, json, r#"{"success":false,"message":"wrong password"}"#), Unexplained, None),
        ("a sign-in page", reply(200, "text/html", "<html>Sign in</html>"), Unexplained, None),
        ("nothing", reply(200, "", ""), Unexplained, None),
        ("no content", reply(204, "", ""), Unexplained, None),
        ("a redirect", reply(302, "", "").with("location", "/login"), Unexplained, None),
        ("a redirect with a code", reply(303, json, refused).with("location", "/login?error=1"), Unexplained, None),
        ("408", reply(408, json, r#"{"message":"slow"}"#), Transient, None),
        ("425", reply(425, json, r#"{"message":"early"}"#), Transient, None),
        ("429", reply(429, "text/html", "<html>"), Transient, None),
        ("429 with a code", reply(429, json, refused), Transient, Some("invalid_grant")),
        ("502", reply(502, "text/html", long), Transient, None),
        ("503", reply(503, "", ""), Transient, None),
        ("503 with a code", reply(503, json, r#"{"error":"server_error"}"#), Transient, Some("server_error")),
        ("504", reply(504, "text/plain", "upstream timed out"), Transient, None),
    ] {
        let error = asked(&reply).await.unwrap_err();
        assert_eq!((error.class(), error.oauth_code()), (class, code), "{name}: {error:?}");
        assert!(!error.is_connect() && !format!("{error} {error:?}").contains("pass-word"), "{name}: {error:?}");
    }
}

/// The status is known before the body. A page that is cut off must not hide it.
#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_or_never_ends_does_not_hide_the_status() {
    for (status, class, is_status) in [
        (401, FailureClass::Unexplained, true),
        (400, FailureClass::Unexplained, true),
        (503, FailureClass::Transient, true),
        (200, FailureClass::Unexplained, false),
    ] {
        for ends in [true, false] {
            let http = service_fn(move |_: Request<Full<Bytes>>| async move {
                let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"{\"err")))]);
                let rest = if ends {
                    stream::iter([Err(BoxError::from("cut off"))]).boxed()
                } else {
                    stream::pending().boxed()
                };
                let body: UnsyncBoxBody<Bytes, BoxError> = StreamBody::new(first.chain(rest)).boxed_unsync();
                Ok::<_, BoxError>(Response::builder().status(status).body(body)?)
            });
            let error = obtain(&password().build_with(http).unwrap()).await.unwrap_err();
            assert_eq!(error.status().is_some(), is_status, "{status} {ends}: {error:?}");
            let is_late = !ends && !is_status;
            assert_eq!(error.is_timeout(), is_late, "{status} {ends}: {error:?}");
            assert!(is_late || error.class() == class, "{status} {ends}: {error:?}");
        }
    }
}

/// How a raw server ends a connection after it has read the request.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
    InTheHead,
    Garbage,
}

/// Starts a server that reads a whole request and then ends its connection like this. Returns its token URL.
async fn raw_server(end: End) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"pass-word") {
                request.push(stream.read_u8().await.unwrap());
            }
            match end {
                End::Close => {}
                // A connection that is closed with unread data is reset.
                End::Reset => stream.set_zero_linger().unwrap(),
                End::InTheHead => stream.write_all(b"HTTP/1.1 200 O").await.unwrap(),
                End::Garbage => stream.write_all(b"\x15\x03\x01 this is not HTTP\r\n\r\n").await.unwrap(),
            }
        }
    });
    url
}

async fn check_unanswered<C: HttpService>(http: C) {
    for end in [End::Close, End::Reset, End::InTheHead] {
        let source = PasswordGrant::builder(raw_server(end).await)
            .client_auth(ClientAuth::none("client1"))
            .credentials("user1", "pass-word")
            .build_with(http.clone())
            .unwrap();
        let error = obtain(&source).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Unexplained, "{end:?}: {error:?}");
        assert!(error.is_unanswered() && !error.is_connect() && !error.is_timeout(), "{end:?}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("closed the connection") && text.contains("username and password"), "{end:?}: {text}");
    }
    let source = PasswordGrant::builder(raw_server(End::Garbage).await)
        .client_auth(ClientAuth::none("client1"))
        .credentials("user1", "pass-word")
        .build_with(http.clone())
        .unwrap();
    let error = obtain(&source).await.unwrap_err();
    assert!(error.is_unusable() && error.class() == FailureClass::Unexplained, "{error:?}");

    // Nobody listens there.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let source = PasswordGrant::builder(format!("http://{closed}/token"))
        .client_auth(ClientAuth::none("client1"))
        .credentials("user1", "pass-word")
        .build_with(http)
        .unwrap();
    let error = obtain(&source).await.unwrap_err();
    assert!(error.is_connect() && error.is_transient() && !error.is_unanswered(), "{error:?}");
}

#[cfg(feature = "client")]
#[tokio::test]
async fn a_connection_that_closes_after_the_request_is_not_an_outage_to_the_ready_made_client() {
    check_unanswered(HttpClient::builder().build().unwrap()).await;
}

/// Without the feature `client` as well.
#[tokio::test]
async fn a_connection_that_closes_after_the_request_is_not_an_outage_to_a_client_of_hyper() {
    check_unanswered(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>()).await;
}

#[tokio::test]
async fn a_foreign_clients_error_says_whether_the_request_was_sent_or_stays_transient() {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
    let failing = async |error: fn() -> BoxError| {
        let (http, _) = server(move |_| Err(error()));
        obtain(&password().build_with(http).unwrap()).await.unwrap_err()
    };
    for error in [
        || io::Error::from(BrokenPipe).into(),
        || io::Error::from(ConnectionAborted).into(),
        || io::Error::from(ConnectionReset).into(),
        || io::Error::new(UnexpectedEof, "peer closed the connection").into(),
    ] {
        let error = failing(error).await;
        assert!(error.is_unanswered() && error.class() == FailureClass::Unexplained, "{error:?}");
    }
    let unknown: [fn() -> BoxError; 3] =
        [|| io::Error::from(ConnectionRefused).into(), || io::Error::from(TimedOut).into(), || "who knows".into()];
    for error in unknown {
        let error = failing(error).await;
        assert!(error.is_connect() && error.is_transient(), "{error:?}");
    }
}

/// Calls ten times a second for half a minute. Returns how often the password was sent in the first 4 s, and in 30 s.
async fn sent_at_ten_calls_a_second<F>(answer: F) -> (usize, usize)
where
    F: Fn(usize) -> Result<Reply, BoxError> + Clone + Send + Sync + 'static,
{
    let (http, received) = server(answer);
    let cache = TokenCache::new(password().build_with(http).unwrap());
    let started = Instant::now();
    let mut in_4_seconds = 0;
    while started.elapsed() < Duration::from_secs(30) {
        cache.token().await.unwrap_err();
        if started.elapsed() < Duration::from_secs(4) {
            in_4_seconds = received.count();
        }
        sleep(Duration::from_millis(100)).await;
    }
    (in_4_seconds, received.count())
}

/// What token endpoints and the proxies before them say that their content is.
const CONTENT_TYPES: [&str; 10] = [
    "application/json",
    "application/json; charset=utf-8",
    "application/problem+json",
    "text/plain",
    "text/html; charset=iso-8859-1",
    "text/javascript",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "not a content type",
    "",
];

/// Otherwise the account is locked.
#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_sent_once_in_any_dress() {
    let refused = r#"{"error":"invalid_grant"}"#;
    let latin1 = b"{\"error\":\"invalid_grant\",\"error_description\":\"\xdf\"}".to_vec();
    let page = "<html>Sign in</html>";
    for (name, status, body, in_30_seconds) in [
        ("with a code", 400, refused.into(), 1),
        ("with a code and a byte order mark", 400, format!("\u{feff}{refused}").into_bytes(), 1),
        ("with a code and Latin-1", 400, latin1.clone(), 1),
        ("with a code in a form", 400, "error=invalid_grant".into(), 1),
        ("with a code in an object", 400, r#"{"error":{"code":"invalid_grant"}}"#.into(), 1),
        ("as 401 with a code", 401, refused.into(), 1),
        ("as 403 with a code", 403, refused.into(), 1),
        ("as 404 with a code", 404, refused.into(), 1),
        ("with 200", 200, refused.into(), 1),
        ("with 200 and Latin-1", 200, latin1, 1),
        ("beside an empty token", 200, r#"{"access_token":"","error":"invalid_grant"}"#.into(), 1),
        ("as a request that is not valid", 400, r#"{"error":"invalid_request"}"#.into(), 1),
        ("as an empty 400", 400, vec![], 3),
        ("as a page with 400", 400, page.into(), 3),
        ("as 401", 401, r#"{"detail":"Incorrect"}"#.into(), 3),
        ("as an empty 401", 401, vec![], 3),
        ("as a page with 401", 401, page.into(), 3),
        ("as an empty 403", 403, vec![], 3),
        ("as 403 with a message", 403, r#"{"message":"Forbidden"}"#.into(), 3),
        ("as a page with 404", 404, page.into(), 3),
        ("as 422", 422, r#"{"detail":[]}"#.into(), 3),
        ("as 423", 423, "locked".into(), 3),
        ("as a lock", 500, r#"{"error":"server_error"}"#.into(), 3),
        ("as 500 with a code", 500, refused.into(), 3),
        ("as 501 with a code", 501, r#"{"error":"unsupported_grant_type"}"#.into(), 3),
        ("as a page", 200, page.into(), 3),
        ("as nothing", 200, vec![], 3),
        ("as JSON without a token", 200, r#"{"ok":false}"#.into(), 3),
        ("as no content", 204, vec![], 3),
        ("as a redirect", 302, vec![], 3),
        ("as a redirect with a page", 303, page.into(), 3),
        ("as a redirect with a code", 307, refused.into(), 3),
    ] {
        for content_type in CONTENT_TYPES {
            let mut answer = reply(status, content_type, body.clone());
            if matches!(status, 300..400) {
                answer = answer.with("location", "/login");
            }
            let (in_4, in_30) = sent_at_ten_calls_a_second(move |_| Ok(answer.clone())).await;
            assert_eq!(in_4, 1, "{name}, {content_type:?}");
            assert!(in_30 <= in_30_seconds, "{name}, {content_type:?}: {in_30} token requests");
        }
    }
    let challenge = reply(401, "", "").with("www-authenticate", r#"Bearer error="invalid_grant""#);
    assert_eq!(sent_at_ten_calls_a_second(move |_| Ok(challenge.clone())).await, (1, 1), "a code in the challenge");
    for ended in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe] {
        let (in_4, in_30) = sent_at_ten_calls_a_second(move |_| Err(io::Error::from(ended).into())).await;
        assert!(in_4 == 1 && in_30 <= 3, "{ended:?}: {in_4}, {in_30} token requests");
    }
}

/// These do not speak of the password, whatever they hold. A request that waits for a token tries again, and an outage costs no more
/// than its backoff allows.
#[tokio::test(start_paused = true)]
async fn an_answer_of_an_issuer_in_trouble_is_tried_again_in_any_dress() {
    let bodies =
        ["", "<html>", r#"{"error":"invalid_grant"}"#, r#"{"error":"server_error"}"#, r#"{"message":"later"}"#];
    for status in [408, 425, 429, 502, 503, 504] {
        for body in bodies {
            for content_type in CONTENT_TYPES {
                let answer = reply(status, content_type, body);
                let good = json_reply(&json!({ "access_token": "abc", "token_type": "Bearer" }));
                let (http, received) = replies(&[answer.clone(), answer, good]);
                let cache = TokenCache::new(password().build_with(http).unwrap());
                cache.token().await.unwrap_or_else(|error| panic!("{status} {body} {content_type:?}: {error:?}"));
                assert_eq!(received.count(), 3, "{status} {body} {content_type:?}");
            }
        }
    }
    let failures: [fn() -> Result<Reply, BoxError>; 3] = [
        || Ok(reply(503, "", "")),
        || Ok(reply(500, "text/html", "<html>")),
        || Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
    ];
    for (number, failure) in failures.into_iter().enumerate() {
        let (in_4, in_30) = sent_at_ten_calls_a_second(move |_| failure()).await;
        assert!(in_4 >= 4 && in_30 > 4, "{number}: {in_4} in 4 s, {in_30} in 30 s");
        assert!(in_30 <= 40, "{number}: {in_30} in 30 s");
    }
}

/// The refresh token that was sent is used up.
#[tokio::test]
async fn a_refresh_token_in_a_successful_answer_is_kept_and_saved_whatever_the_access_token_is_like() {
    for (name, answer) in [
        ("a line end in the token", json!({ "access_token": "a\nb", "token_type": "Bearer", "refresh_token": "r1" })),
        ("another type", json!({ "access_token": "a", "token_type": "DPoP", "refresh_token": "r1" })),
        ("no token", json!({ "refresh_token": "r1" })),
        ("an empty token", json!({ "access_token": "", "refresh_token": "r1" })),
        ("an error", json!({ "error": "temporarily_unavailable", "refresh_token": "r1" })),
    ] {
        let good = json!({ "access_token": "abc", "token_type": "Bearer" });
        let (http, received) = replies(&[json_reply(&answer), json_reply(&good)]);
        let saved = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&saved);
        let source = RefreshToken::builder(URL)
            .client_auth(ClientAuth::none("client1"))
            .refresh_token("r0")
            .on_rotation(move |new| {
                log.lock().unwrap().push(new.expose().to_owned());
                async { Ok(()) }
            })
            .build_with(http)
            .unwrap();
        obtain(&source).await.unwrap_err();
        assert_eq!(*saved.lock().unwrap(), ["r1"], "{name}");
        assert_eq!(obtain(&source).await.unwrap().secret(), "abc");
        assert_eq!(received.values("refresh_token"), ["r0", "r1"], "{name}");
    }
}

#[tokio::test]
async fn a_refresh_token_beside_an_unusable_access_token_goes_before_the_password() {
    let odd = json_reply(&json!({ "access_token": "a b", "token_type": "Bearer", "refresh_token": "r1" }));
    let good = json_reply(&json!({ "access_token": "abc", "token_type": "Bearer" }));
    let (http, received) = replies(&[odd, good]);
    let source = password().build_with(http).unwrap();
    obtain(&source).await.unwrap_err();
    obtain(&source).await.unwrap();
    assert_eq!(received.values("grant_type"), ["password", "refresh_token"]);
}

/// A refusal that brings another refresh token, and the password's own one after it.
#[tokio::test]
async fn the_newest_refresh_token_of_one_attempt_is_the_one_that_is_used_next() {
    let token =
        |refresh_token: &str| json!({ "access_token": "abc", "token_type": "Bearer", "refresh_token": refresh_token });
    let refused = json!({ "error": "invalid_grant", "refresh_token": "r2" });
    let (http, received) = replies(&[token("r1"), refused, token("r3"), token("r4")].map(|answer| json_reply(&answer)));
    let source = password().build_with(http).unwrap();
    for _ in 0..3 {
        obtain(&source).await.unwrap();
    }
    assert_eq!(received.values("refresh_token"), ["-", "r1", "-", "r3"]);
}

#[tokio::test]
async fn only_a_refusal_costs_the_refresh_token() {
    let token = json_reply(&json!({ "access_token": "abc", "token_type": "Bearer", "refresh_token": "r1" }));
    let json = "application/json";
    for (name, answer, is_refused) in [
        ("a refusal", reply(400, json, r#"{"error":"invalid_grant"}"#), true),
        ("a refusal with 500", reply(500, json, r#"{"error":"invalid_grant"}"#), true),
        ("a refusal without a code", reply(401, json, r#"{"detail":"Token is blacklisted"}"#), true),
        ("a lock", reply(500, json, r#"{"error":"server_error"}"#), false),
        ("a redirect", reply(302, "", "").with("location", "/maintenance"), false),
        ("a page", reply(200, "text/html", "<html>"), false),
        ("a wrong client", reply(401, json, r#"{"error":"invalid_client"}"#), false),
        ("an outage", reply(503, json, r#"{"error":"invalid_grant"}"#), false),
    ] {
        let (http, received) = replies(&[token.clone(), answer, token.clone()]);
        let source = password().build_with(http).unwrap();
        obtain(&source).await.unwrap();
        assert_eq!(obtain(&source).await.is_ok(), is_refused, "{name}");
        if !is_refused {
            obtain(&source).await.unwrap();
        }
        let last = if is_refused { "password" } else { "refresh_token" };
        assert_eq!(received.values("grant_type"), ["password", "refresh_token", last], "{name}");
    }
}

/// SMART App Launch 2.2, and what other issuers add.
#[derive(Debug, Deserialize, PartialEq)]
struct Added {
    patient: Option<String>,
    encounter: Option<String>,
    #[serde(default)]
    need_patient_banner: bool,
    instance_url: Option<String>,
    id_token: Option<String>,
    created_at: Option<u64>,
}

#[tokio::test]
async fn the_other_members_of_an_answer_are_there_for_the_caller() {
    let answer = r#"{"patient":"old","access_token":"abc","token_type":"Bearer","expires_in":3600,"refresh_token":"r1",
        "patient":"p\u002d1","encounter":"e-1","need_patient_banner":true,"instance_url":"https://eu.test",
        "id_token":"a.b.c","created_at":1764201600,"smart":{"deep":[1.50]},"odd \"name\"":null}"#;
    let (http, _) = replies(&[reply(200, "text/plain", answer)]);
    let cache = TokenCache::new(password().build_with(http).unwrap());
    let token = cache.token().await.unwrap();
    let expected = Added {
        patient: Some("p-1".into()),
        encounter: Some("e-1".into()),
        need_patient_banner: true,
        instance_url: Some("https://eu.test".into()),
        id_token: Some("a.b.c".into()),
        created_at: Some(1_764_201_600),
    };
    assert_eq!(token.response::<Added>().unwrap(), expected);
    let all: serde_json::Map<String, Value> = token.clone().with_scope("x").response().unwrap();
    assert_eq!(
        (&all["expires_in"], &all["smart"]["deep"][0], &all["odd \"name\""]),
        (&json!(3600), &json!(1.5), &Value::Null)
    );
    assert!(!all.contains_key("access_token") && !all.contains_key("refresh_token"));
    let shown = format!("{token:?} {cache:?} {:?}", cache.status());
    assert!(!["p-1", "a.b.c", "eu.test"].iter().any(|secret| shown.contains(secret)), "{shown}");
}

#[tokio::test]
async fn members_that_do_not_fit_or_are_too_long_are_an_error_that_does_not_quote_them() {
    #[derive(Debug, Deserialize)]
    struct Needs {
        #[serde(rename = "patient")]
        _patient: u64,
    }
    let answer =
        |patient: Value| json_reply(&json!({ "access_token": "abc", "token_type": "Bearer", "patient": patient }));
    for (patient, says) in [
        (json!("s3cret-patient"), "do not fit"),
        (Value::Null, "do not fit"),
        (json!("s3cret-patient".repeat(10_000)), "64 KiB"),
    ] {
        let error = asked(&answer(patient)).await.unwrap().response::<Needs>().unwrap_err();
        assert!(error.is_unusable() && error.is_terminal() && std::error::Error::source(&error).is_none());
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(says) && !shown.contains("s3cret"), "{shown}");
    }
    // A token that did not come in an answer has no members.
    let bare = AccessToken::new("abc").unwrap();
    assert!(bare.response::<Needs>().is_err());
    assert_eq!(bare.response::<Added>().unwrap().patient, None);
}

#[tokio::test]
async fn the_advice_names_what_the_grant_presented() {
    let json = "application/json";
    for (code, password_says, client_says) in [
        ("invalid_request", "check the username and the password", "check the parameters"),
        ("invalid_grant", "check the username and the password", "check the client id, its secret or key"),
    ] {
        let answer = reply(400, json, json!({ "error": code }).to_string());
        let by_password = asked(&answer).await.unwrap_err().to_string();
        let (http, _) = replies(&[answer]);
        let client = ClientCredentials::builder(URL).client_auth(ClientAuth::basic("client1", "client-secret"));
        let by_client = obtain(&client.build_with(http).unwrap()).await.unwrap_err().to_string();
        assert!(by_password.contains(password_says), "{by_password}");
        assert!(by_client.contains(client_says) && !by_client.contains("password"), "{by_client}");
    }
}
