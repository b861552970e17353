//! How many renewals rejections may cause.
//!
//! A rejected token is renewed. But an API that rejects *every* token, or one endpoint of it that answers 401 for reasons
//! of its own, must not turn its clients into a load on the issuer. So a renewal that a rejection caused is held to
//! account: when the token that it brought is rejected in turn, that is a **strike**. After as many strikes as there are
//! free renewals the budget is **limited**: the next renewal has to wait until an interval from the newest token's issue
//! is over, and each further strike doubles the interval. Until then a rejection passes through to the caller.
//!
//! A token whose *retry* was accepted has proven that the renewal mended something; its later rejection is a new
//! revocation and no strike, unless tokens keep dying young (`YOUNG_DEATHS`).
//!
//! While limited, the budget must not hide a real revocation behind one bad endpoint. It is told when the token is
//! accepted anywhere; a token that was accepted, and then for `silence` was accepted nowhere although requests carry it,
//! is renewed at once, if it was rejected three times as often in a row as it usually is between two acceptances. Those
//! renewals have an interval of their own, which doubles until one of them is seen to have mended something: a retry is
//! accepted, or the new token is after no more rejections than usual. An API that is simply called seldom looks much the
//! same, and must not cost more than the rest.
//!
//! Knows nothing of tokens: instants come in, a yes or a no goes out.

use std::time::Duration;

use tokio::time::Instant;

use crate::cache::backoff::LONGEST;

/// So many tokens in a row that were accepted once and rejected within half the first interval count as a strike: an
/// API that takes each token but once would otherwise cost a renewal a request.
const YOUNG_DEATHS: u32 = 8;

/// The bound on renewals that rejections cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectionBudget {
    free: u32,
    first: Duration,
    most: Duration,
    silence: Duration,
}

impl Default for RejectionBudget {
    /// One free renewal, then 1 s doubling to 2 min; a token that was accepted is missed after 1 s.
    fn default() -> Self {
        Self::new(1, Duration::from_secs(1), Duration::from_secs(120))
    }
}

impl RejectionBudget {
    /// Allows `free` renewals (at least one) at once while fresh tokens are rejected, then one after `first`, and so on, doubling to `most`.
    #[must_use]
    pub const fn new(free: u32, first: Duration, most: Duration) -> Self {
        Self { free, first, most, silence: Duration::from_secs(1) }
    }

    /// Sets for how long a token that was accepted must have been accepted nowhere to be renewed at once although the
    /// budget is spent. Default: 1 s.
    #[must_use]
    pub const fn with_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }
}

/// What the budget has seen.
#[derive(Debug)]
pub(crate) struct Account {
    budget: RejectionBudget,
    newest: Issue,
    /// Whether the newest was seen to be accepted, while that was watched.
    accepted: bool,
    strikes: u32,
    young_deaths: u32,
    last_rejection: Option<Instant>,
    /// The earliest next renewal, while limited.
    not_before: Option<Instant>,
    early: Pace,
    run: Run,
}

/// The newest token, as far as the budget is concerned.
#[derive(Debug, Default)]
struct Issue {
    at: Option<Instant>,
    by_rejection: bool,
    proven: bool,
    struck: bool,
    /// Its predecessor was accepted, so it is missed from its issue on: it may be revoked before anybody could accept it.
    missed_from: Option<Instant>,
}

/// Renewals out of turn: when the last one was, and how long the next one has to wait.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    interval: Duration,
}

/// Rejections in a row, as far as acceptances are watched.
#[derive(Debug, Default)]
struct Run {
    now: u32,
    /// The longest of late that an acceptance ended.
    usual: u32,
}

impl Account {
    pub(crate) fn new(mut budget: RejectionBudget) -> Self {
        budget.first = budget.first.min(LONGEST);
        budget.most = budget.most.min(LONGEST);
        Self {
            budget,
            newest: Issue::default(),
            accepted: false,
            strikes: 0,
            young_deaths: 0,
            last_rejection: None,
            not_before: None,
            early: Pace::default(),
            run: Run::default(),
        }
    }

