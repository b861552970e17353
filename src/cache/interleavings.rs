//! The cache in thousands of interleavings of lookups, rejections, resets and renewals.
//!
//! Shuttle runs the threads of a test one at a time, and switches between them at random at each operation on a lock, an
//! atomic or a published cell (see [`sync`](crate::sync)). It fails when all threads wait. It does not reorder memory
//! accesses, so a wrong memory ordering is not found here.
//!
//! ```text
//! just shuttle
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::FutureExt;
use http::Response;
use shuttle::{
    Config, Runner,
    future::{block_on, yield_now},
    scheduler::{PctScheduler, RandomScheduler},
    thread,
};
use tokio::time::advance;

use crate::{
    cache::{
        budget::RejectionBudget, places::Places, rejection::AfterRejection, served_token::LEASE,
        token_cache::TokenCache,
    },
    error::Error,
    source::{Reason, TokenSource},
    sync::finish_tasks,
    token::AccessToken,
    verdict::{Judgement, Verdict},
};

/// How many schedules each test tries, of each of two kinds.
const SCHEDULES: usize = 5_000;
const HOUR: Duration = Duration::from_secs(3600);
const NEVER_LIMITED: RejectionBudget = RejectionBudget::new(u32::MAX, HOUR, HOUR);

/// What happened in one schedule. These atomics are the standard library's, so that threads are not switched at them.
#[derive(Default)]
struct Log {
    requests: AtomicU64,
    is_requesting: AtomicBool,
    requests_overlapped: AtomicBool,
    /// The newest generation that a lookup returned.
    newest_seen: AtomicU64,
    /// The newest generation whose rejection was noted.
    rejected: AtomicU64,
    /// The newest generation that was seen before a reset that has returned.
    forgotten: AtomicU64,
    resets: AtomicU64,
}

/// A source that brings another token each time, but fails at each `fails_every`th request.
struct LoggingSource {
    log: Arc<Log>,
    fails_every: u64,
}

impl TokenSource for LoggingSource {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        let Log { requests, is_requesting, requests_overlapped, .. } = &*self.log;
        requests_overlapped.fetch_or(is_requesting.swap(true, SeqCst), SeqCst);
        let request = requests.fetch_add(1, SeqCst) + 1;
        yield_now().await;
        is_requesting.store(false, SeqCst);
        if request.is_multiple_of(self.fails_every) {
            return Err(Error::transient("no token this time"));
        }
        Ok(AccessToken::new(format!("token-{request}"))?.with_expires_in(HOUR))
    }
}

#[derive(Clone)]
struct Subject {
    cache: TokenCache,
    log: Arc<Log>,
    /// Whether the second attempt of a request is accepted.
    is_retry_accepted: bool,
    never_fails: bool,
}

impl Subject {
    fn new(budget: RejectionBudget, fails_every: u64) -> Self {
        let log = Arc::new(Log::default());
        let source = LoggingSource { log: Arc::clone(&log), fails_every };
        // Nobody advances the clock for the waits between two attempts of a renewal.
        let cache = TokenCache::builder(source).rejection_budget(budget).renewal_retries(0).build();
        Self { cache, log, is_retry_accepted: true, never_fails: fails_every == u64::MAX }
    }

    /// Looks up a token as a request does, and checks that it is not one that was rejected or forgotten before.
    fn look_up(&self) -> Result<AccessToken, Error> {
        let (rejected, forgotten) = (self.log.rejected.load(SeqCst), self.log.forgotten.load(SeqCst));
        let token = block_on(self.cache.token())?;
        let generation = token.generation();
        assert!(generation > rejected, "{generation} was served after the rejection of {rejected}");
        assert!(generation > forgotten, "{generation} was served after a reset that forgot {forgotten}");
        self.log.newest_seen.fetch_max(generation, SeqCst);
        Ok(token)
    }

    /// Rejects a token as a request does whose first attempt was answered with a 401, and takes the next one.
    fn reject(&self, token: &AccessToken) {
        let core = &self.cache.core;
        let next = match core.rejected(token.generation()) {
            AfterRejection::Newer(newer) => Ok(newer),
            AfterRejection::Wait(pending) => {
                self.note_rejection(token);
                block_on(Arc::clone(core).wait(pending))
            }
            // A rejection that is passed on changes nothing.
            AfterRejection::BudgetSpent => return,
            AfterRejection::Failed(error) => Err(error),
        };
        self.note_rejection(token);
        if let Ok(next) = next {
            assert!(next.generation() > token.generation(), "a rejected token came back");
            let verdict = if self.is_retry_accepted { Verdict::Accepted } else { Verdict::Rejected };
            let judgement = Judgement { verdict, is_inferred: false };
            core.retried(next.generation(), judgement, &Response::new(()));
        }
    }

    fn note_rejection(&self, token: &AccessToken) {
        // While limited, and after a renewal that failed, a rejected token is served.
        if !self.cache.core.flight.look(|state, _| state.is_limited()) && self.never_fails {
            self.log.rejected.fetch_max(token.generation(), SeqCst);
        }
    }

    fn reset(&self) {
        let seen = self.log.newest_seen.load(SeqCst);
        self.cache.reset();
        self.log.forgotten.fetch_max(seen, SeqCst);
        self.log.resets.fetch_add(1, SeqCst);
    }

