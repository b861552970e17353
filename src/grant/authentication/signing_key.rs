//! The key that signs assertions.

use std::hash::{Hash, Hasher};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Map, Value, json};

use crate::{
    error::Error,
    grant::{
        authentication::signer::{PrivateKey, sign_hs256},
        secrets::secret::Secret,
    },
    secret_string::SecretString,
    verify::algorithm::SigningAlgorithm,
};

/// The shortest secret for HS256, in bytes: the length of the hash (RFC 7518 §3.2).
const MIN_SECRET: usize = 32;

/// A private key that signs assertions, with its algorithm and its `kid`.
///
/// The key is PEM text: PKCS#8 (`PRIVATE KEY`) for RSA, P-256, P-384 and Ed25519, or PKCS#1 (`RSA PRIVATE KEY`). Other text
/// and certificates may come before it, and its line ends may be written out (`\n`). RSA keys
/// have 2048, 3072 or 4096 bits, and a public exponent of 65537 or more. EC keys name their curve and contain their public key,
/// as OpenSSL writes them.
///
/// A key that is given as text is checked when the grant is built. A [file](Secret::file) is read and checked for each
/// signature, so a new key needs no restart.
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
    /// Whether the secret is the client secret, for HS256, and not a private key.
    is_client_secret: bool,
    algorithm: Option<SigningAlgorithm>,
    default_for_rsa: SigningAlgorithm,
    key_id: Option<String>,
    requires_key_id: bool,
}

impl SigningKey {
    /// Creates a signing key from a private key in PEM form.
    pub fn pem(pem: impl Into<Secret>) -> Self {
        Self {
            secret: pem.into(),
            is_client_secret: false,
            algorithm: None,
            default_for_rsa: SigningAlgorithm::RS256,
            key_id: None,
            requires_key_id: false,
        }
    }

    /// Creates a signing key from the client secret, for HS256.
    pub(crate) fn client_secret(secret: impl Into<Secret>) -> Self {
        Self { is_client_secret: true, ..Self::pem(secret) }
    }

