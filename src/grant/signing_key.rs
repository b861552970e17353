//! The key that signs assertions.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, EncodingKey,
    crypto::{JwtSigner, aws_lc},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{error::Error, grant::secret::Secret};

/// In bytes, as many as the hash has (RFC 7518 §3.2).
const LEAST_SECRET: usize = 32;

/// How to sign with a private key (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the registered names say it")]
pub enum SigningAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// A private key that signs assertions, with the algorithm and the `kid` that go with it.
///
/// From PEM text: PKCS#8 (`PRIVATE KEY`) for RSA, P-256, P-384 and Ed25519, PKCS#1 (`RSA PRIVATE KEY`). Text that is given
/// as such is checked when the grant is built; a [file](Secret::file) is read and checked for each signature, so that a new
/// key needs no restart.
///
/// ```
/// use tower_bearer::grant::{ClientAuth, Secret, SigningKey};
///
/// let key = SigningKey::pem(Secret::file("/run/secrets/key.pem")).key_id("2026-01");
/// let auth = ClientAuth::private_key_jwt("client-id", key);
/// ```
#[derive(Clone, Debug)]
pub struct SigningKey {
    secret: Secret,
    is_shared: bool,
    algorithm: Option<SigningAlgorithm>,
    for_rsa: SigningAlgorithm,
    key_id: Option<String>,
    needs_key_id: bool,
}

impl SigningKey {
    /// A private key in PEM form.
    pub fn pem(pem: impl Into<Secret>) -> Self {
        Self {
            secret: pem.into(),
            is_shared: false,
            algorithm: None,
            for_rsa: SigningAlgorithm::RS256,
            key_id: None,
            needs_key_id: false,
        }
    }

    /// A secret that the server has as well.
    pub(crate) fn hmac(secret: impl Into<Secret>) -> Self {
        Self { is_shared: true, ..Self::pem(secret) }
    }

    /// How to sign. Default: by the key, RS256, ES256, ES384 or EdDSA; for
    /// [Backend Services](crate::grant::ClientCredentials::backend_services) RS384 instead of RS256.
    #[must_use]
    pub fn algorithm(mut self, algorithm: SigningAlgorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// The key's name in the key set that the server has (`kid`). Default: none.
    #[must_use]
    pub fn key_id(mut self, id: impl Into<String>) -> Self {
        self.key_id = Some(id.into());
        self
    }

    /// SMART App Launch 2.2, "Authenticating to the Token Endpoint": RS384 or ES384, and the `kid` is required.
    pub(crate) fn for_backend_services(mut self) -> Self {
        self.for_rsa = SigningAlgorithm::RS384;
        self.needs_key_id = true;
        self
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub(crate) fn version(&self) -> u64 {
        self.secret.version()
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.needs_key_id && self.key_id.as_ref().is_none_or(String::is_empty) {
            return Err(Error::config("SMART Backend Services want the key's `kid` in the assertion: call `key_id`"));
        }
        match self.secret.here() {
            Some(secret) => self.signer(secret)?.try_sign(b"").map(drop).map_err(|_| unusable()),
            None => Ok(()),
        }
    }

    /// A compact JWS over the claims (RFC 7515 §7.1), its parts put together here: jsonwebtoken's own `encode` asks for a
    /// process-wide provider of cryptography, and panics when a program's features enable two.
    pub(crate) async fn sign(&self, claims: &Value) -> Result<SecretString, Error> {
        let secret = self.secret.read().await?;
        let signer = self.signer(secret.expose_secret())?;
        let mut header = json!({ "alg": signer.algorithm(), "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = id.as_str().into();
        }
        let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = signer.try_sign(message.as_bytes()).map_err(|_| unusable())?;
        Ok(format!("{message}.{}", BASE64.encode(signature)).into())
    }

    fn signer(&self, secret: &str) -> Result<Box<dyn JwtSigner>, Error> {
        if self.is_shared && secret.len() < LEAST_SECRET {
            return Err(Error::config(
                "the client secret is too short for HS256, which wants 32 bytes (RFC 7518 §3.2): \
                 use a longer one, or `ClientAuth::basic`",
            ));
        }
        let key = if self.is_shared { EncodingKey::from_secret(secret.as_bytes()) } else { private_key(secret)? };
        let candidates = match (self.algorithm, key.family()) {
            (_, AlgorithmFamily::Hmac) => vec![Algorithm::HS256],
            (Some(algorithm), _) => vec![algorithm.into()],
            (None, AlgorithmFamily::Rsa) => vec![self.for_rsa.into()],
            // By the curve: each refuses the other's keys.
            (None, family) => family.algorithms().to_vec(),
        };
        let mut signers = candidates.iter().map(|algorithm| (aws_lc::DEFAULT_PROVIDER.signer_factory)(algorithm, &key));
        signers.find_map(Result::ok).ok_or_else(|| match self.algorithm {
            Some(algorithm) => Error::config(format!(
                "the key cannot sign by {algorithm:?}: leave the algorithm out, or give a key that fits"
            )),
            None => unusable(),
        })
    }
}

fn private_key(pem: &str) -> Result<EncodingKey, Error> {
    let advice = if pem.contains("BEGIN EC PRIVATE KEY") {
        "the private key is in SEC1 form: convert it by `openssl pkcs8 -topk8 -nocrypt -in key.pem`"
    } else if pem.contains("ENCRYPTED") {
        "the private key is encrypted: decrypt it by `openssl pkey -in key.pem`"
    } else if !pem.contains("PRIVATE KEY-----") {
        "there is no private key: give PEM text with a PRIVATE KEY block, not a certificate or a public key"
    } else {
        let bytes = pem.as_bytes();
        return EncodingKey::from_rsa_pem(bytes)
            .or_else(|_| EncodingKey::from_ec_pem(bytes))
            .or_else(|_| EncodingKey::from_ed_pem(bytes))
            .map_err(|_| unusable());
    };
    Err(Error::config(advice))
}

fn unusable() -> Error {
    Error::config(
        "the private key cannot be used: give an unencrypted PEM key, RSA of at least 2048 bits, P-256, P-384 or Ed25519",
    )
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::RS256 => Self::RS256,
            SigningAlgorithm::RS384 => Self::RS384,
            SigningAlgorithm::RS512 => Self::RS512,
            SigningAlgorithm::PS256 => Self::PS256,
            SigningAlgorithm::PS384 => Self::PS384,
            SigningAlgorithm::PS512 => Self::PS512,
            SigningAlgorithm::ES256 => Self::ES256,
            SigningAlgorithm::ES384 => Self::ES384,
            SigningAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}
