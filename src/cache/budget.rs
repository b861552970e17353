//! How many renewals rejections may cause.
//!
//! A rejected token is renewed. But an API that rejects *every* token, or one endpoint that answers 401 for other reasons,
//! must not make its clients overload the issuer. So each renewal that a rejection caused is watched. When the token that it
//! brought is rejected too, that is a **strike**. After as many strikes as there are free renewals, the budget is
//! **limited**: the next renewal waits until an interval has passed since the issue of the newest token, and each further
//! strike makes the interval half as long again. Until then a rejection is passed on to the caller.
//!
//! A token whose *retry* was accepted has proved that its renewal helped. Its later rejection is a new revocation and
//! not a strike, unless many tokens in a row "die young": they are rejected soon after their issue (`YOUNG_DEATHS`).
//!
//! Without a retry (it is switched off, the body is too large, the caller is gone), one bad endpoint looks the same as a
//! revocation: a request is rejected, and the next one is accepted with the new token. So each renewal is **owed** until a
//! retry with its token is accepted, and one is paid back in each longest interval. If the token was accepted only by other
//! requests, its rejection is not a strike, but the renewal stays owed. When too many are owed (`OWED`), the budget is
//! limited. Wherever the budget is limited, all that is owed becomes strikes. An answer proves nothing if it does not show
//! that the token was checked.
//!
//! While limited, the budget must not hide a real revocation behind one bad endpoint. It is told when the token is accepted
//! anywhere. A token that was accepted, and then was not accepted for `silence` although requests carry it, is renewed
//! early, if the rejections in a row are three times as many as usual between two acceptances. What is usual is learned, so
//! chance looks like a revocation now and then. So an early renewal delays the next one of the schedule by an interval: early
//! renewals come in place of others, not in addition. And only a few are allowed in a row (`EARLY`), until a retry is accepted
//! and shows that one helped.
//!
//! This module does not know tokens: it takes instants, and returns whether a renewal is allowed.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::cache::backoff::LONGEST;

/// How many tokens in a row may be accepted once and then rejected within half the first interval, before the next counts as
/// a strike. An API that accepts each token only once would otherwise cost a renewal a request.
const YOUNG_DEATHS: u32 = 8;

/// How many renewals may be owed before the budget is limited, until one less is owed: twelve at once, and one more for each
/// longest interval after that. With more, an hour would cost more than an API that rejects everything. It is a little
/// less than twelve, because some of it is paid back meanwhile, which must not allow a thirteenth.
const OWED: f64 = 11.75;

/// How many early renewals are allowed in a row that were not seen to help.
const EARLY: u32 = 3;

/// The same, after one that helped. Where revocations are frequent, a bad endpoint may be the first to meet many of them in a
/// row, and its retries are not accepted.
const EARLY_AFTER_REVOCATION: u32 = 16;

/// How many of the longest intervals must be quiet for one more early renewal.
const QUIET_FOR_EARLY: u32 = 8;

/// How much of the usual run of rejections each acceptance forgets.
const FORGOTTEN: f64 = 1.0 / 64.0;

/// The bound on renewals that rejections cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectionBudget {
    free: u32,
    first: Duration,
    max: Duration,
    silence: Duration,
}

impl Default for RejectionBudget {
    /// Returns a budget of one free renewal, then one after 1 s, growing by half each time, to 150 s. A revocation is detected
    /// after 1 s.
    fn default() -> Self {
        Self::new(1, Duration::from_secs(1), Duration::from_secs(150))
    }
}

impl RejectionBudget {
    /// Creates a budget that allows `free` renewals (at least one) without a wait while new tokens are rejected. The
    /// next renewal is allowed after `first`, and this interval grows by half each time, up to `max`.
    #[must_use]
    pub const fn new(free: u32, first: Duration, max: Duration) -> Self {
        Self { free, first, max, silence: Duration::from_secs(1) }
    }

    /// Sets how long a previously accepted token must go without an acceptance before it is renewed even though the budget
    /// is spent. Default: 1 s.
    #[must_use]
    pub const fn detect_revocation_after(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }
}

/// What the budget has seen.
#[derive(Clone, Debug)]
pub(crate) struct BudgetState {
    budget: Arc<RejectionBudget>,
    newest: NewestToken,
    /// Whether the newest token was accepted, as far as acceptances are watched.
    accepted: bool,
    strikes: u32,
    young_deaths: u32,
    last_rejection: Option<Instant>,
    /// The earliest next renewal, while limited.
    not_before: Option<Instant>,
    /// How many early renewals are left.
    early: u32,
    /// When all that is owed is paid back.
    owed_until: Option<Instant>,
    run: RejectionRun,
}

