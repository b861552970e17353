//! What a failure says about another attempt.

use http::StatusCode;

/// What a failure to get a token says about another attempt. It chooses the backoff.
///
/// The class comes from what happened, not from the form of the answer: a refusal is one with any content type, and with
/// the status 200 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// The issuer could not be reached, sent no answer in time, or was busy or broken: 408, 425, 429, 502, 503 and 504, and
    /// any other 5xx without an error code. Or it sent a token that is not usable. The next attempt comes soon.
    Transient,
    /// The issuer gave no token and no clear reason: a 4xx status without an error code, a 500 with one, a redirect, an answer
    /// with the status 200 and no token, or a connection that closed after the request was sent. It may be a proxy's page or,
    /// on some servers, a wrong password. The next attempts come at growing intervals.
    Unexplained,
    /// The issuer refused and said why. Another attempt with the same credentials may lock the account.
    Terminal,
}

impl FailureClass {
    /// Returns the class of a status that came without an error code.
    pub(super) fn of_status(status: StatusCode) -> Self {
        if is_temporary(status) || !status.is_client_error() { Self::Transient } else { Self::Unexplained }
    }

    /// Returns the class of a refusal with an error code. A code that is not registered is a refusal with a reason too.
    ///
    /// A 5xx that does not mean "later" contradicts its code, and some servers lock an account with `server_error`.
    pub(super) fn of_refusal(status: StatusCode, code: &str) -> Self {
        match code {
            _ if is_temporary(status) => Self::Transient,
            _ if status.is_server_error() => Self::Unexplained,
            "temporarily_unavailable" | "slow_down" => Self::Transient,
            "server_error" => Self::Unexplained,
            _ => Self::Terminal,
        }
    }
}

/// Returns whether the status means that a later attempt may succeed, whatever the body says.
fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_class_that_protects_the_account() {
        let class = |status: u16| FailureClass::of_status(StatusCode::from_u16(status).unwrap());
        assert_eq!(class(503), FailureClass::Transient);
        assert_eq!(class(429), FailureClass::Transient);
        assert_eq!(class(425), FailureClass::Transient);
        assert_eq!(class(500), FailureClass::Transient);
        assert_eq!(class(403), FailureClass::Unexplained);
        assert_eq!(class(400), FailureClass::Unexplained);
    }
}
