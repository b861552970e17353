//! The head of a request whose first attempt is rejected: the second one has the same, but for its token. The first line is a
//! method and a URI, the others are header fields. `!` marks a value as sensitive.
#![no_main]

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header::AUTHORIZATION, request::Parts,
};
use libfuzzer_sys::fuzz_target;
use tower::{Layer, ServiceExt};
use tower_bearer::{AccessToken, BearerAuthLayer, source::from_fn};
use tower_bearer_fuzz::{run, shown, split};

fuzz_target!(|text: &[u8]| {
    let (own_header, text) = match text.strip_prefix(b"#") {
        Some(text) => (true, text),
        None => (false, text),
    };
    // The fuzzer learns the tokens, and a host with one is shown.
    let Some(request) = request(text).filter(|_| !String::from_utf8_lossy(text).to_lowercase().contains("t0k3n"))
    else {
        return;
    };
    let (expected, ()) = request.into_parts();
    let seen: Arc<Mutex<Vec<Parts>>> = Arc::default();
    let numbers = AtomicU64::new(1);
    let source = from_fn(move |_| ready(AccessToken::new(format!("T0k3n-{}", numbers.fetch_add(1, Relaxed)))));
    let mut layer = BearerAuthLayer::new(source).assume_origin("https://api.test").unwrap();
    let carrier = if own_header { HeaderName::from_static("x-token") } else { AUTHORIZATION };
    if own_header {
        layer = layer.header(carrier.clone());
    }
    let api = {
        let seen = Arc::clone(&seen);
        tower::service_fn(move |request: Request<String>| {
            let mut seen = seen.lock().unwrap();
            seen.push(request.into_parts().0);
            let mut answer = Response::new(String::new());
            *answer.status_mut() = if seen.len() == 1 { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
            ready(Ok::<_, std::convert::Infallible>(answer))
        })
    };
    let request = Request::from_parts(expected.clone(), "body".to_owned());
    let answered = run(layer.layer(api).oneshot(request));
    let seen = seen.lock().unwrap();
    match (answered, seen.as_slice()) {
        // Nothing was sent: the URI is not secure, or its server is not known.
        (Err(error), []) => {
            let error: &tower_bearer::Error = error.downcast_ref().expect("an error of the layer");
            assert!(!shown(error).contains("T0k3n"));
        }
        (Ok(answer), [first]) => {
            assert!(expected.method == Method::TRACE && answer.status() == StatusCode::UNAUTHORIZED);
            same(first, &expected);
        }
        (Ok(answer), [first, second]) => {
            assert_eq!(answer.status(), StatusCode::OK);
            for (head, token) in [(first, "Bearer T0k3n-1"), (second, "Bearer T0k3n-2")] {
                let value = &head.headers[&carrier];
                assert!(value == token && value.is_sensitive() && head.headers.get_all(&carrier).iter().count() == 1);
                let (mut head, mut expected) = (head.clone(), expected.clone());
                head.headers.remove(&carrier);
                expected.headers.remove(&carrier);
                same(&head, &expected);
            }
        }
        (answered, seen) => panic!("{answered:?} after {} attempts", seen.len()),
    }
});

fn same(head: &Parts, expected: &Parts) {
    assert_eq!((&head.method, &head.uri, head.version), (&expected.method, &expected.uri, expected.version));
    let fields = |parts: &Parts| -> Vec<_> {
        parts.headers.iter().map(|(name, value)| (name.clone(), value.clone(), value.is_sensitive())).collect()
    };
    assert_eq!(fields(head), fields(expected));
}

fn request(text: &[u8]) -> Option<Request<()>> {
    let (line, fields) = split(text, b"\n");
    let (method, uri) = split(line, b" ");
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = uri.try_into().ok()?;
    *request.version_mut() = if fields.first() == Some(&b'\n') { Version::HTTP_2 } else { Version::HTTP_11 };
    for field in fields.split(|byte| *byte == b'\n') {
        let (name, value) = split(field, b": ");
        let (is_sensitive, name) = name.strip_prefix(b"!").map_or((false, name), |name| (true, name));
        let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            continue;
        };
        value.set_sensitive(is_sensitive);
        request.headers_mut().append(name, value);
    }
    Some(request)
}
