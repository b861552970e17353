//! What a result of user code says about its token.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header::CONTENT_LENGTH};
use http_body::Body;

use crate::{challenge::Challenge, held_answer, scope::Scopes, verdict::Verdict};

/// What the result of a request says about the token that the request carried, for [`TokenCache::call`](crate::TokenCache::call).
///
/// It is a [`Verdict`], and whether the API has checked the token at all. Most answers have a status and headers:
/// [`response`](Self::response) and [`head`](Self::head) judge them as the layer does. For others, such as the error of an SDK,
/// there are three constants.
///
/// ```
/// use http::{HeaderMap, Response, StatusCode};
/// use tower_bearer::Judged;
///
/// // An SDK with an error type of its own.
/// enum SdkError { Status(u16), Network }
///
/// fn judge(result: &Result<String, SdkError>) -> Judged {
///     match result {
///         Ok(_) => Judged::ACCEPTED,
///         Err(SdkError::Status(401)) => Judged::REJECTED,
///         Err(SdkError::Status(_) | SdkError::Network) => Judged::UNKNOWN,
///     }
/// }
///
/// // Any client whose response has a status and headers.
/// fn judge_head(status: StatusCode, headers: &HeaderMap) -> Judged {
///     Judged::head(status, headers)
/// }
///
/// // An API that also answers 419 when a token has expired.
/// fn judge_419(response: &Response<String>) -> Judged {
///     match response.status().as_u16() {
///         419 => Judged::REJECTED,
///         _ => Judged::response(response),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Judged {
    pub(crate) verdict: Verdict,
    /// Whether it proves that the API accepted the token.
    pub(crate) proves: bool,
    /// The scope that the challenge of a rejection names.
    pub(crate) named_scope: Option<Scopes>,
    /// How long the result may be kept during a renewal, if it holds a connection.
    pub(crate) hold: Option<Duration>,
}

impl Judged {
    /// The API accepted the token. Use it only where the API has checked the token: after a success.
    pub const ACCEPTED: Self = Self::of(Verdict::Accepted, true);

    /// The API rejected the token, and did not carry out the request. The token is renewed, and the request is sent again.
    pub const REJECTED: Self = Self::of(Verdict::Rejected, false);

    /// The result says nothing about the token, such as a network error, a 404 or a 503. It is final.
    pub const UNKNOWN: Self = Self::of(Verdict::Accepted, false);

    const fn of(verdict: Verdict, proves: bool) -> Self {
        Self { verdict, proves, named_scope: None, hold: None }
    }

    /// Judges an [`http::Response`] by its status and headers; see [`head`](Self::head).
    pub fn response<B: Body>(response: &Response<B>) -> Self {
        let hold = held_answer::longest(response.body());
        Self { hold, ..Self::head(response.status(), response.headers()) }
    }

    /// Judges a response by the default rule, [`Verdict::standard`]: a 401 rejects the token, unless it says that the scope is
    /// not sufficient or that the user must authenticate again. A success or a 304 accepts it. Other statuses say nothing.
    pub fn head(status: StatusCode, headers: &HeaderMap) -> Self {
        Self::head_by(Verdict::standard, status, headers)
    }

    /// Judges a response by a custom rule, or by [`Verdict::grpc`]. An answer that the rule accepts proves the token only if it
    /// is a success or a 304.
    pub fn head_by(
        rule: impl FnOnce(StatusCode, &HeaderMap) -> Verdict,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Self {
        let verdict = rule(status, headers);
        let proves = verdict.proves_token(status, headers);
        if verdict != Verdict::Rejected {
            return Self::of(verdict, proves);
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self {
            named_scope: Challenge::unexplained_scope(headers).and_then(|scope| scope.parse().ok()),
            // Without a body, it holds nothing.
            hold: (length != Some(0)).then(|| held_answer::longest_by_size(length)),
            ..Self::REJECTED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, name: &'static str, value: &'static str) -> Judged {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        Judged::head(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn an_answer_without_a_body_may_be_kept_and_a_large_one_only_for_a_moment() {
        let millis = |length| head(401, "content-length", length).hold.map(|hold| hold.as_millis());
        assert_eq!((millis("0"), millis("1024"), millis("1025")), (None, Some(2500), Some(100)));
        assert_eq!(head(401, "transfer-encoding", "chunked").hold.unwrap().as_millis(), 100);
        assert_eq!(Judged::REJECTED.hold, None, "the caller has read it");
    }

    #[test]
    fn a_status_from_before_authentication_proves_nothing() {
        for (status, proves) in
            [(200, true), (304, true), (401, false), (403, false), (404, false), (429, false), (503, false)]
        {
            assert_eq!(head(status, "x-any", "any").proves, proves, "{status}");
        }
        assert!(head(403, "www-authenticate", "Bearer error=insufficient_scope").proves);
        let failed = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "14".parse().unwrap())]);
        assert!(!Judged::head_by(Verdict::grpc, StatusCode::OK, &failed).proves);
    }
}
