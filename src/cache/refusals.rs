//! What a cache and its narrowed caches know of the refusals of what they share: the client and its credentials.
//!
//! A refusal says something of what was refused. That of a scope or a resource is remembered by the one cache that asked for
//! it. That of the client holds back all. That of the credentials holds back all with the same version of them, so that a
//! wrong password is tried once, however many caches there are. It does not hold back a cache whose last renewal succeeded
//! with them: its refresh token may be good although the password is not.
//!
//! Until the credentials were accepted once, only one cache tries them at a time ([`Admission::Try`]). The others wait for
//! the outcome.

use tokio::time::Instant;

use crate::{
    cache::{failure_streak::FailureStreak, settings::Settings},
    error::{Error, FailureClass},
};

/// What a failure refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nothing: the issuer could not be asked, or did not answer the question.
    Nothing,
    /// The scope or the resource that was asked for.
    Request,
    Client,
    Credentials,
}

/// The refusals that a family of caches shares.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedRefusals {
    client: Option<FailureStreak>,
    credentials: Option<FailureStreak>,
    /// The version of the credentials that were accepted last, until a refusal.
    accepted: Option<u64>,
    /// Whether the last failure of any cache was an outage, and no cache got a token since.
    outage: bool,
    /// When the last try of credentials that were not accepted yet began.
    try_began: Option<Instant>,
}

/// Whether a cache may ask the issuer.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It may ask.
    Ask,
    /// It may ask if no other cache is trying the credentials since `began`.
    Try { began: Instant },
    /// It may not, because of this refusal.
    Refuse(Error),
}

impl Refused {
    pub(crate) fn by(error: &Error) -> Self {
        match error.oauth_code() {
            _ if error.class() == FailureClass::Transient => Self::Nothing,
            Some("invalid_client" | "unauthorized_client") => Self::Client,
            // Nothing was sent.
            None if error.is_config() => Self::Request,
            Some("invalid_scope" | "invalid_target" | "access_denied") => Self::Request,
            // Not a wrong password: that has an error code, or the status 400 or 401.
            None if error.status() == Some(http::StatusCode::FORBIDDEN) => Self::Request,
            _ => Self::Credentials,
        }
    }
}

impl SharedRefusals {
    /// Returns the error for a cache that needs the source while a refusal holds it back. `works` says whether its own last
    /// renewal succeeded with these credentials.
    pub(crate) fn backing_off(&self, works: bool, credentials_version: u64, now: Instant) -> Option<Error> {
        let credentials = self.credentials.as_ref().filter(|_| !works);
        self.client.iter().chain(credentials).find_map(|streak| streak.backing_off(now, credentials_version))
    }

    /// Returns whether the last failure of any cache was an outage, and no cache got a token since.
    pub(crate) fn is_outage(&self) -> bool {
        self.outage
    }

    /// Decides whether a cache may ask the issuer. `trying` says whether a try is in progress.
    pub(crate) fn admit(&mut self, works: bool, trying: bool, credentials_version: u64, now: Instant) -> Admission {
        match self.backing_off(works, credentials_version, now) {
            Some(error) => Admission::Refuse(error),
            None if works || self.accepted == Some(credentials_version) => Admission::Ask,
            None if trying => Admission::Try { began: self.try_began.unwrap_or(now) },
            None => Admission::Try { began: *self.try_began.insert(now) },
        }
    }

    /// Notes that a cache got a token. If it `worked` before, a refresh token may have brought it, and that proves nothing
    /// about the credentials.
    pub(crate) fn succeeded(&mut self, worked: bool, credentials_version: u64) {
        self.client = None;
        self.end_outage();
        if !worked {
            self.credentials = None;
            self.accepted = Some(credentials_version);
        }
    }

    /// Notes that the issuer gave a token, with whatever credentials.
    pub(crate) fn end_outage(&mut self) {
        self.outage = false;
    }

    /// Notes a failure. The counts are those of all caches, so the wait doubles however many there are.
    pub(crate) fn failed(&mut self, error: &Error, credentials_version: u64, now: Instant, settings: &Settings) {
        let refused = Refused::by(error);
        self.outage = refused == Refused::Nothing;
        let streak = match refused {
            Refused::Nothing | Refused::Request => return,
            Refused::Client => &mut self.client,
            Refused::Credentials => {
                self.accepted = None;
                &mut self.credentials
            }
        };
        *streak = Some(FailureStreak::after(streak.take(), error, credentials_version, now, settings));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    fn refused(code: &str) -> Error {
        Error::refused(StatusCode::BAD_REQUEST, code.into(), None)
    }

    fn after(errors: &[Error]) -> (SharedRefusals, Instant) {
        let (mut shared, now) = (SharedRefusals::default(), Instant::now());
        for error in errors {
            shared.failed(error, 0, now, &Settings::default());
        }
        (shared, now)
    }

    #[test]
    fn a_refusal_says_something_of_what_was_refused() {
        for code in ["invalid_scope", "invalid_target", "access_denied"] {
            assert_eq!(Refused::by(&refused(code)), Refused::Request, "{code}");
        }
        for code in ["invalid_client", "unauthorized_client"] {
            assert_eq!(Refused::by(&refused(code)), Refused::Client, "{code}");
        }
        let status = |status: u16| Refused::by(&Error::unexplained_status(StatusCode::from_u16(status).unwrap()));
        assert_eq!([status(400), status(403), status(503)], [Refused::Credentials, Refused::Request, Refused::Nothing]);
        assert_eq!(Refused::by(&refused("invalid_grant")), Refused::Credentials);
        assert_eq!(Refused::by(&Error::terminal("a wrong password")), Refused::Credentials);
    }

    #[test]
    fn refused_credentials_do_not_hold_back_a_cache_that_works_but_a_refused_client_does() {
        let (shared, now) = after(&[refused("invalid_grant")]);
        assert!(shared.backing_off(false, 0, now).is_some() && shared.backing_off(true, 0, now).is_none());
        assert!(shared.backing_off(false, 1, now).is_none(), "other credentials");
        let (shared, now) = after(&[refused("invalid_client")]);
        assert!(shared.backing_off(false, 0, now).is_some() && shared.backing_off(true, 0, now).is_some());
        let (shared, now) = after(&[refused("invalid_scope")]);
        assert!(shared.backing_off(false, 0, now).is_none());
    }

    #[test]
    fn credentials_are_tried_by_one_cache_until_they_were_accepted() {
        let (mut shared, now) = after(&[]);
        assert!(matches!(shared.admit(false, false, 0, now), Admission::Try { began } if began == now));
        let later = now + Duration::from_secs(1);
        assert!(matches!(shared.admit(false, true, 0, later), Admission::Try { began } if began == now));
        shared.succeeded(false, 0);
        assert!(matches!(shared.admit(false, false, 0, now), Admission::Ask));
        assert!(matches!(shared.admit(false, false, 1, now), Admission::Try { .. }));
    }

    #[test]
    fn a_refresh_token_proves_nothing_about_the_password() {
        let (mut shared, now) = after(&[refused("invalid_grant")]);
        shared.succeeded(true, 0);
        assert!(matches!(shared.admit(false, false, 0, now), Admission::Refuse(_)));
    }

    #[test]
    fn the_wait_doubles_with_the_refusals_of_all() {
        let (shared, now) = after(&[refused("invalid_grant"), refused("invalid_grant")]);
        assert!(shared.backing_off(false, 0, now + Duration::from_secs(119)).is_some());
        assert!(shared.backing_off(false, 0, now + Duration::from_secs(120)).is_none());
    }
}
