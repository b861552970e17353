//! The refresh token that a grant holds.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    error::Error,
    grant::{
        flow::behavior::{Flow, RefreshPolicy},
        saver::Saver,
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
    saver: Saver,
}

/// A refresh token, and the credentials that it belongs to.
#[derive(Default)]
struct RefreshState {
    current: Option<SecretString>,
    is_refused: bool,
    /// The refresh token that the user gave.
    initial: Option<SecretString>,
    /// The version of the user's credentials.
    version: u64,
    /// Counts the changes of the current refresh token.
    revision: u64,
    /// Counts the failed revocations.
    failed_revocations: u64,
    last_revocation_error: Option<Error>,
}

/// What an exchange takes out.
pub(crate) struct TakenRefreshToken {
    pub(crate) token: Option<SecretString>,
    /// The version of the user's credentials that it belongs to.
    pub(crate) version: u64,
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
            if self.state().reload(initial, version) {
                // The user has saved another one.
                drop(self.saver.forget());
            }
        }
        Ok(())
    }

    /// Returns whether the user's refresh token was never read.
    pub(crate) fn is_unread(&self) -> bool {
        self.state().initial.is_none()
    }

    /// Takes out the refresh token, for one exchange.
    pub(crate) fn take(&self) -> TakenRefreshToken {
        let state = self.state();
        TakenRefreshToken { token: state.current.clone(), version: state.version, revision: state.revision }
    }

    /// Notes whether the server refused the refresh token.
    pub(crate) fn set_refused(&self, taken: &TakenRefreshToken, is_refused: bool) {
        if let Some(mut state) = self.state_of(taken) {
            state.is_refused = is_refused;
        }
    }

    /// Drops a refresh token that can no longer be used, unless another one has replaced it.
    pub(crate) fn forget(&self, taken: &TakenRefreshToken) {
        if let Some(mut state) = self.state_of(taken)
            && is_same(state.current.as_ref(), taken.token.as_ref())
        {
            state.current = None;
        }
    }

    /// Replaces the refresh token by the one that the exchange brought, and saves that.
    pub(crate) async fn replace<F: Flow>(&self, taken: &mut TakenRefreshToken, new: SecretString, flow: &F) {
        let is_new = self.state_of(taken).is_some_and(|mut state| {
            let is_new = state.replace(new.clone());
            taken.revision = state.revision;
            is_new
        });
        if is_new {
            self.saver.save(new, flow).await;
        }
    }

    /// Replaces the refresh token by the one that another process received last, which has saved it. Without one, there is none any
    /// more, and the user's own one is not used again.
    pub(crate) fn continue_with(&self, refresh_token: Option<SecretString>) {
        let mut state = self.state();
        if !is_same(state.current.as_ref(), refresh_token.as_ref()) {
            state.is_refused = refresh_token.is_none();
            state.set_current(refresh_token);
        }
    }

    /// Starts to save a refresh token that could not be saved before.
    pub(crate) fn retry_saving<F: Flow>(&self, flow: &F) {
        self.saver.retry(flow);
    }

    /// Notes that the server has revoked the refresh token. The user's own one is not used again either, if it is the same or
    /// the one that this came from.
    pub(crate) fn set_revoked(&self, taken: &TakenRefreshToken) {
        let abandoned = self.state_of(taken).map(|mut state| {
            state.set_current(None);
            state.is_refused = true;
            self.saver.forget()
        });
        drop(abandoned);
    }

    /// Returns how many revocations have failed.
    pub(crate) fn failed_revocations(&self) -> u64 {
        self.state().failed_revocations
    }

    /// Returns the error of the last revocation that failed, if there were more than `before`.
    pub(crate) fn revocation_failed_since(&self, before: u64) -> Option<Error> {
        let state = self.state();
        state.last_revocation_error.clone().filter(|_| state.failed_revocations > before)
    }

    pub(crate) fn set_revocation_failed(&self, error: &Error) {
        let mut state = self.state();
        state.failed_revocations += 1;
        let replaced = state.last_revocation_error.replace(error.clone());
        drop(state);
        drop(replaced);
    }

    /// Returns the state, if nothing was kept since the refresh token was taken out.
    fn state_of(&self, taken: &TakenRefreshToken) -> Option<MutexGuard<'_, RefreshState>> {
        Some(self.state()).filter(|state| state.revision == taken.revision)
    }

    /// Locks the state. The error in it may be the last clone of an HTTP client's error, whose drop is user code: it is not
    /// dropped under this lock.
    fn state(&self) -> MutexGuard<'_, RefreshState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RefreshState {
    fn must_reload<F: Flow>(&self, version: u64) -> bool {
        // There is none before the first use, and after a revocation.
        let is_missing = F::REFRESH == RefreshPolicy::Only && self.current.is_none();
        is_missing || self.is_refused || self.version != version
    }

    /// Returns whether the user's refresh token is another one.
    fn reload(&mut self, initial: Option<SecretString>, version: u64) -> bool {
        (self.is_refused, self.version) = (false, version);
        // If it is the same one as before, it is used up. A second use would look like theft.
        let is_other = initial.is_none() || !is_same(self.initial.as_ref(), initial.as_ref());
        if is_other {
            self.set_current(initial.clone());
            self.initial = initial;
        }
        is_other
    }

    /// Returns whether the new refresh token is another one.
    fn replace(&mut self, new: SecretString) -> bool {
        let is_new = !is_same(self.current.as_ref(), Some(&new));
        self.set_current(Some(new));
        is_new
    }

    fn set_current(&mut self, current: Option<SecretString>) {
        self.current = current;
        self.revision += 1;
    }
}

fn is_same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(SecretString::expose) == other.map(SecretString::expose)
}
