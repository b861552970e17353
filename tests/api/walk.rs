//! A random walk of one cache beside a slow and obvious [model] of its rules, on the paused clock.
//!
//! Each step is an operation: a request, a rejection, a reset, another answer of the issuer, time. After each, the model
//! checks what the cache says. Each token request and each request to the API is checked when it is made. At the end, the
//! faults end, and a request must succeed within the stated time. A walk that breaks a rule is shrunk to the shortest one.
//!
//! More operations: `TOWER_BEARER_MODEL_OPERATIONS=100000`. The same ones again: `PROPTEST_RNG_SEED`, which a failure prints.

#[path = "walk/model.rs"]
mod model;
#[path = "walk/world.rs"]
mod world;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any, prop_assert, prop_oneof},
    sample::select,
    test_runner::{RngSeed, TestRunner},
};
use tokio::{
    runtime::Builder,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{BoxError, Layer, ServiceExt, util::BoxCloneSyncService};
use tower_bearer::{AccessToken, BearerAuthLayer, Error, FixedToken, Judged, Outcome, TokenCache, TokenPool};

use self::{
    model::{Ended, Event},
    world::{Reply, Script, SharedTicket, Source, World, number, until},
};
use crate::{
    liveness::config,
    support::{Answer, Ask, HOUR, MINUTE, SECOND, ask},
};

/// How many operations are played, unless the environment says it.
const OPERATIONS: u32 = 3_000;
/// The walks of the suite.
const SEED: u64 = 1;
/// So many in one walk, on average.
const OF_A_WALK: u32 = 60;

#[derive(Clone, Debug)]
struct Walk {
    /// How often a renewal that requests wait for is tried again.
    retries: usize,
    /// Whether the cache is that of an identity in a pool.
    is_pooled: bool,
    operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
enum Operation {
    Request(Request),
    /// So many requests, one after each time.
    Requests(u32, Duration, Request),
    Token,
    Accept(Which),
    Reject(Which, Then),
    Invalidate(Which),
    Reset,
    ChangeCredentials,
    Issuer(Script),
    /// The API rejects every token, or only those that were revoked.
    RejectEverything(bool),
    Revoke,
    /// So many revocations, one after each time, each found by a request of the layer, or else by user code.
    Revocations(u32, Duration, bool),
    Pass(Duration),
    /// Until a millisecond before or after the newest token is stale or expires.
    PassUntil {
        expiry: bool,
        before: bool,
    },
    /// One of those that wait is dropped.
    Drop(usize),
    DropAll,
    KeepReady(bool),
    /// So many other identities are used.
    Evict(usize),
}

#[derive(Clone, Copy, Debug)]
struct Request {
    path: &'static str,
    /// By the layer, or else by `call`.
    by_layer: bool,
    is_retried: bool,
}

/// A token that a caller has.
#[derive(Clone, Copy, Debug)]
enum Which {
    Newest,
    Older(usize),
    /// It never came from this cache.
    Unknown,
}

/// What a caller does with the token that it got for another attempt.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Accept,
    Reject,
}

fn walks(operations: u32) -> impl Strategy<Value = Walk> {
    let operations = vec(operation(), 1..2 * operations as usize);
    // Before anything else has cost something of the budget.
    let first = option::weighted(0.2, revocations(13..30));
    (select(&[0, 0, 3][..]), any::<bool>(), first, operations).prop_map(|(retries, is_pooled, first, operations)| {
        let operations = first.into_iter().chain(operations).collect();
        Walk { retries, is_pooled, operations }
    })
}

fn revocations(times: Range<u32>) -> impl Strategy<Value = Operation> {
    let parts = (times, gaps(), any::<bool>());
    parts.prop_map(|(times, gap, by_layer)| Operation::Revocations(times, gap, by_layer))
}

/// Returns the times between requests.
fn gaps() -> impl Strategy<Value = Duration> {
    select(&[10, 300, 1_000, 7_000, 60_000][..]).prop_map(Duration::from_millis)
}

fn operation() -> impl Strategy<Value = Operation> {
    let paths = select(&["/good", "/good", "/good", "/slow", "/bad"][..]);
    let request = (paths, any::<bool>(), any::<bool>()).prop_map(|(path, by_layer, is_retried)| Request {
        path,
        by_layer,
        is_retried,
    });
    let which =
        || prop_oneof![6 => Just(Which::Newest), 2 => (0..8_usize).prop_map(Which::Older), 1 => Just(Which::Unknown)];
    let then = select(&[Then::Nothing, Then::Accept, Then::Accept, Then::Reject][..]);
    let lifetimes = option::weighted(0.9, select(&[0, 1, 20, 300, 3600, 3600, 172_800][..]));
    let reply = prop_oneof![
        8 => lifetimes.prop_map(Reply::Token),
        1 => Just(Reply::SameToken),
        1 => Just(Reply::Refused),
        1 => Just(Reply::Unauthorized),
        1 => select(&[1, 20, 900][..]).prop_map(Reply::Busy),
        1 => Just(Reply::Unavailable),
        1 => Just(Reply::Unreachable),
        1 => Just(Reply::Silent),
        1 => Just(Reply::Panic),
    ];
    let after = select(&[0, 0, 0, 50, 400, 3_000, 9_900, 12_000][..]).prop_map(Duration::from_millis);
    let script = (reply, after).prop_map(|(reply, after)| Script { reply, after });
    // Up to just after a second attempt, a renewal, a backoff, the quiet time and a lifetime.
    let times = select(&[7, 90, 260, 1_100, 2_500, 11_100, 32_000, 61_000, 160_000, 310_000, 700_000, 3_700_000][..]);
    prop_oneof![
        20 => request.clone().prop_map(Operation::Request),
        1 => revocations(1..30),
        2 => (1..60_u32, gaps(), request).prop_map(|(n, gap, request)| Operation::Requests(n, gap, request)),
        6 => Just(Operation::Token),
        3 => which().prop_map(Operation::Accept),
        4 => (which(), then).prop_map(|(which, then)| Operation::Reject(which, then)),
        2 => which().prop_map(Operation::Invalidate),
        2 => Just(Operation::Reset),
        1 => Just(Operation::ChangeCredentials),
        10 => script.prop_map(Operation::Issuer),
        2 => any::<bool>().prop_map(Operation::RejectEverything),
        3 => Just(Operation::Revoke),
        16 => times.prop_map(|millis| Operation::Pass(Duration::from_millis(millis))),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(expiry, before)| Operation::PassUntil { expiry, before }),
        2 => (0..8_usize).prop_map(Operation::Drop),
        1 => Just(Operation::DropAll),
        1 => any::<bool>().prop_map(Operation::KeepReady),
        2 => (1..6_usize).prop_map(Operation::Evict),
    ]
}

