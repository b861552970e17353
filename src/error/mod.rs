//! The crate's one error type. It uses no other module of the crate, so that every module can use it.
//!
//! `error` has the type and what users ask of it, `constructors` how the crate's modules make one, `message` its texts, and
//! `class` which failure delays the next attempt for how long.

mod class;
mod constructors;
#[expect(clippy::module_inception, reason = "the file is named after the type in it")]
mod error;
mod message;

pub use class::FailureClass;
#[cfg(feature = "client")]
pub(crate) use constructors::DeadlineElapsed;
pub(crate) use error::ServerPart;
pub use error::{BoxError, Error};
