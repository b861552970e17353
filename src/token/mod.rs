//! An issued token, and what is known about its lifetime.

mod access;
mod claims;
pub(crate) mod jwt;
mod lifetime;

pub use access::AccessToken;
pub use claims::Claims;
pub use lifetime::Lifetime;