type Client = BoxCloneSyncService<Ask, Answer, BoxError>;

/// The cache of the walk: alone, or that of an identity in a pool.
#[derive(Clone)]
enum Subject {
    Alone(TokenCache),
    Pooled(TokenPool<usize>),
}

impl Subject {
    fn cache(&self) -> TokenCache {
        match self {
            Self::Alone(cache) => cache.clone(),
            Self::Pooled(pool) => pool.cache(&0).unwrap(),
        }
    }

    fn layer(&self) -> BearerAuthLayer {
        match self {
            Self::Alone(cache) => BearerAuthLayer::with_cache(cache.clone()),
            Self::Pooled(pool) => {
                BearerAuthLayer::with_pool(pool.clone(), |_| Some(std::borrow::Cow::<usize>::Owned(0)))
            }
        }
    }
}

/// Sends requests and asks for tokens, each in a task.
#[derive(Clone)]
struct Caller {
    world: World,
    subject: Subject,
    /// Without a retry, and with one.
    clients: [Client; 2],
}

struct Player {
    world: World,
    caller: Caller,
    tasks: Vec<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    played: u32,
}

impl Caller {
    fn new(world: &World, retries: usize, is_pooled: bool) -> Self {
        let source = world.clone();
        let subject = if is_pooled {
            let make = move |identity: &usize| match identity {
                0 => Ok(TokenCache::builder(Source(source.clone())).renewal_retries(retries)),
                _ => FixedToken::new("other").map(TokenCache::builder),
            };
            Subject::Pooled(TokenPool::builder(make).max_identities(2).idle(100_000 * HOUR).build())
        } else {
            Subject::Alone(TokenCache::builder(Source(source)).renewal_retries(retries).build())
        };
        let layer = subject.layer();
        let clients = [
            BoxCloneSyncService::new(layer.clone().without_retry().layer(world.api())),
            BoxCloneSyncService::new(layer.layer(world.api())),
        ];
        Self { world: world.clone(), subject, clients }
    }

