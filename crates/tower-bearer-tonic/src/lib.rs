#![doc = include_str!("../README.md")]

mod answer; // what happened to a call, in the status of a failed one
mod layer; // the layer, and its service
mod status; // token failures as statuses

pub use answer::outcome;
pub use layer::{GrpcBearer, GrpcBearerLayer, ResponseFuture};
pub use status::{to_status, token_error};

/// The code in the guide is tested as if it were here.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/tonic.md")]
mod guide {}
