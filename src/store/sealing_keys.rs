//! Sealing with XChaCha20-Poly1305, by keys that are given.

use std::{fmt, sync::Arc};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{
    error::Error,
    secret_string::SecretString,
    store::{sealing::Sealing, store_error::StoreError},
};

/// The format of what is sealed here.
const VERSION: u8 = 1;
const ID_LENGTH: usize = 4;
const NONCE_LENGTH: usize = 24;
const HEAD_LENGTH: usize = 1 + ID_LENGTH;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// One key of 32 bytes, for [`SealingKeys`].
///
/// `openssl rand -base64 32` makes one. `Debug` does not show it.
#[derive(Clone)]
pub struct SealingKey {
    id: [u8; ID_LENGTH],
    seals: XChaCha20Poly1305,
    hashes: hmac::Key,
}

/// Seals records with XChaCha20-Poly1305 and random nonces (feature `sealing`).
///
/// One key seals, and several can open, so keys can be rotated while the processes of a fleet run:
///
/// 1. Give all processes the new key with [`opens_with`](Self::opens_with). The old one seals.
/// 2. Let the new key seal and the old one open. Give the old key to [`names_with`](Self::names_with) as well.
/// 3. When the last record that the old key sealed is over, leave out `opens_with`.
///
/// Finish a step in all processes before you begin the next one. A renewal seals the record with the new key. So the last record of
/// the old one is over after the longest lifetime of a token, or after 60 days if records have refresh tokens and are not renewed.
/// A key that is left out earlier costs one token request for each record that it sealed, and the refresh token in it:
/// [`StoreStatus::unreadable`](crate::store::StoreStatus::unreadable) counts these.
///
/// The key of the names stays. With it alone, one can only check a guess whose tokens a record holds, and not open it. If it
/// changes, each record is missed once.
///
/// ```
/// use tower_bearer::store::{SealingKey, SealingKeys};
///
/// # fn main() -> Result<(), tower_bearer::Error> {
/// # let (old, new) = ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "8".repeat(64));
/// let (old, new) = (SealingKey::parse(old)?, SealingKey::parse(new)?);
/// let keys = SealingKeys::new(new).opens_with(old.clone()).names_with(old);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SealingKeys {
    seals: SealingKey,
    opens: Vec<SealingKey>,
    names: Arc<hmac::Key>,
}

impl SealingKey {
    /// Creates a key from its bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        // A key for each use, so that the one use tells nothing that helps with the other.
        let root = hmac::Key::new(hmac::HMAC_SHA256, key);
        let derived = |usage: &str| hmac::sign(&root, usage.as_bytes());
        let (seals, hashes, id) = (derived("seal records"), derived("hash names"), derived("identify the key"));
        let mut short = [0; ID_LENGTH];
        short.copy_from_slice(&id.as_ref()[..ID_LENGTH]);
        Self {
            id: short,
            seals: XChaCha20Poly1305::new(seals.as_ref().into()),
            hashes: hmac::Key::new(hmac::HMAC_SHA256, hashes.as_ref()),
        }
    }

    /// Reads a key from text: 32 bytes in base64, also in its URL form, or in hexadecimal digits. Spaces around it are ignored.
    ///
    /// # Errors
    /// When the text is neither, or has another length. The error does not show it.
    pub fn parse(text: impl Into<SecretString>) -> Result<Self, Error> {
        let text: SecretString = text.into();
        let text = text.expose().trim();
        let bytes = Zeroizing::new(
            hexadecimal(text)
                .or_else(|| base64(text))
                .ok_or_else(|| wrong_key("it is neither base64 nor hexadecimal"))?,
        );
        let key: &[u8; 32] =
            bytes.as_slice().try_into().map_err(|_| wrong_key(&format!("it has {} bytes and not 32", bytes.len())))?;
        Ok(Self::new(key))
    }
}

fn wrong_key(why: &str) -> Error {
    Error::config(format!(
        "a key that seals the records of the token store is wrong: {why}; make one with `openssl rand -base64 32`"
    ))
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    // Also base64, but of 48 bytes.
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..64).step_by(2).map(|index| u8::from_str_radix(&text[index..index + 2], 16).ok()).collect()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let alphabet = if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, LENIENT).decode(text).ok()
}

impl SealingKeys {
    /// Seals, opens and names records with this key.
    #[must_use]
    pub fn new(key: SealingKey) -> Self {
        Self { names: Arc::new(key.hashes.clone()), opens: vec![key.clone()], seals: key }
    }

    /// Opens records with this key as well.
    #[must_use]
    pub fn opens_with(mut self, key: SealingKey) -> Self {
        self.opens.push(key);
        self
    }

