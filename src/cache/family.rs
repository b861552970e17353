//! What several caches share: those of one identity, and all of a pool.

use std::{
    pin::Pin,
    sync::{
        Arc, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    asking::Numbers,
    cache::{
        client_state::ClientState,
        clients::{ByNumber, Client, Issuer},
        issuer_state::IssuerState,
        places::Places,
        refusals::SharedRefusals,
        served_token::LEASE,
        settings::Settings,
        single_flight::SingleFlight,
        totals::Totals,
    },
    events::PoolRenewals,
    sync::{Mutex, MutexGuard},
};

/// What the identities of a pool share.
pub(crate) struct Shared {
    clients: ByNumber<Client>,
    issuers: ByNumber<Issuer>,
    pub(crate) places: Arc<Places>,
    /// With the name of the pool.
    pub(crate) renewals: PoolRenewals,
    /// Those of evicted identities too.
    pub(crate) totals: Totals,
    /// The settings of the identities, each that is different once. Nothing is removed, so nothing is dropped under the lock.
    settings: Mutex<Vec<Arc<Settings>>>,
    began: Instant,
    after_renewal: Weak<dyn AfterRenewal>,
}

/// How many different settings are shared. Further ones are not.
const MAX_SHARED_SETTINGS: usize = 8;

/// What a pool does when one of its tokens was renewed.
pub(crate) trait AfterRenewal: Send + Sync {
    /// Returns what is done in the task of the renewal, if something is due.
    fn renewed(self: Arc<Self>) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>>;
}

/// What a cache and its narrowed caches share: refusals, and the one that tries credentials which were not accepted yet. In a
/// pool, it is one identity.
pub(crate) struct Family {
    pub(crate) refusals: SingleFlight<SharedRefusals, ()>,
    /// The name of the identity in logs, if it may be shown.
    pub(crate) name: Option<Box<str>>,
    pub(crate) shared: Option<Arc<Shared>>,
    /// The servers that it asks, the last ones, so that they are not forgotten.
    servers: Mutex<Vec<Server>>,
    /// The last use of one of its caches in a pool, in milliseconds of the pool's life.
    last_use: AtomicU64,
    /// Whether one of them was used since the pool asked last.
    is_used: AtomicBool,
    /// Whether one of them ever got a token.
    has_succeeded: AtomicBool,
}

/// How many servers an identity refers to. A token may take several servers, and a number changes with the client's secret.
const MAX_SERVERS: usize = 4;

/// A client at an issuer, and their numbers at some time. The client's number changes with its secret.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) numbers: Numbers,
    pub(crate) client: Arc<Client>,
    pub(crate) issuer: Arc<Issuer>,
}

/// The version of the credentials and the numbers of the client and its issuer, as they are now. User code tells them, so they are read before a
/// lock is taken.
#[derive(Clone, Copy)]
pub(crate) struct Presents {
    pub(crate) credentials_version: u64,
    pub(crate) numbers: Option<Numbers>,
}

impl Shared {
    /// Creates what the identities of a pool share. At most `max_renewals` of their renewals are in progress at once.
    pub(crate) fn new(max_renewals: usize, name: Option<Box<str>>, after_renewal: Weak<dyn AfterRenewal>) -> Arc<Self> {
        Arc::new(Self {
            clients: ByNumber::default(),
            issuers: ByNumber::default(),
            places: Arc::new(Places::new(max_renewals)),
            renewals: PoolRenewals::new(name),
            totals: Totals::default(),
            settings: Mutex::default(),
            began: Instant::now(),
            after_renewal,
        })
    }

    /// Returns how long these identities exist, in milliseconds.
    pub(crate) fn age(&self) -> u64 {
        self.age_at(Instant::now())
    }

    pub(crate) fn age_at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns these settings, shared with the other identities that have the same.
    pub(crate) fn settings(&self, settings: Settings) -> Arc<Settings> {
        let mut known = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.iter().find(|known| ***known == settings) {
            return Arc::clone(same);
        }
        let new = Arc::new(settings);
        if known.len() < MAX_SHARED_SETTINGS {
            known.push(Arc::clone(&new));
        }
        new
    }

    /// Does what the pool does when one of its tokens was renewed.
    pub(crate) async fn after_renewal(&self) {
        if let Some(due) = self.after_renewal.upgrade().and_then(AfterRenewal::renewed) {
            due.await;
        }
    }
}

impl Family {
    /// Creates what one identity shares, alone or in a pool.
    pub(crate) fn new(shared: Option<Arc<Shared>>, name: Option<Box<str>>) -> Arc<Self> {
        let refusals = SingleFlight::new(SharedRefusals::default());
        let last_use = AtomicU64::new(shared.as_ref().map_or(0, |shared| shared.age()));
        let (is_used, has_succeeded) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { refusals, name, shared, servers: Mutex::default(), last_use, is_used, has_succeeded })
    }

    /// Notes a use that found no lease, as far as this is in a pool. Returns whether a lease is worth its cost.
    pub(crate) fn note_use(&self, now: Instant) -> bool {
        let Some(shared) = &self.shared else { return true };
        let (now, last) = (shared.age_at(now), self.last_use.load(Relaxed));
        self.last_use.store(now, Relaxed);
        self.is_used.store(true, Relaxed);
        u128::from(now.saturating_sub(last)) < LEASE.as_millis()
    }

    /// Returns whether this was used since this was asked last.
    pub(crate) fn take_use(&self) -> bool {
        self.is_used.swap(false, Relaxed)
    }

    /// Returns whether this is in a pool and was not used for so long.
    pub(crate) fn is_idle(&self, idle: Duration) -> bool {
        let unused = self.shared.as_ref().map(|shared| shared.age().saturating_sub(self.last_use.load(Relaxed)));
        unused.is_some_and(|unused| u128::from(unused) >= idle.as_millis())
    }

    /// Notes that one of the caches got a token.
    pub(crate) fn note_success(&self) {
        self.has_succeeded.store(true, Relaxed);
    }

    /// Returns whether one of the caches ever got a token.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.has_succeeded.load(Relaxed)
    }

    /// Returns the client and the issuer with these numbers, or `None` where nothing is shared.
    pub(crate) fn server(&self, numbers: Option<Numbers>) -> Option<Server> {
        let (shared, numbers) = (self.shared.as_ref()?, numbers?);
        let known = self.locked_servers().iter().find(|known| known.numbers == numbers).cloned();
        if known.is_some() {
            return known;
        }
        let (client, issuer) = (shared.clients.get(numbers.client), shared.issuers.get(numbers.issuer));
        let new = Server { numbers, client, issuer };
        let mut servers = self.locked_servers();
        // It may hold the last of a client, with an error of a user's. It is dropped after the lock is released.
        let oldest = (servers.len() == MAX_SERVERS).then(|| servers.remove(0));
        servers.reserve_exact(1);
        servers.push(new.clone());
        drop((servers, oldest));
        Some(new)
    }

    /// Forgets every refusal, and that the issuer has an outage.
    pub(crate) fn reset(&self) {
        self.refusals.supersede(|refusals| *refusals = SharedRefusals::default());
        let servers = self.locked_servers().clone();
        for Server { client, issuer, .. } in &servers {
            client.supersede(|client| *client = ClientState::default());
            issuer.known.supersede(|issuer| *issuer = IssuerState::default());
        }
    }

    /// Returns a number that no other identity has.
    pub(crate) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn locked_servers(&self) -> MutexGuard<'_, Vec<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
