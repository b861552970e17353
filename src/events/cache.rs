//! The life of a token.

use std::time::Duration;

use tracing::{Span, debug, debug_span, info, warn};

use crate::{
    error::{Error, FailureClass},
    events::{
        metrics::{
            REJECTIONS, REJECTIONS_LIMITED, RENEWAL_SECONDS, TOKEN_EXPIRY, TOKEN_FAILURES, TOKEN_REQUEST_RETRIES,
            TOKENS_ISSUED,
        },
        recorder,
    },
};

const TARGET: &str = "tower_bearer::cache";

/// Whose event it is: the name that the user gave the cache or its pool, and an identity that may be shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Named<'a> {
    pub(crate) cache: Option<&'a str>,
    /// For log lines only.
    pub(crate) identity: Option<&'a str>,
}

impl<'a> Named<'a> {
    pub(super) fn label(self) -> &'a str {
        self.cache.unwrap_or_default()
    }
}

/// A token that was issued.
pub(crate) struct Issued {
    pub(crate) generation: u64,
    pub(crate) expires_in: Duration,
    pub(crate) took: Duration,
    pub(crate) reason: &'static str,
}

/// Shows the counters of a new cache or pool with a name, so that the first failure is an increase.
pub(crate) fn cache_made(cache: &str) {
    for reason in ["first", "ageing", "rejected"] {
        recorder::count(&TOKENS_ISSUED, &[cache, reason], 0);
    }
    for class in [FailureClass::Transient, FailureClass::Unexplained, FailureClass::Terminal] {
        recorder::count(&TOKEN_FAILURES, &[cache, class_name(class)], 0);
    }
    recorder::count(&TOKEN_REQUEST_RETRIES, &[cache], 0);
    recorder::count(&REJECTIONS, &[cache], 0);
}

/// Creates the span of a renewal. It is not a child of the request that began it, which may end long before.
pub(crate) fn renewal_span(of: Named<'_>) -> Span {
    let Named { cache, identity } = of;
    let span = debug_span!(target: TARGET, parent: None, "renew token", cache, identity);
    span.follows_from(Span::current());
    span
}

pub(crate) fn requesting_token(reason: &'static str) {
    debug!(target: TARGET, reason, "requesting a token");
}

pub(crate) fn token_request_retried(of: Named<'_>, error: &Error, wait: Duration) {
    debug!(target: TARGET, %error, ?wait, "token request failed, trying again");
    recorder::count(&TOKEN_REQUEST_RETRIES, &[of.label()], 1);
}

pub(crate) fn token_not_wanted() {
    debug!(target: TARGET, "no token requested, because of a reset or a newer request");
}

pub(crate) fn token_not_requested(error: &Error) {
    debug!(target: TARGET, %error, "no token requested");
}

pub(crate) fn token_issued(of: Named<'_>, issued: &Issued) {
    let (Named { cache, identity }, Issued { generation, expires_in, took, reason }) = (of, issued);
    info!(target: TARGET, cache, identity, generation, reason, ?expires_in, ?took, "token issued");
    recorder::count(&TOKENS_ISSUED, &[of.label(), reason], 1);
    recorder::record(&RENEWAL_SECONDS, &[of.label(), "issued"], *took);
}

pub(crate) fn token_issued_late(of: Named<'_>, took: Duration) {
    let Named { cache, identity } = of;
    info!(target: TARGET, cache, identity, ?took, "token not used, because it was requested before a reset or a newer request");
}

/// Notes the failure of a renewal, and how long the source is not asked.
pub(crate) fn token_failed(of: Named<'_>, error: &Error, wait: Duration, took: Duration) {
    let Named { cache, identity } = of;
    let class = error.class();
    warn!(target: TARGET, %error, ?class, ?wait, ?took, cache, identity, "token request failed");
    count_failure(of, class, took);
}

pub(crate) fn token_failed_late(of: Named<'_>, error: &Error, took: Duration) {
    let Named { cache, identity } = of;
    warn!(target: TARGET, %error, ?took, cache, identity, "token request failed, but it was made before a reset or a newer request");
    count_failure(of, error.class(), took);
}

fn count_failure(of: Named<'_>, class: FailureClass, took: Duration) {
    recorder::count(&TOKEN_FAILURES, &[of.label(), class_name(class)], 1);
    recorder::record(&RENEWAL_SECONDS, &[of.label(), "failed"], took);
}

/// Notes that an answer rejected the token.
pub(crate) fn rejected(of: Named<'_>) {
    recorder::count(&REJECTIONS, &[of.label()], 1);
}

/// Shows until when the token of a cache is served.
pub(crate) fn show_expiry(cache: &str, unix_seconds: u64) {
    // Exact for longer than there will be tokens.
    let (high, low) = (unix_seconds >> 32, unix_seconds & u64::from(u32::MAX));
    let part = |part| f64::from(u32::try_from(part).unwrap_or(u32::MAX));
    recorder::set(&TOKEN_EXPIRY, &[cache], part(high) * 4_294_967_296.0 + part(low));
}

/// Shows whether the rejections of a cache are passed on.
pub(crate) fn show_limited(cache: &str, is_limited: bool) {
    recorder::set(&REJECTIONS_LIMITED, &[cache], f64::from(u8::from(is_limited)));
}

fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Transient => "transient",
        FailureClass::Unexplained => "unexplained",
        FailureClass::Terminal => "terminal",
    }
}
