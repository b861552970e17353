//! What a failure says about another attempt.

use http::StatusCode;

/// What a failure to get a token says about another attempt. It chooses the backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// The issuer could not be reached, was busy or broken, or sent an answer that is not usable. The next attempt
    /// comes soon.
    Transient,
    /// The issuer answered with a 4xx status and no error code: a proxy's page or, on some servers, a wrong password.
    /// The next attempts come at growing intervals.
    Unexplained,
    /// The issuer refused and said why. Another attempt with the same credentials may lock the account.
    Terminal,
}

impl FailureClass {
    /// Returns the class of a status that came without an error code.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let is_temporary = is_temporary(status) || status == StatusCode::REQUEST_TIMEOUT;
        if is_temporary || !status.is_client_error() { Self::Transient } else { Self::Unexplained }
    }

    /// Returns the class of a refusal with an error code. A code that is not registered is a refusal with a reason too.
    pub(super) fn of_refusal(status: StatusCode, code: &str) -> Self {
        let is_temporary =
            is_temporary(status) || matches!(code, "temporarily_unavailable" | "server_error" | "slow_down");
        if is_temporary { Self::Transient } else { Self::Terminal }
    }
}

fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_class_that_protects_the_account() {
        let class = |status: u16| FailureClass::of_status(StatusCode::from_u16(status).unwrap());
        assert_eq!(class(503), FailureClass::Transient);
        assert_eq!(class(429), FailureClass::Transient);
        assert_eq!(class(403), FailureClass::Unexplained);
        assert_eq!(class(400), FailureClass::Unexplained);
    }
}
