//! Shares tokens between the processes of a fleet: one asks the issuer, and all have the token.
//!
#![doc = include_str!("../../docs/fleet.md")]

mod exchange; // a token request under a lease, and what others learn of it
mod fields; // the types of what is in a record
mod link; // calls to a store that may be down
mod memory; // a store in memory
mod names; // the names of a source's tokens
mod news; // tells who listens that a record changed
mod record; // what processes tell each other
mod revocation; // a revocation, for all processes
mod sealing; // the trait that seals records and hashes their names
#[cfg(feature = "sealing")]
mod sealing_keys; // sealing by keys that are given
mod shared_failure; // a failure in a record
mod shared_store; // a store, with all that the sources of one process share of it
mod shared_token; // a token in a record
mod sharing; // read, or get the lease, or wait
mod store_error; // why a store did not answer
mod store_key; // the name of a record, which tells nothing
mod store_status; // what is counted
mod stored; // the source that users see
mod token_store; // the trait, leases, and a store of any type behind one type
mod watch; // looks after records, so that what ended is withdrawn

pub use memory::MemoryStore;
pub use news::{News, NewsChannel, NewsReceiver};
pub use sealing::Sealing;
#[cfg(feature = "sealing")]
pub use sealing_keys::{SealingKey, SealingKeys};
pub use shared_store::{SharedStore, SharedStoreBuilder};
pub use store_error::StoreError;
pub use store_key::StoreKey;
pub use store_status::StoreStatus;
pub use stored::Stored;
pub use token_store::{BoxTokenStore, Lease, LeaseAnswer, LeaseOwner, Loaded, TokenStore};
