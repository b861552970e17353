//! A gRPC server whose tokens an [`Issuer`] checks, and a client for it. They need no generated code.

use std::{
    convert::Infallible,
    future::ready,
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use http::HeaderMap;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::{Grpc, GrpcService},
    codegen::BoxFuture,
    server::NamedService,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::HealthCheckRequest;
use tonic_prost::ProstCodec;
use tower::{Layer, Service, service_fn};
use tower_bearer::{
    BearerAuthLayer, BoxError,
    grant::{ClientAuth, ClientCredentials},
    testing::Issuer,
};
use tower_bearer_tonic::{GrpcBearer, GrpcBearerLayer};

/// A message with one text.
pub(crate) type Message = HealthCheckRequest;
pub(crate) type Codec = ProstCodec<Message, Message>;
pub(crate) type Client = Grpc<GrpcBearer<Channel>>;

pub(crate) fn message(text: impl Into<String>) -> Message {
    Message { service: text.into() }
}

/// A server with [`Echo`] and the health service, whose interceptor checks tokens; and what it saw.
pub(crate) struct World {
    pub(crate) issuer: Issuer,
    pub(crate) endpoint: Endpoint,
    echo: Echo,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Issuer::new())
    }

    pub(crate) fn with(issuer: Issuer) -> Self {
        // Without `nodelay`, each answer takes 40 ms.
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_nodelay(Some(true));
        let endpoint = Endpoint::from_shared(format!("http://{}", incoming.local_addr().unwrap())).unwrap();
        let echo = Echo { issuer: issuer.clone(), calls: Arc::default() };
        let (_, health) = tonic_health::server::health_reporter();
        let checks = issuer.clone();
        let health = InterceptedService::new(health, move |request: Request<()>| {
            let headers = request.metadata().clone().into_headers();
            Caller { issuer: checks.clone(), headers }.check().map(|()| request)
        });
        let server = Server::builder().add_service(echo.clone()).add_service(health);
        tokio::spawn(server.serve_with_incoming(incoming));
        Self { issuer, endpoint, echo }
    }

    pub(crate) fn tokens(&self) -> BearerAuthLayer {
        let source = ClientCredentials::builder("https://auth.example/token")
            .client_auth(ClientAuth::basic("client1", "client-secret"))
            .build_with(self.issuer.service())
            .unwrap();
        BearerAuthLayer::new(source)
    }

    pub(crate) fn channel(&self) -> GrpcBearer<Channel> {
        self.channel_with(self.tokens())
    }

    pub(crate) fn channel_with(&self, tokens: BearerAuthLayer) -> GrpcBearer<Channel> {
        GrpcBearerLayer::new(tokens, self.endpoint.uri()).unwrap().layer(self.endpoint.connect_lazy())
    }

    pub(crate) fn client(&self) -> Client {
        Grpc::new(self.channel())
    }

    /// Returns the headers of each call since the last time.
    pub(crate) fn take_calls(&self) -> Vec<HeaderMap> {
        mem::take(&mut self.echo.calls.lock().unwrap())
    }
}

pub(crate) async fn unary<T>(
    client: &mut Grpc<T>,
    method: &'static str,
    text: &str,
) -> Result<Response<Message>, Status>
where
    T: GrpcService<Body, ResponseBody: Send + 'static>,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    unary_request(client, method, Request::new(message(text))).await
}

pub(crate) async fn unary_request<T>(
    client: &mut Grpc<T>,
    method: &'static str,
    request: Request<Message>,
) -> Result<Response<Message>, Status>
where
    T: GrpcService<Body, ResponseBody: Send + 'static>,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.unary(request, path(method), Codec::default()).await
}

pub(crate) fn path(method: &'static str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static(method)
}

/// The service. Each method checks the token at the place that its name says.
#[derive(Clone)]
struct Echo {
    issuer: Issuer,
    calls: Arc<Mutex<Vec<HeaderMap>>>,
}

impl NamedService for Echo {
    const NAME: &'static str = "echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.calls.lock().unwrap().push(request.headers().clone());
        let caller = Caller { issuer: self.issuer.clone(), headers: request.headers().clone() };
        let mut grpc = tonic::server::Grpc::new(Codec::default());
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/echo/unary" => grpc.unary(service_fn(|request| ready(unary_echo(&caller, request))), request).await,
                "/echo/not_found" => grpc.unary(service_fn(|_| ready(not_found(&caller))), request).await,
                "/echo/collect" => {
                    grpc.client_streaming(service_fn(|request| collect(caller.clone(), request)), request).await
                }
                "/echo/split" => {
                    grpc.server_streaming(service_fn(|request| ready(split(&caller, request))), request).await
                }
                "/echo/late" => grpc.server_streaming(service_fn(|_| ready(late(&caller))), request).await,
                "/echo/cut" => grpc.server_streaming(service_fn(|_| ready(Ok(cut()))), request).await,
                "/echo/chat" => grpc.streaming(service_fn(|request| chat(caller.clone(), request)), request).await,
                path => unreachable!("{path}"),
            })
        })
    }
}

#[derive(Clone)]
struct Caller {
    issuer: Issuer,
    headers: HeaderMap,
}

impl Caller {
    fn check(&self) -> Result<(), Status> {
        if self.issuer.check(&self.headers).is_accepted() {
            return Ok(());
        }
        Err(Status::unauthenticated("the token is not accepted"))
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

/// Checks the token at once, as an interceptor does.
fn unary_echo(caller: &Caller, request: Request<Message>) -> Result<Response<Message>, Status> {
    caller.check()?;
    Ok(Response::new(request.into_inner()))
}

fn not_found(caller: &Caller) -> Result<Response<Message>, Status> {
    caller.check()?;
    let mut status = Status::not_found("there is no such thing");
    status.metadata_mut().insert("x-server", "echo".parse().unwrap());
    Err(status)
}

/// Checks the token after the first message, and then reads the others.
async fn collect(caller: Caller, request: Request<Streaming<Message>>) -> Result<Response<Message>, Status> {
    let mut messages = request.into_inner();
    let mut text = messages.message().await?.unwrap_or_default().service;
    caller.check()?;
    while let Some(next) = messages.message().await? {
        text += &next.service;
    }
    Ok(Response::new(message(text)))
}

fn split(caller: &Caller, request: Request<Message>) -> Result<Response<Messages>, Status> {
    caller.check()?;
    let letters: Vec<_> = request.into_inner().service.chars().map(|letter| Ok(message(letter))).collect();
    Ok(Response::new(Box::pin(tokio_stream::iter(letters))))
}

/// Fails after its headers, without a message.
fn late(caller: &Caller) -> Result<Response<Messages>, Status> {
    caller.check()?;
    Ok(Response::new(Box::pin(tokio_stream::once(Err(Status::aborted("too late"))))))
}

/// Refuses the token after a message.
fn cut() -> Response<Messages> {
    let answers = [Ok(message("a")), Err(Status::unauthenticated("the token has ended"))];
    Response::new(Box::pin(tokio_stream::iter(answers)))
}

/// Checks the token after the first message, and answers each.
async fn chat(caller: Caller, request: Request<Streaming<Message>>) -> Result<Response<Messages>, Status> {
    let mut messages = request.into_inner();
    let first = messages.message().await?.unwrap_or_default();
    caller.check()?;
    Ok(Response::new(Box::pin(tokio_stream::once(Ok(first)).chain(messages))))
}
