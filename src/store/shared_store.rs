//! A store, with all that the sources of one process share of it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    clock::WallClock,
    store::{
        fields::{Hash, Millis, at},
        link::Link,
        sealing::Sealing,
        store_key::StoreKey,
        store_status::StoreStatus,
        token_store::{BoxTokenStore, TokenStore},
        watch::Watch,
    },
};

/// The store of a fleet, as one process uses it: with the keys that seal it, its deadlines, and what is known of its health. It is
/// cheap to clone. Create one for each store, and [share sources](crate::store::Stored) by it.
#[derive(Clone)]
pub struct SharedStore(Arc<Shared>);

/// What all clones share.
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) watch: Arc<Watch>,
    pub(super) sealing: Arc<dyn Sealing>,
    pub(super) lease: Duration,
    pub(super) wait: Duration,
    wall_clock: WallClock,
}

/// The settings of a [`SharedStore`]. Each method states its default.
#[must_use = "call `build`"]
pub struct SharedStoreBuilder {
    store: BoxTokenStore,
    sealing: Arc<dyn Sealing>,
    deadline: Duration,
    lease: Duration,
    wait: Duration,
    wall_clock: WallClock,
    name: Option<Arc<str>>,
}

impl SharedStore {
    /// Creates it with the default settings.
    pub fn new(store: impl TokenStore, sealing: impl Sealing) -> Self {
        Self::builder(store, sealing).build()
    }

    /// Creates a builder, to change the settings.
    pub fn builder(store: impl TokenStore, sealing: impl Sealing) -> SharedStoreBuilder {
        SharedStoreBuilder {
            store: store.boxed(),
            sealing: Arc::new(sealing),
            deadline: Duration::from_millis(250),
            lease: Duration::from_secs(5),
            wait: Duration::from_secs(8),
            wall_clock: WallClock::System,
            name: None,
        }
    }

    /// Returns how it was used so far, for a health probe or for metrics.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        self.0.link.counters.status(self.0.link.is_available())
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl SharedStoreBuilder {
    /// Sets how long one call to the store may take, before it counts as failed. Default: 250 ms.
    ///
    /// After a failure, the store is not asked for half a second to eight seconds, and the sources go on without it.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the time after which another process takes over from one that died during a token request. Default: 5 s.
    ///
    /// A process that lives extends its lease each third of this time, however slow the issuer is.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(30));
        self
    }

    /// Sets how long a process waits for the token of another one. Default: 8 s.
    ///
    /// Let it be longer than the [lease](Self::lease), and shorter than the cache's
    /// [deadline](crate::cache::TokenCacheBuilder::renewal_deadline).
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets the clock that gives the time of day, by which the age of a token is known to other processes. Default: the system's
    /// clock. It is for tests, and for hosts with a better clock.
    pub fn wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall_clock = WallClock::Custom(Arc::new(clock));
        self
    }

    /// Sets the name of the store in log lines, and in the metrics of the feature `metrics`. Default: none. It must not be secret. A
    /// store without a name has no gauge; see [what can be seen](crate::events).
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.name = Some(name.as_ref().into());
        self
    }

    /// Creates the shared store. It is not asked before the first token request.
    #[must_use]
    pub fn build(self) -> SharedStore {
        SharedStore(Arc::new(Shared {
            link: Link::new(self.store, self.name, self.deadline),
            watch: Arc::default(),
            sealing: self.sealing,
            lease: self.lease,
            wait: self.wait,
            wall_clock: self.wall_clock,
        }))
    }
}

impl Shared {
    pub(super) fn now(&self) -> Millis {
        at(self.wall_clock.now())
    }

    /// Hashes data for one use, so that hashes of different uses are never the same.
    pub(super) fn hash(&self, usage: &str, data: &[u8]) -> [u8; 32] {
        self.sealing.hash(&zeroize::Zeroizing::new([usage.as_bytes(), b"\0", data].concat()))
    }

    /// Returns a hash as text, 128 bits of it.
    pub(super) fn short_hash(&self, usage: &str, data: &[u8]) -> Hash {
        StoreKey::new(self.hash(usage, data)).to_string()[..32].into()
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStoreBuilder")
            .field("deadline", &self.deadline)
            .field("lease", &self.lease)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
