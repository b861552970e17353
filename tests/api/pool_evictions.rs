//! Which identities leave a full pool, and which are idle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use tokio::time::advance;
use tower::{Layer, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxError, Error, TokenPool,
    grant::{ClientAuth, Subject, TokenExchange},
    pool::UserPool,
    source::{Narrowing, from_fn},
    testing::Issuer,
};

use crate::{
    pool::{Log, ask, by_header},
    scripted::send,
    support::MINUTE,
};

/// 80 good ones are in use, and the pool keeps 100.
#[tokio::test(start_paused = true)]
async fn refused_identities_do_not_displace_those_that_have_a_token() {
    let issued = Arc::new(AtomicUsize::new(0));
    let log = Arc::clone(&issued);
    let pool = TokenPool::builder(move |name: &String| {
        let (name, log) = (name.clone(), Arc::clone(&log));
        Ok(from_fn(move |_| {
            let (name, log) = (name.clone(), Arc::clone(&log));
            async move {
                if name.starts_with("made up") {
                    return Err(Error::terminal("refused"));
                }
                log.fetch_add(1, SeqCst);
                Ok(AccessToken::new(name)?.with_expires_in(60 * MINUTE))
            }
        }))
    })
    .max_identities(100)
    .build();
    let use_all_good = async || {
        for n in 0..80 {
            pool.cache(format!("good{n}").as_str()).unwrap().token().await.unwrap();
        }
    };
    use_all_good().await;
    for n in 0..2_000 {
        assert!(pool.cache(format!("made up {n}").as_str()).unwrap().token().await.is_err());
        if n % 100 == 99 {
            advance(Duration::from_secs(1)).await;
            use_all_good().await;
        }
    }
    assert_eq!(issued.load(SeqCst), 80);
    let status = pool.status();
    assert_eq!((status.identities, status.ready), (200, 80));
    // The latest refusals are the ones that are remembered.
    assert!(pool.get("made up 1999").is_some() && pool.get("made up 1000").is_none());
}

#[tokio::test]
async fn an_identity_for_which_nothing_was_sent_makes_room_for_others() {
    let issuer = Issuer::new();
    let users =
        TokenExchange::builder("https://issuer.test/token").client_auth(ClientAuth::basic("client1", "client-secret"));
    let pool =
        UserPool::builder(users.for_users_with(issuer.service()).unwrap()).pool(|pool| pool.max_identities(20)).build();
    for n in 0..100 {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":1000,"n":{n}}}"#));
        let error = pool.cache(&Subject::new(format!("e30.{claims}.c2ln"))).token().await.unwrap_err();
        assert!(error.is_subject_expired(), "{error}");
    }
    assert_eq!(issuer.counts().token_requests, 0);
    assert_eq!(pool.identities().status().identities, 20);
}

#[tokio::test(start_paused = true)]
async fn a_use_of_a_narrowed_token_is_a_use_of_its_identity() {
    for by_layer in [false, true] {
        let log = Arc::<Log>::default();
        let pool = log.pool().idle(10 * MINUTE).build();
        let narrowing = Narrowing::new().with_scope("read").unwrap();
        let layer = BearerAuthLayer::with_pool(pool.clone(), by_header);
        let api = service_fn(|_| async {
            Ok::<_, BoxError>(http::Response::new(http_body_util::Full::<bytes::Bytes>::default()))
        });
        let mut service = layer.layer(api);
        for _ in 0..20 {
            if by_layer {
                let mut request = ask("acme");
                request.extensions_mut().insert(narrowing.clone());
                send(&mut service, request).await.unwrap();
            } else {
                pool.cache("acme").unwrap().narrowed(&narrowing).unwrap().token().await.unwrap();
            }
            advance(4 * MINUTE).await;
        }
        assert_eq!(*log.made.lock().unwrap(), ["acme"]);
    }
}

#[tokio::test]
async fn a_pool_may_have_any_bound() {
    for max in [0, 1, usize::MAX] {
        let pool = TokenPool::builder(|name: &u32| tower_bearer::FixedToken::new(format!("t{name}")))
            .max_identities(max)
            .build();
        for n in 0..100 {
            pool.cache(&n).unwrap().token().await.unwrap();
        }
        assert_eq!(pool.status().identities, max.clamp(1, 100));
    }
}
