//! A snapshot for health probes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::RedisStoreError;

/// A snapshot of a store, for a health probe or a log line. It holds no secret.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RedisStatus {
    /// Whether the last call got an answer. It is `false` before the first call.
    pub connected: bool,
    /// The last failure, until a call succeeds.
    pub last_error: Option<RedisStoreError>,
    /// How many connections have replaced lost ones, to all servers.
    pub reconnects: u64,
    /// Whether the server may drop records to make room for others: its `maxmemory-policy` is not `noeviction`. `None` when it is not
    /// known.
    pub evicts: Option<bool>,
}

/// What is known of the servers, for all tasks of a store.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<RedisStatus>);

impl Health {
    pub(crate) fn status(&self) -> RedisStatus {
        self.lock().clone()
    }

    pub(crate) fn note<T>(&self, result: &Result<T, RedisStoreError>) {
        let mut status = self.lock();
        // A server that refuses has answered.
        status.connected = result.as_ref().err().is_none_or(|error| error.code().is_some());
        status.last_error = result.as_ref().err().cloned();
    }

    pub(crate) fn reconnected(&self) {
        self.lock().reconnects += 1;
    }

    pub(crate) fn evicts(&self, evicts: bool) {
        self.lock().evicts = Some(evicts);
    }

    fn lock(&self) -> MutexGuard<'_, RedisStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
