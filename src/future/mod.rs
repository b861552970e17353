//! The life of a request from its first attempt on. Waiting for a token and the second attempt are rare and large, so they are
//! boxed.

mod attempt; // what belongs to one attempt
mod judge; // what an answer says about the token
mod response_future; // `ResponseFuture`: the first attempt, and the way to the others
mod retry_decision; // whether a request is sent again
mod second_attempt; // the second attempt, and the steps before it
mod wait_for_token; // a request for which there was no token

pub use response_future::ResponseFuture;
pub(crate) use {
    attempt::{Attempt, Retry, Sent, attach, save},
    wait_for_token::WaitForToken,
};
