//! The clients that the identities of a pool authenticate as, by their numbers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::cache::{client_state::ClientState, single_flight::SingleFlight};

/// What is known of a client, and the one identity that tries it or probes its issuer.
pub(crate) type Client = SingleFlight<ClientState, ()>;

/// A client lives as long as an identity refers to it.
#[derive(Default)]
pub(crate) struct Clients(Mutex<ByNumber>);

#[derive(Default)]
struct ByNumber {
    clients: HashMap<u64, Weak<Client>>,
    /// How many there may be before those that are no longer used are removed.
    enough: usize,
}

impl Clients {
    /// Returns the client with this number. Under the lock, nothing is dropped that holds anything of a user's: what
    /// is removed has no state any more.
    pub(crate) fn get(&self, number: u64) -> Arc<Client> {
        let mut locked = self.locked();
        if let Some(client) = locked.clients.get(&number).and_then(Weak::upgrade) {
            return client;
        }
        if locked.clients.len() >= locked.enough {
            locked.clients.retain(|_, client| client.strong_count() > 0);
            locked.enough = 2 * locked.clients.len() + 16;
        }
        let client = Arc::new(Client::new(ClientState::default()));
        locked.clients.insert(number, Arc::downgrade(&client));
        client
    }

    fn locked(&self) -> MutexGuard<'_, ByNumber> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_client_and_clients_that_nobody_uses_are_removed() {
        let clients = Clients::default();
        let kept = clients.get(0);
        (1..10_000).for_each(|number| drop(clients.get(number)));
        assert!(Arc::ptr_eq(&kept, &clients.get(0)));
        assert!(clients.locked().clients.len() < 100);
    }
}
