//! A request that user code sends, and that may be sent again: the whole of it, and its parts.

use std::sync::Arc;

use crate::{
    cache::{
        cache_core::CacheCore,
        next_token::{NextToken, after_renewal, why_same_token},
        token_cache::TokenCache,
    },
    error::Error,
    extensions::{NotRetried, Outcome},
    judged::Judged,
    timer::timeout,
    token::AccessToken,
    verdict::Verdict,
};

/// The generation of a token that is not the newest one of its cache.
const NOT_NEWEST: u64 = u64::MAX;

impl TokenCache {
    /// Sends a request by any HTTP client, as the layer does: with the token, and once more with a new one if the API rejects it.
    ///
    /// `send` gets the token and sends the request. `judge` says what the response means for the token. If it says
    /// [rejected](Judged::REJECTED), the token is renewed, the renewal is waited for, and `send` is called again. `send` runs
    /// twice at most, and the second result is final. An error of `send` is final too; it says nothing about the token.
    ///
    /// ```
    /// # mod reqwest {
    /// #     pub struct Client;
    /// #     pub struct Builder;
    /// #     pub type Response = http::Response<()>;
    /// #     impl Client { pub fn get(&self, _: &str) -> Builder { Builder } }
    /// #     impl Builder {
    /// #         pub fn bearer_auth(self, _: &str) -> Self { self }
    /// #         pub async fn send(self) -> Result<Response, std::io::Error> { Ok(Response::new(())) }
    /// #     }
    /// # }
    /// use tower_bearer::{BoxError, Judged, TokenCache};
    ///
    /// async fn patient(cache: &TokenCache, client: &reqwest::Client) -> Result<reqwest::Response, BoxError> {
    ///     let url = "https://api.example.org/fhir/Patient/1";
    ///     let response = cache
    ///         .call(
    ///             |token| client.get(url).bearer_auth(token.secret()).send(),
    ///             |response| Judged::head(response.status(), response.headers()),
    ///         )
    ///         .await??;
    ///     Ok(response)
    /// }
    /// ```
    ///
    /// For a client whose response is an [`http::Response`], `judge` is [`Judged::response`]. `send` may also be an `async` block
    /// that does more than one step. Then clone or borrow what it needs, because it may run twice.
    ///
    /// Where the token goes is up to `send`. Unlike the layer, this checks neither the origin nor https, and a method with side
    /// effects is sent again as any other. So judge a result as rejected only if the API did not carry out the request.
    ///
    /// If there is no new token, because the source backs off, the [budget](crate::cache::RejectionBudget) is spent or the
    /// issuer returned the same token again, the first result is returned, so nothing is lost. An HTTP response may hold its
    /// connection until it is read. So if the renewal takes longer than 100 ms (2.5 s for a response whose `content-length` is
    /// at most 1 KiB), the first response is dropped, and `send` is called again in any case: with the old token if the renewal
    /// fails.
    ///
    /// # Errors
    /// The outer error is the cache's: there is no token, and `send` was not called; see [`token`](Self::token). It is also
    /// returned if the renewal took so long that the first response was dropped, failed then, and the old token has expired. The
    /// inner result is that of `send`.
    ///
    /// # Cancel safety
    /// Dropping this future drops the future of `send`. A renewal that it began goes on for other requests. A rejection that
    /// was judged is not forgotten.
    pub async fn call<T, E, F>(
        &self,
        send: impl FnMut(AccessToken) -> F,
        judge: impl Fn(&T) -> Judged,
    ) -> Result<Result<T, E>, Error>
    where
        F: Future<Output = Result<T, E>>,
    {
        let judge = |result: &Result<T, E>| result.as_ref().map_or(Judged::UNKNOWN, &judge);
        self.call_with_outcome(send, judge).await.map(|(result, _)| result)
    }

