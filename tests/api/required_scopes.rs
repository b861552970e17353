//! The scopes that a request declares, compared with those that its token was granted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::Layer;
use tower_bearer::{
    AccessToken, BearerAuthLayer, Error, InsufficientScope, RequiredScopes, TokenSource, source::from_fn,
};

use crate::scripted::{Answer, Api, Strict, URI, challenge, get, send, status};

fn needing(scopes: &str) -> Request<Full<Bytes>> {
    let mut request = get(URI);
    request.extensions_mut().insert(RequiredScopes::new(scopes.parse().unwrap()));
    request
}

fn granted(scope: Option<&'static str>) -> impl TokenSource {
    from_fn(move |_| async move {
        let token = AccessToken::new("t")?;
        Ok(scope.map_or(token.clone(), |scope| token.with_scope(scope)))
    })
}

/// Returns whether such a request is sent with such a token while the check is enabled.
async fn is_sent(scope: Option<&'static str>, needs: &str) -> Result<(), String> {
    let api = Api::default();
    let layer = BearerAuthLayer::new(granted(scope)).check_scopes(true);
    let mut service = layer.layer(Strict::new(api.clone()));
    // The first request waits for its token, the second one finds it.
    for _ in 0..2 {
        let sent = send(&mut service, needing(needs)).await;
        assert_eq!(api.take_seen().len(), usize::from(sent.is_ok()));
        if let Err(error) = sent {
            let error = error.downcast::<Error>().unwrap();
            assert!(error.is_terminal() && error.to_string().contains("was not granted"), "{error}");
            return Err(error.missing_scope().unwrap().to_owned());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_request_whose_token_plainly_lacks_a_scope_is_not_sent() {
    let some = Some("openid patient/Observation.read");
    assert_eq!(is_sent(some, "patient/Observation.rs openid").await, Ok(()));
    assert_eq!(is_sent(some, "patient/Observation.rs patient/Patient.r").await, Err("patient/Patient.r".into()));
    assert_eq!(is_sent(some, "admin launch").await, Err("admin launch".into()));
}

/// The response may omit the scope, and often does (RFC 6749 §5.1).
#[tokio::test]
async fn a_token_that_does_not_say_what_it_was_granted_is_sent() {
    for unknown in [None, Some(""), Some("no\nscope")] {
        assert_eq!(is_sent(unknown, "admin").await, Ok(()), "{unknown:?}");
    }
}

#[tokio::test]
async fn the_check_is_off_by_default() {
    let api = Api::default();
    let mut service = BearerAuthLayer::new(granted(Some("read"))).layer(Strict::new(api.clone()));
    send(&mut service, needing("admin")).await.unwrap();
    assert_eq!(api.take_seen().len(), 1);
}

/// Returns what the response to one request says about scopes.
async fn told(answer: Answer, request: Request<Full<Bytes>>) -> Option<InsufficientScope> {
    let layer = BearerAuthLayer::new(granted(Some("read")));
    let answer = send(&mut layer.layer(Strict::new(Api::answering([answer]))), request).await.unwrap();
    answer.extensions().get().cloned()
}

#[tokio::test]
async fn a_403_is_reported_with_the_granted_and_the_declared_scopes() {
    let plain = told(status(403), needing("read write")).await.unwrap();
    assert_eq!((plain.required(), plain.missing().unwrap().to_string()), (Some("read write"), "write".into()));

    // The scope of the API's challenge takes precedence.
    let says = challenge(403, "Bearer error=insufficient_scope, scope=admin");
    let asked = told(says, needing("read write")).await.unwrap();
    assert_eq!((asked.required(), asked.missing().unwrap().to_string()), (Some("admin"), "admin".into()));

    // The token has all the scopes. The user is not allowed to do this.
    let user = told(status(403), needing("read")).await.unwrap();
    assert!(user.missing().unwrap().is_empty());

    assert!(told(status(403), get(URI)).await.is_none());
    assert!(told(status(404), needing("write")).await.is_none());
}

#[tokio::test]
async fn a_second_attempts_403_is_reported_with_the_second_tokens_scopes() {
    let issued = Arc::new(AtomicU64::new(0));
    let source = from_fn(move |_| {
        let number = issued.fetch_add(1, SeqCst);
        async move { Ok(AccessToken::new(format!("t{number}"))?.with_scope(format!("s{number}"))) }
    });
    let api = Api::answering([status(401), status(403)]);
    let answer = send(&mut BearerAuthLayer::new(source).layer(Strict::new(api)), needing("s2")).await.unwrap();
    let told: &InsufficientScope = answer.extensions().get().unwrap();
    assert_eq!((told.granted().unwrap().to_string(), told.required()), ("s1".into(), Some("s2")));
}
