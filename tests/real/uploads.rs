//! Uploads to a server that responds with 401 before it has read them, as express does.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::stream;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{
    AccessToken, BearerAuthLayer, Error, Outcome, PasswordGrant, Reason, TokenSource,
    grant::HttpClient,
    replay::{ReplayBody, Tee},
};

use crate::OIDC_PROVIDER;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Returns a token that was never issued first, and then real ones.
struct FirstWrong(PasswordGrant<HttpClient>, AtomicBool);

impl TokenSource for FirstWrong {
    async fn obtain(&self, why: Reason) -> Result<AccessToken, Error> {
        if self.1.swap(true, Ordering::Relaxed) { self.0.obtain(why).await } else { AccessToken::new("wrong") }
    }
}

/// A body of 3 MB without a declared length.
fn upload() -> Body {
    let chunks = stream::iter((0..300_u16).map(|number| Ok(Frame::data(chunk(number)))));
    StreamBody::new(chunks).boxed_unsync()
}

fn chunk(number: u16) -> Bytes {
    number.to_be_bytes().repeat(5000).into()
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn an_upload_that_express_rejects_unread_arrives_whole_the_second_time() {
    let make: fn(ReplayBody<Body>) -> Body = Body::new;
    for cap in [64 * 1024, 8 * 1024 * 1024] {
        let source = FirstWrong(OIDC_PROVIDER.grant().build().unwrap(), AtomicBool::new(false));
        let layer = BearerAuthLayer::new(source).replay(Tee::new(make).cap(cap));
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let request = Request::post(OIDC_PROVIDER.patients()).body(upload()).unwrap();
        let answer = layer.layer(client).oneshot(request).await.unwrap();
        let retried = answer.extensions().get().is_some_and(Outcome::retried);
        // Whether the 401 arrives before 64 KiB are sent depends on the network. It arrives before 8 MiB are sent.
        assert!(retried || cap < 1 << 20);
        if retried {
            assert_eq!(answer.status(), StatusCode::OK);
            let echo = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(echo == (0..300).flat_map(chunk).collect::<Vec<_>>(), "{} bytes", echo.len());
        } else {
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        }
    }
}
