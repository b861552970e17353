//! Plays hours of requests at many paces, to see what the budget costs and how long a revocation lasts.

use std::time::Duration;

use tokio::time::Instant;

use crate::cache::budget::{BudgetState, RejectionBudget};

const HOUR: Duration = Duration::from_secs(3600);

/// An API behind a cache. Its bad endpoints reject every token, the good ones only a revoked one.
struct Played {
    state: BudgetState,
    start: Instant,
    now: Instant,
    /// When the newest token was last accepted, if that was watched.
    accepted: Option<Instant>,
    revoked_at: Option<Instant>,
    token_requests: Vec<Instant>,
    /// How long each revocation lasted.
    outages: Vec<Duration>,
}

impl Played {
    fn new() -> Self {
        let now = Instant::now();
        let mut state = BudgetState::new(RejectionBudget::default());
        state.issued(false, now);
        Self {
            state,
            start: now,
            now,
            accepted: None,
            revoked_at: None,
            token_requests: vec![now],
            outages: Vec::new(),
        }
    }

    /// Sends a request, and a retry where the budget allows it.
    fn request(&mut self, is_bad: bool) {
        self.request_of(is_bad, true);
    }

    /// Sends a request. Its rejection is retried only if the request allows it.
    fn request_of(&mut self, is_bad: bool, is_retried: bool) {
        if !is_bad && self.revoked_at.is_none() {
            self.note_accepted();
        } else if self.state.may_renew(self.accepted, self.now) {
            self.token_requests.push(self.now);
            self.outages.extend(self.revoked_at.take().map(|at| self.now - at));
            self.state.issued(true, self.now);
            self.accepted = None;
            if is_retried {
                self.state.retried(!is_bad, self.now);
                self.accepted = (!is_bad).then_some(self.now);
            }
        }
    }

    fn note_accepted(&mut self) {
        let is_watched = self.state.is_limited() || self.state.wants_proof();
        if is_watched && self.accepted.replace(self.now).is_none() {
            self.state.accepted();
        }
    }

    /// Returns the most token requests in an hour, whenever it begins.
    fn most_in_an_hour(&self) -> usize {
        let all = &self.token_requests;
        (0..all.len()).map(|n| all[n..].partition_point(|at| *at - all[n] < HOUR)).max().unwrap_or(0)
    }

    fn revoke(&mut self) {
        self.revoked_at.get_or_insert(self.now);
    }
}

/// When the next request comes, and where it goes.
struct Schedule {
    gap: f64,
    bad: f64,
    kind: Kind,
    random: fastrand::Rng,
    requests: u64,
    burst: u32,
    is_bad: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Alternating,
    RegularGaps,
    RandomGaps,
    Bursts,
}

impl Schedule {
    fn new(kind: Kind, gap: f64, bad: f64, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { gap, bad, kind, random, requests: 0, burst: 0, is_bad: false }
    }

    fn next(&mut self) -> (Duration, bool) {
        let is_random = matches!(self.kind, Kind::RandomGaps | Kind::Bursts);
        let gap = if is_random { -self.gap * (1.0 - self.random.f64()).ln() } else { self.gap };
        self.requests += 1;
        self.burst = self.burst.saturating_sub(1);
        if self.burst == 0 {
            self.is_bad = self.random.f64() < self.bad;
            self.burst = if self.kind == Kind::Bursts { self.random.u32(1..100) } else { 1 };
        }
        let is_bad = if self.kind == Kind::Alternating { self.requests.is_multiple_of(2) } else { self.is_bad };
        (Duration::from_secs_f64(gap), is_bad)
    }
}

#[test]
fn bad_endpoints_stay_within_the_bound_in_every_hour_at_any_pace() {
    for kind in [Kind::Alternating, Kind::RegularGaps, Kind::RandomGaps, Kind::Bursts] {
        for gap in [0.1, 0.5, 0.9, 1.0, 1.5, 2.0, 5.0, 15.0, 30.0, 60.0] {
            for bad in [0.05, 0.25, 0.5, 0.75, 0.9, 1.0] {
                for seed in 0..2 {
                    let (mut played, mut schedule) = (Played::new(), Schedule::new(kind, gap, bad, seed));
                    for hour in 1..=3 {
                        let before = if hour == 1 { 0 } else { played.token_requests.len() };
                        while played.now - played.start < HOUR * hour {
                            let (gap, is_bad) = schedule.next();
                            played.now += gap;
                            played.request(is_bad);
                        }
                        let cost = played.token_requests.len() - before;
                        assert!(cost <= 37, "{cost} in hour {hour}: {kind:?}, gap {gap} s, bad {bad}, seed {seed}");
                    }
                }
            }
        }
    }
}

/// Plays three hours in which a share of the requests is retried.
fn without_some_retries(kind: Kind, gap: f64, bad: f64, retried: f64, seed: u64) -> Played {
    let (mut played, mut schedule) = (Played::new(), Schedule::new(kind, gap, bad, seed));
    let mut random = fastrand::Rng::with_seed(seed);
    while played.now - played.start < 3 * HOUR {
        let (gap, is_bad) = schedule.next();
        played.now += gap;
        played.request_of(is_bad, random.f64() < retried);
    }
    played
}

#[test]
fn bad_endpoints_without_retries_stay_within_the_bound_in_any_hour_at_any_pace() {
    for kind in [Kind::Alternating, Kind::RegularGaps, Kind::RandomGaps, Kind::Bursts] {
        for gap in [0.9, 1.0, 1.5, 5.0, 10.0, 14.0, 15.0, 16.0, 20.0, 30.0, 50.0, 60.0] {
            for (bad, retried) in [0.05, 0.25, 0.5, 0.9].into_iter().flat_map(|bad| [0.0, 0.2, 0.8].map(|it| (bad, it)))
            {
                let cost = without_some_retries(kind, gap, bad, retried, 5).most_in_an_hour();
                assert!(cost <= 37, "{cost}: {kind:?}, gap {gap} s, bad {bad}, retried {retried}");
            }
        }
    }
}