    /// A token was issued.
    pub(crate) fn issued(&mut self, by_rejection: bool, now: Instant) {
        self.calm_down(now);
        self.run.now = 0;
        let missed_from = std::mem::take(&mut self.accepted).then_some(now);
        self.newest = Issue { at: Some(now), by_rejection, missed_from, ..Issue::default() };
    }

    /// The newest token was rejected on a first attempt. May it be renewed because of that?
    ///
    /// `accepted` is when it was last seen to be accepted, which is watched while limited.
    pub(crate) fn may_renew(&mut self, accepted: Option<Instant>, now: Instant) -> bool {
        self.calm_down(now);
        if accepted > self.last_rejection && self.run.end() {
            self.early.interval = Duration::ZERO;
        }
        self.run.now = self.run.now.saturating_add(1);
        self.last_rejection = Some(now);
        self.accepted |= accepted.is_some();
        if self.newest.by_rejection && !(self.newest.proven && self.may_die(now)) {
            self.strike(now);
        }
        let Some(not_before) = self.not_before else { return true };
        if now >= not_before {
            self.not_before = Some(now + self.interval());
            return true;
        }
        accepted.or(self.newest.missed_from).is_some_and(|at| now.duration_since(at) >= self.budget.silence)
            && self.run.is_unusual()
            && self.early.take(now, &self.budget)
    }

    /// A retry with the newest token was answered.
    pub(crate) fn retried(&mut self, accepted: bool, now: Instant) {
        if accepted {
            self.newest.proven = true;
            self.early.interval = Duration::ZERO;
        } else {
            self.last_rejection = Some(now);
            self.strike(now);
        }
    }

    /// Whether renewals are being held back.
    pub(crate) fn is_limited(&self) -> bool {
        self.not_before.is_some()
    }

    /// When a rejection may cause the next renewal, while they are held back.
    pub(crate) fn next_renewal(&self, now: Instant) -> Option<Duration> {
        self.not_before.map(|at| at.saturating_duration_since(now))
    }

    /// One strike a token, and only against those that a rejection caused.
    fn strike(&mut self, now: Instant) {
        if !self.newest.by_rejection || self.newest.struck {
            return;
        }
        self.newest.struck = true;
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes >= self.budget.free {
            self.not_before = Some(self.newest.at.unwrap_or(now) + self.interval());
        }
    }

    fn interval(&self) -> Duration {
        let doublings = self.strikes.saturating_sub(self.budget.free.max(1)).min(31);
        self.budget.first.saturating_mul(1 << doublings).min(self.budget.most)
    }

    /// Forgets what was wrong once there was no rejection for twice the longest interval. Not sooner: an endpoint that
    /// is called every few seconds would have its free renewal each time.
    fn calm_down(&mut self, now: Instant) {
        if self.last_rejection.is_some_and(|at| now.duration_since(at) > 2 * self.budget.most) {
            *self = Self { newest: std::mem::take(&mut self.newest), ..Self::new(self.budget) };
        }
    }

    /// Whether the death of a proven token is believed to be a revocation.
    fn may_die(&mut self, now: Instant) -> bool {
        let young = self.newest.at.is_some_and(|at| now.duration_since(at) < self.budget.first / 2);
        self.young_deaths = if young { self.young_deaths + 1 } else { 0 };
        self.young_deaths < YOUNG_DEATHS
    }
}

impl Pace {
    fn take(&mut self, now: Instant, budget: &RejectionBudget) -> bool {
        if self.last.is_some_and(|last| now.duration_since(last) < self.interval) {
            return false;
        }
        self.interval = (2 * self.interval).max(budget.first).min(budget.most);
        self.last = Some(now);
        true
    }
}

impl Run {
    /// An acceptance ended it. Whether it was no longer than usual.
    fn end(&mut self) -> bool {
        let run = std::mem::take(&mut self.now);
        let was_usual = run <= self.usual;
        self.usual = run.max(self.usual - self.usual.div_ceil(32));
        was_usual
    }

