//! Requests that ask for a token with less access (RFC 6749 §3.3, RFC 8707 §2). Each kind has its own token.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{BoxError, Layer};
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxTokenSource, Error, FixedToken, Outcome, Reason, SkipBearerAuth, TokenCache,
    TokenSource,
    source::Narrowing,
    testing::{Failure, Issuer},
};

use crate::{
    scripted::{Api, Strict, URI, get, send},
    support::{HOUR, grant},
};

type Answer = Result<Response<Full<Bytes>>, BoxError>;

fn scope(scope: &str) -> Narrowing {
    Narrowing::new().with_scope(scope).unwrap()
}

fn narrowed(to: &Narrowing) -> Request<Full<Bytes>> {
    let mut request = get(URI);
    request.extensions_mut().insert(to.clone());
    request
}

struct World {
    issuer: Issuer,
    layer: BearerAuthLayer,
}

fn world() -> World {
    let issuer = Issuer::new();
    World { layer: BearerAuthLayer::new(grant(issuer.service())), issuer }
}

impl World {
    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        send(&mut self.layer.layer(Strict::new(self.issuer.api())), request).await
    }

    /// Returns the scopes that were requested, in order.
    fn asked(&self) -> Vec<Option<String>> {
        self.issuer.requests().iter().map(|request| request.param("scope").map(str::to_owned)).collect()
    }
}

fn is_config(error: &BoxError) -> bool {
    error.downcast_ref().is_some_and(Error::is_config)
}

#[tokio::test]
async fn each_narrowing_has_exactly_one_token() {
    let world = world();
    let (patients, observations) = (scope("user/Patient.rs"), scope("user/Observation.rs"));
    for _ in 0..3 {
        for request in [get(URI), narrowed(&patients), narrowed(&observations)] {
            assert_eq!(world.send(request).await.unwrap().status(), 200);
        }
    }
    let asked = [None, Some("user/Patient.rs".into()), Some("user/Observation.rs".into())];
    assert_eq!(world.asked(), asked);

    // All requests with the same narrowing share its token, in whichever way they ask for it.
    let cache = world.layer.cache().narrowed(&patients).unwrap();
    assert_eq!(cache.token().await.unwrap().scope(), Some("user/Patient.rs"));
    assert_eq!(world.issuer.counts().token_requests, 3);
}

#[tokio::test]
async fn a_resource_is_part_of_a_tokens_identity() {
    let world = world();
    for resource in ["https://a.test", "https://b.test", "https://a.test"] {
        let to = Narrowing::new().with_resource(resource).unwrap();
        world.send(narrowed(&to)).await.unwrap();
        assert!(world.issuer.last_request().unwrap().param("resource").is_some());
    }
    assert_eq!(world.issuer.counts().token_requests, 2);
}

#[tokio::test]
async fn a_rejected_narrowed_token_is_the_only_one_renewed() {
    let world = world();
    let to = scope("user/Patient.rs");
    world.send(get(URI)).await.unwrap();
    world.send(narrowed(&to)).await.unwrap();
    // The newest token is the narrowed one.
    world.issuer.revoke_current();
    let answer = world.send(narrowed(&to)).await.unwrap();
    assert!(answer.status() == 200 && answer.extensions().get().is_some_and(Outcome::retried));
    assert!(world.send(get(URI)).await.unwrap().extensions().is_empty(), "a plain hit");
    assert_eq!(world.asked()[1..], [Some("user/Patient.rs".into()), Some("user/Patient.rs".into())]);
}

/// A request must never silently use a token with more access.
#[tokio::test]
async fn a_source_that_cannot_be_narrowed_is_an_error() {
    let api = Api::default();
    let mut service = BearerAuthLayer::new(FixedToken::new("t").unwrap()).layer(Strict::new(api.clone()));
    let error = send(&mut service, narrowed(&scope("a"))).await.unwrap_err();
    assert!(is_config(&error), "{error}");
    assert!(api.take_seen().is_empty());

    let mut skipped = narrowed(&scope("a"));
    skipped.extensions_mut().insert(SkipBearerAuth);
    send(&mut service, skipped).await.unwrap();
    assert_eq!(api.take_authorizations(), ["none"]);
}