/// What the budget knows of the newest token.
#[derive(Clone, Debug, Default)]
struct NewestToken {
    at: Option<Instant>,
    by_rejection: bool,
    proof: Proof,
    /// Whether its renewal is owed: no retry was accepted, and it is not a strike.
    owed: bool,
    struck: bool,
    /// Since when it lacks an acceptance. If its predecessor was accepted, that is its issue: it may be revoked before the
    /// first acceptance.
    unaccepted_since: Option<Instant>,
}

/// What shows that the newest token's renewal helped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Proof {
    #[default]
    Missing,
    /// A request was accepted, other than a retry.
    Accepted,
    /// A retry was accepted.
    Retried,
}

/// Rejections in a row, as far as acceptances are watched.
#[derive(Clone, Debug, Default)]
struct RejectionRun {
    /// Since the last acceptance of any token.
    now: u32,
    /// Since the newest token was issued.
    of_newest: u32,
    /// How long the longest recent runs were that an acceptance ended.
    usual: f64,
}

impl BudgetState {
    pub(crate) fn new(budget: impl Into<Arc<RejectionBudget>>) -> Self {
        let mut budget = budget.into();
        if budget.first.max(budget.max) > LONGEST {
            let budget = Arc::make_mut(&mut budget);
            budget.first = budget.first.min(LONGEST);
            budget.max = budget.max.min(LONGEST);
        }
        Self {
            budget,
            newest: NewestToken::default(),
            accepted: false,
            strikes: 0,
            young_deaths: 0,
            last_rejection: None,
            not_before: None,
            early: EARLY,
            owed_until: None,
            run: RejectionRun::default(),
        }
    }

    /// Notes that a token was issued.
    pub(crate) fn issued(&mut self, by_rejection: bool, now: Instant) {
        self.recover_when_quiet(now);
        self.run.of_newest = 0;
        let unaccepted_since = std::mem::take(&mut self.accepted).then_some(now);
        if by_rejection {
            self.owed_until = Some(self.owed_until.map_or(now, |until| until.max(now)) + self.budget.max);
        }
        self.newest =
            NewestToken { at: Some(now), by_rejection, owed: by_rejection, unaccepted_since, ..NewestToken::default() };
    }

    /// Notes that the newest token was rejected on a first attempt.
    ///
    /// `accepted` is when it was last accepted, which is watched while limited.
    pub(crate) fn rejected(&mut self, accepted: Option<Instant>, now: Instant) {
        self.recover_when_quiet(now);
        if accepted > self.last_rejection {
            self.run.end();
        }
        self.run.add();
        self.last_rejection = Some(now);
        self.accepted |= accepted.is_some();
        let helped = match self.newest.proof {
            Proof::Retried => self.dies_old_or_seldom(now),
            Proof::Accepted => true,
            Proof::Missing => !self.newest.by_rejection,
        };
        if !helped {
            self.strike(now);
        } else if self.newest.proof == Proof::Retried {
            // A revocation, however many are owed.
        } else if self.is_limited() {
            self.limit(now);
        } else if !self.too_much_owed(OWED, now).is_zero() {
            // Those that are owed came early already.
            self.early = 0;
            self.limit(now);
        }
    }

    /// Does the same, and returns whether the token may be renewed because of that.
    pub(crate) fn may_renew(&mut self, accepted: Option<Instant>, now: Instant) -> bool {
        self.rejected(accepted, now);
        let Some(not_before) = self.not_before else { return true };
        if now >= not_before {
            self.not_before = Some(now + self.interval());
            self.early = self.early.max(EARLY.min(self.early + 1));
            return true;
        }
        let unaccepted_since = accepted.or(self.newest.unaccepted_since);
        let is_silent = unaccepted_since.is_some_and(|at| now.duration_since(at) >= self.budget.silence);
        // An earlier one that was not seen to help has moved the schedule already.
        let is_moved = self.early <= EARLY && not_before.duration_since(now) > self.interval();
        if !is_silent || !self.run.is_unusual() || self.early == 0 || is_moved {
            return false;
        }
        self.early -= 1;
        if self.early < EARLY {
            self.not_before = Some((not_before + self.interval()).min(now + 2 * self.interval()));
        }
        // It looks like a revocation, and is not usual.
        self.run.now = 0;
        true
    }

