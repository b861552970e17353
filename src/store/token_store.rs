//! The trait of all stores, and a store of any type behind one type.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use crate::store::{news::NewsReceiver, store_error::StoreError, store_key::StoreKey};

/// Keeps sealed records for the processes of a fleet, and leases that let one process at a time replace a record.
///
/// All times are measured by one clock of the store, never by a process's own. A store may lose records and leases at any time, by
/// eviction or by a failover: this costs token requests, not correctness. It must not give back a record that was replaced.
///
/// Each call should end within a fraction of a second. The caller has its own deadline, after which it drops the future: the call may
/// then have run or not.
pub trait TokenStore: Send + Sync + 'static {
    /// Reads the record, and who holds the lease for how long.
    ///
    /// # Errors
    /// When the store does not answer or refuses. A record that is not there is not an error.
    fn load(&self, key: StoreKey) -> impl Future<Output = Result<Loaded, StoreError>> + Send;

    /// Takes the lease for this time, or extends it.
    ///
    /// If nobody holds it, the owner gets it under a new fence. If this owner holds it, it ends this time after now, and the fence is
    /// the same: the call can be repeated when its answer was lost. Each new fence is greater than all before it, also after the store
    /// lost its data.
    ///
    /// # Errors
    /// As [`load`](Self::load). A lease that another owner holds is not an error.
    fn lease(
        &self,
        key: StoreKey,
        owner: LeaseOwner,
        length: Duration,
    ) -> impl Future<Output = Result<LeaseAnswer, StoreError>> + Send;

    /// Replaces the record if this lease is held, by its owner and its fence, and tells those who listen. The store may drop the record after
    /// `keep`. Returns whether it replaced the record. The lease stays.
    ///
    /// # Errors
    /// As [`load`](Self::load). The record may have been replaced or not.
    fn commit(
        &self,
        key: StoreKey,
        lease: Lease,
        record: Vec<u8>,
        keep: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends this lease, if it is held, and tells those who listen.
    ///
    /// # Errors
    /// As [`load`](Self::load). The lease then ends by itself.
    fn release(&self, key: StoreKey, lease: Lease) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns a receiver of the news of all keys. Default: one without news. Then other processes notice a change at their next
    /// reading.
    ///
    /// News of a change that is made after this call returned should reach the receiver. The caller reads the record after it has the
    /// receiver, and again from time to time.
    fn news(&self) -> NewsReceiver {
        NewsReceiver::none()
    }

    /// Erases the type of the store.
    fn boxed(self) -> BoxTokenStore
    where
        Self: Sized,
    {
        BoxTokenStore(Arc::new(self))
    }
}

/// What [`TokenStore::load`] found.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The record as it was committed.
    pub record: Option<Vec<u8>>,
    /// How much longer the lease is held. `None` when nobody holds it.
    pub leased_for: Option<Duration>,
}

impl Loaded {
    /// Creates what a store found.
    #[must_use]
    pub fn new(record: Option<Vec<u8>>, leased_for: Option<Duration>) -> Self {
        Self { record, leased_for }
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("record", &self.record.as_ref().map(Vec::len))
            .field("leased_for", &self.leased_for)
            .finish()
    }
}

/// One attempt to hold a lease: 128 random bits, so that two owners are never the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseOwner(pub u128);

/// A lease that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Who holds it.
    pub owner: LeaseOwner,
    /// The number of the lease. A later lease of the same key has a greater one.
    pub fence: u64,
}

/// Whether a lease was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The owner holds this lease.
    Given(Lease),
    /// Another owner holds the lease, for at most this long unless it extends it.
    Held(Duration),
}

/// A store of any type behind one type. It is cheap to clone.
#[derive(Clone)]
pub struct BoxTokenStore(Arc<dyn DynTokenStore>);

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`TokenStore`] in a form that can be a trait object.
trait DynTokenStore: Send + Sync {
    fn load(&self, key: StoreKey) -> BoxFuture<'_, Loaded>;
    fn lease(&self, key: StoreKey, owner: LeaseOwner, length: Duration) -> BoxFuture<'_, LeaseAnswer>;
    fn commit(&self, key: StoreKey, lease: Lease, record: Vec<u8>, keep: Duration) -> BoxFuture<'_, bool>;
    fn release(&self, key: StoreKey, lease: Lease) -> BoxFuture<'_, ()>;
    fn news(&self) -> NewsReceiver;
}

impl<T: TokenStore> DynTokenStore for T {
    fn load(&self, key: StoreKey) -> BoxFuture<'_, Loaded> {
        Box::pin(TokenStore::load(self, key))
    }

    fn lease(&self, key: StoreKey, owner: LeaseOwner, length: Duration) -> BoxFuture<'_, LeaseAnswer> {
        Box::pin(TokenStore::lease(self, key, owner, length))
    }

    fn commit(&self, key: StoreKey, lease: Lease, record: Vec<u8>, keep: Duration) -> BoxFuture<'_, bool> {
        Box::pin(TokenStore::commit(self, key, lease, record, keep))
    }

    fn release(&self, key: StoreKey, lease: Lease) -> BoxFuture<'_, ()> {
        Box::pin(TokenStore::release(self, key, lease))
    }

    fn news(&self) -> NewsReceiver {
        TokenStore::news(self)
    }
}

impl TokenStore for BoxTokenStore {
    fn load(&self, key: StoreKey) -> impl Future<Output = Result<Loaded, StoreError>> + Send {
        self.0.load(key)
    }

    fn lease(
        &self,
        key: StoreKey,
        owner: LeaseOwner,
        length: Duration,
    ) -> impl Future<Output = Result<LeaseAnswer, StoreError>> + Send {
        self.0.lease(key, owner, length)
    }

    fn commit(
        &self,
        key: StoreKey,
        lease: Lease,
        record: Vec<u8>,
        keep: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        self.0.commit(key, lease, record, keep)
    }

    fn release(&self, key: StoreKey, lease: Lease) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.0.release(key, lease)
    }

    fn news(&self) -> NewsReceiver {
        self.0.news()
    }

    fn boxed(self) -> BoxTokenStore {
        self
    }
}

impl fmt::Debug for BoxTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxTokenStore")
    }
}
