//! Single flight: a state under a lock, and at most one task under way that will change it.
//!
//! # The argument
//!
//! Everything that decides happens inside [`Flight::board`] and [`Flight::land`], each one critical section of the one
//! lock. A caller *looks again* at the state inside `board`, and only there is a flight begun; `land` changes the state
//! and takes the flight off the board in the same section. So between a flight's landing and its disappearance nobody
//! can look, and nobody who saw the state of before can begin a second flight.
//!
//! The flight is under way exactly as long as its [`Pilot`] lives. A pilot that is dropped (its task was cancelled, its
//! runtime has ended) strands nobody: the channel closes, those who wait are told so by `None` and board again, and the
//! next to board finds no flight under way. One whose runtime nobody drives any more can be given up.
//!
//! Nothing here knows what a flight brings.

use std::sync::PoisonError;

use tokio::sync::watch;

use crate::sync::{Mutex, MutexGuard};

/// A state `S`, and the flight that brings a `T`.
#[derive(Debug)]
pub(crate) struct Flight<S, T> {
    board: Mutex<Board<S, T>>,
}

#[derive(Debug)]
struct Board<S, T> {
    state: S,
    under_way: Option<watch::Receiver<Option<T>>>,
}

/// The right, and the duty, to bring what the others wait for.
#[derive(Debug)]
pub(crate) struct Pilot<T>(watch::Sender<Option<T>>);

/// A place on a flight.
#[derive(Debug)]
pub(crate) struct Ticket<T>(watch::Receiver<Option<T>>);

/// What boarding came to.
#[derive(Debug)]
pub(crate) enum Boarded<T> {
    /// No place was asked for.
    Stayed,
    /// A flight was under way already.
    Joined(Ticket<T>),
    /// There was none: the caller must see that the pilot lands.
    Began(Ticket<T>, Pilot<T>),
}

impl<S, T: Clone> Flight<S, T> {
    pub(crate) fn new(state: S) -> Self {
        Self { board: Mutex::new(Board { state, under_way: None }) }
    }

    /// Looks at the state, told whether a flight is under way; a `true` beside the answer asks for a place.
    pub(crate) fn board<A>(&self, decide: impl FnOnce(&mut S, bool) -> (A, bool)) -> (A, Boarded<T>) {
        let mut board = self.lock();
        let Board { state, under_way } = &mut *board;
        if under_way.as_ref().is_some_and(|seats| seats.has_changed().is_err()) {
            *under_way = None; // the channel is closed: its pilot was lost
        }
        let (answer, wants_place) = decide(state, under_way.is_some());
        let boarded = match (wants_place, &*under_way) {
            (false, _) => Boarded::Stayed,
            (true, Some(seats)) => Boarded::Joined(Ticket(seats.clone())),
            (true, None) => {
                let (pilot, seats) = watch::channel(None);
                *under_way = Some(seats.clone());
                Boarded::Began(Ticket(seats), Pilot(pilot))
            }
        };
        (answer, boarded)
    }

    /// Ends the flight: changes the state and, with that done, gives what it brought to everyone who waits.
    pub(crate) fn land(&self, pilot: Pilot<T>, arrive: impl FnOnce(&mut S) -> T) {
        let brought = {
            let mut board = self.lock();
            // Unless it was given up, and another one is under way.
            board.under_way.take_if(|seats| seats.same_channel(&pilot.0.subscribe()));
            arrive(&mut board.state)
        };
        // Outside the lock: it may wake very many.
        let Pilot(seats) = pilot;
        seats.send_replace(Some(brought));
    }

    /// Gives up on a flight whose pilot is alive and does nothing: the next to board begins another one.
    pub(crate) fn give_up(&self, ticket: &Ticket<T>) {
        self.lock().under_way.take_if(|seats| seats.same_channel(&ticket.0));
    }

    fn lock(&self) -> MutexGuard<'_, Board<S, T>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Ticket<T> {
    /// Waits for what the flight brings. `None`: the pilot was lost, board again.
    ///
    /// # Cancel safety
    /// Dropping it gives up the place and nothing else.
    pub(crate) async fn arrival(&mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|brought| brought.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(flight: &Flight<u32, u32>) -> Boarded<u32> {
        flight.board(|_, _| ((), true)).1
    }

    #[tokio::test]
    async fn everyone_gets_what_one_pilot_brings() {
        let flight = Flight::new(0);
        let Boarded::Began(mut first, pilot) = wants(&flight) else { panic!("nothing was under way") };
        let Boarded::Joined(mut second) = wants(&flight) else { panic!("one flight at a time") };
        flight.land(pilot, |state| {
            *state += 1;
            *state
        });
        assert_eq!((first.arrival().await, second.arrival().await), (Some(1), Some(1)));
        assert!(matches!(wants(&flight), Boarded::Began(..)), "the next one begins a new flight");
    }

    #[tokio::test]
    async fn a_lost_pilot_strands_nobody() {
        let flight = Flight::new(0);
        let Boarded::Began(mut first, pilot) = wants(&flight) else { panic!("nothing was under way") };
        drop(pilot);
        assert_eq!(first.arrival().await, None);
        assert!(matches!(wants(&flight), Boarded::Began(..)));
    }

    #[tokio::test]
    async fn a_dropped_ticket_does_not_end_the_flight() {
        let flight = Flight::new(0);
        let Boarded::Began(first, pilot) = wants(&flight) else { panic!("nothing was under way") };
        drop(first);
        let Boarded::Joined(mut second) = wants(&flight) else { panic!("it is still under way") };
        flight.land(pilot, |_| 7);
        assert_eq!(second.arrival().await, Some(7));
    }

    #[tokio::test]
    async fn a_flight_that_was_given_up_does_not_end_the_next_one() {
        let flight = Flight::new(0);
        let Boarded::Began(first, late) = wants(&flight) else { panic!("nothing was under way") };
        flight.give_up(&first);
        let Boarded::Began(mut second, pilot) = wants(&flight) else { panic!("it was given up") };
        flight.land(late, |_| 1);
        assert!(matches!(wants(&flight), Boarded::Joined(_)), "the second is still under way");
        flight.land(pilot, |_| 2);
        assert_eq!(second.arrival().await, Some(2));
    }

    #[test]
    fn a_panic_under_the_lock_does_not_poison_it() {
        let flight = Flight::<u32, u32>::new(0);
        let panicking = std::panic::AssertUnwindSafe(|| flight.board::<()>(|_, _| panic!("on purpose")));
        assert!(std::panic::catch_unwind(panicking).is_err());
        assert!(matches!(wants(&flight), Boarded::Began(..)));
    }
}
