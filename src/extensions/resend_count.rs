//! How often a request was sent before.

use http::Extensions;

/// How often a request was sent before, in the extensions of a request that is sent again. A service below the layer reads it.
///
/// It is the attribute `http.request.resend_count` of OpenTelemetry's
/// [HTTP client spans](https://opentelemetry.io/docs/specs/semconv/http/http-spans/): each attempt has its own span, and the
/// attribute is only on spans of attempts after the first. The layer's second attempt has 1, or one more than the request
/// had when it came, if a layer above sends requests again and counts too.
///
/// ```
/// use http::Request;
/// use tower_bearer::ResendCount;
/// use tower_http::trace::TraceLayer;
///
/// // Put it below the layer of this crate: each attempt has a span then.
/// let trace = TraceLayer::new_for_http().make_span_with(|request: &Request<String>| {
///     let resend_count = request.extensions().get::<ResendCount>().map(|count| count.0);
///     tracing::info_span!("GET", http.request.method = %request.method(), http.request.resend_count = resend_count)
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResendCount(pub u32);

impl ResendCount {
    /// Counts that a request with these extensions is sent again.
    pub(crate) fn count(extensions: &mut Extensions) -> Self {
        let next = Self(extensions.get::<Self>().map_or(0, |count| count.0).saturating_add(1));
        extensions.insert(next);
        next
    }
}
