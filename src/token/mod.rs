//! An issued token and what is known of its life.

mod access;
mod lifetime;

pub use access::AccessToken;
pub use lifetime::Lifetime;
