//! A gRPC client whose token is revoked, on loopback: `cargo run --package tower-bearer-tonic --example health`.

use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Endpoint, Server, server::TcpIncoming};
use tonic::{Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower_bearer::grant::{ClientAuth, ClientCredentials};
use tower_bearer::{BearerAuthLayer, Outcome, testing::Issuer};
use tower_bearer_tonic::GrpcBearerLayer;
use tower_layer::Layer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The servers: an issuer of tokens, and a gRPC server that checks them.
    let issuer = Issuer::new();
    let (token_server, checks) = (issuer.listen().await?, issuer.clone());
    let check = move |call: Request<()>| {
        let accepted = checks.check(&call.metadata().clone().into_headers()).is_accepted();
        accepted.then_some(call).ok_or_else(|| Status::unauthenticated("the token is not accepted"))
    };
    let health = InterceptedService::new(tonic_health::server::health_reporter().1, check);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let endpoint = Endpoint::from_shared(format!("http://{}", incoming.local_addr()?))?;
    tokio::spawn(Server::builder().add_service(health).serve_with_incoming(incoming));

    // The client.
    let auth = ClientAuth::basic("client1", "client-secret");
    let source = ClientCredentials::builder(token_server.token_url()).client_auth(auth).build()?;
    let layer = GrpcBearerLayer::new(BearerAuthLayer::new(source), endpoint.uri())?;
    let mut client = HealthClient::new(layer.layer(endpoint.connect_lazy()));
    println!("{:?}", client.check(HealthCheckRequest::default()).await?.get_ref().status());
    issuer.revoke_current();
    let answer = client.check(HealthCheckRequest::default()).await?;
    println!("revoked, and retried: {}", answer.extensions().get().is_some_and(Outcome::retried));
    Ok(())
}
