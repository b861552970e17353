//! TLS with a certificate of a private authority.

use std::{fs, path::Path};

use tower_bearer::store::TokenStore;
use tower_bearer_redis::RedisStore;

use crate::{
    server::{Server, Version},
    support::{commit, given, key, owner, record},
};

#[tokio::test]
async fn only_the_named_roots_are_trusted() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let (certificate, private) = (data.join("localhost.pem"), data.join("localhost-key.pem"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port_text, certificate_text) = (port.to_string(), certificate.display().to_string());
    let arguments = [
        "--tls-port",
        &port_text,
        "--tls-cert-file",
        &certificate_text,
        "--tls-key-file",
        &private.display().to_string(),
        "--tls-ca-cert-file",
        &certificate_text,
        "--tls-auth-clients",
        "optional",
    ];
    let Some(_server) = Server::start(Version::Redis7, &arguments) else { return };
    let url = format!("rediss://localhost:{port}");
    let pem = fs::read(&certificate).unwrap();

    let store = RedisStore::builder(&url).tls_roots(pem.clone()).build().unwrap();
    let key = key();
    let lease = given(&store, key, owner()).await;
    assert!(commit(&store, key, lease, b"record").await.unwrap());
    assert_eq!(record(&store, key).await.as_deref(), Some(&b"record"[..]));

    let with_certificate = RedisStore::builder(&url).tls_roots(pem.clone());
    let with_certificate = with_certificate.tls_client(pem, fs::read_to_string(&private).unwrap()).build().unwrap();
    assert_eq!(record(&with_certificate, key).await.as_deref(), Some(&b"record"[..]));

    let error = RedisStore::new(&url).unwrap().load(key).await.unwrap_err().to_string();
    assert!(error.contains("the TLS connection to the Redis server failed: invalid peer certificate"), "{error}");
    let error = RedisStore::new(&format!("redis://localhost:{port}")).unwrap().load(key).await.unwrap_err().to_string();
    assert!(error.contains("the connection to the Redis server failed"), "{error}");
}

#[test]
fn certificates_that_are_wrong_or_of_no_use_are_refused() {
    let error = RedisStore::builder("rediss://localhost").tls_roots("no PEM").build().unwrap_err();
    assert!(error.to_string().ends_with("the roots of TLS hold no certificate in PEM"), "{error}");
    let error = RedisStore::builder("rediss://localhost").tls_client("no PEM", "no PEM").build().unwrap_err();
    assert!(error.to_string().ends_with("a certificate or the key of TLS is not valid PEM"), "{error}");
    let error = RedisStore::builder("redis://localhost").tls_roots("no PEM").build().unwrap_err();
    assert!(error.to_string().ends_with("certificates are set, but no URL begins with rediss://"), "{error}");
    let error = RedisStore::builder("rediss://localhost,redis://localhost").build().unwrap_err();
    assert!(error.to_string().ends_with("all URLs must begin with rediss://, or none"), "{error}");
}
