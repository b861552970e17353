//! Uploads through hyper's client to an API on loopback that rejects them before it reads them, and the forms of a tee that the
//! docs show.

use std::{convert::Infallible, future::Future};

use bytes::Bytes;
use futures::stream;
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, FixedToken, Outcome,
    replay::{BoxedBody, InPlace, ReplayBody, Tee, TeeOf},
    testing::Issuer,
};

use crate::support::{grant, issuer};

type Unsync = UnsyncBoxBody<Bytes, BoxError>;

/// Returns a body of this size in chunks of 16 KiB, without a declared length.
fn streamed(kib: usize) -> impl Body<Data = Bytes, Error = Infallible> + Send + 'static {
    let chunk = Bytes::from(vec![7; 16 * 1024]);
    StreamBody::new(stream::iter((0..kib / 16).map(move |_| Ok(Frame::data(chunk.clone())))))
}

/// Sends an upload with a token that is revoked. Returns whether it was retried.
async fn is_retried(issuer: &Issuer, body: BoxedBody) -> bool {
    let server = issuer.listen().await.unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<BoxedBody>();
    let layer = BearerAuthLayer::new(grant(issuer.service())).replay(Tee::boxed());
    layer.cache().token().await.unwrap();
    issuer.revoke_current();
    let request = Request::post(server.url("/fhir")).body(body).unwrap();
    let answer = layer.layer(client).oneshot(request).await.unwrap();
    let is_retried = answer.extensions().get().is_some_and(Outcome::retried);
    assert_eq!(answer.status(), if is_retried { StatusCode::OK } else { StatusCode::UNAUTHORIZED });
    is_retried
}

#[tokio::test]
async fn an_upload_of_a_mebibyte_that_is_rejected_unread_is_retried_with_the_default_cap() {
    let issuer = issuer();
    issuer.reject_before_reading(true);
    for kib in [16, 160, 1024] {
        assert!(is_retried(&issuer, BoxedBody::new(streamed(kib))).await, "{kib} KiB");
    }
}

#[tokio::test]
async fn a_boxed_body_in_memory_that_is_rejected_unread_is_retried_whatever_its_size() {
    let issuer = issuer();
    issuer.reject_before_reading(true);
    assert!(is_retried(&issuer, BoxedBody::new(Full::from(vec![7; 4 << 20]))).await);
}

/// The API reads it all before the 401.
#[tokio::test]
async fn a_stream_over_the_cap_that_is_rejected_late_is_not_retried() {
    assert!(!is_retried(&issuer(), BoxedBody::new(streamed(1040))).await);
}

/// The type of a layer can be named in a struct.
struct Stacks {
    boxed: BearerAuth<Client<HttpConnector, BoxedBody>, TeeOf<BoxedBody>>,
    of: BearerAuth<Client<HttpConnector, Unsync>, TeeOf<Unsync>>,
    in_place: BearerAuth<Client<HttpConnector, ReplayBody<Full<Bytes>>>, Tee<InPlace>>,
}

/// `tokio::spawn` needs this.
fn assert_spawn<F: Future<Output: Send> + Send + 'static>(_: F) {}

#[tokio::test]
async fn each_form_of_a_tee_in_the_docs_can_be_spawned() {
    let layer = BearerAuthLayer::new(FixedToken::new("t").unwrap());
    let builder = Client::builder(TokioExecutor::new());
    let Stacks { boxed, of, in_place } = Stacks {
        boxed: layer.clone().replay(Tee::boxed()).layer(builder.build_http()),
        of: layer.clone().replay(Tee::of(Unsync::new)).layer(builder.build_http()),
        in_place: layer.clone().replay(Tee::in_place()).layer(builder.build_http()),
    };
    let full = || Full::<Bytes>::from("x");

    let (api, request) = (boxed.clone(), Request::new(BoxedBody::new(full())));
    assert_spawn(api.oneshot(request));
    assert_spawn(async move { boxed.oneshot(Request::new(BoxedBody::new(full()))).await });

    // In an `async` block, the compiler refuses a body over `BoxError`: "not general enough".
    assert_spawn(of.oneshot(Request::new(full().map_err(Into::into).boxed_unsync())));

    let gateway = ServiceBuilder::new()
        .map_request(|request: Request<Full<Bytes>>| request.map(ReplayBody::new))
        .service(in_place);
    assert_spawn(gateway.clone().oneshot(Request::new(full())));
    assert_spawn(async move { gateway.oneshot(Request::new(full())).await });
}
