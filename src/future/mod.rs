//! The life of a request from its first attempt on: `wait` when there was no token, `response_future` with one,
//! `second` when that was rejected. The first and the last are seldom needed and large, so they are boxed.

mod response_future;
mod second;
mod wait;

use std::pin::Pin;

use crate::{error::Error, token::AccessToken};

pub use response_future::ResponseFuture;
pub(crate) use {
    response_future::{Retry, Sent},
    wait::Wait,
};

type Renewal = Pin<Box<dyn Future<Output = Result<AccessToken, Error>> + Send>>;
