//! What a program sees when it prints a value. Secrets are the subject of `secrets.rs`.

use std::{borrow::Cow, error::Error as _, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::Full;
use tower::{Layer, Service};
use tower_bearer::{
    BearerAuthLayer, BoxError, FixedToken, RequestHead, TokenCache, TokenPool,
    grant::{ClientAuth, TokenExchange},
    pool::UserPool,
    replay::{BoxedBody, Replay as _, ReplayBody, Tee},
    source::from_fn,
    store::{Loaded, MemoryStore, SealingKey, SealingKeys, SharedStore, StoreError, StoreKey, Stored, TokenStore},
};

use crate::support::{Answer, Ask, ask, issuer, token};

/// An error with a cause.
#[derive(Debug)]
struct Connect(std::fmt::Error);

impl std::fmt::Display for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no connection")
    }
}

impl std::error::Error for Connect {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn shared() -> tower_bearer::store::SharedStoreBuilder {
    SharedStore::builder(MemoryStore::new(), SealingKeys::new(SealingKey::new(&[7; 32])))
}

#[test]
fn the_debug_output_of_a_pool_says_what_it_is_and_how_full() {
    let pool = TokenPool::builder(|_: &String| FixedToken::new("t")).idle(Duration::from_secs(7));
    let shown = format!("{pool:?}");
    assert!(shown.contains("TokenPoolBuilder") && shown.contains("idle: 7s"), "{shown}");
    let pool = pool.build();
    pool.cache("acme").unwrap();
    assert_eq!(format!("{pool:?}"), "TokenPool { identities: 1, idle: 7s, .. }");

    let exchange = TokenExchange::builder("https://issuer.test/token").client_auth(ClientAuth::basic("client1", "s"));
    let users = UserPool::builder(exchange.for_users_with(issuer().service()).unwrap());
    let shown = format!("{users:?}");
    assert!(shown.starts_with("UserPoolBuilder { users: ") && shown.contains("TokenPoolBuilder"), "{shown}");
    let shown = format!("{:?}", users.build());
    assert!(shown.starts_with("UserPool { users: ") && shown.contains("TokenPool { identities: 0"), "{shown}");
}

#[test]
fn the_debug_output_of_a_store_says_what_it_is_and_its_state() {
    let builder = shared().lease(Duration::from_secs(9));
    let shown = format!("{builder:?}");
    assert!(shown.starts_with("SharedStoreBuilder") && shown.contains("lease: 9s"), "{shown}");
    let store = builder.build();
    let shown = format!("{store:?}");
    assert!(shown.starts_with("SharedStore {") && shown.contains("is_available: true"), "{shown}");
    let stored = Stored::new(from_fn(async |_| Ok(token(1))), &store);
    let shown = format!("{stored:?}");
    assert!(shown.starts_with("Stored {") && shown.contains("is_available: true"), "{shown}");
    assert_eq!(stored.status(), store.status());

    assert_eq!(format!("{:?}", MemoryStore::new()), "MemoryStore { keys: 0, .. }");
    assert_eq!(format!("{:?}", MemoryStore::new().boxed()), "BoxTokenStore");
    let key = format!("StoreKey({})", "07".repeat(32));
    assert_eq!(format!("{:?}", StoreKey::new([7; 32])), key);
    let loaded = Loaded::new(Some(b"secret".to_vec()), None);
    assert_eq!(format!("{loaded:?}"), "Loaded { record: Some(6), leased_for: None }");
}

#[test]
fn the_error_of_a_store_says_why_and_has_the_cause_of_its_cause() {
    let refused = std::io::Error::other(std::fmt::Error);
    let error = StoreError::new(refused);
    assert_eq!(error.to_string(), format!("the token store failed: {}", std::fmt::Error));
    assert!(format!("{error:?}").starts_with("StoreError("), "{error:?}");
    assert!(StoreError::new("refused").source().is_none());
    let connect = StoreError::new(Connect(std::fmt::Error));
    assert_eq!(connect.source().map(ToString::to_string), Some(std::fmt::Error.to_string()));
}

#[tokio::test]
async fn the_debug_output_of_a_response_says_in_which_state_it_is() {
    let slow = tower::service_fn(async |_: Ask| -> Result<Answer, BoxError> {
        tokio::task::yield_now().await;
        Ok(Answer::default())
    });
    let layer = BearerAuthLayer::new(from_fn(async |_| {
        tokio::task::yield_now().await;
        Ok(token(1))
    }));
    let mut service = layer.layer(slow);
    let mut waiting = Box::pin(service.call(ask("/")));
    let shown = format!("{waiting:?}");
    assert!(shown.contains("waiting for a token"), "{shown}");
    waiting.as_mut().await.unwrap();
    let mut first = Box::pin(service.call(ask("/")));
    assert!(first.as_mut().now_or_never().is_none());
    let shown = format!("{first:?}");
    assert!(shown.contains("first attempt"), "{shown}");
    first.await.unwrap();
}

#[tokio::test]
async fn the_debug_output_of_a_cache_shows_when_its_token_ends() {
    let cache = TokenCache::new(from_fn(async |_| Ok(token(1))));
    assert_eq!(format!("{cache:?}"), "TokenCache { current: None, .. }");
    cache.token().await.unwrap();
    let shown = format!("{cache:?}");
    assert!(shown.starts_with("TokenCache { current: Some(") && shown.contains("3600s"), "{shown}");
}

/// The identity of a request may be in any part of its head.
#[tokio::test]
async fn a_request_head_shows_all_parts_and_prints_no_query() {
    let pool = TokenPool::new(|_: &String| FixedToken::new("t"));
    let layer = BearerAuthLayer::with_pool(pool.clone(), |head: RequestHead<'_>| -> Option<Cow<'_, str>> {
        let host = head.extensions().get::<&str>()?;
        Some(Cow::Owned(format!("{} {host} {head:?}", head.method())))
    });
    let answers = tower::service_fn(async |_: Ask| Ok::<_, BoxError>(Answer::default()));
    let mut request = ask("/path?query");
    *request.method_mut() = http::Method::DELETE;
    request.extensions_mut().insert("host1");
    layer.layer(answers).call(request).await.unwrap();
    let keys: Vec<_> = pool.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [r#"DELETE host1 RequestHead { method: DELETE, path: "/path", .. }"#]);
}

#[test]
fn the_debug_output_of_a_replay_says_what_it_is_and_its_cap() {
    let tee = Tee::boxed().cap(7);
    assert_eq!(format!("{tee:?}"), "Tee { cap: 7, .. }");
    let (first, kept) = tee.keep(BoxedBody::new(Full::<Bytes>::from("s3cret")));
    assert_eq!(format!("{:?}", kept.unwrap()), "KeptBody");
    assert!(!format!("{first:?}").contains("s3cret") && format!("{first:?}").starts_with("BoxedBody"), "{first:?}");
    let body = ReplayBody::new(Full::<Bytes>::from("s3cret"));
    assert!(format!("{body:?}").starts_with("ReplayBody") && !format!("{body:?}").contains("s3cret"), "{body:?}");
}
