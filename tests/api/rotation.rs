//! Saving of refresh tokens, which is optional and must not cost tokens.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::json;
use tokio::time::{Instant, sleep};
use tower_bearer::{
    BoxError, TokenCache,
    grant::{ClientAuth, RefreshToken},
    testing::{Issuer, IssuerService},
};

use crate::support::{MINUTE, SECOND, issuer, obtain};

/// Returns a source that saves with this function, at an issuer whose nth token request brings the refresh token `rn`.
fn rotating<F, Fut>(issuer: &Issuer, requests: usize, save: F) -> RefreshToken<IssuerService>
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    for n in 1..=requests {
        issuer.answer_next(json!({ "access_token": format!("t{n}"), "token_type": "Bearer",
            "refresh_token": format!("r{n}"), "expires_in": 3600 }));
    }
    RefreshToken::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .refresh_token("r0")
        .on_rotation(move |new| save(new.expose().to_owned()))
        .build_with(issuer.service())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_slow_issuer_and_a_save_that_hangs_bring_every_token() {
    let issuer = issuer();
    issuer.delay(Duration::from_millis(4500));
    let cache = TokenCache::new(rotating(&issuer, 20, |_| pending()));
    for n in 1..=20 {
        let started = Instant::now();
        assert_eq!(cache.token().await.unwrap().secret(), format!("t{n}"));
        assert!(started.elapsed() <= Duration::from_millis(4600), "{:?}", started.elapsed());
        assert_eq!(issuer.last_request().unwrap().param("refresh_token"), Some(&*format!("r{}", n - 1)));
        cache.reset();
    }
}

#[tokio::test(start_paused = true)]
async fn saves_come_one_after_the_other_and_the_newest_refresh_token_is_saved_last() {
    let issuer = issuer();
    let (saved, running) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (log, counter) = (Arc::clone(&saved), running);
    let source = rotating(&issuer, 5, move |new| {
        let (log, counter) = (Arc::clone(&log), Arc::clone(&counter));
        async move {
            assert_eq!(counter.fetch_add(1, SeqCst), 0, "two saves at once");
            sleep(SECOND).await;
            counter.fetch_sub(1, SeqCst);
            log.lock().unwrap().push(new);
            Ok(())
        }
    });
    for _ in 0..5 {
        obtain(&source).await.unwrap();
    }
    sleep(MINUTE).await;
    assert_eq!(*saved.lock().unwrap(), ["r1", "r5"]);
}

#[tokio::test(start_paused = true)]
async fn a_local_save_is_done_when_the_token_is_there() {
    let issuer = issuer();
    let saved = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&saved);
    let source = rotating(&issuer, 1, move |new| {
        let log = Arc::clone(&log);
        async move {
            sleep(Duration::from_millis(20)).await;
            log.lock().unwrap().push(new);
            Ok(())
        }
    });
    obtain(&source).await.unwrap();
    assert_eq!(*saved.lock().unwrap(), ["r1"]);
}

/// The runtime of the first attempt ended, or is not driven any more.
#[test]
fn a_save_that_nobody_drives_does_not_prevent_later_ones() {
    for ends in [true, false] {
        let issuer = issuer();
        let saved = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&saved);
        let source = rotating(&issuer, 2, move |new| {
            let log = Arc::clone(&log);
            async move {
                if new == "r1" {
                    sleep(SECOND).await;
                }
                log.lock().unwrap().push(new);
                Ok(())
            }
        });
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (first, second) = (runtime(), runtime());
        first.block_on(obtain(&source)).unwrap();
        let first = (!ends).then_some(first);
        second.block_on(async {
            sleep(MINUTE).await;
            obtain(&source).await.unwrap();
            sleep(MINUTE).await;
        });
        assert_eq!(saved.lock().unwrap().last().map(String::as_str), Some("r2"), "{ends}");
        // The abandoned attempt does not save its older refresh token over the newer one.
        if let Some(first) = first {
            first.block_on(async { sleep(MINUTE).await });
        }
        assert_eq!(saved.lock().unwrap().last().map(String::as_str), Some("r2"), "{ends}");
    }
}
