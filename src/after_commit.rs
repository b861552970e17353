//! What a source leaves for later: a store must have a new refresh token first.
//!
//! A process that dies before that takes the refresh token with it, so nothing of a user's runs in between. A token request whose
//! outcome is committed has a task-local, as for [`recursion`](crate::recursion).

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

tokio::task_local! {
    static LEFT: AfterCommit;
}

type Action = Box<dyn FnOnce() + Send>;

/// The actions that were left for later. They run when the last clone is dropped, so also if the commit is cancelled.
#[derive(Clone, Default)]
pub(crate) struct AfterCommit(Arc<Actions>);

#[derive(Default)]
struct Actions(Mutex<Vec<Action>>);

impl AfterCommit {
    /// Runs a token request whose outcome is committed after it.
    pub(crate) async fn scope<F: Future>(&self, obtain: F) -> F::Output {
        LEFT.scope(self.clone(), obtain).await
    }
}

/// Leaves an action for later. Returns whether there is a commit to wait for.
pub(crate) fn leave(action: impl FnOnce() + Send + 'static) -> bool {
    LEFT.try_with(|left| left.0.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(action))).is_ok()
}

impl Drop for Actions {
    fn drop(&mut self) {
        let actions = mem::take(self.0.get_mut().unwrap_or_else(PoisonError::into_inner));
        for action in actions {
            action();
        }
    }
}
