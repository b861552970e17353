//! The settings of the ready-made client.

use std::{sync::Arc, time::Duration};

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{error::Error, grant::exchange::http_client::HttpClient};

/// Settings of an [`HttpClient`]; each method states its default.
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct HttpClientBuilder {
    connect_deadline: Duration,
    deadline: Duration,
    extra_roots: Vec<Vec<u8>>,
}

impl HttpClient {
    /// Returns a builder for a client with your own settings.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder {
            connect_deadline: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
            extra_roots: Vec::new(),
        }
    }
}

impl HttpClientBuilder {
    /// Sets how long to wait for a TCP connection. Default: 5 s. All time counts, but a connection that was made meanwhile is
    /// used.
    pub fn connect_deadline(mut self, deadline: Duration) -> Self {
        self.connect_deadline = deadline;
        self
    }

    /// Sets how long to wait for the head of the response, including the connection and TLS. Default: 10 s. Only the time
    /// counts in which the runtime is driven. The
    /// [grant's deadline](crate::grant::PasswordGrantBuilder::deadline) includes the body as well.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Trusts more root certificates, in PEM form, such as those of a company's own authority. May be called several times.
    /// Default: none.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.extra_roots.push(pem.into());
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    /// When a certificate given by [`root_certificates`](Self::root_certificates) cannot be read, or when the process's
    /// `CryptoProvider` supports no version of TLS that is enabled.
    pub fn build(self) -> Result<HttpClient, Error> {
        let provider = CryptoProvider::get_default().cloned();
        let tls = tls_config(provider.unwrap_or_else(|| ring::default_provider().into()), self.roots()?)?;
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(self.connect_deadline));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        #[cfg(feature = "http2")]
        let connector = connector.enable_http2();
        let connector = connector.wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(HttpClient { client, deadline: self.deadline })
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        #[cfg(feature = "webpki-roots")]
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        #[cfg(feature = "system-roots")]
        for certificate in rustls_native_certs::load_native_certs().certs {
            // Certificate stores often contain some that cannot be used. The others are enough.
            let _ = roots.add(certificate);
        }
        let unreadable = || Error::config("a root certificate cannot be read: give PEM text with a CERTIFICATE block");
        for pem in &self.extra_roots {
            let before = roots.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(|_| unreadable())?).map_err(|_| unreadable())?;
            }
            if roots.len() == before {
                return Err(unreadable());
            }
        }
        if roots.is_empty() {
            tracing::warn!("no root certificates were found: every request to an https token URL will fail");
        }
        Ok(roots)
    }
}

fn tls_config(provider: Arc<CryptoProvider>, roots: RootCertStore) -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|_| {
        Error::config(
            "the process's rustls CryptoProvider supports neither TLS 1.2 nor TLS 1.3: install another one, or give the \
             grant your own HTTP client",
        )
    })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_without_cipher_suites_is_an_error_and_not_a_panic() {
        let provider = CryptoProvider { cipher_suites: Vec::new(), ..ring::default_provider() };
        let error = tls_config(provider.into(), RootCertStore::empty()).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("CryptoProvider"), "{error}");
    }
}
