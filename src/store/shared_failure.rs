//! A failure in a record: all processes have it, and only one asks the issuer again.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, FailureClass},
    store::fields::{Hash, Millis, millis},
};

/// The longest time that a refusal is passed on before one process asks again.
const LONGEST: Duration = Duration::from_secs(600);

/// How long failures in a row are counted after the last one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1800);

#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct SharedFailure {
    /// The fence of the lease under which it came, so that a new failure is told from an old one.
    pub(super) fence: u64,
    /// The tag of the credentials that were presented.
    pub(super) tag: Hash,
    class: Class,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<Millis>,
    /// How many came in a row.
    count: u32,
    /// Until when nobody asks again.
    until: Millis,
    pub(super) forgotten: Millis,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug))]
enum Class {
    Transient,
    Unexplained,
    Terminal,
}

impl SharedFailure {
    /// Creates what others learn of a failure, after the one `before`. `None` if it concerns this process alone.
    pub(super) fn after(before: Option<&Self>, error: &Error, fence: u64, tag: &Hash, now: Millis) -> Option<Self> {
        let is_local = error.is_config() || error.is_within();
        #[cfg(feature = "on-behalf-of")]
        let is_local = is_local || error.is_subject_expired();
        if is_local || error.is_elsewhere() || (error.is_transient() && !error.is_outage()) {
            return None;
        }
        let before = before.filter(|before| before.tag == *tag && now < before.forgotten);
        let (class, first_wait) = match error.class() {
            FailureClass::Transient => (Class::Transient, Duration::ZERO),
            FailureClass::Unexplained => (Class::Unexplained, Duration::from_secs(5)),
            FailureClass::Terminal => (Class::Terminal, Duration::from_secs(60)),
        };
        let count = before.filter(|before| before.class == class).map_or(0, |before| before.count);
        let wait = first_wait.saturating_mul(2_u32.saturating_pow(count)).max(error.retry_in().unwrap_or_default());
        Some(Self {
            fence,
            tag: tag.clone(),
            class,
            code: error.oauth_code().map(Into::into),
            status: error.status().map(|status| status.as_u16()),
            retry_after: error.retry_in().map(millis),
            count: count.saturating_add(1),
            until: now.saturating_add(millis(wait.min(LONGEST))),
            forgotten: now.saturating_add(millis(FORGOTTEN_AFTER)),
        })
    }

    /// Returns the error for a process with these credentials that must not ask now.
    pub(super) fn holds_back(&self, tag: &Hash, now: Millis) -> Option<Error> {
        // After a clock was put back, the time would come too late.
        let is_now = now < self.until && self.until <= now.saturating_add(millis(LONGEST));
        let is_refusal = self.class != Class::Transient;
        (is_refusal && is_now).then(|| self.error(tag)).flatten()
    }

    /// Returns the error for a process that waited with these credentials while this failure came.
    pub(super) fn error(&self, tag: &Hash) -> Option<Error> {
        let class = match self.class {
            Class::Transient => FailureClass::Transient,
            Class::Unexplained => FailureClass::Unexplained,
            Class::Terminal => FailureClass::Terminal,
        };
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        let error = Error::elsewhere(class, status, self.code.as_deref().map(Into::into));
        let error = match self.retry_after {
            Some(wait) => error.with_retry_after(Duration::from_millis(wait)),
            None => error,
        };
        (self.tag == *tag).then_some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_000_000;

    fn after(before: Option<&SharedFailure>, error: &Error) -> Option<SharedFailure> {
        SharedFailure::after(before, error, 1, &"tag".into(), NOW)
    }

    fn refused() -> Error {
        Error::refused(StatusCode::BAD_REQUEST, "invalid_grant".into(), None)
    }

    #[test]
    fn a_refusal_is_passed_on_for_a_minute_and_then_for_longer() {
        let first = after(None, &refused()).unwrap();
        let error = first.holds_back(&"tag".into(), NOW + 59_999).unwrap();
        assert!(error.is_terminal() && error.is_elsewhere());
        assert_eq!((error.oauth_code(), error.status()), (Some("invalid_grant"), Some(StatusCode::BAD_REQUEST)));
        assert!(error.to_string().starts_with("another process of the fleet got no token"), "{error}");
        assert!(first.holds_back(&"tag".into(), NOW + 60_000).is_none());
        let second = after(Some(&first), &refused()).unwrap();
        assert!(second.holds_back(&"tag".into(), NOW + 119_999).is_some());
    }

    #[test]
    fn a_refusal_ends_with_changed_credentials() {
        let refusal = after(None, &refused()).unwrap();
        assert!(refusal.holds_back(&"other".into(), NOW).is_none());
        let other = SharedFailure::after(Some(&refusal), &refused(), 2, &"other".into(), NOW).unwrap();
        assert_eq!(other.count, 1);
    }

    #[test]
    fn a_transient_failure_is_passed_on_to_those_who_wait() {
        let failure = after(None, &Error::unexplained_status(StatusCode::SERVICE_UNAVAILABLE)).unwrap();
        assert!(failure.holds_back(&"tag".into(), NOW).is_none());
        assert!(failure.error(&"tag".into()).unwrap().is_transient());
    }

    #[test]
    fn what_concerns_one_process_alone_is_not_passed_on() {
        for error in [Error::config("no"), Error::no_runtime(), Error::panicked(), Error::unreadable("no".into())] {
            assert_eq!(after(None, &error), None, "{error}");
        }
        let elsewhere = after(None, &refused()).unwrap().error(&"tag".into()).unwrap();
        assert_eq!(after(None, &elsewhere), None);
    }

    #[test]
    fn a_failure_is_forgotten_and_the_next_one_is_the_first_again() {
        let first = after(None, &refused()).unwrap();
        let at = |now| SharedFailure::after(Some(&first), &refused(), 2, &"tag".into(), now).unwrap().count;
        assert_eq!((at(first.forgotten - 1), at(first.forgotten)), (2, 1));
    }
}
