//! A model of the protocol: processes that die and pause, leases that end, commits that come late or never, and an issuer that rotates
//! refresh tokens. The store of the model and the memory store do the same.

use std::{collections::BTreeSet, time::Duration};

use stateright::{Checker, Model, Property};
use tower_bearer::store::{Lease, LeaseAnswer, LeaseOwner, MemoryStore, StoreKey, TokenStore};

const PROCESSES: usize = 3;
const MAX_FENCE: u64 = 3;

/// The fleet. `forgets_leases` says whether a failover may lose the lease and keep the record.
struct Fleet {
    forgets_leases: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    lease: Option<(usize, u64)>,
    last_fence: u64,
    /// The fence and the refresh token of the record. The first refresh token, 0, is in the settings.
    record: Option<(u64, u8)>,
    processes: [Process; PROCESSES],
    /// Commits on their way: process, fence, refresh token.
    sent: BTreeSet<(usize, u64, u8)>,
    /// The refresh token that the issuer accepts.
    issuer: u8,
    crashes: u8,
    has_failed_over: bool,
    found: Found,
}

/// What must not happen, and what may.
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Found {
    stale_commit: bool,
    two_at_once: bool,
    rotated_used_again: bool,
    takeover: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Process {
    #[default]
    Idle,
    /// It holds a lease, as far as it knows. It knows when the time of its lease is over.
    Leased {
        fence: u64,
        over: bool,
    },
    Read {
        fence: u64,
        refresh: u8,
        over: bool,
    },
    Asked {
        fence: u64,
        brought: u8,
    },
    /// The store did not answer its commit. It tries again if nobody committed under a later lease.
    Unsure {
        fence: u64,
        brought: u8,
    },
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Lease(usize),
    Read(usize),
    Ask(usize),
    Send(usize),
    Deliver(usize, u64, u8),
    Lose(usize, u64, u8),
    LeaseAgain(usize),
    Expire,
    Crash(usize),
    Failover,
}

impl Model for Fleet {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for (n, process) in world.processes.iter().enumerate() {
            match process {
                Process::Idle if world.lease.is_none() => steps.push(Step::Lease(n)),
                Process::Leased { .. } => steps.push(Step::Read(n)),
                Process::Read { over: false, .. } => steps.push(Step::Ask(n)),
                Process::Asked { .. } => steps.push(Step::Send(n)),
                Process::Unsure { .. } if world.lease.is_none_or(|(holder, _)| holder == n) => {
                    steps.push(Step::LeaseAgain(n));
                }
                _ => {}
            }
            if world.crashes == 0 && !matches!(process, Process::Idle | Process::Dead) {
                steps.push(Step::Crash(n));
            }
        }
        for (n, fence, brought) in world.sent.iter().copied() {
            steps.extend([Step::Deliver(n, fence, brought), Step::Lose(n, fence, brought)]);
        }
        if world.lease.is_some() {
            steps.push(Step::Expire);
            if self.forgets_leases && !world.has_failed_over {
                steps.push(Step::Failover);
            }
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        match step {
            Step::Lease(n) => {
                next.last_fence += 1;
                next.lease = Some((n, next.last_fence));
                next.found.takeover |= world.processes.contains(&Process::Dead);
                next.processes[n] = Process::Leased { fence: next.last_fence, over: false };
            }
            Step::Read(n) => {
                let Process::Leased { fence, over } = world.processes[n] else { return None };
                let refresh = world.record.map_or(0, |(_, refresh)| refresh);
                next.processes[n] = Process::Read { fence, refresh, over };
            }
            Step::Ask(n) => {
                let Process::Read { fence, refresh, .. } = world.processes[n] else { return None };
                let asks = |(m, process): (usize, &Process)| matches!(process, Process::Asked { fence, .. } if world.lease == Some((m, *fence)));
                let is_valid = world.lease == Some((n, fence));
                next.found.two_at_once |= is_valid && world.processes.iter().enumerate().any(asks);
                next.found.rotated_used_again |= world.record.is_some_and(|(_, stored)| stored > refresh);
                next.issuer += u8::from(refresh == world.issuer);
                next.processes[n] = Process::Asked { fence, brought: refresh + 1 };
            }
            Step::Send(n) => {
                let Process::Asked { fence, brought } = world.processes[n] else { return None };
                next.sent.insert((n, fence, brought));
                next.processes[n] = Process::Unsure { fence, brought };
            }
            Step::Deliver(n, fence, brought) => {
                next.sent.remove(&(n, fence, brought));
                if world.lease == Some((n, fence)) {
                    next.found.stale_commit |= world.record.is_some_and(|(stored, _)| stored > fence);
                    next.record = Some((fence, brought));
                }
            }
            Step::Lose(n, fence, brought) => {
                next.sent.remove(&(n, fence, brought));
            }
            Step::LeaseAgain(n) => {
                let Process::Unsure { fence, brought } = world.processes[n] else { return None };
                let held = world.lease.map_or(world.last_fence + 1, |(_, fence)| fence);
                next.last_fence = world.last_fence.max(held);
                next.lease = Some((n, held));
                if world.record.is_some_and(|(stored, _)| stored >= fence) {
                    // It was stored after all, or another one is newer.
                    next.processes[n] = Process::Idle;
                } else {
                    next.sent.insert((n, held, brought));
                }
            }
            Step::Expire => {
                let (n, _) = next.lease.take()?;
                if let Process::Leased { over, .. } | Process::Read { over, .. } = &mut next.processes[n] {
                    *over = true;
                }
            }
            Step::Crash(n) => {
                next.crashes += 1;
                next.processes[n] = Process::Dead;
            }
            Step::Failover => {
                next.lease = None;
                next.has_failed_over = true;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("no stale holder commits", |_, world: &World| !world.found.stale_commit),
            Property::always("no two requests under valid leases", |_, world: &World| !world.found.two_at_once),
            Property::sometimes("another one takes over", |_, world: &World| world.found.takeover),
            Property::sometimes("the outcome is stored", |_, world: &World| world.record.is_some()),
        ];
        let name = "a rotated refresh token is not used while its successor is stored";
        let holds = |_: &Self, world: &World| !world.found.rotated_used_again;
        if self.forgets_leases {
            // What docs/fleet.md does not guarantee.
            let fails = |_: &Self, world: &World| world.found.rotated_used_again;
            properties.push(Property::sometimes("a failover that loses the lease can cost this", fails));
        } else {
            properties.push(Property::always(name, holds));
        }
        properties
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.last_fence <= MAX_FENCE
    }
}

#[test]
fn the_protocol_keeps_its_guarantees_in_all_orders_of_events() {
    for forgets_leases in [false, true] {
        Fleet { forgets_leases }.checker().threads(2).spawn_bfs().join().assert_properties();
    }
}

/// Plays random traces of the model on the memory store: it gives the same leases and takes the same commits.
#[tokio::test(start_paused = true)]
async fn the_memory_store_does_what_the_model_does() {
    const LENGTH: Duration = Duration::from_secs(5);
    let (model, mut random) = (Fleet { forgets_leases: false }, fastrand::Rng::with_seed(1));
    for trace in 0..500 {
        let (store, key) = (MemoryStore::new(), StoreKey::new([1; 32]));
        let owner = |n: usize| LeaseOwner(n as u128 + 1);
        let mut world = World::default();
        for _ in 0..40 {
            let mut steps = Vec::new();
            model.actions(&world, &mut steps);
            steps
                .retain(|step| model.next_state(&world, step.clone()).is_some_and(|next| model.within_boundary(&next)));
            let Some(step) = random.choice(steps) else { break };
            let next = model.next_state(&world, step.clone()).unwrap();
            match step {
                Step::Lease(n) | Step::LeaseAgain(n) => {
                    let given = store.lease(key, owner(n), LENGTH).await.unwrap();
                    let fence = next.lease.unwrap().1;
                    assert_eq!(
                        given,
                        LeaseAnswer::Given(Lease { owner: owner(n), fence }),
                        "{trace}: {step:?} {world:?}"
                    );
                    let other = store.lease(key, LeaseOwner(99), LENGTH).await.unwrap();
                    assert!(matches!(other, LeaseAnswer::Held(_)));
                }
                Step::Deliver(n, fence, brought) => {
                    let lease = Lease { owner: owner(n), fence };
                    let committed = store.commit(key, lease, vec![brought], LENGTH * 1000).await.unwrap();
                    assert_eq!(committed, world.lease == Some((n, fence)), "{trace}: {step:?} {world:?}");
                }
                Step::Expire => tokio::time::advance(LENGTH).await,
                _ => {}
            }
            let loaded = store.load(key).await.unwrap();
            assert_eq!(loaded.record.map(|record| record[0]), next.record.map(|(_, refresh)| refresh));
            assert_eq!(loaded.leased_for.is_some(), next.lease.is_some());
            world = next;
        }
    }
}
