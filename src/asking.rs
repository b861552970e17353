//! What a grant tells the renewal that it is part of: that it is about to send something, and what came back.
//!
//! Before a grant sends, it may have to read secrets, which can take long or fail. That says nothing about the authorization
//! server and the client. So in a pool, a renewal asks for permission at the moment of sending, for each server that takes part.
//! The renewal has a task-local, as for [`recursion`](crate::recursion). Outside a pool's renewals, all of this does nothing.

use std::{pin::Pin, sync::Arc};

use crate::error::Error;

tokio::task_local! {
    static ASKING: Arc<dyn Asking>;
}

/// A client at an issuer, by the numbers of [`TokenSource::client`](crate::TokenSource::client) and
/// [`TokenSource::issuer`](crate::TokenSource::issuer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) client: u64,
    pub(crate) issuer: u64,
}

/// What a grant is about to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing yet. It first gets something else that it needs.
    Nothing,
    /// A request without the client's secret, such as one for metadata.
    Question,
    /// A token request.
    TokenRequest,
}

impl Asks {
    /// Returns whether it presents the client.
    pub(crate) fn needs_client(self) -> bool {
        self == Self::TokenRequest
    }
}

pub(crate) type Permission<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// The renewal that a grant is part of.
pub(crate) trait Asking: Send + Sync {
    /// Notes that the source says when it sends, so that nothing was sent before it says so.
    fn announces(&self);

    /// Waits until the renewal may send this.
    ///
    /// # Errors
    /// When the client was refused or the issuer has an outage.
    fn permission(&self, numbers: Numbers, asks: Asks) -> Permission<'_>;

    /// Notes how a request ended that was permitted.
    fn ended(&self, numbers: Numbers, error: Option<&Error>);
}

/// Runs what obtains a token as a part of a renewal.
#[cfg(not(all(test, shuttle)))]
pub(crate) async fn scope<F: Future>(asking: Option<Arc<dyn Asking>>, obtain: F) -> F::Output {
    match asking {
        Some(asking) => ASKING.scope(asking, obtain).await,
        None => obtain.await,
    }
}

/// Shuttle's tasks share one thread, and so would share the task-local.
#[cfg(all(test, shuttle))]
pub(crate) async fn scope<F: Future>(_: Option<Arc<dyn Asking>>, obtain: F) -> F::Output {
    obtain.await
}

/// Calls [`Asking::announces`] of the renewal that the running task is part of.
pub(crate) fn announces() {
    if let Some(asking) = here() {
        asking.announces();
    }
}

/// Waits for [`Asking::permission`] of the renewal that the running task is part of.
pub(crate) async fn permission(numbers: impl FnOnce() -> Numbers, asks: Asks) -> Result<(), Error> {
    match here() {
        Some(asking) => asking.permission(numbers(), asks).await,
        None => Ok(()),
    }
}

/// Calls [`Asking::ended`] of the renewal that the running task is part of.
pub(crate) fn ended(numbers: impl FnOnce() -> Numbers, error: Option<&Error>) {
    if let Some(asking) = here() {
        asking.ended(numbers(), error);
    }
}

fn here() -> Option<Arc<dyn Asking>> {
    ASKING.try_with(Arc::clone).ok()
}
