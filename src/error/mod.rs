//! The crate's one error type. It uses no other module of the crate, so that every module can use it.
//!
//! `error` has the type and what users ask of it, `constructors` how the crate's modules make one, `message` its texts,
//! `class` which failure delays the next attempt for how long, and `progress` whether a request was sent before it failed.

mod class;
mod constructors;
#[expect(clippy::module_inception, reason = "the file is named after the type in it")]
mod error;
mod message;
mod progress;

pub use class::FailureClass;
#[cfg(feature = "client")]
pub(crate) use constructors::DeadlineElapsed;
pub use error::{BoxError, Error};
pub(crate) use error::{Presented, ServerPart};