    /// Sends a request, and returns whether it was accepted.
    async fn send(self, request: Request) -> bool {
        let ticket = self.world.begun();
        let ended = if request.by_layer {
            self.send_by_layer(request, &ticket).await
        } else {
            self.send_by_call(request, &ticket).await
        };
        self.world.finished(&ticket, 2, &ended);
        matches!(ended, Ended::Accepted)
    }

    async fn send_by_layer(&self, request: Request, ticket: &SharedTicket) -> Ended {
        let mut message = ask(request.path);
        message.extensions_mut().insert(SharedTicket::clone(ticket));
        match self.clients[usize::from(request.is_retried)].clone().oneshot(message).await {
            Ok(answer) if answer.status().is_success() => Ended::Accepted,
            Ok(_) if !request.is_retried => Ended::Rejected(None),
            Ok(answer) => Ended::Rejected(answer.extensions().get().and_then(Outcome::not_retried).cloned()),
            Err(error) => Ended::Failed(*error.downcast::<Error>().expect("the API has no errors")),
        }
    }

    async fn send_by_call(&self, request: Request, ticket: &SharedTicket) -> Ended {
        let send = async |token: AccessToken| {
            self.world.sent(ticket, token.secret());
            self.world.answer(ticket, token.secret(), request.path).await
        };
        let judge = |accepted: &bool| if *accepted { Judged::ACCEPTED } else { Judged::REJECTED };
        match self.subject.cache().call_with_outcome(send, judge).await {
            Ok((true, _)) => Ended::Accepted,
            Ok((false, outcome)) => Ended::Rejected(outcome.not_retried().cloned()),
            Err(error) => Ended::Failed(error),
        }
    }

    async fn token(self) {
        let ticket = self.world.begun();
        let ended = match self.subject.cache().token().await {
            Ok(token) => {
                self.world.sent(&ticket, token.secret());
                self.world.state().tokens.push(token);
                Ended::Accepted
            }
            Err(error) => Ended::Failed(error),
        };
        self.world.finished(&ticket, 1, &ended);
    }

    async fn reject(self, token: AccessToken, then: Then) {
        let (cache, first) = (self.subject.cache(), number(token.secret()));
        let Some(next) = self.reject_once(&cache, &token).await else { return };
        let second = number(next.secret());
        self.world.state().model.check(
            "another token is returned for the next attempt",
            second != first,
            &(first, second),
        );
        match then {
            Then::Nothing => {}
            Then::Accept => {
                cache.accept(&next);
                self.world.state().model.accepted(second, true);
            }
            Then::Reject => {
                self.world.state().model.retry_rejected(second);
                self.reject_once(&cache, &next).await;
            }
        }
    }

    async fn reject_once(&self, cache: &TokenCache, token: &AccessToken) -> Option<AccessToken> {
        let ticket = self.world.begun();
        {
            let mut ticket = ticket.lock().unwrap();
            ticket.sent = 1;
            self.world.state().model.answered(&mut ticket, number(token.secret()), false);
        }
        let next = cache.reject(token).await;
        let ended = match &next {
            Ok(next) => {
                self.world.sent(&ticket, next.secret());
                Ended::Accepted
            }
            Err(why) => Ended::Rejected(Some(why.clone())),
        };
        self.world.finished(&ticket, 1, &ended);
        next.ok()
    }
}

