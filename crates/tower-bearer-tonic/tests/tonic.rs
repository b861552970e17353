//! tonic's own client and server, on loopback.

#[path = "tonic/calls.rs"]
mod calls;
#[path = "tonic/failures.rs"]
mod failures;
#[path = "tonic/origins.rs"]
mod origins;
#[path = "tonic/server.rs"]
mod server;
#[path = "tonic/stack.rs"]
mod stack;
