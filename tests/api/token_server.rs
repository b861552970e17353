//! A token server that a test scripts: what it answers depends on the request.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::sleep;
use tower::Service;

pub(crate) type Form = HashMap<String, String>;

/// How the server answers one request.
pub(crate) enum Reply {
    Say(u16, String),
    Hang,
}

type Script = Arc<dyn Fn(&Form) -> Reply + Send + Sync>;

#[derive(Clone)]
pub(crate) struct TokenServer(Arc<Mutex<State>>);

struct State {
    script: Script,
    takes: Duration,
    requests: Vec<Form>,
}

/// Returns an answer with a token that lives for so many seconds.
pub(crate) fn issued(seconds: u64) -> Reply {
    let token_type = "urn:ietf:params:oauth:token-type:access_token";
    Reply::Say(
        200,
        format!(
            r#"{{"access_token":"t","token_type":"Bearer","issued_token_type":"{token_type}","expires_in":{seconds}}}"#
        ),
    )
}

pub(crate) fn refused(status: u16, code: &str) -> Reply {
    Reply::Say(status, format!(r#"{{"error":"{code}"}}"#))
}

/// Returns an answer without a body.
pub(crate) fn bare(status: u16) -> Reply {
    Reply::Say(status, String::new())
}

impl TokenServer {
    pub(crate) fn new(script: impl Fn(&Form) -> Reply + Send + Sync + 'static) -> Self {
        Self(Arc::new(Mutex::new(State {
            script: Arc::new(script),
            takes: Duration::from_millis(20),
            requests: Vec::new(),
        })))
    }

    /// Answers with tokens of an hour.
    pub(crate) fn good() -> Self {
        Self::new(|_| issued(3600))
    }

    pub(crate) fn answers(&self, script: impl Fn(&Form) -> Reply + Send + Sync + 'static) {
        self.0.lock().unwrap().script = Arc::new(script);
    }

    pub(crate) fn takes(&self, takes: Duration) {
        self.0.lock().unwrap().takes = takes;
    }

    /// Returns the requests since the last call.
    pub(crate) fn take(&self) -> Vec<Form> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }
}

impl Service<Request<Full<Bytes>>> for TokenServer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let server = Arc::clone(&self.0);
        Box::pin(async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let form: Form = form_urlencoded::parse(&body).into_owned().collect();
            let (script, takes) = {
                let mut state = server.lock().unwrap();
                state.requests.push(form.clone());
                (Arc::clone(&state.script), state.takes)
            };
            sleep(takes).await;
            match script(&form) {
                Reply::Say(status, body) => Ok(Response::builder()
                    .status(status)
                    .header("content-type", "application/json")
                    .body(Full::from(body))
                    .unwrap()),
                Reply::Hang => pending().await,
            }
        })
    }
}
