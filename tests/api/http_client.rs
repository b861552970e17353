//! The ready-made client: proxies, client certificates, large heads and extra headers.

use std::{
    env,
    error::Error as _,
    process::Stdio,
    sync::{Arc, Mutex},
};

use http::{HeaderValue, header};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::Command,
};
use tokio_rustls::TlsAcceptor;
use tower_bearer::{
    Error, Reason, TokenSource,
    grant::{ClientAuth, ClientCredentials, HttpClient, HttpClientBuilder, PasswordGrant},
    testing::Issuer,
};

const CERTIFICATE: &[u8] = include_bytes!("../data/localhost.pem");
const KEY: &[u8] = include_bytes!("../data/localhost-key.pem");

/// The user and the password of the proxy, in its URL and in `Proxy-Authorization`.
const USER: &str = "proxy-user:proxy-s3cret@";
const BASIC: &str = "proxy-authorization: basic chjvehktdxnlcjpwcm94es1zm2nyzxq=";

type Heads = Arc<Mutex<Vec<String>>>;

/// Reads up to the end of the head, or with `body` up to the end of a body that has its length.
async fn read(stream: &mut (impl AsyncRead + Unpin), body: bool) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            if !body || read.len() >= end + 4 + length.unwrap_or(0) {
                return text;
            }
        }
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.unwrap_or(0);
        if length == 0 {
            return text;
        }
        read.extend_from_slice(&part[..length]);
    }
}

fn token_response(fields: &str) -> String {
    let body = r#"{"access_token":"t1","token_type":"Bearer"}"#;
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{fields}\r\n{body}")
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), fields: &str, seen: &Heads) {
    let request = read(stream, true).await;
    seen.lock().unwrap().push(request);
    let _ = stream.write_all(token_response(fields).as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Starts a token endpoint over TLS, which may require a certificate. Returns its URL and what it receives.
async fn token_endpoint(requires_certificate: bool) -> (String, Heads) {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().unwrap();
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = if requires_certificate { tls.with_client_cert_verifier(verifier) } else { tls.with_no_client_auth() };
    let tls = tls.with_single_cert(vec![certificate], PrivateKeyDer::from_pem_slice(KEY).unwrap()).unwrap();
    let tls = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/token", listener.local_addr().unwrap().port());
    let seen = Heads::default();
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = tls.accept(stream).await {
                answer(&mut stream, "", &shared).await;
            }
        }
    });
    (url, seen)
}

/// Starts a proxy. It makes tunnels to loopback, answers `refusal` if there is one, and answers other requests itself with a
/// token. Returns its host and port, and the heads that it receives.
async fn proxy(refusal: Option<&'static str>) -> (String, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Heads::default();
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&shared);
            tokio::spawn(async move {
                let head = read(&mut stream, false).await;
                seen.lock().unwrap().push(head.clone());
                if let Some(refusal) = refusal {
                    stream.write_all(refusal.as_bytes()).await.unwrap();
                } else if let Some(target) = head.strip_prefix("connect localhost:") {
                    let port = target.split(' ').next().unwrap().parse().unwrap();
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut server).await;
                } else {
                    let _ = stream.write_all(token_response("connection: close\r\n").as_bytes()).await;
                }
            });
        }
    });
    (address, seen)
}

async fn obtain(url: &str, http: HttpClientBuilder) -> Result<(), Error> {
    let grant = ClientCredentials::builder(url).client_auth(ClientAuth::post("client1", "client-s3cret"));
    let token = grant.build_with(http.build()?)?.obtain(Reason::First).await?;
    assert_eq!(token.secret(), "t1");
    Ok(())
}

fn builder() -> HttpClientBuilder {
    HttpClient::builder().root_certificates(CERTIFICATE)
}

/// Returns an error's text with those of its causes.
fn chain(error: &Error) -> String {
    let (mut texts, mut cause) = (vec![error.to_string()], error.source());
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.join(": ")
}

#[tokio::test]
async fn an_https_request_goes_through_a_tunnel_in_which_the_proxy_sees_no_secret() {
    let ((url, served), (address, seen)) = (token_endpoint(false).await, proxy(None).await);
    obtain(&url, builder().proxy(format!("http://{USER}{address}")).proxy_loopback(true)).await.unwrap();
    let authority = url.strip_prefix("https://").unwrap().strip_suffix("/token").unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with(&format!("connect {authority} http/1.1\r\n")), "{seen:?}");
    assert!(seen[0].contains(BASIC), "{seen:?}");
    let served = served.lock().unwrap();
    assert!(served[0].contains("client-s3cret") && !served[0].contains("proxy-authorization"), "{served:?}");
}

