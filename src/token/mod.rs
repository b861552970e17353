//! An issued token and what is known of its life.

mod access;
mod claims;
mod lifetime;

pub use access::AccessToken;
pub use claims::Claims;
pub use lifetime::Lifetime;
