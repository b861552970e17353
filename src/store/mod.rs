//! Shares tokens between the processes of a fleet.
//!
//! A [`TokenStore`] keeps one sealed record for each token source, and a lease, so that one process at a time asks the issuer.

#[cfg(feature = "testing")]
pub mod conformance; // checks a store against the contract
mod memory; // a store in memory
mod news; // tells who listens that a record changed
mod sealing; // the trait that seals records and hashes their names
#[cfg(feature = "sealing")]
mod sealing_keys; // sealing by keys that are given
mod store_error; // why a store did not answer
mod store_key; // the name of a record, which tells nothing
mod token_store; // the trait, leases, and a store of any type behind one type

pub use memory::MemoryStore;
pub use news::{News, NewsChannel, NewsReceiver};
pub use sealing::Sealing;
#[cfg(feature = "sealing")]
pub use sealing_keys::{SealingKey, SealingKeys};
pub use store_error::StoreError;
pub use store_key::StoreKey;
pub use token_store::{BoxTokenStore, Lease, LeaseAnswer, LeaseOwner, Loaded, TokenStore};