#[tokio::test(start_paused = true)]
async fn a_narrowing_whose_token_has_expired_makes_room_for_another_one() {
    let issuer = Issuer::new();
    let cache = TokenCache::builder(grant(issuer.service())).max_narrowed(2).build();
    let narrowed = |scopes: &str| cache.narrowed(&scope(scopes)).unwrap();
    let (a, b, both) = ("user/Patient.rs", "user/Observation.rs", "user/Patient.rs user/Observation.rs");
    for (scopes, requests) in [(a, 1), (b, 2), (a, 2)] {
        narrowed(scopes).token().await.unwrap();
        assert_eq!(issuer.counts().token_requests, requests, "{scopes}");
    }
    tokio::time::advance(48 * HOUR).await;
    for (scopes, requests) in [(a, 3), (both, 4), (a, 4)] {
        narrowed(scopes).token().await.unwrap();
        assert_eq!(issuer.counts().token_requests, requests, "{scopes}");
    }
    assert_eq!(narrowed(b).status().generation, 0, "it was evicted");
}

struct Narrowable;

impl TokenSource for Narrowable {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        AccessToken::new("t")
    }

    fn narrowed(&self, _: &Narrowing) -> Option<BoxTokenSource> {
        Some(Self.boxed())
    }
}

/// Otherwise `revoke` would not reach them.
#[tokio::test]
async fn narrowings_whose_tokens_may_be_revoked_stay_up_to_sixteen_times_the_bound() {
    let cache = TokenCache::builder(Narrowable).max_narrowed(4).build();
    let narrowed = |n: usize| cache.narrowed(&scope(&format!("s{n}"))).unwrap();
    for n in 0..64 {
        narrowed(n).token().await.unwrap();
    }
    let remembered = || (0..64).filter(|n| narrowed(*n).status().generation == 1).count();
    assert_eq!(remembered(), 64);
    narrowed(64).token().await.unwrap();
    assert!(remembered() < 64);
}

/// Otherwise a wrong password would be tried once for each narrowing, and the account would be locked.
#[tokio::test(start_paused = true)]
async fn credentials_that_were_refused_for_one_are_not_tried_for_another() {
    let world = world();
    let failure = || Failure::OAuth(400, "invalid_grant");
    for first_narrowed in [false, true] {
        world.issuer.fail_until_cleared(failure());
        let before = world.issuer.counts().token_requests;
        let requests = [get(URI), narrowed(&scope("user/Patient.rs")), narrowed(&scope("user/Observation.rs"))];
        let mut requests = Vec::from(requests);
        requests.rotate_left(usize::from(first_narrowed));
        for request in requests {
            let error = world.send(request).await.unwrap_err().downcast::<Error>().unwrap();
            assert!(error.is_terminal() && error.oauth_code() == Some("invalid_grant"), "{error}");
        }
        assert_eq!(world.issuer.counts().token_requests, before + 1);
        world.issuer.clear_failures();
        tokio::time::advance(HOUR).await;
        world.send(get(URI)).await.unwrap();
        world.layer.cache().reset();
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_scope_does_not_affect_another() {
    let world = world();
    let error = world.send(narrowed(&scope("user/Everything.rs"))).await.unwrap_err().downcast::<Error>().unwrap();
    assert_eq!(error.oauth_code(), Some("invalid_scope"));
    assert_eq!(world.send(narrowed(&scope("user/Patient.rs"))).await.unwrap().status(), 200);
    assert_eq!(world.send(get(URI)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn reset_and_revoke_apply_to_all_narrowings() {
    let issuer = Issuer::new();
    let builder = tower_bearer::PasswordGrant::builder("https://issuer.test/token")
        .client_auth(tower_bearer::grant::ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
        .revocation_url("https://issuer.test/revoke");
    let cache = TokenCache::new(builder.build_with(issuer.service()).unwrap());
    let to = scope("user/Patient.rs");
    let all = async || {
        let less = cache.narrowed(&to).unwrap();
        let least = less.narrowed(&Narrowing::new().with_resource("https://a.test").unwrap()).unwrap();
        [cache.token().await.unwrap(), less.token().await.unwrap(), least.token().await.unwrap()]
    };
    let first = all().await;
    cache.reset();
    let second = all().await;
    assert_eq!(issuer.counts().token_requests, 6);
    assert!(first.iter().zip(&second).all(|(first, second)| first.secret() != second.secret()));

    cache.revoke().await.unwrap();
    for token in &second {
        let headers = [("authorization".parse().unwrap(), token.header_value())].into_iter().collect();
        assert!(!issuer.check(&headers).is_accepted());
    }
}