/// The pace, and the shares of bad and of retried requests, change all the time.
#[test]
fn random_schedules_with_and_without_retries_stay_within_the_bound_in_any_hour() {
    for seed in 0..150 {
        let (mut played, mut random) = (Played::new(), fastrand::Rng::with_seed(seed));
        while played.now - played.start < 3 * HOUR {
            let kind = random.choice([Kind::Alternating, Kind::RegularGaps, Kind::RandomGaps, Kind::Bursts]).unwrap();
            let gap = 0.5 * 120_f64.powf(random.f64());
            // None and all are as likely as the rest.
            let [bad, retried_good, retried_bad] = [(); 3].map(|()| (3.0 * random.f64() - 1.0).clamp(0.0, 1.0));
            let mut schedule = Schedule::new(kind, gap, bad, random.u64(..));
            let end = played.now + Duration::from_secs(*random.choice(&[10, 60, 302, 1800, 7200]).unwrap());
            while played.now < end {
                let (gap, is_bad) = schedule.next();
                played.now += gap;
                let retried = if is_bad { retried_bad } else { retried_good };
                played.request_of(is_bad, random.f64() < retried);
            }
        }
        let cost = played.most_in_an_hour();
        assert!(cost <= 37, "{cost} with seed {seed}");
    }
}

/// A job of four seconds. Each of its steps is one good request and then seven bad ones, which looks like a revocation.
#[test]
fn a_short_job_each_five_minutes_stays_within_the_bound_in_every_hour() {
    let mut played = Played::new();
    for hour in 1..=3 {
        let before = if hour == 1 { 0 } else { played.token_requests.len() };
        while played.now - played.start < HOUR * hour {
            for _ in 0..4 {
                played.request(false);
                played.now += Duration::from_millis(1100);
                (0..7).for_each(|_| played.request(true));
            }
            played.now += Duration::from_secs(301);
        }
        let cost = played.token_requests.len() - before;
        assert!(cost <= 37, "{cost} in hour {hour}");
    }
}

/// Plays four hours with revocations. Returns how long each lasted.
fn revocations(kind: Kind, gap: f64, bad: f64, each: Duration, seed: u64) -> Vec<Duration> {
    let (mut played, mut schedule) = (Played::new(), Schedule::new(kind, gap, bad, seed));
    let mut next = played.start + each.mul_f64(0.8);
    while played.now - played.start < 4 * HOUR {
        let (gap, is_bad) = schedule.next();
        played.now += gap;
        if played.now >= next {
            next += each;
            played.revoke();
        }
        played.request(is_bad);
    }
    played.outages
}

#[test]
fn a_revocation_is_recovered_from_within_two_seconds_at_twenty_requests_a_second() {
    for bad in [0.05, 0.25, 0.5] {
        for seconds in [1800, 300, 60] {
            let outages = revocations(Kind::RegularGaps, 0.05, bad, Duration::from_secs(seconds), 1);
            assert!(outages.len() > 7);
            for outage in outages {
                assert!(outage < Duration::from_secs(2), "{outage:?} with {bad} bad, each {seconds} s");
            }
        }
    }
}

#[test]
fn a_revocation_is_recovered_from_within_two_intervals_at_any_pace() {
    for gap in [0.1, 0.5, 1.0, 2.0, 5.0] {
        for bad in [0.05, 0.25, 0.5, 0.75, 0.9] {
            for seed in 0..5 {
                for outage in revocations(Kind::RandomGaps, gap, bad, HOUR / 2, seed) {
                    let bound = Duration::from_secs_f64(300.0 + 30.0 * gap);
                    assert!(outage < bound, "{outage:?}, gap {gap} s, bad {bad}, seed {seed}");
                }
            }
        }
    }
}

#[test]
fn without_retries_a_revocation_is_recovered_from_at_once_or_within_two_intervals() {
    for (seconds, longest) in [(1800, 0), (300, 0), (150, 0), (60, 300), (20, 300)] {
        let (mut played, each) = (Played::new(), Duration::from_secs(seconds));
        for n in 1..14_400_u32 {
            played.now += Duration::from_secs(1);
            if n % u32::try_from(each.as_secs()).unwrap() == 0 {
                played.revoke();
            }
            played.request_of(false, false);
        }
        assert!(played.outages.len() > 6 && played.most_in_an_hour() <= 37, "each {each:?}");
        for outage in &played.outages {
            assert!(*outage <= Duration::from_secs(longest), "{outage:?}, revoked each {each:?}");
        }
    }
}

#[test]
fn when_an_issuer_is_right_again_its_tokens_are_used_within_half_of_the_time_that_it_was_wrong() {
    for seconds in [5, 10, 20, 30, 60, 70, 75, 100, 120, 180, 240] {
        let (mut played, wrong) = (Played::new(), Duration::from_secs(seconds));
        while played.now - played.start <= wrong {
            played.request(true);
            played.now += Duration::from_millis(100);
        }
        played.revoke();
        while played.revoked_at.is_some() {
            played.request(false);
            played.now += Duration::from_millis(100);
        }
        assert!(
            played.outages[0] <= wrong.mul_f64(0.52) + Duration::from_secs(1),
            "{:?} after {wrong:?}",
            played.outages
        );
    }
}
