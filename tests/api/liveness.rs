//! Random scenarios: the issuer fails in every way, tokens are revoked, requests are cancelled, runtimes stop.
//!
//! A scenario is a list of operations. While it is played, the issuer and the API check the rules that hold for each token
//! request ([`issuer`]) and each request ([`world`]). After it, the faults end, and everything must recover.
//!
//! More scenarios: `PROPTEST_CASES=10000`. The same ones again: `PROPTEST_RNG_SEED`, which a failure prints.

#[path = "liveness/issuer.rs"]
mod issuer;
#[path = "liveness/stage.rs"]
mod stage;
#[path = "liveness/world.rs"]
mod world;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use futures::FutureExt;
use proptest::{
    collection::vec,
    option,
    prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof},
    sample::select,
    strategy::ValueTree,
    test_runner::{RngSeed, TestRunner},
};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_bearer::{BearerAuthLayer, TokenCache};

use self::{
    stage::{RUNTIMES, Stage, Threads, Turns},
    world::{CACHES, Event, Issuer, Played, Reply, World, narrowing},
};
use crate::support::{Answer, Ask, MINUTE, SECOND, ask};

/// What happens, and how it ends.
#[derive(Clone, Debug)]
struct Scenario {
    runtimes: usize,
    /// How long tokens live, in units.
    lifetime: u32,
    /// How often a renewal that requests wait for is tried again.
    retries: usize,
    operations: Vec<Operation>,
    /// Whether a reset ends the faults. Otherwise the waits after failures end by themselves.
    ends_with_reset: bool,
}

/// What happens next. Times are in tenths of a unit. `None` as a cache means all of them.
#[derive(Clone, Debug)]
enum Operation {
    Issuer(Option<usize>, Issuer),
    Call(Call),
    Pass(u32),
    RevokeTokens(Option<usize>),
    Invalidate(usize),
    Reset(usize),
    SignOut,
    ChangeCredentials,
    Stop(usize),
    Resume(usize),
    ShutDown(usize),
}