    /// Does the same as [`call`](Self::call) for `send` with any output, and returns what happened as well.
    ///
    /// `judge` sees the whole output. So it is also for clients that return a 401 as an error.
    ///
    /// ```
    /// # enum ApiError { Unauthorized, Other }
    /// # struct Sdk;
    /// # impl Sdk { async fn patient(&self, _token: &str) -> Result<String, ApiError> { Ok(String::new()) } }
    /// use tower_bearer::{Error, Judged, TokenCache};
    ///
    /// async fn patient(cache: &TokenCache, sdk: &Sdk) -> Result<Result<String, ApiError>, Error> {
    ///     let send = async |token: tower_bearer::AccessToken| sdk.patient(token.secret()).await;
    ///     let judge = |result: &Result<String, ApiError>| match result {
    ///         Ok(_) => Judged::ACCEPTED,
    ///         Err(ApiError::Unauthorized) => Judged::REJECTED,
    ///         Err(_) => Judged::UNKNOWN,
    ///     };
    ///     let (patient, outcome) = cache.call_with_outcome(send, judge).await?;
    ///     if let Some(why_not) = outcome.not_retried() {
    ///         eprintln!("not retried: {why_not}");
    ///     }
    ///     Ok(patient)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn call_with_outcome<T, F>(
        &self,
        mut send: impl FnMut(AccessToken) -> F,
        judge: impl Fn(&T) -> Judged,
    ) -> Result<(T, Outcome), Error>
    where
        F: Future<Output = T>,
    {
        let core = &self.core;
        let (token, waited) = core.token().await?;
        let generation = token.generation();
        let pass_on = |why_not: NotRetried| {
            core.note_not_retried(generation, &why_not);
            Outcome::new(generation, waited, false, Some(why_not))
        };

        let first = send(token).await;
        let judged = core.judged(judge(&first), generation);
        let (next, hold) = match core.after_result(&judged, generation) {
            Ok(None) => return Ok((first, Outcome::new(generation, waited, false, None))),
            Err(why_not) => return Ok((first, pass_on(why_not))),
            Ok(Some(next)) => (next, judged.hold),
        };

        let mut kept = Some(first);
        let renewed = match next {
            NextToken::Here(token) => Ok(token),
            NextToken::Awaited(mut renewal) => {
                let early = match hold {
                    Some(hold) => timeout(hold, renewal.as_mut()).await,
                    None => Some(renewal.as_mut().await),
                };
                if let Some(renewed) = early {
                    renewed
                } else {
                    // It may hold a connection that the renewal or others need.
                    kept = None;
                    renewal.await
                }
            }
        };
        let (token, failed) = match kept {
            Some(first) => match after_renewal(renewed, generation) {
                Ok(token) => (token, None),
                Err(why_not) => return Ok((first, pass_on(why_not))),
            },
            None => core.despite(renewed, generation)?,
        };

        core.note_sent_again(generation, 1);
        let retried = token.generation();
        let why_same = why_same_token(retried, generation, failed);
        let second = send(token).await;
        let judged = core.judged(judge(&second), retried);
        match why_same {
            None => core.note_retried(retried, judged.verdict, judged.proves),
            // The rejection of this token is known already.
            Some(_) => core.note_answered(retried, judged.proves),
        }
        Ok((second, Outcome::new(retried, waited, true, why_same)))
    }

    /// Tells the cache that an API accepted `token`.
    ///
    /// It is for programs that send requests with [`token`](Self::token) and decide by themselves what is sent again.
    /// [`call`](Self::call) and the layer do this for you. Call it after a success, with the token that the request carried. It
    /// costs a few nanoseconds if the cache does not need to know.
    ///
    /// The cache needs it to tell a revoked token from an API that rejects every token. Without it, new tokens are soon requested
    /// only from time to time, within the [`RejectionBudget`](crate::cache::RejectionBudget).
    ///
    /// ```
    /// use tower_bearer::{AccessToken, BoxError, TokenCache};
    /// # async fn status(_: &AccessToken) -> Result<u16, BoxError> { Ok(200) }
    ///
    /// async fn send(cache: &TokenCache) -> Result<u16, BoxError> {
    ///     let mut token = cache.token().await?;
    ///     let mut answer = status(&token).await?;
    ///     if answer == 401 {
    ///         token = match cache.reject(&token).await {
    ///             Ok(token) => token,
    ///             Err(_) => return Ok(answer),
    ///         };
    ///         answer = status(&token).await?;
    ///     }
    ///     if answer == 200 {
    ///         cache.accept(&token);
    ///     }
    ///     Ok(answer)
    /// }
    /// ```
    pub fn accept(&self, token: &AccessToken) {
        let is_retry = token.take_retry();
        if !is_retry && !self.core.published.is_watched() {
            return;
        }
        match self.newest_if(token) {
            Some(generation) if is_retry => self.core.note_retried(generation, Verdict::Accepted, true),
            Some(generation) => self.core.note_answered(generation, true),
            None => {}
        }
    }

    /// Tells the cache that an API rejected `token`, waits for its renewal, and returns the token to send the same request again
    /// with.
    ///
    /// If the cache has a newer token already, it returns that one at once. Send the request once more with the returned token,
    /// and tell the cache the answer: [`accept`](Self::accept), or `reject` again. For another request, call
    /// [`token`](Self::token).
    ///
    /// [`call`](Self::call) does all of this, and gives up a response that holds a connection for long.
    /// [`invalidate`](Self::invalidate) does not wait.
    ///
    /// # Errors
    /// Says why there is no other token: the budget is spent, the issuer returned the same token again, or the renewal failed,
    /// now or before within its backoff.
    ///
    /// # Cancel safety
    /// The rejection is noted when this future is first polled. Dropping it does not stop the renewal.
    pub async fn reject(&self, token: &AccessToken) -> Result<AccessToken, NotRetried> {
        let core = &self.core;
        // An older token, or one of another cache, which may have the same generation.
        let generation = self.newest_if(token).unwrap_or(NOT_NEWEST);
        if token.take_retry() {
            core.note_retried(generation, Verdict::Rejected, false);
        }
        let renewed = match core.next_token(generation)? {
            NextToken::Here(token) => Ok(token),
            NextToken::Awaited(renewal) => renewal.await,
        };
        let next = after_renewal(renewed, generation)?;
        // A cache that does not know the token, because it was made again, cannot tell by the generation.
        if next.secret() == token.secret() {
            return Err(NotRetried::SameToken);
        }
        Ok(next.for_retry())
    }
}

impl CacheCore {
    /// Returns what a result of user code says about the token of `generation`. If its challenge names a scope that the token
    /// is known to lack, a new token would not help.
    fn judged(&self, judged: Judged, generation: u64) -> Judged {
        match &judged.named_scope {
            Some(scope) if self.lacks(generation, scope) => Judged { verdict: Verdict::InsufficientScope, ..judged },
            _ => judged,
        }
    }

    /// Notes the first result. Returns the token of the second attempt, or `None` if the result was accepted.
    ///
    /// # Errors
    /// Returns why there is no second attempt.
    fn after_result(self: &Arc<Self>, judged: &Judged, generation: u64) -> Result<Option<NextToken>, NotRetried> {
        if judged.verdict == Verdict::Rejected {
            return self.next_token(generation).map(Some);
        }
        self.note_answered(generation, judged.proves);
        match judged.verdict {
            Verdict::InsufficientScope => Err(NotRetried::InsufficientScope),
            Verdict::InsufficientUserAuthentication => Err(NotRetried::InsufficientUserAuthentication),
            _ => Ok(None),
        }
    }
}
