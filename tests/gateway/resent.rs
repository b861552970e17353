//! Requests that are sent once more because their connection ended, or their stream was refused.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use http::{Method, Request};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_bearer::testing::Issuer;

use crate::{
    process::{Gateway, password_grant},
    sides::{get, send, whole},
    tls::{acceptor, start},
};

/// Reads a request of HTTP/1.1 without a body, or with one that arrives together with its head. Returns whether there was one.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(length) if length > 0 => read.extend_from_slice(&part[..length]),
            _ => return false,
        }
    }
    true
}

/// Starts a server whose first connection answers `answered` requests, and closes after the next one. Returns how many
/// requests have arrived.
async fn closing_after(answered: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        for connection in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let limit = if connection == 0 { answered } else { usize::MAX };
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                for _ in 0..limit {
                    if !read_request(&mut stream).await {
                        return;
                    }
                    count.fetch_add(1, Relaxed);
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
                if read_request(&mut stream).await {
                    count.fetch_add(1, Relaxed);
                }
            });
        }
    });
    (url, seen)
}

#[tokio::test]
async fn an_idempotent_request_whose_kept_connection_closes_is_sent_once_more() {
    let issuer = Issuer::new();
    let listening = issuer.listen().await.unwrap();
    for args in [password_grant(&listening), vec!["--no-auth".into()]] {
        for (method, body, status, requests) in [
            (Method::GET, "", 200, 3),
            (Method::PUT, "new", 200, 3),
            (Method::DELETE, "", 200, 3),
            (Method::POST, "more", 502, 2),
            (Method::PATCH, "other", 502, 2),
        ] {
            let (url, seen) = closing_after(1).await;
            let gateway = Gateway::start(&url, &args).await;
            assert_eq!(get(&gateway.url).await.status, 200);
            let request = Request::builder().method(&method).uri(&gateway.url).body(whole(body)).unwrap();
            let answer = send(request).await;
            assert_eq!((answer.status, seen.load(Relaxed)), (status, requests), "{method}");
        }
    }
}

#[tokio::test]
async fn a_request_whose_new_connection_closes_is_not_sent_again() {
    let (url, seen) = closing_after(0).await;
    let gateway = Gateway::start(&url, &["--no-auth".into()]).await;
    assert_eq!((get(&gateway.url).await.status, seen.load(Relaxed)), (502, 1));
}

/// How an HTTP/2 server ends its first stream.
#[derive(Clone, Copy, Debug)]
enum End {
    /// `RST_STREAM` with an error code (RFC 9113 §7).
    Reset(u8),
    /// `GOAWAY` whose last stream is an earlier one.
    GoAway,
    /// `GOAWAY` whose last stream is this one, and then the end of the connection.
    GoAwayLater,
}

const REFUSED_STREAM: u8 = 7;
const INTERNAL_ERROR: u8 = 2;

/// Kinds of frames and their flags (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// HPACK's static table has `:status: 200` at 8.
const OK: [u8; 1] = [0x88];

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    let _ = stream.write_all(&frame).await;
    let _ = stream.flush().await;
}

/// Speaks HTTP/2 by hand. Ends the first stream as `end` says, when its head and `after` bytes of its body have arrived.
/// Answers all others with 200.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    end: End,
    after: usize,
    seen: Arc<AtomicUsize>,
    bodies: Arc<AtomicUsize>,
) {
    stream.read_exact(&mut [0; 24]).await.unwrap();
    write_frame(&mut stream, SETTINGS, 0, 0, &[]).await;
    let (mut first, mut length) = (None, 0);
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match kind {
            SETTINGS if flags & ACK == 0 => write_frame(&mut stream, SETTINGS, ACK, 0, &[]).await,
            HEADERS => {
                length = 0;
                if seen.fetch_add(1, Relaxed) == 0 {
                    first = Some(id);
                }
            }
            DATA if first != Some(id) || length < after => length += payload.len(),
            _ => continue,
        }
        if first == Some(id) && length >= after {
            match end {
                End::Reset(code) => write_frame(&mut stream, RST_STREAM, 0, id, &[0, 0, 0, code]).await,
                End::GoAway => write_frame(&mut stream, GOAWAY, 0, 0, &[0; 8]).await,
                End::GoAwayLater => {
                    let last = [&id.to_be_bytes()[..], &[0; 4]].concat();
                    write_frame(&mut stream, GOAWAY, 0, 0, &last).await;
                    return;
                }
            }
            first = None;
        } else if id > 0 && flags & END_STREAM != 0 {
            bodies.store(length, Relaxed);
            write_frame(&mut stream, HEADERS, END_STREAM | END_HEADERS, id, &OK).await;
        }
    }
}

/// Returns the status, how many requests arrived, and the length of the last complete body.
async fn ask(method: Method, body: &'static str, end: End, after: usize) -> (u16, usize, usize) {
    let tls = acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, bodies) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&seen), Arc::clone(&bodies));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = tls.accept(stream).await.unwrap();
            tokio::spawn(serve(stream, end, after, Arc::clone(&counts.0), Arc::clone(&counts.1)));
        }
    });
    let gateway = start(&format!("https://localhost:{port}"), ["--no-auth".to_owned()]).await;
    let request = Request::builder().method(method).uri(&gateway.url).body(whole(body)).unwrap();
    let status = send(request).await.status;
    (status, seen.load(Relaxed), bodies.load(Relaxed))
}

#[tokio::test]
async fn a_request_that_an_http_2_server_has_not_processed_is_sent_once_more_with_its_whole_body() {
    for end in [End::Reset(REFUSED_STREAM), End::GoAway] {
        assert_eq!(ask(Method::GET, "", end, 0).await, (200, 2, 0), "{end:?}");
        assert_eq!(ask(Method::POST, "seven..", end, 0).await, (200, 2, 7), "{end:?}");
        assert_eq!(ask(Method::POST, "seven..", end, 7).await, (200, 2, 7), "{end:?}");
    }
}

#[tokio::test]
async fn a_request_that_an_http_2_server_may_have_processed_is_not_sent_again() {
    for end in [End::Reset(INTERNAL_ERROR), End::GoAwayLater] {
        assert_eq!(ask(Method::POST, "seven..", end, 7).await, (502, 1, 0), "{end:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_to_be_kept_is_not_sent_again() {
    static LARGE: [u8; 200_000] = [b'x'; 200_000];
    let large = std::str::from_utf8(&LARGE).unwrap();
    // The window of HTTP/2 is 65,535 bytes.
    assert_eq!(ask(Method::POST, large, End::Reset(REFUSED_STREAM), 65_535).await, (502, 1, 0));
}
