//! The issuer as a server on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;

use crate::testing::endpoint::{REQUEST_LIMIT, is_api};
use crate::testing::failure::Outage;
use crate::testing::issuer::Issuer;
use crate::testing::loopback::{Loopback, UNREAD_FOR, drain};
use crate::testing::response::{Content, empty_response};

/// An issuer that listens on loopback, returned by [`Issuer::listen`].
///
/// Dropping it closes the port and all connections.
pub struct IssuerServer(Loopback);

impl Issuer {
    /// Serves the issuer on a free port of 127.0.0.1, over HTTP/1.1 without TLS.
    ///
    /// It serves the same endpoints as [`service`](Self::service). The server runs in tasks of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot bind a port.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O enabled.
    pub async fn listen(&self) -> io::Result<IssuerServer> {
        let issuer = self.clone();
        let serve = move |request| {
            let issuer = issuer.clone();
            async move { serve(&issuer, request).await }
        };
        Loopback::start(serve).await.map(IssuerServer)
    }
}

impl IssuerServer {
    /// Returns the address that the server listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// Returns the URL of the token endpoint, `http://127.0.0.1:<port>/token`.
    #[must_use]
    pub fn token_url(&self) -> String {
        self.url("/token")
    }

    /// Returns the URL of a path, which may begin with a slash or not. The protected API is `/fhir` and every path below it,
    /// such as `server.url("/fhir/Patient")`. The URL of an empty path ends in a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.0.url(path)
    }
}

impl fmt::Debug for IssuerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerServer").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

async fn serve(issuer: &Issuer, request: Request<Incoming>) -> Result<Response<Either<Full<Bytes>, Endless>>, Outage> {
    let (parts, body) = request.into_parts();
    let response = if is_api(parts.uri.path()) {
        let request = Request::from_parts(parts, Bytes::new());
        answer_as_api(issuer, request, body).await?
    } else if let Some(body) = collect(body).await {
        issuer.answer(Request::from_parts(parts, body)).await?
    } else {
        empty_response(413)
    };
    Ok(response.map(|content| match content {
        Content::Whole(bytes) => Either::Left(Full::new(bytes)),
        Content::Endless => Either::Right(Endless),
    }))
}

/// Answers a request to the API, after its body or, if the test wants it so, before.
async fn answer_as_api(issuer: &Issuer, request: Request<Bytes>, body: Incoming) -> Result<Response<Content>, Outage> {
    if !issuer.state().rejects_before_reading {
        return if drain(body).await.is_some() { issuer.answer(request).await } else { Ok(empty_response(413)) };
    }
    let response = issuer.answer(request).await?;
    if response.status() == StatusCode::UNAUTHORIZED {
        // It ends with the connection.
        tokio::spawn(async {
            tokio::time::sleep(UNREAD_FOR).await;
            drain(body).await
        });
    } else if drain(body).await.is_none() {
        return Ok(empty_response(413));
    }
    Ok(response)
}

async fn collect(body: Incoming) -> Option<Bytes> {
    let body = Limited::new(body, REQUEST_LIMIT).collect().await.ok()?;
    Some(body.to_bytes())
}

/// A body of spaces without an end. A JSON parser continues to read them.
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
    use hyper_util::client::legacy::Client;
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::testing::failure::Failure;
    use crate::testing::test_client::{PASSWORD, bearer_headers, form_request};

    fn client() -> Client<HttpConnector, Full<Bytes>> {
        Client::builder(TokioExecutor::new()).build_http()
    }

    fn password(server: &IssuerServer) -> Request<Full<Bytes>> {
        form_request(&server.token_url(), Some("client1:client-secret"), PASSWORD)
    }

    #[tokio::test]
    async fn the_api_on_loopback_accepts_a_token_from_loopback() {
        let issuer = Issuer::new();
        let (server, client) = (issuer.listen().await.unwrap(), client());
        let answer = client.request(password(&server)).await.unwrap();
        assert!(answer.headers().contains_key("date"));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let headers = bearer_headers(&serde_json::from_slice(&body).unwrap());

        let mut request = Request::post(server.url("fhir/Patient")).body(Full::from(vec![0; 1 << 20])).unwrap();
        let refused = client.request(request.clone()).await.unwrap();
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()["www-authenticate"], r#"Bearer realm="fhir""#);
        request.headers_mut().extend(headers);
        assert_eq!(client.request(request).await.unwrap().status(), 200);
        assert_eq!((issuer.counts().api_accepted, issuer.counts().api_rejected), (1, 1));
    }

    #[tokio::test]
    async fn the_api_on_loopback_sends_its_401_before_it_reads_the_body_if_the_test_wants_it_so() {
        let issuer = Issuer::new();
        issuer.reject_before_reading(true);
        let server = issuer.listen().await.unwrap();
        let mut client = TcpStream::connect(server.addr()).await.unwrap();
        // The body does not come.
        client.write_all(b"POST /fhir HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
    }

    #[tokio::test]
    async fn an_outage_closes_the_connection_without_a_response() {
        let issuer = Issuer::new();
        let (server, client) = (issuer.listen().await.unwrap(), client());
        issuer.fail_next(1, Failure::Outage);
        client.request(password(&server)).await.unwrap_err();
        assert_eq!(client.request(password(&server)).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn an_endless_body_continues_while_it_is_read() {
        let issuer = Issuer::new();
        let (server, client) = (issuer.listen().await.unwrap(), client());
        issuer.fail_next(1, Failure::Endless);
        let body = client.request(password(&server)).await.unwrap().into_body();
        Limited::new(body, 32 << 20).collect().await.unwrap_err();
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let issuer = Issuer::new();
        let (server, client) = (issuer.listen().await.unwrap(), client());
        let form = "a".repeat(REQUEST_LIMIT + 1);
        let answer = client.request(form_request(&server.token_url(), None, &form)).await.unwrap();
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
