//! Single flight: a state under a lock, and at most one task in progress that will change it.
//!
//! # Why at most one task runs
//!
//! Every decision is made inside [`SingleFlight::join`] or [`SingleFlight::complete`]. Each is one critical section of the
//! one lock. A caller reads the state again inside `join`, and only there does a flight begin. `complete` changes the state
//! and ends the flight in the same section. So no caller can see the state from before the change after the flight has
//! ended, and no caller that saw the old state can begin a second flight.
//!
//! A flight is in progress exactly as long as its [`Leader`] lives. When a leader is dropped (its task was cancelled, or its
//! runtime has ended), its channel closes. The waiters then get `None` and join again, and the next caller to join finds no
//! flight in progress. A flight whose leader lives but makes no progress can be [abandoned](SingleFlight::abandon).
//!
//! # Why an old flight changes nothing
//!
//! Flights are numbered in the order in which they begin. Only the newest one changes the state. A flight that was abandoned
//! still counts until another one begins. A flight that was [superseded](SingleFlight::supersede) no longer counts, but is
//! still the one in progress. When a flight that does not count completes, its leader is dropped, and its waiters join again.
//!
//! # Why no user code runs under the lock
//!
//! The state may hold the last clone of a custom source's error. Its `Drop` is user code, which may ask the same cache for its
//! status and so take the same lock. Wakers are user code too. So nothing of a user's is dropped or woken under the lock:
//!
//! - A copy of the state is made when the lock is taken, and dropped after the lock is released ([`Held`]). Whatever a change
//!   replaces is in that copy too.
//! - A change is an `FnMut`, so it cannot consume what it has captured. That is dropped with it, after the lock is released.
//! - Waiters are woken after the lock is released.
//! - A change that is made under the lock of another flight is a [note](SingleFlight::note). Its caller drops the rest of it
//!   after it has released that other lock.
//!
//! Nothing here knows what a flight brings.

use std::sync::PoisonError;

use tokio::sync::watch;

use crate::sync::{Mutex, MutexGuard};

/// A state `S`, and the flight that brings a `T`.
pub(crate) struct SingleFlight<S, T> {
    locked: Mutex<Locked<S, T>>,
}

struct Locked<S, T> {
    state: S,
    /// The number of the flight that counts.
    counts: u64,
    in_progress: Option<watch::Receiver<Option<T>>>,
}

/// The lock, and a copy of the state as it was when the lock was taken. The fields are dropped in this order: the lock is
/// released first.
struct Held<'a, S, T> {
    locked: MutexGuard<'a, Locked<S, T>>,
    before: S,
}

/// The rest of a change. Its drop wakes the waiters and drops what the change replaced. Both are user code, so drop it when no
/// lock is held.
#[must_use = "dropping it under a lock runs user code there"]
pub(crate) struct Noted<S, T> {
    leader: Option<Leader<T>>,
    /// What the waiters get. `None` if the flight does not count.
    brought: Option<T>,
    _before: S,
}

/// The one task that brings what the waiters wait for. It must call [`SingleFlight::complete`].
#[derive(Debug)]
pub(crate) struct Leader<T> {
    number: u64,
    sender: watch::Sender<Option<T>>,
}

/// A caller that waits for what the leader brings.
#[derive(Debug)]
pub(crate) struct Waiter<T>(watch::Receiver<Option<T>>);

/// How a caller takes part in a flight.
#[derive(Debug)]
pub(crate) enum Joined<T> {
    /// A flight was in progress already.
    Waiting(Waiter<T>),
    /// The caller began one: it must see that the leader completes.
    Leading(Waiter<T>, Leader<T>),
}

impl<S: Clone + Default, T> Default for SingleFlight<S, T> {
    fn default() -> Self {
        Self::new(S::default())
    }
}

impl<S: Clone, T> SingleFlight<S, T> {
    pub(crate) fn new(state: S) -> Self {
        Self { locked: Mutex::new(Locked { state, counts: 0, in_progress: None }) }
    }

    /// Reads or changes the state. `look` is told whether a flight is in progress.
    pub(crate) fn look<A>(&self, mut look: impl FnMut(&mut S, bool) -> A) -> A {
        let Held { locked, .. } = &mut self.lock();
        let in_progress = locked.in_progress.is_some();
        look(&mut locked.state, in_progress)
    }

