//! Real middleware works above the layer and below it. What the order changes is in `order.rs`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tower::{
    BoxError, Layer, MakeService, Service, ServiceBuilder,
    balance::p2c::Balance,
    discover::ServiceList,
    load::Constant,
    make::Shared,
    retry::{
        Policy,
        budget::{Budget, TpsBudget},
    },
    service_fn,
    util::BoxCloneSyncService,
};
use tower_bearer::{
    BearerAuthLayer, Outcome,
    testing::{self, Issuer},
};
use tower_http::{
    decompression::DecompressionLayer,
    follow_redirect::FollowRedirectLayer,
    map_request_body::MapRequestBodyLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    sensitive_headers::SetSensitiveHeadersLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
};

use crate::scripted::{Api, Numbered, Strict, URI, get, send};
use crate::support::{SECOND, grant};

const LONG: Duration = Duration::from_secs(5);

type Auth = BearerAuthLayer;

/// Tests a first token, its reuse, its revocation, one retry, and the reuse of the next token.
async fn serves<S, B>(stack: impl FnOnce(Auth, Strict<testing::Api>) -> S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
{
    let issuer = Issuer::new();
    let mut service = stack(BearerAuthLayer::new(grant(issuer.service())), Strict::new(issuer.api()));
    for revoked in [false, false, true, false] {
        if revoked {
            issuer.revoke_all();
        }
        let answer = send(&mut service, get(URI)).await.map_err(Into::into).unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.extensions().get().is_some_and(Outcome::retried), revoked);
    }
    let counts = issuer.counts();
    assert_eq!((counts.token_requests, counts.api_accepted, counts.api_rejected), (2, 4, 1));
}

/// The same layers work above and below.
macro_rules! works_above_and_below {
    ($($name:ident: $layers:expr;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            serves(|auth, api| $layers.layer(auth).service(api)).await;
            serves(|auth, api| ServiceBuilder::new().layer(auth).layer($layers.into_inner()).service(api)).await;
        }
    )*};
}

works_above_and_below! {
    nothing: ServiceBuilder::new();
    timeout: ServiceBuilder::new().timeout(LONG);
    concurrency_limit: ServiceBuilder::new().concurrency_limit(1);
    buffer: ServiceBuilder::new().buffer(1);
    rate_limit: ServiceBuilder::new().buffer(1).rate_limit(1, LONG);
    load_shed: ServiceBuilder::new().load_shed().buffer(1);
    retry: ServiceBuilder::new().retry(WithinBudget::of(1));
    box_clone_sync: ServiceBuilder::new().layer(BoxCloneSyncService::<Request<Full<Bytes>>, _, _>::layer());
    http_trace: ServiceBuilder::new().layer(TraceLayer::new_for_http());
    http_timeout: ServiceBuilder::new().layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, LONG));
    filter: ServiceBuilder::new().filter(Ok::<Request<Full<Bytes>>, BoxError>);
    async_filter: ServiceBuilder::new().filter_async(async |request: Request<Full<Bytes>>| Ok::<_, BoxError>(request));
    decompression: ServiceBuilder::new().layer(DecompressionLayer::new());
    sensitive_headers: ServiceBuilder::new().layer(SetSensitiveHeadersLayer::new([AUTHORIZATION]));
    map_request_body: ServiceBuilder::new().layer(MapRequestBodyLayer::new(|body: Full<Bytes>| body));
    follow_redirect: ServiceBuilder::new().layer(FollowRedirectLayer::new());
    request_id: ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id());
    many: ServiceBuilder::new().buffer(1).load_shed().concurrency_limit(1).timeout(LONG).buffer(1);
}

/// Retries failed requests and server errors while tower's own budget allows it.
#[derive(Clone)]
pub(crate) struct WithinBudget(Arc<TpsBudget>);

impl WithinBudget {
    /// Allows this many retries per second.
    pub(crate) fn of(retries: u32) -> Self {
        Self(Arc::new(TpsBudget::new(SECOND, retries, 0.0)))
    }
}

impl<E> Policy<Request<Full<Bytes>>, Response<Full<Bytes>>, E> for WithinBudget {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Full<Bytes>>,
        result: &mut Result<Response<Full<Bytes>>, E>,
    ) -> Option<Self::Future> {
        let failed = result.as_ref().map_or(true, |answer| answer.status().is_server_error());
        (failed && self.0.withdraw()).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn balance_below_and_above() {
    type R = Request<Full<Bytes>>;
    serves(|auth, api| {
        let two = [api.clone(), api].map(|api| Constant::new(api, 1));
        auth.layer(ServiceBuilder::new().buffer(1).service(Balance::new(ServiceList::new::<R>(two))))
    })
    .await;
    serves(|auth, api| Balance::new(ServiceList::new::<R>([Constant::new(auth.layer(api), 1)]))).await;
}

/// Each service that is made is wrapped, and all of them share one cache.
#[tokio::test]
async fn made_services_share_one_token() {
    let (source, api) = (Numbered::default(), Api::default());
    let layer = BearerAuthLayer::new(source.clone());
    let connect = service_fn(|_: u8| ready(Ok::<_, Infallible>(layer.layer(Strict::new(api.clone())))));
    let mut connect = MakeService::<_, Request<Full<Bytes>>>::into_service(connect);
    for target in 0..3 {
        let mut connection = send(&mut connect, target).await.unwrap();
        send(&mut connection, get(URI)).await.unwrap();
    }
    let mut shared = Shared::new(layer.layer(Strict::new(api.clone())));
    let mut connection = send(&mut shared, ()).await.unwrap();
    send(&mut connection, get(URI)).await.unwrap();
    assert_eq!(api.take_authorizations(), ["Bearer t1"; 4]);
    assert_eq!(source.asked(), 1);
}
