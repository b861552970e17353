//! How records are sealed, and how the names of records are made.

use crate::store::store_error::StoreError;

/// Seals the records of a store, so that only those who have the key can read them, and hashes what nobody else may learn.
///
/// `SealingKeys` (feature `sealing`) implements it. Another implementation can use another library or a key service.
pub trait Sealing: Send + Sync + 'static {
    /// Seals a record, with authentication of the record and of `associated`.
    ///
    /// # Errors
    /// When it cannot be sealed. The record is then not shared.
    fn seal(&self, record: &[u8], associated: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Opens a sealed record. Returns `None` if it was sealed by an unknown key or with other associated data, or is not a sealed
    /// record at all.
    fn open(&self, sealed: &[u8], associated: &[u8]) -> Option<Vec<u8>>;

    /// Hashes data with a secret key: the same hash in all processes of the fleet, and also after the sealing key has changed. The names of
    /// records are such hashes.
    fn hash(&self, data: &[u8]) -> [u8; 32];
}
