//! A scripted API on loopback.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::AbortHandle};
use tower_bearer::testing::Issuer;

/// A request as the server got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn token(&self) -> Option<&str> {
        self.headers.get(AUTHORIZATION)?.to_str().ok()
    }

    /// Returns the headers without the token, in their order.
    pub(crate) fn other_headers(&self) -> Vec<(String, Vec<u8>)> {
        let others = self.headers.iter().filter(|(name, _)| *name != AUTHORIZATION);
        others.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
    }
}

pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

/// Returns a redirect to `location`.
pub(crate) fn redirect(status: u16, location: &str) -> Answer {
    let mut answer = answer(status, "");
    answer.headers_mut().insert("location", location.parse().unwrap());
    answer
}

/// Returns an answer that says whether the issuer accepts the token of the request.
pub(crate) fn checked(issuer: &Issuer, seen: &Seen) -> Answer {
    let status = issuer.check(&seen.headers);
    if status.is_accepted() {
        return answer(200, r#"{"total":0}"#);
    }
    let mut answer = answer(401, "no");
    answer.headers_mut().insert("www-authenticate", status.challenge());
    answer
}

/// Reads each request to its end, records and answers it.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: AbortHandle,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let record = Arc::clone(&seen);
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
                    async move {
                        let (head, body) = request.into_parts();
                        let Ok(body) = body.collect().await else { return Ok(self::answer(400, "")) };
                        let path = head.uri.to_string();
                        let seen = Seen { method: head.method, path, headers: head.headers, body: body.to_bytes() };
                        record.lock().unwrap().push(seen.clone());
                        Ok::<_, Infallible>(answer(&seen))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        };
        Self { addr, seen, task: tokio::spawn(accept).abort_handle() }
    }

    /// Starts an API that accepts the tokens of `issuer`.
    pub(crate) async fn protected(issuer: &Issuer) -> Self {
        let issuer = issuer.clone();
        Self::start(move |seen| checked(&issuer, seen)).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
