//! Ways to keep a request's body for the retry. Nothing here knows of tokens.

mod body_state; // what both attempts share of a body; enforces the cap
mod boxed_body; // a boxed body with a name of its own
mod chunks; // the part that was read, in order
mod clone_body; // the strategy for bodies that are `Clone`
mod first_body; // reads and keeps, for the first attempt
mod keeper; // decides which attempt's turn it is
mod no_replay; // the strategy without a retry
mod replay_body; // the body type of both attempts
mod second_body; // sends what was kept and then the rest, for the second attempt
mod strategy; // the `Replay` trait
mod tee; // the strategy for streaming bodies; sets the cap
mod turn; // which attempt may read

pub use boxed_body::BoxedBody;
pub use clone_body::CloneBody;
pub use no_replay::NoReplay;
pub use replay_body::ReplayBody;
pub use strategy::Replay;
pub use tee::{InPlace, KeptBody, Tee, TeeOf};

#[cfg(feature = "config")]
pub(crate) use tee::DEFAULT_CAP;
