//! The issuer and the API of a scenario. They check the rules that each token request and each request must keep.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    fmt::Debug,
    panic::resume_unwind,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::{
    runtime::{self, Handle},
    time::{Instant, sleep},
};
use tower::{BoxError, service_fn, util::BoxCloneSyncService};
use tower_bearer::{
    AccessToken, BoxTokenSource, Error, Reason, TokenCache, TokenSource,
    cache::{Backoff, RejectionBudget},
    source::Narrowing,
};

use crate::support::{Answer, Ask, SECOND, grant, obtain};

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
    lifetime: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    caches: [Cache; CACHES],
    credentials_version: u64,
    asked: u64,
    issued: u64,
    /// How many resets have begun, and how many of them have ended.
    resets: [u64; 2],
    shutdowns: u64,
    /// How often each runtime was stopped.
    stops: HashMap<runtime::Id, u64>,
    held: Vec<Held>,
    /// The rules that were broken, each with an example.
    broken: BTreeMap<&'static str, String>,
    seen: BTreeSet<Event>,
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
struct Cache {
    issuer: Issuer,
    in_progress: Vec<InProgress>,
    last_asked: u64,
    resets: [u64; 2],
    newest: Option<Newest>,
    /// The newest token that a request carried.
    carried: u64,
    /// The newest token that was forgotten by a reset or a revocation.
    forgotten: u64,
    /// The newest token that was rejected.
    rejected: u64,
    /// The API rejects tokens up to this one.
    revoked: u64,
    /// Tokens that came too late: after a reset, or after a newer token request had begun.
    void: BTreeSet<u64>,
    /// The version of the credentials that the last token request succeeded with.
    works_with: Option<u64>,
}

struct InProgress {
    number: u64,
    runtime: runtime::Id,
    is_stalled: bool,
}

#[derive(Clone, Copy)]
struct Newest {
    number: u64,
    stale_at: Instant,
    expires_at: Instant,
}

/// Caches that must not ask the issuer, because of an earlier failure.
struct Held {
    who: Who,
    until: Instant,
    /// The refused credentials, after a refusal.
    version: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
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
    pub(crate) fn new(unit: Duration, is_exact: bool, lifetime: u32) -> Self {
        Self { unit, is_exact, lifetime: unit * lifetime, state: Arc::default() }
    }

    /// Returns a cache with one wait of at most 40 units after a failure or a rejection.
    pub(crate) fn cache(&self) -> TokenCache {
        let unit = self.unit;
        TokenCache::builder(Source { world: self.clone(), cache: 0 })
            .renewal_deadline(self.deadline())
            .stale_jitter(0.0)
            .transient_backoff(Backoff::new(unit / 4, 30 * unit))
            .unexplained_backoff(Backoff::new(5 * unit, 40 * unit))
            .terminal_backoff(Backoff::new(10 * unit, 40 * unit))
            .max_retry_after(30 * unit)
            .rejection_budget(RejectionBudget::new(1, unit, 40 * unit).detect_revocation_after(unit))
            .build()
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
        // It waits at most twice. A reset or a shutdown during a wait has it wait for the next renewal.
        let again = u32::try_from(state.resets[1] - ticket.resets + state.shutdowns - ticket.shutdowns).unwrap();
        let limit = 2 * self.wait() + again * self.wait() + 6 * self.unit;
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

    /// Notes that a cache asks the issuer, and checks that it may.
    fn ask(&self, cache: usize) -> Asked {
        let (mut state, now) = (self.state(), Instant::now());
        state.asked += 1;
        let (number, version, resets) = (state.asked, state.credentials_version, state.resets[0]);
        let known = &mut state.caches[cache];
        let is_alone = known.in_progress.iter().all(|other| other.is_stalled);
        let slack = 2 * self.unit;
        let is_needed = known.newest.is_none_or(|newest| {
            newest.number <= known.rejected.max(known.forgotten) || now + slack >= newest.stale_at
        });
        known.in_progress.push(InProgress { number, runtime: Handle::current().id(), is_stalled: false });
        known.last_asked = number;
        let (issuer, own_resets, works) = (known.issuer, known.resets[0], known.works_with == Some(version));
        let is_held = state.held.iter().any(|held| held.holds_back(cache, works, version, now));
        state.check("one token request at a time", is_alone, &cache);
        state.check("no token request without need", is_needed || !self.is_exact, &cache);
        state.check("no token request during the wait after a failure", !is_held || !self.is_exact, &cache);
        Asked { world: self.clone(), cache, number, version, began: now, resets: [resets, own_resets], issuer }
    }

    /// Returns the token that a request need not wait for, unless it is about to expire.
    fn usable(&self, cache: &Cache, now: Instant) -> Option<u64> {
        let newest = cache.newest.filter(|newest| self.is_exact && newest.number > cache.forgotten)?;
        (now + 2 * self.unit < newest.expires_at).then_some(newest.number)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn check(&mut self, rule: &'static str, holds: bool, details: &dyn Debug) {
        if !holds {
            self.broken.entry(rule).or_insert_with(|| format!("{details:?}"));
        }
    }
}

impl Held {
    fn holds_back(&self, cache: usize, works: bool, version: u64, now: Instant) -> bool {
        let applies = match self.who {
            Who::Cache(held) => held == cache,
            Who::Client => true,
            Who::Credentials => !works,
        };
        applies && now < self.until && self.version.is_none_or(|refused| refused == version)
    }
}

/// Tells which cache a token is for, and its number.
fn parse(token: &str) -> (usize, u64) {
    let (cache, number) = token.split_once('.').unwrap();
    (cache.parse().unwrap(), number.parse().unwrap())
}

fn all_or(one: Option<usize>) -> std::ops::Range<usize> {
    one.map_or(0..CACHES, |one| one..one + 1)
}

/// Returns the narrowing to each cache but the first.
pub(crate) fn narrowing(cache: usize) -> Narrowing {
    Narrowing::new().with_scope(&cache.to_string()).unwrap()
}

struct Source {
    world: World,
    cache: usize,
}

impl TokenSource for Source {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        let asked = self.world.ask(self.cache);
        sleep(self.world.unit * asked.issuer.after / 10).await;
        match asked.issuer.reply {
            Reply::Token => Ok(asked.succeed()),
            Reply::Panic => {
                drop(asked.fail(Reply::Panic));
                // It prints nothing, unlike `panic!`.
                resume_unwind(Box::new("scripted"))
            }
            Reply::Silence => std::future::pending().await,
            reply => Err(asked.fail(reply)),
        }
    }

    fn credentials_version(&self) -> u64 {
        self.world.state().credentials_version
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        let cache = to.scope()?.parse().unwrap();
        Some(Self { world: self.world.clone(), cache }.boxed())
    }

    async fn revoke(&self, token: &AccessToken) -> Result<(), Error> {
        let (cache, number) = parse(token.secret());
        let issuer = {
            let known = &mut self.world.state().caches[cache];
            known.forgotten = known.forgotten.max(number);
            known.revoked = known.revoked.max(number);
            known.issuer
        };
        sleep(self.world.unit * issuer.after / 10).await;
        match issuer.reply {
            Reply::Silence => std::future::pending().await,
            Reply::Token => Ok(()),
            _ => Err(Error::transient("no")),
        }
    }
}

/// A token request in progress.
struct Asked {
    world: World,
    cache: usize,
    number: u64,
    version: u64,
    began: Instant,
    /// How many resets had begun, of all caches and of this one.
    resets: [u64; 2],
    issuer: Issuer,
}

impl Asked {
    fn succeed(&self) -> AccessToken {
        let (mut state, now) = (self.world.state(), Instant::now());
        state.issued += 1;
        let number = state.issued;
        let lifetime = self.world.lifetime;
        match self.standing(&state) {
            // The cache decides when it comes to it, and nobody can see that.
            None => {}
            Some(false) => {
                state.seen.insert(Event::Void);
                state.caches[self.cache].void.insert(number);
            }
            Some(true) => {
                let known = &mut state.caches[self.cache];
                let (stale_at, expires_at) = (now + lifetime * 3 / 4, now + lifetime * 9 / 10);
                known.newest = Some(Newest { number, stale_at, expires_at });
                let worked = known.works_with.replace(self.version) == Some(self.version);
                state.held.retain(|held| match held.who {
                    Who::Cache(held) => held != self.cache,
                    Who::Client => false,
                    Who::Credentials => worked,
                });
            }
        }
        AccessToken::new(format!("{}.{number}", self.cache)).unwrap().with_expires_in(lifetime)
    }

