//! The API behind the gateway: over HTTP/1.1, and over HTTP/2 with that protocol's own faults.

use std::{convert::Infallible, future::poll_fn, net::Ipv4Addr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tower_bearer::testing::Issuer;

use crate::{fault::Fault, proxy::Now};

/// The size of an answer, in bytes.
pub const ANSWER: usize = 2048;

/// Starts a server for HTTP/1.1. Returns its port.
pub async fn http1(issuer: &Issuer) -> u16 {
    let (listener, port) = listen().await;
    let issuer = issuer.clone();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let issuer = issuer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let issuer = issuer.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let _ = body.collect().await;
                    Ok::<_, Infallible>(answer(&issuer, &head.headers).map(Full::new))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

/// A server for HTTP/2 without TLS. It starts before its proxy, and gets the faults of the proxy later.
pub struct Http2(TcpListener);

impl Http2 {
    pub async fn bind() -> (Self, u16) {
        let (listener, port) = listen().await;
        (Self(listener), port)
    }

    pub fn serve(self, issuer: Issuer, fault: Now) {
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = self.0.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                tokio::spawn(http2(stream, issuer.clone(), fault.clone()));
            }
        });
    }
}

async fn http2(stream: TcpStream, issuer: Issuer, fault: Now) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let ends_gracefully = fastrand::bool();
    let mut under_fault = 0_u32;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let now = *fault.borrow();
        under_fault += u32::from(matches!(now, Some(Fault::GoAway | Fault::RefusedStream)));
        match now {
            Some(Fault::RefusedStream) if under_fault % 2 == 1 => respond.send_reset(h2::Reason::REFUSED_STREAM),
            // Nothing more is answered. Not even the client of this request knows whether it was processed.
            Some(Fault::GoAway) if under_fault == 3 && !ends_gracefully => {
                connection.abrupt_shutdown(h2::Reason::NO_ERROR);
            }
            _ => {
                // The open requests are answered, and no more are accepted.
                if now == Some(Fault::GoAway) && under_fault == 3 {
                    connection.graceful_shutdown();
                }
                tokio::spawn(respond_to(request, respond, issuer.clone()));
            }
        }
    }
    let _ = poll_fn(|task| connection.poll_closed(task)).await;
}

async fn respond_to(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    issuer: Issuer,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    while let Some(chunk) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk?.len());
    }
    let (head, body) = answer(&issuer, &head.headers).into_parts();
    respond.send_response(Response::from_parts(head, ()), false)?.send_data(body, true)
}

fn answer(issuer: &Issuer, headers: &HeaderMap) -> Response<Bytes> {
    let status = issuer.check(headers);
    if status.is_accepted() {
        return Response::new(Bytes::from_static(&[b'x'; ANSWER]));
    }
    let mut response = Response::new(Bytes::from_static(b"no"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(WWW_AUTHENTICATE, status.challenge());
    response
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    (listener, port)
}
