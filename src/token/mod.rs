//! An issued token, and what is known about its lifetime.

mod access;
mod claims;
pub(crate) mod jwt;
mod lifetime;
mod response; // the other members of the token response

pub use access::AccessToken;
pub use claims::Claims;
#[cfg(feature = "on-behalf-of")]
pub(crate) use lifetime::JwtTimes;
pub use lifetime::Lifetime;
pub(crate) use response::ResponseMembers;
