//! An upstream that uses HTTP/2 over TLS.

use std::{
    future,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;
use tower_bearer::testing::Issuer;

use crate::{
    process::{Gateway, password_grant},
    sides::{Answer, Upstream, client, fed, get, whole},
};

/// Accepts TLS with HTTP/2, with a certificate that a gateway from [`start`] trusts.
pub(crate) fn acceptor() -> TlsAcceptor {
    let data = data();
    let certificate = CertificateDer::from_pem_file(data.join("localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(data.join("localhost-key.pem")).unwrap();
    let mut tls = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(tls))
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Starts a gateway that trusts the upstream's certificate.
pub(crate) async fn start(base: &str, args: impl IntoIterator<Item = String>) -> Gateway {
    let ca = data().join("localhost.pem").display().to_string();
    let args: Vec<_> = args.into_iter().chain(["--ca-file".to_owned(), ca]).collect();
    Gateway::start(base, &args).await
}

#[tokio::test]
async fn a_rejected_upload_is_retried_over_http_2_too() {
    let acceptor = acceptor();
    let issuer = Issuer::new();
    let listening = issuer.listen().await.unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let (judge, note) = (issuer.clone(), Arc::clone(&heads));
    let answer = move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let standing = judge.check(&head.headers);
        note.lock().unwrap().push((head.version, head.uri, head.headers));
        async move {
            if standing.is_accepted() {
                return Response::new(body.map_err(Into::into).boxed_unsync());
            }
            let refusal = Response::builder().status(401).header("www-authenticate", standing.challenge());
            refusal.body(whole("no")).unwrap()
        }
    };
    let upstream = Upstream::start_over(move |stream| acceptor.accept(stream), answer).await;
    let base = format!("https://localhost:{}/r4", upstream.address.port());
    let gateway = start(&base, password_grant(&listening)).await;
    for revoked in [false, true] {
        if revoked {
            issuer.revoke_all();
        }
        let (hand, body) = fed();
        hand.give("one");
        let request = Request::post(format!("{}/Patient", gateway.url)).header("te", "trailers").body(body).unwrap();
        let mut answer = client().request(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_11));
        assert_eq!(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        hand.give("two");
        drop(hand);
        assert_eq!(Answer::of(answer).await.text, "two");
    }
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 3, "{heads:?}");
    for (version, uri, headers) in heads.iter() {
        assert_eq!((*version, uri.to_string()), (Version::HTTP_2, format!("{base}/Patient")));
        assert_eq!(headers["te"], "trailers");
        assert!(!headers.contains_key("host"), "{headers:?}");
    }
}

/// Starts an upstream that never answers `/silent`, and a gateway before it with a timeout of a second. Returns both, and how many
/// connections there were.
async fn counted(issuer: Option<Issuer>, args: Vec<String>) -> (Upstream, Gateway, Arc<AtomicUsize>) {
    let acceptor = acceptor();
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    let wrap = move |stream| {
        accepted.fetch_add(1, Relaxed);
        acceptor.accept(stream)
    };
    let answer = move |request: Request<Incoming>| {
        let is_accepted = issuer.as_ref().is_none_or(|issuer| issuer.check(request.headers()).is_accepted());
        async move {
            if request.uri().path() == "/silent" {
                future::pending::<()>().await;
            }
            let mut response = Response::new(whole("here"));
            *response.status_mut() = if is_accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            response
        }
    };
    let upstream = Upstream::start_over(wrap, answer).await;
    let args = args.into_iter().chain(["--timeout", "1"].map(str::to_owned));
    let gateway = start(&format!("https://localhost:{}", upstream.address.port()), args).await;
    assert_eq!(get(&gateway.url).await.status, 200);
    (upstream, gateway, connections)
}

#[tokio::test]
async fn an_http_2_connection_with_a_request_that_timed_out_is_not_used_again() {
    let (_upstream, gateway, connections) = counted(None, vec!["--no-auth".to_owned()]).await;
    assert_eq!(get(&format!("{}/silent", gateway.url)).await.status, 504);
    assert_eq!(get(&gateway.url).await.text, "here");
    assert_eq!(connections.load(Relaxed), 2);
}

#[tokio::test]
async fn a_user_who_stops_in_an_upload_does_not_cost_the_upstream_its_connection() {
    let (_upstream, gateway, connections) = counted(None, vec!["--no-auth".to_owned()]).await;
    let (hand, body) = fed();
    hand.give("one");
    let request = Request::post(format!("{}/silent", gateway.url)).body(body).unwrap();
    assert_eq!(client().request(request).await.unwrap().status(), 504);
    assert_eq!(get(&gateway.url).await.text, "here");
    assert_eq!(connections.load(Relaxed), 1);
}

#[tokio::test]
async fn a_slow_issuer_does_not_cost_the_upstream_its_connection() {
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    let (_upstream, gateway, connections) = counted(Some(issuer.clone()), password_grant(&server)).await;
    let gate = issuer.hold();
    issuer.revoke_all();
    assert_eq!(get(&gateway.url).await.status, 504);
    gate.release();
    assert_eq!(get(&gateway.url).await.text, "here");
    assert_eq!(connections.load(Relaxed), 1);
}
