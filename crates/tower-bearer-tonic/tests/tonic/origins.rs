//! Where the token may go.

use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
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
    let listed = || world.tokens().origins(["https://grpc.example.org"]).unwrap();
    unary(&mut client(&world, "https://grpc.example.org", listed()), "/echo/unary", "x").await.unwrap();
    world.take_calls();

    let other =
        unary(&mut client(&world, "https://other.example.org", listed()), "/echo/unary", "x").await.unwrap_err();
    assert!(other.code() == Code::Unauthenticated && outcome(&other).is_none() && token_error(&other).is_none());
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

/// The guide warns of it. This test binary has no TLS feature of tonic.
#[tokio::test]
async fn without_a_tls_feature_tonic_connects_to_https_in_the_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::from_shared(format!("https://{}", listener.local_addr().unwrap())).unwrap();
    let mut client = Grpc::new(endpoint.connect_lazy());
    let call = tokio::spawn(async move { unary(&mut client, "/echo/unary", "x").await });
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut start = [0; 14];
    connection.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"PRI * HTTP/2.0");
    call.abort();
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
