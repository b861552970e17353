//! Where tokens come from: the trait that everything else builds on, and sources that need no authorization server.

mod cache_handle; // what a source may do with the cache of its tokens
mod fixed;
mod from_fn;
mod identity; // what tells one source's tokens from another's
mod narrowing;
mod reason;
mod token_source;
#[cfg(feature = "jwt")]
mod verified;

pub use cache_handle::CacheHandle;
pub use fixed::FixedToken;
pub use from_fn::{FromFn, from_fn};
pub use identity::SourceIdentity;
pub use narrowing::Narrowing;
pub use reason::Reason;
pub use token_source::{BoxTokenSource, TokenSource};
#[cfg(feature = "jwt")]
pub use verified::Verified;

pub(crate) use cache_handle::KeepsToken;
pub(crate) use narrowing::{check_resource, check_scope};
