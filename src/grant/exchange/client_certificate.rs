//! The certificate by which a client authenticates in the TLS handshake (RFC 8705).

use std::fmt;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::error::Error;

/// A certificate chain and its private key. `Debug` shows neither.
pub(crate) enum ClientCertificate {
    Pem { chain: Zeroizing<Vec<u8>>, key: Zeroizing<Vec<u8>> },
    Der { chain: Vec<Vec<u8>>, key: Zeroizing<Vec<u8>> },
}

impl ClientCertificate {
    /// Returns the chain, which begins with the client's certificate, and the key.
    pub(crate) fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let (chain, key) = match self {
            Self::Pem { chain, key } => {
                let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
                let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
                    Error::config("the client certificate cannot be read: give PEM text with a CERTIFICATE block")
                })?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
                    Error::config(
                        "the private key of the client certificate cannot be read: give PEM text with a PRIVATE KEY, EC \
                         PRIVATE KEY or RSA PRIVATE KEY block that is not encrypted",
                    )
                })?;
                (chain, key)
            }
            Self::Der { chain, key } => {
                if chain.is_empty() {
                    return Err(Error::config("the client certificate is missing: give at least one in DER"));
                }
                let key = PrivateKeyDer::try_from(key.to_vec()).map_err(|_| {
                    Error::config(
                        "the private key of the client certificate cannot be read: give PKCS#8, PKCS#1 or SEC 1 in DER",
                    )
                })?;
                (chain.iter().map(|certificate| certificate.clone().into()).collect(), key)
            }
        };
        Ok((chain, key))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate([redacted])")
    }
}