    fn is_unusual(&self) -> bool {
        self.now >= 3 * self.usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Plays an API that rejects every token for `seconds`, asked `rate` times a second; the renewals that it causes.
    fn reject_everything(account: &mut Account, start: Instant, seconds: u32, rate: u32) -> Vec<u64> {
        let mut renewals = Vec::new();
        for tick in 0..seconds * rate {
            let now = start + SECOND * tick / rate;
            if account.may_renew(None, now) {
                renewals.push(now.duration_since(start).as_secs());
                account.issued(true, now);
                account.retried(false, now);
            }
        }
        renewals
    }

    #[test]
    fn an_api_that_rejects_everything_costs_one_renewal_and_then_ever_fewer() {
        let (mut account, start) = (Account::new(RejectionBudget::default()), Instant::now());
        account.issued(false, start);
        assert_eq!(reject_everything(&mut account, start, 400, 100), [0, 1, 3, 7, 15, 31, 63, 127, 247, 367]);
    }

    #[test]
    fn a_proven_token_is_renewed_at_once_each_time_it_is_revoked() {
        let (mut account, start) = (Account::new(RejectionBudget::default()), Instant::now());
        account.issued(false, start);
        for second in 1..1000 {
            let now = start + SECOND * second;
            assert!(account.may_renew(None, now), "revocation {second}");
            account.issued(true, now);
            account.retried(true, now);
        }
    }

    #[test]
    fn an_api_that_takes_each_token_once_does_not_cost_a_renewal_a_request() {
        let (mut account, start) = (Account::new(RejectionBudget::default()), Instant::now());
        account.issued(false, start);
        let mut renewals = 0;
        for tick in 0..10_000 {
            let now = start + Duration::from_millis(tick);
            if account.may_renew(None, now) {
                renewals += 1;
                account.issued(true, now);
                account.retried(true, now);
            }
        }
        assert!(renewals <= YOUNG_DEATHS + 10, "{renewals}");
    }

    #[test]
    fn a_quiet_time_restores_the_free_renewal() {
        let (mut account, start) = (Account::new(RejectionBudget::default()), Instant::now());
        account.issued(false, start);
        reject_everything(&mut account, start, 10, 10);
        assert!(account.is_limited());
        assert!(account.may_renew(None, start + 251 * SECOND));
        assert!(!account.is_limited());
    }

    #[test]
    fn silence_after_acceptance_is_a_revocation_even_while_limited() {
        let (mut account, start) = (Account::new(RejectionBudget::default()), Instant::now());
        account.issued(false, start);
        reject_everything(&mut account, start, 100, 10);
        let now = start + 100 * SECOND;
        assert!(!account.may_renew(Some(now - SECOND / 2), now), "it was accepted just now");
        assert!(account.may_renew(Some(now - SECOND), now));
    }

    #[test]
    fn a_low_rate_of_rejections_does_not_get_round_the_budget() {
        let (mut account, start) = (Account::new(RejectionBudget::default()), Instant::now());
        account.issued(false, start);
        let renewals = (0..1200)
            .map(|tick| start + 3 * SECOND * tick)
            .filter(|now| {
                let renews = account.may_renew(None, *now);
                if renews {
                    account.issued(true, *now);
                    account.retried(false, *now);
                }
                renews
            })
            .count();
        assert!(renewals <= 37, "{renewals} in an hour");
    }

    #[test]
    fn an_api_that_is_called_seldom_costs_no_more_than_the_rest() {
        let (mut account, start) = (Account::new(RejectionBudget::default()), Instant::now());
        account.issued(false, start);
        let (mut renewals, mut accepted) = (0, None);
        // One bad endpoint asked ten times a second, one good one every three seconds, for an hour.
        for tick in 0..36_000 {
            let now = start + SECOND * tick / 10;
            if tick % 30 == 0 {
                accepted = Some(now);
            }
            if account.may_renew(accepted, now) {
                renewals += 1;
                accepted = None;
                account.issued(true, now);
                account.retried(false, now);
            }
        }
        assert!(renewals <= 2 * 37, "{renewals}");
    }
}
