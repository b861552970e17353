//! Requests through the layer.

use tracing::{debug, warn};

use crate::{
    error::Error,
    events::{cache::Named, metrics::RETRIES, recorder},
};

const TARGET: &str = "tower_bearer::layer";

/// Notes that a request is not sent again although its answer asks for other credentials.
pub(crate) fn not_retried(of: Named<'_>, generation: u64, why_not: &'static str, error: Option<&Error>) {
    let error = error.map(tracing::field::display);
    debug!(target: TARGET, cache = of.cache, generation, why_not, error, "rejected, not retried");
    recorder::count(&RETRIES, &[of.label(), why_not], 1);
}

/// Notes that a request is sent again, as its resend of this number.
pub(crate) fn sent_again(of: Named<'_>, generation: u64, resend_count: u32) {
    debug!(target: TARGET, cache = of.cache, generation, http.request.resend_count = resend_count, "rejected, sending the request again");
    recorder::count(&RETRIES, &[of.label(), "retried"], 1);
}

pub(crate) fn trace_passed() {
    debug!(target: TARGET, "TRACE is sent without a token");
}

/// Notes that a request goes without a token, because its origin is not listed. `is_new` says that this is the first one to that
/// origin.
pub(crate) fn another_origin(scheme: &str, host: &str, port: Option<u16>, is_new: bool) {
    if is_new {
        warn!(
            target: TARGET,
            scheme,
            host,
            port,
            "a request was sent without a token, because its origin is not one of the listed ones; this is said once for each origin"
        );
    } else {
        debug!(target: TARGET, scheme, host, port, "not one of the listed origins: sent without a token");
    }
}