    /// Names records with this key. Default: the key that seals.
    #[must_use]
    pub fn names_with(mut self, key: SealingKey) -> Self {
        self.names = Arc::new(key.hashes);
        self
    }
}

impl Sealing for SealingKeys {
    fn seal(&self, record: &[u8], associated: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_LENGTH];
        SystemRandom::new().fill(&mut nonce).map_err(|_| StoreError::new("the system has no random numbers"))?;
        let mut sealed = vec![VERSION];
        sealed.extend(self.seals.id);
        let aad = [&sealed, associated].concat();
        let payload = Payload { msg: record, aad: &aad };
        let encrypted = self.seals.seals.encrypt(&XNonce::from(nonce), payload);
        sealed.extend(nonce);
        sealed.extend(encrypted.map_err(|_| StoreError::new("the record is too long to be sealed"))?);
        Ok(sealed)
    }

    fn open(&self, sealed: &[u8], associated: &[u8]) -> Option<Vec<u8>> {
        let (head, rest) = sealed.split_at_checked(HEAD_LENGTH)?;
        let (nonce, encrypted) = rest.split_at_checked(NONCE_LENGTH)?;
        if head[0] != VERSION {
            return None;
        }
        let nonce = XNonce::from(<[u8; NONCE_LENGTH]>::try_from(nonce).ok()?);
        let aad = [head, associated].concat();
        // Two keys may have the same id by chance.
        let mut keys = self.opens.iter().filter(|key| key.id == head[1..]);
        keys.find_map(|key| key.seals.decrypt(&nonce, Payload { msg: encrypted, aad: &aad }).ok())
    }

    fn hash(&self, data: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.names, data);
        let mut hash = [0; 32];
        hash.copy_from_slice(tag.as_ref());
        hash
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey([redacted])")
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKeys").field("opens", &self.opens.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::new(&[byte; 32])
    }

    #[test]
    fn only_a_known_key_and_the_same_associated_data_open_a_record() {
        let keys = SealingKeys::new(key(1));
        let sealed = keys.seal(b"record", b"name").unwrap();
        assert_eq!(keys.open(&sealed, b"name").as_deref(), Some(&b"record"[..]));
        assert_eq!(keys.open(&sealed, b"other"), None);
        assert_eq!(SealingKeys::new(key(2)).open(&sealed, b"name"), None);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(keys.open(&changed, b"name"), None, "byte {index}");
            assert_eq!(keys.open(&sealed[..index], b"name"), None, "{index} bytes");
        }
    }

    #[test]
    fn the_same_record_is_never_sealed_in_the_same_way() {
        let keys = SealingKeys::new(key(1));
        assert_ne!(keys.seal(b"record", b"name").unwrap(), keys.seal(b"record", b"name").unwrap());
    }

    #[test]
    fn keys_rotate_without_a_miss() {
        let before = SealingKeys::new(key(1));
        let prepared = SealingKeys::new(key(1)).opens_with(key(2));
        let rotated = SealingKeys::new(key(2)).opens_with(key(1)).names_with(key(1));
        let after = SealingKeys::new(key(2)).names_with(key(1));
        for (seals, opens) in [
            (&before, &prepared),
            (&prepared, &before),
            (&prepared, &rotated),
            (&rotated, &prepared),
            (&rotated, &after),
            (&after, &rotated),
        ] {
            let sealed = seals.seal(b"record", b"name").unwrap();
            assert_eq!(opens.open(&sealed, b"name").as_deref(), Some(&b"record"[..]));
            assert_eq!(seals.hash(b"identity"), opens.hash(b"identity"));
        }
        assert_ne!(after.hash(b"identity"), SealingKeys::new(key(2)).hash(b"identity"));
    }

    #[test]
    fn a_key_is_read_from_base64_and_from_hexadecimal_digits() {
        let seal = |text: &str| SealingKey::parse(text).unwrap().id;
        let all_251 = key(251).id;
        for text in [
            "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=",
            "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s",
            "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s",
            &"fb".repeat(32),
            &"FB".repeat(32),
        ] {
            assert_eq!(seal(text), all_251, "{text}");
            assert_eq!(seal(&format!(" {text}\n")), all_251, "{text}");
        }
    }

    #[test]
    fn a_wrong_key_is_an_error_that_does_not_show_it() {
        for (text, says) in [
            ("c2hvcnQ=", "it has 5 bytes and not 32"),
            ("s3cret key", "it is neither base64 nor hexadecimal"),
            ("", "it has 0 bytes and not 32"),
            (&"fb".repeat(34), "it has 51 bytes and not 32"),
        ] {
            let error = SealingKey::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn no_key_is_shown() {
        let keys = SealingKeys::new(key(7));
        assert_eq!(format!("{:?} {keys:?}", keys.seals), "SealingKey([redacted]) SealingKeys { opens: 1, .. }");
    }
}
