//! What may come during a renewal, each in thousands of interleavings: another caller, the loss of its leader, a rejection, a
//! reset, a panic, the end of the old token. An eviction is in the tests of the pool.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::FutureExt;
use shuttle::{
    future::{block_on, yield_now},
    thread,
};
use tokio::time::advance;

use crate::{
    cache::{decision::Decision, interleavings::explore, token_cache::TokenCache},
    error::Error,
    source::{Reason, TokenSource},
    token::AccessToken,
};

/// How many schedules each test tries, of each of two kinds.
const SCHEDULES: usize = 2_000;
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// An issuer that numbers its tokens. These atomics are the standard library's, so that threads are not switched at them.
#[derive(Default)]
pub(crate) struct Issuer {
    begun: AtomicU64,
    in_progress: AtomicU64,
    overlapped: AtomicBool,
    /// The first so many requests panic.
    panics: u64,
}

/// A token request in progress.
struct InProgress<'a>(&'a Issuer);

impl Issuer {
    /// Answers a token request, which must be the only one in progress.
    pub(crate) async fn answer(&self) -> Result<AccessToken, Error> {
        let number = self.begun.fetch_add(1, SeqCst) + 1;
        self.overlapped.fetch_or(self.in_progress.fetch_add(1, SeqCst) > 0, SeqCst);
        let _in_progress = InProgress(self);
        yield_now().await;
        if number <= self.panics {
            // It prints nothing, unlike `panic!`.
            resume_unwind(Box::new("scripted"));
        }
        Ok(AccessToken::new(number.to_string())?.with_expires_in(60 * MINUTE))
    }

    /// Returns how many token requests there were.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    /// Returns whether two token requests were in progress at once.
    pub(crate) fn has_overlapped(&self) -> bool {
        self.overlapped.load(SeqCst)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, SeqCst);
    }
}

/// The source of one issuer.
pub(crate) struct Source(pub(crate) Arc<Issuer>);

impl TokenSource for Source {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        self.0.answer().await
    }
}

/// A cache, and the issuer of its tokens.
#[derive(Clone)]
struct Subject {
    cache: TokenCache,
    issuer: Arc<Issuer>,
    /// Tokens up to this one must not be served any more.
    dead: Arc<AtomicU64>,
}

impl Subject {
    fn new(panics: u64) -> Self {
        let issuer = Arc::new(Issuer { panics, ..Issuer::default() });
        // Nobody advances the clock for the waits between two attempts of a renewal.
        let cache = TokenCache::builder(Source(Arc::clone(&issuer))).renewal_retries(0).build();
        Self { cache, issuer, dead: Arc::default() }
    }

    /// With a token that has this long until its end.
    fn with_token(left: Duration) -> (Self, AccessToken) {
        let subject = Self::new(0);
        let token = block_on(subject.cache.token()).unwrap();
        // A token of an hour expires a minute before its end.
        pass(59 * MINUTE - left);
        (subject, token)
    }

    /// Returns the number of the token that a request gets.
    fn number(&self) -> u64 {
        let dead = self.dead.load(SeqCst);
        let number = number(&block_on(self.cache.token()).unwrap());
        assert!(number > dead, "token {number} was served after the end of token {dead}");
        number
    }

    /// Says that tokens up to this one must not be served from now on.
    fn is_dead(&self, number: u64) {
        self.dead.fetch_max(number, SeqCst);
    }

    /// Checks that there were so many token requests, one at a time, and that nothing is left.
    fn check_at_rest(&self, requests: std::ops::RangeInclusive<u64>) {
        let Self { cache, issuer, .. } = self;
        assert!(!issuer.has_overlapped(), "two renewals were in progress at once");
        assert!(requests.contains(&issuer.begun()), "{} token requests", issuer.begun());
        cache.core.flight.look(|state, renewing| {
            assert!(!renewing, "a renewal was left in progress");
            let published = cache.core.published.served().as_ref().map(|served| served.token.generation());
            assert_eq!(published, state.served().map(|served| served.token.generation()), "another token is published");
        });
    }
}

fn number(token: &AccessToken) -> u64 {
    token.secret().parse().unwrap()
}

fn pass(time: Duration) {
    advance(time).now_or_never();
}

/// Runs these acts at the same time, each in a thread.
pub(crate) fn at_once<S: Clone + Send + 'static>(subject: &S, acts: &[fn(&S)]) {
    let spawn = |act: &fn(&S)| {
        let (subject, act) = (subject.clone(), *act);
        thread::spawn(move || act(&subject))
    };
    let threads: Vec<_> = acts.iter().map(spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn gets_the_first(subject: &Subject) {
    assert_eq!(subject.number(), 1);
}

fn gets_one(subject: &Subject) {
    subject.number();
}

#[test]
fn two_callers_at_once_begin_one_renewal() {
    explore(SCHEDULES, || {
        let subject = Subject::new(0);
        at_once(&subject, &[gets_the_first, gets_the_first, gets_the_first]);
        subject.check_at_rest(1..=1);
    });
}

#[test]
fn when_the_leader_is_dropped_one_of_those_who_wait_begins_another_renewal() {
    explore(SCHEDULES, || {
        let subject = Subject::new(0);
        let led = subject.cache.core.decide(|state, at| state.decide_lookup(at));
        assert!(matches!(led, (Decision::Wait, Some(_))));
        let waiting = [(); 3].map(|()| {
            let subject = subject.clone();
            thread::spawn(move || gets_the_first(&subject))
        });
        drop(led);
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
        subject.check_at_rest(1..=1);
    });
}

#[test]
fn a_rejection_during_a_renewal_waits_for_that_renewal() {
    explore(SCHEDULES, || {
        // Stale: the renewal is in the background, and the old token is served.
        let (subject, old) = Subject::with_token(MINUTE);
        let rejecting = [(); 2].map(|()| {
            let (subject, old) = (subject.clone(), old.clone());
            thread::spawn(move || {
                let next = block_on(subject.cache.reject(&old)).unwrap();
                subject.is_dead(1);
                assert_eq!((number(&next), subject.number()), (2, 2));
            })
        });
        at_once(&subject, &[gets_one, gets_one]);
        rejecting.into_iter().for_each(|thread| thread.join().unwrap());
        subject.check_at_rest(2..=2);
    });
}

#[test]
fn what_a_renewal_from_before_a_reset_brings_is_not_served_after_it() {
    explore(SCHEDULES, || {
        let subject = Subject::new(0);
        let reset: fn(&Subject) = |subject| {
            let begun = subject.issuer.begun();
            subject.cache.reset();
            subject.is_dead(begun);
            subject.number();
        };
        at_once(&subject, &[gets_one, gets_one, reset]);
        subject.check_at_rest(1..=2);
    });
}

#[test]
fn a_panic_of_the_source_leaves_nobody_waiting() {
    explore(SCHEDULES, || {
        let subject = Subject::new(1);
        let fails: fn(&Subject) = |subject| drop(block_on(subject.cache.token()).unwrap_err());
        at_once(&subject, &[fails, fails, fails]);
        subject.check_at_rest(1..=1);
        pass(SECOND);
        assert_eq!(subject.number(), 2);
    });
}

#[test]
fn a_token_that_expires_during_its_renewal_is_not_served_after_its_end() {
    explore(SCHEDULES, || {
        let (subject, _) = Subject::with_token(SECOND);
        let expire: fn(&Subject) = |subject| {
            pass(SECOND);
            subject.is_dead(1);
            subject.number();
        };
        at_once(&subject, &[gets_one, gets_one, expire]);
        subject.check_at_rest(2..=2);
    });
}
