//! The body of an answer in a tower stack. The whole response of reqwest travels in it, because a response that reqwest makes from
//! parts has lost its URL, and reads its body through more boxes.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::ResponseBuilderExt;

/// The body of an answer of [`HttpClient`](crate::HttpClient).
pub struct ResponseBody(State);

enum State {
    /// Without its headers and extensions.
    Whole(reqwest::Response),
    /// A layer has begun to read it.
    Read(reqwest::Body),
}

impl ResponseBody {
    /// Returns a response of reqwest with the types of `http`.
    pub(crate) fn with_head(mut response: reqwest::Response) -> http::Response<Self> {
        // Only a builder can set the URL. It is needed if a layer above replaces the body.
        let (mut parts, ()) = match http::Response::builder().url(response.url().clone()).body(()) {
            Ok(with_url) => with_url.into_parts(),
            Err(_) => http::Response::new(()).into_parts(),
        };
        parts.status = response.status();
        parts.version = response.version();
        parts.headers = mem::take(response.headers_mut());
        parts.extensions.extend(mem::take(response.extensions_mut()));
        http::Response::from_parts(parts, Self(State::Whole(response)))
    }

    /// Puts a response together again. If a layer has begun to read it, or has changed its status, the response is made of what there
    /// is.
    pub(crate) fn into_reqwest(response: http::Response<Self>) -> reqwest::Response {
        let (parts, body) = response.into_parts();
        match body.0 {
            State::Whole(mut response) if (response.status(), response.version()) == (parts.status, parts.version) => {
                *response.headers_mut() = parts.headers;
                *response.extensions_mut() = parts.extensions;
                response
            }
            state => http::Response::from_parts(parts, reqwest::Body::wrap(Self(state))).into(),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        loop {
            match mem::replace(&mut self.0, State::Read(reqwest::Body::default())) {
                State::Whole(response) => {
                    self.0 = State::Read(http::Response::<reqwest::Body>::from(response).into_body());
                }
                State::Read(mut body) => {
                    let polled = Pin::new(&mut body).poll_frame(task);
                    self.0 = State::Read(body);
                    return polled;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Whole(response) => response.content_length() == Some(0),
            State::Read(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Whole(response) => response.content_length().map_or_else(SizeHint::default, SizeHint::with_exact),
            State::Read(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody")
    }
}