    /// Notes whether a retry with the newest token was accepted. A renewal that brought the rejected token again counts as a
    /// retry that was not.
    pub(crate) fn retried(&mut self, accepted: bool, now: Instant) {
        if accepted {
            self.newest.proof = Proof::Retried;
            self.settle();
            self.early = EARLY_AFTER_REVOCATION;
            // These rejections were a revocation, so they are not usual.
            self.run.now = 0;
            // An early renewal that helped delays nothing.
            self.not_before = self.not_before.map(|at| at.min(now + self.interval()));
        } else {
            self.recover_when_quiet(now);
            self.last_rejection = Some(now);
            self.strike(now);
        }
    }

    /// Notes that a request with the newest token was accepted, other than a retry.
    pub(crate) fn accepted(&mut self) {
        if self.newest.proof == Proof::Missing {
            self.newest.proof = Proof::Accepted;
        }
    }

    /// Returns whether a rejection caused the renewal that brought the newest token, and nothing has shown yet that it helped.
    pub(crate) fn wants_proof(&self) -> bool {
        self.newest.by_rejection && self.newest.proof == Proof::Missing
    }

    /// Returns whether renewals are held back.
    pub(crate) fn is_limited(&self) -> bool {
        self.not_before.is_some()
    }

    /// Returns whether there was a rejection so recently that it counts at the next one.
    pub(crate) fn remembers_rejection(&self, now: Instant) -> bool {
        self.last_rejection.is_some() && !self.is_quiet(now)
    }

    /// Returns how long it takes until a rejection may cause a renewal, while renewals are held back.
    pub(crate) fn next_renewal(&self, now: Instant) -> Option<Duration> {
        self.not_before.map(|at| at.saturating_duration_since(now))
    }

    /// Counts a strike: one for each token, and only if a rejection caused its renewal.
    fn strike(&mut self, now: Instant) {
        if !self.newest.by_rejection || self.newest.struck {
            return;
        }
        self.newest.struck = true;
        self.settle();
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes >= self.budget.free {
            self.limit(now);
        }
    }

    /// Holds renewals back for an interval from the issue of the newest token, and until what is owed allows one more. Then all
    /// that is owed becomes strikes.
    fn limit(&mut self, now: Instant) {
        // Tokens that are rejected during a renewal by age are owed too, however many.
        let repaid = now + self.too_much_owed(OWED - 1.0, now).min(2 * self.budget.max);
        let owed = self.owed(now).as_nanos().div_ceil(self.budget.max.as_nanos().max(1));
        self.strikes = self.strikes.saturating_add(u32::try_from(owed).unwrap_or(u32::MAX));
        (self.owed_until, self.newest.owed) = (None, false);
        if self.is_limited() && !self.newest.by_rejection {
            // A token that is renewed because of its age does not move the schedule.
            return;
        }
        let scheduled = repaid.max(self.newest.at.unwrap_or(now) + self.interval());
        self.not_before = Some(self.not_before.map_or(scheduled, |at| at.max(scheduled)));
    }

    /// Notes that the renewal of the newest token is no longer owed: it has helped, or is a strike.
    fn settle(&mut self) {
        if std::mem::take(&mut self.newest.owed) {
            self.owed_until = self.owed_until.map(|until| until - self.budget.max);
        }
    }

    /// Returns how long it takes to pay back what is owed.
    fn owed(&self, now: Instant) -> Duration {
        self.owed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Returns how long it takes until no more than `most` are owed. Strikes count as owed, and do not get fewer.
    fn too_much_owed(&self, most: f64, now: Instant) -> Duration {
        let most = most.max(f64::from(self.budget.free)) - f64::from(self.strikes);
        self.owed(now).saturating_sub(self.budget.max.mul_f64(most.max(0.0)))
    }

    fn interval(&self) -> Duration {
        let growths = self.strikes.saturating_sub(self.budget.free.max(1)).min(64);
        let (first, max) = (self.budget.first, self.budget.max);
        (0..growths).fold(first, |interval, _| max.min(interval.saturating_mul(3) / 2)).min(max)
    }

    /// Restores the free renewal when there was no rejection for twice the longest interval, and shortens the intervals by a
    /// step for each renewal that was not needed. Not sooner and not at once, because an endpoint that is called now and then
    /// would get its first renewals again each time.
    fn recover_when_quiet(&mut self, now: Instant) {
        if self.is_quiet(now) {
            // What is owed is paid back first.
            let since = self.last_rejection.max(self.owed_until);
            let quiet = since.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            let unused = u32::try_from(quiet.as_nanos() / self.budget.max.as_nanos().max(1)).unwrap_or(u32::MAX);
            let strikes = self.strikes.saturating_sub(unused);
            // Much slower, because an early renewal costs no wait: a job of a few seconds each five minutes must not get them
            // again each time.
            let early = EARLY.min(self.early.saturating_add(unused / QUIET_FOR_EARLY));
            *self = Self {
                strikes,
                early,
                owed_until: self.owed_until,
                newest: std::mem::take(&mut self.newest),
                ..Self::new(Arc::clone(&self.budget))
            };
        }
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.last_rejection.is_some_and(|at| now.duration_since(at) > 2 * self.budget.max)
    }

    /// Notes the death of a token whose retry was accepted. Returns `false` if too many in a row died young.
    fn dies_old_or_seldom(&mut self, now: Instant) -> bool {
        let young = self.newest.at.is_some_and(|at| now.duration_since(at) < self.budget.first / 2);
        self.young_deaths = if young { self.young_deaths + 1 } else { 0 };
        self.young_deaths < YOUNG_DEATHS
    }
}

impl RejectionRun {
    fn add(&mut self) {
        self.now = self.now.saturating_add(1);
        self.of_newest = self.of_newest.saturating_add(1);
    }

