//! The bottom of a tower stack.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use reqwest::{Body, Request, Url};
use tower_bearer::AnsweredElsewhere;
use tower_service::Service;

use crate::response_body::ResponseBody;

/// A [`reqwest::Client`] as a service of `http`'s requests and responses, for the bottom of a tower stack.
///
/// [The first page](crate#in-a-tower-stack) has a stack. Its error is [`reqwest::Error`], and the answers' extensions have the URL, so
/// that a `reqwest::Response` that is made of one keeps it.
#[derive(Clone, Debug)]
pub struct HttpClient(reqwest::Client);

impl HttpClient {
    /// Wraps a client. Clones of the client share its connections.
    #[must_use]
    pub fn new(client: reqwest::Client) -> Self {
        Self(client)
    }
}

impl Service<http::Request<Body>> for HttpClient {
    type Response = http::Response<ResponseBody>;
    type Error = reqwest::Error;
    type Future = HttpFuture;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: http::Request<Body>) -> HttpFuture {
        HttpFuture(match Request::try_from(request) {
            Ok(request) => State::Sent { url: request.url().clone(), response: self.0.call(request) },
            Err(error) => State::NotSent(Some(error)),
        })
    }
}

/// The answer of an [`HttpClient`].
pub struct HttpFuture(State);

enum State {
    Sent { url: Url, response: <reqwest::Client as Service<Request>>::Future },
    NotSent(Option<reqwest::Error>),
}

impl Future for HttpFuture {
    type Output = Result<http::Response<ResponseBody>, reqwest::Error>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Sent { url, response } => {
                let response = ready!(Pin::new(response).poll(task))?;
                // There, reqwest has removed the token.
                let elsewhere = response.url() != url && response.url().origin() != url.origin();
                let mut response = ResponseBody::with_head(response);
                if elsewhere {
                    response.extensions_mut().insert(AnsweredElsewhere);
                }
                Poll::Ready(Ok(response))
            }
            State::NotSent(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => panic!("`HttpFuture` polled after completion"),
            },
        }
    }
}

impl fmt::Debug for HttpFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpFuture")
    }
}
