//! A cache for each of many identities: tenants with their own credentials, users with their own tokens.
//!
//! A [`TokenPool`] makes the cache of an identity at its first use. A layer [over a
//! pool](crate::BearerAuthLayer::with_pool) chooses the identity of each request.
//!
#![doc = include_str!("../../docs/identities.md")]

mod builder; // what users set
#[cfg(all(test, shuttle))]
mod eviction_interleavings; // tests of what may come during a renewal of a pool
mod request_head; // what chooses the identity of a request sees of it
mod select; // a request's way to the cache of its identity
mod shown; // a key that may be shown
mod status; // a snapshot for health probes
mod token_pool; // `TokenPool`: what users ask of a pool
#[cfg(feature = "on-behalf-of")]
mod user_pool; // `UserPool`: a pool of users whose tokens come with the requests

pub use builder::TokenPoolBuilder;
pub use request_head::RequestHead;
pub use shown::Shown;
pub use status::PoolStatus;
pub use token_pool::TokenPool;
#[cfg(feature = "on-behalf-of")]
pub use user_pool::{UserPool, UserPoolBuilder};

pub(crate) use select::{ChooseCache, Selection};
#[cfg(feature = "on-behalf-of")]
pub(crate) use user_pool::UserSelection;
