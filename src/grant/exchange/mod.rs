//! One HTTP exchange with an authorization server: what is sent, what comes back, and the client that carries it.

pub(super) mod endpoint;
pub(super) mod form;
#[cfg(feature = "client")]
pub(super) mod http_client;
#[cfg(feature = "client")]
pub(super) mod http_client_builder;
pub(super) mod http_exchange;
pub(super) mod http_service;
mod lenient;
pub(super) mod params;
mod reply;
pub(super) mod request_context;
pub(super) mod token_response;