/// A request to the API.
#[derive(Clone, Copy, Debug)]
struct Call {
    cache: usize,
    runtime: usize,
    path: &'static str,
    is_retried: bool,
    /// It is cancelled after this time.
    patience: Option<u32>,
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let runtimes = prop_oneof![3 => Just(1), 2 => Just(2), 1 => Just(RUNTIMES)];
    (runtimes, select(&[20, 200][..]), select(&[0, 3][..]), vec(operation(), 1..80), any::<bool>()).prop_map(
        |(runtimes, lifetime, retries, operations, ends_with_reset)| Scenario {
            runtimes,
            lifetime,
            retries,
            operations,
            ends_with_reset,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let cache = || prop_oneof![2 => Just(0), 3 => 0..CACHES];
    let some = || option::of(0..CACHES);
    let reply = prop_oneof![
        5 => Just(Reply::Token),
        2 => Just(Reply::Down),
        1 => Just(Reply::Busy),
        1 => Just(Reply::InvalidGrant),
        1 => Just(Reply::InvalidClient),
        1 => Just(Reply::Forbidden),
        1 => Just(Reply::Panic),
        1 => Just(Reply::Silence),
    ];
    // At once, soon, slowly, after another cache's patience has ended, and past the deadline.
    let issuer = (reply, select(&[0, 1, 30, 80, 150][..])).prop_map(|(reply, after)| Issuer { reply, after });
    let patience = option::weighted(0.2, select(&[0, 1, 5, 25, 100][..]));
    let path = select(&["/good", "/good", "/slow", "/bad"][..]);
    let call = (cache(), 0..RUNTIMES, path, any::<bool>(), patience)
        .prop_map(|(cache, runtime, path, is_retried, patience)| Call { cache, runtime, path, is_retried, patience });
    prop_oneof![
        6 => (some(), issuer).prop_map(|(of, issuer)| Operation::Issuer(of, issuer)),
        20 => call.prop_map(Operation::Call),
        8 => select(&[0, 1, 5, 20, 60, 110, 160, 300][..]).prop_map(Operation::Pass),
        2 => some().prop_map(Operation::RevokeTokens),
        1 => (0..CACHES).prop_map(Operation::Invalidate),
        1 => (0..CACHES).prop_map(Operation::Reset),
        1 => Just(Operation::SignOut),
        2 => Just(Operation::ChangeCredentials),
        1 => (1..RUNTIMES).prop_map(Operation::Stop),
        1 => (1..RUNTIMES).prop_map(Operation::Resume),
        2 => (1..RUNTIMES).prop_map(Operation::ShutDown),
    ]
}

type Client = BoxCloneSyncService<Ask, Answer, BoxError>;

/// Sends the requests of a scenario.
#[derive(Clone)]
struct Sender {
    world: World,
    /// Without a retry, and with one.
    clients: [Client; 2],
}

/// Applies the operations of a scenario.
struct Player<S> {
    world: World,
    sender: Sender,
    stage: S,
    runtimes: usize,
    caches: Vec<TokenCache>,
    /// How many of its tasks have neither ended nor been dropped with their runtime.
    pending: Arc<AtomicUsize>,
}

/// Plays a scenario. On a paused clock, all rules are checked.
fn play(scenario: &Scenario, stage: impl Stage, unit: Duration, is_exact: bool) -> Played {
    // It draws the jitter.
    fastrand::seed(7);
    let world = World::new(unit, is_exact, scenario.retries, scenario.lifetime);
    let cache = issuer::cache(&world);
    let narrowed = (1..CACHES).map(|n| cache.narrowed(&narrowing(n)).unwrap());
    let caches = [cache.clone()].into_iter().chain(narrowed).collect();
    let layer = BearerAuthLayer::with_cache(cache);
    let clients = [boxed(layer.clone().without_retry().layer(world.api())), boxed(layer.layer(world.api()))];
    let runtimes = scenario.runtimes;
    let sender = Sender { world: world.clone(), clients };
    let mut player = Player { world: world.clone(), sender, stage, runtimes, caches, pending: Arc::default() };
    for operation in &scenario.operations {
        player.apply(operation);
    }
    player.recover(scenario.ends_with_reset);
    drop(player);
    world.result()
}

fn boxed<S>(client: S) -> Client
where
    S: Service<Ask, Response = Answer, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static,
{
    BoxCloneSyncService::new(client)
}

/// Counts a task until it ends or is dropped.
struct Pending(Arc<AtomicUsize>);

impl Pending {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Sender {
    /// Sends a request, and returns whether it was accepted.
    async fn send(&self, cache: usize, path: &str, is_retried: bool) -> bool {
        let ticket = self.world.begin(cache);
        let mut request = ask(path);
        request.extensions_mut().insert(ticket.clone());
        if cache > 0 {
            request.extensions_mut().insert(narrowing(cache));
        }
        let answer = self.clients[usize::from(is_retried)].clone().oneshot(request).await;
        let is_accepted = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
        self.world.end(&ticket, answer);
        is_accepted
    }
}

impl<S: Stage> Player<S> {
    fn apply(&mut self, operation: &Operation) {
        let world = self.world.clone();
        let is_there = |runtime: usize| runtime < self.runtimes;
        match *operation {
            Operation::Issuer(of, issuer) => world.set_issuer(of, issuer),
            Operation::Call(ref call) => {
                let (sender, Call { cache, runtime, path, is_retried, patience }) = (self.sender.clone(), *call);
                let patience = patience.map_or(Duration::MAX, |tenths| world.unit * tenths / 10);
                self.spawn(runtime % self.runtimes, async move {
                    drop(timeout(patience, sender.send(cache, path, is_retried)).await);
                });
            }
            Operation::Pass(tenths) => self.stage.pass(world.unit * tenths / 10),
            Operation::RevokeTokens(of) => world.revoke_tokens(of),
            Operation::Invalidate(cache) => {
                let tokens = self.caches[cache].clone();
                self.spawn(0, async move {
                    if let Some(token) = world.invalidated(cache) {
                        tokens.invalidate(&token);
                    }
                });
            }
            Operation::Reset(cache) => world.reset(cache, &self.caches[cache]),
            Operation::SignOut => {
                let cache = self.caches[0].clone();
                self.spawn(0, async move { drop(cache.revoke().await) });
            }
            Operation::ChangeCredentials => world.change_credentials(),
            Operation::Stop(runtime) if is_there(runtime) => world.stopped(self.stage.stop(runtime)),
            Operation::Resume(runtime) if is_there(runtime) => self.stage.resume(runtime),
            Operation::ShutDown(runtime) if is_there(runtime) => {
                world.shut_down();
                self.stage.shut_down(runtime);
            }
            Operation::Stop(_) | Operation::Resume(_) | Operation::ShutDown(_) => {}
        }
    }

    fn spawn(&self, runtime: usize, task: impl Future<Output = ()> + Send + 'static) {
        let (world, pending) = (self.world.clone(), Pending::new(&self.pending));
        self.stage.handle(runtime).spawn(async move {
            let _pending = pending;
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            world.check("no panic reaches a caller", ended.is_ok(), &());
        });
    }

    /// Ends all faults. Every cache must have its requests accepted in time, while the stopped runtimes are still stopped. In
    /// the end, nobody may wait any more.
    fn recover(&mut self, by_reset: bool) {
        let world = self.world.clone();
        world.set_issuer(None, Issuer::default());
        if by_reset {
            world.reset(0, &self.caches[0]);
        }
        // A renewal that nobody drives costs one wait, and one that is in progress costs another.
        let waits = if by_reset { Duration::ZERO } else { 40 * world.unit };
        let limit = waits + 2 * world.wait() + 5 * world.unit;
        let left = Arc::new(AtomicUsize::new(0));
        for cache in 0..CACHES {
            let (sender, recovering) = (self.sender.clone(), Pending::new(&left));
            self.spawn(0, async move {
                let _recovering = recovering;
                let mut accepted = 0;
                while accepted < 3 {
                    accepted = if sender.send(cache, "/good", true).await { accepted + 1 } else { 0 };
                    sleep(sender.world.unit).await;
                }
            });
        }
        self.pass_until(limit, || left.load(SeqCst) == 0);
        world.check("every cache recovers", left.load(SeqCst) == 0, &left);
        for runtime in 1..self.runtimes {
            self.stage.resume(runtime);
        }
        let (pending, caches) = (Arc::clone(&self.pending), self.caches.clone());
        self.pass_until(3 * world.wait() + 5 * world.unit, || {
            pending.load(SeqCst) == 0 && caches.iter().all(|cache| !cache.status().renewing)
        });
        world.check("every request ends", self.pending.load(SeqCst) == 0, &self.pending);
        let is_renewing = self.caches.iter().any(|cache| cache.status().renewing);
        world.check("every renewal ends", !is_renewing, &self.caches);
    }

    /// Lets time pass until it is done, but no more than `limit`. A real clock proves nothing, so there it is a minute.
    fn pass_until(&mut self, limit: Duration, is_done: impl Fn() -> bool) {
        let limit = if self.world.is_exact { limit } else { MINUTE };
        let mut passed = Duration::ZERO;
        while passed < limit && !is_done() {
            self.stage.pass(self.world.unit);
            passed += self.world.unit;
        }
    }
}

/// Returns the settings of a runner, with a seed that can be printed.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { cases };
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(fastrand::u64(..)),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    ProptestConfig { cases, rng_seed, ..config }
}

#[test]
fn whatever_happens_every_request_ends_and_every_cache_recovers() {
    issuer::prepare();
    let config = config(500);
    let seed = config.rng_seed;
    let happened = RefCell::new(BTreeSet::new());
    let played = TestRunner::new(config).run(&scenarios(), |scenario| {
        let played = play(&scenario, Turns::new(scenario.runtimes), SECOND, true);
        prop_assert!(played.broken.is_empty(), "{:#?}", played.broken);
        happened.borrow_mut().extend(played.seen);
        Ok(())
    });
    played.unwrap_or_else(|error| panic!("PROPTEST_RNG_SEED={seed}: {error}"));
    let all = [Event::Accepted, Event::SentAgain, Event::Rejected, Event::Failed, Event::Void];
    assert!(all.iter().all(|event| happened.borrow().contains(event)), "only {happened:?}");
}

/// The time is real, so only the rules that need no exact time are checked.
#[test]
fn whatever_happens_in_several_threads_every_request_ends_and_every_cache_recovers() {
    issuer::prepare();
    let config = config(12);
    let (cases, seed) = (config.cases, config.rng_seed);
    let mut runner = TestRunner::new(config);
    let mut draw = || Scenario { runtimes: RUNTIMES, ..scenarios().new_tree(&mut runner).unwrap().current() };
    let scenarios: Vec<_> = (0..cases).map(|_| draw()).collect();
    thread::scope(|scope| {
        let play = |scenario| move || play(scenario, Threads::new(), Duration::from_millis(20), false);
        let played: Vec<_> = scenarios.iter().map(|scenario| scope.spawn(play(scenario))).collect();
        for (scenario, played) in scenarios.iter().zip(played) {
            let broken = played.join().unwrap().broken;
            assert!(broken.is_empty(), "PROPTEST_RNG_SEED={seed}: {broken:#?} in {scenario:#?}");
        }
    });
}
