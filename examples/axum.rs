//! A server of axum whose handler calls an API with a token: `cargo run --example axum`. All servers are on loopback.

use axum::{Router, body::Body, extract::State, http::StatusCode, response::Response, routing::any};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower::{Layer, ServiceExt};
use tower_bearer::grant::{ClientAuth, ClientCredentials};
use tower_bearer::replay::{Tee, TeeOf};
use tower_bearer::{BearerAuth, BearerAuthLayer, BoxError, testing::Issuer};

type Api = BearerAuth<Client<HttpConnector, Body>, TeeOf<Body>>;

async fn patients(State((api, url)): State<(Api, String)>, body: Body) -> Result<Response, StatusCode> {
    let request = http::Request::post(url).body(body).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let response = api.oneshot(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(response.map(Body::new))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let issuer = Issuer::new();
    let server = issuer.listen().await?;
    let auth = ClientAuth::basic("client1", "client-secret");
    let source = ClientCredentials::builder(server.token_url()).client_auth(auth).build()?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let api = BearerAuthLayer::new(source).replay(Tee::of(Body::new)).layer(client.clone());
    let app = Router::new().route("/", any(patients)).with_state((api, server.url("/fhir/Patient")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });

    for token_requests in 1..=3 {
        let response = client.get(url.parse()?).await?;
        println!("{} after {token_requests} token requests", response.status());
        assert_eq!((response.status(), issuer.counts().token_requests), (StatusCode::OK, token_requests));
        issuer.revoke_current(); // so the next request is sent twice
    }
    Ok(())
}
