//! Where tokens come from: the trait that everything else builds on, and sources that need no authorization server.

mod fixed;
mod from_fn;
mod narrowing;
mod reason;
mod token_source;
#[cfg(feature = "jwt")]
mod verified;

pub use fixed::FixedToken;
pub use from_fn::{FromFn, from_fn};
pub use narrowing::Narrowing;
pub use reason::Reason;
pub use token_source::{BoxTokenSource, TokenSource};
#[cfg(feature = "jwt")]
pub use verified::Verified;

pub(crate) use narrowing::{check_resource, check_scope};
