//! How a request's body is kept for the one retry. Knows nothing of tokens.

mod body;
mod chunks;
mod clone_body;
mod first;
mod no_replay;
mod second;
mod shared;
mod strategy;
mod tee;

pub use body::ReplayBody;
pub use clone_body::CloneBody;
pub use no_replay::NoReplay;
pub use strategy::Replay;
pub use tee::{InPlace, KeptBody, Tee};
