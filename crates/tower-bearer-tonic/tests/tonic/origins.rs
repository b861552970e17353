//! Where the token may go.

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::{
    Code,
    client::Grpc,
    transport::{Channel, Endpoint, Uri},
};
use tower::{Layer, service_fn};
use tower_bearer::BearerAuthLayer;
use tower_bearer_tonic::{GrpcBearerLayer, outcome, token_error};

use crate::server::{Client, World, unary};

/// Returns a client of an endpoint at `url`, whose connections go to the server of the world.
fn client(world: &World, url: &'static str, tokens: BearerAuthLayer) -> Client {
    let endpoint = Endpoint::from_static(url);
    Grpc::new(GrpcBearerLayer::new(tokens, endpoint.uri()).unwrap().layer(channel(world, &endpoint)))
}

fn channel(world: &World, endpoint: &Endpoint) -> Channel {
    let server = world.endpoint.uri().authority().unwrap().to_string();
    endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let connecting = TcpStream::connect(server.clone());
        async { connecting.await.map(TokioIo::new) }
    }))
}

/// RFC 6750 §5.3.
#[tokio::test]
async fn a_call_to_plain_http_elsewhere_fails_and_nothing_is_sent() {
    let world = World::new();
    let status =
        unary(&mut client(&world, "http://grpc.mesh:1", world.tokens()), "/echo/unary", "x").await.unwrap_err();
    assert_eq!((status.code(), token_error(&status).unwrap().is_insecure()), (Code::Unauthenticated, true));
    assert!(status.message().starts_with("the request to http://grpc.mesh:1 was not sent"), "{status}");
    assert_eq!((world.take_calls().len(), world.issuer.counts().token_requests), (0, 0));

    let allowed = world.tokens().allow_plain_http(true);
    unary(&mut client(&world, "http://grpc.mesh:1", allowed), "/echo/unary", "x").await.unwrap();

    // Without the crate, the layer does not know where the channel goes.
    let plain = world.tokens().replay(tower_bearer::replay::NoReplay);
    let channel = channel(&world, &Endpoint::from_static("http://grpc.mesh:1"));
    unary(&mut Grpc::new(plain.layer(channel)), "/echo/unary", "x").await.unwrap();
}

#[tokio::test]
async fn the_list_of_origins_holds_for_channels() {
    let world = World::new();
    let listed = |url: String| {
        let tokens = world.tokens().origins([url]).unwrap();
        Grpc::new(world.channel_with(tokens))
    };
    unary(&mut listed(world.endpoint.uri().to_string()), "/echo/unary", "x").await.unwrap();
    world.take_calls();

    let mut other = listed("https://other.example.org".to_owned());
    let status = unary(&mut other, "/echo/unary", "x").await.unwrap_err();
    assert!(status.code() == Code::Unauthenticated && outcome(&status).is_none() && token_error(&status).is_none());
    let calls = world.take_calls();
    assert!(calls.len() == 1 && !calls[0].contains_key("authorization"));
}

#[tokio::test]
async fn an_endpoint_without_a_scheme_or_with_a_user_is_an_error_at_once() {
    for url in ["127.0.0.1:50051", "https://user:hidden@grpc.example.org", "unix://grpc"] {
        let tokens = BearerAuthLayer::new(tower_bearer::FixedToken::new("t").unwrap());
        let error = GrpcBearerLayer::new(tokens, &url.parse().unwrap()).unwrap_err();
        assert!(error.is_config() && !format!("{error} {error:?}").contains("hidden"), "{error}");
    }
}

/// tonic's own check, which its TLS features turn on.
#[tokio::test]
async fn https_without_a_tls_config_is_an_error_and_nothing_is_sent() {
    let world = World::new();
    let status = unary(&mut client(&world, "https://grpc.example.org", world.tokens()), "/echo/unary", "x").await;
    assert_eq!(status.unwrap_err().code(), Code::Unavailable);
    assert!(world.take_calls().is_empty());
}

/// tonic shows `http://tonic` for it.
#[tokio::test]
async fn a_unix_socket_needs_the_switch_for_plain_http() {
    let endpoint = Endpoint::from_static("unix:///run/grpc.sock");
    let world = World::new();
    let layer = GrpcBearerLayer::new(world.tokens(), endpoint.uri()).unwrap();
    let status = unary(&mut Grpc::new(layer.layer(endpoint.connect_lazy())), "/echo/unary", "x").await.unwrap_err();
    assert!(token_error(&status).unwrap().is_insecure(), "{status}");
}
