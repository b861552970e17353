//! What is checked, by name.

use std::fmt;

/// A behaviour that [`check_stack`](super::super::check_stack) checks. `Display` shows its sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StackBehaviour {
    /// A request arrives with the token, and with one `Authorization` header. If this fails, nothing else is checked.
    TokenAttached,
    /// Each request reaches the API, and each answer comes back whole. The answers say `Cache-Control: no-store`.
    EveryRequestArrives,
    /// Requests that start before there is a token share one token request.
    OneTokenRequestForAll,
    /// A request that is marked with [`SkipBearerAuth`](crate::SkipBearerAuth) arrives with the `Authorization` of its caller.
    MarkedRequestKeepsItsHeader,
    /// A redirect to another origin takes no token along.
    RedirectTakesNoToken,
    /// No log line shows the token. Only the lines of the thread that runs the checks are seen, so use a current-thread runtime.
    TokenNotLogged,
    /// A token is renewed before it expires, so that the API never sees an expired one.
    RenewedBeforeExpiry,
    /// After a 401, the token is renewed and the request is sent once more. If this does not apply (`without_retry`), what follows a
    /// second attempt is not checked.
    RejectedRequestSentAgain,
    /// The second attempt has the whole body again.
    BodySentWholeAgain,
    /// The same for a body that is a stream of chunks.
    StreamSentWholeAgain,
    /// The same if the API answers before it has read the body.
    EarlyRejectionSentAgain,
    /// Requests whose token is rejected at the same time share one renewal.
    OneRenewalForAllRejections,
    /// If the second attempt is rejected too, the caller gets that 401, and there is no third attempt.
    SecondRejectionReturned,
    /// The answer to a second attempt has an [`Outcome`](crate::Outcome) in its extensions.
    OutcomeReadable,
    /// A 403 and a 500 come back as they are. They cost no token request.
    OtherErrorsReturned,
    /// While there is no token, nothing is sent, and the caller gets the crate's [`Error`](crate::Error).
    NothingSentWithoutToken,
    /// While there is no token, requests that are sent again do not ask the issuer again.
    RetriesAskIssuerOnce,
    /// A request that is given up while it waits for a token, as by a timeout, does not stop the token request.
    RenewalOutlivesRequest,
    /// After requests were dropped in each state, others work: they leave no permit and no place in a queue behind.
    DroppedRequestsLeaveNothing,
}

impl fmt::Display for StackBehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenAttached => "a request arrives with the token",
            Self::EveryRequestArrives => "each request reaches the API, and each answer its caller",
            Self::OneTokenRequestForAll => "requests that start at once share one token request",
            Self::MarkedRequestKeepsItsHeader => "a request that skips the layer keeps its own header",
            Self::RedirectTakesNoToken => "a redirect to another origin takes no token along",
            Self::TokenNotLogged => "no log line shows the token",
            Self::RenewedBeforeExpiry => "the token is renewed before it expires",
            Self::RejectedRequestSentAgain => "after a 401, the request is sent again with a new token",
            Self::BodySentWholeAgain => "the second attempt has the whole body",
            Self::StreamSentWholeAgain => "the second attempt has the whole stream",
            Self::EarlyRejectionSentAgain => "a 401 that comes before the body was read is retried",
            Self::OneRenewalForAllRejections => "requests that are rejected at once share one renewal",
            Self::SecondRejectionReturned => "a second 401 is returned",
            Self::OutcomeReadable => "the response says what happened",
            Self::OtherErrorsReturned => "a 403 and a 500 are returned, and cost no token request",
            Self::NothingSentWithoutToken => "without a token, nothing is sent",
            Self::RetriesAskIssuerOnce => "while the issuer fails, retries do not ask it again",
            Self::RenewalOutlivesRequest => "a request that is given up does not stop the token request",
            Self::DroppedRequestsLeaveNothing => "dropped requests leave nothing behind",
        })
    }
}
