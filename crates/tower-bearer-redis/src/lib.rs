#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder; // the settings of a store
mod cluster; // which node of a cluster serves a key
mod error; // why a server did not answer
mod eviction; // warns if the server may drop records
mod kept; // the slot for a connection, which is replaced when it is lost
mod key; // the names of what is stored
mod news; // listens to what other processes publish
mod scripts; // what the server runs
mod sentinel; // finds the master
mod servers; // how servers are reached
mod status; // a snapshot for health probes
mod store; // the store
#[cfg(feature = "tls")]
mod tls; // certificates, and the crypto provider
mod topology; // which server a key is on

pub use builder::RedisStoreBuilder;
pub use error::RedisStoreError;
pub use status::RedisStatus;
pub use store::RedisStore;
