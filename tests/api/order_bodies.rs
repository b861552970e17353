//! What the order changes for layers that work on bodies. These are more rows of the guide's table.

use std::fmt::Debug;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tower::{BoxError, Layer, Service};
use tower_bearer::{
    BearerAuthLayer, FixedToken, NotRetried,
    replay::{ReplayBody, Tee},
};
use tower_http::{
    body::Limited, compression::CompressionLayer, decompression::DecompressionLayer, limit::RequestBodyLimitLayer,
    map_request_body::MapRequestBodyLayer,
};

use crate::scripted::{Answer, Api, Strict, URI, World, get, outcome, send, status, world};

/// `Decompression`: a compressed 401 that is not retried is passed on intact, and the request accepted compression.
#[tokio::test]
async fn a_compressed_401_is_handed_on_intact() {
    async fn rejected<S, B>(mut service: S, api: &Api)
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Debug>,
        B: Body<Error: Debug>,
    {
        let text = "who are you? ".repeat(100);
        let no = Response::builder().status(401).header("content-type", "text/plain").body(Full::from(text.clone()));
        api.will(Answer::Say(no.unwrap()));
        let answer = send(&mut service, get(URI)).await.unwrap();
        assert!(matches!(outcome(&answer).not_retried(), Some(NotRetried::SameToken)));
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), text);
        let seen = api.take_seen();
        assert!(seen.len() == 1 && seen[0].head.headers["accept-encoding"].to_str().unwrap().contains("gzip"));
    }

    let api = Api::default();
    let layer = || BearerAuthLayer::new(FixedToken::new("t1").unwrap());
    let compressing = CompressionLayer::new().layer(Strict::new(api.clone()));
    rejected(DecompressionLayer::new().layer(layer().layer(compressing.clone())), &api).await;
    rejected(layer().layer(DecompressionLayer::new().layer(compressing)), &api).await;
}

/// `RequestBodyLimit` above: its bodies cannot be cloned, so it needs a tee of boxed bodies. A body that is too large
/// does not cause a token request. Below, each attempt is measured.
#[tokio::test]
async fn a_body_limit_above_needs_boxed_bodies_and_a_tee() {
    let post = |length: usize| {
        Request::post(URI).header("content-length", length).body(Full::from(vec![b'x'; length])).unwrap()
    };
    let World { api, source, layer } = world([status(401)]);
    let limit = RequestBodyLimitLayer::new(10);
    let boxed = MapRequestBodyLayer::new(Limited::<Full<Bytes>>::boxed_unsync);
    let tee = Tee::new(|body: ReplayBody<UnsyncBoxBody<Bytes, BoxError>>| body.boxed_unsync());
    let mut above = limit.layer(boxed.layer(layer.replay(tee).layer(Strict::new(api.clone()))));
    assert_eq!(send(&mut above, post(11)).await.unwrap().status(), 413);
    assert_eq!(source.asked(), 0);
    assert_eq!(send(&mut above, post(10)).await.unwrap().status(), 200);
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2"]);

    let World { api, layer, .. } = world([status(401)]);
    let mut below = layer.layer(limit.layer(Strict::new(api.clone())));
    assert_eq!(send(&mut below, post(11)).await.unwrap().status(), 413);
    assert_eq!(send(&mut below, post(10)).await.unwrap().status(), 200);
    let bodies: Vec<_> = api.take_seen().into_iter().map(|seen| seen.body.len()).collect();
    assert_eq!(bodies, [10, 10]);
}

/// `MapRequestBody`: above, the body that it makes is kept; below, that body does not need to be `Clone`.
#[tokio::test]
async fn bodies_that_cannot_be_cloned_are_made_below() {
    let World { api, layer, .. } = world([status(401)]);
    let mut service = MapRequestBodyLayer::new(Full::<Bytes>::from).layer(layer.layer(Strict::new(api.clone())));
    let request = Request::post(URI).body("payload".to_owned()).unwrap();
    assert_eq!(send::<_, Request<String>>(&mut service, request).await.unwrap().status(), 200);
    let seen = api.take_seen();
    assert!(seen.len() == 2 && seen.iter().all(|seen| seen.body == "payload"));

    let World { api, layer, .. } = world([status(401)]);
    let boxed = MapRequestBodyLayer::new(|text: String| Full::<Bytes>::from(text).boxed_unsync());
    let mut service = layer.layer(boxed.layer(Strict::new(api.clone())));
    let request = Request::post(URI).body("payload".to_owned()).unwrap();
    assert_eq!(send(&mut service, request).await.unwrap().status(), 200);
    let seen = api.take_seen();
    assert!(seen.len() == 2 && seen.iter().all(|seen| seen.body == "payload"));
}
