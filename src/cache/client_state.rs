//! What the identities of a pool know together of a client: whether it was refused.
//!
//! A client that was not accepted yet is tried by one identity at a time, and the others wait for the outcome. So a wrong
//! client secret is sent once, however many identities there are. An answer about something else, such as a wrong password,
//! shows that the client itself was accepted.

use tokio::time::Instant;

use crate::{
    cache::{failure_streak::FailureStreak, refusals::Admission, settings::Settings},
    error::Error,
};

/// How many tries of a client may end without saying whether it was accepted. After them, nothing is learned by waiting.
const MAX_INCONCLUSIVE: u32 = 3;

/// What is known of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientState {
    refused: Option<FailureStreak>,
    is_accepted: bool,
    inconclusive: u32,
    /// When the last try began.
    try_began: Option<Instant>,
}

impl ClientState {
    /// Returns the error for an identity that needs the source while the client's refusal holds it back.
    pub(crate) fn backing_off(&self, now: Instant) -> Option<Error> {
        self.refused.as_ref()?.backing_off(now, 0)
    }

    /// Decides whether an identity may ask the issuer. `is_trying` says whether a try is in progress.
    pub(crate) fn admit(&mut self, is_trying: bool, now: Instant) -> Admission {
        match self.backing_off(now) {
            Some(error) => Admission::Refuse(error),
            None if self.is_accepted || self.inconclusive >= MAX_INCONCLUSIVE => Admission::Ask,
            None if is_trying => Admission::Try { began: self.try_began.unwrap_or(now) },
            None => Admission::Try { began: *self.try_began.insert(now) },
        }
    }

    /// Notes that an identity got a token.
    pub(crate) fn succeeded(&mut self) {
        (self.refused, self.is_accepted, self.inconclusive) = (None, true, 0);
    }

    /// Notes a failure. `asked` is when its last request was sent, and `is_try` whether it was the one try in progress.
    pub(crate) fn failed(&mut self, error: &Error, asked: Instant, is_try: bool, now: Instant, settings: &Settings) {
        if error.refuses_client() {
            (self.is_accepted, self.inconclusive) = (false, 0);
            // Those that were sent before the first refusal came say nothing new.
            if self.refused.as_ref().is_none_or(|refused| asked > refused.noted()) {
                self.refused = Some(FailureStreak::after(self.refused.take(), error, 0, now, settings));
            }
        } else if error.shows_authenticated_client() {
            self.succeeded();
        } else if is_try && !error.is_outage() {
            self.inconclusive = self.inconclusive.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Played {
        state: ClientState,
        now: Instant,
    }

    impl Played {
        fn new() -> Self {
            Self { state: ClientState::default(), now: Instant::now() }
        }

        fn fail(&mut self, error: &Error, is_try: bool) {
            self.fail_asked(self.now, error, is_try);
        }

        fn fail_asked(&mut self, asked: Instant, error: &Error, is_try: bool) {
            self.now += Duration::from_millis(1);
            self.state.failed(error, asked, is_try, self.now, &Settings::default());
        }

        fn admit(&mut self, is_trying: bool) -> &'static str {
            match self.state.admit(is_trying, self.now) {
                Admission::Ask => "ask",
                Admission::Try { .. } => "try",
                Admission::Refuse(_) => "refuse",
            }
        }
    }

    fn refused(code: &str) -> Error {
        Error::refused(StatusCode::BAD_REQUEST, code.into(), None)
    }

    #[test]
    fn a_client_is_tried_until_it_was_accepted_or_nothing_can_be_learned() {
        for (answers, then) in [
            (vec![refused("invalid_grant")], "ask"),
            (vec![refused("invalid_scope")], "ask"),
            (vec![refused("invalid_client")], "refuse"),
            (vec![refused("invalid_request")], "try"),
            (vec![Error::connect("closed")], "try"),
            (vec![refused("invalid_request"); 3], "ask"),
        ] {
            let mut played = Played::new();
            assert_eq!(played.admit(false), "try");
            assert_eq!(played.admit(true), "try", "others wait");
            for answer in &answers {
                played.fail(answer, true);
            }
            assert_eq!(played.admit(false), then, "{answers:?}");
        }
    }

    #[test]
    fn refusals_that_come_at_once_count_as_one() {
        let mut played = Played::new();
        played.state.succeeded();
        let asked = played.now;
        (0..64).for_each(|_| played.fail_asked(asked, &refused("invalid_client"), false));
        assert_eq!(played.admit(false), "refuse");
        played.now += 61 * SECOND;
        assert_eq!(played.admit(false), "try");
        played.fail(&refused("invalid_client"), true);
        played.now += 61 * SECOND;
        assert_eq!(played.admit(false), "refuse", "the next wait is twice as long");
    }

    #[test]
    fn a_refusal_of_what_was_sent_before_the_last_one_came_changes_nothing() {
        let mut played = Played::new();
        played.state.succeeded();
        played.fail(&refused("invalid_client"), false);
        played.fail_asked(played.now, &refused("invalid_client"), false);
        played.now += 61 * SECOND;
        assert_eq!(played.admit(false), "try", "the wait is that after one refusal");
    }

    #[test]
    fn neither_an_outage_nor_a_request_that_is_not_a_try_makes_a_try_needless() {
        let mut played = Played::new();
        for _ in 0..MAX_INCONCLUSIVE {
            played.fail(&Error::connect("closed"), true);
            played.fail(&refused("invalid_request"), false);
        }
        assert_eq!(played.admit(false), "try");
    }
}
