//! Ways to keep a request's body for the retry. Nothing here knows of tokens.

mod body_state;
mod chunks;
mod clone_body;
mod first_attempt;
mod keeper;
mod no_replay;
mod replay_body;
mod second_attempt;
mod strategy;
mod tee;

pub use clone_body::CloneBody;
pub use no_replay::NoReplay;
pub use replay_body::ReplayBody;
pub use strategy::Replay;
pub use tee::{InPlace, KeptBody, Tee};
