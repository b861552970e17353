//! Where tokens come from: the one seam of the crate.

mod boxed;
mod fixed;
mod from_fn;
mod narrowing;
mod token_source;
#[cfg(feature = "jwt")]
mod verified;

pub use boxed::BoxTokenSource;
pub use fixed::FixedToken;
pub use from_fn::{FromFn, from_fn};
pub use narrowing::Narrowing;
pub use token_source::{Reason, TokenSource};
#[cfg(feature = "jwt")]
pub use verified::Verified;

pub(crate) use narrowing::{check_resource, check_scope};
