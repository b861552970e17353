//! How a request's body is kept for the one retry. Knows nothing of tokens.

mod clone_body;
mod no_replay;
mod strategy;

pub use clone_body::CloneBody;
pub use no_replay::NoReplay;
pub use strategy::Replay;
