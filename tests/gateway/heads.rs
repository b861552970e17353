//! Heads: their size, the length of an empty body, and what they say about addresses.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    process::Gateway,
    sides::{Answer, Body, Upstream, client, empty, http2_client, send, whole},
    tls::{acceptor, start},
};

type Heads = Arc<Mutex<Vec<HeaderMap>>>;

async fn noting(answer: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> (Upstream, Heads) {
    let heads = Heads::default();
    let note = Arc::clone(&heads);
    let upstream = Upstream::start(move |request: Request<Incoming>| {
        note.lock().unwrap().push(request.headers().clone());
        let answer = answer();
        async move { answer }
    });
    (upstream.await, heads)
}

#[tokio::test]
async fn an_empty_post_put_or_patch_has_the_length_0() {
    let (upstream, heads) = noting(|| Response::new(empty())).await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into()]).await;
    let address = gateway.url.strip_prefix("http://").unwrap();
    for (method, length) in
        [("POST", Some("0")), ("PUT", Some("0")), ("PATCH", Some("0")), ("DELETE", None), ("GET", None)]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{method} / HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        let over_http_2 = Request::builder().method(method).uri(&gateway.url).body(empty()).unwrap();
        assert_eq!(http2_client().request(over_http_2).await.unwrap().status(), 200);
        for head in heads.lock().unwrap().drain(..) {
            let sent = head.get("content-length").map(|value| value.to_str().unwrap());
            assert_eq!((sent, head.contains_key("transfer-encoding")), (length, false), "{method}");
        }
    }
}

/// Adds 700 fields, and as much as makes 64 KiB of them.
fn fill(headers: &mut HeaderMap) {
    let value = HeaderValue::from_str(&"x".repeat(84)).unwrap();
    for number in 0..700 {
        headers.append(http::HeaderName::from_bytes(format!("x-{number:03}").as_bytes()).unwrap(), value.clone());
    }
}

#[tokio::test]
async fn heads_of_64_kib_with_700_fields_pass_in_both_directions() {
    let large = || {
        let mut answer = Response::new(empty());
        fill(answer.headers_mut());
        answer
    };
    let (over_http_1, heads) = noting(large).await;
    let (tls, note) = (acceptor(), Arc::clone(&heads));
    let over_http_2 = Upstream::start_over(
        move |stream| tls.accept(stream),
        move |request: Request<Incoming>| {
            note.lock().unwrap().push(request.headers().clone());
            async move { large() }
        },
    )
    .await;
    for upstream in [over_http_1.url("/"), format!("https://localhost:{}", over_http_2.address.port())] {
        let gateway = start(&upstream, ["--no-auth".to_owned()]).await;
        for client in [client(), http2_client()] {
            let mut request = Request::get(&gateway.url).body(empty()).unwrap();
            fill(request.headers_mut());
            let answer = Answer::of(client.request(request).await.unwrap()).await;
            assert_eq!(answer.status, 200, "{upstream} {}", answer.text);
            for headers in [answer.headers, heads.lock().unwrap().pop().unwrap()] {
                assert_eq!(headers.keys().filter(|name| name.as_str().starts_with("x-")).count(), 700);
            }
        }
    }
}

#[tokio::test]
async fn the_upstream_learns_who_asked_if_the_option_says_so() {
    let (upstream, heads) = noting(|| Response::new(empty())).await;
    for (args, x_for, host, proto, standard) in [
        ("", Some("1.1.1.1"), None, None, None),
        ("--forwarded=remove", None, None, None, None),
        ("--forwarded=x-forwarded", Some("127.0.0.1"), Some("gw.test"), Some("http"), None),
        ("--forwarded=forwarded", None, None, None, Some("for=127.0.0.1;host=\"gw.test\";proto=http")),
        (
            "--forwarded=both --trust-forwarded",
            Some("1.1.1.1, 127.0.0.1"),
            Some("gw.test"),
            Some("http"),
            Some("for=127.0.0.1;host=\"gw.test\";proto=http"),
        ),
    ] {
        let options: Vec<_> = args.split_whitespace().chain(["--no-auth"]).map(str::to_owned).collect();
        let gateway = Gateway::start(&upstream.url("/"), &options).await;
        let request = Request::get(&gateway.url).header("host", "gw.test").header("x-forwarded-for", "1.1.1.1");
        // A user cannot take the field away as one that is for this connection only.
        let request = request.header("connection", if args.is_empty() { "x" } else { "x-forwarded-host" });
        send(request.body(empty()).unwrap()).await;
        let head = heads.lock().unwrap().pop().unwrap();
        let sent = |name| head.get(name).map(|value| value.to_str().unwrap());
        let names = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"];
        assert_eq!(names.map(sent), [x_for, host, proto, standard], "{args}");
        assert_eq!(sent("host"), Some(&*upstream.address.to_string()));
    }
}

#[tokio::test]
async fn a_location_below_the_upstreams_url_is_changed_to_the_gateways_if_the_option_says_so() {
    let location = Arc::new(Mutex::new(String::new()));
    let current = Arc::clone(&location);
    let (upstream, _) = noting(move || {
        let location = current.lock().unwrap();
        let answer = Response::builder().status(201).header("location", &*location);
        answer.header("content-location", &*location).body(whole("made")).unwrap()
    })
    .await;
    for (rewrite, from, to) in [
        (true, upstream.url("/r4/Patient/1?x#y"), Some("/Patient/1?x#y")),
        (true, "/r4/Patient/1".into(), Some("/Patient/1")),
        (true, upstream.url("/login"), None),
        (true, "https://other.test/r4/Patient/1".into(), None),
        (false, upstream.url("/r4/Patient/1"), None),
    ] {
        (*location.lock().unwrap()).clone_from(&from);
        let mut args = vec!["--no-auth".to_owned()];
        args.extend(rewrite.then(|| "--rewrite-location".to_owned()));
        let gateway = Gateway::start(&upstream.url("/r4"), &args).await;
        let answer = send(Request::post(&gateway.url).body(whole("new")).unwrap()).await;
        let expected = to.map_or(from, |path| format!("{}{path}", gateway.url));
        for name in ["location", "content-location"] {
            assert_eq!(answer.headers[name], *expected, "{rewrite}");
        }
    }
}
