//! Tells who listens that a record changed.

use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

use crate::store::store_key::StoreKey;

/// How many news wait for a receiver that is slow. If there are more, it gets [`News::Missed`].
const CAPACITY: usize = 1024;

/// What a store tells those who listen. News is a hint: it may come twice, late or never, so a receiver reads the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// The record or the lease of this key changed.
    Changed(StoreKey),
    /// Some news may have been lost: any record may have changed.
    Missed,
}

/// Passes the news of a store to all its receivers, without waiting. A [`TokenStore`](crate::store::TokenStore) holds one.
#[derive(Clone, Debug)]
pub struct NewsChannel(Sender<News>);

/// Receives the news of a store, from its creation on.
#[derive(Debug)]
pub struct NewsReceiver(Option<Receiver<News>>);

impl NewsChannel {
    /// Creates a channel without receivers.
    #[must_use]
    pub fn new() -> Self {
        Self(channel(CAPACITY).0)
    }

    /// Passes on that the record or the lease of this key changed.
    pub fn changed(&self, key: StoreKey) {
        self.send(News::Changed(key));
    }

    /// Passes on that news may have been lost, as after a connection was made again.
    pub fn missed(&self) {
        self.send(News::Missed);
    }

    /// Creates a receiver of all news from now on.
    #[must_use]
    pub fn receiver(&self) -> NewsReceiver {
        NewsReceiver(Some(self.0.subscribe()))
    }

    fn send(&self, news: News) {
        // It fails if nobody listens.
        let _ = self.0.send(news);
    }
}

impl Default for NewsChannel {
    fn default() -> Self {
        Self::new()
    }
}

impl NewsReceiver {
    /// Creates a receiver that never gets any news, for a store that has none.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Waits for the next news. It waits forever if the store has none.
    ///
    /// # Cancel safety
    /// If the future is dropped before it ends, no news is lost.
    pub async fn next(&mut self) -> News {
        let received = match &mut self.0 {
            Some(receiver) => receiver.recv().await,
            None => Err(RecvError::Closed),
        };
        match received {
            Ok(news) => news,
            Err(RecvError::Lagged(_)) => News::Missed,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