    /// Ends the run because of an acceptance, and learns from it. One run at most doubles what is usual, because it may have
    /// been a revocation that was not recognized.
    fn end(&mut self) {
        let run = f64::from(std::mem::take(&mut self.now)).min(2.0 * (self.usual + 1.0));
        self.usual = run.max(self.usual * (1.0 - FORGOTTEN));
        self.of_newest = 0;
    }

    fn is_unusual(&self) -> bool {
        f64::from(self.of_newest) >= 3.0 * self.usual.max(2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Plays an API that rejects every token for `seconds`, asked `rate` times a second; the renewals that it causes.
    fn reject_everything(state: &mut BudgetState, start: Instant, seconds: u32, rate: u32) -> Vec<u64> {
        let mut renewals = Vec::new();
        for tick in 0..seconds * rate {
            let now = start + SECOND * tick / rate;
            if state.may_renew(None, now) {
                renewals.push(now.duration_since(start).as_secs());
                state.issued(true, now);
                state.retried(false, now);
            }
        }
        renewals
    }

    #[test]
    fn an_api_that_rejects_everything_costs_one_renewal_and_then_ever_fewer() {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.issued(false, start);
        assert_eq!(
            reject_everything(&mut state, start, 400, 100),
            [0, 1, 2, 4, 8, 13, 20, 32, 49, 74, 113, 171, 257, 387]
        );
    }

    #[test]
    fn a_proven_token_is_renewed_at_once_each_time_it_is_revoked() {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.issued(false, start);
        for second in 1..1000 {
            let now = start + SECOND * second;
            assert!(state.may_renew(None, now), "revocation {second}");
            state.issued(true, now);
            state.retried(true, now);
        }
    }

    /// Plays an hour without retries, in which the newest token is accepted, and then rejected, each `period`. Returns how many
    /// renewals there were, how many rejections were passed on, and how many renewals there were before the first of these.
    fn without_retries(period: Duration) -> (u32, u32, u32) {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.issued(false, start);
        let (mut renewals, mut passed_on, mut at_once) = (0, 0, 0);
        for n in 1..=3600 / u32::try_from(period.as_secs()).unwrap() {
            let now = start + period * n;
            if state.may_renew(None, now) {
                renewals += 1;
                at_once += u32::from(passed_on == 0);
                state.issued(true, now);
                assert!(state.wants_proof());
            } else {
                passed_on += 1;
            }
            state.accepted();
        }
        (renewals, passed_on, at_once)
    }

    #[test]
    fn without_retries_a_token_that_was_accepted_is_renewed_at_once_each_time_it_is_revoked() {
        for seconds in [100, 119, 150, 200, 301] {
            let revocations = 3600 / seconds;
            assert_eq!(without_retries(seconds * SECOND), (revocations, 0, revocations), "each {seconds} s");
        }
    }

    /// One bad endpoint that is called so often looks the same, so no more than the bound can be allowed.
    #[test]
    fn without_retries_a_token_that_is_revoked_more_often_is_renewed_at_once_at_first() {
        for (seconds, first) in [(16, 14), (30, 15), (60, 20)] {
            let (renewals, _, at_once) = without_retries(seconds * SECOND);
            assert!(renewals <= 36 && at_once == first, "{renewals}, {at_once} at once, each {seconds} s");
        }
    }

    #[test]
    fn without_retries_one_bad_endpoint_that_is_called_often_is_limited() {
        for seconds in [1, 2, 5] {
            let (renewals, passed_on, _) = without_retries(seconds * SECOND);
            assert!(renewals <= 36 && passed_on > 600, "{renewals} each {seconds} s");
        }
    }

    #[test]
    fn an_api_that_accepts_each_token_once_does_not_cost_a_renewal_a_request() {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.issued(false, start);
        let mut renewals = 0;
        for tick in 0..10_000 {
            let now = start + Duration::from_millis(tick);
            if state.may_renew(None, now) {
                renewals += 1;
                state.issued(true, now);
                state.retried(true, now);
            }
        }
        assert_eq!(renewals, YOUNG_DEATHS + 4);
    }

    #[test]
    fn a_quiet_time_restores_the_free_renewal() {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.issued(false, start);
        reject_everything(&mut state, start, 10, 10);
        assert!(state.is_limited());
        assert!(state.may_renew(None, start + 311 * SECOND));
        assert!(!state.is_limited());
        state.issued(true, start + 311 * SECOND);
        state.retried(false, start + 311 * SECOND);
        assert_eq!(state.next_renewal(start + 311 * SECOND), Some(SECOND * 27 / 8), "only two steps sooner");
    }

    #[test]
    fn a_quiet_time_counts_also_if_a_retry_is_rejected_after_it() {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.issued(false, start);
        reject_everything(&mut state, start, 400, 10);
        let now = start + 4000 * SECOND;
        state.retried(false, now);
        assert!(state.may_renew(None, now));
        state.issued(true, now);
        state.retried(false, now);
        assert_eq!(state.next_renewal(now), Some(SECOND), "the strikes are forgotten");
    }

    #[test]
    fn a_quiet_time_takes_back_strikes_one_by_one_and_nothing_else() {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.rejected(None, start);
        (0..5).for_each(|_| state.issued(true, start));
        (state.strikes, state.early) = (10, 0);
        let now = start + 301 * SECOND;
        state.recover_when_quiet(now);
        assert_eq!(state.owed(now), (5 * 150 - 301) * SECOND, "what is owed is still owed");
        assert!(state.wants_proof(), "the newest token has not helped yet");
        assert_eq!((state.strikes, state.early), (10, 0), "what is owed is paid back first");

        let now = start + (5 * 150 + 301) * SECOND;
        state.rejected(None, start + 5 * 150 * SECOND - SECOND);
        state.recover_when_quiet(now);
        assert_eq!((state.strikes, state.early), (9, 0), "a rejection added one, and two intervals took back two");
    }

    #[test]
    fn however_much_is_owed_the_next_renewal_waits_at_most_two_intervals() {
        let (mut state, now) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        // Each is rejected while the next one is requested because of its age, so the budget does not see that.
        (0..50).for_each(|_| state.issued(true, now));
        state.accepted();
        assert!(!state.may_renew(None, now));
        assert_eq!(state.next_renewal(now), Some(300 * SECOND));
    }

    #[test]
    fn silence_after_acceptance_is_a_revocation_even_while_limited() {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.issued(false, start);
        reject_everything(&mut state, start, 100, 10);
        let now = start + 100 * SECOND;
        assert!(!state.may_renew(Some(now - SECOND / 2), now), "it was accepted just now");
        assert!(state.may_renew(Some(now - SECOND), now));
    }

    #[test]
    fn a_low_rate_of_rejections_does_not_evade_the_budget() {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.issued(false, start);
        let renewals = (0..1200)
            .map(|tick| start + 3 * SECOND * tick)
            .filter(|now| {
                let renews = state.may_renew(None, *now);
                if renews {
                    state.issued(true, *now);
                    state.retried(false, *now);
                }
                renews
            })
            .count();
        assert_eq!(renewals, 35, "in an hour, as if the API rejected everything");
    }

    #[test]
    fn an_api_that_is_called_seldom_costs_no_more_than_the_rest() {
        let (mut state, start) = (BudgetState::new(RejectionBudget::default()), Instant::now());
        state.issued(false, start);
        let (mut renewals, mut accepted) = (0, None);
        // One bad endpoint asked ten times a second, one good one every three seconds, for an hour.
        for tick in 0..36_000 {
            let now = start + SECOND * tick / 10;
            if tick % 30 == 0 {
                accepted = Some(now);
            }
            if state.may_renew(accepted, now) {
                renewals += 1;
                accepted = None;
                state.issued(true, now);
                state.retried(false, now);
            }
        }
        assert_eq!(renewals, 35, "in an hour, as if the API rejected everything");
    }

    #[test]
    fn the_time_of_silence_changes_nothing_else_of_a_budget() {
        let budget = RejectionBudget::new(3, 2 * SECOND, 9 * SECOND);
        let expected = RejectionBudget { free: 3, first: 2 * SECOND, max: 9 * SECOND, silence: 5 * SECOND };
        assert_eq!(budget.detect_revocation_after(5 * SECOND), expected);
    }
}
