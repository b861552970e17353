//! The refresh token that a grant holds.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    error::Error,
    grant::{
        flow::behavior::{Flow, RefreshPolicy},
        turn::{Turn, Turns},
    },
    secret_string::SecretString,
};

/// A refresh token that exchanges use in turn.
///
/// An exchange takes the refresh token out and does not hold a lock while it waits for the server. What it brings is kept only
/// if no other exchange has kept something since: an exchange that [lost its turn](Turns) may end at any time.
#[derive(Default)]
pub(crate) struct SharedRefreshToken {
    turns: Turns,
    state: Mutex<RefreshState>,
}

/// A refresh token, and the credentials that it belongs to.
#[derive(Default)]
struct RefreshState {
    current: Option<SecretString>,
    is_saved: bool,
    is_refused: bool,
    /// The refresh token that the user gave.
    initial: Option<SecretString>,
    /// The version of the user's credentials.
    version: u64,
    /// Counts the changes of the current refresh token.
    revision: u64,
}

/// What an exchange takes out.
pub(crate) struct TakenRefreshToken {
    pub(crate) token: Option<SecretString>,
    revision: u64,
}

impl SharedRefreshToken {
    /// Waits until no other exchange uses the refresh token.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.turns.take().await
    }

    /// Starts again from the user's refresh token if the credentials have changed or the current one was refused.
    pub(crate) async fn reload_changed_credentials<F: Flow>(&self, flow: &F) -> Result<(), Error> {
        let version = flow.version();
        if self.state().must_reload::<F>(version) {
            let initial = flow.initial_refresh_token().await?;
            self.state().reload(initial, version);
        }
        Ok(())
    }

    /// Takes out the refresh token, for one exchange.
    pub(crate) fn take(&self) -> TakenRefreshToken {
        let state = self.state();
        TakenRefreshToken { token: state.current.clone(), revision: state.revision }
    }

    /// Notes whether the server refused the refresh token.
    pub(crate) fn set_refused(&self, taken: &TakenRefreshToken, is_refused: bool) {
        if let Some(mut state) = self.state_of(taken) {
            state.is_refused = is_refused;
        }
    }

    /// Drops a refresh token that can no longer be used.
    pub(crate) fn forget(&self, taken: &TakenRefreshToken) {
        if let Some(mut state) = self.state_of(taken) {
            state.current = None;
        }
    }

    /// Replaces the refresh token by the one that it brought, and saves that.
    pub(crate) async fn replace<F: Flow>(&self, taken: &TakenRefreshToken, new: SecretString, flow: &F) {
        // It is stored before it is saved: the deadline of the renewal may end the saving.
        if let Some(mut state) = self.state_of(taken) {
            state.is_saved = state.is_saved && is_same(state.current.as_ref(), Some(&new));
            state.set_current(Some(new));
        }
        self.save(flow).await;
    }

    /// Saves the refresh token if it is not saved yet.
    pub(crate) async fn save<F: Flow>(&self, flow: &F) {
        let unsaved = self.state().unsaved();
        if let Some(refresh_token) = unsaved {
            let is_saved = flow.save(&refresh_token).await;
            let mut state = self.state();
            if is_same(state.current.as_ref(), Some(&refresh_token)) {
                state.is_saved = is_saved;
            }
        }
    }

    /// Returns the state, if nothing was kept since the refresh token was taken out.
    fn state_of(&self, taken: &TakenRefreshToken) -> Option<MutexGuard<'_, RefreshState>> {
        Some(self.state()).filter(|state| state.revision == taken.revision)
    }

    fn state(&self) -> MutexGuard<'_, RefreshState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RefreshState {
    fn must_reload<F: Flow>(&self, version: u64) -> bool {
        let is_new = F::REFRESH == RefreshPolicy::Only && self.initial.is_none();
        is_new || self.is_refused || self.version != version
    }

    fn reload(&mut self, initial: Option<SecretString>, version: u64) {
        // If it is the same one as before, it is used up. A second use would look like theft.
        if initial.is_none() || !is_same(self.initial.as_ref(), initial.as_ref()) {
            self.set_current(initial.clone());
            (self.is_saved, self.initial) = (true, initial);
        }
        (self.is_refused, self.version) = (false, version);
    }

    fn set_current(&mut self, current: Option<SecretString>) {
        self.current = current;
        self.revision += 1;
    }

    fn unsaved(&self) -> Option<SecretString> {
        self.current.clone().filter(|_| !self.is_saved)
    }
}

fn is_same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(SecretString::expose) == other.map(SecretString::expose)
}