    /// Reads the state. Unlike [`look`](Self::look) it drops nothing, so it may be called under the lock of something else.
    pub(crate) fn peek<A>(&self, look: impl FnOnce(&S, bool) -> A) -> A {
        let locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        let in_progress = locked.in_progress.as_ref().is_some_and(|receiver| receiver.has_changed().is_ok());
        look(&locked.state, in_progress)
    }

    /// Decides by the state, and joins the flight in progress or begins one if `decide` says `true` beside its answer.
    pub(crate) fn join<A>(&self, mut decide: impl FnMut(&mut S, bool) -> (A, bool)) -> (A, Option<Joined<T>>) {
        let mut held = self.lock();
        let Locked { state, counts, in_progress } = &mut *held.locked;
        let (answer, joins) = decide(state, in_progress.is_some());
        if !joins {
            return (answer, None);
        }
        if let Some(receiver) = in_progress {
            return (answer, Some(Joined::Waiting(Waiter(receiver.clone()))));
        }
        let (sender, receiver) = watch::channel(None);
        *in_progress = Some(receiver.clone());
        *counts += 1;
        (answer, Some(Joined::Leading(Waiter(receiver), Leader { number: *counts, sender })))
    }

    /// Returns whether the leader's flight counts and was not abandoned.
    pub(crate) fn is_wanted(&self, leader: &Leader<T>) -> bool {
        let Held { locked, .. } = &self.lock();
        leader.number == locked.counts && locked.in_progress.as_ref().is_some_and(|flight| leader.leads(flight))
    }

    /// Returns whether the leader's flight is [wanted](Self::is_wanted), and somebody waits for what it brings.
    pub(crate) fn is_awaited(&self, leader: &Leader<T>) -> bool {
        // One receiver is the one of the flight in progress.
        self.is_wanted(leader) && leader.sender.receiver_count() > 1
    }

    /// Ends a flight: changes the state, and then gives what the flight brought to every waiter. Returns whether it counted.
    ///
    /// If it does not count, the state stays as it is, and the waiters join again.
    pub(crate) fn complete(&self, leader: Leader<T>, change: impl FnMut(&mut S) -> T) -> bool {
        self.note(Some(leader), change).brought.is_some()
    }

    /// Changes the state, and ends a flight if it gets a leader, as [`complete`](Self::complete) does. It is for callers that
    /// hold the lock of another flight. They drop what it returns after that.
    pub(crate) fn note(&self, leader: Option<Leader<T>>, mut change: impl FnMut(&mut S) -> T) -> Noted<S, T> {
        let mut held = self.lock();
        let Locked { state, counts, in_progress } = &mut *held.locked;
        if let Some(leader) = &leader {
            in_progress.take_if(|flight| leader.leads(flight));
        }
        let is_counted = leader.as_ref().is_none_or(|leader| leader.number == *counts);
        let brought = is_counted.then(|| change(state));
        Noted { leader, brought, _before: held.release() }
    }

    /// Abandons a flight whose leader lives but makes no progress, and changes the state: the next caller to join begins
    /// another one. Does nothing if the flight has ended.
    pub(crate) fn abandon(&self, waiter: &Waiter<T>, mut change: impl FnMut(&mut S)) {
        let Held { locked, .. } = &mut self.lock();
        if locked.in_progress.take_if(|receiver| receiver.same_channel(&waiter.0)).is_some() {
            change(&mut locked.state);
        }
    }

    /// Changes the state so that the flight in progress no longer counts. The next one begins when that has ended.
    pub(crate) fn supersede(&self, mut change: impl FnMut(&mut S)) {
        let Held { locked, .. } = &mut self.lock();
        locked.counts += 1;
        change(&mut locked.state);
    }

    /// Locks the state, and forgets a flight whose leader was dropped. Such a flight has brought nothing.
    fn lock(&self) -> Held<'_, S, T> {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        locked.in_progress.take_if(|receiver| receiver.has_changed().is_err());
        let before = locked.state.clone();
        Held { locked, before }
    }
}

impl<S, T> Held<'_, S, T> {
    /// Releases the lock, and returns the copy of the state from before.
    fn release(self) -> S {
        self.before
    }
}

