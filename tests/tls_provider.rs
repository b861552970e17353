//! The ready-made client uses the rustls provider that the program installed. This is a binary of its own, because a process
//! can install only one.
#![cfg(all(feature = "client", feature = "jwt"))]

use std::sync::Arc;

use rustls::{
    CipherSuite, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::Acceptor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::LazyConfigAcceptor;
use tower_bearer::{
    Reason, TokenSource,
    grant::{ClientAuth, ClientCredentials, HttpClient, SigningKey},
};

const CERTIFICATE: &[u8] = include_bytes!("data/localhost.pem");

/// What the client sent.
struct Received {
    offers_http2: bool,
    cipher_suite: CipherSuite,
    request: String,
}

/// Runs a token endpoint that answers one request, over HTTP/1.1.
async fn answer_once(listener: TcpListener) -> Received {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("data/localhost-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.unwrap();
    let offers_http2 = hello.client_hello().alpn().into_iter().flatten().any(|protocol| protocol == b"h2");
    let mut stream = hello.into_stream(Arc::new(config)).await.unwrap();
    let cipher_suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    let mut request = vec![0; 1 << 14];
    let mut length = 0;
    while !String::from_utf8_lossy(&request[..length]).contains("client_assertion=") {
        length += stream.read(&mut request[length..]).await.unwrap();
    }
    let body = r#"{"access_token":"t1","token_type":"Bearer"}"#;
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    Received { offers_http2, cipher_suite, request: String::from_utf8_lossy(&request[..length]).into_owned() }
}

#[tokio::test]
async fn the_installed_provider_is_used_and_http2_is_offered_with_its_feature_only() {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    provider.install_default().unwrap();
    assert_eq!(CryptoProvider::get_default().unwrap().cipher_suites.len(), 1);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/token", listener.local_addr().unwrap().port());
    let server = tokio::spawn(answer_once(listener));
    let http = HttpClient::builder().root_certificates(CERTIFICATE).build().unwrap();
    let grant = ClientCredentials::builder(url)
        .client_auth(ClientAuth::private_key_jwt("client1", SigningKey::pem(include_str!("data/rsa.pem"))))
        .build_with(http)
        .unwrap();
    assert_eq!(grant.obtain(Reason::First).await.unwrap().secret(), "t1");
    let received = server.await.unwrap();
    assert_eq!(received.cipher_suite, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    assert_eq!(received.offers_http2, cfg!(feature = "http2"));
    assert!(received.request.contains("client_assertion="), "{}", received.request);
}
