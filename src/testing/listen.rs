//! The issuer on loopback.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use super::answer::{Content, bare};
use super::endpoint::{REQUEST_LIMIT, is_api};
use super::{Issuer, Outage};

/// An issuer that listens on loopback. Dropping it closes the port and every connection. Made by [`Issuer::listen`].
pub struct Listening {
    addr: SocketAddr,
    task: AbortHandle,
}

impl Issuer {
    /// Serves on a free port of 127.0.0.1 by HTTP/1.1 without TLS: what [`service`](Self::service) answers, and the
    /// protected resource under `/fhir/`. Runs in tasks of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O.
    pub async fn listen(&self) -> io::Result<Listening> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let task = tokio::spawn(accept(self.clone(), listener)).abort_handle();
        Ok(Listening { addr, task })
    }
}

impl Listening {
    /// The address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:<port>/token`.
    #[must_use]
    pub fn token_url(&self) -> String {
        self.url("/token")
    }

    /// The URL of a path, with or without its leading slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{}", self.addr, path.trim_start_matches('/'))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// The connections end with this task: it owns them.
async fn accept(issuer: Issuer, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let some be closed.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        // Without it the answer only comes later.
        let _ = stream.set_nodelay(true);
        let issuer = issuer.clone();
        connections.spawn(async move {
            let service = service_fn(|request| serve(&issuer, request));
            // An error is the client's going away, or an outage on command.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn serve(issuer: &Issuer, request: Request<Incoming>) -> Result<Response<Either<Full<Bytes>, Endless>>, Outage> {
    let (parts, body) = request.into_parts();
    let body = if is_api(parts.uri.path()) { drain(body).await.map(|()| Bytes::new()) } else { collect(body).await };
    let response = match body {
        Some(body) => issuer.answer(Request::from_parts(parts, body)).await?,
        None => bare(413),
    };
    Ok(response.map(|content| match content {
        Content::Whole(bytes) => Either::Left(Full::new(bytes)),
        Content::Endless => Either::Right(Endless),
    }))
}

/// Reads all before the answer: a connection closed on unread data can swallow the 401.
async fn drain(mut body: Incoming) -> Option<()> {
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    Some(())
}

async fn collect(body: Incoming) -> Option<Bytes> {
    let body = Limited::new(body, REQUEST_LIMIT).collect().await.ok()?;
    Some(body.to_bytes())
}

/// Spaces, which a JSON parser goes on reading, for as long as someone reads them.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static SPACES: [u8; 16 * 1024] = [b' '; 16 * 1024];
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&SPACES)))))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use hyper_util::client::legacy::Client;
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::TokioExecutor;
    use tokio::net::TcpStream;

    use super::*;
    use crate::testing::Failure;
    use crate::testing::ask::{PASSWORD, bearer, post};

    fn client() -> Client<HttpConnector, Full<Bytes>> {
        Client::builder(TokioExecutor::new()).build_http()
    }

    fn password(server: &Listening) -> Request<Full<Bytes>> {
        post(&server.token_url(), Some("client1:client-secret"), PASSWORD)
    }

    #[tokio::test]
    async fn a_token_from_loopback_opens_the_api_on_loopback() {
        let issuer = Issuer::new();
        let (server, client) = (issuer.listen().await.unwrap(), client());
        let answer = client.request(password(&server)).await.unwrap();
        assert!(answer.headers().contains_key("date"));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let headers = bearer(&serde_json::from_slice(&body).unwrap());

        let mut request = Request::post(server.url("fhir/Patient")).body(Full::from(vec![0; 1 << 20])).unwrap();
        let refused = client.request(request.clone()).await.unwrap();
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()["www-authenticate"], r#"Bearer realm="fhir""#);
        request.headers_mut().extend(headers);
        assert_eq!(client.request(request).await.unwrap().status(), 200);
        assert_eq!((issuer.counts().api_accepted, issuer.counts().api_rejected), (1, 1));
    }

    #[tokio::test]
    async fn an_outage_closes_the_connection_without_an_answer() {
        let issuer = Issuer::new();
        let (server, client) = (issuer.listen().await.unwrap(), client());
        issuer.fail_next(1, Failure::Outage);
        client.request(password(&server)).await.unwrap_err();
        assert_eq!(client.request(password(&server)).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn an_endless_body_goes_on_for_as_long_as_it_is_read() {
        let issuer = Issuer::new();
        let (server, client) = (issuer.listen().await.unwrap(), client());
        issuer.fail_next(1, Failure::Endless);
        let body = client.request(password(&server)).await.unwrap().into_body();
        Limited::new(body, 32 << 20).collect().await.unwrap_err();
    }

    #[tokio::test]
    async fn a_body_past_the_limit_is_refused() {
        let issuer = Issuer::new();
        let (server, client) = (issuer.listen().await.unwrap(), client());
        let form = "a".repeat(REQUEST_LIMIT + 1);
        let answer = client.request(post(&server.token_url(), None, &form)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn dropping_the_server_closes_its_connections_and_its_port() {
        let issuer = Issuer::new();
        let (server, client) = (issuer.listen().await.unwrap(), client());
        let addr = server.addr();
        let gate = issuer.hold();
        let request = tokio::spawn(client.request(password(&server)));
        gate.waiting(1).await;
        drop(server);
        request.await.unwrap().unwrap_err();
        TcpStream::connect(addr).await.unwrap_err();
    }
}
