//! What users of the types rely on: auto traits, sources behind pointers.

use std::sync::Arc;

use http::Request;
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower_bearer::{
    AccessToken, BearerAuth, BearerAuthLayer, BoxTokenSource, CacheStatus, Error, FixedToken, Judged, NotRetried,
    Outcome, Reason, Rejection, ResourceMetadata, ResponseFuture, Scopes, TokenCache, TokenSource, Verdict,
    cache::{Backoff, RejectionBudget, TokenCacheBuilder},
    replay::{CloneBody, NoReplay, ReplayBody, Tee},
    source::Narrowing,
};

use crate::support::{Answer, Ask, obtain};

fn is_shareable<T: Send + Sync + Unpin + 'static>() {}
fn is_clone<T: Clone>() {}

type Inner = BoxCloneSyncService<Ask, Answer, tower::BoxError>;
type Body = Full<bytes::Bytes>;

/// A change of a private field must not take these away.
#[test]
fn auto_traits_are_as_promised() {
    is_shareable::<TokenCache>();
    is_shareable::<TokenCacheBuilder>();
    is_shareable::<BearerAuthLayer>();
    is_shareable::<BearerAuthLayer<NoReplay>>();
    is_shareable::<BearerAuth<Inner>>();
    is_shareable::<BoxTokenSource>();
    is_shareable::<AccessToken>();
    is_shareable::<Error>();
    is_shareable::<Outcome>();
    is_shareable::<NotRetried>();
    is_shareable::<Judged>();
    is_shareable::<CacheStatus>();
    is_shareable::<Scopes>();
    is_shareable::<(Rejection, ResourceMetadata)>();
    is_shareable::<(Backoff, RejectionBudget, Narrowing, Reason, Verdict, CloneBody, Tee<fn(ReplayBody<Body>) -> Body>)>(
    );
    is_clone::<(TokenCache, BearerAuthLayer, BearerAuth<Inner>, BoxTokenSource, AccessToken, Error)>();
}

/// A future of the middleware can be spawned where the inner service's can.
#[test]
fn the_future_is_send() {
    fn is_send<T: Send + 'static>() {}
    is_send::<ResponseFuture<Inner, Body, Body, CloneBody>>();
    is_send::<ResponseFuture<Inner, Body, Body, NoReplay>>();
    is_send::<<BearerAuth<Inner> as tower::Service<Request<Body>>>::Future>();
}

#[tokio::test]
async fn a_source_behind_a_pointer_is_a_source() {
    /// A source that has every method of its own.
    struct Whole;

    impl TokenSource for Whole {
        async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
            AccessToken::new("whole")
        }

        fn credentials_version(&self) -> u64 {
            7
        }

        fn narrowed(&self, _to: &Narrowing) -> Option<BoxTokenSource> {
            FixedToken::new("narrowed").ok().map(TokenSource::boxed)
        }

        async fn revoke(&self, _token: &AccessToken) -> Result<(), Error> {
            Ok(())
        }
    }

    async fn is_whole(source: impl TokenSource) {
        let token = obtain(&source).await.unwrap();
        assert_eq!((token.secret(), source.credentials_version()), ("whole", 7));
        let narrowed = source.narrowed(&Narrowing::new()).unwrap();
        assert_eq!(obtain(&narrowed).await.unwrap().secret(), "narrowed");
        source.revoke(&token).await.unwrap();
    }

    is_whole(Arc::new(Whole)).await;
    is_whole(Box::new(Whole)).await;
    is_whole(Arc::new(Box::new(Whole))).await;
    is_whole(Whole.boxed()).await;
    is_whole(Arc::new(Whole).boxed().boxed()).await;
}

#[test]
fn revoking_outside_a_runtime_is_an_error() {
    let cache = TokenCache::new(FixedToken::new("t").unwrap());
    let error = futures::executor::block_on(cache.revoke()).unwrap_err();
    assert!(error.to_string().contains("Tokio runtime"), "{error}");
}
