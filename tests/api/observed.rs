//! What others see of a request: totals, marks, and the number of the attempt.

use std::borrow::Cow;

use http::{Method, Request};
use http_body_util::Full;
use tower::Layer;
#[cfg(feature = "metrics")]
use tower_bearer::{
    AccessToken,
    source::{Narrowing, from_fn},
};
use tower_bearer::{BearerAuthLayer, Error, ResendCount, SentWithoutToken, SkipBearerAuth, TokenCache, TokenPool};

use crate::{
    pool::logged,
    scripted::{Api, Numbered, Strict, URI, get, send, status, world},
    support::SECOND,
};

fn resend_count(seen: &crate::scripted::Seen) -> Option<u32> {
    seen.head.extensions.get::<ResendCount>().map(|count| count.0)
}

#[tokio::test(start_paused = true)]
async fn only_the_second_attempt_has_a_resend_count() {
    let world = world([status(401)]);
    world.get().await;
    assert_eq!(world.api.take_seen().iter().map(resend_count).collect::<Vec<_>>(), [None, Some(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_above_that_counts_is_continued() {
    let world = world([status(401)]);
    let mut request = get(URI);
    request.extensions_mut().insert(ResendCount(2));
    send(&mut world.service(), request).await.unwrap();
    assert_eq!(world.api.take_seen().iter().map(resend_count).collect::<Vec<_>>(), [Some(2), Some(3)]);
}

#[tokio::test]
async fn a_request_that_carried_no_token_because_of_its_origin_is_marked() {
    let api = Api::answering([status(401)]);
    let layer = BearerAuthLayer::new(Numbered::default()).origins(["https://api.example.org"]).unwrap();
    let mut service = layer.layer(Strict::new(api.clone()));
    let mut why = async |request| {
        let answer = send(&mut service, request).await.unwrap();
        answer.extensions().get::<SentWithoutToken>().copied()
    };
    assert_eq!(why(get("https://other.example.org/")).await, Some(SentWithoutToken::OtherOrigin), "a 401");
    assert_eq!(why(get("https://other.example.org/")).await, Some(SentWithoutToken::OtherOrigin));
    assert_eq!(why(get(URI)).await, None);
    let mut skipped = get("https://other.example.org/");
    skipped.extensions_mut().insert(SkipBearerAuth);
    assert_eq!(why(skipped).await, None);
    let trace = Request::builder().method(Method::TRACE).uri(URI).body(Full::default()).unwrap();
    assert_eq!(why(trace).await, None);
}

#[test]
fn an_origin_that_is_not_listed_is_a_warning_once() {
    let logs = logged(async {
        let layer = BearerAuthLayer::new(Numbered::default()).origins(["https://api.example.org"]).unwrap();
        for _ in 0..3 {
            for host in ["a.example.org:8443", "hidden-user:hidden-password@b.example.org"] {
                let mut service = layer.clone().layer(Strict::new(Api::default()));
                send(&mut service, get(&format!("https://{host}/hidden-path?hidden-query"))).await.unwrap();
            }
        }
    });
    let warnings: Vec<_> = logs.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 2, "{logs}");
    assert!(warnings[0].contains(r#"host="a.example.org" port=8443"#) && warnings[1].contains("b.example.org"));
    assert!(!logs.contains("hidden-"), "{logs}");
}

#[test]
fn log_lines_have_the_name_of_the_cache() {
    let logs = logged(async {
        let source = Numbered::default();
        let cache = TokenCache::builder(source.clone()).name("billing").renewal_retries(0).build();
        cache.token().await.unwrap();
        source.fail(true);
        cache.reset();
        cache.token().await.unwrap_err();
    });
    for message in ["token issued", "token request failed"] {
        let line = logs.lines().find(|line| line.contains(message)).unwrap();
        assert!(line.contains(r#"cache="billing""#), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_counts_since_it_was_created() {
    let source = Numbered::default();
    let cache = TokenCache::builder(source.clone()).renewal_retries(0).build();
    let api = Api::answering([status(401), status(200), status(401)]);
    let layer = BearerAuthLayer::with_cache(cache.clone());
    let mut service = layer.layer(Strict::new(api));
    send(&mut service, get(URI)).await.unwrap();
    source.fail(true);
    tokio::time::advance(600 * SECOND).await;
    send(&mut service, get(URI)).await.unwrap();
    let status = cache.status();
    let totals = (status.renewals, status.total_failures, status.rejections, status.second_attempts);
    assert_eq!(totals, (2, 1, 2, 1), "{status:?}");
    assert_eq!(status.failures, 1);
    cache.reset();
    let status = cache.status();
    assert_eq!((status.failures, status.total_failures, status.rejections, status.second_attempts), (0, 1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pool_counts_what_its_gone_identities_did() {
    let pool = TokenPool::new(|_: &String| Ok::<_, Error>(Numbered::default()));
    let layer = BearerAuthLayer::with_pool(pool.clone(), |head| Some(Cow::<str>::Owned(head.uri().path().to_owned())));
    let mut service = layer.layer(Strict::new(Api::answering([status(401)])));
    send(&mut service, get("https://api.example.org/acme")).await.unwrap();
    send(&mut service, get("https://api.example.org/globex")).await.unwrap();
    assert!(pool.forget("/acme"));
    let status = pool.status();
    let totals = (status.renewals, status.total_failures, status.rejections, status.second_attempts);
    assert_eq!((status.identities, totals), (1, (3, 0, 1, 1)), "{status:?}");
}

#[cfg(feature = "metrics")]
mod with_metrics {
    use super::*;
    use crate::recorder::Recorded;

    #[tokio::test(start_paused = true)]
    async fn tokens_failures_rejections_and_retries_are_counted_by_cache() {
        let (recorded, _guard) = Recorded::here();
        let source = Numbered::default();
        let cache = TokenCache::builder(source.clone()).name("main").renewal_retries(0).build();
        assert_eq!(recorded.value("token_failures_total{cache=main,class=terminal}"), Some(0.0), "from the start");
        let api = Api::answering([status(401), status(200), status(401)]);
        let mut service = BearerAuthLayer::with_cache(cache).layer(Strict::new(api));
        send(&mut service, get(URI)).await.unwrap();
        source.fail(true);
        tokio::time::advance(600 * SECOND).await;
        send(&mut service, get(URI)).await.unwrap();
        for (name, value) in [
            ("tokens_issued_total{cache=main,reason=first}", 1.0),
            ("tokens_issued_total{cache=main,reason=rejected}", 1.0),
            ("tokens_issued_total{cache=main,reason=ageing}", 0.0),
            ("token_failures_total{cache=main,class=transient}", 1.0),
            ("renewal_seconds{cache=main,outcome=issued}", 2.0),
            ("renewal_seconds{cache=main,outcome=failed}", 1.0),
            ("rejections_total{cache=main}", 2.0),
            ("retries_total{cache=main,outcome=retried}", 1.0),
            ("retries_total{cache=main,outcome=renewal_failed}", 1.0),
        ] {
            assert_eq!(recorded.value(name), Some(value), "{name}: {:#?}", recorded.names());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_hit_records_nothing() {
        let (recorded, _guard) = Recorded::here();
        let cache = TokenCache::builder(Numbered::default()).name("main").build();
        let mut service = BearerAuthLayer::with_cache(cache).layer(Strict::new(Api::default()));
        send(&mut service, get(URI)).await.unwrap();
        let before = recorded.snapshot();
        for _ in 0..100 {
            tokio::time::advance(SECOND / 50).await;
            send(&mut service, get(URI)).await.unwrap();
        }
        assert_eq!(recorded.snapshot(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn the_expiry_is_a_time_and_goes_with_the_token() {
        const EXPIRY: &str = "token_expiry_timestamp_seconds{cache=main}";
        let (recorded, _guard) = Recorded::here();
        let source = from_fn(async |_| Ok(AccessToken::new("t")?.with_expires_in(600 * SECOND)));
        let (_, clock) = crate::support::wall();
        let began = clock().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let cache = TokenCache::builder(source).name("main").wall_clock(clock).build();
        assert_eq!(recorded.value(EXPIRY), Some(0.0));
        cache.token().await.unwrap();
        // The cache stops using it 60 s before its end.
        assert_eq!(recorded.value(EXPIRY), Some((began + 540.0).floor()));
        cache.reset();
        assert_eq!(recorded.value(EXPIRY), Some(0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gauge_says_while_rejections_are_limited() {
        const LIMITED: &str = "rejections_limited{cache=main}";
        let (recorded, _guard) = Recorded::here();
        let cache = TokenCache::builder(Numbered::default()).name("main").build();
        assert_eq!(recorded.value(LIMITED), Some(0.0));
        let mut service = BearerAuthLayer::with_cache(cache.clone())
            .layer(Strict::new(Api::answering(std::iter::repeat_with(|| status(401)).take(40))));
        for _ in 0..10 {
            send(&mut service, get(URI)).await.unwrap();
        }
        assert!(cache.status().rejections_limited);
        assert_eq!(recorded.value(LIMITED), Some(1.0));
        assert!(recorded.value("retries_total{cache=main,outcome=budget_spent}").unwrap() > 0.0);
        cache.reset();
        assert_eq!(recorded.value(LIMITED), Some(0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_cache_with_its_own_name_has_gauges() {
        let (recorded, _guard) = Recorded::here();
        let layered =
            TokenCache::builder(crate::support::grant(crate::support::issuer().service())).name("main").build();
        let narrowed = layered.narrowed(&Narrowing::new().with_scope("system/*.rs").unwrap()).unwrap();
        let _ = narrowed.token().await;
        TokenCache::new(Numbered::default()).token().await.unwrap();
        let pool =
            TokenPool::new(|tenant: &String| Ok::<_, Error>(TokenCache::builder(Numbered::default()).name(tenant)));
        pool.cache("acme").unwrap().token().await.unwrap();
        assert_eq!(recorded.value("tokens_issued_total{cache=,reason=first}"), Some(2.0), "without a name");
        let names = recorded.names();
        let gauges: Vec<_> = names.iter().filter(|name| name.contains("expiry") || name.contains("limited")).collect();
        assert_eq!(
            gauges,
            ["tower_bearer_rejections_limited{cache=main}", "tower_bearer_token_expiry_timestamp_seconds{cache=main}"]
        );
        assert_eq!(
            recorded.value("token_expiry_timestamp_seconds{cache=main}"),
            Some(0.0),
            "not that of a narrowed one"
        );
        assert!(!names.iter().any(|name| name.contains("acme")), "{names:#?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_has_gauges_of_its_own_and_counts_evictions() {
        let (recorded, _guard) = Recorded::here();
        let pool = TokenPool::builder(|_: &String| Ok::<_, Error>(Numbered::default()))
            .name("tenants")
            .max_identities(2)
            .build();
        for number in 0..5 {
            let cache = pool.cache(&format!("hidden-{number}")).unwrap();
            let (token, seen) = tokio::join!(cache.token(), async {
                tokio::task::yield_now().await;
                recorded.value("pool_renewals{cache=tenants,state=in_progress}")
            });
            token.unwrap();
            assert_eq!(seen, Some(1.0));
        }
        let status = pool.status();
        let count = |count| Some(f64::from(u32::try_from(count).unwrap()));
        assert!(status.evicted > 0, "{status:?}");
        assert_eq!(recorded.value("pool_evictions_total{cache=tenants}"), count(status.evicted));
        assert_eq!(recorded.value("pool_identities{cache=tenants}"), count(status.identities as u64));
        assert_eq!(recorded.value("tokens_issued_total{cache=tenants,reason=first}"), Some(5.0));
        for state in ["waiting", "in_progress"] {
            assert_eq!(recorded.value(&format!("pool_renewals{{cache=tenants,state={state}}}")), Some(0.0));
        }
        assert!(pool.forget("hidden-4"));
        assert_eq!(recorded.value("pool_identities{cache=tenants}"), count(pool.status().identities as u64));
        assert!(!recorded.names().iter().any(|name| name.contains("hidden-")));
    }

    #[cfg(feature = "sealing")]
    #[tokio::test(start_paused = true)]
    async fn a_store_counts_as_its_status_does() {
        use tower_bearer::store::{
            Lease, LeaseAnswer, LeaseOwner, Loaded, MemoryStore, SealingKey, SealingKeys, SharedStore, StoreError,
            StoreKey, Stored, TokenStore,
        };

        struct Down;

        impl TokenStore for Down {
            async fn load(&self, _: StoreKey) -> Result<Loaded, StoreError> {
                Err(StoreError::new("down"))
            }

            async fn lease(
                &self,
                _: StoreKey,
                _: LeaseOwner,
                _: std::time::Duration,
            ) -> Result<LeaseAnswer, StoreError> {
                Err(StoreError::new("down"))
            }

            async fn commit(
                &self,
                _: StoreKey,
                _: Lease,
                _: Vec<u8>,
                _: std::time::Duration,
            ) -> Result<bool, StoreError> {
                Err(StoreError::new("down"))
            }

            async fn release(&self, _: StoreKey, _: Lease) -> Result<(), StoreError> {
                Err(StoreError::new("down"))
            }
        }

        let (recorded, _guard) = Recorded::here();
        let (issuer, keys) = (crate::support::issuer(), || SealingKeys::new(SealingKey::new(&[7; 32])));
        let grant = || crate::support::grant(issuer.service());
        let memory = MemoryStore::new();
        for _ in 0..2 {
            let store = SharedStore::builder(memory.clone(), keys()).name("redis").build();
            TokenCache::new(Stored::new(grant(), &store)).token().await.unwrap();
        }
        for (name, value) in [
            ("store_exchanges_total{store=redis}", 1.0),
            ("store_reads_total{store=redis,result=hit}", 1.0),
            ("store_reads_total{store=redis,result=absent}", 2.0),
            ("store_failures_total{store=redis}", 0.0),
            ("store_available{store=redis}", 1.0),
        ] {
            assert_eq!(recorded.value(name), Some(value), "{name}: {:#?}", recorded.names());
        }
        let store = SharedStore::builder(Down, keys()).name("down").build();
        TokenCache::new(Stored::new(grant(), &store)).token().await.unwrap();
        assert_eq!(recorded.value("store_available{store=down}"), Some(0.0));
        assert_eq!(recorded.value("store_alone_total{store=down}"), Some(1.0));
        let failures = f64::from(u32::try_from(store.status().failures).unwrap());
        assert_eq!(recorded.value("store_failures_total{store=down}"), Some(failures));
    }

    #[test]
    fn each_metric_is_described_with_its_unit() {
        let (recorded, _guard) = Recorded::here();
        tower_bearer::events::describe_metrics();
        let names = recorded.names();
        assert_eq!(names.len(), 20, "{names:#?}");
        assert!(
            names.iter().any(|name| name.starts_with("histogram tower_bearer_renewal_seconds in seconds: How long"))
        );
        let expiry = "gauge tower_bearer_token_expiry_timestamp_seconds in seconds: When";
        assert!(names.iter().any(|name| name.starts_with(expiry)));
    }
}