#[tokio::test]
async fn a_plain_http_request_is_sent_to_the_proxy_with_its_whole_url() {
    let (address, seen) = proxy(None).await;
    let http = builder().proxy(format!("{USER}{address}")).proxy_loopback(true);
    obtain("http://127.0.0.1:9/token", http).await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with("post http://127.0.0.1:9/token http/1.1\r\n") && seen[0].contains(BASIC), "{seen:?}");
}

#[tokio::test]
async fn loopback_is_never_reached_through_a_proxy_unless_asked() {
    let ((url, served), (address, seen)) = (token_endpoint(false).await, proxy(None).await);
    obtain(&url, builder().proxy(format!("http://{address}"))).await.unwrap();
    assert_eq!((served.lock().unwrap().len(), seen.lock().unwrap().len()), (1, 0));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let url = "https://auth.test/token";
    for refusal in ["HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\n\r\n", ""] {
        let (address, _) = proxy(Some(refusal)).await;
        let http = builder().proxy(format!("http://{USER}{address}"));
        assert!(!format!("{http:?}").contains("s3cret"), "{http:?}");
        let error = obtain(url, http).await.unwrap_err();
        let shown = format!("{} {error:?}", chain(&error));
        assert!(error.is_connect() && shown.contains(&format!("the proxy {address} did not connect")), "{shown}");
        assert_eq!(shown.contains("authorization required"), refusal.contains("407"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("cHJveHk"), "{shown}");
    }
}

#[test]
fn a_proxy_url_that_cannot_be_used_is_an_error_without_the_url() {
    for url in ["ftp://s3cret.test", "socks5://s3cret.test", "http://s3cret test"] {
        let error = HttpClient::builder().proxy(url).build().unwrap_err();
        assert!(error.is_config() && !error.to_string().contains("s3cret"), "{error}");
    }
}

/// A small compressed answer can be a very large one.
#[tokio::test]
async fn the_ready_made_client_asks_for_no_compression() {
    let (url, seen) = token_endpoint(false).await;
    obtain(&url, builder().no_proxy()).await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.len() == 1 && seen[0].contains("accept: application/json"), "{seen:?}");
    assert!(!seen[0].contains("accept-encoding"), "{seen:?}");
}

/// Not a test of its own: it runs as a process with an environment that names a proxy.
#[tokio::test]
#[ignore = "the tests below start it"]
async fn asks_for_a_token() {
    let Ok(url) = env::var("TEST_TOKEN_URL") else { return };
    let http = if env::var_os("TEST_NO_PROXY").is_some() { builder().no_proxy() } else { builder() };
    let _ = obtain(&url, http).await;
}