impl Player {
    async fn apply(&mut self, operation: &Operation) {
        self.played += 1;
        let (world, caller) = (self.world.clone(), self.caller.clone());
        match *operation {
            Operation::Request(request) => self.send(request),
            Operation::Requests(n, gap, request) => {
                self.played += n;
                for _ in 0..n {
                    self.send(request);
                    sleep(gap).await;
                }
            }
            Operation::Token => self.spawn(caller.token()),
            Operation::Accept(which) => {
                let token = self.choose(which);
                caller.subject.cache().accept(&token);
                world.state().model.accepted(number(token.secret()), false);
            }
            Operation::Reject(which, then) => {
                let token = self.choose(which);
                self.spawn(caller.reject(token, then));
            }
            Operation::Invalidate(which) => {
                let token = self.choose(which);
                world.state().model.rejected(number(token.secret()));
                caller.subject.cache().invalidate(&token);
            }
            Operation::Reset => {
                world.state().model.reset();
                caller.subject.cache().reset();
            }
            Operation::ChangeCredentials => world.state().model.credentials_version += 1,
            Operation::Issuer(script) => world.state().script = script,
            Operation::RejectEverything(rejects) => world.state().rejects_everything = rejects,
            Operation::Revoke => {
                let mut state = world.state();
                state.revoked = state.issued;
            }
            Operation::Revocations(n, gap, by_layer) => {
                self.played += n;
                for _ in 0..n {
                    {
                        let mut state = world.state();
                        state.revoked = state.issued;
                    }
                    if by_layer {
                        self.send(Request { path: "/good", by_layer, is_retried: true });
                    } else {
                        let token = self.choose(Which::Newest);
                        self.spawn(self.caller.clone().reject(token, Then::Accept));
                    }
                    sleep(gap).await;
                }
            }
            Operation::Pass(time) => sleep(time).await,
            Operation::PassUntil { expiry, before } => {
                let ages = world.state().model.next_ages();
                if let Some([stale, expires]) = ages {
                    sleep(until(if expiry { expires } else { stale }, before)).await;
                }
            }
            Operation::Drop(which) => {
                let waiting: Vec<_> = self.tasks.iter().filter(|task| !task.is_finished()).collect();
                waiting.get(which).inspect(|task| task.abort());
            }
            Operation::DropAll => self.tasks.iter().for_each(JoinHandle::abort),
            Operation::KeepReady(on) => {
                self.keeper.take().inspect(JoinHandle::abort);
                let cache = caller.subject.cache();
                self.keeper = on.then(|| tokio::spawn(async move { cache.keep_ready().await }));
            }
            Operation::Evict(others) => self.evict(others).await,
        }
        self.settle().await;
    }

    fn send(&mut self, request: Request) {
        let caller = self.caller.clone();
        self.spawn(async move {
            caller.send(request).await;
        });
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.retain(|task| !task.is_finished());
        let world = self.world.clone();
        let task = tokio::spawn(task);
        self.tasks.push(tokio::spawn(async move {
            let abort = AbortOnDrop(task.abort_handle());
            let panicked = task.await.is_err_and(|error| error.is_panic());
            world.state().model.check("no panic reaches a caller", !panicked, &());
            drop(abort);
        }));
    }

    fn choose(&self, which: Which) -> AccessToken {
        let state = self.world.state();
        let unknown = || AccessToken::new("0").unwrap();
        match which {
            Which::Newest => state.model.newest().map_or_else(unknown, |n| AccessToken::new(n.to_string()).unwrap()),
            Which::Older(n) => state.tokens.iter().nth_back(n).cloned().unwrap_or_else(unknown),
            Which::Unknown => unknown(),
        }
    }

