//! TLS: which certificates are trusted and sent, and who computes.

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
use rustls::{
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
};
use tower_bearer::SecretString;

use crate::error::RedisStoreError;

/// The settings of TLS.
#[derive(Default)]
pub(crate) struct Tls {
    roots: Option<Vec<u8>>,
    client: Option<(Vec<u8>, SecretString)>,
}

impl Tls {
    pub(crate) fn with_roots(self, pem: Vec<u8>) -> Self {
        Self { roots: Some(pem), ..self }
    }

    pub(crate) fn with_client(self, certificate: Vec<u8>, key: SecretString) -> Self {
        Self { client: Some((certificate, key)), ..self }
    }

    /// Adds the certificates to the URLs, if they are of TLS.
    pub(crate) fn apply(self, urls: &mut [ConnectionInfo]) -> Result<(), RedisStoreError> {
        let with_tls = urls.iter().filter(|url| matches!(url.addr(), ConnectionAddr::TcpTls { .. })).count();
        if with_tls == 0 {
            let unused = self.roots.is_some() || self.client.is_some();
            let why = "certificates are set, but no URL begins with rediss://";
            return if unused { Err(RedisStoreError::config(why)) } else { Ok(()) };
        }
        if with_tls < urls.len() {
            return Err(RedisStoreError::config("all URLs must begin with rediss://, or none"));
        }
        provide_crypto()?;
        if self.roots.is_none() && self.client.is_none() {
            return Ok(());
        }
        let client_tls = self
            .client
            .map(|(client_cert, key)| ClientTlsConfig { client_cert, client_key: key.expose().as_bytes().to_vec() });
        if let Some(roots) = &self.roots
            && !CertificateDer::pem_slice_iter(roots).any(|certificate| certificate.is_ok())
        {
            return Err(RedisStoreError::config("the roots of TLS hold no certificate in PEM"));
        }
        let certificates = TlsCertificates { client_tls, root_cert: self.roots };
        for url in urls {
            let client = Client::build_with_tls(url.clone(), certificates.clone());
            let client =
                client.map_err(|_| RedisStoreError::config("a certificate or the key of TLS is not valid PEM"))?;
            *url = client.get_connection_info().clone();
        }
        Ok(())
    }
}

/// Without a provider, the first connection would panic.
fn provide_crypto() -> Result<(), RedisStoreError> {
    if CryptoProvider::get_default().is_none() {
        // It fails if another thread was faster.
        let _ = ring::default_provider().install_default();
    }
    let missing =
        || RedisStoreError::config("rustls has no crypto provider: install one by CryptoProvider::install_default");
    CryptoProvider::get_default().map(drop).ok_or_else(missing)
}
