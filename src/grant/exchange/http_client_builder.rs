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

use zeroize::Zeroizing;

use crate::{
    error::Error,
    events,
    grant::exchange::{
        client_certificate::ClientCertificate,
        http_client::HttpClient,
        http_connector::ProxyConnector,
        http_proxy::{ProxyRules, ProxySetting},
    },
    secret_string::SecretString,
};

/// The most header fields of a response. Hyper's default is 100.
const MAX_FIELDS: usize = 1_000;

/// The largest head of a response over HTTP/2, in bytes. Hyper's default is 16 KiB. For HTTP/1.1 its default is 400 KiB.
#[cfg(feature = "http2")]
const MAX_HEAD: u32 = 256 * 1024;

/// Settings of an [`HttpClient`]; each method states its default.
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct HttpClientBuilder {
    connect_deadline: Duration,
    deadline: Duration,
    extra_roots: Vec<Vec<u8>>,
    client_certificate: Option<ClientCertificate>,
    proxy: ProxySetting,
    proxy_loopback: bool,
}

impl HttpClient {
    /// Returns a builder for a client with your own settings.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder {
            connect_deadline: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
            extra_roots: Vec::new(),
            client_certificate: None,
            proxy: ProxySetting::default(),
            proxy_loopback: false,
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

    /// Sends the requests through this proxy: an `http` or `https` URL, which may have a user and a password in it. Default: the
    /// proxy that the environment names. `NO_PROXY` does not apply to a proxy that is set here.
    ///
    /// ```
    /// # #[cfg(feature = "client")]
    /// # fn main() -> Result<(), tower_bearer::Error> {
    /// use tower_bearer::grant::HttpClient;
    ///
    /// let http = HttpClient::builder().proxy("http://user:s3cret@proxy.example.org:3128");
    /// assert!(!format!("{http:?}").contains("s3cret"));
    /// let http = http.build()?;
    /// # drop(http);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "client"))]
    /// # fn main() {}
    /// ```
    pub fn proxy(mut self, url: impl Into<SecretString>) -> Self {
        self.proxy = ProxySetting::Url(url.into());
        self
    }

    /// Connects directly, also if the environment names a proxy. Default: off.
    pub fn no_proxy(mut self) -> Self {
        self.proxy = ProxySetting::Off;
        self
    }

    /// Uses the proxy for loopback addresses and `localhost` as well. Default: off.
    pub fn proxy_loopback(mut self, on: bool) -> Self {
        self.proxy_loopback = on;
        self
    }

    /// Authenticates the client in the TLS handshake by a certificate: PEM text with the chain, which begins with the client's
    /// own certificate, and PEM text with its private key. Both may be the same text. Default: none.
    ///
    /// [`ClientAuth::tls_client_auth`](crate::grant::ClientAuth::tls_client_auth) makes it the client's authentication at the
    /// authorization server (RFC 8705 §2). A proxy does not receive it.
    pub fn client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let (chain, key) = (Zeroizing::new(chain.into()), Zeroizing::new(key.into()));
        self.client_certificate = Some(ClientCertificate::Pem { chain, key });
        self
    }

    /// Does the same as [`client_certificate`](Self::client_certificate) with certificates and a key in DER form. The key is
    /// PKCS#8, PKCS#1 or SEC 1. Default: none.
    pub fn client_certificate_der(mut self, chain: Vec<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.client_certificate = Some(ClientCertificate::Der { chain, key: Zeroizing::new(key.into()) });
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    /// When a certificate or the private key cannot be read, when these two do not fit together, when the URL given to
    /// [`proxy`](Self::proxy) cannot be used, or when the process's `CryptoProvider` supports no version of TLS that is
    /// enabled.
    pub fn build(self) -> Result<HttpClient, Error> {
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| ring::default_provider().into());
        let roots = Arc::new(self.roots()?);
        let tls = tls_config(Arc::clone(&provider), Arc::clone(&roots), self.client_certificate.as_ref())?;
        let rules = ProxyRules::new(&self.proxy, self.proxy_loopback)?.map(Arc::new);
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(self.connect_deadline));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let to_proxy = HttpsConnectorBuilder::new().with_tls_config(tls_config(provider, roots, None)?);
        let to_proxy = to_proxy.https_or_http().enable_http1().wrap_connector(tcp.clone());
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        #[cfg(feature = "http2")]
        let connector = connector.enable_http2();
        let connector = connector.wrap_connector(ProxyConnector { tcp, to_proxy, rules: rules.clone() });
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_max_idle_per_host(0).http1_max_headers(MAX_FIELDS);
        #[cfg(feature = "http2")]
        client.http2_max_header_list_size(MAX_HEAD);
        Ok(HttpClient { client: client.build(connector), rules, deadline: self.deadline })
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
            events::no_root_certificates();
        }
        Ok(roots)
    }
}

fn tls_config(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    client: Option<&ClientCertificate>,
) -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|_| {
        Error::config(
            "the process's rustls CryptoProvider supports neither TLS 1.2 nor TLS 1.3: install another one, or give the \
             grant your own HTTP client",
        )
    })?;
    let config = config.with_root_certificates(roots);
    let Some(client) = client else { return Ok(config.with_no_client_auth()) };
    let (chain, key) = client.read()?;
    config.with_client_auth_cert(chain, key).map_err(|_| {
        Error::config(
            "the client certificate and its private key cannot be used: check that they belong together, and that the key is \
             RSA (2048 bits or more), ECDSA or Ed25519",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_without_cipher_suites_is_an_error_and_not_a_panic() {
        let provider = CryptoProvider { cipher_suites: Vec::new(), ..ring::default_provider() };
        let error = tls_config(provider.into(), RootCertStore::empty().into(), None).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("CryptoProvider"), "{error}");
    }
}
