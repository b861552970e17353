//! A token before the first request, and while there are none.

use std::time::Duration;

use crate::{cache::token_cache::TokenCache, error::Error, timer::sleep};

/// How often the token's age is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a token is kept that had expired when it came: another one would not help.
const EXPIRED_ON_ARRIVAL: Duration = Duration::from_secs(60);

impl TokenCache {
    /// Waits until the cache has a token: at the start of a program, before it accepts traffic.
    ///
    /// A failure that may pass is waited for, as long as it takes: each attempt follows the [backoff](crate::cache::Backoff), and
    /// is logged. Set a deadline around it if the program should give up.
    ///
    /// ```
    /// # use tower_bearer::{FixedToken, TokenCache};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = TokenCache::new(FixedToken::new("mF_9.B5f-4.1JqM")?);
    /// tokio::time::timeout(std::time::Duration::from_secs(60), cache.ready()).await??;
    /// assert!(cache.status().is_ready());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When waiting does not help: a [terminal](Error::is_terminal) failure, a source that panics or needs this cache itself, or no
    /// Tokio runtime. A program that ends then should not be started again at once: each start may be a try with a wrong password.
    ///
    /// # Cancel safety
    /// The renewal runs in a task of its own. Dropping this future does not stop or delay it.
    pub async fn ready(&self) -> Result<(), Error> {
        loop {
            match self.token().await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_terminal() || error.is_within() => return Err(error),
                Err(_) => self.backed_off().await,
            }
        }
    }

    /// Keeps a token ready, also while there are no requests, so that no request waits for one. It never ends: run it in a task, and
    /// abort that task before the token is [revoked](Self::revoke).
    ///
    /// Without it, the request that comes after a long pause waits for a token. With it, a token is renewed for as long as the task
    /// runs. Failures are logged, and tried again as for requests.
    ///
    /// ```
    /// # use tower_bearer::{FixedToken, TokenCache};
    /// # async fn serve_until_ctrl_c() {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_bearer::Error> {
    /// # let cache = TokenCache::new(FixedToken::new("mF_9.B5f-4.1JqM")?);
    /// let keeper = tokio::spawn({
    ///     let cache = cache.clone();
    ///     async move { cache.keep_ready().await }
    /// });
    /// serve_until_ctrl_c().await;
    /// keeper.abort();
    /// if let Err(error) = cache.revoke().await {
    ///     eprintln!("the token stays valid until it expires: {error}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    /// A renewal that it began goes on.
    pub async fn keep_ready(&self) {
        loop {
            match self.token().await {
                Ok(_) if self.status().is_ready() => sleep(PERIOD).await,
                Ok(_) => sleep(EXPIRED_ON_ARRIVAL).await,
                Err(_) => self.backed_off().await,
            }
        }
    }

    /// Waits for the end of the backoff, but not long: new credentials end it early.
    async fn backed_off(&self) {
        let wait = self.status().retry_in.unwrap_or_default();
        sleep(wait.clamp(Duration::from_millis(100), PERIOD)).await;
    }
}
