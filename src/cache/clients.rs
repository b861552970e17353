//! The clients that the identities of a pool authenticate as, and their issuers, by their numbers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::cache::{client_state::ClientState, issuer_state::IssuerState, places::Share, single_flight::SingleFlight};

/// What is known of a client, and the one identity that tries it.
pub(crate) type Client = SingleFlight<ClientState, ()>;

/// What is known of an issuer, and its share of the places.
#[derive(Default)]
pub(crate) struct Issuer {
    /// Nothing waits for a flight here. It is what keeps user code from running under the lock.
    pub(crate) known: SingleFlight<IssuerState, ()>,
    pub(crate) share: Arc<Share>,
}

/// Things by numbers. Each lives as long as an identity refers to it.
pub(crate) struct ByNumber<T>(Mutex<Known<T>>);

struct Known<T> {
    all: HashMap<u64, Weak<T>>,
    /// How many there may be before those that are no longer used are removed.
    enough: usize,
}

impl<T> Default for ByNumber<T> {
    fn default() -> Self {
        Self(Mutex::new(Known { all: HashMap::new(), enough: 0 }))
    }
}

impl<T: Default> ByNumber<T> {
    /// Returns the one with this number. Under the lock, nothing is dropped that holds anything of a user's: what is removed
    /// has no state any more.
    pub(crate) fn get(&self, number: u64) -> Arc<T> {
        let mut locked = self.locked();
        if let Some(known) = locked.all.get(&number).and_then(Weak::upgrade) {
            return known;
        }
        if locked.all.len() >= locked.enough {
            locked.all.retain(|_, known| known.strong_count() > 0);
            locked.enough = 2 * locked.all.len() + 16;
        }
        let new = Arc::<T>::default();
        locked.all.insert(number, Arc::downgrade(&new));
        new
    }

    fn locked(&self) -> MutexGuard<'_, Known<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_client_and_clients_that_nobody_uses_are_removed() {
        let clients = ByNumber::<Client>::default();
        let kept = clients.get(0);
        (1..10_000).for_each(|number| drop(clients.get(number)));
        assert!(Arc::ptr_eq(&kept, &clients.get(0)));
        assert!(clients.locked().all.len() < 100);
    }
}