/// Returns how many requests a proxy of the environment sees.
async fn seen_with(environment: &[(&str, &str)], url: &str) -> Vec<String> {
    let (address, seen) = proxy(Some("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    let mut child = Command::new(env::current_exe().unwrap());
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"] {
        child.env_remove(name).env_remove(name.to_lowercase());
    }
    for (name, value) in environment {
        child.env(name, value.replace("PROXY", &format!("{USER}{address}")));
    }
    child.env("TEST_TOKEN_URL", url).args(["--ignored", "--exact", "http_client::asks_for_a_token"]);
    let status = child.stdout(Stdio::null()).stderr(Stdio::null()).status().await.unwrap();
    assert!(status.success());
    let seen = seen.lock().unwrap();
    seen.iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_environment_names_the_proxy_and_who_is_reached_without_it() {
    let url = "https://auth.invalid/token";
    let tunnel = ["connect auth.invalid:443 http/1.1"];
    assert_eq!(seen_with(&[("HTTPS_PROXY", "http://PROXY")], url).await, tunnel);
    assert_eq!(seen_with(&[("https_proxy", "PROXY"), ("NO_PROXY", "other.test")], url).await, tunnel);
    let none: [&str; 0] = [];
    assert_eq!(seen_with(&[("HTTP_PROXY", "http://PROXY")], url).await, none);
    assert_eq!(seen_with(&[("HTTPS_PROXY", "http://PROXY"), ("NO_PROXY", "invalid")], url).await, none);
    assert_eq!(seen_with(&[("HTTPS_PROXY", "http://PROXY"), ("TEST_NO_PROXY", "1")], url).await, none);
    let (local, served) = token_endpoint(false).await;
    assert_eq!(seen_with(&[("HTTPS_PROXY", "http://PROXY")], &local).await, none);
    assert_eq!(served.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_authenticates_by_its_certificate_in_the_handshake() {
    let (url, served) = token_endpoint(true).await;
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap().to_vec();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap().secret_der().to_vec();
    let both = [CERTIFICATE, KEY].concat();
    for http in [
        builder().client_certificate(CERTIFICATE, KEY),
        builder().client_certificate(both.clone(), both),
        builder().client_certificate_der(vec![certificate], key),
    ] {
        assert!(format!("{http:?}").contains("ClientCertificate([redacted])"), "{http:?}");
        let grant = ClientCredentials::builder(&*url).client_auth(ClientAuth::tls_client_auth("client1"));
        let grant = grant.build_with(http.build().unwrap()).unwrap();
        assert_eq!(grant.obtain(Reason::First).await.unwrap().secret(), "t1");
        let request = served.lock().unwrap().pop().unwrap();
        assert!(request.ends_with("grant_type=client_credentials&client_id=client1"), "{request}");
        assert!(!request.contains("authorization"), "{request}");
    }
    assert!(obtain(&url, builder()).await.is_err(), "the server requires a certificate");
}

#[test]
fn a_certificate_that_cannot_be_used_is_an_error_when_the_client_is_built() {
    let other_key = include_bytes!("../data/p256.pem");
    let pem = |chain: &[u8], key: &[u8]| builder().client_certificate(chain, key).build().unwrap_err().to_string();
    for (error, part) in [
        (pem(KEY, KEY), "the client certificate cannot be read"),
        (pem(CERTIFICATE, CERTIFICATE), "the private key of the client certificate cannot be read"),
        (pem(CERTIFICATE, other_key), "belong together"),
        (builder().client_certificate_der(vec![], KEY).build().unwrap_err().to_string(), "is missing"),
        (builder().client_certificate_der(vec![vec![1]], *b"x").build().unwrap_err().to_string(), "PKCS#8"),
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_response_with_900_fields_in_64_kib_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let fields: Vec<_> = (0..900).map(|number| format!("x-{number:03}: {}\r\n", "x".repeat(64))).collect();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, &fields.concat(), &Heads::default()).await;
    });
    obtain(&url, builder()).await.unwrap();
}

#[tokio::test]
async fn extra_headers_are_on_token_and_revocation_requests_and_are_not_shown() {
    let issuer = Issuer::new();
    let listening = issuer.listen().await.unwrap();
    let builder = PasswordGrant::builder(listening.token_url())
        .credentials("user1", "user-password")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .revocation_url(listening.url("/revoke"))
        .header("ocp-apim-subscription-key".parse().unwrap(), HeaderValue::from_static("s3cret-key"))
        .header(header::ACCEPT, HeaderValue::from_static("*/*"));
    assert!(!format!("{builder:?}").contains("s3cret-key"), "{builder:?}");
    let grant = builder.build().unwrap();
    assert!(!format!("{grant:?}").contains("s3cret-key"), "{grant:?}");
    let token = grant.obtain(Reason::First).await.unwrap();
    let first = issuer.last_request().unwrap();
    assert_eq!((first.header("ocp-apim-subscription-key"), first.header("accept")), (Some("s3cret-key"), Some("*/*")));

    grant.revoke(&token).await.unwrap();
    let revocation = issuer.last_request().unwrap();
    assert_eq!((issuer.counts().revocations, revocation.header("ocp-apim-subscription-key")), (1, Some("s3cret-key")));

    issuer.answer_next(serde_json::json!({ "error": "key S3CRET-KEY" }));
    let error = grant.obtain(Reason::First).await.unwrap_err();
    assert!(!chain(&error).to_lowercase().contains("s3cret-key"), "{}", chain(&error));
}

#[test]
fn a_header_that_the_grant_sets_cannot_be_an_extra_header() {
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE, header::HOST, header::CONTENT_LENGTH] {
        let builder = PasswordGrant::builder("https://auth.test/token")
            .credentials("user1", "user-password")
            .client_auth(ClientAuth::none("client1"))
            .header(name.clone(), HeaderValue::from_static("s3cret"));
        let error = builder.build().unwrap_err();
        assert!(error.is_config() && error.to_string().contains(name.as_str()), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
