//! The life of a request from its first attempt on: `wait_for_token` until there is a token, `response_future` for the first
//! attempt, `second_attempt` after a rejection. The first and the last are rare and large, so they are boxed.

mod attempt;
mod judge;
mod response_future;
mod second_attempt;
mod wait_for_token;

pub use response_future::ResponseFuture;
pub(crate) use {
    attempt::{Attempt, Retry, Sent, attach, save},
    wait_for_token::WaitForToken,
};
