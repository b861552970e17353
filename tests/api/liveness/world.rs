//! The API of a scenario, and what is known of its caches. It checks the rules that each request must keep.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    fmt::Debug,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response, StatusCode};
use tokio::{
    runtime::{self, Handle},
    time::{Instant, sleep},
};
use tower::{BoxError, service_fn, util::BoxCloneSyncService};
use tower_bearer::{AccessToken, Error, TokenCache, source::Narrowing};

use crate::support::{Answer, Ask, SECOND};

/// The number of caches: one, and those that it is narrowed to.
pub(crate) const CACHES: usize = 3;

/// How the issuer answers token requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Issuer {
    pub(crate) reply: Reply,
    /// How long it takes, in tenths of a unit.
    pub(crate) after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Token,
    /// The connection is refused.
    Down,
    /// 429, with a `Retry-After`.
    Busy,
    InvalidGrant,
    InvalidClient,
    /// 403 without an error code.
    Forbidden,
    Panic,
    Silence,
}

/// The issuer, the API, and what they have seen. `unit` is a second on the paused clock, and less on a real one.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) unit: Duration,
    /// Whether one thread runs everything. Only then does the order of events say what a cache knows.
    pub(crate) is_exact: bool,
    /// How often a renewal that requests wait for is tried again.
    pub(crate) retries: usize,
    pub(super) lifetime: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) caches: [Cache; CACHES],
    pub(super) credentials_version: u64,
    pub(super) asked: u64,
    pub(super) issued: u64,
    /// How many resets have begun, and how many of them have ended.
    pub(super) resets: [u64; 2],
    pub(super) shutdowns: u64,
    /// How often each runtime was stopped.
    pub(super) stops: HashMap<runtime::Id, u64>,
    pub(super) held: Vec<Held>,
    /// The rules that were broken, each with an example.
    pub(super) broken: BTreeMap<&'static str, String>,
    pub(super) seen: BTreeSet<Event>,
}

/// What came out of a scenario.
#[derive(Debug)]
pub(crate) struct Played {
    /// The rules that were broken, each with an example.
    pub(crate) broken: BTreeMap<&'static str, String>,
    pub(crate) seen: BTreeSet<Event>,
}

/// What must happen in some scenario. Otherwise the rules were not put to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Accepted,
    SentAgain,
    Rejected,
    Failed,
    /// A token came too late.
    Void,
}

/// What is known of one cache. Tokens are numbered in the order in which they are issued, over all caches.
#[derive(Default)]
pub(super) struct Cache {
    pub(super) issuer: Issuer,
    pub(super) in_progress: Vec<InProgress>,
    pub(super) last_asked: u64,
    pub(super) resets: [u64; 2],
    pub(super) newest: Option<Newest>,
    /// The newest token that a request carried.
    pub(super) carried: u64,
    /// The newest token that was forgotten by a reset or a revocation.
    pub(super) forgotten: u64,
    /// The newest token that was rejected.
    pub(super) rejected: u64,
    /// The API rejects tokens up to this one.
    pub(super) revoked: u64,
    /// Tokens that came too late: after a reset, or after a newer token request had begun.
    pub(super) void: BTreeSet<u64>,
    /// The version of the credentials that the last token request succeeded with.
    pub(super) works_with: Option<u64>,
}

pub(super) struct InProgress {
    pub(super) number: u64,
    pub(super) runtime: runtime::Id,
    pub(super) is_stalled: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Newest {
    pub(super) number: u64,
    pub(super) stale_at: Instant,
    pub(super) expires_at: Instant,
}

/// Caches that must not ask the issuer, because of an earlier failure.
pub(super) struct Held {
    pub(super) who: Who,
    pub(super) until: Instant,
    /// The refused credentials, after a refusal.
    pub(super) version: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Cache(usize),
    /// All caches of the client.
    Client,
    /// All caches for which the credentials did not work the last time.
    Credentials,
}

/// What was known when a request began. It is in the extensions of the request.
#[derive(Clone)]
pub(crate) struct Ticket {
    cache: usize,
    began: Instant,
    runtime: runtime::Id,
    stops: u64,
    resets: u64,
    shutdowns: u64,
    /// The oldest token that the request may carry.
    oldest: u64,
    /// A token that need not be renewed to be sent.
    usable: Option<u64>,
    sent: Arc<AtomicU64>,
}

impl Default for Issuer {
    fn default() -> Self {
        Self { reply: Reply::Token, after: 0 }
    }
}

impl World {
    pub(crate) fn new(unit: Duration, is_exact: bool, retries: usize, lifetime: u32) -> Self {
        Self { unit, is_exact, retries, lifetime: unit * lifetime, state: Arc::default() }
    }

