//! The proxy's side of TLS.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// A certificate that the gateway trusts, and one that it does not. Both are for `localhost`.
#[derive(Clone)]
pub struct Tls {
    trusted: TlsAcceptor,
    untrusted: TlsAcceptor,
}

impl Tls {
    pub fn new(protocols: &[&str]) -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            trusted: acceptor(&package.join("../data/localhost"), protocols),
            untrusted: acceptor(&package.join("data/untrusted"), protocols),
        }
    }

    /// Returns the path of the certificates that the gateway has to trust.
    pub fn ca_file() -> String {
        format!("{}/../data/localhost.pem", env!("CARGO_MANIFEST_DIR"))
    }

    pub fn acceptor(&self, untrusted: bool) -> &TlsAcceptor {
        if untrusted { &self.untrusted } else { &self.trusted }
    }
}

fn acceptor(stem: &Path, protocols: &[&str]) -> TlsAcceptor {
    let file = |end| format!("{}{end}", stem.display());
    let certificate = CertificateDer::from_pem_file(file(".pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(file("-key.pem")).expect("a key");
    let mut tls = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .and_then(|tls| tls.with_no_client_auth().with_single_cert(vec![certificate], key))
        .expect("a certificate and its key");
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(tls))
}
