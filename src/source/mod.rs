//! Where tokens come from: the one seam of the crate.

mod boxed;
mod fixed;
mod from_fn;
mod token_source;

pub use boxed::BoxTokenSource;
pub use fixed::FixedToken;
pub use from_fn::{FromFn, from_fn};
pub use token_source::{Reason, TokenSource};
