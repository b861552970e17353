//! An issuer, and an API that accepts its tokens, in one process for the gateway's load test.
//!
//! ```text
//! upstream ADDR LIFETIME [REVOKE_EVERY]     (in seconds)
//! ```
//!
//! A token is valid for its lifetime, or until it is revoked. Standard output has one line for each token that is `issued`,
//! `revoked` or `rejected`, with the time in microseconds since the epoch.

use std::{
    convert::Infallible,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, time::Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let listener = TcpListener::bind(args.next().ok_or("no ADDR")?).await?;
    let lifetime = seconds(&args.next().ok_or("no LIFETIME")?)?;
    let issuer = Arc::new(Issuer { lifetime, good: Mutex::default() });
    if let Some(every) = args.next() {
        tokio::spawn(Arc::clone(&issuer).revoke_each(seconds(&every)?));
    }
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let issuer = Arc::clone(&issuer);
        let service = service_fn(move |request| {
            let answer = issuer.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn seconds(text: &str) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

struct Issuer {
    lifetime: Duration,
    good: Mutex<Vec<Token>>,
}

struct Token {
    authorization: String,
    ends: Instant,
}

impl Issuer {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == "/token" {
            return self.issue();
        }
        if self.accepts(request.headers().get(header::AUTHORIZATION)) {
            return Response::new(Full::from("{\"resourceType\":\"Patient\",\"id\":\"123\",\"active\":true}\n"));
        }
        note("rejected");
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        answer
    }

    fn issue(&self) -> Response<Full<Bytes>> {
        let now = Instant::now();
        let token = format!("{:0>128x}", note("issued"));
        let text = format!(
            "{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\",\"expires_in\":{}}}",
            self.lifetime.as_secs_f64()
        );
        let mut good = self.good();
        good.retain(|token| token.ends > now);
        good.push(Token { authorization: format!("Bearer {token}"), ends: now + self.lifetime });
        let mut answer = Response::new(Full::from(text));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }

    fn accepts(&self, authorization: Option<&HeaderValue>) -> bool {
        let good = self.good();
        // The newest first, because most requests have it.
        let token = good.iter().rev().find(|token| authorization.is_some_and(|given| given == &token.authorization));
        token.is_some_and(|token| token.ends > Instant::now())
    }

    async fn revoke_each(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            // If no token was used since the last time, there is none to revoke.
            if !std::mem::take(&mut *self.good()).is_empty() {
                note("revoked");
            }
        }
    }

    fn good(&self) -> std::sync::MutexGuard<'_, Vec<Token>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints an event with its time.
fn note(what: &str) -> u128 {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    println!("{what} {micros}");
    micros
}