    fn fail(&self, reply: Reply) -> Error {
        let (mut state, now, unit) = (self.world.state(), Instant::now(), self.world.unit);
        let (error, shared, wait, is_refusal) = match reply {
            Reply::Down | Reply::Panic => (Error::transient("refused"), None, unit / 4, false),
            Reply::Busy => (REFUSALS[3].clone().with_retry_after(20 * unit), None, 20 * unit, false),
            Reply::InvalidGrant => (REFUSALS[0].clone(), Some(Who::Credentials), 10 * unit, true),
            Reply::InvalidClient => (REFUSALS[1].clone(), Some(Who::Client), 10 * unit, true),
            Reply::Forbidden => (REFUSALS[2].clone(), None, 5 * unit, true),
            Reply::Token | Reply::Silence => unreachable!("these do not fail"),
        };
        if self.standing(&state) == Some(true) {
            let version = is_refusal.then_some(self.version);
            if is_refusal {
                state.caches[self.cache].works_with = None;
            }
            // If it takes long, another cache tries the credentials, and what counts is its outcome.
            let was_fast = now - self.began < self.world.deadline() / 2;
            let shared = shared.filter(|_| was_fast && state.resets[1] == self.resets[0]);
            for who in shared.into_iter().chain([Who::Cache(self.cache)]) {
                state.held.push(Held { who, until: now + wait, version });
            }
        }
        error
    }

    /// Returns whether what it brings counts, if that can be known.
    fn standing(&self, state: &State) -> Option<bool> {
        let known = &state.caches[self.cache];
        let is_stalled = known.in_progress.iter().any(|one| one.number == self.number && one.is_stalled);
        if known.last_asked != self.number || known.resets[1] > self.resets[1] {
            Some(false)
        } else {
            (self.world.is_exact && !is_stalled).then_some(true)
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.world.state().caches[self.cache].in_progress.retain(|one| one.number != self.number);
    }
}

/// Errors that only a grant can make: of a refused password, a refused client, and two without a reason.
static REFUSALS: LazyLock<[Error; 4]> = LazyLock::new(|| {
    let answers = [(400, r#"{"error":"invalid_grant"}"#), (401, r#"{"error":"invalid_client"}"#), (403, ""), (429, "")];
    answers.map(|(status, body)| {
        let http = service_fn(move |_: Ask| async move {
            let answer = Response::builder().status(status).header("content-type", "application/json");
            Ok::<_, BoxError>(answer.body(Full::<Bytes>::from(body))?)
        });
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(obtain(&grant(http))).unwrap_err()
    })
});

/// Makes the errors, outside of any runtime.
pub(crate) fn prepare() {
    LazyLock::force(&REFUSALS);
}
