//! What several caches share: those of one identity, and all of a pool.

use std::sync::{Arc, PoisonError};

use crate::{
    cache::{
        client_state::ClientState,
        clients::{Client, Clients},
        places::Places,
        refusals::SharedRefusals,
        single_flight::SingleFlight,
    },
    sync::Mutex,
};

/// What the identities of a pool share.
pub(crate) struct Shared {
    clients: Clients,
    pub(crate) places: Arc<Places>,
}

/// What a cache and its narrowed caches share: refusals, and the one that tries credentials which were not accepted yet. In a
/// pool, it is one identity.
pub(crate) struct Family {
    pub(crate) refusals: SingleFlight<SharedRefusals, ()>,
    pub(crate) shared: Option<Arc<Shared>>,
    /// The client that it authenticates as, and its number.
    client: Mutex<Option<NumberedClient>>,
}

/// A client, and its number at some time. The number changes with the client's secret.
#[derive(Clone)]
pub(crate) struct NumberedClient {
    pub(crate) number: u64,
    pub(crate) client: Arc<Client>,
}

/// The version of the credentials and the number of the client, as they are now. User code tells them, so they are read before a
/// lock is taken.
#[derive(Clone, Copy)]
pub(crate) struct Presents {
    pub(crate) credentials_version: u64,
    pub(crate) client: Option<u64>,
}

impl Shared {
    /// Creates what the identities of a pool share. At most `max_renewals` of their renewals are in progress at once.
    #[cfg_attr(not(test), expect(dead_code, reason = "pools are not public yet"))]
    pub(crate) fn new(max_renewals: usize) -> Arc<Self> {
        Arc::new(Self { clients: Clients::default(), places: Arc::new(Places::new(max_renewals)) })
    }
}

impl Family {
    /// Creates what one identity shares, alone or in a pool.
    pub(crate) fn new(shared: Option<Arc<Shared>>) -> Arc<Self> {
        let refusals = SingleFlight::new(SharedRefusals::default());
        Arc::new(Self { refusals, shared, client: Mutex::default() })
    }

    /// Returns the client with this number, or `None` where nothing is shared.
    pub(crate) fn client(&self, number: Option<u64>) -> Option<NumberedClient> {
        let (shared, number) = (self.shared.as_ref()?, number?);
        let known = self.known_client();
        if let Some(known) = known.filter(|known| known.number == number) {
            return Some(known);
        }
        let new = NumberedClient { number, client: shared.clients.get(number) };
        // What it replaces may hold the last of a client, with an error of a user's. It is dropped after the lock is released.
        let replaced = self.locked_client().replace(new.clone());
        drop(replaced);
        Some(new)
    }

    /// Forgets every refusal, and that the issuer has an outage.
    pub(crate) fn reset(&self) {
        self.refusals.supersede(|refusals| *refusals = SharedRefusals::default());
        if let Some(NumberedClient { client, .. }) = self.known_client() {
            client.supersede(|client| *client = ClientState::default());
        }
    }

    /// Returns a number that no other identity has.
    pub(crate) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn known_client(&self) -> Option<NumberedClient> {
        self.locked_client().clone()
    }

    fn locked_client(&self) -> crate::sync::MutexGuard<'_, Option<NumberedClient>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