impl<S, T> Drop for Noted<S, T> {
    fn drop(&mut self) {
        if let (Some(Leader { sender, .. }), brought @ Some(_)) = (self.leader.take(), self.brought.take()) {
            sender.send_replace(brought);
        }
    }
}

impl<T> Leader<T> {
    fn leads(&self, flight: &watch::Receiver<Option<T>>) -> bool {
        flight.same_channel(&self.sender.subscribe())
    }
}

impl<T: Clone> Waiter<T> {
    /// Waits for what the leader brings. Returns `None` when the leader was dropped: join again.
    ///
    /// # Cancel safety
    /// Dropping the future only ends this wait.
    pub(crate) async fn wait(&mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|brought| brought.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    };

    use super::*;

    fn join(flight: &SingleFlight<u32, u32>) -> Joined<u32> {
        flight.join(|_, _| ((), true)).1.expect("it was asked for")
    }

    #[tokio::test]
    async fn every_waiter_gets_what_one_leader_brings() {
        let flight = SingleFlight::new(0);
        let Joined::Leading(mut first, leader) = join(&flight) else { panic!("nothing was in progress") };
        let Joined::Waiting(mut second) = join(&flight) else { panic!("one flight at a time") };
        flight.complete(leader, |state| {
            *state += 1;
            *state
        });
        assert_eq!((first.wait().await, second.wait().await), (Some(1), Some(1)));
        assert!(matches!(join(&flight), Joined::Leading(..)), "the next caller begins a new flight");
    }

    #[tokio::test]
    async fn a_dropped_leader_leaves_nobody_waiting() {
        let flight = SingleFlight::new(0);
        let Joined::Leading(mut first, leader) = join(&flight) else { panic!("nothing was in progress") };
        drop(leader);
        assert_eq!(first.wait().await, None);
        assert!(matches!(join(&flight), Joined::Leading(..)));
    }

    #[tokio::test]
    async fn a_dropped_waiter_does_not_end_the_flight() {
        let flight = SingleFlight::new(0);
        let Joined::Leading(first, leader) = join(&flight) else { panic!("nothing was in progress") };
        drop(first);
        let Joined::Waiting(mut second) = join(&flight) else { panic!("it is still in progress") };
        flight.complete(leader, |_| 7);
        assert_eq!(second.wait().await, Some(7));
    }

    #[tokio::test]
    async fn an_abandoned_flight_does_not_end_the_next_one() {
        let flight = SingleFlight::new(0);
        let Joined::Leading(first, late) = join(&flight) else { panic!("nothing was in progress") };
        flight.abandon(&first, |_| {});
        let Joined::Leading(mut second, leader) = join(&flight) else { panic!("it was abandoned") };
        flight.complete(late, |_| 1);
        assert!(matches!(join(&flight), Joined::Waiting(_)), "the second is still in progress");
        flight.complete(leader, |_| 2);
        assert_eq!(second.wait().await, Some(2));
    }

    #[tokio::test]
    async fn an_abandoned_flight_counts_until_another_one_begins() {
        for another_begins in [false, true] {
            let flight = SingleFlight::new(0);
            let Joined::Leading(mut first, late) = join(&flight) else { panic!("nothing was in progress") };
            flight.abandon(&first, |_| {});
            if another_begins {
                let Joined::Leading(_, newer) = join(&flight) else { panic!("it was abandoned") };
                assert!(flight.complete(newer, |state| std::mem::replace(state, 2)));
            }
            let counted = flight.complete(late, |state| std::mem::replace(state, 1));
            assert_eq!(counted, !another_begins);
            assert_eq!(flight.look(|state, _| *state), if another_begins { 2 } else { 1 });
            assert_eq!(first.wait().await.is_some(), counted, "otherwise it joins again");
        }
    }

    #[tokio::test]
    async fn a_flight_is_wanted_until_it_is_abandoned_or_superseded() {
        for abandons in [false, true] {
            let flight = SingleFlight::new(0);
            let Joined::Leading(first, leader) = join(&flight) else { panic!("nothing was in progress") };
            assert!(flight.is_wanted(&leader));
            if abandons {
                flight.abandon(&first, |_| {});
            } else {
                flight.supersede(|_| {});
            }
            assert!(!flight.is_wanted(&leader) && !flight.is_awaited(&leader));
        }
    }

