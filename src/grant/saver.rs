//! Saves a refresh token without delaying the tokens.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinHandle},
    time::Instant,
};

use crate::{after_commit, grant::flow::behavior::Flow, secret_string::SecretString, timer::timeout};

/// How long one attempt to save may take.
pub(crate) const SAVE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a renewal waits for a new refresh token to be saved. A program that ends soon has written a local file by then.
const PATIENCE: Duration = Duration::from_millis(100);

/// Saves the newest refresh token in a task of its own.
///
/// At most one attempt is made at a time. If a newer refresh token comes during an attempt, that one is saved after it. After
/// a failure, the next token request makes another attempt.
#[derive(Clone, Default)]
pub(crate) struct Saver(Arc<Mutex<Saving>>);

#[derive(Default)]
struct Saving {
    unsaved: Option<SecretString>,
    attempt: Option<Attempt>,
    /// Counts the series of attempts. One that is abandoned finds another number here.
    series: u64,
}

struct Attempt {
    began: Instant,
    /// It is missing while the attempt is polled for the first time.
    task: Option<AbortHandle>,
}

/// The task of an attempt that was abandoned. Its drop aborts the task, and may drop a runtime's last handle with the hooks of
/// its user, so drop it when no lock is held.
#[must_use = "dropping it under a lock runs user code there"]
pub(crate) struct Abandoned(Option<AbortHandle>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Saver {
    /// Makes this refresh token the one to save, and waits a moment for that. If a store gets it, that comes first.
    pub(crate) async fn save<F: Flow>(&self, refresh_token: SecretString, flow: &F) {
        self.saving().unsaved = Some(refresh_token);
        let (saver, of_flow) = (self.clone(), flow.clone());
        if after_commit::leave(move || saver.retry(&of_flow)) {
            return;
        }
        if let Some(task) = self.start(flow) {
            let _ = timeout(PATIENCE, task).await;
        }
    }

    /// Starts to save the refresh token that is not saved yet, if there is one.
    pub(crate) fn retry<F: Flow>(&self, flow: &F) {
        drop(self.start(flow));
    }

    /// Forgets the refresh token that is not saved yet, and returns the attempt to save it.
    pub(crate) fn forget(&self) -> Abandoned {
        let mut saving = self.saving();
        saving.unsaved = None;
        saving.abandon()
    }

    /// Starts a task that saves, unless there is one already.
    ///
    /// It is polled here first: if it needs not wait, the refresh token is saved before the access token is used.
    fn start<F: Flow>(&self, flow: &F) -> Option<JoinHandle<()>> {
        let (series, dead) = self.saving().begin()?;
        drop(dead);
        let mut task = Box::pin(self.clone().save_all(series, flow.clone()));
        if task.as_mut().now_or_never().is_some() {
            return None;
        }
        let Ok(runtime) = Handle::try_current() else {
            self.saving().end(series);
            return None;
        };
        let task = runtime.spawn(task);
        let keep = |attempt: &mut Attempt| attempt.task = Some(task.abort_handle());
        let is_kept = self.saving().attempt_of(series).map(keep).is_some();
        if !is_kept {
            task.abort();
        }
        Some(task)
    }

    /// Saves until the newest refresh token is saved, or an attempt to save that one fails.
    async fn save_all<F: Flow>(self, series: u64, flow: F) {
        while let Some(refresh_token) = self.next(series) {
            let is_saved = flow.save(&refresh_token).await;
            if self.saving().ended(series, &refresh_token, is_saved) {
                return;
            }
        }
    }

    fn next(&self, series: u64) -> Option<SecretString> {
        self.saving().next(series)
    }

    /// Locks the state. Saving, which is user code, is neither polled nor dropped under this lock.
    fn saving(&self) -> MutexGuard<'_, Saving> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Saving {
    /// Begins a series of attempts, if there is something to save and no other attempt is in progress.
    fn begin(&mut self) -> Option<(u64, Abandoned)> {
        self.unsaved.as_ref()?;
        if self.attempt.as_ref().is_some_and(|attempt| !attempt.is_dead()) {
            return None;
        }
        let dead = self.abandon();
        self.attempt = Some(Attempt { began: Instant::now(), task: None });
        Some((self.series, dead))
    }

    /// Returns the refresh token to save next.
    fn next(&mut self, series: u64) -> Option<SecretString> {
        let attempt = self.attempt_of(series)?;
        attempt.began = Instant::now();
        if self.unsaved.is_none() {
            self.attempt = None;
        }
        self.unsaved.clone()
    }

    /// Notes the end of an attempt. Returns whether the series has ended.
    fn ended(&mut self, series: u64, refresh_token: &SecretString, is_saved: bool) -> bool {
        if self.attempt_of(series).is_none() {
            return true;
        }
        let is_newest = self.unsaved.as_ref().is_some_and(|unsaved| unsaved.expose() == refresh_token.expose());
        if is_newest {
            self.attempt = None;
            self.unsaved = self.unsaved.take().filter(|_| !is_saved);
        }
        is_newest
    }

    fn end(&mut self, series: u64) {
        if self.attempt_of(series).is_some() {
            self.attempt = None;
        }
    }

    fn abandon(&mut self) -> Abandoned {
        self.series += 1;
        Abandoned(self.attempt.take().and_then(|attempt| attempt.task))
    }

    fn attempt_of(&mut self, series: u64) -> Option<&mut Attempt> {
        self.attempt.as_mut().filter(|_| self.series == series)
    }
}

impl Attempt {
    /// Returns whether it ended with its runtime, or its runtime probably no longer runs. Otherwise its own deadline would have
    /// ended it. If the runtime only stopped for some time, a save is lost that the next attempt repeats.
    fn is_dead(&self) -> bool {
        let is_finished = self.task.as_ref().is_some_and(AbortHandle::is_finished);
        is_finished || self.began.elapsed() > SAVE_DEADLINE + Duration::from_secs(1)
    }
}
