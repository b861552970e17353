//! The issuer of a scenario, which is a token source. It checks the rules that each token request must keep.

use std::{panic::resume_unwind, sync::LazyLock};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};
use tower_bearer::{
    AccessToken, BoxTokenSource, Error, Reason, TokenCache, TokenSource,
    cache::{Backoff, RejectionBudget},
    source::Narrowing,
};

use super::world::{Event, Held, InProgress, Issuer, Newest, Reply, State, Who, World, parse};
use crate::support::errors_of;

/// Returns a cache that waits at most 40 units after a failure or a rejection.
pub(crate) fn cache(world: &World) -> TokenCache {
    let unit = world.unit;
    TokenCache::builder(Source { world: world.clone(), cache: 0 })
        .renewal_deadline(world.deadline())
        .renewal_retries(world.retries)
        .stale_jitter(0.0)
        .transient_backoff(Backoff::new(unit / 4, 30 * unit))
        .unexplained_backoff(Backoff::new(5 * unit, 40 * unit))
        .terminal_backoff(Backoff::new(10 * unit, 40 * unit))
        .max_retry_after(30 * unit)
        .rejection_budget(RejectionBudget::new(1, unit, 40 * unit).detect_revocation_after(unit))
        .build()
}

struct Source {
    world: World,
    cache: usize,
}

impl TokenSource for Source {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        let asked = Asked::begin(&self.world, self.cache);
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
    /// Notes that a cache asks the issuer, and checks that it may.
    fn begin(world: &World, cache: usize) -> Self {
        let (mut state, now) = (world.state(), Instant::now());
        state.asked += 1;
        let (number, version, resets) = (state.asked, state.credentials_version, state.resets[0]);
        let known = &mut state.caches[cache];
        let is_alone = known.in_progress.iter().all(|other| other.is_stalled);
        let slack = 2 * world.unit;
        let is_needed = known.newest.is_none_or(|newest| {
            newest.number <= known.rejected.max(known.forgotten) || now + slack >= newest.stale_at
        });
        known.in_progress.push(InProgress { number, runtime: Handle::current().id(), is_stalled: false });
        known.last_asked = number;
        let (issuer, own_resets, works) = (known.issuer, known.resets[0], known.works_with == Some(version));
        let is_held = state.held.iter().any(|held| held.holds_back(cache, works, version, now));
        state.check("one token request at a time", is_alone, &cache);
        state.check("no token request without need", is_needed || !world.is_exact, &cache);
        state.check("no token request during the wait after a failure", !is_held || !world.is_exact, &cache);
        Self { world: world.clone(), cache, number, version, began: now, resets: [resets, own_resets], issuer }
    }

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
            // It is tried again at once.
            let is_retried = reply == Reply::Down && self.world.retries > 0;
            let own = (!is_retried).then_some(Who::Cache(self.cache));
            for who in shared.into_iter().chain(own) {
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
    errors_of(answers)
});

/// Makes the errors, outside of any runtime.
pub(crate) fn prepare() {
    LazyLock::force(&REFUSALS);
}
