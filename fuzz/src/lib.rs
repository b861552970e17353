//! What the targets share: servers that answer what the fuzzer wrote, and the check that no output shows a secret.

use std::{convert::Infallible, error::Error as _, fmt::Debug, fmt::Write, future::Future, future::ready};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower_bearer::{Error, grant::HttpService};

/// Runs a future on a runtime of its own, so that no task of one input is left for the next one. Its clock is paused: it moves
/// only when every task waits.
pub fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O needs nothing").block_on(future)
}

/// Reads an answer as it is on the wire: the status, header lines, an empty line, and the body.
pub fn answer(text: &[u8]) -> Response<Full<Bytes>> {
    let (head, body) = split(text, b"\n\n");
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok());
    let mut answer = Response::new(Full::from(body.to_vec()));
    *answer.status_mut() = status.unwrap_or(StatusCode::OK);
    for line in lines {
        let (name, value) = split(line, b": ");
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

/// Splits at the first separator. Without one, the second part is empty.
pub fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    match bytes.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (&bytes[..at], &bytes[at + separator.len()..]),
        None => (bytes, &[]),
    }
}

/// Returns a server that answers each request by this function.
pub fn server(
    answer: impl Fn(Request<Full<Bytes>>) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
) -> impl HttpService {
    tower::service_fn(move |request| ready(Ok::<_, Infallible>(answer(request))))
}

/// Returns all that is shown of an error and of its causes.
pub fn shown(error: &Error) -> String {
    let mut shown = format!("{error} {error:?} {error:#?} {:?}", error.oauth_code());
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(shown, " {error} {error:?}").expect("a string takes all");
        cause = error.source();
    }
    shown
}

/// Returns what `Debug` shows, on one line and on several.
pub fn debugged(value: &impl Debug) -> String {
    format!("{value:?} {value:#?}")
}

/// Checks that an output has none of these secrets, neither as they are nor in the encodings of forms and of base64.
pub fn assert_hidden(shown: &str, secrets: &[&str]) {
    for secret in secrets {
        let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        // The last characters in base64 depend on the text that follows.
        let [standard, url] =
            [BASE64_STANDARD_NO_PAD.encode(secret), BASE64_URL_SAFE_NO_PAD.encode(secret)].map(|mut text| {
                text.truncate(text.len() - 2);
                text
            });
        for form in [*secret, &form, &standard, &url] {
            assert!(!shown.contains(form), "{form} is shown: {shown}");
        }
    }
}
