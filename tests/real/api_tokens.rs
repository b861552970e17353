//! Tokens that the tests sign themselves, and clients that have such a token.
//!
//! So a test need not wait until a token expires, or change the key of a server: its client takes the first token for a
//! new one, and the server does not accept it. All later tokens are good.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    AccessToken, BearerAuth, BearerAuthLayer, Error, InsufficientScope, Outcome, Reason, TokenSource, source::from_fn,
};

use super::{Counted, Http, http, var};

pub(super) type Call = Request<Full<Bytes>>;

/// Why the server does not accept the first token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flaw {
    None,
    Expired,
    ExpiredJustNow,
    OldKey,
    OtherAudience,
}

/// A setting of the layer, such as `|layer| layer.reject_on(…)`.
pub(super) type Rule = fn(BearerAuthLayer) -> BearerAuthLayer;

pub(super) const NO_RULE: Rule = |layer| layer;

/// The most token requests for 30 refusals at once: the first one, two renewals that the budget allows, and an early one.
pub(super) const BUDGET: usize = 4;

/// Makes each token a new one, also within a second.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

#[expect(clippy::disallowed_methods, reason = "the servers compare it with their clocks")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The claims of all tokens together. Each server reads those that it knows.
fn claims(flaw: Flaw) -> Value {
    // The client takes each token for valid for an hour from its receipt.
    let expires = match flaw {
        Flaw::Expired => now() - 120,
        Flaw::ExpiredJustNow => now() - 20,
        _ => now() + 3600,
    };
    let issued = expires - 3600;
    json!({
        "iss": "http://127.0.0.1/realms/test",
        "aud": if flaw == Flaw::OtherAudience { "other" } else { "api" },
        "sub": "alice",
        "scope": "items",
        "jti": NUMBER.fetch_add(1, Ordering::Relaxed).to_string(),
        "iat": issued,
        "nbf": issued,
        "exp": expires,
        // keycloak-connect
        "typ": "Bearer",
        // simplejwt
        "token_type": "access",
        "user_id": "1",
        // flask-jwt-extended
        "type": "access",
        "fresh": false,
        // docker-registry
        "access": [{ "type": "repository", "name": "mine", "actions": ["pull"] }],
        // etcd
        "username": "app",
        "revision": 1,
    })
}

/// Returns a signed token. The server's key is found by its certificate, which docker-registry needs.
pub(super) fn signed(flaw: Flaw) -> AccessToken {
    let file = if flaw == Flaw::OldKey { "API_OLD_KEY_FILE" } else { "API_KEY_FILE" };
    let key = EncodingKey::from_rsa_pem(&fs::read(var(file)).unwrap()).unwrap();
    let certificate = fs::read_to_string(var("API_CERTIFICATE_FILE")).unwrap();
    let certificate = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    let header = Header { x5c: Some(vec![certificate]), ..Header::new(Algorithm::RS256) };
    AccessToken::new(encode(&header, &claims(flaw), &key).unwrap()).unwrap()
}

/// A client of an API, and how often it asked for a token.
pub(super) struct Sdk {
    service: BearerAuth<Http>,
    asked: Arc<AtomicUsize>,
}

impl Sdk {
    pub(super) fn new(source: impl TokenSource, rule: Rule) -> Self {
        Self::over(http(), source, rule)
    }

    pub(super) fn over(http: Http, source: impl TokenSource, rule: Rule) -> Self {
        let asked = Arc::default();
        let layer = BearerAuthLayer::new(Counted { source, asked: Arc::clone(&asked) });
        Self { service: rule(layer).layer(http), asked }
    }

    /// A client whose first token has this flaw.
    pub(super) fn with(flaw: Flaw, rule: Rule) -> Self {
        Self::new(first(flaw, |_| async { Ok(signed(Flaw::None)) }), rule)
    }

    pub(super) async fn call(&self, call: &Call) -> Response<Incoming> {
        self.service.clone().oneshot(call.clone()).await.unwrap()
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// The first token is rejected. The request is sent again with the second one, and answered with this status.
    pub(super) async fn retries(&self, call: &Call, status: StatusCode) -> Response<Incoming> {
        let response = self.call(call).await;
        assert_eq!(response.status(), status, "{call:?} {:?}", response.headers());
        assert!(response.extensions().get().is_some_and(Outcome::retried), "{call:?}");
        assert_eq!(self.asked(), 2, "{call:?}");
        response
    }

    /// The answer is passed on, and no token is asked for after the first one.
    pub(super) async fn passes_on(&self, call: &Call, status: StatusCode) -> Response<Incoming> {
        for _ in 0..3 {
            assert_eq!(self.call(call).await.status(), status, "{call:?}");
        }
        assert_eq!(self.asked(), 1, "{call:?}");
        self.call(call).await
    }

    /// A call for which the permission is missing gets this status each time. The good call between two of them is
    /// answered.
    pub(super) async fn is_forbidden(&self, call: &Call, good: &Call, status: StatusCode, most: usize) {
        for _ in 0..30 {
            assert_eq!(self.call(call).await.status(), status, "{call:?}");
            assert_eq!(self.call(good).await.status(), StatusCode::OK, "{good:?}");
        }
        assert!(self.asked() <= most, "{} token requests for 30 refusals: {call:?}", self.asked());
    }
}

/// A source whose first token has this flaw, and whose later ones are from another source.
pub(super) fn first<F, Fut>(flaw: Flaw, later: F) -> impl TokenSource
where
    F: Fn(Reason) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<AccessToken, Error>> + Send + 'static,
{
    let asked = AtomicUsize::new(0);
    from_fn(move |why| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        let later = (!is_first || flaw == Flaw::None).then(|| later(why));
        async move {
            match later {
                Some(later) => later.await,
                None => Ok(signed(flaw)),
            }
        }
    })
}

/// With this rule, a token that has expired and one of the key from before are renewed, and the request is retried.
pub(super) async fn dead_tokens_are_renewed(call: &Call, rule: Rule) {
    for flaw in [Flaw::Expired, Flaw::OldKey] {
        Sdk::with(flaw, rule).retries(call, StatusCode::OK).await;
    }
}

/// With this rule, the answer to such a token goes to the caller each time.
pub(super) async fn dead_tokens_stay(call: &Call, rule: Rule, status: StatusCode) {
    for flaw in [Flaw::Expired, Flaw::OldKey] {
        Sdk::with(flaw, rule).passes_on(call, status).await;
    }
}

pub(super) fn get(server: &str, path: &str) -> Call {
    Request::get(format!("{}{path}", var(server))).body(Full::default()).unwrap()
}

pub(super) fn post(server: &str, path: &str, body: &Value) -> Call {
    let call = Request::post(format!("{}{path}", var(server))).header("content-type", "application/json");
    call.body(Full::from(body.to_string())).unwrap()
}

pub(super) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

pub(super) fn required_scope(response: &Response<Incoming>) -> Option<&str> {
    response.extensions().get::<InsufficientScope>()?.required()
}
