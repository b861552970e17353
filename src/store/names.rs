//! The names under which a source's tokens are stored.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    error::Error,
    secret_string::SecretString,
    source::SourceIdentity,
    store::{
        fields::Hash,
        record::{Record, SharedRefresh},
        shared_store::Shared,
        store_error::StoreError,
        store_key::StoreKey,
    },
};

/// What is known of a source while its credentials stay the same.
pub(super) struct Names {
    /// The name of its record.
    pub(super) key: StoreKey,
    /// What the key is a hash of, and the key. No other record can be opened with it.
    associated: Zeroizing<Vec<u8>>,
    /// The name of its token in the record.
    pub(super) slot: Hash,
    /// A hash of its credentials.
    pub(super) tag: Hash,
    /// The hash of the refresh token that the user gave, if the source has nothing else.
    pub(super) given: Option<Hash>,
}

impl Names {
    /// Makes the names. `narrowing` is what an unknown source was narrowed to.
    ///
    /// # Errors
    /// When it is not known whose tokens these are.
    pub(super) fn new(
        shared: &Shared,
        name: Option<&str>,
        identity: Option<SourceIdentity>,
        narrowing: &SourceIdentity,
    ) -> Result<Self, Error> {
        if name.is_none() && identity.as_ref().is_none_or(SourceIdentity::is_unnamed) {
            return Err(Error::config(
                "it is not known whose tokens this source gets, so they cannot be shared by a store: call `named` on the `Stored`, with \
                 a name that only processes with the same tokens give, such as the id of the user who gave consent",
            ));
        }
        let identity = identity.unwrap_or_else(|| narrowing.clone());
        let named = SourceIdentity::new().with("name", name.unwrap_or_default()).with("identity", identity.who());
        let who = named.who();
        let key = StoreKey::new(shared.hash("record", who));
        let credentials = identity.given_refresh_token().map(SecretString::expose).unwrap_or_default();
        let tag = named.clone().with("secrets", identity.secrets()).with("refresh token", credentials);
        Ok(Self {
            key,
            associated: Zeroizing::new([who, key.as_bytes()].concat()),
            slot: shared.short_hash("token of a record", identity.what()),
            tag: shared.short_hash("credentials", tag.who()),
            given: identity.given_refresh_token().map(|given| refresh_token_hash(shared, given)),
        })
    }

    /// Returns whether a stored refresh token came from other credentials, so that the source's own one is used instead.
    pub(super) fn differ_from(&self, stored: &SharedRefresh) -> bool {
        match &self.given {
            // The user gave one that is not among those that were used.
            Some(given) => !stored.used.contains(given),
            // The user's other credentials have changed.
            None => stored.tag != self.tag,
        }
    }

    /// Opens a record. Returns `None` if it is not one, or is not this source's.
    pub(super) fn open(&self, shared: &Shared, sealed: &[u8]) -> Option<Record> {
        let opened = Zeroizing::new(shared.sealing.open(sealed, &self.associated)?);
        Record::read(&opened)
    }

    /// Seals a record.
    pub(super) fn seal(&self, shared: &Arc<Shared>, record: &Record) -> Result<Vec<u8>, StoreError> {
        shared.sealing.seal(&record.write(), &self.associated)
    }
}

/// Returns the hash by which a refresh token is known in a record.
pub(super) fn refresh_token_hash(shared: &Shared, refresh_token: &SecretString) -> Hash {
    shared.short_hash("refresh token", refresh_token.expose().as_bytes())
}