    /// Uses other identities, so that the pool may evict this one.
    async fn evict(&mut self, others: usize) {
        let Subject::Pooled(pool) = self.caller.subject.clone() else { return };
        let was_there = pool.get(&0).is_some();
        for other in 1..=others {
            pool.cache(&other).unwrap().token().await.unwrap();
        }
        if was_there && pool.get(&0).is_none() {
            self.world.state().model.evicted();
        }
    }

    /// Lets all tasks run until they wait for time, and checks what the cache says.
    async fn settle(&self) {
        sleep(SECOND / 1000).await;
        let status = self.caller.subject.cache().status();
        self.world.state().model.check_status(&status);
    }

    /// Ends all faults. A request must be accepted in time, and in the end nobody may wait any more.
    async fn recover(&mut self) {
        self.keeper.take().inspect(JoinHandle::abort);
        let limit = {
            let mut state = self.world.state();
            state.script = Script::default();
            state.rejects_everything = false;
            state.model.recovery()
        };
        let (began, request) = (Instant::now(), Request { path: "/good", by_layer: true, is_retried: true });
        while !self.caller.clone().send(request).await {
            sleep(SECOND / 4).await;
            if began.elapsed() > limit {
                self.world.state().model.check("a request succeeds soon after the faults end", false, &limit);
                break;
            }
        }
        sleep(MINUTE).await;
        let is_left = self.tasks.iter().any(|task| !task.is_finished());
        self.world.state().model.check("nobody waits in the end", !is_left, &());
        self.settle().await;
    }
}

/// Aborts the task inside when the one around it is aborted.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What came out of a walk.
struct Played {
    operations: u32,
    broken: BTreeMap<&'static str, String>,
    seen: BTreeSet<Event>,
}

fn play(walk: &Walk) -> Played {
    // It draws the jitter.
    fastrand::seed(7);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let world = World::new(walk.retries);
    let operations = runtime.block_on(async {
        let caller = Caller::new(&world, walk.retries, walk.is_pooled);
        let mut player = Player { world: world.clone(), caller, tasks: Vec::new(), keeper: None, played: 0 };
        for operation in &walk.operations {
            player.apply(operation).await;
        }
        player.recover().await;
        player.played
    });
    let mut state = world.state();
    let (broken, seen) = (std::mem::take(&mut state.model.broken), std::mem::take(&mut state.model.seen));
    drop(state);
    Played { operations, broken, seen }
}

#[test]
fn in_a_random_walk_the_cache_keeps_every_rule_of_its_model() {
    use Event::{BudgetSpent, Evicted, Failed, HeldBack, Issued, Proven, SentAgain, Struck, Void, Withheld};

    world::prepare();
    let wanted =
        std::env::var("TOWER_BEARER_MODEL_OPERATIONS").ok().map(|n| n.parse().expect("a number of operations"));
    let mut config = config(wanted.unwrap_or(OPERATIONS).div_ceil(OF_A_WALK));
    if wanted.is_none() && std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        // The suite plays the same walks each time. `just model` plays others.
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    let seed = config.rng_seed;
    let (operations, happened) = (Cell::new(0_u64), RefCell::new(BTreeSet::new()));
    let result = TestRunner::new(config).run(&walks(OF_A_WALK), |walk| {
        let Played { operations: played, broken, seen } = play(&walk);
        operations.set(operations.get() + u64::from(played));
        happened.borrow_mut().extend(seen);
        prop_assert!(broken.is_empty(), "{broken:#?}");
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("PROPTEST_RNG_SEED={seed}: {error}"));
    let (operations, happened) = (operations.get(), happened.into_inner());
    println!("{operations} operations: {happened:?}");
    let all = [Issued, Void, Failed, HeldBack, SentAgain, Proven, Struck, BudgetSpent, Withheld, Evicted];
    assert!(all.iter().all(|event| happened.contains(event)), "only {happened:?}");
}
