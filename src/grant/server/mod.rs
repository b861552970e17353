//! The authorization server: its URLs, its metadata, and how the metadata is found.

pub(super) mod authorization_server;
mod discovery;
pub(super) mod metadata;
mod private_network;
mod protected_resource;
pub(super) mod url;
