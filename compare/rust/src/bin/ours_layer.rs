//! tower-bearer's layer on a client of hyper-util.

use bytes::Bytes;
use compare::{Answer, BoxError, CLIENT, chunks, drive, secret, url};
use futures::{StreamExt, TryStreamExt};
use http::Request;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer,
    grant::{ClientAuth, ClientCredentials},
    replay::{BoxedBody, Tee},
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let source = ClientCredentials::builder(url("/token")).client_auth(ClientAuth::basic(CLIENT, secret())).build()?;
    let layer = BearerAuthLayer::new(source).origins([url("")])?.replay(Tee::boxed());
    let api = layer.layer(Client::builder(TokioExecutor::new()).build_http::<BoxedBody>());

    let call = move |request: Request<BoxedBody>| -> Answer {
        let api = api.clone();
        Box::pin(async move {
            let response = api.oneshot(request).await?;
            let status = response.status().as_u16();
            response.into_body().collect().await?;
            Ok(status)
        })
    };
    let upload = call.clone();
    drive(
        move || call(Request::get(url("/api")).body(BoxedBody::new(Empty::<Bytes>::new())).expect("a request")),
        move || {
            let body = StreamBody::new(chunks().map_ok(http_body::Frame::data).boxed());
            upload(Request::post(url("/api")).body(BoxedBody::new(body)).expect("a request"))
        },
    )
    .await;
    Ok(())
}