    #[tokio::test]
    async fn a_flight_is_awaited_while_a_waiter_lives() {
        let flight = SingleFlight::new(0);
        let Joined::Leading(first, leader) = join(&flight) else { panic!("nothing was in progress") };
        assert!(flight.is_awaited(&leader));
        drop(first);
        assert!(!flight.is_awaited(&leader) && flight.is_wanted(&leader));
        let Joined::Waiting(_second) = join(&flight) else { panic!("it is still in progress") };
        assert!(flight.is_awaited(&leader));
    }

    #[tokio::test]
    async fn a_superseded_flight_changes_nothing_and_ends_before_the_next_one_begins() {
        let flight = SingleFlight::new(0);
        let Joined::Leading(mut first, old) = join(&flight) else { panic!("nothing was in progress") };
        flight.supersede(|state| *state = 1);
        let Joined::Waiting(mut second) = join(&flight) else { panic!("one flight at a time") };
        assert!(!flight.complete(old, |state| std::mem::replace(state, 2)));
        assert_eq!((first.wait().await, second.wait().await), (None, None), "both join again");
        let Joined::Leading(_, leader) = join(&flight) else { panic!("the old one has ended") };
        assert!(flight.complete(leader, |state| *state));
        assert_eq!(flight.look(|state, _| *state), 1);
    }

    #[test]
    fn a_look_begins_nothing() {
        let flight = SingleFlight::<u32, u32>::new(0);
        assert!(!flight.look(|_, in_progress| in_progress));
        let joined = join(&flight);
        assert!(flight.look(|_, in_progress| in_progress));
        drop(joined);
        assert!(!flight.look(|_, in_progress| in_progress), "its leader was dropped");
    }

    type Probed = SingleFlight<Option<Arc<Probe>>, u32>;

    /// Counts the drops while the lock is free.
    struct Probe(Weak<Probed>, Arc<AtomicU32>);

    impl Drop for Probe {
        fn drop(&mut self) {
            if self.0.upgrade().is_some_and(|flight| flight.locked.try_lock().is_ok()) {
                self.1.fetch_add(1, Relaxed);
            }
        }
    }

    #[test]
    fn what_a_change_replaces_or_has_captured_is_dropped_after_the_lock_is_released() {
        let changes: [fn(&Probed, Arc<Probe>); 6] = [
            |flight, captured| flight.look(move |state, _| *state = captured.0.upgrade().and(None)),
            |flight, captured| drop(flight.join(move |state, _| (*state = captured.0.upgrade().and(None), false))),
            |flight, captured| flight.supersede(move |state| *state = captured.0.upgrade().and(None)),
            |flight, captured| {
                drop(flight.note(None, move |state| state.take().map_or(0, |_| captured.1.load(Relaxed))));
            },
            |flight, captured| {
                let ((), Some(Joined::Leading(_, leader))) = flight.join(|_, _| ((), true)) else {
                    panic!("it is free")
                };
                flight.complete(leader, move |state| state.take().map_or(0, |_| captured.1.load(Relaxed)));
            },
            |flight, captured| {
                let ((), Some(joined)) = flight.join(|_, _| ((), true)) else { panic!("it was asked for") };
                let Joined::Leading(waiter, _leader) = joined else { panic!("it is free") };
                flight.abandon(&waiter, move |state| *state = captured.0.upgrade().and(None));
            },
        ];
        for change in changes {
            let (flight, dropped) = (Arc::new(Probed::new(None)), Arc::default());
            let probe = || Arc::new(Probe(Arc::downgrade(&flight), Arc::clone(&dropped)));
            flight.look(|state, _| *state = Some(probe()));
            change(&flight, probe());
            assert_eq!(dropped.load(Relaxed), 2);
        }
    }

    #[test]
    fn a_panic_under_the_lock_does_not_poison_it() {
        let flight = SingleFlight::<u32, u32>::new(0);
        let panicking = std::panic::AssertUnwindSafe(|| flight.look::<()>(|_, _| panic!("on purpose")));
        assert!(std::panic::catch_unwind(panicking).is_err());
        assert!(matches!(join(&flight), Joined::Leading(..)));
    }
}