    /// Returns how long the renewals of such a cache may take.
    pub(crate) fn deadline(&self) -> Duration {
        10 * self.unit
    }

    /// Returns how long a request waits for one renewal at most: also for one that nobody drives.
    pub(crate) fn wait(&self) -> Duration {
        self.deadline() + SECOND
    }

    /// Returns the API: `/bad` rejects every token, and `/slow` takes two units.
    pub(crate) fn api(&self) -> BoxCloneSyncService<Ask, Answer, Infallible> {
        let world = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: Ask| {
            let status = world.receive(&request);
            let is_slow = request.uri().path() == "/slow";
            let takes = if is_slow { 2 * world.unit } else { world.unit / 100 };
            async move {
                sleep(takes).await;
                Ok(Response::builder().status(status).body(Answer::default().into_body()).unwrap())
            }
        }))
    }

    pub(crate) fn set_issuer(&self, of: Option<usize>, issuer: Issuer) {
        let mut state = self.state();
        for cache in all_or(of) {
            state.caches[cache].issuer = issuer;
        }
    }

    pub(crate) fn change_credentials(&self) {
        self.state().credentials_version += 1;
    }

    /// Has the API reject all tokens that were issued so far.
    pub(crate) fn revoke_tokens(&self, of: Option<usize>) {
        let mut state = self.state();
        for cache in all_or(of) {
            state.caches[cache].revoked = state.issued;
        }
    }

    /// Returns the newest token, which its user is about to invalidate.
    pub(crate) fn invalidated(&self, cache: usize) -> Option<AccessToken> {
        let mut state = self.state();
        let number = state.caches[cache].newest?.number;
        state.caches[cache].rejected = number;
        AccessToken::new(format!("{cache}.{number}")).ok()
    }

    /// Resets a cache, and those that it is narrowed to.
    pub(crate) fn reset(&self, which: usize, cache: &TokenCache) {
        let all = all_or((which > 0).then_some(which));
        let issued = {
            let mut state = self.state();
            state.resets[0] += 1;
            all.clone().for_each(|cache| state.caches[cache].resets[0] += 1);
            state.issued
        };
        cache.reset();
        let mut state = self.state();
        state.resets[1] += 1;
        state.held.retain(|held| matches!(held.who, Who::Cache(cache) if !all.contains(&cache)));
        for cache in all {
            let cache = &mut state.caches[cache];
            cache.resets[1] += 1;
            cache.forgotten = issued;
            cache.works_with = None;
        }
    }

    pub(crate) fn stopped(&self, runtime: runtime::Id) {
        let mut state = self.state();
        *state.stops.entry(runtime).or_default() += 1;
        let in_progress = state.caches.iter_mut().flat_map(|cache| &mut cache.in_progress);
        in_progress.filter(|one| one.runtime == runtime).for_each(|one| one.is_stalled = true);
    }

    pub(crate) fn shut_down(&self) {
        self.state().shutdowns += 1;
    }

    /// Notes that a request begins, in the runtime that calls this.
    pub(crate) fn begin(&self, cache: usize) -> Ticket {
        let (state, began, runtime) = (self.state(), Instant::now(), Handle::current().id());
        let known = &state.caches[cache];
        let newest = known.newest.map_or(0, |newest| newest.number);
        Ticket {
            cache,
            began,
            runtime,
            stops: state.stops.get(&runtime).copied().unwrap_or(0),
            resets: state.resets[0],
            shutdowns: state.shutdowns,
            oldest: newest.max(known.carried).max(known.forgotten + 1),
            usable: self.usable(known, began),
            sent: Arc::default(),
        }
    }

    /// Checks how a request ended.
    pub(crate) fn end(&self, ticket: &Ticket, ended: Result<Answer, BoxError>) {
        let (mut state, now) = (self.state(), Instant::now());
        match ended {
            Ok(answer) if answer.status() == StatusCode::OK => drop(state.seen.insert(Event::Accepted)),
            Ok(answer) => {
                state.seen.insert(Event::Rejected);
                let is_passed_on = answer.status() == StatusCode::UNAUTHORIZED;
                state.check("an answer is the API's", is_passed_on, &answer.status());
            }
            Err(error) => {
                state.seen.insert(Event::Failed);
                state.check("an error says what it is", error.is::<Error>(), &error);
                let usable = self.usable(&state.caches[ticket.cache], now).filter(|_| ticket.usable.is_some());
                state.check("no request fails while there is a token that has not expired", usable.is_none(), &error);
            }
        }
        // It waits at most twice. A reset or a shutdown during a wait has it wait for the next renewal. When it began, a
        // renewal from before an earlier reset may not have ended yet.
        let resets = state.resets[1].saturating_sub(ticket.resets) + u64::from(ticket.resets > 0);
        let waits = 2 + u32::try_from(resets + state.shutdowns - ticket.shutdowns).unwrap();
        let limit = waits * self.wait() + 6 * self.unit;
        let took = now - ticket.began;
        let was_driven = state.stops.get(&ticket.runtime).copied().unwrap_or(0) == ticket.stops;
        let is_late = self.is_exact && was_driven && took > limit;
        state.check("a request ends within two waits for a renewal", !is_late, &took);
    }

    /// Checks a rule.
    pub(crate) fn check(&self, rule: &'static str, holds: bool, details: &dyn Debug) {
        self.state().check(rule, holds, details);
    }

    /// Returns what came out, at the end.
    pub(crate) fn result(&self) -> Played {
        let mut state = self.state();
        let in_progress = state.caches.iter().map(|cache| cache.in_progress.len()).sum::<usize>();
        state.check("every token request ends", in_progress == 0, &in_progress);
        Played { broken: std::mem::take(&mut state.broken), seen: std::mem::take(&mut state.seen) }
    }

    /// Decides on a request at the API.
    fn receive(&self, request: &Request<impl Sized>) -> StatusCode {
        let authorization = request.headers()["authorization"].to_str().unwrap();
        let (cache, number) = parse(authorization.strip_prefix("Bearer ").unwrap());
        let ticket: &Ticket = request.extensions().get().unwrap();
        let before = ticket.sent.swap(number, SeqCst);
        let mut state = self.state();
        let is_void = state.caches[cache].void.contains(&number);
        if before > 0 {
            state.seen.insert(Event::SentAgain);
        }
        state.check("a token is sent for its own scope", cache == ticket.cache, &cache);
        state.check("no token is sent that was replaced or forgotten before", number >= ticket.oldest, &number);
        state.check("no token is sent of a renewal that does not count any more", !is_void, &number);
        state.check("a request is sent again only with a newer token", number > before, &number);
        let known = &mut state.caches[cache];
        known.carried = known.carried.max(number);
        if request.uri().path() != "/bad" && number > known.revoked {
            return StatusCode::OK;
        }
        known.rejected = known.rejected.max(number);
        StatusCode::UNAUTHORIZED
    }

    /// Returns the token that a request need not wait for, unless it is about to expire.
    fn usable(&self, cache: &Cache, now: Instant) -> Option<u64> {
        let newest = cache.newest.filter(|newest| self.is_exact && newest.number > cache.forgotten)?;
        (now + 2 * self.unit < newest.expires_at).then_some(newest.number)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    pub(super) fn check(&mut self, rule: &'static str, holds: bool, details: &dyn Debug) {
        if !holds {
            self.broken.entry(rule).or_insert_with(|| format!("{details:?}"));
        }
    }
}

impl Held {
    pub(super) fn holds_back(&self, cache: usize, works: bool, version: u64, now: Instant) -> bool {
        let applies = match self.who {
            Who::Cache(held) => held == cache,
            Who::Client => true,
            Who::Credentials => !works,
        };
        applies && now < self.until && self.version.is_none_or(|refused| refused == version)
    }
}

/// Tells which cache a token is for, and its number.
pub(super) fn parse(token: &str) -> (usize, u64) {
    let (cache, number) = token.split_once('.').unwrap();
    (cache.parse().unwrap(), number.parse().unwrap())
}

fn all_or(one: Option<usize>) -> std::ops::Range<usize> {
    one.map_or(0..CACHES, |one| one..one + 1)
}

/// Returns the narrowing to each cache but the first.
pub(crate) fn narrowing(cache: usize) -> Narrowing {
    Narrowing::new().with_scope(cache.to_string()).unwrap()
}