    /// Sets the algorithm. Default: RS256, ES256, ES384 or EdDSA, depending on the key;
    /// [Backend Services](crate::grant::ClientCredentials::backend_services) use RS384 instead of RS256.
    #[must_use]
    pub fn algorithm(mut self, algorithm: SigningAlgorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Sets the name of the key in the key set that the server has (`kid`). Default: none.
    #[must_use]
    pub fn key_id(mut self, id: impl Into<String>) -> Self {
        self.key_id = Some(id.into());
        self
    }

    /// Applies the rules of SMART App Launch 2.2, "Authenticating to the Token Endpoint": RS384 or ES384, and a `kid`.
    pub(crate) fn for_backend_services(mut self) -> Self {
        self.default_for_rsa = SigningAlgorithm::RS384;
        self.requires_key_id = true;
        self
    }

    /// Returns whether it is for SMART Backend Services.
    pub(crate) fn is_for_backend_services(&self) -> bool {
        self.requires_key_id
    }

    pub(crate) fn is_client_secret(&self) -> bool {
        self.is_client_secret
    }

    /// Hashes what identifies the key.
    pub(crate) fn hash_identity(&self, hash: &mut impl Hasher) {
        self.key_id.hash(hash);
        self.secret.hash_identity(hash);
    }

    pub(crate) async fn proof(&self) -> Result<SecretString, Error> {
        self.secret.proof().await
    }

    pub(crate) fn version(&self) -> u64 {
        self.secret.version()
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.requires_key_id && self.key_id.as_ref().is_none_or(String::is_empty) {
            return Err(Error::config("SMART Backend Services require the `kid` of the key: call `key_id`"));
        }
        match self.secret.in_memory() {
            Some(secret) if self.is_client_secret => check_client_secret(secret),
            Some(secret) => self.private_key(secret).map(drop),
            None => Ok(()),
        }
    }

    /// Signs the claims. Returns a compact JWS (RFC 7515 §7.1). `header` has the parameters besides `alg` and `kid`.
    pub(crate) async fn sign(&self, header: &Map<String, Value>, claims: &Value) -> Result<SecretString, Error> {
        let secret = self.secret.read().await?;
        if self.is_client_secret {
            check_client_secret(secret.expose())?;
            return self.jws("HS256", header, claims, |message| Some(sign_hs256(secret.expose().as_bytes(), message)));
        }
        let (key, algorithm) = self.private_key(secret.expose())?;
        self.jws(&format!("{algorithm:?}"), header, claims, |message| key.sign(algorithm, message))
    }

    fn jws(
        &self,
        algorithm: &str,
        more: &Map<String, Value>,
        claims: &Value,
        sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<SecretString, Error> {
        let mut header = json!({ "alg": algorithm });
        if let Some(id) = &self.key_id {
            header["kid"] = id.as_str().into();
        }
        for (name, value) in more {
            header[name] = value.clone();
        }
        let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = sign(message.as_bytes()).ok_or_else(unusable_key)?;
        Ok(format!("{message}.{}", BASE64.encode(signature)).into())
    }

    fn private_key(&self, pem: &str) -> Result<(PrivateKey, SigningAlgorithm), Error> {
        let key = PrivateKey::from_pem(pem).ok_or_else(|| unsupported_form(pem))?;
        let algorithm = self.algorithm.unwrap_or_else(|| key.default_algorithm(self.default_for_rsa));
        if key.supports(algorithm) {
            return Ok((key, algorithm));
        }
        Err(Error::config(format!(
            "the private key cannot sign with {algorithm:?}: do not set an algorithm, or give a key of the right kind"
        )))
    }
}

fn check_client_secret(secret: &str) -> Result<(), Error> {
    if secret.len() >= MIN_SECRET {
        return Ok(());
    }
    Err(Error::config(
        "the client secret is too short for HS256, which requires 32 bytes (RFC 7518 §3.2): use a longer one, or \
         `ClientAuth::basic`",
    ))
}

/// The PEM blocks that are commonly given in place of a private key.
const OTHER_BLOCKS: [(&str, &str); 6] = [
    ("BEGIN CERTIFICATE-----", "a certificate"),
    ("BEGIN TRUSTED CERTIFICATE-----", "a certificate"),
    ("BEGIN CERTIFICATE REQUEST-----", "a certificate request"),
    ("BEGIN PUBLIC KEY-----", "a public key"),
    ("BEGIN RSA PUBLIC KEY-----", "a public key"),
    ("BEGIN DSA PRIVATE KEY-----", "a DSA key"),
];

/// Says why a text has no key that can be used: what was found in it, and what to do. It does not show the content.
fn unsupported_form(pem: &str) -> Error {
    let found = OTHER_BLOCKS.iter().find(|(block, _)| pem.contains(block)).map(|(_, name)| *name);
    let text = pem.trim();
    Error::config(if pem.contains("BEGIN EC PRIVATE KEY") {
        "the private key is in SEC1 form: convert it with `openssl pkcs8 -topk8 -nocrypt -in key.pem`".to_owned()
    } else if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        "the private key is encrypted: decrypt it with `openssl pkey -in key.pem`".to_owned()
    } else if pem.contains("BEGIN OPENSSH PRIVATE KEY") {
        "the private key is in OpenSSH's own form: convert it with `ssh-keygen -p -m PKCS8 -f key`".to_owned()
    } else if pem.contains("BEGIN PRIVATE KEY-----") || pem.contains("BEGIN RSA PRIVATE KEY-----") {
        return unusable_key();
    } else {
        let found = match found {
            Some(found) => format!("only {found}"),
            None if text.is_empty() => "nothing in it".to_owned(),
            None if text.starts_with('{') => "JSON, perhaps a JWK".to_owned(),
            None if is_path(text) => "perhaps the path of a file, which is given as `Secret::file`".to_owned(),
            None => "no PEM block".to_owned(),
        };
        format!(
            "the text has no private key ({found}): give PEM text with a PRIVATE KEY block, not a certificate or a public key"
        )
    })
}

fn is_path(text: &str) -> bool {
    let is_named = [".pem", ".key"].iter().any(|end| text.ends_with(end));
    text.lines().count() == 1 && (is_named || text.starts_with(['/', '~']) || text.starts_with("./"))
}

fn unusable_key() -> Error {
    Error::config(
        "the private key cannot be used: give an unencrypted PEM key that is RSA with 2048 bits, 3072 or 4096 bits, \
         P-256 or P-384 with its public key in it, or Ed25519",
    )
}