    /// Checks what must hold when no thread is running.
    fn check_at_rest(&self) {
        let (core, log) = (&self.cache.core, &self.log);
        core.flight.look(|state, renewing| {
            assert!(!renewing, "a renewal was left in progress");
            let served = core.published.served().as_ref().map(|served| served.token.generation());
            assert_eq!(served, state.served().map(|served| served.token.generation()), "another token is published");
            assert_eq!(core.published.is_watched(), state.is_watched(), "another flag is published");
        });
        assert!(!log.requests_overlapped.load(SeqCst), "two renewals were in progress at once");
    }
}

/// Runs `scenario` in so many random schedules, and in as many that switch between threads at a few points only.
pub(crate) fn explore(schedules: usize, scenario: impl Fn() + Send + Sync + 'static) {
    // For its clock, which stands still unless a test advances it. Shuttle runs what the cache spawns.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let scenario = Arc::new(move || {
        scenario();
        finish_tasks();
    });
    let config = || {
        let mut config = Config::new();
        config.stack_size = 1 << 18;
        config.silence_warnings = true;
        config
    };
    let random = Arc::clone(&scenario);
    Runner::new(RandomScheduler::new(schedules), config()).run(move || random());
    Runner::new(PctScheduler::new(3, schedules), config()).run(move || scenario());
}

/// Runs these acts at the same time, each in a thread, and checks the cache at the end.
fn run(subject: &Subject, acts: &[fn(&Subject)]) {
    let spawn = |act: &fn(&Subject)| {
        let (subject, act) = (subject.clone(), *act);
        thread::spawn(move || act(&subject))
    };
    let threads: Vec<_> = acts.iter().map(spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    subject.check_at_rest();
}

/// Two accepted requests, with time for the lease to end between them.
fn accepted(subject: &Subject) {
    for _ in 0..2 {
        if let Ok(token) = subject.look_up() {
            subject.cache.core.accepted(token.generation(), Judgement::ACCEPTED, &Response::new(()));
        }
        advance(LEASE).now_or_never();
    }
}

/// A request whose first attempt is rejected, and a request after it.
fn rejected(subject: &Subject) {
    if let Ok(token) = subject.look_up() {
        subject.reject(&token);
    }
    let _ = subject.look_up();
}

/// A request whose renewal is dropped before it begins, as outside a runtime.
fn dropped(subject: &Subject) {
    drop(subject.cache.core.decide(|state, at| state.decide_lookup(at)));
}

#[test]
fn no_rejected_or_forgotten_token_is_served_and_one_renewal_runs_at_a_time() {
    explore(SCHEDULES, || {
        let subject = Subject::new(NEVER_LIMITED, u64::MAX);
        run(&subject, &[accepted, accepted, rejected, rejected, Subject::reset]);
        let Log { requests, rejected, resets, .. } = &*subject.log;
        let causes = 1 + rejected.load(SeqCst) + resets.load(SeqCst);
        assert!(requests.load(SeqCst) <= causes, "more token requests than the first, the rejections and the reset");
    });
}

#[test]
fn what_is_published_agrees_with_the_state_while_the_budget_is_limited() {
    explore(SCHEDULES, || {
        let subject = Subject { is_retry_accepted: false, ..Subject::new(RejectionBudget::default(), u64::MAX) };
        run(&subject, &[accepted, accepted, rejected, rejected, Subject::reset]);
    });
}

#[test]
fn nobody_waits_for_a_renewal_that_failed_or_was_dropped() {
    explore(SCHEDULES, || {
        run(&Subject::new(NEVER_LIMITED, 2), &[accepted, rejected, dropped, dropped, Subject::reset])
    });
}

/// Waits for a place, has it for a moment, and gives it back.
fn has_place(places: &Arc<Places>, in_use: &AtomicU64, is_foreground: bool, moves_up: bool) {
    let mut place = places.line_up(is_foreground, None);
    if moves_up {
        place.move_to(true);
    }
    block_on(async { while !place.wait().await {} });
    assert!(in_use.fetch_add(1, SeqCst) < 2, "more places are in use than there are");
    thread::yield_now();
    in_use.fetch_sub(1, SeqCst);
}

#[test]
fn each_place_is_given_to_the_next_who_waits_and_no_more_are_in_use_than_there_are() {
    explore(SCHEDULES, || {
        let (places, in_use) = (Arc::new(Places::new(2)), Arc::new(AtomicU64::new(0)));
        let acts: [fn(&Arc<Places>, &AtomicU64); 6] = [
            |places, in_use| has_place(places, in_use, true, false),
            |places, in_use| has_place(places, in_use, true, false),
            |places, in_use| has_place(places, in_use, false, false),
            |places, in_use| has_place(places, in_use, false, true),
            |places, _| drop(places.line_up(true, None)),
            |places, _| {
                let _ = places.line_up(false, None).wait().now_or_never();
            },
        ];
        let spawn = |act: fn(&Arc<Places>, &AtomicU64)| {
            let (places, in_use) = (Arc::clone(&places), Arc::clone(&in_use));
            thread::spawn(move || act(&places, &in_use))
        };
        acts.map(spawn).into_iter().for_each(|thread| thread.join().unwrap());
        let mut both = [places.line_up(true, None), places.line_up(false, None)];
        assert!(both.iter_mut().all(|place| place.wait().now_or_never() == Some(true)), "a place was lost");
    });
}
